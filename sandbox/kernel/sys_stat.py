"""What a file is: stat in all its forms, statx, statfs. The byte layouts are in `sandbox.abi.structs`.

Source: stat(2), statx(2), statfs(2); fs/stat.c, fs/statfs.c.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sandbox.abi.errno import EINVAL, Errno
from sandbox.abi.flags import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_NO_AUTOMOUNT,
    AT_STATX_DONT_SYNC,
    AT_STATX_FORCE_SYNC,
    AT_SYMLINK_NOFOLLOW,
    STATX_BASIC_STATS,
    STATX_MNT_ID,
    STATX_RESERVED,
)
from sandbox.abi.structs import pack_stat, pack_stat64, pack_statfs, pack_statfs64, pack_statx
from sandbox.kernel.lookup import find, find_with
from sandbox.kernel.row import FULL, Row
from sandbox.vfs.mount import place_of

if TYPE_CHECKING:
    from sandbox.kernel.task import Task
    from sandbox.vfs.mount import Place
    from sandbox.vfs.node import StatFs

_SYNC = AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC
_ALLOWED = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | _SYNC
STATX_ATTR_MOUNT_ROOT = 0x2000
ST_RDONLY, ST_VALID = 1, 0x20
STATFS64_SIZES = {"i386": (84,), "arm": (84, 88)}


def stat(task: Task, path: bytes, buffer: int) -> int:
    task.space.copy_out(buffer, pack_stat(task.isa, find(task, AT_FDCWD, path).node.stat()))
    return 0


def lstat(task: Task, path: bytes, buffer: int) -> int:
    task.space.copy_out(buffer, pack_stat(task.isa, find(task, AT_FDCWD, path, follow=False).node.stat()))
    return 0


def fstat(task: Task, fd: int, buffer: int) -> int:
    task.space.copy_out(buffer, pack_stat(task.isa, task.files.get(fd).node.stat()))
    return 0


def newfstatat(task: Task, dirfd: int, path: bytes, buffer: int, flags: int) -> int:
    node = find_with(task, dirfd, path, flags, _ALLOWED).node
    task.space.copy_out(buffer, pack_stat(task.isa, node.stat()))
    return 0


def stat64(task: Task, path: bytes, buffer: int) -> int:
    return fstatat64(task, AT_FDCWD, path, buffer, 0)


def lstat64(task: Task, path: bytes, buffer: int) -> int:
    return fstatat64(task, AT_FDCWD, path, buffer, AT_SYMLINK_NOFOLLOW)


def fstat64(task: Task, fd: int, buffer: int) -> int:
    task.space.copy_out(buffer, pack_stat64(task.isa, task.files.get(fd).node.stat()))
    return 0


def fstatat64(task: Task, dirfd: int, path: bytes, buffer: int, flags: int) -> int:
    node = find_with(task, dirfd, path, flags, _ALLOWED).node
    task.space.copy_out(buffer, pack_stat64(task.isa, node.stat()))
    return 0


def statx(task: Task, dirfd: int, path: bytes, flags: int, mask: int, buffer: int) -> int:
    """All basic fields are given, whatever was asked for; there is no birth time here."""
    if mask & STATX_RESERVED or flags & _SYNC == _SYNC:
        raise Errno(EINVAL)
    place = find_with(task, dirfd, path, flags, _ALLOWED)
    attributes = STATX_ATTR_MOUNT_ROOT if place is place.mount.root else 0
    data = pack_statx(
        place.node.stat(),
        STATX_BASIC_STATS | STATX_MNT_ID,
        mount=place.mount.number,
        attributes=attributes,
        attributes_mask=STATX_ATTR_MOUNT_ROOT,
    )
    task.space.copy_out(buffer, data)
    return 0


# -- filesystems -------------------------------------------------------------------------------------------


def statfs(task: Task, path: bytes, buffer: int) -> int:
    return _store(task, find(task, AT_FDCWD, path), buffer)


def fstatfs(task: Task, fd: int, buffer: int) -> int:
    return _store(task, place_of(task.files.get(fd)), buffer)


def statfs64(task: Task, path: bytes, size: int, buffer: int) -> int:
    _check_size(task, size)
    return _store64(task, find(task, AT_FDCWD, path), buffer)


def fstatfs64(task: Task, fd: int, size: int, buffer: int) -> int:
    _check_size(task, size)
    return _store64(task, place_of(task.files.get(fd)), buffer)


def _check_size(task: Task, size: int) -> None:
    if size not in STATFS64_SIZES[task.isa]:
        raise Errno(EINVAL)


def _store(task: Task, place: Place, buffer: int) -> int:
    task.space.copy_out(buffer, pack_statfs(task.isa, _statfs(place), place.mount.filesystem.device))
    return 0


def _store64(task: Task, place: Place, buffer: int) -> int:
    task.space.copy_out(buffer, pack_statfs64(_statfs(place), place.mount.filesystem.device))
    return 0


def _statfs(place: Place) -> StatFs:
    """The filesystem's answer with what only the mount knows."""
    answer = place.mount.filesystem.statfs()
    return replace(answer, flags=answer.flags | ST_VALID | (ST_RDONLY if place.mount.refuses_writes else 0))


_AT = "dirfd:dirfd path:path buffer:out flags:flags:at"

ROWS = [
    Row("stat", stat, "path:path buffer:out", FULL),
    Row("lstat", lstat, "path:path buffer:out", FULL),
    Row("fstat", fstat, "fd:fd buffer:out", FULL),
    Row("newfstatat", newfstatat, _AT, FULL),
    Row("stat64", stat64, "path:path buffer:out", FULL),
    Row("lstat64", lstat64, "path:path buffer:out", FULL),
    Row("fstat64", fstat64, "fd:fd buffer:out", FULL),
    Row("fstatat64", fstatat64, _AT, FULL),
    Row("statx", statx, "dirfd:dirfd path:path flags:flags:at mask:flags:statx buffer:out", FULL),
    Row("statfs", statfs, "path:path buffer:out", FULL),
    Row("fstatfs", fstatfs, "fd:fd buffer:out", FULL),
    Row("statfs64", statfs64, "path:path length:ulong buffer:out", FULL),
    Row("fstatfs64", fstatfs64, "fd:fd length:ulong buffer:out", FULL),
]
