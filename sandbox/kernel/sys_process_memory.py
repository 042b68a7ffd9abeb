"""process_vm_readv and process_vm_writev: bytes from one process's memory to another's, by its protections.

As much is moved as can be; a fault in the first byte is EFAULT. Source: process_vm_readv(2), mm/process_vm_access.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi.errno import EFAULT, EINVAL, EPERM, ESRCH, Errno
from sandbox.kernel.inspection import may_inspect
from sandbox.kernel.pieces import BYTES_AT_ONCE, give_way
from sandbox.kernel.row import FULL, Row
from sandbox.kernel.transfer import PIECE, Segments, gather, scatter, vector

if TYPE_CHECKING:
    from sandbox.kernel.task import Task
    from sandbox.memory import AddressSpace


def process_vm_readv(
    task: Task, pid: int, local: int, local_count: int, remote: int, remote_count: int, flags: int
) -> int:
    here, there, other = _checked(task, pid, local, local_count, remote, remote_count, flags)
    return _move(task, other, there, task.space, here)


def process_vm_writev(
    task: Task, pid: int, local: int, local_count: int, remote: int, remote_count: int, flags: int
) -> int:
    here, there, other = _checked(task, pid, local, local_count, remote, remote_count, flags)
    return _move(task, task.space, here, other, there)


def _checked(
    task: Task, pid: int, local: int, local_count: int, remote: int, remote_count: int, flags: int
) -> tuple[Segments, Segments, AddressSpace]:
    if flags:
        raise Errno(EINVAL)
    here = vector(task, local, local_count)
    there = vector(task, remote, remote_count)
    target = task.kernel.tasks.get(pid)
    if target is None:
        raise Errno(ESRCH)
    if not may_inspect(task, target, task.credentials.uid):
        raise Errno(EPERM)
    return here, there, target.space


def _move(task: Task, source: AddressSpace, pieces: Segments, target: AddressSpace, places: Segments) -> int:
    total = min(sum(length for _, length in pieces), sum(length for _, length in places))
    done: int = task.restart.get("done", 0)
    pause = done + BYTES_AT_ONCE
    while done < total:
        if done >= pause:
            task.restart["done"] = done
            give_way(task)
        data = gather(source, pieces, done, min(total - done, PIECE))
        stored = scatter(target, places, done, data)
        done += stored
        if stored < min(total - done + stored, PIECE):
            break
    if total and not done:
        raise Errno(EFAULT)
    return done


_VECTORS = "local:in local_count:ulong remote:in remote_count:ulong flags:ulong"

ROWS: tuple[Row, ...] = (
    Row("process_vm_readv", process_vm_readv, f"pid:pid {_VECTORS}", FULL),
    Row("process_vm_writev", process_vm_writev, f"pid:pid {_VECTORS}", FULL),
)
