"""Resource limits and resource use. Source: getrlimit(2), prlimit(2), getrusage(2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi import flags
from sandbox.abi.errno import EINVAL, EPERM, ESRCH, Errno
from sandbox.abi.flags import RLIM_INFINITY, RLIMIT_CPU, RLIMIT_DATA, RLIMIT_NOFILE, RLIMIT_STACK
from sandbox.abi.structs import BITS, RLIMIT, pack_rusage
from sandbox.kernel.process import RESOURCES, Process, Usage
from sandbox.kernel.row import FULL, PARTIAL, Row

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

CAP_SYS_RESOURCE = 24
_INFINITY_32 = 0xFFFFFFFF
_OLD_INFINITY_32 = 0x7FFFFFFF
_UNBOUNDED = 1 << 62


def _pair(process: Process, resource: int) -> tuple[int, int]:
    if not 0 <= resource < RESOURCES:
        raise Errno(EINVAL)
    return process.limits[resource]


def set_limit(task: Task, process: Process, resource: int, soft: int, hard: int) -> None:
    """Check and apply. Raises Errno: EINVAL, EPERM."""
    old_hard = _pair(process, resource)[1]
    if soft > hard:
        raise Errno(EINVAL)
    if hard > old_hard and not task.credentials.capable(CAP_SYS_RESOURCE):
        raise Errno(EPERM)
    if resource == RLIMIT_NOFILE and hard > task.kernel.limits.files:
        raise Errno(EPERM)
    process.limits[resource] = soft, hard
    if resource == RLIMIT_CPU:
        process.cpu_limited = (soft, hard) != (RLIM_INFINITY, RLIM_INFINITY)
        process.next_cpu_warning = 0
    for thread in process.threads.values():
        if resource == RLIMIT_NOFILE:
            thread.files.limit = soft
        elif resource == RLIMIT_STACK:
            thread.space.stack_limit = min(soft, _UNBOUNDED)
        elif resource == RLIMIT_DATA:
            thread.space.brk_limit = min(soft, _UNBOUNDED)


def _narrow(value: int, infinity: int) -> int:
    return min(value, infinity)


def getrlimit(task: Task, resource: int, limit: int) -> int:
    """The word-sized form; on 32-bit ISAs what does not fit reads as infinity."""
    soft, hard = _pair(task.process, resource)
    if task.word == 4:
        soft, hard = _narrow(soft, _INFINITY_32), _narrow(hard, _INFINITY_32)
    task.space.copy_out(limit, RLIMIT[BITS[task.isa]].pack(soft, hard))
    return 0


def old_getrlimit(task: Task, resource: int, limit: int) -> int:
    """i386: infinity is 0x7fffffff."""
    soft, hard = _pair(task.process, resource)
    task.space.copy_out(limit, RLIMIT[32].pack(_narrow(soft, _OLD_INFINITY_32), _narrow(hard, _OLD_INFINITY_32)))
    return 0


def setrlimit(task: Task, resource: int, limit: int) -> int:
    layout = RLIMIT[BITS[task.isa]]
    soft, hard = layout.unpack(task.space.copy_in(limit, layout.size))
    if task.word == 4:
        soft, hard = (RLIM_INFINITY if value == _INFINITY_32 else value for value in (soft, hard))
    set_limit(task, task.process, resource, soft, hard)
    return 0


def prlimit64(task: Task, pid: int, resource: int, new: int, old: int) -> int:
    target = task if pid == 0 else task.kernel.tasks.get(pid)
    if target is None:
        raise Errno(ESRCH)
    process = target.process
    if process is not task.process and not _may_change(task, target):
        raise Errno(EPERM)
    present = _pair(process, resource)
    layout = RLIMIT[64]
    if new:
        set_limit(task, process, resource, *layout.unpack(task.space.copy_in(new, layout.size)))
    if old:
        task.space.copy_out(old, layout.pack(*present))
    return 0


def _may_change(task: Task, target: Task) -> bool:
    own, other = task.credentials, target.credentials
    same = {other.uid, other.euid, other.suid} == {own.uid} and {other.gid, other.egid, other.sgid} == {own.gid}
    return same or own.capable(CAP_SYS_RESOURCE)


def usage_of(process: Process) -> Usage:
    """Of all threads, ended and living."""
    total = Usage()
    total.add(process.usage)
    for thread in process.threads.values():
        process.kernel.settle_time(thread)
        total.add(thread.usage)
    total.peak = max(total.peak, process.kernel.account.used)
    return total


def packed_usage(isa: str, usage: Usage) -> bytes:
    return pack_rusage(
        isa,
        usage.user,
        usage.system,
        peak_kib=usage.peak * 4,
        minor_faults=usage.minor,
        major_faults=usage.major,
        voluntary=usage.voluntary,
        involuntary=usage.involuntary,
    )


def getrusage(task: Task, who: int, usage: int) -> int:
    if who == flags.RUSAGE_SELF:
        found = usage_of(task.process)
    elif who == flags.RUSAGE_CHILDREN:
        found = task.process.children_usage
    elif who == flags.RUSAGE_THREAD:
        task.kernel.settle_time(task)
        found = task.usage
    else:
        raise Errno(EINVAL)
    task.space.copy_out(usage, packed_usage(task.isa, found))
    return 0


_COUNTED = "CPU time is not split into user and system; faults served inside the engine are not counted"

ROWS: tuple[Row, ...] = (
    Row("getrlimit", getrlimit, "resource:choice:resource limit:out", FULL, isas=("x86_64", "arm64", "riscv64")),
    Row("getrlimit", old_getrlimit, "resource:choice:resource limit:out", FULL, isas=("i386", "arm")),
    Row("ugetrlimit", getrlimit, "resource:choice:resource limit:out", FULL),
    Row("setrlimit", setrlimit, "resource:choice:resource limit:in", PARTIAL,
        "enforced: AS, CPU, DATA, STACK, NOFILE, NPROC, FSIZE, MEMLOCK; recorded: the others"),
    Row("prlimit64", prlimit64, "pid:pid resource:choice:resource new:in old:out", PARTIAL, "as setrlimit"),
    Row("getrusage", getrusage, "who:choice:rusage usage:out", PARTIAL, _COUNTED),
)  # fmt: skip
