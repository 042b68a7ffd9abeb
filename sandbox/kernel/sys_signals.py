"""Signal calls: actions, masks, sending and waiting. What a signal does is decided in `sandbox.kernel.delivery`; how
a handler is entered and left in `sandbox.kernel.frames`. Source: sigaction(2), sigprocmask(2), kill(2), tgkill(2),
rt_sigqueueinfo(2), sigsuspend(2), sigtimedwait(2), sigaltstack(2), pause(2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.abi.errno import EAGAIN, EINVAL, ENOMEM, EPERM, ESRCH, Errno
from sandbox.abi.flags import RLIMIT_SIGPENDING
from sandbox.abi.signal_structs import (
    OLD_SIGACTION,
    SIGINFO_SIZE,
    pack_sigaction,
    pack_stack,
    sigaction_size,
    stack_size,
    unpack_queued_siginfo,
    unpack_sigaction,
    unpack_stack,
)
from sandbox.abi.signals import (
    NSIG,
    SI_TKILL,
    SI_USER,
    SIG_BLOCK,
    SIG_SETMASK,
    SIG_UNBLOCK,
    SIGCONT,
    SIGKILL,
    SIGRTMIN,
    SIGSTOP,
    SS_AUTODISARM,
    SS_DISABLE,
    SS_ONSTACK,
    UNBLOCKABLE,
    bit,
)
from sandbox.kernel import frames
from sandbox.kernel.delivery import take_signal
from sandbox.kernel.frames.siginfo import packed_info
from sandbox.kernel.row import FULL, Row
from sandbox.kernel.signals import (
    Action,
    AlternateStack,
    PendingSignals,
    SignalInfo,
    is_full,
    send_to_process,
    send_to_task,
    set_mask,
)
from sandbox.kernel.sys_time import read_timespec
from sandbox.wait import Block

if TYPE_CHECKING:
    from sandbox.kernel.process import Process
    from sandbox.kernel.task import Task

SIGSET_SIZE = 8
CAP_KILL = 5
MINSIGSTKSZ = {"arm64": 5120}  # elsewhere 2048


def read_mask(task: Task, address: int, size: int = SIGSET_SIZE) -> int:
    if size != SIGSET_SIZE:
        raise Errno(EINVAL)
    return int.from_bytes(task.space.copy_in(address, SIGSET_SIZE), "little")


# -- actions -----------------------------------------------------------------------------------------------


def _install(task: Task, number: int, action: Action) -> None:
    process = task.process
    process.actions[number] = Action(action.handler, action.flags, action.restorer, action.mask & ~UNBLOCKABLE)
    if process.actions.ignores(number):
        process.discard_pending(bit(number))


def _check_number(number: int, changes: bool) -> None:
    if not 1 <= number <= NSIG or (changes and number in (SIGKILL, SIGSTOP)):
        raise Errno(EINVAL)


def rt_sigaction(task: Task, number: int, new: int, old: int, size: int) -> int:
    if size != SIGSET_SIZE:
        raise Errno(EINVAL)
    action = None
    if new:
        action = Action(*unpack_sigaction(task.isa, task.space.copy_in(new, sigaction_size(task.isa))))
    _check_number(number, action is not None)
    present = task.process.actions[number]
    if action is not None:
        _install(task, number, action)
    if old:
        data = pack_sigaction(task.isa, present.handler, present.flags, present.restorer, present.mask)
        task.space.copy_out(old, data)
    return 0


def sigaction(task: Task, number: int, new: int, old: int) -> int:
    """i386 and arm: the form with a 32-bit mask."""
    action = None
    if new:
        handler, mask, bits, restorer = OLD_SIGACTION.unpack(task.space.copy_in(new, OLD_SIGACTION.size))
        action = Action(handler, bits, restorer, mask)
    _check_number(number, action is not None)
    present = task.process.actions[number]
    if action is not None:
        _install(task, number, action)
    if old:
        data = OLD_SIGACTION.pack(present.handler, present.mask & 0xFFFFFFFF, present.flags, present.restorer)
        task.space.copy_out(old, data)
    return 0


def signal(task: Task, number: int, handler: int) -> int:
    """i386: System V semantics, one shot and without blocking."""
    _check_number(number, True)
    present = task.process.actions[number]
    _install(task, number, Action(handler, 0xC0000000))
    return present.handler


# -- masks -------------------------------------------------------------------------------------------------


def _changed_mask(mask: int, how: int, change: int) -> int:
    if how == SIG_BLOCK:
        return mask | change
    if how == SIG_UNBLOCK:
        return mask & ~change
    if how == SIG_SETMASK:
        return change
    raise Errno(EINVAL)


def rt_sigprocmask(task: Task, how: int, new: int, old: int, size: int) -> int:
    if size != SIGSET_SIZE:
        raise Errno(EINVAL)
    present = task.signals.mask
    if new:
        set_mask(task, _changed_mask(present, how, read_mask(task, new)))
    if old:
        task.space.copy_out(old, present.to_bytes(SIGSET_SIZE, "little"))
    return 0


def sigprocmask(task: Task, how: int, new: int, old: int) -> int:
    """i386 and arm: only the first 32 signals."""
    present = task.signals.mask
    if new:
        change = int.from_bytes(task.space.copy_in(new, 4), "little")
        changed = _changed_mask(present & 0xFFFFFFFF, how, change)
        set_mask(task, present & ~0xFFFFFFFF | changed & 0xFFFFFFFF)
    if old:
        task.space.copy_out(old, (present & 0xFFFFFFFF).to_bytes(4, "little"))
    return 0


def _pending(task: Task) -> int:
    """What is pending and blocked."""
    return (task.signals.pending.bits | task.process.pending.bits) & task.signals.mask


def rt_sigpending(task: Task, pending: int, size: int) -> int:
    if size > SIGSET_SIZE:
        raise Errno(EINVAL)
    task.space.copy_out(pending, _pending(task).to_bytes(SIGSET_SIZE, "little")[:size])
    return 0


def sigpending(task: Task, pending: int) -> int:
    task.space.copy_out(pending, (_pending(task) & 0xFFFFFFFF).to_bytes(4, "little"))
    return 0


def sgetmask(task: Task) -> int:
    return task.signals.mask & 0xFFFFFFFF


def ssetmask(task: Task, mask: int) -> int:
    present = task.signals.mask
    set_mask(task, mask)
    return present & 0xFFFFFFFF


# -- sending -----------------------------------------------------------------------------------------------


def _may_signal(task: Task, process: Process, number: int) -> bool:
    own = task.credentials
    if process is task.process or own.capable(CAP_KILL):
        return True
    if number == SIGCONT and process.session == task.process.session:
        return True
    for thread in process.threads.values():
        other = thread.credentials
        return bool({own.euid, own.uid} & {other.suid, other.uid})
    return own.uid == process.uid


def _check_signal(number: int) -> None:
    if not 0 <= number <= NSIG:
        raise Errno(EINVAL)


def _user_info(task: Task, number: int, code: int = SI_USER) -> SignalInfo:
    return SignalInfo(number, code, pid=task.process.pid, uid=task.credentials.uid)


def kill(task: Task, pid: int, number: int) -> int:
    processes = task.kernel.processes
    if pid > 0:
        process = processes.get(pid)
        if process is None:
            thread = task.kernel.tasks.get(pid)
            process = thread.process if thread is not None else None
        targets = [process] if process is not None else []
    elif pid == -1:
        targets = [process for process in processes.values() if process.pid > 1 and process is not task.process]
    else:
        group = -pid if pid else task.process.group
        targets = [process for process in processes.values() if process.group == group]
    if not targets:
        raise Errno(ESRCH)
    _check_signal(number)
    allowed = [process for process in targets if _may_signal(task, process, number)]
    if not allowed:
        raise Errno(EPERM)
    if number:
        for process in allowed:
            send_to_process(process, _user_info(task, number))
    return 0


def _find_thread(task: Task, group: int | None, tid: int) -> tuple[Process, Task | None]:
    """Without a task it is a first thread that has ended and whose number is still taken: signals to it are lost."""
    if tid <= 0 or (group is not None and group <= 0):
        raise Errno(EINVAL)
    target = task.kernel.tasks.get(tid)
    process = target.process if target is not None else task.kernel.processes.get(tid)
    if process is None or (group is not None and process.pid != group):
        raise Errno(ESRCH)
    return process, target


def _signal_thread(task: Task, process: Process, target: Task | None, number: int, info: SignalInfo) -> int:
    if not _may_signal(task, process, number):
        raise Errno(EPERM)
    if number and target is not None:
        _check_queue(task, target.signals.pending, number)
        send_to_task(target, info)
    return 0


def tgkill(task: Task, group: int, tid: int, number: int) -> int:
    process, target = _find_thread(task, group, tid)
    _check_signal(number)
    return _signal_thread(task, process, target, number, _user_info(task, number, SI_TKILL))


def tkill(task: Task, tid: int, number: int) -> int:
    process, target = _find_thread(task, None, tid)
    _check_signal(number)
    return _signal_thread(task, process, target, number, _user_info(task, number, SI_TKILL))


def _queued_info(task: Task, number: int, address: int, target: Process) -> SignalInfo:
    """The siginfo a guest composed; it may not pretend to come from the kernel, or from kill, to others."""
    _check_signal(number)
    _, errno, code, pid, uid, value = unpack_queued_siginfo(task.isa, task.space.copy_in(address, SIGINFO_SIZE))
    if (code >= 0 or code == SI_TKILL) and target is not task.process:
        raise Errno(EPERM)
    return SignalInfo(number, code, errno, pid=pid, uid=uid, value=value)


def rt_sigqueueinfo(task: Task, pid: int, number: int, info: int) -> int:
    thread = task.kernel.tasks.get(pid)
    process = thread.process if thread is not None else task.kernel.processes.get(pid)
    if process is None:
        task.space.copy_in(info, SIGINFO_SIZE)
        raise Errno(ESRCH)
    queued = _queued_info(task, number, info, process)
    if not _may_signal(task, process, number):
        raise Errno(EPERM)
    if number:
        _check_queue(task, process.pending, number)
        send_to_process(process, queued)
    return 0


def rt_tgsigqueueinfo(task: Task, group: int, tid: int, number: int, info: int) -> int:
    process, target = _find_thread(task, group, tid)
    queued = _queued_info(task, number, info, process)
    return _signal_thread(task, process, target, number, queued)


def send_queued(task: Task, process: Process, number: int, info: int) -> int:
    """For pidfd_send_signal: like kill, or, with a siginfo at `info`, like rt_sigqueueinfo."""
    _check_signal(number)
    queued = _queued_info(task, number, info, process) if info else _user_info(task, number)
    if info and number != int.from_bytes(task.space.copy_in(info, 4), "little"):
        raise Errno(EINVAL)
    if not _may_signal(task, process, number):
        raise Errno(EPERM)
    if number:
        send_to_process(process, queued)
    return 0


def _check_queue(task: Task, pending: PendingSignals, number: int) -> None:
    """RLIMIT_SIGPENDING bounds what can be queued; a standard signal loses what it carries instead."""
    if number >= SIGRTMIN and (
        len(pending.queue) >= task.limits.soft(RLIMIT_SIGPENDING) or is_full(task.kernel, pending)
    ):
        raise Errno(EAGAIN)


# -- waiting -----------------------------------------------------------------------------------------------


def pause(task: Task) -> int:
    raise Block(restart=False)


def _suspend(task: Task, mask: int) -> int:
    if "suspended" not in task.restart:
        task.restart["suspended"] = True
        task.signals.saved_mask = task.signals.mask
        set_mask(task, mask)
    raise Block(restart=False)


def rt_sigsuspend(task: Task, mask: int, size: int) -> int:
    return _suspend(task, read_mask(task, mask, size) if "suspended" not in task.restart else 0)


def sigsuspend(task: Task, unused: int, unused_too: int, mask: int) -> int:
    """i386 and arm: the mask itself, as the third argument."""
    return _suspend(task, mask)


def _rt_sigtimedwait(width: int) -> Callable[[Task, int, int, int, int], int]:
    def rt_sigtimedwait(task: Task, wanted: int, info: int, timeout: int, size: int) -> int:
        mask = read_mask(task, wanted, size) & ~UNBLOCKABLE
        deadline = task.restart.get("deadline")
        if timeout and deadline is None:
            deadline = task.kernel.clock.monotonic() + read_timespec(task, timeout, width)
            task.restart["deadline"] = deadline
        taken = take_signal(task, mask)
        if taken is not None:
            if info:
                task.space.copy_out(info, packed_info(task.isa, taken))
            return taken.number
        if deadline is not None and task.kernel.clock.monotonic() >= deadline:
            raise Errno(EAGAIN)
        raise Block(task.process.signal_arrival, deadline=deadline, restart=False)

    return rt_sigtimedwait


# -- stacks and returning ----------------------------------------------------------------------------------


def sigaltstack(task: Task, new: int, old: int) -> int:
    stack = task.signals.stack
    on_stack = stack.holds(task.context.sp) and not stack.flags & SS_AUTODISARM
    wanted = unpack_stack(task.isa, task.space.copy_in(new, stack_size(task.isa))) if new else None
    if wanted is not None:
        base, mode, size = wanted
        if on_stack:
            raise Errno(EPERM)
        if mode & ~SS_AUTODISARM not in (0, SS_ONSTACK, SS_DISABLE):
            raise Errno(EINVAL)
        if mode & SS_DISABLE:
            task.signals.stack = AlternateStack(0, 0, mode)
        else:
            if size < MINSIGSTKSZ.get(task.isa, 2048):
                raise Errno(ENOMEM)
            task.signals.stack = AlternateStack(base, size, mode & SS_AUTODISARM)
    if old:
        mode = SS_DISABLE if not stack.size else (SS_ONSTACK if on_stack else 0)
        mode |= stack.flags & SS_AUTODISARM
        task.space.copy_out(old, pack_stack(task.isa, stack.base, mode, stack.size))
    return 0


def rt_sigreturn(task: Task) -> None:
    frames.leave(task)


def sigreturn(task: Task) -> None:
    frames.leave_old(task)


_MASK = "how:choice:sigmask_how new:in old:out"

ROWS: tuple[Row, ...] = (
    Row("rt_sigaction", rt_sigaction, "number:signal new:in old:out size:size", FULL),
    Row("sigaction", sigaction, "number:signal new:in old:out", FULL),
    Row("signal", signal, "number:signal handler:address", FULL),
    Row("rt_sigprocmask", rt_sigprocmask, f"{_MASK} size:ulong", FULL),
    Row("sigprocmask", sigprocmask, _MASK, FULL),
    Row("rt_sigpending", rt_sigpending, "pending:out size:ulong", FULL),
    Row("sigpending", sigpending, "pending:out", FULL),
    Row("sgetmask", sgetmask, "", FULL),
    Row("ssetmask", ssetmask, "mask:uint", FULL),
    Row("kill", kill, "pid:pid number:signal", FULL),
    Row("tgkill", tgkill, "group:pid tid:pid number:signal", FULL),
    Row("tkill", tkill, "tid:pid number:signal", FULL),
    Row("rt_sigqueueinfo", rt_sigqueueinfo, "pid:pid number:signal info:in", FULL),
    Row("rt_tgsigqueueinfo", rt_tgsigqueueinfo, "group:pid tid:pid number:signal info:in", FULL),
    Row("pause", pause, "", FULL),
    Row("rt_sigsuspend", rt_sigsuspend, "mask:in size:ulong", FULL),
    Row("sigsuspend", sigsuspend, "unused:int unused_too:int mask:ulong", FULL),
    Row("rt_sigtimedwait", _rt_sigtimedwait(8), "wanted:in info:out timeout:in size:ulong", FULL,
        isas=("x86_64", "arm64", "riscv64")),
    Row("rt_sigtimedwait", _rt_sigtimedwait(4), "wanted:in info:out timeout:in size:ulong", FULL,
        isas=("i386", "arm")),
    Row("rt_sigtimedwait_time64", _rt_sigtimedwait(8), "wanted:in info:out timeout:in size:ulong", FULL),
    Row("sigaltstack", sigaltstack, "new:in old:out", FULL),
    Row("rt_sigreturn", rt_sigreturn, "", FULL),
    Row("sigreturn", sigreturn, "", FULL),
)  # fmt: skip
