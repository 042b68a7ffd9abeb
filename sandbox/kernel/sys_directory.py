"""Directories: reading them, being in them, making and removing them.

Source: getdents(2), getcwd(2), chdir(2), chroot(2), mkdir(2), rmdir(2); fs/readdir.c, fs/open.c.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.abi.errno import EINVAL, ENOENT, ENOTDIR, EPERM, ERANGE, Errno
from sandbox.abi.flags import AT_FDCWD, AT_REMOVEDIR, X_OK
from sandbox.abi.structs import pack_dirent, pack_dirent64
from sandbox.kernel import watching
from sandbox.kernel.lookup import find, namespace, opened, start_of
from sandbox.kernel.row import FULL, Row
from sandbox.kernel.sys_path import unlinkat
from sandbox.vfs.mount import place_of

if TYPE_CHECKING:
    from sandbox.kernel.task import Task
    from sandbox.vfs.file import DirectoryEntry
    from sandbox.vfs.mount import Place

CAP_SYS_CHROOT = 18
LARGEST_ANSWER = 1 << 18  # a getdents that has room for more returns less, which is always allowed
PATH_MAX = 4096


def getdents(task: Task, fd: int, buffer: int, count: int) -> int:
    isa = task.isa
    return _list(task, fd, buffer, count, lambda e: pack_dirent(isa, e.ino, e.offset, e.kind, e.name))


def getdents64(task: Task, fd: int, buffer: int, count: int) -> int:
    return _list(task, fd, buffer, count, lambda e: pack_dirent64(e.ino, e.offset, e.kind, e.name))


def _list(task: Task, fd: int, buffer: int, count: int, pack: Callable[[DirectoryEntry], bytes]) -> int:
    """The position moves only over what has arrived in the guest's memory."""
    file = opened(task, fd)
    if not file.node.is_directory:
        raise Errno(ENOTDIR)
    if file.place is not None and file.place.removed:
        raise Errno(ENOENT)
    room = min(count, LARGEST_ANSWER)
    records: list[bytes] = []
    size = 0
    last = None
    for entry in file.entries():
        record = pack(entry)
        if size + len(record) > room:
            if not records:
                raise Errno(EINVAL)
            break
        records.append(record)
        size += len(record)
        last = entry
    if last is not None:
        task.space.copy_out(buffer, b"".join(records))
        file.consume(last)
        watching.tell_read(file)
    return size


def getcwd(task: Task, buffer: int, size: int) -> int:
    place = task.fs.cwd
    if place.removed:
        raise Errno(ENOENT)
    path = place.path(task.fs.root) + b"\0"
    if len(path) > size or len(path) > PATH_MAX:
        raise Errno(ERANGE)
    task.space.copy_out(buffer, path)
    return len(path)


def chdir(task: Task, path: bytes) -> int:
    task.fs.cwd = _enterable(task, find(task, AT_FDCWD, path))
    return 0


def fchdir(task: Task, fd: int) -> int:
    file = task.files.get(fd)
    if not file.node.is_directory:
        raise Errno(ENOTDIR)
    task.fs.cwd = _enterable(task, place_of(file))
    return 0


def chroot(task: Task, path: bytes) -> int:
    place = _enterable(task, find(task, AT_FDCWD, path))
    if not task.credentials.capable(CAP_SYS_CHROOT):
        raise Errno(EPERM)
    task.fs.root = place
    return 0


def _enterable(task: Task, place: Place) -> Place:
    if not place.node.is_directory:
        raise Errno(ENOTDIR)
    namespace(task).check(place, X_OK)
    return place


def mkdir(task: Task, path: bytes, mode: int) -> int:
    return mkdirat(task, AT_FDCWD, path, mode)


def mkdirat(task: Task, dirfd: int, path: bytes, mode: int) -> int:
    start = start_of(task, dirfd, path)
    namespace(task).mkdir(start, path, mode & ~task.fs.umask)
    if watching.watched(task):
        watching.tell_created(task, start, path)
    return 0


def rmdir(task: Task, path: bytes) -> int:
    return unlinkat(task, AT_FDCWD, path, AT_REMOVEDIR)


ROWS = [
    Row("getdents", getdents, "fd:fd buffer:out count:uint", FULL),
    Row("getdents64", getdents64, "fd:fd buffer:out count:uint", FULL),
    Row("getcwd", getcwd, "buffer:out size:size", FULL),
    Row("chdir", chdir, "path:path", FULL),
    Row("fchdir", fchdir, "fd:fd", FULL),
    Row("chroot", chroot, "path:path", FULL),
    Row("mkdir", mkdir, "path:path mode:mode", FULL),
    Row("mkdirat", mkdirat, "dirfd:dirfd path:path mode:mode", FULL),
    Row("rmdir", rmdir, "path:path", FULL),
]
