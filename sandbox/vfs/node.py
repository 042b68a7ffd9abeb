"""Inodes and filesystems. A `Node` is one file; its methods are what a filesystem has to answer.

Every default raises the errno that Linux gives when the operation makes no sense on such a file, so a new kind of
node overrides what it can do and nothing else. Rules for a filesystem:

* One file is one Node object for as long as somebody holds it (`is` means "the same inode"); nodes made up on the
  spot, like those of procfs, are exempt.
* Names are single path components, never empty, ".", "..", or with a slash in them.
* A node checks what only it can know (does the name exist, is the directory empty, is there room). Permissions,
  read-only mounts, sticky directories and mount points are the business of `namespace` and `opening`.
* Nothing but `Errno` (or `Block`) is ever raised.

Neighbours: `file` (open files), `mount` (places in the tree). New nodes in memory: `tree`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sandbox.abi.errno import (
    EACCES,
    EINVAL,
    EISDIR,
    ELOOP,
    ENOENT,
    ENOTDIR,
    ENXIO,
    EOPNOTSUPP,
    EPERM,
    EROFS,
    EXDEV,
    Errno,
)
from sandbox.abi.flags import (
    O_ACCMODE,
    O_RDONLY,
    R_OK,
    S_IFDIR,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    W_OK,
    X_OK,
)
from sandbox.vfs.file import DirectoryEntry, DirectoryFile, OpenFile

if TYPE_CHECKING:
    from sandbox.memory import PageSource
    from sandbox.vfs.inotify import Watch
    from sandbox.vfs.lock import FileLocks
    from sandbox.vfs.mount import Place

__all__ = [
    "SUPERUSER",
    "DirectoryEntry",
    "DirectoryFile",
    "Filesystem",
    "Identity",
    "Node",
    "OpenFile",
    "Stat",
    "StatFs",
    "check_access",
    "device_number",
]


@dataclass(slots=True)
class Stat:
    """What stat(2) reports. Times are nanoseconds since 1970; `blocks` counts 512 bytes."""

    dev: int = 0
    ino: int = 0
    mode: int = 0
    nlink: int = 1
    uid: int = 0
    gid: int = 0
    rdev: int = 0
    size: int = 0
    blksize: int = 4096
    blocks: int = 0
    atime: int = 0
    mtime: int = 0
    ctime: int = 0


@dataclass(slots=True)
class StatFs:
    """What statfs(2) reports. `kind` is the magic number (linux/magic.h), `flags` the ST_* bits."""

    kind: int
    bsize: int = 4096
    blocks: int = 0
    bfree: int = 0
    bavail: int = 0
    files: int = 0
    ffree: int = 0
    namelen: int = 255
    flags: int = 0


class Identity(Protocol):
    """The part of a task's credentials that decides about files (credentials(7))."""

    @property
    def fsuid(self) -> int: ...
    @property
    def fsgid(self) -> int: ...
    @property
    def groups(self) -> Iterable[int]: ...


@dataclass(frozen=True)
class _Superuser:
    fsuid: int = 0
    fsgid: int = 0
    groups: tuple[int, ...] = ()


SUPERUSER: Identity = _Superuser()


def device_number(major: int, minor: int) -> int:
    """As the kernel hands it to programs (new_encode_dev, widened as glibc's makedev does)."""
    return (minor & 0xFF) | (major & 0xFFF) << 8 | (minor & ~0xFF) << 12 | (major & ~0xFFF) << 32


