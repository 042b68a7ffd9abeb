"""Mounting, as far as it makes sense inside one machine: tmpfs, binds, remounts, and what the machine has already.

Nothing of the host can be reached this way: a bind names a place the guest can see, a tmpfs takes its bytes from the
machine's own account, and `proc` or `devtmpfs` show the instance that was there from the start. There are no block
devices. Only the superuser may (CAP_SYS_ADMIN). Source: mount(2), umount(2); fs/namespace.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi.errno import EBUSY, EINVAL, ENODEV, ENOSPC, ENOTDIR, EPERM, Errno
from sandbox.abi.flags import AT_FDCWD, MS_BIND, MS_RDONLY, MS_REMOUNT
from sandbox.kernel.lookup import find
from sandbox.kernel.row import PARTIAL, Row
from sandbox.vfs.tmpfs import MountedTmpfs, Tmpfs

if TYPE_CHECKING:
    from sandbox.kernel.task import Task
    from sandbox.vfs.mount import Mount, Place
    from sandbox.vfs.node import Filesystem

CAP_SYS_ADMIN = 21
MOST_MOUNTS = 256
MS_MOVE = 0x2000
_PROPAGATION = 0x20000 | 0x40000 | 0x80000 | 0x100000  # unbindable, private, slave, shared
MNT_FORCE, MNT_DETACH, MNT_EXPIRE, UMOUNT_NOFOLLOW = 1, 2, 4, 8
# Types that are bound from where they are, if they are.
_SINGLE = (b"proc", b"sysfs", b"devtmpfs", b"devpts", b"mqueue", b"cgroup2")
_UNITS = {b"k": 10, b"m": 20, b"g": 30}


def mount(task: Task, source: bytes | None, target: bytes, kind: bytes | None, flags: int, data: int) -> int:
    options = task.space.copy_string(data) if data else b""
    place = find(task, AT_FDCWD, target)
    if not task.credentials.capable(CAP_SYS_ADMIN):
        raise Errno(EPERM)
    if flags & MS_REMOUNT:
        if place is not place.mount.root:
            raise Errno(EINVAL)
        place.mount.read_only = bool(flags & MS_RDONLY)
        return 0
    if flags & MS_BIND:
        _bind(task, place, source, bool(flags & MS_RDONLY))
        return 0
    if flags & _PROPAGATION:
        return 0  # there is one mount namespace: nothing to pass on
    if flags & MS_MOVE:
        raise Errno(EINVAL)
    if not kind:
        raise Errno(EINVAL)
    _check_room(task)
    if kind == b"tmpfs":
        filesystem: Filesystem = _tmpfs(task, options)
    else:
        filesystem = _existing(task, kind)
    if not place.node.is_directory:
        raise Errno(ENOTDIR)
    task.kernel.mounts.mount(place, filesystem, bool(flags & MS_RDONLY), source or b"none")
    return 0


def _check_room(task: Task) -> None:
    if len(task.kernel.mounts) >= MOST_MOUNTS:
        raise Errno(ENOSPC)


def _bind(task: Task, place: Place, source: bytes | None, read_only: bool) -> None:
    if not source:
        raise Errno(EINVAL)
    origin = find(task, AT_FDCWD, source)
    _check_room(task)
    task.kernel.mounts.mount(place, origin.mount.filesystem, read_only, origin.mount.source, origin.node)


def _existing(task: Task, kind: bytes) -> Filesystem:
    if kind in _SINGLE:
        for filesystem in task.kernel.mounts.filesystems():
            if filesystem.name.encode() == kind:
                return filesystem
    raise Errno(ENODEV)


def _tmpfs(task: Task, options: bytes) -> Tmpfs:
    kernel = task.kernel
    limit: int | None = None
    mode = 0o1777
    for option in options.split(b","):
        name, _, value = option.partition(b"=")
        if name == b"size":
            limit = _size(value, kernel.account.limit * 4096)
        elif name == b"mode":
            mode = _number(value, 8) & 0o7777
        elif name not in (b"", b"nr_inodes", b"nr_blocks", b"uid", b"gid", b"huge", b"inode64", b"inode32"):
            raise Errno(EINVAL)
    return MountedTmpfs(kernel.pool, kernel.account, kernel.clock, limit or None, mode, kernel.nameless.mounted)


def _size(value: bytes, whole: int) -> int:
    if value.endswith(b"%"):
        return whole * _number(value[:-1], 10) // 100
    shift = _UNITS.get(value[-1:].lower(), 0)
    return _number(value[:-1] if shift else value, 10) << shift


def _number(value: bytes, base: int) -> int:
    if not value.isdigit() or len(value) > 20:
        raise Errno(EINVAL)
    try:
        return int(value, base)
    except ValueError:
        raise Errno(EINVAL) from None


def umount(task: Task, target: bytes) -> int:
    return umount2(task, target, 0)


def umount2(task: Task, target: bytes, flags: int) -> int:
    if flags & ~(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW):
        raise Errno(EINVAL)
    place = find(task, AT_FDCWD, target, not flags & UMOUNT_NOFOLLOW)
    if not task.credentials.capable(CAP_SYS_ADMIN):
        raise Errno(EPERM)
    mounted = place.mount
    if place is not mounted.root or mounted.point is None:
        raise Errno(EINVAL)
    busy = _in_use(task, mounted)
    if busy and not flags & MNT_DETACH:
        raise Errno(EBUSY)
    mounts = task.kernel.mounts
    filesystem = mounts.unmount(place)
    if not busy and isinstance(filesystem, Tmpfs) and filesystem not in mounts.filesystems():
        filesystem.close()
    return 0


def _in_use(task: Task, mounted: Mount) -> bool:
    """Somebody's directory, or an open file, lies in it. The path that was walked holds nothing."""
    for other in task.kernel.tasks.values():
        if mounted in (other.fs.cwd.mount, other.fs.root.mount):
            return True
        if any(file.place is not None and file.place.mount is mounted for _, file in other.files):
            return True
    return False


_MOUNT = "tmpfs, bind, remount ro or rw, and a second view of proc or devtmpfs; propagation is accepted"
_UMOUNT = "memory mappings do not keep a filesystem busy; MNT_EXPIRE unmounts at once"

ROWS = [
    Row("mount", mount, "source:string? target:path type:string? flags:flags:mount data:in", PARTIAL, _MOUNT),
    Row("umount2", umount2, "target:path flags:int", PARTIAL, _UMOUNT),
    Row("umount", umount, "target:path", PARTIAL, _UMOUNT),
]
