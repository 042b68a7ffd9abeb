"""Signal calls: actions, masks, sending, waiting, stacks, and the frames that handlers are entered with."""

from __future__ import annotations

import struct
from contextlib import suppress

from sandbox.abi.errno import EAGAIN, EFAULT, EINTR, EINVAL, ENOMEM, EPERM, ESRCH
from sandbox.abi.flags import (
    CLONE_FILES,
    CLONE_FS,
    CLONE_SIGHAND,
    CLONE_THREAD,
    CLONE_VM,
    RLIM_INFINITY,
    RLIMIT_SIGPENDING,
)
from sandbox.abi.signal_structs import pack_sigaction, pack_stack, sigaction_size, stack_size, unpack_stack
from sandbox.abi.signals import (
    SA_ONSTACK,
    SA_RESETHAND,
    SA_RESTART,
    SA_RESTORER,
    SA_SIGINFO,
    SI_TKILL,
    SIG_BLOCK,
    SIG_IGN,
    SIG_SETMASK,
    SIG_UNBLOCK,
    SIGCHLD,
    SIGKILL,
    SIGRTMIN,
    SIGSTOP,
    SIGTERM,
    SIGUSR1,
    SIGUSR2,
    SS_DISABLE,
    SS_ONSTACK,
    bit,
)
from sandbox.abi.structs import PAIR
from sandbox.kernel.delivery import deliver
from sandbox.kernel.signals import MOST_QUEUED
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD, Blocked, GuestWorld

CASES = Cases()
NOBODY = 1 << 22
THREAD = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD
HANDLER = 0x12340


def mask(*numbers: int) -> bytes:
    return sum(bit(number) for number in numbers).to_bytes(8, "little")


def install(w: GuestWorld, number: int, handler: int = HANDLER, flags: int = 0, blocked: int = 0) -> None:
    action = pack_sigaction(w.isa, handler, flags | SA_RESTORER, 0x5550, blocked)
    assert w.call("rt_sigaction", number, action, None, 8) == 0


@CASES("rt_sigaction")
def actions_are_kept(w: World) -> None:
    old = bytearray(sigaction_size(w.isa))
    action = pack_sigaction(w.isa, SIG_IGN, SA_RESTART | SA_RESTORER, 0x5550, bit(SIGUSR2) | bit(SIGKILL))
    assert w.call("rt_sigaction", SIGUSR1, action, None, 8) == 0
    assert w.call("rt_sigaction", SIGUSR1, None, old, 8) == 0
    assert bytes(old) == pack_sigaction(w.isa, SIG_IGN, SA_RESTART | SA_RESTORER, 0x5550, bit(SIGUSR2))
    assert w.call("rt_sigaction", SIGKILL, action, None, 8) == -EINVAL
    assert w.call("rt_sigaction", SIGKILL, None, old, 8) == 0
    assert w.call("rt_sigaction", 65, None, old, 8) == -EINVAL
    assert w.call("rt_sigaction", 0, None, old, 8) == -EINVAL
    assert w.call("rt_sigaction", SIGUSR1, None, old, 4) == -EINVAL
    assert w.call("rt_sigaction", SIGUSR1, BAD, None, 8) == -EFAULT
    assert w.call("rt_sigaction", SIGUSR1, None, BAD, 8) == -EFAULT


@CASES("sigaction", "rt_sigaction", host=False)
def the_old_form_has_a_short_mask(w: GuestWorld) -> None:
    assert w.call("sigaction", SIGUSR1, struct.pack("<IIII", HANDLER, bit(SIGUSR2), SA_RESTART, 0), None) == 0
    old = bytearray(20)
    assert w.call("rt_sigaction", SIGUSR1, None, old, 8) == 0
    assert bytes(old) == pack_sigaction(w.isa, HANDLER, SA_RESTART, 0, bit(SIGUSR2))
    short = bytearray(16)
    assert w.call("sigaction", SIGUSR1, None, short) == 0
    assert struct.unpack("<IIII", short) == (HANDLER, bit(SIGUSR2), SA_RESTART, 0)
    assert w.call("sigaction", SIGSTOP, short, None) == -EINVAL


@CASES("signal", host=False, isas=("i386",))
def the_oldest_form(w: GuestWorld) -> None:
    assert w.call("signal", SIGUSR1, HANDLER) == 0
    assert w.call("signal", SIGUSR1, SIG_IGN) == HANDLER
    assert w.call("signal", SIGKILL, HANDLER) == -EINVAL


