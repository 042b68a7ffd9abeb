"""Attributes of files: permission bits, owners, times, and what one may do with them.

The permission to change something is `vfs.namespace`; here are the forms of the calls. Ids of -1 mean "unchanged"
(16-bit forms are widened by the table). Source: chmod(2), chown(2), utimensat(2), access(2), umask(2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi.errno import EFAULT, EINVAL, EOPNOTSUPP, Errno
from sandbox.abi.flags import (
    AT_EACCESS,
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_SYMLINK_NOFOLLOW,
    R_OK,
    UTIME_NOW,
    UTIME_OMIT,
    W_OK,
    X_OK,
)
from sandbox.abi.structs import NANOSECONDS, PAIR
from sandbox.kernel import watching
from sandbox.kernel.lookup import find, find_with, namespace, opened
from sandbox.kernel.row import FULL, Row
from sandbox.vfs.anonymous import AnonymousFile, AnonymousNode
from sandbox.vfs.mount import place_of
from sandbox.vfs.namespace import Namespace

if TYPE_CHECKING:
    from sandbox.kernel.task import Task
    from sandbox.vfs.mount import Place

UNCHANGED = 0xFFFFFFFF


# -- permission bits ---------------------------------------------------------------------------------------


def chmod(task: Task, path: bytes, mode: int) -> int:
    return fchmodat2(task, AT_FDCWD, path, mode, 0)


def fchmod(task: Task, fd: int, mode: int) -> int:
    file = opened(task, fd)
    if isinstance(file, AnonymousFile):
        raise Errno(EOPNOTSUPP)  # whoever asks
    namespace(task).chmod(place_of(file), mode & 0o7777)
    watching.tell_changed(place_of(file))
    return 0


def fchmodat(task: Task, dirfd: int, path: bytes, mode: int) -> int:
    return fchmodat2(task, dirfd, path, mode, 0)


def fchmodat2(task: Task, dirfd: int, path: bytes, mode: int, flags: int) -> int:
    place = find_with(task, dirfd, path, flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
    namespace(task).chmod(place, mode & 0o7777)
    watching.tell_changed(place)
    return 0


def umask(task: Task, mask: int) -> int:
    before = task.fs.umask
    task.fs.umask = mask & 0o777
    return before


# -- owners ------------------------------------------------------------------------------------------------


def chown(task: Task, path: bytes, uid: int, gid: int) -> int:
    return fchownat(task, AT_FDCWD, path, uid, gid, 0)


def lchown(task: Task, path: bytes, uid: int, gid: int) -> int:
    return fchownat(task, AT_FDCWD, path, uid, gid, AT_SYMLINK_NOFOLLOW)


def fchown(task: Task, fd: int, uid: int, gid: int) -> int:
    return _chown(task, place_of(opened(task, fd)), uid, gid)


def fchownat(task: Task, dirfd: int, path: bytes, uid: int, gid: int, flags: int) -> int:
    place = find_with(task, dirfd, path, flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
    return _chown(task, place, uid, gid)


def _chown(task: Task, place: Place, uid: int, gid: int) -> int:
    if isinstance(place.node, AnonymousNode):
        raise Errno(EOPNOTSUPP)
    namespace(task).chown(place, None if uid == UNCHANGED else uid, None if gid == UNCHANGED else gid)
    if (uid, gid) != (UNCHANGED, UNCHANGED):
        watching.tell_changed(place)
    return 0


# -- access ------------------------------------------------------------------------------------------------


def access(task: Task, path: bytes, mode: int) -> int:
    return faccessat2(task, AT_FDCWD, path, mode, 0)


def faccessat(task: Task, dirfd: int, path: bytes, mode: int) -> int:
    return faccessat2(task, dirfd, path, mode, 0)


def faccessat2(task: Task, dirfd: int, path: bytes, mode: int, flags: int) -> int:
    """The whole walk is made as the real user, unless AT_EACCESS."""
    if mode & ~(R_OK | W_OK | X_OK) or flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise Errno(EINVAL)
    before = task.credentials
    if not flags & AT_EACCESS and (before.uid, before.gid) != (before.fsuid, before.fsgid):
        real = before.copy()
        real.fsuid, real.fsgid = before.uid, before.gid
        task.credentials = real
    try:
        place = find(task, dirfd, path, not flags & AT_SYMLINK_NOFOLLOW, bool(flags & AT_EMPTY_PATH))
        if mode:
            Namespace(task.kernel.mounts, task.fs.root, task.credentials).check(place, mode)
    finally:
        task.credentials = before
    return 0


# -- times -------------------------------------------------------------------------------------------------


def utime(task: Task, path: bytes, times: int) -> int:
    pair = PAIR[task.word].unpack(task.space.copy_in(times, 2 * task.word)) if times else None
    stamps = None if pair is None else (pair[0] * NANOSECONDS, pair[1] * NANOSECONDS)
    return _set_times(task, find(task, AT_FDCWD, path), stamps)


def utimes(task: Task, path: bytes, times: int) -> int:
    return futimesat(task, AT_FDCWD, path, times)


def futimesat(task: Task, dirfd: int, path: bytes | None, times: int) -> int:
    stamps = None
    if times:
        layout = PAIR[task.word]
        data = task.space.copy_in(times, 2 * layout.size)
        parts = [layout.unpack_from(data, offset) for offset in (0, layout.size)]
        if any(not 0 <= micro < 1_000_000 for _, micro in parts):
            raise Errno(EINVAL)
        stamps = (_nanoseconds(*parts[0]), _nanoseconds(*parts[1]))
    return _set_times(task, _timed(task, dirfd, path, 0), stamps)


def _nanoseconds(seconds: int, microseconds: int) -> int:
    return seconds * NANOSECONDS + microseconds * 1000


def utimensat(task: Task, dirfd: int, path: bytes | None, times: int, flags: int) -> int:
    return _utimensat(task, dirfd, path, times, flags, task.word)


def utimensat_time64(task: Task, dirfd: int, path: bytes | None, times: int, flags: int) -> int:
    return _utimensat(task, dirfd, path, times, flags, 8)


def _utimensat(task: Task, dirfd: int, path: bytes | None, times: int, flags: int, width: int) -> int:
    if not times:
        return _set_times(task, _timed(task, dirfd, path, flags), None)
    layout = PAIR[width]
    data = task.space.copy_in(times, 2 * layout.size)
    parts = [layout.unpack_from(data, offset) for offset in (0, layout.size)]
    if width == 8 and task.word == 4:
        # A 32-bit program leaves the upper half of tv_nsec undefined (get_timespec64).
        parts = [(seconds, nano & 0xFFFFFFFF) for seconds, nano in parts]
    kinds = [nano for _, nano in parts]
    if kinds == [UTIME_OMIT, UTIME_OMIT]:
        return 0  # nothing to do is nothing to complain about: not even a missing file
    place = _timed(task, dirfd, path, flags)
    if any(not 0 <= nano < NANOSECONDS and nano not in (UTIME_NOW, UTIME_OMIT) for nano in kinds):
        raise Errno(EINVAL)
    if kinds == [UTIME_NOW, UTIME_NOW]:
        return _set_times(task, place, None)
    now = task.kernel.clock.realtime()
    stamps: list[int | None] = []
    for seconds, nano in parts:
        if nano == UTIME_OMIT:
            stamps.append(None)
        elif nano == UTIME_NOW:
            stamps.append(now)
        else:
            stamps.append(seconds * NANOSECONDS + nano)
    return _set_times(task, place, (stamps[0], stamps[1]))


def _timed(task: Task, dirfd: int, path: bytes | None, flags: int) -> Place:
    """What a NULL path means: the descriptor itself."""
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise Errno(EINVAL)
    if path is not None:
        return find_with(task, dirfd, path, flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
    if dirfd == AT_FDCWD:
        raise Errno(EFAULT)
    if flags:
        raise Errno(EINVAL)
    return place_of(opened(task, dirfd))


def _set_times(task: Task, place: Place, stamps: tuple[int | None, int | None] | None) -> int:
    """None: both are now, for which write permission suffices."""
    if stamps is None:
        now = task.kernel.clock.realtime()
        namespace(task).change_times(place, now, now, explicit=False)
    else:
        namespace(task).change_times(place, *stamps, explicit=True)
    watching.tell_times(place, stamps)
    return 0


_WIDE_IDS = ("x86_64", "arm64", "riscv64")
_NARROW_IDS = ("i386", "arm")

ROWS = [
    Row("chmod", chmod, "path:path mode:mode", FULL),
    Row("fchmod", fchmod, "fd:fd mode:mode", FULL),
    Row("fchmodat", fchmodat, "dirfd:dirfd path:path mode:mode", FULL),
    Row("fchmodat2", fchmodat2, "dirfd:dirfd path:path mode:mode flags:flags:at", FULL),
    Row("umask", umask, "mask:mode", FULL),
    Row("chown", chown, "path:path uid:uid gid:gid", FULL, "", ("x86_64",)),
    Row("lchown", lchown, "path:path uid:uid gid:gid", FULL, "", ("x86_64",)),
    Row("fchown", fchown, "fd:fd uid:uid gid:gid", FULL, "", _WIDE_IDS),
    Row("chown", chown, "path:path uid:uid16 gid:gid16", FULL, "", _NARROW_IDS),
    Row("lchown", lchown, "path:path uid:uid16 gid:gid16", FULL, "", _NARROW_IDS),
    Row("fchown", fchown, "fd:fd uid:uid16 gid:gid16", FULL, "", _NARROW_IDS),
    Row("chown32", chown, "path:path uid:uid gid:gid", FULL),
    Row("lchown32", lchown, "path:path uid:uid gid:gid", FULL),
    Row("fchown32", fchown, "fd:fd uid:uid gid:gid", FULL),
    Row("fchownat", fchownat, "dirfd:dirfd path:path uid:uid gid:gid flags:flags:at", FULL),
    Row("access", access, "path:path mode:flags:access", FULL),
    Row("faccessat", faccessat, "dirfd:dirfd path:path mode:flags:access", FULL),
    Row("faccessat2", faccessat2, "dirfd:dirfd path:path mode:flags:access flags:flags:access_at", FULL),
    Row("utime", utime, "path:path times:in", FULL),
    Row("utimes", utimes, "path:path times:in", FULL),
    Row("futimesat", futimesat, "dirfd:dirfd path:path? times:in", FULL),
    Row("utimensat", utimensat, "dirfd:dirfd path:path? times:in flags:flags:at", FULL),
    Row("utimensat_time64", utimensat_time64, "dirfd:dirfd path:path? times:in flags:flags:at", FULL),
]
