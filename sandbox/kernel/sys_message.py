"""Data over sockets: send, sendto, sendmsg, sendmmsg and their opposites, with descriptors and credentials beside it.

What is sent is gathered first (at most a socket's buffer), so nothing is allocated because a guest asks for it. A
stream that sends piece by piece keeps its progress in `task.restart`. Source: send(2), recv(2), cmsg(3), unix(7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, NoReturn

from sandbox.abi import sockets as S
from sandbox.abi.errno import (
    EAGAIN,
    EDESTADDRREQ,
    EFAULT,
    EINVAL,
    EISCONN,
    EMSGSIZE,
    ENETUNREACH,
    ENOTCONN,
    EOPNOTSUPP,
    EPIPE,
    ETOOMANYREFS,
    Errno,
)
from sandbox.abi.flags import O_NONBLOCK, RLIMIT_NOFILE
from sandbox.kernel.readiness import deadline_after
from sandbox.kernel.row import PARTIAL, Row
from sandbox.kernel.socket_address import (
    bind_anywhere,
    expect_family,
    named_socket,
    pack_address,
    read_address,
    socket_of,
    write_address,
)
from sandbox.kernel.socket_control import build_control, parse_control, spacious
from sandbox.kernel.sys_time import read_timespec
from sandbox.kernel.transfer import PIECE, Segments, broken_pipe, gather, scatter, segment, vector
from sandbox.vfs.datagram_socket import DatagramSocket
from sandbox.vfs.ports import InternetAddress
from sandbox.vfs.socket import Message, Socket
from sandbox.wait import Block

if TYPE_CHECKING:
    from sandbox.kernel.task import Task
    from sandbox.vfs.file import OpenFile

MOST_CONTROL = 20_480  # net.core.optmem_max
MOST_MESSAGES = 1024


class Header(NamedTuple):
    """A struct msghdr; `place` is where it lies."""

    place: int
    name: int
    name_length: int
    segments: Segments
    control: int
    control_length: int


def _header(task: Task, address: int) -> Header:
    name, length, iov, count, control, control_length, _ = S.MESSAGE_HEADER[task.word].unpack(
        task.space.copy_in(address, S.MESSAGE_HEADER[task.word].size)
    )
    if count > 1024:
        raise Errno(EMSGSIZE)
    if name and length >= 1 << 31:
        raise Errno(EINVAL)
    return Header(
        address, name, min(length, S.SOCKADDR_STORAGE) if name else 0, vector(task, iov, count), control, control_length
    )


def _sleep(task: Task, file: Socket, flags: int, option: int, queue_of: Socket) -> NoReturn:
    """EAGAIN, or wait on `queue_of` as long as SO_RCVTIMEO or SO_SNDTIMEO allows."""
    if flags & S.MSG_DONTWAIT or file.flags & O_NONBLOCK:
        raise Errno(EAGAIN)
    deadline = deadline_after(task, file.patience(writing=option == S.SO_SNDTIMEO))
    if deadline is not None and task.kernel.clock.monotonic() >= deadline:
        raise Errno(EAGAIN)
    raise Block(queue_of.queue, deadline=deadline, restart=deadline is None)


# -- sending -----------------------------------------------------------------------------------------------


def _send(
    task: Task, file: Socket, segments: Segments, flags: int, target: tuple[int, int] | None, control: bytes
) -> int:
    if flags & S.MSG_OOB:
        raise Errno(EOPNOTSUPP)
    if file.kind == S.SOCK_SEQPACKET:
        file.raise_error()
        if not file.connected:
            raise Errno(ENOTCONN)
    destination = _destination(task, file, target)
    files, owner = parse_control(task, file, control)
    total = sum(length for _, length in segments)
    stream = file.kind == S.SOCK_STREAM
    if not stream and total > 1 << 20:
        raise Errno(EMSGSIZE)
    done: int = task.restart.get("done", 0)
    most = min(task.limits.soft(RLIMIT_NOFILE), task.kernel.file_budget.limit)
    passed = [] if done else file.world.send_files(files, most)
    try:
        while True:
            data = gather(task.space, segments, done, min(total - done, PIECE))
            if len(data) < min(total - done, PIECE) and (not stream or not data):
                if done:
                    return done
                raise Errno(EFAULT)
            written = file.transmit(data, destination, passed, owner)
            passed = []
            done += written
            if done >= total or not stream:
                return done
    except Errno as error:
        _take_back(file, passed)
        if error.number == EAGAIN:
            if done and (flags & S.MSG_DONTWAIT or file.flags & O_NONBLOCK):
                return done
            task.restart["done"] = done
            waits_for = file.blocked_on(destination) if isinstance(file, DatagramSocket) else file
            _sleep(task, file, flags, S.SO_SNDTIMEO, waits_for)
        if done:
            return done
        if error.number == EPIPE and not flags & S.MSG_NOSIGNAL and file.kind != S.SOCK_DGRAM:
            broken_pipe(task)
        raise


def _take_back(file: Socket, passed: list[OpenFile]) -> None:
    if passed:
        file.world.discard(Message(b"", files=passed))


def _destination(task: Task, file: Socket, target: tuple[int, int] | None) -> Socket | None:
    """Whom a message with an address goes to; None: to whom the socket is connected."""
    if file.kind == S.SOCK_DGRAM:
        bind_anywhere(task, file)  # whatever becomes of the message
    if target is None:
        if file.kind == S.SOCK_DGRAM and file.family != S.AF_UNIX and not file.connected:
            raise Errno(EDESTADDRREQ)
        return None
    if file.kind != S.SOCK_DGRAM:
        if file.family == S.AF_UNIX and file.kind == S.SOCK_STREAM:
            raise Errno(EISCONN if file.connected else EOPNOTSUPP)
        return None
    address = read_address(task, file, *target, refusal=ENETUNREACH)
    if address is None:
        raise Errno(EINVAL)
    if file.family == S.AF_UNIX:
        file.raise_error()
        if file.shut & 2:
            raise Errno(EPIPE)  # before anybody is looked for
    if isinstance(address, InternetAddress):
        if not address.port:
            raise Errno(EINVAL)
        expect_family(file, address)
        found = named_socket(task, file, address)
        return found if found is not None else _Nobody.of(file, address)
    return named_socket(task, file, address)


class _Nobody:
    """UDP to a port that nobody has: it is sent, and lost."""

    @staticmethod
    def of(file: Socket, address: InternetAddress) -> Socket:
        lost = DatagramSocket(file.world, file.family, file.kind, file.protocol, 0, file.owner)
        lost.closed, lost.address = True, address
        return lost


def sendto(task: Task, fd: int, buffer: int, count: int, flags: int, address: int, length: int) -> int:
    file = socket_of(task, fd)
    target = (address, length) if address else None
    return _send(task, file, segment(task, buffer, count), flags, target, b"")


def send(task: Task, fd: int, buffer: int, count: int, flags: int) -> int:
    return sendto(task, fd, buffer, count, flags, 0, 0)


def sendmsg(task: Task, fd: int, message: int, flags: int) -> int:
    file = socket_of(task, fd)
    header = _header(task, message)
    if header.control_length > MOST_CONTROL:
        raise Errno(ETOOMANYREFS if header.control_length > 1 << 31 else 105)
    control = task.space.copy_in(header.control, header.control_length) if header.control_length else b""
    target = (header.name, header.name_length) if header.name and header.name_length else None
    return _send(task, file, header.segments, flags, target, control)


def sendmmsg(task: Task, fd: int, vector_address: int, count: int, flags: int) -> int:
    size = _vector_step(task)
    sent: int = task.restart.get("messages", 0)
    while sent < min(count, MOST_MESSAGES):
        place = vector_address + sent * size
        try:
            written = sendmsg(task, fd, place, flags)
        except Errno:
            if sent:
                return sent
            raise
        except Block:
            task.restart["messages"] = sent
            raise
        task.restart.pop("done", None)
        task.space.copy_out(place + S.MESSAGE_HEADER[task.word].size, written.to_bytes(4, "little"))
        sent += 1
    return sent


def _vector_step(task: Task) -> int:
    return S.MESSAGE_HEADER[task.word].size + task.word


# -- receiving ---------------------------------------------------------------------------------------------


class Received(NamedTuple):
    length: int
    message: Message | None
    flags: int


def _receive(task: Task, file: Socket, segments: Segments, flags: int) -> Received:
    if flags & S.MSG_ERRQUEUE and file.family != S.AF_UNIX:
        raise Errno(EAGAIN)  # there is never an error in the queue
    if flags & S.MSG_OOB:
        raise Errno(EINVAL if file.family != S.AF_UNIX else EOPNOTSUPP)
    total = sum(length for _, length in segments)
    peek = bool(flags & S.MSG_PEEK)
    stream = file.kind == S.SOCK_STREAM
    done: int = task.restart.get("done", 0)
    if total and not any(task.space.writable(address, 1) for address, length in segments if length):
        raise Errno(EFAULT)
    while True:
        try:
            data, message, whole = file.take(min(total - done, PIECE), peek)
        except Errno as error:
            if error.number != EAGAIN or (done and (flags & S.MSG_DONTWAIT or file.flags & O_NONBLOCK)):
                if done:
                    return Received(done, None, 0)
                raise
            if done:
                task.restart["done"] = done
            _sleep(task, file, flags, S.SO_RCVTIMEO, file)
        stored = scatter(task.space, segments, done, data)
        if stored < len(data):
            if message is not None and message.files and not peek:
                file.world.discard(message)
            raise Errno(EFAULT)
        done += stored
        if not stream:
            cut = S.MSG_TRUNC if whole > len(data) else 0
            result = whole if flags & S.MSG_TRUNC else len(data)
            return Received(result, message, cut)
        more = flags & S.MSG_WAITALL and not peek and done < total and message is not None and not message.files
        if not more:
            return Received(done, message, 0)


def recvfrom(task: Task, fd: int, buffer: int, count: int, flags: int, address: int, length: int) -> int:
    file = socket_of(task, fd)
    received = _receive(task, file, segment(task, buffer, count), flags)
    _drop_files(file, received, flags)
    if address:
        source = received.message.origin if received.message is not None else None
        if source is not None or (file.kind == S.SOCK_DGRAM and file.family != S.AF_UNIX):
            write_address(task, file.family, source, address, length)
        else:
            if int.from_bytes(task.space.copy_in(length, 4), "little") >> 31:
                raise Errno(EINVAL)
            task.space.copy_out(length, bytes(4))
    return received.length


def _drop_files(file: Socket, received: Received, flags: int) -> None:
    message = received.message
    if message is not None and message.files and not flags & S.MSG_PEEK:
        file.world.discard(Message(b"", files=message.files))


def recv(task: Task, fd: int, buffer: int, count: int, flags: int) -> int:
    return recvfrom(task, fd, buffer, count, flags, 0, 0)


def recvmsg(task: Task, fd: int, message: int, flags: int) -> int:
    file = socket_of(task, fd)
    header = _header(task, message)
    received = _receive(task, file, header.segments, flags)
    shown = received.flags
    control = b""
    if received.message is not None and file.family == S.AF_UNIX:
        control, cut = build_control(task, file, received.message, header.control_length, flags)
        shown |= cut
    _drop_files(file, received, flags)
    space, layout = task.space, S.MESSAGE_HEADER[task.word]
    name_length = 0
    if header.name and (file.kind == S.SOCK_DGRAM or file.family == S.AF_UNIX) and received.message is not None:
        source = received.message.origin
        data = pack_address(file.family, source) if source or file.family != S.AF_UNIX else b""
        space.copy_out(header.name, data[: header.name_length])
        name_length = len(data)
    if control:
        space.copy_out(header.control, control)
    word = task.word
    fields = list(layout.unpack(space.copy_in(message, layout.size)))
    if header.name:
        fields[1] = name_length
    fields[5] = spacious(len(control), header.control_length, word)
    fields[6] = shown | flags & S.MSG_CMSG_CLOEXEC
    assert word in S.MESSAGE_HEADER
    space.copy_out(message, layout.pack(*fields))
    return received.length


def recvmmsg(task: Task, fd: int, vector_address: int, count: int, flags: int, timeout: int) -> int:
    return _recvmmsg(task, fd, vector_address, count, flags, timeout, task.word)


def recvmmsg_time64(task: Task, fd: int, vector_address: int, count: int, flags: int, timeout: int) -> int:
    return _recvmmsg(task, fd, vector_address, count, flags, timeout, 8)


def _recvmmsg(task: Task, fd: int, vector_address: int, count: int, flags: int, timeout: int, width: int) -> int:
    """The timeout is looked at between messages only (recvmmsg(2), BUGS)."""
    if timeout:
        read_timespec(task, timeout, width)
    size = _vector_step(task)
    got: int = task.restart.get("messages", 0)
    while got < min(count, MOST_MESSAGES):
        place = vector_address + got * size
        one = flags & ~S.MSG_WAITFORONE | (S.MSG_DONTWAIT if got and flags & S.MSG_WAITFORONE else 0)
        try:
            received = recvmsg(task, fd, place, one)
        except Errno:
            if got:
                return got
            raise
        except Block:
            task.restart["messages"] = got
            raise
        task.restart.pop("done", None)
        task.space.copy_out(place + S.MESSAGE_HEADER[task.word].size, received.to_bytes(4, "little"))
        got += 1
    return got


_NO_URGENT = "no urgent data"
_TIMED = "no urgent data; the timeout is looked at before the first message only"

ROWS: tuple[Row, ...] = (
    Row("send", send, "fd:fd buffer:in count:size flags:int", PARTIAL, _NO_URGENT, isas=("arm",)),
    Row("recv", recv, "fd:fd buffer:out count:size flags:int", PARTIAL, _NO_URGENT, isas=("arm",)),
    Row("sendto", sendto, "fd:fd buffer:in count:size flags:int address:in length:int", PARTIAL, _NO_URGENT),
    Row("recvfrom", recvfrom, "fd:fd buffer:out count:size flags:int address:out length:inout", PARTIAL, _NO_URGENT),
    Row("sendmsg", sendmsg, "fd:fd message:in flags:int", PARTIAL, _NO_URGENT),
    Row("recvmsg", recvmsg, "fd:fd message:inout flags:int", PARTIAL, _NO_URGENT),
    Row("sendmmsg", sendmmsg, "fd:fd messages:inout count:uint flags:int", PARTIAL, _NO_URGENT),
    Row("recvmmsg", recvmmsg, "fd:fd messages:inout count:uint flags:int timeout:in", PARTIAL, _TIMED),
    Row("recvmmsg_time64", recvmmsg_time64, "fd:fd messages:inout count:uint flags:int timeout:in", PARTIAL, _TIMED),
)
