"""Processes and threads: ids, groups, making them, ending them, waiting for them, futexes.

Cases that make a child work on the kernel's tables only: no engine runs, the child is acted for by a world of its own.
What programs do with all this is in `test_conformance` and `test_programs`.
"""

from __future__ import annotations

import struct

import pytest

from sandbox.abi import flags as F
from sandbox.abi.errno import (
    EACCES,
    EAGAIN,
    ECHILD,
    EDEADLK,
    EFAULT,
    EINVAL,
    ENOENT,
    ENOEXEC,
    ENOMEM,
    ENOSYS,
    EPERM,
    ESRCH,
    ETIMEDOUT,
    Errno,
)
from sandbox.abi.signals import SIGCHLD, SIGCONT, SIGKILL, SIGSTOP, SIGTERM
from sandbox.kernel import spaces
from sandbox.kernel.lifecycle import end_process, end_task, exit_word
from sandbox.kernel.views import KernelView
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD, Blocked, GuestWorld, guest

CASES = Cases()
NOBODY = 1 << 22
THREAD = F.CLONE_VM | F.CLONE_FS | F.CLONE_FILES | F.CLONE_SIGHAND | F.CLONE_THREAD


def clone(w: GuestWorld, flags: int = SIGCHLD, stack: int = 0, parent: int = 0, child: int = 0, tls: int = 0) -> int:
    """The order of the last two arguments is the ISA's."""
    return w.call("clone", flags, stack, parent, *((child, tls) if w.isa == "x86_64" else (tls, child)))


def act(w: GuestWorld, tid: int) -> GuestWorld:
    """A world for a task that a call has made."""
    child = GuestWorld(w.isa, w.machine, w.machine.tasks[tid])
    child.next_free = w.next_free + (1 << 20)
    return child


def run_void(w: GuestWorld, name: str, *arguments: int) -> None:
    """A call that does not come back."""
    if name == w.absent:
        return
    registers = (*(value & ((1 << 8 * w.word) - 1) for value in arguments), *[0] * (6 - len(arguments)))
    assert w.entries[w.number[name]].call(w.task, registers) is None


# -- ids, groups, sessions ---------------------------------------------------------------------------------


@CASES("getpid", "gettid")
def numbers(w: World) -> None:
    assert w.call("getpid") > 0
    assert w.call("gettid") == w.call("getpid")


@CASES("getppid", host=False)
def the_parent(w: GuestWorld) -> None:
    assert w.call("getppid") == 0
    child = act(w, clone(w))
    child.absent = w.absent
    assert child.call("getppid") == 1


@CASES("set_tid_address", "set_robust_list", "get_robust_list")
def registrations(w: World) -> None:
    assert w.call("set_tid_address", None) == w.call("gettid")
    head = w.memory(w.words(0, 0, 0))
    assert w.call("set_robust_list", head, 3 * w.word) == 0
    assert w.call("set_robust_list", head, 5) == -EINVAL
    found, length = bytearray(w.word), bytearray(w.word)
    assert w.call("get_robust_list", 0, found, length) == 0
    assert (int.from_bytes(found, "little"), int.from_bytes(length, "little")) == (head, 3 * w.word)
    assert w.call("get_robust_list", NOBODY, found, length) == -ESRCH
    assert w.call("get_robust_list", 0, BAD, length) == -EFAULT
    w.call("set_robust_list", 0, 3 * w.word)


@CASES("getpgid", "getsid")
def groups_and_sessions(w: World) -> None:
    assert w.call("getpgid", 0) > 0 or w.host
    assert w.call("getpgid", NOBODY) == -ESRCH
    assert w.call("getsid", NOBODY) == -ESRCH
    assert w.call("getsid", 0) == w.call("getsid", w.call("getpid"))


