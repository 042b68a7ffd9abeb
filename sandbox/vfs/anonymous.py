"""Inodes of things that are files only because they have a descriptor: eventfd, timerfd, epoll, inotify.

Each is an `OpenFile` of its own kind on an `AnonymousNode`, which gives it a number and a name for /proc/PID/fd. They
have no position: seeking is accepted and does nothing. Neighbours: `eventfile`, `epoll`, `inotify`, and the kernel's
timerfd.
"""

from __future__ import annotations

from sandbox.abi.errno import EBADF, EINVAL, ENXIO, EOPNOTSUPP, Errno
from sandbox.abi.flags import O_RDWR, SEEK_HOLE, SEEK_SET
from sandbox.vfs.lock import FileLocks, locks_of
from sandbox.vfs.node import Filesystem, Node, OpenFile


class AnonymousFs(Filesystem):
    """One per VM."""

    name = "anon_inodefs"
    magic = 0x09041934

    def __init__(self) -> None:
        super().__init__()
        self.device = 0xD
        self.watchers = 0  # inotify descriptors: while there are none, nobody need be told anything
        self.inotify_watches = self.inotify_events = 0  # of all of them
        self.epoll_watches = 0
        self.epoll_nested = 0  # of those, of epoll sets
        self.cookie = 0  # of the last rename that was told
        self._last_ino = 0
        self._locks: FileLocks | None = None  # on Linux they are one inode, and so one file to flock

    def node(self, kind: bytes) -> AnonymousNode:
        self._last_ino += 1
        node = AnonymousNode(self, self._last_ino, kind)
        if self._locks is None:
            self._locks = locks_of(node)
        node.locks = self._locks
        return node


class AnonymousNode(Node):
    """Its mode has no type bits, as on Linux."""

    __slots__ = ("kind",)

    def __init__(self, filesystem: AnonymousFs, ino: int, kind: bytes) -> None:
        super().__init__(filesystem, ino, 0o600)
        self.kind = kind

    def set_attributes(
        self,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        atime: int | None = None,
        mtime: int | None = None,
    ) -> None:
        raise Errno(EOPNOTSUPP)

    def label(self) -> bytes:
        return b"anon_inode:" + self.kind

    def open(self, flags: int, task_context: object | None = None) -> OpenFile:
        raise Errno(ENXIO)  # through /proc/PID/fd


class AnonymousFile(OpenFile):
    """The refusals that all of them share. `flags`: O_NONBLOCK."""

    __slots__ = ()

    def __init__(self, filesystem: AnonymousFs, kind: bytes, flags: int, access: int = O_RDWR) -> None:
        super().__init__(filesystem.node(kind), access | flags)

    def read(self, count: int, offset: int | None = None) -> bytes:
        raise Errno(EINVAL)

    def write(self, data: bytes, offset: int | None = None) -> int:
        raise Errno(EINVAL if self.writable else EBADF)

    def seek(self, offset: int, whence: int) -> int:
        """Accepted and without effect (`noop_llseek`)."""
        if not SEEK_SET <= whence <= SEEK_HOLE:
            raise Errno(EINVAL)
        return 0

    def truncate(self, size: int) -> None:
        raise Errno(EINVAL)

    def sync(self) -> None:
        raise Errno(EINVAL)

    def poll(self) -> int:
        return 0
