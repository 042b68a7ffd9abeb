"""Making tasks: fork, vfork, clone, clone3. Every combination of sharing is served by `create`; the calls differ only
in how they say what they want. Source: clone(2), fork(2), vfork(2), `copy_process` in kernel/fork.c.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING

from sandbox.abi.errno import E2BIG, EAGAIN, EFAULT, EINVAL, ENOMEM, EPERM, Errno
from sandbox.abi.flags import (
    CLONE_CHILD_CLEARTID,
    CLONE_CHILD_SETTID,
    CLONE_CLEAR_SIGHAND,
    CLONE_DETACHED,
    CLONE_FILES,
    CLONE_FS,
    CLONE_INTO_CGROUP,
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    CLONE_PARENT,
    CLONE_PARENT_SETTID,
    CLONE_PIDFD,
    CLONE_SETTLS,
    CLONE_SIGHAND,
    CLONE_THREAD,
    CLONE_VFORK,
    CLONE_VM,
    CSIGNAL,
    RLIMIT_NPROC,
)
from sandbox.abi.signals import SIGCHLD
from sandbox.abi.structs import USER_DESC
from sandbox.errors import OutOfMemory
from sandbox.kernel import descriptors
from sandbox.kernel.pidfd import new_pidfd
from sandbox.kernel.process import Process
from sandbox.kernel.row import FULL, PARTIAL, Row
from sandbox.kernel.signals import AlternateStack
from sandbox.kernel.sys_process import set_tls
from sandbox.kernel.task import Task
from sandbox.wait import Block, WaitQueue

if TYPE_CHECKING:
    from sandbox.engine import Context
    from sandbox.memory import AddressSpace

_NAMESPACES = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET
_KNOWN_3 = (1 << 34) - 1
_ARGUMENTS = Struct("<8Q")  # struct clone_args, version 0: flags pidfd child_tid parent_tid exit_signal stack size tls
_CAP_SYS_ADMIN, _CAP_SYS_RESOURCE = 21, 24


@dataclass(frozen=True, slots=True)
class Wanted:
    """What clone asks for. `stack` is where the child's stack pointer starts; 0: where the parent's is."""

    flags: int
    exit_signal: int = SIGCHLD
    stack: int = 0
    parent_tid: int = 0
    child_tid: int = 0
    tls: int = 0
    pidfd: int = 0  # where its descriptor goes, with CLONE_PIDFD


def create(task: Task, wanted: Wanted) -> int:
    """Make the child and let it run; return its tid. Raises Errno: EINVAL, EAGAIN, ENOMEM; nothing is left then."""
    flags = wanted.flags
    _check(flags)
    kernel = task.kernel
    tid = _number(task)
    space = _space(task, flags)
    try:
        files = task.files.share() if flags & CLONE_FILES else task.files.duplicate()
    except Errno:
        if space is not task.space:
            space.release()
        raise
    context = task.context.copy()
    context.set_result(0)
    if wanted.stack:
        context.sp = wanted.stack
    process = task.process if flags & CLONE_THREAD else _process(task, tid, wanted)
    child = Task(
        kernel,
        process,
        tid,
        context=context,
        space=space,
        files=files,
        fs=task.fs if flags & CLONE_FS else task.fs.copy(),
        credentials=task.credentials,
    )
    _inherit(task, child, flags)
    try:
        if flags & CLONE_SETTLS:
            _set_thread_pointer(child, context, wanted.tls)
        if flags & CLONE_PIDFD:
            _give_pidfd(task, process, wanted.pidfd)
    except Errno:
        _abandon(task, child)
        raise
    if flags & CLONE_CHILD_CLEARTID:
        child.clear_tid = wanted.child_tid
    data = tid.to_bytes(4, "little")
    if flags & CLONE_CHILD_SETTID:
        with suppress(Errno):
            space.copy_out(wanted.child_tid, data)
    if flags & CLONE_PARENT_SETTID:
        with suppress(Errno):
            task.space.copy_out(wanted.parent_tid, data)
    if process is not task.process:
        assert process.parent is not None
        process.parent.children[tid] = process
        kernel.processes[tid] = process
    if flags & CLONE_VFORK:
        child.vfork_done = WaitQueue()
    kernel.add_task(child)
    return tid


def _check(flags: int) -> None:
    if flags & CLONE_FS and flags & (CLONE_NEWNS | CLONE_NEWUSER):
        raise Errno(EINVAL)
    if flags & (_NAMESPACES | CLONE_NEWTIME):
        raise Errno(EPERM)  # as unshare says: like in a container that may not have others
    if flags & CLONE_INTO_CGROUP or (flags & CLONE_PIDFD and flags & CLONE_THREAD):
        raise Errno(EINVAL)
    if flags & CLONE_THREAD and not flags & CLONE_SIGHAND:
        raise Errno(EINVAL)
    if flags & CLONE_SIGHAND and (not flags & CLONE_VM or flags & CLONE_CLEAR_SIGHAND):
        raise Errno(EINVAL)


def _number(task: Task) -> int:
    credentials = task.credentials
    if credentials.uid and not (credentials.capable(_CAP_SYS_ADMIN) or credentials.capable(_CAP_SYS_RESOURCE)):
        mine = sum(other.credentials.uid == credentials.uid for other in task.kernel.tasks.values())
        if mine >= task.limits.soft(RLIMIT_NPROC):
            raise Errno(EAGAIN)
    tid = task.kernel.new_pid()
    if tid is None:
        raise Errno(EAGAIN)
    return tid


def _space(task: Task, flags: int) -> AddressSpace:
    if flags & CLONE_VM:
        return task.space
    if task.kernel.spaces.crowded():
        raise Errno(ENOMEM)
    try:
        return task.space.fork()
    except OutOfMemory:
        raise Errno(ENOMEM) from None


def _process(task: Task, pid: int, wanted: Wanted) -> Process:
    old = task.process
    parent = old.parent if wanted.flags & CLONE_PARENT and old.parent is not None else old
    process = Process(task.kernel, pid, parent)
    process.inherit(old)
    process.actions = old.actions if wanted.flags & CLONE_SIGHAND else old.actions.copy()
    if wanted.flags & CLONE_CLEAR_SIGHAND:
        process.actions.reset_for_exec()
    process.exit_signal = old.exit_signal if wanted.flags & CLONE_PARENT else wanted.exit_signal
    return process


def _inherit(task: Task, child: Task, flags: int) -> None:
    child.name = task.name
    child.policy = task.policy if not task.resets_on_fork or not task.policy[1] else (0, 0)
    if task.resets_on_fork and child.process is not task.process:
        child.process.nice = max(0, child.process.nice)
    child.cpu_affinity = task.cpu_affinity
    child.timer_slack = child.default_timer_slack = task.timer_slack
    child.tls_entries = dict(task.tls_entries)
    child.signals.mask = task.signals.mask if task.signals.saved_mask is None else task.signals.saved_mask
    if not flags & CLONE_VM or flags & CLONE_VFORK:
        stack = task.signals.stack
        child.signals.stack = AlternateStack(stack.base, stack.size, stack.flags)


def _set_thread_pointer(child: Task, context: Context, tls: int) -> None:
    if child.isa != "i386":
        context["tp"] = tls
        return
    number, base, limit, bits = USER_DESC.unpack(child.space.copy_in(tls, USER_DESC.size))
    if number == 0xFFFFFFFF:
        raise Errno(EINVAL)
    descriptors.start_with_segment(child, set_tls(child, number, base, limit, bits))


def _give_pidfd(task: Task, process: Process, address: int) -> None:
    fd = new_pidfd(task, process)
    try:
        task.space.copy_out(address, fd.to_bytes(4, "little"))
    except Errno:
        task.files.close(fd)
        raise


def _abandon(task: Task, child: Task) -> None:
    """Undo what `create` had done when it failed."""
    child.files.release()
    child.context.release()
    if child.space is not task.space:
        child.space.release()


# -- the calls ---------------------------------------------------------------------------------------------


def _make(task: Task, wanted: Wanted) -> int:
    """`create`, and for CLONE_VFORK sleep until the child has its own memory or has ended."""
    tid: int | None = task.restart.get("child")
    if tid is None:
        tid = create(task, wanted)
        if not wanted.flags & CLONE_VFORK:
            return tid
        task.restart["child"] = tid
    child = task.kernel.tasks.get(tid)
    if child is None or child.vfork_done is None:
        return tid
    raise Block(child.vfork_done, interruptible=False)


def fork(task: Task) -> int:
    return create(task, Wanted(0))


def vfork(task: Task) -> int:
    return _make(task, Wanted(CLONE_VM | CLONE_VFORK))


def _clone(task: Task, flags: int, stack: int, parent_tid: int, child_tid: int, tls: int) -> int:
    if flags & CLONE_PIDFD and flags & (CLONE_DETACHED | CLONE_PARENT_SETTID):
        raise Errno(EINVAL)  # there is one place for the descriptor and for the tid
    bits = flags & 0xFFFFFFFF & ~CSIGNAL & ~CLONE_DETACHED
    return _make(task, Wanted(bits, flags & CSIGNAL, stack, parent_tid, child_tid, tls, parent_tid))


def clone(task: Task, flags: int, stack: int, parent_tid: int, child_tid: int, tls: int) -> int:
    """x86-64."""
    return _clone(task, flags, stack, parent_tid, child_tid, tls)


def clone_backwards(task: Task, flags: int, stack: int, parent_tid: int, tls: int, child_tid: int) -> int:
    """Everywhere else (CONFIG_CLONE_BACKWARDS)."""
    return _clone(task, flags, stack, parent_tid, child_tid, tls)


def clone3(task: Task, arguments: int, size: int) -> int:
    if size < _ARGUMENTS.size:
        raise Errno(EINVAL)
    if size > 4096:
        raise Errno(E2BIG)
    data = task.space.copy_in(arguments, size)
    if any(data[88:]):
        raise Errno(E2BIG)
    flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls = _ARGUMENTS.unpack_from(data)
    if any(data[_ARGUMENTS.size : 80]):
        raise Errno(EINVAL)  # set_tid: numbers cannot be chosen
    if flags & ~_KNOWN_3 or flags & (CSIGNAL & ~CLONE_NEWTIME | CLONE_DETACHED) or exit_signal & ~CSIGNAL:
        raise Errno(EINVAL)
    if exit_signal > 64 or (flags & (CLONE_THREAD | CLONE_PARENT) and exit_signal):
        raise Errno(EINVAL)
    if bool(stack) != bool(stack_size):
        raise Errno(EINVAL)
    if stack + stack_size > task.space.top:
        raise Errno(EFAULT)
    top = stack + stack_size
    return _make(task, Wanted(flags, exit_signal, top, parent_tid, child_tid, tls, pidfd))


_PARTS = "no namespaces, no cgroups"
_IDS = "flags:flags:clone stack:address parent_tid:address"

ROWS: tuple[Row, ...] = (
    Row("fork", fork, "", FULL),
    Row("vfork", vfork, "", FULL),
    Row("clone", clone, f"{_IDS} child_tid:address tls:ulong", PARTIAL, _PARTS, isas=("x86_64",)),
    Row("clone", clone_backwards, f"{_IDS} tls:ulong child_tid:address", PARTIAL, _PARTS,
        isas=("i386", "arm64", "arm", "riscv64")),
    Row("clone3", clone3, "arguments:in size:size", PARTIAL, f"{_PARTS}, no set_tid"),
)  # fmt: skip