@CASES("setsid", "setpgid", "getpgid", "getsid", host=False)
def new_groups_and_sessions(w: GuestWorld) -> None:
    child = act(w, clone(w))
    child.absent = w.absent
    pid = child.task.tid
    assert child.call("getpgid", 0) == 1
    assert w.call("setpgid", pid, 0) == 0
    assert w.call("getpgid", pid) == pid
    assert child.call("setpgid", 0, 1) == 0
    assert child.call("setpgid", 0, 999) == -EPERM
    assert child.call("setpgid", 0, -1) == -EINVAL
    assert w.call("setpgid", NOBODY, 0) == -ESRCH
    assert child.call("setsid") == pid
    assert (child.call("getsid", 0), child.call("getpgid", 0)) == (pid, pid)
    assert child.call("setsid") == -EPERM
    assert w.call("setpgid", pid, 0) == -EPERM  # another session
    other = act(w, clone(w))
    other.task.process.executed = True
    assert w.call("setpgid", other.task.tid, 0) == -EACCES


@CASES("getpgrp", host=False)
def the_short_form(w: GuestWorld) -> None:
    assert w.call("getpgrp") == 1


@CASES("prctl")
def names_and_flags(w: World) -> None:
    name = bytearray(16)
    assert w.call("prctl", F.PR_SET_NAME, w.memory(b"a name that is too long\0"), 0, 0, 0) == 0
    assert w.call("prctl", F.PR_GET_NAME, w.memory(bytes(16)), 0, 0, 0) == 0
    address = w.memory(bytes(16))
    assert w.call("prctl", F.PR_GET_NAME, address, 0, 0, 0) == 0
    name[:] = w.peek(address, 16)
    assert name == b"a name that is \0"
    assert w.call("prctl", F.PR_SET_NAME, BAD, 0, 0, 0) == -EFAULT
    assert w.call("prctl", F.PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) == 0
    assert w.call("prctl", F.PR_GET_PDEATHSIG, address, 0, 0, 0) == 0
    assert w.peek(address, 4) == struct.pack("<i", SIGTERM)
    assert w.call("prctl", F.PR_SET_PDEATHSIG, 65, 0, 0, 0) == -EINVAL
    assert w.call("prctl", F.PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
    assert w.call("prctl", F.PR_GET_DUMPABLE, 0, 0, 0, 0) == 0
    assert w.call("prctl", F.PR_SET_DUMPABLE, 3, 0, 0, 0) == -EINVAL
    assert w.call("prctl", F.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    assert w.call("prctl", F.PR_GET_CHILD_SUBREAPER, address, 0, 0, 0) == 0
    assert w.peek(address, 4) == struct.pack("<i", 1)
    assert w.call("prctl", F.PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0) == -EINVAL
    assert w.call("prctl", F.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert w.call("prctl", F.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1
    assert w.call("prctl", F.PR_SET_THP_DISABLE, 0, 1, 0, 0) == -EINVAL
    assert w.call("prctl", F.PR_GET_THP_DISABLE, 1, 0, 0, 0) == -EINVAL
    assert w.call("prctl", 12345, 0, 0, 0, 0) == -EINVAL


@CASES("prctl", host=False)
def secure_bits(w: GuestWorld) -> None:
    def bits() -> int:
        return w.call("prctl", F.PR_GET_SECUREBITS, 0, 0, 0, 0)

    assert bits() == 0
    assert w.call("prctl", F.PR_SET_SECUREBITS, 16, 0, 0, 0) == 0
    assert (bits(), w.call("prctl", F.PR_GET_KEEPCAPS, 0, 0, 0, 0)) == (16, 1)
    assert w.call("prctl", F.PR_SET_SECUREBITS, 1, 0, 0, 0) == -EPERM
    w.become(1000, 1000)
    assert w.call("prctl", F.PR_SET_SECUREBITS, 0, 0, 0, 0) == -EPERM


@CASES("prctl", host=False)
def the_slack_of_timers_is_inherited(w: GuestWorld) -> None:
    def get(world: GuestWorld) -> int:
        return world.call("prctl", F.PR_GET_TIMERSLACK, 0, 0, 0, 0)

    assert get(w) == 50_000
    assert w.call("prctl", F.PR_SET_TIMERSLACK, 70_000, 0, 0, 0) == 0
    child = act(w, clone(w))
    assert get(child) == 70_000
    assert child.call("prctl", F.PR_SET_TIMERSLACK, 90_000, 0, 0, 0) == 0
    assert child.call("prctl", F.PR_SET_TIMERSLACK, 0, 0, 0, 0) == 0
    assert (get(child), get(w)) == (70_000, 70_000)


@CASES("rt_sigqueueinfo", host=False)
def the_number_of_any_thread_names_its_process(w: GuestWorld) -> None:
    thread = act(w, clone(w, THREAD))
    info = struct.pack("<iii", SIGTERM, 0, -1).ljust(128, b"\0")
    w.task.process.pending.discard(-1)
    assert w.call("rt_sigqueueinfo", thread.task.tid, SIGTERM, info) == 0
    assert w.task.process.pending.bits == 1 << SIGTERM - 1


@CASES("arch_prctl", host=False, isas=("x86_64",))
def segment_bases(w: GuestWorld) -> None:
    assert w.call("arch_prctl", F.ARCH_SET_FS, 0x123000) == 0
    assert w.task.context["tp"] == 0x123000
    place = w.memory(bytes(8))
    assert w.call("arch_prctl", F.ARCH_GET_FS, place) == 0
    assert w.peek(place, 8) == (0x123000).to_bytes(8, "little")
    assert w.call("arch_prctl", F.ARCH_SET_GS, 0x456000) == 0
    assert w.call("arch_prctl", F.ARCH_GET_GS, place) == 0
    assert w.peek(place, 8) == (0x456000).to_bytes(8, "little")
    assert w.call("arch_prctl", F.ARCH_SET_FS, 1 << 48) == -EPERM
    assert w.call("arch_prctl", F.ARCH_GET_FS, BAD) == -EFAULT
    assert w.call("arch_prctl", 0x9999, 0) == -EINVAL


@CASES("set_thread_area", "get_thread_area", host=False, isas=("i386",))
def thread_areas(w: GuestWorld) -> None:
    from sandbox.kernel import descriptors

    descriptors.install(w.task.space)
    area = bytearray(struct.pack("<IIII", 0xFFFFFFFF, 0x08123450, 0xFFFFF, 0x51))
    assert w.call("set_thread_area", area) == 0
    number = struct.unpack_from("<I", area)[0]
    assert number == descriptors.first_entry()
    found = bytearray(struct.pack("<IIII", number, 0, 0, 0))
    assert w.call("get_thread_area", found) == 0
    assert found == area
    assert w.call("set_thread_area", struct.pack("<IIII", 1, 0, 0, 0x51)) == -EINVAL
    assert w.call("get_thread_area", bytearray(struct.pack("<IIII", 1, 0, 0, 0))) == -EINVAL
    for _ in range(2):
        assert w.call("set_thread_area", bytearray(struct.pack("<IIII", 0xFFFFFFFF, 1, 2, 0x51))) == 0
    assert w.call("set_thread_area", bytearray(struct.pack("<IIII", 0xFFFFFFFF, 1, 2, 0x51))) == -ESRCH


@CASES("ARM_set_tls", "ARM_get_tls", host=False, isas=("arm",))
def thread_pointer_of_arm(w: GuestWorld) -> None:
    assert w.call("ARM_set_tls", 0x1234) == 0
    assert w.call("ARM_get_tls") == 0x1234


@CASES("rseq", host=False)
def rseq_is_refused(w: GuestWorld) -> None:
    assert w.call("rseq", 0, 32, 0, 0) == -ENOSYS


# -- making and ending -------------------------------------------------------------------------------------


@CASES("fork", host=False, isas=("x86_64", "i386", "arm"))
def a_fork_copies(w: GuestWorld) -> None:
    place = w.memory(b"before")
    tid = w.call("fork")
    assert tid == 2
    child = act(w, tid)
    child.task.space.copy_out(place, b"after!")
    assert w.peek(place, 6) == b"before"
    assert child.task.files is not w.task.files
    assert child.task.process.parent is w.task.process
    fd = child.open(b".")
    assert w.call("close", fd) < 0


@CASES("clone", host=False)
def threads_share(w: GuestWorld) -> None:
    parent, child = w.memory(bytes(4)), w.memory(bytes(4))
    if w.isa == "i386":
        from sandbox.kernel import descriptors

        descriptors.install(w.task.space)
        tls = w.memory(struct.pack("<IIII", descriptors.first_entry(), 0x7000, 0xFFFFF, 0x51))
        stack = w.memory(bytes(64)) + 64
    else:
        tls, stack = 0x7000, 0x8000
    bits = THREAD | F.CLONE_SETTLS | F.CLONE_PARENT_SETTID | F.CLONE_CHILD_SETTID | F.CLONE_CHILD_CLEARTID
    tid = clone(w, bits, stack, parent, child, tls)
    assert tid > 1
    other = act(w, tid)
    assert (w.peek(parent, 4), w.peek(child, 4)) == (tid.to_bytes(4, "little"),) * 2
    assert (other.call("getpid"), other.call("gettid")) == (1, tid)
    assert other.task.space is w.task.space and other.task.files is w.task.files
    if w.isa != "i386":
        assert (other.task.context["tp"], other.task.context.sp) == (tls, stack)
    end_task(other.task, 0)
    assert w.peek(child, 4) == bytes(4)
    assert w.task.state == "ready" and tid not in w.machine.tasks
    assert clone(w, F.CLONE_THREAD) == -EINVAL
    assert clone(w, F.CLONE_SIGHAND) == -EINVAL
    assert clone(w, F.CLONE_NEWNS) == -EPERM


@CASES("clone3", host=False)
def clone3_says_it_with_a_structure(w: GuestWorld) -> None:
    def arguments(flags: int = 0, signal: int = SIGCHLD, stack: int = 0, size: int = 0) -> bytes:
        return struct.pack("<11Q", flags, 0, 0, 0, signal, stack, size, 0, 0, 0, 0)

    tid = w.call("clone3", arguments(), 88)
    assert w.machine.processes[tid].parent is w.task.process
    stack = w.memory(bytes(256)) & -16
    tid = w.call("clone3", arguments(THREAD, 0, stack, 256), 88)
    assert w.machine.tasks[tid].context.sp == stack + 256
    assert w.call("clone3", arguments(), 8) == -EINVAL
    assert w.call("clone3", arguments(THREAD, SIGCHLD), 88) == -EINVAL
    assert w.call("clone3", arguments(0, 0x100), 88) == -EINVAL
    assert w.call("clone3", arguments(0, SIGCHLD, 64, 0), 88) == -EINVAL
    assert w.call("clone3", BAD, 88) == -EFAULT


@CASES("vfork", host=False, isas=("x86_64", "i386", "arm"))
def a_vforked_child_borrows(w: GuestWorld) -> None:
    assert w.blocks("vfork")
    child = act(w, 2)
    assert child.task.space is w.task.space
    end_process(child.task.process, exit_word(3))
    assert w.again() == 2


@CASES("exit", host=False)
def exit_ends_a_thread(w: GuestWorld) -> None:
    tid = clone(w, THREAD)
    other = act(w, tid)
    other.absent = w.absent
    run_void(other, "exit", 5)
    assert other.task.state == "dead"
    assert w.task.state == "ready" and w.machine.exit_status is None


@CASES("exit_group", host=False)
def exit_group_ends_all(w: GuestWorld) -> None:
    clone(w, THREAD)
    run_void(w, "exit_group", 0x1234)
    assert not w.machine.tasks
    assert w.machine.exit_status == 0x34


@CASES("clone", host=False)
def the_number_of_tasks_is_bounded(w: GuestWorld) -> None:
    results = [clone(w) for _ in range(w.machine.limits.tasks)]
    assert results[-1] == -EAGAIN
    assert len(w.machine.tasks) == w.machine.limits.tasks


@CASES("execve", "execveat", host=False)
def what_cannot_be_executed(w: GuestWorld) -> None:
    w.file(b"text", b"no program", 0o755)
    w.file(b"plain", b"\x7fELF", 0o644)
    assert w.call("execve", b"missing", 0, 0) == -ENOENT
    assert w.call("execve", b"text", 0, 0) == -ENOEXEC
    assert w.call("execve", b"plain", 0, 0) == -EACCES
    assert w.call("execve", b".", 0, 0) == -EACCES
    assert w.call("execve", b"text", BAD, 0) == -EFAULT
    assert w.call("execveat", F.AT_FDCWD, b"text", 0, 0, 0) == -ENOEXEC
    assert w.call("execveat", w.open(b"text"), b"", 0, 0, F.AT_EMPTY_PATH) == -ENOEXEC
    assert w.call("execveat", F.AT_FDCWD, b"text", 0, 0, 0x8000) == -EINVAL


# -- waiting -----------------------------------------------------------------------------------------------


@CASES("wait4", host=False)
def waiting_for_children(w: GuestWorld) -> None:
    status = bytearray(4)
    assert w.call("wait4", -1, status, 0, None) == -ECHILD
    first, second = clone(w), clone(w)
    assert w.call("wait4", -1, status, F.WNOHANG, None) == 0
    assert w.blocks("wait4", second, w.memory(bytes(4)), 0, None)
    end_process(w.machine.processes[second], exit_word(7))
    assert w.again() == second
    end_process(w.machine.processes[first], SIGTERM)
    usage = bytearray(b"\xff" * (144 if w.word == 8 else 72))
    assert w.call("wait4", -1, status, 0, usage) == first
    assert status == struct.pack("<i", SIGTERM)
    assert usage[-w.word :] == bytes(w.word)
    assert w.call("wait4", first, status, 0, None) == -ECHILD
    assert w.call("wait4", -1, status, 0x100, None) == -EINVAL
    assert w.pending_signals >> (SIGCHLD - 1) & 1 == 0  # ignored by default, so never pending


@CASES("waitpid", host=False, isas=("i386",))
def waiting_the_old_way(w: GuestWorld) -> None:
    child = clone(w)
    end_process(w.machine.processes[child], exit_word(7))
    status = bytearray(4)
    assert w.call("waitpid", -1, status, 0) == child
    assert status == struct.pack("<i", 7 << 8)


@CASES("wait4", "kill", host=False)
def stopping_and_continuing_is_reported(w: GuestWorld) -> None:
    child = clone(w)
    status = bytearray(4)
    w.machine.processes[child].stop(SIGSTOP)
    assert w.machine.tasks[child].state == "stopped"
    assert w.call("wait4", child, status, F.WNOHANG, None) == 0
    assert w.call("wait4", child, status, F.WNOHANG | F.WUNTRACED, None) == child
    assert status == struct.pack("<i", SIGSTOP << 8 | 0x7F)
    assert w.call("wait4", child, status, F.WNOHANG | F.WUNTRACED, None) == 0
    assert w.call("kill", child, SIGCONT) == 0
    assert w.machine.tasks[child].state == "ready"
    assert w.call("wait4", child, status, F.WNOHANG | F.WCONTINUED, None) == child
    assert status == struct.pack("<i", 0xFFFF)
    assert w.call("kill", child, SIGKILL) == 0
    assert w.call("wait4", child, status, 0, None) == child
    assert status == struct.pack("<i", SIGKILL)


@CASES("waitid", host=False)
def waiting_with_information(w: GuestWorld) -> None:
    info = bytearray(128)
    child = clone(w)
    assert w.call("waitid", F.P_ALL, 0, info, F.WEXITED | F.WNOHANG, None) == 0
    assert info[:4] == bytes(4)
    end_process(w.machine.processes[child], exit_word(9))
    for options, result in ((F.WEXITED | F.WNOWAIT, 0), (F.WEXITED, 0), (F.WEXITED, -ECHILD)):
        assert w.call("waitid", F.P_PID, child, info, options, None) == result
    number, _, code = struct.unpack_from("<iii", info)
    pid, _, value = struct.unpack_from("<iIi", info, 16 if w.word == 8 else 12)
    assert (number, code, pid, value) == (SIGCHLD, 1, child, 9)
    assert w.call("waitid", F.P_ALL, 0, info, 0, None) == -EINVAL
    assert w.call("waitid", 9, 0, info, F.WEXITED, None) == -EINVAL
    assert w.call("waitid", F.P_PID, 0, info, F.WEXITED, None) == -EINVAL


@CASES("wait4", host=False)
def orphans_go_to_the_first_process(w: GuestWorld) -> None:
    child = act(w, clone(w))
    grandchild = clone(child)
    end_process(child.task.process, 0)
    assert w.machine.processes[grandchild].parent is w.task.process
    end_process(w.machine.processes[grandchild], exit_word(1))
    found = {w.call("wait4", -1, None, 0, None) for _ in range(2)}
    assert found == {child.task.tid, grandchild}


# -- futexes -----------------------------------------------------------------------------------------------


def futex_cases(w: GuestWorld, name: str, width: int) -> None:
    word = w.memory(struct.pack("<I", 5))
    other = w.memory(struct.pack("<I", 0))
    thread = act(w, clone(w, THREAD))
    thread.absent = w.absent

    def futex(world: GuestWorld, operation: int, value: int = 0, timeout: int | bytes = 0, second: int = 0,
              third: int = 0, address: int = word) -> int:  # fmt: skip
        return world.call(name, address, operation, value, timeout, second, third)

    assert futex(w, F.FUTEX_WAIT, 4) == -EAGAIN
    assert futex(w, F.FUTEX_WAIT, 4, address=word + 1) == -EINVAL
    assert futex(w, F.FUTEX_WAIT, 4, address=BAD) == -EFAULT
    assert futex(w, F.FUTEX_WAKE, 1) == 0
    assert futex(w, 99) == -ENOSYS
    assert thread.blocks(name, word, F.FUTEX_WAIT, 5, 0, 0, 0)
    assert futex(w, F.FUTEX_WAKE, 1) == 1
    assert thread.again() == 0
    pair = "<qq" if width == 8 else "<ii"
    assert thread.blocks(name, word, F.FUTEX_WAIT, 5, thread.memory(struct.pack(pair, 1, 0)), 0, 0)
    w.machine.clock.advance(1_000_000_000)  # type: ignore[attr-defined]
    assert thread.again() == -ETIMEDOUT
    assert futex(w, F.FUTEX_WAKE, 1) == 0
    assert thread.blocks(name, word, F.FUTEX_WAIT_BITSET, 5, 0, 0, 2)
    assert futex(w, F.FUTEX_WAKE_BITSET, 1, third=1) == 0
    assert futex(w, F.FUTEX_WAKE_BITSET, 1, third=3) == 1
    assert futex(w, F.FUTEX_WAKE_BITSET, 1, third=0) == -EINVAL
    assert thread.again() == 0
    assert thread.blocks(name, word, F.FUTEX_WAIT, 5, 0, 0, 0)
    assert futex(w, F.FUTEX_CMP_REQUEUE, 0, 1, other, 4) == -EAGAIN
    assert futex(w, F.FUTEX_CMP_REQUEUE, 0, 1, other, 5) == 1
    assert futex(w, F.FUTEX_WAKE, 1) == 0
    assert futex(w, F.FUTEX_WAKE, 1, address=other) == 1
    assert thread.again() == 0
    assert thread.blocks(name, other, F.FUTEX_WAIT, 0, 0, 0, 0)
    # *other = 7; wake one on `word`, and one on `other` because the old value was 0
    assert futex(w, F.FUTEX_WAKE_OP, 1, 1, other, 0 << 28 | 0 << 24 | 7 << 12 | 0) == 1
    assert w.peek(other, 4) == struct.pack("<I", 7)
    assert thread.again() == 0
    w.task.space.copy_out(word, bytes(4))
    assert futex(w, F.FUTEX_LOCK_PI) == 0
    assert w.peek(word, 4) == struct.pack("<I", w.task.tid)
    assert futex(w, F.FUTEX_LOCK_PI) == -EDEADLK
    assert futex(thread, F.FUTEX_TRYLOCK_PI) == -EAGAIN
    assert futex(thread, F.FUTEX_UNLOCK_PI) == -EPERM
    assert thread.blocks(name, word, F.FUTEX_LOCK_PI, 0, 0, 0, 0)
    assert futex(w, F.FUTEX_UNLOCK_PI) == 0
    assert thread.again() == 0
    assert w.peek(word, 4) == struct.pack("<I", thread.task.tid | F.FUTEX_WAITERS)


@CASES("futex", host=False)
def futexes(w: GuestWorld) -> None:
    futex_cases(w, "futex", w.word)


@CASES("futex_time64", host=False)
def futexes_with_wide_times(w: GuestWorld) -> None:
    futex_cases(w, "futex_time64", 8)


@CASES("futex", host=False)
def a_dying_thread_gives_its_locks_back(w: GuestWorld) -> None:
    thread = act(w, clone(w, THREAD))
    lock = w.memory(struct.pack("<I", thread.task.tid | F.FUTEX_WAITERS))
    head = w.memory(bytes(3 * w.word))
    node = w.memory(w.words(head))
    w.task.space.copy_out(head, w.words(node, lock - node, 0))
    assert thread.call("set_robust_list", head, 3 * w.word) == 0
    assert w.blocks("futex", lock, F.FUTEX_WAIT, thread.task.tid | F.FUTEX_WAITERS, 0, 0, 0)
    end_task(thread.task, 0)
    assert w.peek(lock, 4) == struct.pack("<I", F.FUTEX_OWNER_DIED | F.FUTEX_WAITERS)
    assert w.again() == 0


@CASES("futex", host=False)
def a_lock_with_an_owner_is_inherited(w: GuestWorld) -> None:
    threads = [act(w, clone(w, THREAD)) for _ in range(2)]
    word, head = w.memory(bytes(4)), w.memory(bytes(3 * w.word))
    node = w.memory(w.words(head))
    w.task.space.copy_out(head, w.words(node | 1, word - node, 0))
    assert threads[0].call("set_robust_list", head, 3 * w.word) == 0
    assert threads[0].call("futex", word, F.FUTEX_LOCK_PI, 0, 0, 0, 0) == 0
    for world in (threads[1], w):
        assert world.blocks("futex", word, F.FUTEX_LOCK_PI, 0, 0, 0, 0)
    for dying, heir in ((threads[0], threads[1]), (threads[1], w)):
        end_task(dying.task, 0)
        assert w.peek(word, 4) == struct.pack("<I", heir.task.tid | F.FUTEX_OWNER_DIED | F.FUTEX_WAITERS)
        assert heir.again() == 0
    assert w.call("futex", word, F.FUTEX_UNLOCK_PI, 0, 0, 0, 0) == 0
    assert w.peek(word, 4) == bytes(4)


@CASES("futex")
def a_shared_word_is_somewhere(w: World) -> None:
    call = "mmap2" if w.word == 4 else "mmap"
    anonymous = F.MAP_PRIVATE | F.MAP_ANONYMOUS
    hidden, gone, word = (w.call(call, 0, 4096, protection, anonymous, -1, 0) for protection in (0, 3, 3))
    assert w.call("munmap", gone, 4096) == 0
    for address in (hidden, gone):
        assert w.call("futex", address, F.FUTEX_WAKE, 1, 0, 0, 0) == -EFAULT
        assert w.call("futex", address, F.FUTEX_WAKE | F.FUTEX_PRIVATE_FLAG, 1, 0, 0, 0) == 0, "only a name"
        assert w.call("futex", word, F.FUTEX_CMP_REQUEUE, 1, 1, address, 0) == -EFAULT
    assert w.call("futex", word, F.FUTEX_WAKE, 1, 0, 0, 0) == 0


@CASES("futex", host=False)
def real_time_threads_are_woken_first(w: GuestWorld) -> None:
    word = w.memory(bytes(4))
    priorities = (0, 3, 9, 0, 9)
    threads = [act(w, clone(w, THREAD)) for _ in priorities]
    for thread, priority in zip(threads, priorities, strict=True):
        policy = F.SCHED_FIFO if priority else F.SCHED_OTHER
        assert thread.call("sched_setscheduler", 0, policy, struct.pack("<i", priority)) == 0
        assert thread.blocks("futex", word, F.FUTEX_WAIT, 0, 0, 0, 0)
    for index in (2, 4, 1, 0, 3):
        assert w.call("futex", word, F.FUTEX_WAKE, 1, 0, 0, 0) == 1
        assert threads[index].again() == 0


@CASES("futex", host=False)
def processes_meet_on_shared_memory_only(w: GuestWorld) -> None:
    call = "mmap2" if w.word == 4 else "mmap"
    shared = w.call(call, 0, 4096, 3, F.MAP_SHARED | F.MAP_ANONYMOUS, -1, 0)
    private = w.memory(bytes(4))
    child = act(w, clone(w))
    for address, woken in ((shared, 1), (private, 0)):
        try:
            child.call("futex", address, F.FUTEX_WAIT, 0, 0, 0, 0)
        except Blocked:
            pass
        else:
            raise AssertionError("does not sleep")
        assert w.call("futex", address, F.FUTEX_WAKE, 1, 0, 0, 0) == woken


def test_regions_of_all_processes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are in the host's memory: forks of a process that has many must not multiply them for ever."""
    monkeypatch.setattr(spaces, "FEW_REGIONS", 8)
    monkeypatch.setattr(spaces, "MOST_REGIONS", 60)
    with guest("x86_64") as w:
        places = []
        for _ in range(20):
            places.append(w.call("mmap", 0, 12288, 3, F.MAP_SHARED | F.MAP_ANONYMOUS, -1, 0))
        assert min(places) > 0
        children = [clone(w) for _ in range(5)]
        assert children[0] > 0 and children[-1] == -ENOMEM
        assert w.call("mmap", 0, 4096, 3, F.MAP_SHARED | F.MAP_ANONYMOUS, -1, 0) == -ENOMEM
        assert w.call("mprotect", places[0], 4096, 1) == -ENOMEM
        assert w.call("munmap", places[0] + 4096, 4096) == -ENOMEM, "it would leave two"
        assert w.call("munmap", places[1], 12288) == 0
        for child in children:
            if child > 0:
                end_process(w.machine.processes[child], exit_word(0))
        assert w.call("munmap", places[0] + 4096, 4096) == 0
        assert clone(w) > 0


def test_the_adjustment_of_the_oom_score() -> None:
    """proc(5): remembered and inherited; who is not privileged may not go below what the privileged have set."""
    with guest("x86_64") as w:
        w.machine.current = w.task
        view = KernelView(w.machine).process(w.task.tgid)
        assert view is not None
        for text in (b"1001", b"-1001", b"x", b"", b"1 2"):
            with pytest.raises(Errno):
                view.adjust_oom(text)
        view.adjust_oom(b"-17\n")
        child = w.machine.processes[clone(w)]
        assert view.oom_adjustment == child.oom_adjustment == -17
        w.become(1000, 1000)
        view.adjust_oom(b"3")
        view.adjust_oom(b"-17")
        with pytest.raises(Errno):
            view.adjust_oom(b"-18")


test_guest, test_host, test_proof = CASES.tests()
