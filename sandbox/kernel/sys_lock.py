"""Advisory locks as calls: flock, and the lock commands of fcntl.

What conflicts with what is `sandbox.vfs.lock`. Here: struct flock in its layouts, ranges relative to position or end,
waiting, and EDEADLK for processes that wait for each other. Owners are the descriptor table for F_SETLK (so threads
share locks and a forked child has none) and the open file for F_OFD_SETLK and flock.
Source: fcntl_locking(2), flock(2); fs/locks.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi import flags as F
from sandbox.abi.errno import EAGAIN, EBADF, EDEADLK, EINVAL, EOVERFLOW, Errno
from sandbox.abi.flags import SEEK_CUR, SEEK_END, SEEK_SET
from sandbox.abi.structs import FLOCK, FLOCK64_32
from sandbox.kernel.lookup import opened
from sandbox.kernel.row import FULL, Row
from sandbox.vfs.lock import END, locks_of
from sandbox.wait import Block

if TYPE_CHECKING:
    from struct import Struct

    from sandbox.kernel.task import Task
    from sandbox.vfs.file import OpenFile

_WAITING = (F.F_SETLKW, F.F_SETLKW64, F.F_OFD_SETLKW)
_ASKING = (F.F_GETLK, F.F_GETLK64, F.F_OFD_GETLK)
_OFD = (F.F_OFD_GETLK, F.F_OFD_SETLK, F.F_OFD_SETLKW)
_WIDE = (F.F_GETLK64, F.F_SETLK64, F.F_SETLKW64, *_OFD)


def flock(task: Task, fd: int, operation: int) -> int:
    kind = operation & ~F.LOCK_NB
    if kind not in (F.LOCK_SH, F.LOCK_EX, F.LOCK_UN):
        raise Errno(EINVAL)
    file = opened(task, fd)
    if kind == F.LOCK_UN:
        if file.node.locks is not None:
            file.node.locks.release_whole(file)
        return 0
    locks = locks_of(file.node)
    if locks.take_whole(file, kind == F.LOCK_EX):
        return 0
    if operation & F.LOCK_NB:
        raise Errno(EAGAIN)
    raise Block(locks.queue)


def record_lock(task: Task, file: OpenFile, command: int, address: int) -> int:
    layout = _layout(task, command)
    kind, whence, first, length, pid = layout.unpack(task.space.copy_in(address, layout.size))
    if command in _OFD and pid != 0:
        raise Errno(EINVAL)
    owner: object = file if command in _OFD else task.files
    if command in _ASKING:
        if kind not in (F.F_RDLCK, F.F_WRLCK) and (kind != F.F_UNLCK or command != F.F_OFD_GETLK):
            raise Errno(EINVAL)
        start, end = _range(file, whence, first, length)
        answer = _ask(file, owner, kind, start, end)
        if answer is None:
            answer = (F.F_UNLCK, whence, first, length, pid)
        limit = 1 << (63 if layout is not FLOCK[32] else 31)
        if answer[2] >= limit or answer[3] >= limit:
            raise Errno(EOVERFLOW)
        task.space.copy_out(address, layout.pack(*answer))
        return 0
    if kind not in (F.F_RDLCK, F.F_WRLCK, F.F_UNLCK):
        raise Errno(EINVAL)
    start, end = _range(file, whence, first, length)
    if (kind == F.F_RDLCK and not file.readable) or (kind == F.F_WRLCK and not file.writable):
        raise Errno(EBADF)
    if kind == F.F_UNLCK:
        if file.node.locks is not None:
            file.node.locks.clear(owner, start, end)
        return 0
    _lock(task, file, owner, (start, end, kind == F.F_WRLCK), wait=command in _WAITING)
    return 0


def _lock(task: Task, file: OpenFile, owner: object, wanted: tuple[int, int, bool], wait: bool) -> None:
    locks = locks_of(file.node)
    start, end, exclusive = wanted
    obstacle = locks.conflict(owner, start, end, exclusive)
    if obstacle is None:
        locks.set(owner, task.tgid if owner is task.files else -1, start, end, exclusive)
        return
    if not wait:
        raise Errno(EAGAIN)
    if owner is task.files and _would_deadlock(task, obstacle.pid):
        raise Errno(EDEADLK)
    task.restart["lock"] = obstacle.pid
    raise Block(locks.queue)


def _would_deadlock(task: Task, holder: int) -> bool:
    """Whether the process `holder` waits, over any number of others, for this very process."""
    waits_for: dict[int, int] = {
        other.tgid: other.restart["lock"]
        for other in task.kernel.tasks.values()
        if other is not task and other.call is not None and "lock" in other.restart
    }
    for _ in range(len(waits_for) + 1):
        if holder == task.tgid:
            return True
        if holder not in waits_for:
            return False
        holder = waits_for[holder]
    return False


def _ask(file: OpenFile, owner: object, kind: int, start: int, end: int) -> tuple[int, int, int, int, int] | None:
    """What stands in the way; with F_UNLCK, what the owner itself holds there (since Linux 6.3)."""
    locks = file.node.locks
    if locks is None:
        return None
    if kind == F.F_UNLCK:
        obstacle = locks.held(owner, start, end)
    else:
        obstacle = locks.conflict(owner, start, end, kind == F.F_WRLCK)
    if obstacle is None:
        return None
    length = 0 if obstacle.end == END else obstacle.end - obstacle.start
    held = F.F_WRLCK if obstacle.exclusive else F.F_RDLCK
    return held, SEEK_SET, obstacle.start, length, obstacle.pid


def _layout(task: Task, command: int) -> Struct:
    if task.word == 8:
        return FLOCK[64]
    return FLOCK64_32[task.isa] if command in _WIDE else FLOCK[32]


def _range(file: OpenFile, whence: int, first: int, length: int) -> tuple[int, int]:
    """[start, end). A negative length counts backwards, zero reaches to the end of everything."""
    if whence == SEEK_CUR:
        first += file.position
    elif whence == SEEK_END:
        first += file.node.size
    elif whence != SEEK_SET:
        raise Errno(EINVAL)
    if first >= END:
        raise Errno(EOVERFLOW)
    if first < 0:
        raise Errno(EINVAL)
    if length > 0:
        if first + length > END:
            raise Errno(EOVERFLOW)
        return first, first + length
    if length == 0:
        return first, END
    if first + length < 0:
        raise Errno(EINVAL)
    return first + length, first


ROWS = [
    Row("flock", flock, "fd:fd operation:flags:lock", FULL),
]
