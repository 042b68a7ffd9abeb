"""Moving bytes between open files and guest memory: the one loop behind read, write and all their relatives.

Rules. A transfer is a list of segments (address, length) of the guest and goes in pieces of at most `PIECE` bytes, so
that nothing is allocated because a guest asks for it. A piece is one operation on the file: that keeps a small
writev to a pipe atomic and a datagram whole. What has been done before an error counts; only a transfer that moved
nothing fails. A fault in the middle moves what lies before it.

A file that has to wait raises Errno(EAGAIN), which becomes `Block` unless it is O_NONBLOCK. A write that sleeps half
way keeps its progress in `task.restart["done"]`; the kernel returns that number when a signal ends the sleep.
Neighbours: `sys_transfer`, `sys_vector`, `sys_splice`. Source: fs/read_write.c, mm/filemap.c.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from sandbox.abi.errno import EAGAIN, EFAULT, EFBIG, EINVAL, EPIPE, Errno
from sandbox.abi.flags import (
    O_APPEND,
    O_LARGEFILE,
    O_NONBLOCK,
    POLLIN,
    RLIM_INFINITY,
    RLIMIT_FSIZE,
    S_IFBLK,
    S_IFMT,
    S_IFREG,
    S_ISGID,
    S_ISUID,
)
from sandbox.abi.signals import SI_USER, SIGPIPE, SIGXFSZ
from sandbox.abi.structs import IOVEC
from sandbox.kernel.job_control import may_read, may_write
from sandbox.kernel.pieces import BYTES_AT_ONCE, give_way
from sandbox.kernel.readiness import deadline_after, wait
from sandbox.kernel.signals import SignalInfo, send_to_task
from sandbox.kernel.watching import tell_read, tell_written
from sandbox.vfs.pty import PtyMaster
from sandbox.vfs.terminal import TerminalFile
from sandbox.wait import Block

if TYPE_CHECKING:
    from sandbox.kernel.task import Task
    from sandbox.memory import AddressSpace
    from sandbox.vfs.file import OpenFile
    from sandbox.vfs.node import Node

MAX_COUNT = 0x7FFFF000  # INT_MAX rounded down to a page: what one call moves at most
PIECE = 1 << 18
TERMINAL_PIECE = 4096  # there every byte is looked at
IOV_MAX = 1024
SMALL_FILE_MAX = 0x7FFFFFFF  # a file opened without O_LARGEFILE by a 32-bit program ends here
CAP_FSETID = 4
S_IXGRP = 0o010
_PAGE = 4096

Segments = list[tuple[int, int]]


def segment(task: Task, address: int, count: int) -> Segments:
    """The one segment of read and write. A range that no 64-bit program can own is refused at once."""
    if task.word == 8 and address + count > 1 << 47:
        raise Errno(EFAULT)
    return [(address, min(count, MAX_COUNT))]


def vector(task: Task, address: int, count: int, empty: bool = False) -> Segments:
    """The iovec array at `address`; the total is cut at MAX_COUNT. `count` is unsigned. `empty`: with what is empty."""
    if count > IOV_MAX:
        raise Errno(EINVAL)
    pair = IOVEC[task.word]
    largest = (1 << (8 * task.word - 1)) - 1
    left = MAX_COUNT
    result = []
    for start, length in pair.iter_unpack(task.space.copy_in(address, count * pair.size)):
        if length > largest:
            raise Errno(EINVAL)
        if task.word == 8 and start + length > 1 << 47:
            raise Errno(EFAULT)
        length = min(length, left)
        left -= length
        if length or empty:
            result.append((start, length))
    return result


def _length(segments: Segments) -> int:
    return segments[0][1] if len(segments) == 1 else sum(length for _, length in segments)


def wait_for(file: OpenFile, nonblocking: bool = False) -> NoReturn:
    """The file has nothing to give or no room to take."""
    if nonblocking or file.flags & O_NONBLOCK:
        raise Errno(EAGAIN)
    raise Block(file.queue)


def _sleep_on(task: Task, file: OpenFile, writing: bool) -> NoReturn:
    """As long as the file lets one wait; then EAGAIN."""
    deadline = deadline_after(task, file.patience(writing))
    if deadline is not None and task.kernel.clock.monotonic() >= deadline:
        raise Errno(EAGAIN)
    raise Block(file.room_queue if writing else file.queue, deadline=deadline, restart=deadline is None)


# -- from the file to the guest ----------------------------------------------------------------------------


def receive(
    task: Task, file: OpenFile, segments: Segments, offset: int | None = None, nonblocking: bool = False
) -> int:
    """read(2) and relatives. `offset` None: at the file's position."""
    count = _receive(task, file, segments, offset, nonblocking)
    if count and file.node.filesystem.watched:
        tell_read(file)
    return count