class Node:
    """One inode. `mode` includes the type (S_IFMT)."""

    __slots__ = ("__weakref__", "filesystem", "gid", "ino", "locks", "mode", "uid", "watches", "writers")

    def __init__(self, filesystem: Filesystem, ino: int, mode: int, uid: int = 0, gid: int = 0) -> None:
        self.filesystem = filesystem
        self.ino = ino
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.locks: FileLocks | None = None  # made by the first advisory lock
        self.watches: list[Watch] | None = None  # inotify
        self.writers = 0  # open files that a path was opened to write with; meanwhile it cannot be executed

    # -- attributes -------------------------------------------------------------------------------------

    @property
    def is_directory(self) -> bool:
        return self.mode & S_IFMT == S_IFDIR

    @property
    def is_symlink(self) -> bool:
        return self.mode & S_IFMT == S_IFLNK

    @property
    def is_regular(self) -> bool:
        return self.mode & S_IFMT == S_IFREG

    @property
    def rdev(self) -> int:
        return 0

    @property
    def size(self) -> int:
        return self.stat().size

    def stat(self) -> Stat:
        return Stat(self.filesystem.device, self.ino, self.mode, 1, self.uid, self.gid, self.rdev)

    def set_attributes(
        self,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        atime: int | None = None,
        mtime: int | None = None,
    ) -> None:
        """Change what is not None; `mode` without the type bits. The change time becomes now."""
        raise Errno(EPERM)

    def label(self) -> bytes:
        """What /proc/PID/fd shows when the file has no path."""
        return b"anon_inode:[%d]" % self.ino

    # -- directories ------------------------------------------------------------------------------------

    def lookup(self, name: bytes) -> Node:
        raise Errno(ENOENT if self.is_directory else ENOTDIR)

    def names(self) -> list[tuple[bytes, int, int]]:
        """(name, inode number, DT_*) of all entries but "." and "..", in any order."""
        raise Errno(EACCES if self.is_directory else ENOTDIR)

    def create(self, name: bytes, mode: int, uid: int, gid: int) -> Node:
        raise Errno(self._refusal())

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> Node:
        raise Errno(self._refusal())

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> Node:
        raise Errno(self._refusal())

    def mknod(self, name: bytes, mode: int, rdev: int, uid: int, gid: int) -> Node:
        """`mode` includes the type; S_IFREG is allowed too."""
        raise Errno(self._refusal())

    def temporary(self, mode: int, uid: int, gid: int) -> Node:
        """A regular file without a name (O_TMPFILE)."""
        raise Errno(EOPNOTSUPP if self.is_directory else ENOTDIR)

    def link(self, name: bytes, node: Node) -> None:
        raise Errno(self._refusal())

    def unlink(self, name: bytes) -> None:
        raise Errno(self._refusal())

    def rmdir(self, name: bytes) -> None:
        raise Errno(self._refusal())

    def rename(self, old_name: bytes, new_parent: Node, new_name: bytes, flags: int = 0) -> None:
        raise Errno(self._refusal() if new_parent.filesystem is self.filesystem else EXDEV)

    def _refusal(self) -> int:
        if not self.is_directory:
            return ENOTDIR
        return EROFS if self.filesystem.read_only else EPERM

    # -- contents ---------------------------------------------------------------------------------------

    def read_at(self, offset: int, count: int) -> bytes:
        raise Errno(EISDIR if self.is_directory else EINVAL)

    def write_at(self, offset: int, data: bytes) -> int:
        raise Errno(EISDIR if self.is_directory else EINVAL)

    def append(self, data: bytes) -> int:
        return self.write_at(self.size, data)

    def truncate(self, size: int) -> None:
        raise Errno(EISDIR if self.is_directory else EINVAL)

    def allocate(self, offset: int, length: int, keep_size: bool = False) -> None:
        """posix_fallocate: the range exists afterwards, as zeros where there was nothing."""
        raise Errno(EOPNOTSUPP)

    def punch(self, offset: int, length: int) -> None:
        """FALLOC_FL_PUNCH_HOLE: the range reads as zeros afterwards; the size stays."""
        raise Errno(EOPNOTSUPP)

    def sync(self) -> None:
        """fsync: on return the file survives a crash of the host process, where the filesystem can promise that."""

    def page_source(self) -> PageSource | None:
        """For mmap; None: this file cannot be mapped (ENODEV)."""
        return None

    def readlink(self) -> bytes:
        raise Errno(EINVAL)

    def jump(self) -> Place | None:
        """Where a magic link (/proc/PID/fd/N, exe, cwd) leads, whatever its text says. None: an ordinary link."""
        return None

    def open(self, flags: int, task_context: object | None = None) -> OpenFile:
        """A new open file description. `task_context` is who opens (any hashable, weakly referenced object): a FIFO
        counts the ones that wait for the other side by it. May raise Block."""
        kind = self.mode & S_IFMT
        if kind == S_IFDIR:
            if flags & O_ACCMODE != O_RDONLY:
                raise Errno(EISDIR)
            return DirectoryFile(self, flags)
        if kind == S_IFREG:
            return OpenFile(self, flags)
        raise Errno(ELOOP if kind == S_IFLNK else ENXIO)


class Filesystem:
    """A tree of nodes. `device` is st_dev, given when it is mounted; `name` is the type in /proc/mounts."""

    name = "none"
    magic = 0x6969
    read_only = False
    lasting = True  # a node found stays right until the filesystem is told otherwise

    def __init__(self) -> None:
        self.device = 0
        self.listing_budget = 100_000  # directory entries that open directories may hold on to (file.py)
        self.lock_budget = 4_096  # advisory locks on all files together (lock.py)
        self.watched = 0  # inodes that somebody watches (inotify.py): while it is 0, nobody need be told anything

    @property
    def root(self) -> Node:
        raise NotImplementedError

    def statfs(self) -> StatFs:
        return StatFs(self.magic)

    def sync(self) -> None:
        """All files, as `Node.sync`."""

    def close(self) -> None:
        """Give back frames, descriptors and locks. Idempotent. Nothing of it may be used afterwards."""


def check_access(node: Node, identity: Identity, wanted: int) -> None:
    """Raise EACCES unless `wanted` (R_OK | W_OK | X_OK) is granted by the mode bits (path_resolution(7)).
    The superuser may do all but execute a file that nobody may execute."""
    mode = node.mode
    uid = identity.fsuid
    if uid == 0:
        if not wanted & X_OK or mode & 0o111 or mode & S_IFMT == S_IFDIR:
            return
        raise Errno(EACCES)
    if uid == node.uid:
        granted = mode >> 6
    elif node.gid == identity.fsgid or node.gid in identity.groups:
        granted = mode >> 3
    else:
        granted = mode
    if wanted & (R_OK | W_OK | X_OK) & ~granted:
        raise Errno(EACCES)
