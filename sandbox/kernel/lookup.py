"""From what a call names to what it means: a directory descriptor and a path to a place in the tree, a number to an
open file, and back to a number for a new one.

Every `*at` call goes through here, the calls without a directory with AT_FDCWD. Paths are already in kernel memory
(the `path` kind of the table). The tree itself, with all permission checks, is `sandbox.vfs.namespace`; nothing here
has rows. Source: `path_init` and `getname_flags` in fs/namei.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi.errno import EBADF, EINVAL, ENOENT, ENOTDIR, ESPIPE, Errno
from sandbox.abi.flags import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_PATH, S_IFMT, S_IFREG, SEEK_CUR
from sandbox.vfs.anonymous import AnonymousFile
from sandbox.vfs.mount import Place, place_of
from sandbox.vfs.namespace import Namespace

if TYPE_CHECKING:
    from sandbox.kernel.task import Task
    from sandbox.vfs.file import OpenFile


def namespace(task: Task) -> Namespace:
    """The tree as this task sees it."""
    return Namespace(task.kernel.mounts, task.fs.root, task.credentials)


def start_of(task: Task, dirfd: int, path: bytes) -> Place:
    """Where the walk of `path` begins. An absolute path does not look at `dirfd` at all."""
    if dirfd == AT_FDCWD or path.startswith(b"/"):
        return task.fs.cwd
    if not path:
        raise Errno(ENOENT)
    file = task.files.get(dirfd)
    if not file.node.is_directory:
        raise Errno(ENOTDIR)
    return place_of(file)


def find(task: Task, dirfd: int, path: bytes, follow: bool = True, empty: bool = False) -> Place:
    """What exists at `path`. `empty` (AT_EMPTY_PATH): an empty path means `dirfd` itself, whatever it is."""
    if not path:
        if not empty:
            raise Errno(ENOENT)
        return task.fs.cwd if dirfd == AT_FDCWD else place_of(task.files.get(dirfd))
    return namespace(task).find(start_of(task, dirfd, path), path, follow)


def find_with(task: Task, dirfd: int, path: bytes, flags: int, allowed: int) -> Place:
    """The same, led by AT_* flags; those not in `allowed` are EINVAL."""
    if flags & ~allowed:
        raise Errno(EINVAL)
    return find(task, dirfd, path, not flags & AT_SYMLINK_NOFOLLOW, bool(flags & AT_EMPTY_PATH))


def opened(task: Task, fd: int) -> OpenFile:
    """The open file of `fd`, for calls that an O_PATH descriptor does not serve: EBADF then."""
    file = task.files.get(fd)
    if file.flags & O_PATH:
        raise Errno(EBADF)
    return file


def expect_positions(file: OpenFile) -> None:
    """ESPIPE for what cannot be read at an offset: pipes, terminals, and files made of nothing."""
    if file.node.mode & S_IFMT != S_IFREG:
        if isinstance(file, AnonymousFile):
            raise Errno(ESPIPE)
        file.seek(0, SEEK_CUR)


def install(task: Task, file: OpenFile, close_on_exec: bool = False) -> int:
    """A descriptor for a file just made; the reference passes to the table, or is dropped on failure."""
    try:
        return task.files.allocate(file, 0, close_on_exec)
    except Errno:
        file.release()
        raise