@CASES("rt_sigprocmask", "rt_sigpending", "tgkill")
def blocked_signals_stay_pending(w: World) -> None:
    pid = w.call("getpid")
    old = bytearray(8)
    assert w.call("rt_sigprocmask", SIG_BLOCK, mask(SIGUSR1, SIGKILL, SIGSTOP), None, 8) == 0
    assert w.call("rt_sigprocmask", SIG_BLOCK, mask(SIGUSR2), old, 8) == 0
    assert old == mask(SIGUSR1)
    assert w.call("tgkill", pid, pid, SIGUSR1) == 0
    assert w.call("rt_sigpending", old, 8) == 0
    assert old == mask(SIGUSR1)
    assert w.call("rt_sigprocmask", SIG_UNBLOCK, mask(SIGUSR2), None, 8) == 0
    assert w.call("rt_sigprocmask", 9, None, old, 8) == 0
    assert old == mask(SIGUSR1)
    assert w.call("rt_sigprocmask", 9, mask(), None, 8) == -EINVAL
    assert w.call("rt_sigprocmask", SIG_SETMASK, mask(), None, 4) == -EINVAL
    assert w.call("rt_sigprocmask", SIG_SETMASK, BAD, None, 8) == -EFAULT
    assert w.call("rt_sigpending", BAD, 8) == -EFAULT


@CASES("sigprocmask", "sigpending", host=False)
def the_short_masks(w: GuestWorld) -> None:
    w.call("rt_sigprocmask", SIG_SETMASK, mask(SIGUSR1, SIGRTMIN + 1), None, 8)
    old = bytearray(4)
    assert w.call("sigprocmask", SIG_SETMASK, struct.pack("<I", bit(SIGUSR2)), old) == 0
    assert old == mask(SIGUSR1)[:4]
    assert w.task.signals.mask == bit(SIGUSR2) | bit(SIGRTMIN + 1)
    w.call("tgkill", 1, 1, SIGUSR2)
    assert w.call("sigpending", old) == 0
    assert old == mask(SIGUSR2)[:4]


@CASES("sgetmask", "ssetmask", host=False, isas=("i386",))
def the_shortest_masks(w: GuestWorld) -> None:
    assert w.call("ssetmask", bit(SIGUSR1)) == 0
    assert w.call("sgetmask") == bit(SIGUSR1)
    assert w.call("ssetmask", 0) == bit(SIGUSR1)


@CASES("kill", "tkill", "tgkill")
def sending(w: World) -> None:
    pid = w.call("getpid")
    w.call("rt_sigprocmask", SIG_BLOCK, mask(SIGUSR1, SIGUSR2), None, 8)
    assert w.call("kill", pid, SIGUSR1) == 0
    assert w.call("tkill", pid, SIGUSR2) == 0
    pending = bytearray(8)
    w.call("rt_sigpending", pending, 8)
    assert pending == mask(SIGUSR1, SIGUSR2)
    assert w.call("kill", pid, 0) == 0
    assert w.call("kill", pid, 65) == -EINVAL
    assert w.call("kill", NOBODY, 0) == -ESRCH
    assert w.call("kill", -NOBODY, 0) == -ESRCH
    assert w.call("tkill", NOBODY, 0) == -ESRCH
    assert w.call("tkill", 0, 0) == -EINVAL
    assert w.call("tgkill", pid, NOBODY, 0) == -ESRCH
    assert w.call("tgkill", pid, 0, 0) == -EINVAL
    assert w.call("tgkill", NOBODY, pid, 0) == -ESRCH


@CASES("kill", host=False)
def who_may_send(w: GuestWorld) -> None:
    other = w.other()
    w.become(5, 5)
    assert w.call("kill", other.task.tid, SIGTERM) == -EPERM
    other.become(5, 5)
    other.task.signals.mask = bit(SIGTERM)
    assert w.call("kill", other.task.tid, SIGTERM) == 0
    assert other.pending_signals == bit(SIGTERM)
    assert w.call("kill", 0, 0) == 0
    assert w.call("kill", -1, 0) == 0


