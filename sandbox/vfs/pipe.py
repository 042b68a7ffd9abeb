"""Pipes and FIFOs, with the semantics of pipe(7): 64 KiB, writes of at most PIPE_BUF bytes all at once or not at all,
end of file without writers, EPIPE without readers.

A `Pipe` is the buffer and the counts of its ends; a `PipeEnd` is an open file. What would wait raises EAGAIN; a write
that fits only in part is short, and a blocking writer has to go on with the rest (`kernel`). Sending SIGPIPE is the
kernel's business, too. Both ends share one wait queue. A guest cannot fill the host's memory with pipes: beyond
`PipeFs.soft_limit` new ones are small, as Linux does with pipe-user-pages-soft.
Neighbours: `stream` (the stdio of a VM), `tree.TreeSpecial` (FIFOs by mknod).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from sandbox.abi.errno import EAGAIN, EBADF, EBUSY, EINVAL, ENXIO, EPERM, EPIPE, ESPIPE, Errno
from sandbox.abi.flags import (
    O_ACCMODE,
    O_DIRECT,
    O_NONBLOCK,
    O_RDONLY,
    O_WRONLY,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDNORM,
    POLLWRNORM,
    S_IFIFO,
)
from sandbox.clock import Clock
from sandbox.vfs.node import Filesystem, Node, OpenFile, Stat
from sandbox.wait import Block, WaitQueue

if TYPE_CHECKING:
    from sandbox.memory import AddressSpace

PAGE = 4096  # also PIPE_BUF
CAPACITY = 65536
SMALL_CAPACITY = 2 * PAGE
MAX_CAPACITY = 1 << 20
FIONREAD = 0x541B


class _Slot:
    """A page or less; what lies before `start` has been read."""

    __slots__ = ("data", "packet", "start")

    def __init__(self, data: bytes, packet: bool) -> None:
        self.data = bytearray(data)
        self.packet = packet  # written with O_DIRECT: read by itself, and what one read leaves of it is lost
        self.start = 0


class Pipe:
    """The buffer between the ends: at most `capacity` // 4096 slots of up to a page each. A write goes on in the last
    slot when its odd bytes still fit there (fs/pipe.c, pipe_write); so slots may be used up before the bytes are."""

    __slots__ = ("_slots", "_waiting", "capacity", "queue", "read_opens", "readers", "size", "write_opens", "writers")

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._slots: deque[_Slot] = deque()
        self.size = 0  # bytes in it
        self.capacity = capacity
        self.readers = 0
        self.writers = 0
        self.read_opens = 0  # ever
        self.write_opens = 0
        self.queue = WaitQueue()
        # FIFOs: who waits in open for the other side: (as reader?, the other side's count of opens when it came)
        self._waiting: WeakKeyDictionary[object, tuple[bool, int]] | None = None

    def present(self, reading: bool) -> bool:
        """Whether a side has anybody: who waits in open for the other one counts (fifo(7))."""
        if self.readers if reading else self.writers:
            return True
        return self._waiting is not None and any(side == reading for side, _ in self._waiting.values())

    @property
    def room(self) -> int:
        """So many bytes can be written for certain."""
        return self.capacity - len(self._slots) * PAGE

    def read(self, count: int) -> bytes:
        if not self.size:
            if count and self.present(reading=False):
                raise Errno(EAGAIN)
            return b""
        pieces = []
        slots = self._slots
        slot = slots[0]
        if not slot.start and len(slot.data) <= count and (len(slots) == 1 or len(slot.data) == count):
            slots.popleft()
            self.size -= len(slot.data)
            self.queue.wake(events=POLLOUT | POLLWRNORM)
            return bytes(slot.data)
        while slots and count:
            slot = slots[0]
            piece = slot.data[slot.start : slot.start + count]
            slot.start += len(piece)
            count -= len(piece)
            self.size -= len(piece)
            pieces.append(piece)
            if slot.packet:
                self.size -= len(slot.data) - slot.start
                slots.popleft()
                break
            if slot.start == len(slot.data):
                slots.popleft()
        self.queue.wake(events=POLLOUT | POLLWRNORM)
        return bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)

    def peek(self, count: int) -> bytes:
        """As read, but everything stays."""
        pieces = []
        for slot in self._slots:
            if count <= 0:
                break
            piece = slot.data[slot.start : slot.start + count]
            count -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def write(self, data: bytes, packet: bool = False) -> int:
        if not data:
            return 0
        if not self.present(reading=True):
            raise Errno(EPIPE)
        slots = self._slots
        done = 0
        odd = len(data) % PAGE
        if odd and slots and not (packet or slots[-1].packet) and len(slots[-1].data) + odd <= PAGE:
            slots[-1].data += data[:odd]
            done = odd
        most = self.capacity // PAGE
        while done < len(data) and len(slots) < most:
            slots.append(_Slot(data[done : done + PAGE], packet))
            done = min(done + PAGE, len(data))
        if not done:
            raise Errno(EAGAIN)
        self.size += done
        self.queue.wake(events=POLLIN | POLLRDNORM)
        return done

    def clear(self) -> None:
        self._slots.clear()
        self.size = 0

    def resize(self, size: int, privileged: bool, most: int = MAX_CAPACITY) -> int:
        """F_SETPIPE_SZ: to the next power of two of pages, unless that is growth beyond `most`; the new capacity."""
        if not 0 <= size <= 1 << 31:
            raise Errno(EINVAL)
        capacity = max(PAGE, 1 << max(0, size - 1).bit_length())
        if capacity > min(most, MAX_CAPACITY) and capacity > self.capacity:
            # Beyond pipe-max-size even the superuser gets no more here: the bytes are the host's.
            raise Errno(EPERM)
        if capacity < len(self._slots) * PAGE:
            raise Errno(EBUSY)
        self.capacity = capacity
        self.queue.wake()
        return capacity

    def open_fifo(self, node: Node, flags: int, task_context: object | None) -> PipeEnd:
        """fifo(7): opening one side waits for the other, unless O_NONBLOCK or both sides at once. While it waits, the
        opener counts as present: so two that wait for each other find each other."""
        mode = flags & O_ACCMODE
        if mode in (O_RDONLY, O_WRONLY):
            self._meet(mode == O_RDONLY, flags, task_context if task_context is not None else self)
        return PipeEnd(node, self, flags)

    def _meet(self, reading: bool, flags: int, opener: object) -> None:
        if self._waiting is None:
            self._waiting = WeakKeyDictionary()
        waiting = self._waiting.get(opener)
        others = self.write_opens if reading else self.read_opens
        if waiting is not None and waiting[0] == reading:
            if others == waiting[1]:
                raise Block(self.queue)
            del self._waiting[opener]
            return
        present = self.present(not reading)
        if flags & O_NONBLOCK:
            if not reading and not present:
                raise Errno(ENXIO)
        elif not present:
            self._waiting[opener] = (reading, others)
            self._count_open(reading)
            raise Block(self.queue)
        self._count_open(reading)

    def _count_open(self, reading: bool) -> None:
        if reading:
            self.read_opens += 1
        else:
            self.write_opens += 1
        self.queue.wake()


class PipeEnd(OpenFile):
    """One open end; of a FIFO opened O_RDWR, both."""

    __slots__ = ("_writers_before", "pipe")

    def __init__(self, node: Node, pipe: Pipe, flags: int) -> None:
        super().__init__(node, flags)
        self.pipe = pipe
        self._queue = pipe.queue
        # A reader that came before any writer is not told that they hung up (poll(2)).
        quiet = flags & O_NONBLOCK and not pipe.present(reading=False)
        self._writers_before = pipe.write_opens if quiet else -1
        if self.readable:
            pipe.readers += 1
        if self.writable:
            pipe.writers += 1
        pipe.queue.wake()

    def close(self) -> None:
        pipe = self.pipe
        if self.readable:
            pipe.readers -= 1
        if self.writable:
            pipe.writers -= 1
        if not pipe.present(reading=True) and not pipe.present(reading=False):
            pipe.clear()
        pipe.queue.wake()

    def read(self, count: int, offset: int | None = None) -> bytes:
        if not self.readable:
            raise Errno(EBADF)
        if offset is not None:
            raise Errno(ESPIPE)
        return self.pipe.read(count)

    def write(self, data: bytes, offset: int | None = None) -> int:
        if not self.writable:
            raise Errno(EBADF)
        if offset is not None:
            raise Errno(ESPIPE)
        return self.pipe.write(data, bool(self.flags & O_DIRECT))

    def seek(self, offset: int, whence: int) -> int:
        raise Errno(ESPIPE)

    def truncate(self, size: int) -> None:
        raise Errno(EINVAL)

    def sync(self) -> None:
        raise Errno(EINVAL)

    def ioctl(self, request: int, argument: int, space: AddressSpace) -> int:
        if request == FIONREAD:
            space.copy_out(argument, self.pipe.size.to_bytes(4, "little"))
            return 0
        return super().ioctl(request, argument, space)

    def poll(self) -> int:
        pipe = self.pipe
        ready = 0
        if self.readable:
            if pipe.size:
                ready |= POLLIN | POLLRDNORM
            if pipe.write_opens != self._writers_before and not pipe.present(reading=False):
                ready |= POLLHUP
        if self.writable:
            if pipe.room > 0:
                ready |= POLLOUT | POLLWRNORM
            if not pipe.present(reading=True):
                ready |= POLLERR
        return ready


class PipeNode(Node):
    """The inode of a pipe that has no name."""

    __slots__ = ("created", "pipe")

    def __init__(self, filesystem: PipeFs, ino: int, pipe: Pipe, uid: int = 0, gid: int = 0, created: int = 0) -> None:
        super().__init__(filesystem, ino, S_IFIFO | 0o600, uid, gid)
        self.pipe = pipe
        self.created = created

    def __del__(self) -> None:
        filesystem = self.filesystem
        if isinstance(filesystem, PipeFs):
            filesystem.capacity -= self.pipe.capacity

    def stat(self) -> Stat:
        result = super().stat()
        result.atime = result.mtime = result.ctime = self.created
        return result

    def set_attributes(
        self,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        atime: int | None = None,
        mtime: int | None = None,
    ) -> None:
        if mode is not None:
            self.mode = S_IFIFO | mode & 0o7777
        if uid is not None:
            self.uid = uid
        if gid is not None:
            self.gid = gid

    def label(self) -> bytes:
        return b"pipe:[%d]" % self.ino

    def open(self, flags: int, task_context: object | None = None) -> OpenFile:
        """Through /proc/PID/fd; never waits, a pipe is open already."""
        return PipeEnd(self, self.pipe, flags)


class PipeFs(Filesystem):
    """Where the pipes of one VM live: their inode numbers, and how much they may hold together. `capacity` is what
    they could hold now."""

    name = "pipefs"
    magic = 0x50495045

    def __init__(self, clock: Clock | None = None, soft_limit: int = 16 << 20) -> None:
        super().__init__()
        self.device = 0xC
        self.soft_limit = soft_limit
        self.capacity = 0
        self._clock = clock
        self._last_ino = 0

    def number(self) -> int:
        self._last_ino += 1
        return self._last_ino

    def pipe(self, flags: int = 0, uid: int = 0, gid: int = 0) -> tuple[PipeEnd, PipeEnd]:
        """The read end and the write end of a new pipe. `flags`: O_NONBLOCK, O_DIRECT (packets)."""
        capacity = CAPACITY if self.capacity + CAPACITY <= self.soft_limit else SMALL_CAPACITY
        self.capacity += capacity
        created = self._clock.realtime() if self._clock is not None else 0
        node = PipeNode(self, self.number(), Pipe(capacity), uid, gid, created)
        node.pipe.read_opens = node.pipe.write_opens = 1
        reader = PipeEnd(node, node.pipe, O_RDONLY | flags)
        writer = PipeEnd(node, node.pipe, O_WRONLY | flags)
        reader._writers_before = -1
        return reader, writer

    def resize(self, end: PipeEnd, size: int, privileged: bool) -> int:
        """F_SETPIPE_SZ. Beyond the soft limit no pipe grows; FIFOs, which are not counted, never do."""
        pipe, before = end.pipe, end.pipe.capacity
        counted = end.node.filesystem is self
        room = max(0, self.soft_limit - self.capacity) if counted else max(0, CAPACITY - before)
        pipe.resize(size, privileged, before + room)
        if counted:
            self.capacity += pipe.capacity - before
        return pipe.capacity
