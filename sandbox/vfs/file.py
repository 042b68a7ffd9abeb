"""Open file descriptions: what a descriptor refers to, shared by dup and fork.

An `OpenFile` holds the position and the flags, the `Node` behind it the bytes. It is counted by hand
(`retain`, `release`), because the guest sees when the last reference goes: an end of a pipe closes, a lock is
dropped. A new file has one reference, which belongs to whoever opened it.

Nothing here waits: a read or write that would have to raises Errno(EAGAIN), and the kernel sleeps on `queue` unless
the file is O_NONBLOCK. `queue` is woken whenever the answer of `poll` may have changed.
Neighbours: `node` (inodes), `opening` (how a path becomes an OpenFile), `kernel.fdtable`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.abi.errno import EBADF, EINVAL, EISDIR, ENOTDIR, ENOTTY, ENXIO, EOVERFLOW, Errno
from sandbox.abi.flags import (
    DT_DIR,
    O_ACCMODE,
    O_APPEND,
    O_ASYNC,
    O_DIRECT,
    O_NOATIME,
    O_NONBLOCK,
    O_PATH,
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
    POLLIN,
    POLLOUT,
    POLLRDNORM,
    POLLWRNORM,
    SEEK_CUR,
    SEEK_DATA,
    SEEK_END,
    SEEK_HOLE,
    SEEK_SET,
)
from sandbox.wait import WaitQueue

if TYPE_CHECKING:
    from sandbox.memory import AddressSpace
    from sandbox.vfs.mount import Place
    from sandbox.vfs.node import Node

MAX_OFFSET = (1 << 63) - 1
# What fcntl(F_SETFL) may change.
CHANGEABLE_FLAGS = O_APPEND | O_NONBLOCK | O_NOATIME | O_ASYNC | O_DIRECT


class OpenFile:
    """A regular file, or anything whose node answers `read_at` and `write_at`; streams override the methods."""

    __slots__ = ("__weakref__", "_label", "_queue", "_writes", "flags", "node", "place", "position", "references")

    def __init__(self, node: Node, flags: int, label: bytes = b"") -> None:
        self.node = node
        self.flags = flags
        self.position = 0
        self.place: Place | None = None  # where in the tree it was opened; None for pipes and the like
        self.references = 1
        self._label = label
        self._queue: WaitQueue | None = None
        self._writes = False  # counted in its node's `writers`

    # -- lifetime ---------------------------------------------------------------------------------------

    def retain(self) -> OpenFile:
        self.references += 1
        return self

    def release(self) -> None:
        self.references -= 1
        if self.references == 0:
            if self._writes:
                self.node.writers -= 1
            if self.node.locks is not None:
                self.node.locks.drop(self)
            if self.node.filesystem.watched:
                self._tell_of_close()
            self.close()

    def count_writer(self) -> None:
        """As for every regular file that a path was opened to write; the first descriptor of a memfd does not count."""
        if self.writable and self.node.is_regular:
            self._writes = True
            self.node.writers += 1

    def _tell_of_close(self) -> None:
        from sandbox.vfs.inotify import IN_CLOSE_NOWRITE, IN_CLOSE_WRITE, deleted, notify_place

        if self.place is not None and not self.flags & O_PATH:
            notify_place(self.place, IN_CLOSE_WRITE if self.writable else IN_CLOSE_NOWRITE)
            if self.place.removed and self.node.watches is not None and not self.node.stat().nlink:
                deleted(self.node)

    def close(self) -> None:
        """Called once, when the last reference has gone; not to be called by others."""

    def described(self) -> bytes:
        """Lines of its own in /proc/PID/fdinfo."""
        return b""

    # -- what it is -------------------------------------------------------------------------------------

    @property
    def path(self) -> bytes:
        """For /proc/PID/fd and traces: an absolute path, or something like `pipe:[7]`."""
        if self.place is not None:
            return self.place.path()
        return self._label or self.node.label()

    @property
    def readable(self) -> bool:
        return self.flags & O_ACCMODE in (O_RDONLY, O_RDWR) and not self.flags & O_PATH

    @property
    def writable(self) -> bool:
        return self.flags & O_ACCMODE in (O_WRONLY, O_RDWR) and not self.flags & O_PATH

    @property
    def queue(self) -> WaitQueue:
        if self._queue is None:
            self._queue = WaitQueue()
        return self._queue

    @property
    def room_queue(self) -> WaitQueue:
        """Where who found no room to write waits."""
        return self.queue

    def patience(self, writing: bool) -> int | None:
        """How many nanoseconds a call may wait for the file before it ends in EAGAIN; None: for ever."""
        return None

    # -- operations -------------------------------------------------------------------------------------

    def read(self, count: int, offset: int | None = None) -> bytes:
        """At most `count` bytes; empty at the end of the file. The caller bounds `count` (a sparse file is larger
        than the host's memory). `offset` None: at the position, which moves."""
        if not self.readable:
            raise Errno(EBADF)
        if offset is None:
            data = self.node.read_at(self.position, count)
            self.position += len(data)
            return data
        if offset < 0:
            raise Errno(EINVAL)
        return self.node.read_at(offset, count)

    def write(self, data: bytes, offset: int | None = None) -> int:
        """How many bytes were taken (may be fewer). O_APPEND ignores `offset`, as on Linux (pwrite(2), BUGS)."""
        if not self.writable:
            raise Errno(EBADF)
        if offset is not None and offset < 0:
            raise Errno(EINVAL)
        if self.flags & O_APPEND:
            written = self.node.append(data)
            if offset is None:
                self.position = self.node.size
            return written
        if offset is not None:
            return self.node.write_at(offset, data)
        written = self.node.write_at(self.position, data)
        self.position += written
        return written

    def seek(self, offset: int, whence: int) -> int:
        if self.flags & O_PATH:
            raise Errno(EBADF)
        if whence == SEEK_SET:
            target = offset
        elif whence == SEEK_CUR:
            target = self.position + offset
        elif whence == SEEK_END:
            target = self.node.size + offset
        elif whence in (SEEK_DATA, SEEK_HOLE):
            size = self.node.size
            if not 0 <= offset < size:
                raise Errno(ENXIO)
            target = offset if whence == SEEK_DATA else size  # one extent without holes is always a right answer
        else:
            raise Errno(EINVAL)
        if target < 0:
            raise Errno(EINVAL)
        if target > MAX_OFFSET:
            raise Errno(EOVERFLOW)
        self.position = target
        return target

    def entries(self) -> Iterator[DirectoryEntry]:
        """Directories only, see `DirectoryFile`."""
        raise Errno(EBADF if self.flags & O_PATH else ENOTDIR)

    def consume(self, entry: DirectoryEntry) -> None:
        raise Errno(EBADF)

    def truncate(self, size: int) -> None:
        if self.flags & O_PATH:
            raise Errno(EBADF)
        if not self.writable or size < 0:
            raise Errno(EINVAL)
        self.node.truncate(size)

    def sync(self) -> None:
        if self.flags & O_PATH:
            raise Errno(EBADF)
        self.node.sync()

    def ioctl(self, request: int, argument: int, space: AddressSpace) -> int:
        raise Errno(EBADF if self.flags & O_PATH else ENOTTY)

    def poll(self) -> int:
        """POLLIN, POLLOUT ... as far as true now. Regular files are always ready (poll(2))."""
        return POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM


@dataclass(frozen=True, slots=True)
class DirectoryEntry:
    name: bytes
    ino: int
    kind: int  # DT_*
    offset: int  # d_off: the position after this entry


class DirectoryFile(OpenFile):
    """A directory being read. Entries come sorted by name, after "." and "..", so that a listing is repeatable and
    a position can be found again by the last name given out: deleting while reading (rm -r) skips nothing.

    A listing is kept while it is being read, as far as the filesystem's `listing_budget` allows; beyond it every
    getdents lists anew. So a guest cannot pile up listings in the host's memory."""

    __slots__ = ("_last", "_listing")

    def __init__(self, node: Node, flags: int) -> None:
        super().__init__(node, flags)
        self._listing: list[tuple[bytes, int, int]] | None = None
        self._last: tuple[int, bytes] | None = None  # position and name of the entry consumed last

    def read(self, count: int, offset: int | None = None) -> bytes:
        raise Errno(EISDIR if self.readable else EBADF)

    def write(self, data: bytes, offset: int | None = None) -> int:
        raise Errno(EBADF)

    def seek(self, offset: int, whence: int) -> int:
        if self.flags & O_PATH:
            raise Errno(EBADF)
        if whence == SEEK_CUR:
            offset += self.position
        elif whence != SEEK_SET:
            raise Errno(EINVAL)
        if not 0 <= offset <= MAX_OFFSET:
            raise Errno(EINVAL)
        if offset != self.position or offset == 0:
            self._drop_listing()
            self._last = None
            self.position = offset
        return offset

    def entries(self) -> Iterator[DirectoryEntry]:
        """The entries from the position on. Taking one from the iterator changes nothing; `consume` does."""
        if not self.readable:
            raise Errno(EBADF)
        position = self.position
        if position <= 0:
            yield DirectoryEntry(b".", self.node.ino, DT_DIR, 1)
        if position <= 1:
            above = self.place.above() if self.place is not None else None
            yield DirectoryEntry(b"..", (above.node if above is not None else self.node).ino, DT_DIR, 2)
        position = max(position, 2)
        listing = self._listing
        index = position - 2
        if listing is None:
            listing = sorted(self.node.names())
            if self._last is not None and self._last[0] == position:
                # The entries before may have changed: what counts is the name. The offsets go on from here.
                index = bisect_right(listing, self._last[1], key=_name)
                for name, ino, kind in listing[index:]:
                    position += 1
                    yield DirectoryEntry(name, ino, kind, position)
                return
            self._keep_listing(listing)
        for name, ino, kind in listing[index:]:
            position += 1
            yield DirectoryEntry(name, ino, kind, position)
        if index >= len(listing):
            self._drop_listing()

    def consume(self, entry: DirectoryEntry) -> None:
        """The caller has passed `entry` on: the position moves behind it."""
        self.position = entry.offset
        self._last = (entry.offset, entry.name) if entry.offset > 2 else None

    def close(self) -> None:
        self._drop_listing()

    def poll(self) -> int:
        return POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM

    def _keep_listing(self, listing: list[tuple[bytes, int, int]]) -> None:
        filesystem = self.node.filesystem
        if len(listing) <= filesystem.listing_budget:
            filesystem.listing_budget -= len(listing)
            self._listing = listing

    def _drop_listing(self) -> None:
        if self._listing is not None:
            self.node.filesystem.listing_budget += len(self._listing)
            self._listing = None


def _name(entry: tuple[bytes, int, int]) -> bytes:
    return entry[0]