def _receive(task: Task, file: OpenFile, segments: Segments, offset: int | None, nonblocking: bool) -> int:
    total = _length(segments)
    if not total:
        return len(file.read(0, offset))
    kind = file.node.mode & S_IFMT
    seekable = kind in (S_IFREG, S_IFBLK)
    terminal = None
    done: int = task.restart.get("done", 0)
    pause = done + BYTES_AT_ONCE
    if not seekable and not done:
        if isinstance(file, TerminalFile):
            terminal = file.terminal
            may_read(task, terminal)
        if not task.space.writable(segments[0][0], 1):
            file.read(0)  # a descriptor that cannot be read fails for that reason
            if file.poll() & POLLIN:
                raise Errno(EFAULT)  # before a stream loses bytes that the guest cannot take; without any, it waits
    while True:
        if done >= pause:
            task.restart["done"] = done
            give_way(task)
        size = min(total - done, PIECE)
        position = file.position
        try:
            data = file.read(size, None if offset is None else offset + done)
        except Errno as error:
            if done:
                return done
            if error.number == EAGAIN:
                if terminal is not None and terminal.read_timeout is not None:
                    return _read_in_time(task, file, terminal.read_timeout)
                if not (nonblocking or file.flags & O_NONBLOCK):
                    _sleep_on(task, file, writing=False)
            raise
        except Block:
            if done:
                return done
            raise
        taken = scatter(task.space, segments, done, data)
        done += taken
        if taken < len(data):
            if seekable and offset is None:
                file.position = position + taken
            if done:
                return done
            raise Errno(EFAULT)
        if done == total or len(data) < size:
            return done


def _read_in_time(task: Task, file: OpenFile, timeout: int) -> int:
    """A terminal in raw mode with VTIME: nothing typed in that time is an answer, too."""
    if file.flags & O_NONBLOCK:
        raise Errno(EAGAIN)
    wait(task, deadline_after(task, timeout), (file.queue,))
    return 0


def scatter(space: AddressSpace, segments: Segments, skip: int, data: bytes) -> int:
    """Store `data` into the segments from their byte `skip` on; how much went before a fault."""
    if len(segments) == 1:
        return _store(space, segments[0][0] + skip, data)
    done = 0
    for address, length in segments:
        if skip >= length:
            skip -= length
            continue
        part = data[done : done + length - skip]
        stored = _store(space, address + skip, part)
        done += stored
        if stored < len(part) or done == len(data):
            break
        skip = 0
    return done


def _store(space: AddressSpace, address: int, data: bytes) -> int:
    try:
        space.copy_out(address, data)
        return len(data)
    except Errno:
        pass
    done = 0
    while done < len(data):
        size = min(_PAGE - (address + done) % _PAGE, len(data) - done)
        try:
            space.copy_out(address + done, data[done : done + size])
        except Errno:
            break
        done += size
    return done


# -- from the guest to the file ----------------------------------------------------------------------------


def send(task: Task, file: OpenFile, segments: Segments, offset: int | None = None, nonblocking: bool = False) -> int:
    """write(2) and relatives. `offset` None: at the file's position."""
    count = _send(task, file, segments, offset, nonblocking)
    if count and file.node.filesystem.watched:
        tell_written(file)
    return count


