"""The extent of a file and the place in it: lseek, truncate, fallocate.

32-bit ISAs have a form whose offsets are machine words (the result must fit, EOVERFLOW) and one with 64 bits.
Opening is `sys_open`, reading and writing `sys_transfer`. Source: lseek(2), truncate(2), fallocate(2); fs/open.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi.errno import EBADF, EFBIG, EINVAL, EISDIR, ENODEV, ENOSPC, EOPNOTSUPP, EOVERFLOW, ESPIPE, Errno
from sandbox.abi.flags import (
    AT_FDCWD,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    S_IFDIR,
    S_IFIFO,
    S_IFMT,
    S_IFREG,
    SEEK_HOLE,
    SEEK_SET,
)
from sandbox.kernel import watching
from sandbox.kernel.lookup import namespace, opened, start_of
from sandbox.kernel.row import FULL, Row
from sandbox.kernel.transfer import check_size, drop_privileges
from sandbox.vfs.inotify import IN_MODIFY

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

LARGEST = (1 << 63) - 1


def lseek(task: Task, fd: int, offset: int, whence: int) -> int:
    file = opened(task, fd)
    if not SEEK_SET <= whence <= SEEK_HOLE:
        raise Errno(EINVAL)
    position = file.seek(offset, whence)
    if task.word == 4 and position > 0x7FFFFFFF:
        raise Errno(EOVERFLOW)
    return position


def llseek(task: Task, fd: int, high: int, low: int, result: int, whence: int) -> int:
    file = opened(task, fd)
    if not SEEK_SET <= whence <= SEEK_HOLE:
        raise Errno(EINVAL)
    offset = high << 32 | low
    position = file.seek(offset - (1 << 64) if offset >> 63 else offset, whence)
    task.space.copy_out(result, position.to_bytes(8, "little"))
    return 0


def truncate(task: Task, path: bytes, size: int) -> int:
    if size < 0:
        raise Errno(EINVAL)
    check_size(task, size)
    tree, start = namespace(task), start_of(task, AT_FDCWD, path)
    tree.truncate(start, path, size)
    place = tree.find(start, path)
    drop_privileges(task, place.node)
    watching.tell(place, IN_MODIFY)
    return 0


def ftruncate(task: Task, fd: int, size: int) -> int:
    if size < 0:
        raise Errno(EINVAL)
    file = opened(task, fd)
    if not file.writable or file.node.mode & S_IFMT != S_IFREG:
        raise Errno(EINVAL)
    check_size(task, size)
    drop_privileges(task, file.node)
    file.truncate(size)
    watching.tell_written(file)
    return 0


def fallocate(task: Task, fd: int, mode: int, offset: int, length: int) -> int:
    file = opened(task, fd)
    if offset < 0 or length <= 0:
        raise Errno(EINVAL)
    if mode not in (0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE):
        raise Errno(EOPNOTSUPP)
    if not file.writable:
        raise Errno(EBADF)
    kind = file.node.mode & S_IFMT
    if kind != S_IFREG:
        raise Errno({S_IFIFO: ESPIPE, S_IFDIR: EISDIR}.get(kind, ENODEV))
    if offset + length > LARGEST:
        raise Errno(EFBIG)
    if mode & FALLOC_FL_PUNCH_HOLE:
        file.node.punch(offset, length)
        drop_privileges(task, file.node)
        watching.tell_written(file)
        return 0
    if not mode & FALLOC_FL_KEEP_SIZE:
        check_size(task, offset + length)
    capacity = file.node.filesystem.statfs()
    if capacity.blocks and length > capacity.blocks * capacity.bsize:
        raise Errno(ENOSPC)  # before the filesystem fills itself up in trying
    file.node.allocate(offset, length, bool(mode & FALLOC_FL_KEEP_SIZE))
    drop_privileges(task, file.node)
    watching.tell_written(file)
    return 0


ROWS = [
    Row("lseek", lseek, "fd:fd offset:offset whence:choice:whence", FULL),
    Row("_llseek", llseek, "fd:fd high:ulong low:ulong result:out whence:choice:whence", FULL),
    Row("truncate", truncate, "path:path size:offset", FULL),
    Row("ftruncate", ftruncate, "fd:fd size:offset", FULL),
    Row("truncate64", truncate, "path:path size:loff", FULL),
    Row("ftruncate64", ftruncate, "fd:fd size:loff", FULL),
    Row("fallocate", fallocate, "fd:fd mode:flags:falloc offset:loff length:loff", FULL),
]