@CASES("rt_sigqueueinfo", "rt_tgsigqueueinfo", "rt_sigtimedwait")
def queued_signals_carry_a_value(w: World) -> None:
    pid = w.call("getpid")
    number = SIGRTMIN + 3
    w.call("rt_sigprocmask", SIG_BLOCK, mask(number), None, 8)

    def info(value: int, code: int = -1) -> bytes:
        head = struct.pack("<iii4x" if w.word == 8 else "<iii", number, 0, code)
        return (head + struct.pack("<iI" + ("Q" if w.word == 8 else "I"), 7, 8, value)).ljust(128, b"\0")

    assert w.call("rt_sigqueueinfo", pid, number, info(11)) == 0
    assert w.call("rt_tgsigqueueinfo", pid, pid, number, info(22)) == 0
    values = []
    for _ in range(2):
        found = bytearray(128)
        assert w.call("rt_sigtimedwait", mask(number), found, None, 8) == number
        values.append(struct.unpack_from("<I", found, 24 if w.word == 8 else 20)[0])
    assert sorted(values) == [11, 22]
    assert w.call("rt_sigtimedwait", mask(number), None, PAIR[w.word].pack(0, 0), 8) == -EAGAIN
    assert w.call("rt_sigtimedwait", mask(number), None, PAIR[w.word].pack(0, -1), 8) == -EINVAL
    assert w.call("rt_sigtimedwait", BAD, None, None, 8) == -EFAULT
    assert w.call("rt_sigqueueinfo", NOBODY, number, info(1)) == -ESRCH
    assert w.call("rt_sigqueueinfo", pid, number, BAD) == -EFAULT
    assert w.call("rt_tgsigqueueinfo", pid, NOBODY, number, info(1)) == -ESRCH


@CASES("kill", "tgkill", "rt_sigqueueinfo", "rt_sigtimedwait", host=False)
def a_full_queue_of_signals(w: GuestWorld) -> None:
    number, pid = SIGRTMIN + 3, w.call("getpid")
    w.call("rt_sigprocmask", SIG_BLOCK, mask(number, SIGUSR1), None, 8)
    info = struct.pack("<iii", number, 0, -1).ljust(128, b"\0")
    w.task.process.limits[RLIMIT_SIGPENDING] = 1, RLIM_INFINITY
    for name, arguments in (("rt_sigqueueinfo", (pid, number, info)), ("tgkill", (pid, pid, number))):
        assert [w.call(name, *arguments) for _ in range(2)] == [0, -EAGAIN]
    assert w.call("rt_sigqueueinfo", pid, SIGUSR1, info) == 0, "a standard signal is always taken"
    assert w.call("kill", pid, number) == 0, "kill tells of no lack"
    w.task.process.limits[RLIMIT_SIGPENDING] = RLIM_INFINITY, RLIM_INFINITY
    for _ in range(MOST_QUEUED + 5):
        assert w.call("kill", pid, number) == 0
    assert len(w.task.process.pending.queue) <= MOST_QUEUED + 1
    other = number + 1
    w.call("rt_sigprocmask", SIG_BLOCK, mask(other), None, 8)
    assert w.call("kill", pid, other) == 0
    nothing = PAIR[w.word].pack(0, 0)
    assert w.call("rt_sigtimedwait", mask(other), None, nothing, 8) == other, "it comes though nothing is kept of it"
    assert w.call("rt_sigtimedwait", mask(other), None, nothing, 8) == -EAGAIN


@CASES("rt_sigtimedwait_time64", host=False)
def waiting_with_a_wide_timeout(w: GuestWorld) -> None:
    assert w.blocks("rt_sigtimedwait_time64", mask(SIGUSR1), None, PAIR[8].pack(5, 0), 8)
    w.machine.clock.advance(5_000_000_000)  # type: ignore[attr-defined]
    assert w.again() == -EAGAIN


@CASES("rt_sigtimedwait", "tgkill", host=False)
def a_signal_ends_the_wait(w: GuestWorld) -> None:
    w.call("rt_sigprocmask", SIG_BLOCK, mask(SIGUSR1), None, 8)
    found = w.memory(bytes(128))
    assert w.blocks("rt_sigtimedwait", mask(SIGUSR1), found, None, 8)
    assert w.call("tgkill", 1, 1, SIGUSR1) == 0
    assert w.call("rt_sigtimedwait", mask(SIGUSR1), found, None, 8) == SIGUSR1
    assert struct.unpack("<iii", w.peek(found, 12)) == (SIGUSR1, 0, SI_TKILL)