def _send(task: Task, file: OpenFile, segments: Segments, offset: int | None, nonblocking: bool) -> int:
    total = _length(segments)
    if not total:
        if not (file.node.is_regular and file.writable):  # there it would move the position of O_APPEND
            file.write(b"", offset)
        return 0
    done: int = task.restart.get("done", 0)
    size = PIECE
    pause = done + BYTES_AT_ONCE
    if file.node.mode & S_IFMT == S_IFREG:
        if file.writable:
            total = done + room(task, file, total - done, None if offset is None else offset + done)
            drop_privileges(task, file.node)
        if file.flags & O_APPEND:
            pause = total  # nobody's bytes come between those of one append
    elif isinstance(file, TerminalFile | PtyMaster):
        size = TERMINAL_PIECE
        pause = done + size
        if isinstance(file, TerminalFile):
            may_write(task, file.terminal)
    while done < total:
        if done >= pause:
            task.restart["done"] = done
            give_way(task)
        piece = gather(task.space, segments, done, min(total - done, size))
        if not piece:
            if done:
                return done
            if not file.writable:
                file.write(b"", offset)
            raise Errno(EFAULT)
        try:
            written = file.write(piece, None if offset is None else offset + done)
        except Errno as error:
            if error.number == EPIPE:
                broken_pipe(task)
            if error.number == EAGAIN and not (nonblocking or file.flags & O_NONBLOCK):
                task.restart["done"] = done
                with suppress(Errno):
                    _sleep_on(task, file, writing=True)
            if done:
                return done
            raise
        except Block:
            task.restart["done"] = done
            raise
        done += written
        if not written:
            break
    return done


def gather(space: AddressSpace, segments: Segments, skip: int, size: int) -> bytes:
    """Up to `size` bytes of the segments from their byte `skip` on; fewer before a fault."""
    if len(segments) == 1:
        return _load(space, segments[0][0] + skip, size)
    parts = []
    for address, length in segments:
        if skip >= length:
            skip -= length
            continue
        wanted = min(length - skip, size)
        part = _load(space, address + skip, wanted)
        parts.append(part)
        size -= wanted
        if len(part) < wanted or not size:
            break
        skip = 0
    return b"".join(parts)


def _load(space: AddressSpace, address: int, size: int) -> bytes:
    try:
        return space.copy_in(address, size)
    except Errno:
        pass
    parts = []
    while size:
        part = min(_PAGE - address % _PAGE, size)
        try:
            parts.append(space.copy_in(address, part))
        except Errno:
            break
        address += part
        size -= part
    return b"".join(parts)


def room(task: Task, file: OpenFile, count: int, offset: int | None) -> int:
    """How much of `count` a regular file may take at its place: RLIMIT_FSIZE, O_LARGEFILE, the last offset there is.
    Raises EFBIG when nothing."""
    if offset is None or file.flags & O_APPEND:
        offset = file.node.size if file.flags & O_APPEND else file.position
    limit = task.limits.soft(RLIMIT_FSIZE)
    if limit != RLIM_INFINITY:
        if offset >= limit:
            file_too_large(task)
        count = min(count, limit - offset)
    largest = (1 << 63) - 1 if file.flags & O_LARGEFILE else SMALL_FILE_MAX
    if offset >= largest:
        raise Errno(EFBIG)
    return min(count, largest - offset)


def drop_privileges(task: Task, node: Node) -> None:
    """Whoever changes a file takes its set-id bits away, the superuser excepted (`file_remove_privs`)."""
    mode = node.mode
    if mode & (S_ISUID | S_ISGID) and not task.credentials.capable(CAP_FSETID):
        kept = mode & ~S_ISUID
        if mode & S_IXGRP or not task.credentials.in_group(node.gid):
            kept &= ~S_ISGID
        if kept != mode:
            node.set_attributes(mode=kept & 0o7777)


def check_size(task: Task, size: int) -> None:
    """What truncate and fallocate must not exceed."""
    if size > task.limits.soft(RLIMIT_FSIZE):
        file_too_large(task)


def file_too_large(task: Task) -> NoReturn:
    send_to_task(task, SignalInfo(SIGXFSZ, SI_USER, pid=task.tgid, uid=task.credentials.uid))
    raise Errno(EFBIG)


def broken_pipe(task: Task) -> None:
    """Nobody will ever read what was written: the signal that ends `yes | head`."""
    send_to_task(task, SignalInfo(SIGPIPE, SI_USER, pid=task.tgid, uid=task.credentials.uid))
