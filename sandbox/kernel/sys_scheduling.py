"""Scheduling calls. A machine has one CPU, which its tasks share in turns; policies and priorities are recorded and
told back, and change nothing. Source: sched(7), sched_setaffinity(2), getpriority(2).
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from sandbox.abi import flags
from sandbox.abi.errno import E2BIG, EACCES, EINVAL, EPERM, ESRCH, Errno
from sandbox.abi.structs import pack_timespec
from sandbox.kernel.constant_calls import asked
from sandbox.kernel.process import group_members
from sandbox.kernel.row import FULL, PARTIAL, Row

if TYPE_CHECKING:
    from sandbox.kernel.process import Process
    from sandbox.kernel.task import Task

CAP_SYS_NICE = 23
CPUS = 1
_REAL_TIME = (flags.SCHED_FIFO, flags.SCHED_RR)
_NORMAL = (flags.SCHED_OTHER, flags.SCHED_BATCH, flags.SCHED_IDLE)
_QUANTUM = 100_000_000  # what sched_rr_get_interval answers for SCHED_RR
_SCHED_ATTR = Struct("<IIQiIQQQ")
_FLAG_RESET_ON_FORK, _FLAGS_KNOWN = 1, 0x7F  # SCHED_FLAG_*
_IO_CLASS_SHIFT, _IO_BEST_EFFORT, _IO_CLASSES, _IO_LEVELS = 13, 2, 4, 8


def find_task(task: Task, pid: int) -> Task:
    if pid < 0:
        raise Errno(EINVAL)
    target = task if pid == 0 else task.kernel.tasks.get(pid)
    if target is None:
        raise Errno(ESRCH)
    return target


def _has_ended(task: Task, pid: int) -> bool:
    """A process that nobody has waited for yet: it can still be asked."""
    return pid not in task.kernel.tasks and pid in task.kernel.processes


def sched_yield(task: Task) -> int:
    asked(task)
    task.kernel.yield_task(task)
    return 0


def sched_getaffinity(task: Task, pid: int, size: int, mask: int) -> int:
    target = find_task(task, pid)
    if size * 8 < CPUS or size % task.word:
        raise Errno(EINVAL)
    task.space.copy_out(mask, target.cpu_affinity.to_bytes(task.word, "little"))
    return task.word


def _expect_owner(task: Task, target: Task) -> None:
    """Whoever changes how another is scheduled is its user, or privileged. Raises Errno(EPERM)."""
    who, whose = task.credentials, target.credentials
    if who.euid not in (whose.uid, whose.euid) and not who.capable(CAP_SYS_NICE):
        raise Errno(EPERM)


def sched_setaffinity(task: Task, pid: int, size: int, mask: int) -> int:
    wanted = int.from_bytes(task.space.copy_in(mask, min(size, 128)), "little") & ((1 << CPUS) - 1)
    target = find_task(task, pid)
    _expect_owner(task, target)
    if not wanted:
        raise Errno(EINVAL)
    target.cpu_affinity = wanted
    return 0


def _check_policy(policy: int, priority: int) -> None:
    if (policy in _REAL_TIME and not 1 <= priority <= 99) or (policy in _NORMAL and priority != 0):
        raise Errno(EINVAL)
    if policy not in _REAL_TIME and policy not in _NORMAL:
        raise Errno(EINVAL)


def _set_policy(task: Task, target: Task, policy: int, priority: int, resets: bool) -> None:
    _check_policy(policy, priority)
    if not task.credentials.capable(CAP_SYS_NICE):
        limit = task.limits.soft(flags.RLIMIT_RTPRIO)
        if policy in _REAL_TIME and priority > limit and (policy, priority) != target.policy:
            raise Errno(EPERM)
        if target.resets_on_fork and not resets:
            raise Errno(EPERM)
    _expect_owner(task, target)
    target.policy = policy, priority
    target.resets_on_fork = resets


def sched_setscheduler(task: Task, pid: int, policy: int, parameters: int) -> int:
    if policy < 0:
        raise Errno(EINVAL)
    priority = _read_priority(task, parameters)
    resets = bool(policy & flags.SCHED_RESET_ON_FORK)
    _set_policy(task, find_task(task, pid), policy & ~flags.SCHED_RESET_ON_FORK, priority, resets)
    return 0


def _read_priority(task: Task, parameters: int) -> int:
    if not parameters:
        raise Errno(EINVAL)
    return int.from_bytes(task.space.copy_in(parameters, 4), "little", signed=True)


def sched_setparam(task: Task, pid: int, parameters: int) -> int:
    priority = _read_priority(task, parameters)
    target = find_task(task, pid)
    _set_policy(task, target, target.policy[0], priority, target.resets_on_fork)
    return 0


def sched_getscheduler(task: Task, pid: int) -> int:
    if _has_ended(task, pid):
        return flags.SCHED_OTHER
    target = find_task(task, pid)
    return target.policy[0] | (flags.SCHED_RESET_ON_FORK if target.resets_on_fork else 0)


def sched_getparam(task: Task, pid: int, parameters: int) -> int:
    if not parameters:
        raise Errno(EINVAL)
    priority = 0 if _has_ended(task, pid) else find_task(task, pid).policy[1]
    task.space.copy_out(parameters, priority.to_bytes(4, "little"))
    return 0


def sched_setattr(task: Task, pid: int, attributes: int, how: int) -> int:
    if not attributes or how:
        raise Errno(EINVAL)
    size = int.from_bytes(task.space.copy_in(attributes, 4), "little") or _SCHED_ATTR.size
    if size < _SCHED_ATTR.size or size > 4096:
        task.space.copy_out(attributes, _SCHED_ATTR.size.to_bytes(4, "little"))
        raise Errno(E2BIG)
    _, policy, details, nice, priority, *_ = _SCHED_ATTR.unpack(task.space.copy_in(attributes, _SCHED_ATTR.size))
    if details & ~_FLAGS_KNOWN:
        raise Errno(EINVAL)
    target = find_task(task, pid)
    _set_policy(task, target, policy, priority, bool(details & _FLAG_RESET_ON_FORK))
    if policy in _NORMAL:
        _set_nice(task, target.process, nice)
    return 0


def sched_getattr(task: Task, pid: int, attributes: int, size: int, how: int) -> int:
    if not attributes or how or not _SCHED_ATTR.size <= size <= 4096:
        raise Errno(EINVAL)
    target = find_task(task, pid)
    policy, priority = target.policy
    nice = target.process.nice if policy in _NORMAL else 0
    details = _FLAG_RESET_ON_FORK if target.resets_on_fork else 0
    data = _SCHED_ATTR.pack(_SCHED_ATTR.size, policy, details, nice, priority, 0, 0, 0)
    task.space.copy_out(attributes, data)
    return 0


def sched_get_priority_max(task: Task, policy: int) -> int:
    return _range_end(policy, 99)


def sched_get_priority_min(task: Task, policy: int) -> int:
    return _range_end(policy, 1)


def _range_end(policy: int, real_time: int) -> int:
    if policy in _REAL_TIME:
        return real_time
    if policy in _NORMAL or policy == flags.SCHED_DEADLINE:
        return 0
    raise Errno(EINVAL)


def sched_rr_get_interval(task: Task, pid: int, interval: int) -> int:
    return _interval(task, pid, interval, task.word)


def sched_rr_get_interval_time64(task: Task, pid: int, interval: int) -> int:
    return _interval(task, pid, interval, 8)


def _interval(task: Task, pid: int, interval: int, width: int) -> int:
    policy = find_task(task, pid).policy[0]
    length = {flags.SCHED_FIFO: 0, flags.SCHED_RR: _QUANTUM}.get(policy, 4_000_000)
    task.space.copy_out(interval, pack_timespec(width, length))
    return 0


# -- nice values -------------------------------------------------------------------------------------------


def _members(task: Task, which: int, who: int) -> list[Process]:
    processes = task.kernel.processes.values()
    if which == flags.PRIO_PROCESS:
        target = task if who == 0 else task.kernel.tasks.get(who)
        process = task.kernel.processes.get(who) if target is None else target.process
        return [] if process is None else [process]
    if which == flags.PRIO_PGRP:
        return group_members(task.kernel, who or task.process.group)
    if which == flags.PRIO_USER:
        user = who or task.credentials.uid
        return [process for process in processes if process.threads and process.uid == user]
    raise Errno(EINVAL)


def getpriority(task: Task, which: int, who: int) -> int:
    """20 - nice, so that it is never negative (the C library turns it round)."""
    members = _members(task, which, who)
    if not members:
        raise Errno(ESRCH)
    return max(20 - process.nice for process in members)


def _set_nice(task: Task, process: Process, nice: int) -> None:
    nice = max(-20, min(19, nice))
    privileged = task.credentials.capable(CAP_SYS_NICE)
    if not privileged and process.uid not in (task.credentials.uid, task.credentials.euid):
        raise Errno(EPERM)
    if nice < process.nice and not privileged and 20 - nice > task.limits.soft(flags.RLIMIT_NICE):
        raise Errno(EACCES)
    process.nice = nice


def setpriority(task: Task, which: int, who: int, nice: int) -> int:
    members = _members(task, which, who)
    if not members:
        raise Errno(ESRCH)
    for process in members:
        _set_nice(task, process, nice)
    return 0


def nice(task: Task, increment: int) -> int:
    wanted = max(-20, min(19, task.process.nice + max(-40, min(40, increment))))
    try:
        _set_nice(task, task.process, wanted)
    except Errno:
        raise Errno(EPERM) from None
    return 0


def _io_members(task: Task, which: int, who: int) -> list[Process]:
    """IOPRIO_WHO_* are the PRIO_* of getpriority and one."""
    if which not in (1, 2, 3):
        raise Errno(EINVAL)
    members = _members(task, which - 1, who)
    if not members:
        raise Errno(ESRCH)
    return members


def _io_priority(process: Process) -> int:
    """What was set, or what follows from the nice value."""
    return process.io_priority or _IO_BEST_EFFORT << _IO_CLASS_SHIFT | (process.nice + 20) // 5


def ioprio_get(task: Task, which: int, who: int) -> int:
    """Of one process what was set (0: nothing), of several the highest that they have."""
    members = _io_members(task, which, who)
    return members[0].io_priority if which == 1 else min(map(_io_priority, members))


def ioprio_set(task: Task, which: int, who: int, priority: int) -> int:
    kind, level = priority >> _IO_CLASS_SHIFT, priority & (1 << _IO_CLASS_SHIFT) - 1
    if not 0 <= kind < _IO_CLASSES or (level >= _IO_LEVELS if kind else level):
        raise Errno(EINVAL)
    if kind == 1 and not task.credentials.capable(CAP_SYS_NICE):
        raise Errno(EPERM)  # real time
    credentials = task.credentials
    for process in _io_members(task, which, who):
        if process.uid not in (credentials.uid, credentials.euid) and not credentials.capable(CAP_SYS_NICE):
            raise Errno(EPERM)
        process.io_priority = priority
    return 0


_RECORDED = "recorded; tasks take turns whatever their policy"

ROWS: tuple[Row, ...] = (
    Row("sched_yield", sched_yield, "", FULL),
    Row("sched_getaffinity", sched_getaffinity, "pid:pid size:uint mask:out", FULL),
    Row("sched_setaffinity", sched_setaffinity, "pid:pid size:uint mask:in", PARTIAL, "there is one CPU"),
    Row("sched_setscheduler", sched_setscheduler, "pid:pid policy:choice:policy parameters:in", PARTIAL, _RECORDED),
    Row("sched_getscheduler", sched_getscheduler, "pid:pid", FULL),
    Row("sched_setparam", sched_setparam, "pid:pid parameters:in", PARTIAL, _RECORDED),
    Row("sched_getparam", sched_getparam, "pid:pid parameters:out", FULL),
    Row("sched_setattr", sched_setattr, "pid:pid attributes:in flags:uint", PARTIAL, _RECORDED),
    Row("sched_getattr", sched_getattr, "pid:pid attributes:out size:uint flags:uint", FULL),
    Row("sched_get_priority_max", sched_get_priority_max, "policy:choice:policy", FULL),
    Row("sched_get_priority_min", sched_get_priority_min, "policy:choice:policy", FULL),
    Row("sched_rr_get_interval", sched_rr_get_interval, "pid:pid interval:out", FULL),
    Row("sched_rr_get_interval_time64", sched_rr_get_interval_time64, "pid:pid interval:out", FULL),
    Row("getpriority", getpriority, "which:choice:priority who:int", FULL),
    Row("setpriority", setpriority, "which:choice:priority who:int nice:int", PARTIAL, _RECORDED),
    Row("nice", nice, "increment:int", PARTIAL, _RECORDED),
    Row("ioprio_get", ioprio_get, "which:int who:int", FULL),
    Row("ioprio_set", ioprio_set, "which:int who:int priority:int", PARTIAL, "recorded; nothing waits for a disk"),
)