# -- delivery ----------------------------------------------------------------------------------------------


def context_of(w: GuestWorld) -> tuple[int, int]:
    return w.task.context.pc, w.task.context.sp


@CASES("rt_sigreturn", host=False)
def a_handler_is_entered_and_left(w: GuestWorld) -> None:
    context = w.task.context
    stack = w.memory(bytes(16384)) + 16384
    context.pc, context.sp = 0x4440, stack
    before = context.save()
    for flags, argument in ((0, 0), (SA_SIGINFO, 1)):
        w.task.signals.mask = bit(SIGUSR2)
        install(w, SIGUSR1, flags=flags, blocked=bit(SIGTERM))
        w.call("tgkill", 1, 1, SIGUSR1)
        deliver(w.task)
        assert context.pc == HANDLER and context.sp < stack
        assert w.task.signals.mask == bit(SIGUSR2) | bit(SIGUSR1) | bit(SIGTERM)
        first = {"x86_64": "rdi", "arm64": "x0", "arm": "r0", "riscv64": "a0", "i386": "eax"}[w.isa]
        assert context[first] == SIGUSR1
        assert context.sp % 16 in (0, 8, 12)
        if w.isa in ("x86_64", "i386"):
            context.sp += w.word  # the handler's `ret`
        if w.isa == "i386" and not argument:
            context.sp += 4  # the restorer's `pop`
        name = "rt_sigreturn" if argument or w.word == 8 else "sigreturn"
        if name == w.absent:
            raise AssertionError("nothing happened")
        assert w.entries[w.number[name]].call(w.task, (0,) * 6) is None
        assert w.task.signals.mask == bit(SIGUSR2)
        after = context.save()
        differing = {key for key in before if before[key] != after[key]}
        assert not differing - {"eflags"}, differing


@CASES("sigreturn", host=False)
def sigreturn_reads_a_frame(w: GuestWorld) -> None:
    w.task.context.sp = BAD
    if w.absent == "sigreturn":
        raise AssertionError("nothing happened")
    w.entries[w.number["sigreturn"]].call(w.task, (0,) * 6)
    assert w.pending_signals & bit(11)


@CASES("sigaltstack", host=False)
def handlers_can_have_their_own_stack(w: GuestWorld) -> None:
    base = w.memory(bytes(32768))
    w.task.context.pc, w.task.context.sp = 0x4440, w.memory(bytes(16384)) + 16384
    assert w.call("sigaltstack", pack_stack(w.isa, base, 0, 100), None) == -ENOMEM
    assert w.call("sigaltstack", pack_stack(w.isa, base, 77, 32768), None) == -EINVAL
    assert w.call("sigaltstack", BAD, None) == -EFAULT
    old = bytearray(stack_size(w.isa))
    assert w.call("sigaltstack", pack_stack(w.isa, base, 0, 32768), old) == 0
    assert unpack_stack(w.isa, bytes(old))[1] == SS_DISABLE
    install(w, SIGUSR1, flags=SA_SIGINFO | SA_ONSTACK)
    w.call("tgkill", 1, 1, SIGUSR1)
    deliver(w.task)
    assert base < w.task.context.sp < base + 32768
    assert w.call("sigaltstack", None, old) == 0
    assert unpack_stack(w.isa, bytes(old)) == (base, SS_ONSTACK, 32768)
    assert w.call("sigaltstack", pack_stack(w.isa, base, 0, 32768), None) == -EPERM


@CASES("tgkill", host=False)
def a_handler_without_a_stack_is_fatal(w: GuestWorld) -> None:
    w.task.context.sp = BAD
    install(w, SIGUSR1)
    w.call("tgkill", 1, 1, SIGUSR1)
    deliver(w.task)
    deliver(w.task)
    assert w.machine.exit_status == 128 + 11
    assert w.machine.death is not None and "no room for a signal frame" in w.machine.death


@CASES("kill", host=False)
def default_actions(w: GuestWorld) -> None:
    w.call("kill", 1, SIGCHLD)
    deliver(w.task)
    assert w.task.state == "ready"
    w.call("kill", 1, SIGTERM)
    deliver(w.task)
    assert w.machine.exit_status == 128 + SIGTERM


