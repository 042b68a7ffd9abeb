"""Moving bytes from file to file without the guest's memory: sendfile, copy_file_range, splice, tee, vmsplice.

Offsets are given through pointers and written back; without one the file's position is used and moves. What could
not be written stays in its file or pipe. Source: sendfile(2), copy_file_range(2), splice(2), tee(2), vmsplice(2);
fs/read_write.c, fs/splice.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi.errno import EAGAIN, EBADF, EINVAL, EISDIR, EOVERFLOW, EPIPE, ESPIPE, EXDEV, Errno
from sandbox.abi.flags import (
    O_APPEND,
    O_NONBLOCK,
    S_IFBLK,
    S_IFCHR,
    S_IFMT,
    S_IFREG,
    SEEK_CUR,
)
from sandbox.kernel.lookup import expect_positions, opened
from sandbox.kernel.pieces import BYTES_AT_ONCE, give_way
from sandbox.kernel.row import FULL, PARTIAL, Row
from sandbox.kernel.transfer import (
    MAX_COUNT,
    PIECE,
    broken_pipe,
    drop_privileges,
    receive,
    room,
    send,
    vector,
    wait_for,
)
from sandbox.kernel.watching import tell_read, tell_written
from sandbox.vfs.anonymous import AnonymousFile
from sandbox.vfs.pipe import PipeEnd
from sandbox.wait import Block

if TYPE_CHECKING:
    from sandbox.kernel.task import Task
    from sandbox.vfs.file import OpenFile

SPLICE_F_NONBLOCK = 2
MOST_COPIED = 4 * BYTES_AT_ONCE  # by one copy_file_range: its callers ask again for the rest
_SPLICE_ALL = 0xF
_WORD = (1 << 64) - 1


# -- offsets behind pointers -------------------------------------------------------------------------------


def _load_offset(task: Task, address: int, width: int = 8) -> int | None:
    if not address:
        return None
    return int.from_bytes(task.space.copy_in(address, width), "little", signed=True)


def _store_offset(task: Task, address: int, offset: int | None, width: int = 8) -> None:
    if offset is not None:
        task.space.copy_out(address, offset.to_bytes(width, "little", signed=True))


def _told(source: OpenFile, target: OpenFile, count: int) -> int:
    if count:
        tell_read(source)
        tell_written(target)
    return count


# -- sendfile ----------------------------------------------------------------------------------------------


def sendfile(task: Task, target_fd: int, source_fd: int, offset: int, count: int) -> int:
    return _sendfile(task, target_fd, source_fd, offset, count, task.word)


def sendfile64(task: Task, target_fd: int, source_fd: int, offset: int, count: int) -> int:
    return _sendfile(task, target_fd, source_fd, offset, count, 8)


def _sendfile(task: Task, target_fd: int, source_fd: int, address: int, count: int, width: int) -> int:
    at = _load_offset(task, address, width)
    source = opened(task, source_fd)
    if not source.readable:
        raise Errno(EBADF)
    if at is not None:
        expect_positions(source)
        if at < 0:
            raise Errno(EINVAL)
    target = opened(task, target_fd)
    if not target.writable:
        raise Errno(EBADF)
    if isinstance(target, PipeEnd):
        if not count:
            _expect_readers(task, target)
    elif target.flags & O_APPEND or not _can_seek(source):
        raise Errno(EINVAL)
    if not count:
        return 0
    if source.node.mode & S_IFMT not in (S_IFREG, S_IFBLK, S_IFCHR):
        if isinstance(target, PipeEnd):
            _expect_readers(task, target)
        raise Errno(EINVAL)
    if width == 4 and (at if at is not None else source.position) > 0x7FFFFFFF:
        raise Errno(EOVERFLOW)
    return _told(source, target, _stream(task, source, target, at, address, min(count, MAX_COUNT), width))


def _stream(
    task: Task, source: OpenFile, target: OpenFile, at: int | None, address: int, count: int, width: int
) -> int:
    """Positions are moved at the end, so that a file can be sent into itself."""
    done: int = task.restart.get("done", 0)
    position = source.position if at is None else at
    target_at = target.position if target.node.is_regular else None
    pause = done + BYTES_AT_ONCE
    try:
        while done < count:
            if done >= pause:
                task.restart["done"] = done
                give_way(task)
            if isinstance(target, PipeEnd):
                _expect_pipe_room(task, target)
            moved = _move(task, source, target, min(count - done, PIECE), position, target_at)
            if not moved:
                break
            done += moved
            position += moved
            if target_at is not None:
                target_at += moved
    except Errno as error:
        if error.number == EAGAIN and not target.flags & O_NONBLOCK:
            task.restart["done"] = done
            raise Block(target.queue) from None
        if not done:
            raise
    finally:
        if at is None:
            source.position = position
        else:
            _store_offset(task, address, position, width)
        if target_at is not None:
            target.position = target_at
    return done


def _expect_pipe_room(task: Task, target: PipeEnd) -> None:
    _expect_readers(task, target)
    if target.pipe.room <= 0:
        raise Errno(EAGAIN)


def _expect_readers(task: Task, target: PipeEnd) -> None:
    """A pipe is looked at before the source: nobody there is an error even at the end of the file."""
    if not target.pipe.present(reading=True):
        broken_pipe(task)
        raise Errno(EPIPE)


def _can_seek(file: OpenFile) -> bool:
    try:
        file.seek(0, SEEK_CUR)
    except Errno:
        return False
    return True


def _move(
    task: Task, source: OpenFile, target: OpenFile, count: int, source_at: int | None, target_at: int | None
) -> int:
    """One piece. What the target does not take goes back into the source."""
    if target.node.mode & S_IFMT == S_IFREG:
        count = room(task, target, count, target_at)
        drop_privileges(task, target.node)
    before = source.position
    data = source.read(count, source_at)
    if not data:
        return 0
    written = 0
    try:
        written = target.write(data, target_at)
    except Errno as error:
        if error.number == EPIPE:
            broken_pipe(task)
        raise
    finally:
        if source_at is None:
            source.position = before + written
    return written


# -- copy_file_range ---------------------------------------------------------------------------------------


def copy_file_range(
    task: Task, source_fd: int, source_address: int, target_fd: int, target_address: int, count: int, flags: int
) -> int:
    source, target = opened(task, source_fd), opened(task, target_fd)
    source_at = _load_offset(task, source_address)
    target_at = _load_offset(task, target_address)
    if flags:
        raise Errno(EINVAL)
    _check_copy(source, target)
    count = min(count, MAX_COUNT)
    first = source.position if source_at is None else source_at
    start = target.position if target_at is None else target_at
    if (first & _WORD) + count > _WORD or (start & _WORD) + count > _WORD:
        raise Errno(EOVERFLOW)  # in unsigned arithmetic, so negative offsets, too
    if first < 0 or start < 0:
        raise Errno(EINVAL)
    count = min(count, max(0, source.node.size - first), MOST_COPIED)
    if source.node is target.node and first < start + count and start < first + count:
        raise Errno(EINVAL)
    done = 0
    while done < count:
        try:
            moved = _move(task, source, target, min(count - done, PIECE), source_at, target_at)
        except Errno:
            if done:
                break
            raise
        if not moved:
            break
        done += moved
        source_at = None if source_at is None else source_at + moved
        target_at = None if target_at is None else target_at + moved
    _store_offset(task, source_address, source_at)
    _store_offset(task, target_address, target_at)
    return _told(source, target, done)


def _check_copy(source: OpenFile, target: OpenFile) -> None:
    if source.node.is_directory or target.node.is_directory:
        raise Errno(EISDIR)
    if not source.node.is_regular or not target.node.is_regular:
        raise Errno(EINVAL)
    if not source.readable or not target.writable or target.flags & O_APPEND:
        raise Errno(EBADF)
    if source.node.filesystem is not target.node.filesystem:
        raise Errno(EXDEV)


# -- pipes -------------------------------------------------------------------------------------------------


def splice(
    task: Task, source_fd: int, source_address: int, target_fd: int, target_address: int, count: int, flags: int
) -> int:
    if flags & ~_SPLICE_ALL:
        raise Errno(EINVAL)
    if not count:
        return 0
    source, target = opened(task, source_fd), opened(task, target_fd)
    if (source_address and isinstance(source, PipeEnd)) or (target_address and isinstance(target, PipeEnd)):
        raise Errno(ESPIPE)
    target_at = _load_offset(task, target_address)
    source_at = _load_offset(task, source_address)
    if not source.readable or not target.writable:
        raise Errno(EBADF)
    if not isinstance(source, PipeEnd) and not isinstance(target, PipeEnd):
        raise Errno(EINVAL)
    _check_place(source, source_at)
    _check_place(target, target_at)
    count = min(count, PIECE)
    now = bool(flags & SPLICE_F_NONBLOCK)
    if isinstance(source, PipeEnd):
        if (isinstance(target, PipeEnd) and source.pipe is target.pipe) or target.flags & O_APPEND:
            raise Errno(EINVAL)
        if isinstance(target, AnonymousFile):
            raise Errno(EINVAL)
        moved = _from_pipe(task, source, target, count, target_at, now)
    else:
        assert isinstance(target, PipeEnd)
        moved = _into_pipe(task, source, target, count, source_at, now)
    _store_offset(task, source_address, None if source_at is None else source_at + moved)
    _store_offset(task, target_address, None if target_at is None else target_at + moved)
    return _told(source, target, moved)


def _check_place(file: OpenFile, offset: int | None) -> None:
    if offset is None:
        return
    try:
        expect_positions(file)
    except Errno:
        raise Errno(EINVAL) from None
    if offset < 0:
        raise Errno(EINVAL)


def _waiting_data(source: PipeEnd, count: int, nonblocking: bool) -> bytes:
    """What a pipe holds, without taking it; empty at its end. Waits while there may be more."""
    pipe = source.pipe
    if not pipe.size and pipe.present(reading=False):
        wait_for(source, nonblocking)
    return pipe.peek(count)


def _from_pipe(
    task: Task, source: PipeEnd, target: OpenFile, count: int, target_at: int | None, nonblocking: bool
) -> int:
    data = _waiting_data(source, count, nonblocking)
    if not data:
        _expect_reader(task, target)
        return 0
    if target.node.mode & S_IFMT == S_IFREG:
        data = data[: room(task, target, len(data), target_at)]
        drop_privileges(task, target.node)
    written = _deliver(task, target, data, target_at, nonblocking)
    source.pipe.read(written)
    return written


def _deliver(task: Task, target: OpenFile, data: bytes, at: int | None, nonblocking: bool) -> int:
    if isinstance(target, PipeEnd) and target.pipe.present(reading=True):
        # Splicing is not writing: what fits goes, however little.
        free = target.pipe.room
        if free <= 0:
            wait_for(target, nonblocking)
        data = data[:free]
    try:
        return target.write(data, at)
    except Errno as error:
        if error.number == EPIPE:
            broken_pipe(task)
        if error.number == EAGAIN:
            wait_for(target, nonblocking)
        raise


def _expect_reader(task: Task, target: OpenFile) -> None:
    """A pipe that nobody reads is broken, even for nothing."""
    if isinstance(target, PipeEnd) and not target.pipe.present(reading=True):
        broken_pipe(task)
        raise Errno(EPIPE)


def _into_pipe(
    task: Task, source: OpenFile, target: PipeEnd, count: int, source_at: int | None, nonblocking: bool
) -> int:
    pipe = target.pipe
    _expect_reader(task, target)
    free = pipe.room
    if free <= 0:
        wait_for(target, nonblocking)
    if source.node.is_directory or isinstance(source, AnonymousFile):
        raise Errno(EINVAL)
    try:
        data = source.read(min(count, free), source_at)
    except Errno as error:
        if error.number == EAGAIN:
            wait_for(source, nonblocking)
        raise
    return pipe.write(data)


def tee(task: Task, source_fd: int, target_fd: int, count: int, flags: int) -> int:
    if flags & ~_SPLICE_ALL:
        raise Errno(EINVAL)
    if not count:
        return 0
    source, target = opened(task, source_fd), opened(task, target_fd)
    if not source.readable or not target.writable:
        raise Errno(EBADF)
    if not isinstance(source, PipeEnd) or not isinstance(target, PipeEnd) or source.pipe is target.pipe:
        raise Errno(EINVAL)
    now = bool(flags & SPLICE_F_NONBLOCK)
    data = _waiting_data(source, count, now)
    if not data:
        _expect_reader(task, target)
        return 0
    return _deliver(task, target, data, None, now)


def vmsplice(task: Task, fd: int, address: int, count: int, flags: int) -> int:
    if flags & ~_SPLICE_ALL:
        raise Errno(EINVAL)
    file = opened(task, fd)
    if not isinstance(file, PipeEnd):
        raise Errno(EBADF)
    segments = vector(task, address, count)
    now = bool(flags & SPLICE_F_NONBLOCK)
    if not file.writable:
        return receive(task, file, segments, None, now)
    try:
        return send(task, file, segments, None, True)  # what there is room for: it waits for some, not for all
    except Errno as error:
        if error.number != EAGAIN or now:
            raise
        raise Block(file.room_queue) from None


_COPY = "source_fd:fd source_offset:inout target_fd:fd target_offset:inout count:ulong flags:uint"
_VMSPLICE = "the pages are copied"

ROWS = [
    Row("sendfile", sendfile, "target_fd:fd source_fd:fd offset:inout count:ulong", FULL),
    Row("sendfile64", sendfile64, "target_fd:fd source_fd:fd offset:inout count:ulong", FULL),
    Row("copy_file_range", copy_file_range, _COPY, FULL),
    Row("splice", splice, _COPY, FULL),
    Row("tee", tee, "source_fd:fd target_fd:fd count:ulong flags:uint", FULL),
    Row("vmsplice", vmsplice, "fd:fd vector:in count:ulong flags:uint", PARTIAL, _VMSPLICE),
]
