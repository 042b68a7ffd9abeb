"""The stdio of a VM: files that look like pipes to the guest and end in the host program.

A `ByteQueue` is a bounded buffer that the host feeds and the guest reads; a `StreamFile` is the guest's open file.
Written bytes go to a callable at once. Neighbours: `pipe` (between guests), the hypervisor's consoles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.abi.errno import EAGAIN, EBADF, EINVAL, EPIPE, ESPIPE, Errno
from sandbox.abi.flags import (
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDNORM,
    POLLWRNORM,
    S_IFIFO,
)
from sandbox.vfs.node import Node, OpenFile
from sandbox.vfs.pipe import FIONREAD, PipeFs
from sandbox.wait import WaitQueue

if TYPE_CHECKING:
    from sandbox.memory import AddressSpace


class ByteQueue:
    """At most `limit` bytes on their way to the guest. `on_room` is called when a reader has made room, `on_wanted`
    when a reader finds it empty, with the bytes that it asks for (0: it only polls)."""

    __slots__ = ("_bytes", "closed", "limit", "on_room", "on_wanted", "queue")

    def __init__(self, data: bytes = b"", limit: int = 1 << 20, closed: bool = False) -> None:
        self._bytes = bytearray(data)  # what is given at the start may exceed the limit
        self.limit = limit
        self.closed = closed
        self.queue = WaitQueue()
        self.on_room: Callable[[], None] | None = None
        self.on_wanted: Callable[[int], None] | None = None

    def __len__(self) -> int:
        return len(self._bytes)

    @property
    def room(self) -> int:
        return 0 if self.closed else max(0, self.limit - len(self._bytes))

    def feed(self, data: bytes) -> int:
        """Append what fits and wake the readers; returns how many bytes that was."""
        taken = min(len(data), self.room)
        if taken:
            self._bytes += data[:taken]
            self.queue.wake()
        return taken

    def close(self) -> None:
        """End of file, after what is still in it."""
        if not self.closed:
            self.closed = True
            self.queue.wake()

    def wanted(self, count: int) -> bool:
        """Whether a read would get something, after telling the feeder that one is there."""
        if not self._bytes and not self.closed and self.on_wanted is not None:
            self.on_wanted(count)
        return bool(self._bytes) or self.closed

    def take(self, count: int) -> bytes:
        data = bytes(self._bytes[:count])
        del self._bytes[:count]
        if data and self.on_room is not None:
            self.on_room()
        return data


class StreamFile(OpenFile):
    """Reads from `source` (None: end of file at once), writes to `on_write` (None: not writable).

    `on_write` gets the bytes and returns how many it took (None: all); it may raise Errno(EAGAIN), and whoever made
    the stream then wakes `queue` when it takes more."""

    __slots__ = ("on_write", "source")

    def __init__(
        self,
        on_write: Callable[[bytes], int | None] | None = None,
        source: ByteQueue | None = None,
        filesystem: PipeFs | None = None,
        node: StreamNode | None = None,
        flags: int | None = None,
    ) -> None:
        if node is None:
            filesystem = filesystem if filesystem is not None else PipeFs()
            node = StreamNode(filesystem, filesystem.number(), on_write, source)
        if flags is None:
            flags = O_RDONLY if on_write is None else O_WRONLY if source is None else O_RDWR
        super().__init__(node, flags)
        self.on_write = on_write
        self.source = source
        self._queue = source.queue if source is not None else node.queue

    def read(self, count: int, offset: int | None = None) -> bytes:
        if not self.readable:
            raise Errno(EBADF)
        if offset is not None:
            raise Errno(ESPIPE)
        source = self.source
        if source is None or not count:
            return b""
        if not source.wanted(count):
            raise Errno(EAGAIN)
        return source.take(count)

    def write(self, data: bytes, offset: int | None = None) -> int:
        if not self.writable:
            raise Errno(EBADF)
        if offset is not None:
            raise Errno(ESPIPE)
        if self.on_write is None:
            raise Errno(EPIPE)
        if not data:
            return 0
        taken = self.on_write(data)
        return len(data) if taken is None else taken

    def seek(self, offset: int, whence: int) -> int:
        raise Errno(ESPIPE)

    def truncate(self, size: int) -> None:
        raise Errno(EINVAL)

    def sync(self) -> None:
        raise Errno(EINVAL)

    def ioctl(self, request: int, argument: int, space: AddressSpace) -> int:
        if request == FIONREAD:
            waiting = len(self.source) if self.source is not None else 0
            space.copy_out(argument, waiting.to_bytes(4, "little"))
            return 0
        return super().ioctl(request, argument, space)

    def poll(self) -> int:
        ready = 0
        if self.readable:
            if self.source is not None:
                self.source.wanted(0)
            if self.source is None or self.source.closed:
                ready |= POLLHUP
            if self.source is not None and len(self.source):
                ready |= POLLIN | POLLRDNORM
        if self.writable:
            ready |= POLLOUT | POLLWRNORM if self.on_write is not None else POLLERR
        return ready


class StreamNode(Node):
    __slots__ = ("on_write", "queue", "source")

    def __init__(
        self, filesystem: PipeFs, ino: int, on_write: Callable[[bytes], int | None] | None, source: ByteQueue | None
    ) -> None:
        super().__init__(filesystem, ino, S_IFIFO | 0o600)
        self.on_write = on_write
        self.source = source
        self.queue = WaitQueue()

    def label(self) -> bytes:
        return b"pipe:[%d]" % self.ino

    def open(self, flags: int, task_context: object | None = None) -> OpenFile:
        """/dev/stdin, /dev/stdout: the same stream once more."""
        return StreamFile(self.on_write, self.source, node=self, flags=flags)