@CASES("rt_sigaction", host=False)
def one_shot_handlers(w: GuestWorld) -> None:
    w.task.context.sp = w.memory(bytes(16384)) + 16384
    install(w, SIGUSR1, flags=SA_RESETHAND)
    old = bytearray(sigaction_size(w.isa))
    assert w.call("rt_sigaction", SIGUSR1, None, old, 8) == 0
    assert any(old[: w.word])
    w.call("tgkill", 1, 1, SIGUSR1)
    deliver(w.task)
    assert w.call("rt_sigaction", SIGUSR1, None, old, 8) == 0
    assert not any(old[: w.word])
    assert int.from_bytes(old[w.word : 2 * w.word], "little") & SA_RESETHAND, "only the handler is reset"


def park(w: GuestWorld, number: int, *registers: int) -> None:
    """Sleep in a call as the kernel does it."""
    from sandbox.kernel.dispatch import dispatch

    w.task.context.settle()
    arguments = (*registers, *[0] * (6 - len(registers)))
    assert dispatch(w.task, number, arguments) is None
    assert w.task.state == "waiting"


@CASES("read", host=False)
def a_handler_ends_a_sleeping_read(w: GuestWorld) -> None:
    """Issued anew with SA_RESTART: the pc is back at the instruction. Without it: EINTR."""
    reader, _ = w.pipe()
    buffer = w.memory(bytes(16))
    for flags in (SA_RESTART, 0):
        w.task.context.pc, w.task.context.sp = 0x4440, w.memory(bytes(16384)) + 16384
        install(w, SIGUSR1, flags=flags)
        if w.absent:
            raise AssertionError("nothing happened")
        park(w, w.number["read"], reader, buffer, 16)
        w.call("tgkill", 1, 1, SIGUSR1)
        w.task.call = (w.number["read"], (reader, buffer, 16, 0, 0, 0))
        assert w.task.state == "ready"
        deliver(w.task)
        assert w.task.call is None and w.task.context.pc == HANDLER
        w.task.signals.mask = 0
        frame = w.task.context.sp
        saved = {
            "x86_64": (frame + 48 + 16 * 8, frame + 48 + 13 * 8),
            "arm64": (frame + 312 + 32 * 8, frame + 312),
            "riscv64": (frame + 304, frame + 304 + 10 * 8),
        }.get(w.isa)
        if saved is None:
            continue  # their frames have other places; test_conformance proves them
        pc, result = (int.from_bytes(w.peek(address, 8), "little") for address in saved)
        assert pc == (0x4440 - w.machine.isa.syscall_length if flags else 0x4440)
        if not flags:
            assert result == (1 << 64) - EINTR


@CASES("pause", host=False)
def waiting_for_any_signal(w: GuestWorld) -> None:
    assert w.blocks("pause")


@CASES("rt_sigsuspend", host=False)
def the_mask_is_put_aside(w: GuestWorld) -> None:
    w.task.signals.mask = bit(SIGUSR1)
    assert w.blocks("rt_sigsuspend", mask(SIGUSR2), 8)
    assert (w.task.signals.mask, w.task.signals.saved_mask) == (bit(SIGUSR2), bit(SIGUSR1))
    with suppress(Blocked):
        w.again()
    assert w.call("rt_sigsuspend", mask(), 4) == -EINVAL


@CASES("rt_sigsuspend", host=False)
def suspending_swaps_the_mask(w: GuestWorld) -> None:
    w.task.signals.mask = bit(SIGUSR1)
    assert w.blocks("rt_sigsuspend", mask(SIGUSR2), 8)
    assert w.task.signals.mask == bit(SIGUSR2)
    assert w.call("rt_sigsuspend", BAD, 8) == -EFAULT


@CASES("sigsuspend", host=False)
def suspending_with_a_short_mask(w: GuestWorld) -> None:
    assert w.blocks("sigsuspend", 0, 0, bit(SIGUSR2))
    assert w.task.signals.mask == bit(SIGUSR2)


@CASES("tgkill", host=False)
def a_stop_is_for_all_threads(w: GuestWorld) -> None:
    tid = w.call("clone", THREAD, 0, 0, 0, 0)
    w.call("tgkill", 1, tid, SIGSTOP)
    deliver(w.machine.tasks[tid])
    assert {task.state for task in w.machine.tasks.values()} == {"stopped"}
    assert w.machine.processes[1].stop_signal == SIGSTOP


test_guest, test_host, test_proof = CASES.tests()
