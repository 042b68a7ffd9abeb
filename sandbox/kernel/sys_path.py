"""Names: giving, moving and removing them, and symbolic links. What may happen to the tree is `vfs.namespace`.

Source: link(2), unlink(2), rename(2), symlink(2), readlink(2), mknod(2); fs/namei.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi.errno import EINVAL, ENOENT, Errno
from sandbox.abi.flags import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_REMOVEDIR,
    AT_SYMLINK_FOLLOW,
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    S_IFBLK,
    S_IFCHR,
    S_IFMT,
)
from sandbox.kernel import watching
from sandbox.kernel.lookup import find, namespace, start_of
from sandbox.kernel.row import FULL, Row

if TYPE_CHECKING:
    from sandbox.kernel.task import Task
    from sandbox.vfs.mount import Place

CAP_DAC_READ_SEARCH = 2


def unlink(task: Task, path: bytes) -> int:
    return unlinkat(task, AT_FDCWD, path, 0)


def unlinkat(task: Task, dirfd: int, path: bytes, flags: int) -> int:
    if flags & ~AT_REMOVEDIR:
        raise Errno(EINVAL)
    tree, start = namespace(task), start_of(task, dirfd, path)
    victim = watching.exists(task, start, path) if watching.watched(task) else None
    if flags & AT_REMOVEDIR:
        tree.rmdir(start, path)
    else:
        tree.unlink(start, path)
    if victim is not None and victim.parent is not None:
        watching.tell_removed(task, victim.parent.node, victim.name, victim.node)
    return 0


def link(task: Task, old: bytes, new: bytes) -> int:
    return linkat(task, AT_FDCWD, old, AT_FDCWD, new, 0)


def linkat(task: Task, old_dirfd: int, old: bytes, new_dirfd: int, new: bytes, flags: int) -> int:
    if flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH):
        raise Errno(EINVAL)
    if flags & AT_EMPTY_PATH and not task.credentials.capable(CAP_DAC_READ_SEARCH):
        raise Errno(ENOENT)
    source = find(task, old_dirfd, old, bool(flags & AT_SYMLINK_FOLLOW), bool(flags & AT_EMPTY_PATH))
    start = start_of(task, new_dirfd, new)
    namespace(task).link(source, start, new)
    if watching.watched(task):
        watching.tell_linked(task, start, new)
    return 0


def symlink(task: Task, target: bytes, path: bytes) -> int:
    return symlinkat(task, target, AT_FDCWD, path)


def symlinkat(task: Task, target: bytes, dirfd: int, path: bytes) -> int:
    if not target:
        raise Errno(ENOENT)
    start = start_of(task, dirfd, path)
    namespace(task).symlink(target, start, path)
    if watching.watched(task):
        watching.tell_created(task, start, path)
    return 0


def readlink(task: Task, path: bytes, buffer: int, size: int) -> int:
    return readlinkat(task, AT_FDCWD, path, buffer, size)


def readlinkat(task: Task, dirfd: int, path: bytes, buffer: int, size: int) -> int:
    if size <= 0:
        raise Errno(EINVAL)
    if path:
        target = namespace(task).readlink(start_of(task, dirfd, path), path)
    else:
        node = find(task, dirfd, path, empty=True).node
        if not node.is_symlink:
            raise Errno(ENOENT)
        target = node.readlink()
    data = target[:size]
    task.space.copy_out(buffer, data)
    return len(data)


def rename(task: Task, old: bytes, new: bytes) -> int:
    return renameat2(task, AT_FDCWD, old, AT_FDCWD, new, 0)


def renameat(task: Task, old_dirfd: int, old: bytes, new_dirfd: int, new: bytes) -> int:
    return renameat2(task, old_dirfd, old, new_dirfd, new, 0)


def renameat2(task: Task, old_dirfd: int, old: bytes, new_dirfd: int, new: bytes, flags: int) -> int:
    if flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE) or flags == RENAME_NOREPLACE | RENAME_EXCHANGE:
        raise Errno(EINVAL)
    tree, old_start = namespace(task), start_of(task, old_dirfd, old)
    try:
        if not new:
            raise Errno(ENOENT)
        new_start = start_of(task, new_dirfd, new)
    except Errno:
        tree.parent(old_start, old)  # what is wrong with the old name comes first
        raise
    if watching.watched(task):
        _rename_watched(task, (old_start, old), (new_start, new), flags)
    else:
        tree.rename(old_start, old, new_start, new, flags)
    return 0


def _rename_watched(task: Task, old: tuple[Place, bytes], new: tuple[Place, bytes], flags: int) -> None:
    tree = namespace(task)
    moved, replaced = watching.exists(task, *old), watching.exists(task, *new)
    old_parent, old_name = tree.parent(*old)  # the paths may lead elsewhere afterwards
    new_parent, new_name = tree.parent(*new)
    tree.rename(*old, *new, flags)
    if moved is None or (replaced is not None and replaced.node is moved.node):
        return
    exchanged = bool(flags & RENAME_EXCHANGE)
    gone = None if replaced is None or exchanged else replaced.node
    watching.tell_renamed(task, old_parent.node, old_name, new_parent.node, new_name, moved.node, gone)
    if exchanged and replaced is not None:
        watching.tell_renamed(task, new_parent.node, new_name, old_parent.node, old_name, replaced.node, None)


def mknod(task: Task, path: bytes, mode: int, device: int) -> int:
    return mknodat(task, AT_FDCWD, path, mode, device)


def mknodat(task: Task, dirfd: int, path: bytes, mode: int, device: int) -> int:
    """The 32-bit device number of the call and st_rdev are encoded alike (`new_encode_dev`)."""
    if mode & S_IFMT not in (S_IFCHR, S_IFBLK):
        device = 0
    start = start_of(task, dirfd, path)
    namespace(task).mknod(start, path, mode & 0xFFFF & ~task.fs.umask, device)
    if watching.watched(task):
        watching.tell_created(task, start, path)
    return 0


_TWO = "old_dirfd:dirfd old:path new_dirfd:dirfd new:path"

ROWS = [
    Row("unlink", unlink, "path:path", FULL),
    Row("unlinkat", unlinkat, "dirfd:dirfd path:path flags:flags:unlink", FULL),
    Row("link", link, "old:path new:path", FULL),
    Row("linkat", linkat, f"{_TWO} flags:flags:at", FULL),
    Row("symlink", symlink, "target:string path:path", FULL),
    Row("symlinkat", symlinkat, "target:string dirfd:dirfd path:path", FULL),
    Row("readlink", readlink, "path:path buffer:out size:int", FULL),
    Row("readlinkat", readlinkat, "dirfd:dirfd path:path buffer:out size:int", FULL),
    Row("rename", rename, "old:path new:path", FULL),
    Row("renameat", renameat, _TWO, FULL),
    Row("renameat2", renameat2, f"{_TWO} flags:flags:rename", FULL),
    Row("mknod", mknod, "path:path mode:mode device:dev", FULL),
    Row("mknodat", mknodat, "dirfd:dirfd path:path mode:mode device:dev", FULL),
]
