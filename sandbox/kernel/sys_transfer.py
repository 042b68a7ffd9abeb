"""read, write, pread64, pwrite64 and their vector forms. All of it is `sandbox.kernel.transfer`.

The position of preadv and pwritev comes as two machine words on every ISA (not as an aligned pair on arm), of which
64-bit ISAs ignore the second. Source: read(2), pread(2), readv(2); fs/read_write.c.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.abi.errno import EBADF, EINVAL, EOPNOTSUPP, Errno
from sandbox.abi.flags import O_APPEND
from sandbox.kernel.lookup import expect_positions, opened
from sandbox.kernel.pipe_transfer import receive_page, send_page
from sandbox.kernel.row import FULL, PARTIAL, Row
from sandbox.kernel.transfer import Segments, receive, segment, send, vector
from sandbox.kernel.watching import tell_read
from sandbox.vfs.epoll import EpollFile
from sandbox.vfs.eventfile import EventFile
from sandbox.vfs.file import DirectoryFile, OpenFile
from sandbox.vfs.inotify import InotifyFile
from sandbox.vfs.pipe import PipeEnd

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

RWF_HIPRI, RWF_DSYNC, RWF_SYNC, RWF_NOWAIT, RWF_APPEND = 1, 2, 4, 8, 16
_RWF_ALL = 31


def read(task: Task, fd: int, buffer: int, count: int) -> int:
    file = opened(task, fd)
    if type(file) is PipeEnd:
        taken = receive_page(task, file, buffer, count)
        if taken:
            return taken
    return receive(task, file, segment(task, buffer, count))


def write(task: Task, fd: int, buffer: int, count: int) -> int:
    file = opened(task, fd)
    if type(file) is PipeEnd:
        written = send_page(task, file, buffer, count)
        if written:
            return written
    return send(task, file, segment(task, buffer, count))


def pread(task: Task, fd: int, buffer: int, count: int, offset: int) -> int:
    file = _positioned(task, fd, offset)
    return receive(task, file, segment(task, buffer, count), offset)


def pwrite(task: Task, fd: int, buffer: int, count: int, offset: int) -> int:
    file = _positioned(task, fd, offset)
    return send(task, file, segment(task, buffer, count), offset)


def _positioned(task: Task, fd: int, offset: int) -> OpenFile:
    if offset < 0:
        raise Errno(EINVAL)
    file = opened(task, fd)
    expect_positions(file)
    return file


def _receive(task: Task, file: OpenFile, segments: Segments, offset: int | None, nonblocking: bool = False) -> int:
    """An empty vector is 0 for every file that is open for reading: the file itself is not asked. Other than read,
    nothing is told to who watches, too."""
    if segments:
        count = receive(task, file, segments, offset, nonblocking)
    elif file.readable:
        count = _nothing(file)
    else:
        raise Errno(EBADF)
    if not count and file.node.filesystem.watched:
        tell_read(file)
    return count


def _nothing(file: OpenFile) -> int:
    if isinstance(file, EpollFile):
        raise Errno(EINVAL)  # it has neither read nor write
    return 0


def _send(task: Task, file: OpenFile, segments: Segments, offset: int | None, nonblocking: bool = False) -> int:
    if segments:
        return send(task, file, segments, offset, nonblocking)
    if not file.writable:
        raise Errno(EBADF)
    return _nothing(file)


def readv(task: Task, fd: int, address: int, count: int) -> int:
    file = opened(task, fd)
    segments = vector(task, address, count)
    if segments and isinstance(file, InotifyFile):
        return _each(receive, task, file, vector(task, address, count, empty=True))
    return _receive(task, file, segments, None)


def writev(task: Task, fd: int, address: int, count: int) -> int:
    file = opened(task, fd)
    segments = vector(task, address, count)
    if segments and isinstance(file, EventFile):
        return _each(send, task, file, vector(task, address, count, empty=True))
    return _send(task, file, segments, None)


def _each(move: Callable[..., int], task: Task, file: OpenFile, segments: Segments) -> int:
    """Where Linux knows only read or write, each part is one, also one without bytes. After the first none waits."""
    done = 0
    for part in segments:
        try:
            moved = move(task, file, [part], nonblocking=bool(done))
        except Errno:
            if done:
                break
            raise
        done += moved
        if moved < part[1]:
            break
    return done


def preadv(task: Task, fd: int, address: int, count: int, low: int, high: int) -> int:
    offset = _offset(task, low, high)
    file = _positioned(task, fd, offset)
    return _receive(task, file, vector(task, address, count), offset)


def pwritev(task: Task, fd: int, address: int, count: int, low: int, high: int) -> int:
    offset = _offset(task, low, high)
    file = _positioned(task, fd, offset)
    return _send(task, file, vector(task, address, count), offset)


def preadv2(task: Task, fd: int, address: int, count: int, low: int, high: int, flags: int) -> int:
    offset = _offset(task, low, high)
    file = opened(task, fd) if offset == -1 else _positioned(task, fd, offset)
    segments = vector(task, address, count)
    if not file.readable:
        raise Errno(EBADF)
    if segments:
        _check_flags(file, flags, isinstance(file, DirectoryFile | InotifyFile))
    place = None if offset == -1 else offset
    return _receive(task, file, segments, place, bool(flags & RWF_NOWAIT))


def pwritev2(task: Task, fd: int, address: int, count: int, low: int, high: int, flags: int) -> int:
    offset = _offset(task, low, high)
    file = opened(task, fd) if offset == -1 else _positioned(task, fd, offset)
    segments = vector(task, address, count)
    if not file.writable:
        raise Errno(EBADF)
    if segments:
        _check_flags(file, flags, isinstance(file, EventFile))
    place = None if offset == -1 else offset
    before = file.flags
    if flags & RWF_APPEND:
        file.flags |= O_APPEND
    try:
        written = _send(task, file, segments, place, bool(flags & RWF_NOWAIT))
    finally:
        file.flags = before
    if flags & (RWF_DSYNC | RWF_SYNC) and written and file.node.is_regular:
        file.sync()
    return written


def _check_flags(file: OpenFile, flags: int, simple: bool) -> None:
    """`simple`: Linux's knows only read or write there, without flags."""
    _nothing(file)
    if flags & ~(RWF_HIPRI if simple else _RWF_ALL):
        raise Errno(EOPNOTSUPP)


def _offset(task: Task, low: int, high: int) -> int:
    value = low if task.word == 8 else low | high << 32
    return value - (1 << 64) if value >> 63 else value


_VECTOR = "fd:fd vector:in count:ulong"
_PLACED = f"{_VECTOR} offset_low:ulong offset_high:ulong"
_NO_FLAGS = "RWF_HIPRI and RWF_NOWAIT of regular files change nothing"

ROWS = [
    Row("read", read, "fd:fd buffer:out count:size", FULL),
    Row("write", write, "fd:fd buffer:in count:size", FULL),
    Row("pread64", pread, "fd:fd buffer:out count:size offset:loff", FULL),
    Row("pwrite64", pwrite, "fd:fd buffer:in count:size offset:loff", FULL),
    Row("readv", readv, _VECTOR, FULL),
    Row("writev", writev, _VECTOR, FULL),
    Row("preadv", preadv, _PLACED, FULL),
    Row("pwritev", pwritev, _PLACED, FULL),
    Row("preadv2", preadv2, f"{_PLACED} flags:int", PARTIAL, _NO_FLAGS),
    Row("pwritev2", pwritev2, f"{_PLACED} flags:int", PARTIAL, _NO_FLAGS),
]
