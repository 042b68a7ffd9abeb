"""Sockets: AF_UNIX, the loopback of AF_INET and AF_INET6, descriptors that are passed on, options."""

from __future__ import annotations

import struct

from sandbox.abi import sockets as S
from sandbox.abi.errno import (
    EADDRINUSE,
    EADDRNOTAVAIL,
    EAFNOSUPPORT,
    EAGAIN,
    EBADF,
    ECONNREFUSED,
    ECONNRESET,
    EDESTADDRREQ,
    EFAULT,
    EINVAL,
    EISCONN,
    EMSGSIZE,
    ENETUNREACH,
    ENOENT,
    ENOPROTOOPT,
    ENOTCONN,
    ENOTSOCK,
    EOPNOTSUPP,
    EPIPE,
    EPROTONOSUPPORT,
    EPROTOTYPE,
    ESOCKTNOSUPPORT,
    ESPIPE,
    ETOOMANYREFS,
)
from sandbox.abi.flags import F_GETFD, F_GETFL, O_NONBLOCK, O_RDWR, POLLHUP, POLLIN, POLLOUT, S_IFMT, S_IFSOCK
from sandbox.abi.signals import SIGPIPE, bit
from sandbox.wait import WaitQueue
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD, GuestWorld

CASES = Cases()
LOOPBACK = b"\x7f\0\0\1"


def unix(name: bytes) -> bytes:
    return struct.pack("<H", S.AF_UNIX) + name


def inet(port: int, host: bytes = LOOPBACK) -> bytes:
    return struct.pack("<H", S.AF_INET) + port.to_bytes(2, "big") + host + bytes(8)


def inet6(port: int, host: bytes = bytes(15) + b"\1") -> bytes:
    return struct.pack("<H", S.AF_INET6) + port.to_bytes(2, "big") + bytes(4) + host + bytes(4)


def pair(w: World, kind: int = S.SOCK_STREAM, flags: int = 0) -> tuple[int, int]:
    ends = bytearray(8)
    assert w.call("socketpair", S.AF_UNIX, kind | flags, 0, ends) == 0
    one, two = struct.unpack("<ii", ends)
    return one, two


def new(w: World, family: int, kind: int) -> int:
    fd = w.call("socket", family, kind, 0)
    assert fd >= 0
    return fd


def name_of(w: World, fd: int, call: str = "getsockname") -> bytes:
    buffer, length = bytearray(128), bytearray(struct.pack("<I", 128))
    assert w.call(call, fd, buffer, length) == 0
    return bytes(buffer[: struct.unpack("<I", length)[0]])


def send(w: World, fd: int, data: bytes, flags: int = S.MSG_NOSIGNAL, to: bytes | None = None) -> int:
    return w.call("sendto", fd, data, len(data), flags, to, len(to) if to else 0)


def receive(w: World, fd: int, count: int = 100, flags: int = S.MSG_DONTWAIT) -> bytes | int:
    buffer = bytearray(count)
    got = w.call("recvfrom", fd, buffer, count, flags, None, None)
    return bytes(buffer[:got]) if got >= 0 else got


def poll(w: World, fd: int, events: int = POLLIN | POLLOUT) -> int:
    entry = bytearray(struct.pack("<ihh", fd, events, 0))
    spec = w.memory(bytes(16))
    assert w.call("ppoll", entry, 1, spec, None, 0) >= 0
    return int(struct.unpack("<ihh", entry)[2])


def option(w: World, fd: int, level: int, name: int) -> int:
    value, length = bytearray(4), bytearray(struct.pack("<I", 4))
    result = w.call("getsockopt", fd, level, name, value, length)
    return result if result else int(struct.unpack("<i", value)[0])


def header(
    w: World, data: int, size: int, control: int = 0, control_size: int = 0, name: int = 0, room: int = 0
) -> int:
    iov = w.vector([(data, size)])
    layout = S.MESSAGE_HEADER[w.word]
    return w.memory(layout.pack(name, room, iov, 1, control, control_size, 0))


def rights(w: World, *fds: int) -> bytes:
    head = S.CONTROL_HEADER[w.word]
    data = struct.pack(f"<{len(fds)}i", *fds)
    return head.pack(head.size + len(data), S.SOL_SOCKET, S.SCM_RIGHTS) + data


def listener(w: World, kind: str) -> tuple[int, bytes]:
    """A listening socket and where it listens."""
    family = {"unix": S.AF_UNIX, "inet": S.AF_INET, "inet6": S.AF_INET6}[kind]
    fd = new(w, family, S.SOCK_STREAM)
    address = {"unix": unix(b"listener\0"), "inet": inet(0), "inet6": inet6(0)}[kind]
    assert w.call("bind", fd, address, len(address)) == 0
    assert w.call("listen", fd, 5) == 0
    return fd, name_of(w, fd)


def connected(w: World, kind: str) -> tuple[int, int]:
    """(the side that connected, the side that was accepted)."""
    fd, address = listener(w, kind)
    one = new(w, struct.unpack("<H", address[:2])[0], S.SOCK_STREAM)
    assert w.call("connect", one, address, len(address)) == 0
    two = w.call("accept4", fd, None, None, 0)
    assert two >= 0
    w.call("close", fd)
    return one, two


@CASES("socket")
def what_can_be_made(w: World) -> None:
    for family, kind, protocol, error in (
        (S.AF_UNIX, S.SOCK_STREAM, 1, 0),
        (S.AF_UNIX, S.SOCK_RAW, 0, 0),
        (S.AF_UNIX, S.SOCK_STREAM, 6, EPROTONOSUPPORT),
        (S.AF_UNIX, 4, 0, ESOCKTNOSUPPORT),
        (S.AF_INET, S.SOCK_STREAM, 6, 0),
        (S.AF_INET, S.SOCK_DGRAM, 17, 0),
        (S.AF_INET, S.SOCK_STREAM, 17, EPROTONOSUPPORT),
        (S.AF_INET, S.SOCK_RAW, 0, EPROTONOSUPPORT),
        (S.AF_INET6, S.SOCK_STREAM, 0, 0),
        (S.AF_INET, S.SOCK_SEQPACKET, 0, ESOCKTNOSUPPORT),
        (77, S.SOCK_STREAM, 0, EAFNOSUPPORT),
        (S.AF_UNIX, 0, 0, ESOCKTNOSUPPORT),
        (S.AF_UNIX, 0x100000 | S.SOCK_STREAM, 0, EINVAL),
    ):
        result = w.call("socket", family, kind, protocol)
        assert (result >= 0) if not error else result == -error, (family, kind, protocol, result)
    fd = w.call("socket", S.AF_UNIX, S.SOCK_STREAM | S.SOCK_NONBLOCK | S.SOCK_CLOEXEC, 0)
    assert w.call("fcntl" if w.word == 8 else "fcntl64", fd, F_GETFD, 0) == 1
    assert w.call("fcntl" if w.word == 8 else "fcntl64", fd, F_GETFL, 0) & 0xFFF == O_NONBLOCK | O_RDWR
    assert w.fstat(fd)["mode"] == S_IFSOCK | 0o777


@CASES("socketpair", "sendto", "recvfrom")
def a_pair_talks(w: World) -> None:
    one, two = pair(w)
    assert send(w, one, b"hello ") == 6
    assert w.call("write", one, b"world", 5) == 5
    assert receive(w, two, 3, S.MSG_PEEK) == b"hel"
    assert receive(w, two, 8) == b"hello wo"
    buffer = bytearray(10)
    assert w.call("read", two, buffer, 10) == 3
    assert buffer[:3] == b"rld"
    assert receive(w, two) == -EAGAIN
    assert name_of(w, one) == unix(b"") == name_of(w, one, "getpeername")
    assert w.call("lseek", one, 0, 0) == -ESPIPE
    assert w.call("socketpair", S.AF_INET, S.SOCK_STREAM, 0, bytearray(8)) == -EOPNOTSUPP
    assert w.call("socketpair", S.AF_UNIX, S.SOCK_STREAM, 0, BAD) == -EFAULT


@CASES("socketpair")
def borders_of_messages_stay(w: World) -> None:
    for kind in (S.SOCK_DGRAM, S.SOCK_SEQPACKET):
        one, two = pair(w, kind)
        for text in (b"first", b"", b"second"):
            assert send(w, one, text) == len(text)
        assert receive(w, two, 3) == b"fir"
        assert receive(w, two) == b""
        buffer = bytearray(2)
        assert w.call("recvfrom", two, buffer, 2, S.MSG_TRUNC, None, None) == 6
        assert receive(w, two) == -EAGAIN
        assert send(w, one, bytes(600_000)) == -EMSGSIZE


@CASES("bind", "listen", "connect", "accept4", "getsockname", "getpeername")
def a_connection(w: World) -> None:
    for kind in ("unix", "inet", "inet6"):
        fd, address = listener(w, kind)
        one = new(w, struct.unpack("<H", address[:2])[0], S.SOCK_STREAM)
        assert w.call("getpeername", one, bytearray(128), bytearray(struct.pack("<I", 128))) == -ENOTCONN
        assert poll(w, fd) == 0
        assert w.call("connect", one, address, len(address)) == 0
        assert poll(w, fd) == POLLIN
        assert w.call("connect", one, address, len(address)) == -EISCONN
        buffer, length = bytearray(128), bytearray(struct.pack("<I", 128))
        two = w.call("accept4", fd, buffer, length, S.SOCK_NONBLOCK)
        assert two >= 0
        peer = bytes(buffer[: struct.unpack("<I", length)[0]])
        assert peer == name_of(w, one) == name_of(w, two, "getpeername")
        assert name_of(w, two) == address == name_of(w, one, "getpeername")
        assert send(w, one, b"request") == 7
        assert receive(w, two) == b"request"
        assert send(w, two, b"answer") == 6
        assert receive(w, one) == b"answer"
        assert receive(w, two, 1, 0) == -EAGAIN
        assert poll(w, one) == POLLOUT


@CASES("accept", isas=("x86_64", "arm64", "arm", "riscv64"))
def accept_is_accept4_without_flags(w: World) -> None:
    fd, address = listener(w, "unix")
    one = new(w, S.AF_UNIX, S.SOCK_STREAM)
    assert w.call("connect", one, address, len(address)) == 0
    two = w.call("accept", fd, None, None)
    assert two not in (fd, one, 0)
    assert w.call("write", two, b"x", 1) == 1
    assert w.call("accept", one, None, None) == -EINVAL
    assert w.call("accept", new(w, S.AF_UNIX, S.SOCK_DGRAM), None, None) == -EOPNOTSUPP


@CASES("bind", "connect")
def names(w: World) -> None:
    fd = new(w, S.AF_UNIX, S.SOCK_STREAM)
    other = new(w, S.AF_UNIX, S.SOCK_STREAM)
    path, abstract = unix(b"name\0"), unix(b"\0abstract\0name-of-a-test")
    assert w.call("connect", other, path, len(path)) == -ENOENT
    assert w.call("bind", fd, path, len(path)) == 0
    assert w.stat(b"name")["mode"] & S_IFMT == S_IFSOCK
    assert name_of(w, fd) == path
    assert w.call("bind", fd, abstract, len(abstract)) == -EINVAL
    assert w.call("bind", other, path, len(path)) == -EADDRINUSE
    assert w.call("connect", other, path, len(path)) == -ECONNREFUSED
    assert w.call("bind", other, abstract, len(abstract)) == 0
    assert name_of(w, other) == abstract
    third = new(w, S.AF_UNIX, S.SOCK_DGRAM)
    assert w.call("listen", fd, 1) == 0
    assert w.call("connect", third, path, len(path)) == -EPROTOTYPE
    assert w.call("bind", third, abstract, len(abstract)) in (0, -EADDRINUSE)
    assert w.call("bind", new(w, S.AF_UNIX, S.SOCK_STREAM), abstract, len(abstract)) == -EADDRINUSE
    w.file(b"file")
    assert w.call("connect", other, unix(b"file\0"), 7) == -ECONNREFUSED
    assert w.call("bind", new(w, S.AF_UNIX, S.SOCK_STREAM), inet(0), 16) == -EINVAL
    unnamed = new(w, S.AF_UNIX, S.SOCK_STREAM)
    assert w.call("bind", unnamed, unix(b""), 2) == 0
    assert len(name_of(w, unnamed)) == 8
    w.call("close", other)


@CASES("bind", "connect", "listen")
def ports(w: World) -> None:
    fd, address = listener(w, "inet")
    port = int.from_bytes(address[2:4], "big")
    assert 32768 <= port <= 60999
    assert w.call("bind", new(w, S.AF_INET, S.SOCK_STREAM), address, 16) == -EADDRINUSE
    far = inet(port, b"\x09\x09\x09\x09")
    assert w.call("bind", new(w, S.AF_INET, S.SOCK_STREAM), far, 16) == -EADDRNOTAVAIL
    wide = new(w, S.AF_INET, S.SOCK_STREAM)
    assert w.call("connect", wide, inet(port, bytes(4)), 16) == 0
    assert name_of(w, wide)[4:8] == LOOPBACK
    w.call("close", fd)
    assert w.call("connect", new(w, S.AF_INET, S.SOCK_STREAM), address, 16) == -ECONNREFUSED
    six = new(w, S.AF_INET6, S.SOCK_STREAM)
    assert w.call("bind", six, inet6(0, bytes(16)), 28) == 0
    assert w.call("listen", six, 1) == 0
    port = int.from_bytes(name_of(w, six)[2:4], "big")
    assert w.call("connect", new(w, S.AF_INET, S.SOCK_STREAM), inet(port), 16) == 0
    two = w.call("accept4", six, None, None, 0)
    assert name_of(w, two, "getpeername")[8:24] == bytes(10) + b"\xff\xff" + LOOPBACK
    assert w.call("listen", new(w, S.AF_INET, S.SOCK_DGRAM), 1) == -EOPNOTSUPP
    assert w.call("listen", new(w, S.AF_UNIX, S.SOCK_STREAM), 1) == -EINVAL
    assert w.call("bind", new(w, S.AF_INET, S.SOCK_STREAM), inet(0), 8) == -EINVAL


@CASES("connect", host=False)
def nothing_leads_out(w: World) -> None:
    for kind in (S.SOCK_STREAM, S.SOCK_DGRAM):
        fd = new(w, S.AF_INET, kind)
        assert w.call("connect", fd, inet(53, b"\x08\x08\x08\x08"), 16) == -ENETUNREACH
    assert send(w, new(w, S.AF_INET, S.SOCK_DGRAM), b"x", 0, inet(53, b"\x08\x08\x08\x08")) == -ENETUNREACH
    assert w.call("connect", new(w, S.AF_INET6, S.SOCK_STREAM), inet6(53, b"\x20\x01" + bytes(14)), 28) == -ENETUNREACH


@CASES("shutdown")
def ends_of_a_connection(w: World) -> None:
    for one, two in (pair(w), connected(w, "unix"), connected(w, "inet")):
        send(w, one, b"last")
        assert w.call("shutdown", one, S.SHUT_WR) == 0
        assert send(w, one, b"more") == -EPIPE
        assert receive(w, two) == b"last"
        assert receive(w, two) == b""
        assert poll(w, two, POLLIN | 0x2000) == POLLIN | 0x2000
        assert send(w, two, b"back") == 4
        assert receive(w, one) == b"back"
        assert w.call("shutdown", one, 3) == -EINVAL
        w.call("close", two)
        assert receive(w, one) == b""
        assert poll(w, one) & POLLHUP
    assert w.call("shutdown", new(w, S.AF_INET, S.SOCK_STREAM), 0) == -ENOTCONN
    assert w.call("shutdown", new(w, S.AF_UNIX, S.SOCK_STREAM), 0) == 0


@CASES("sendto", "recvfrom")
def the_other_side_has_gone(w: World) -> None:
    one, two = pair(w)
    send(w, one, b"unread")
    w.call("close", two)
    assert receive(w, one) == -ECONNRESET
    assert receive(w, one) == b""
    assert send(w, one, b"x") == -EPIPE
    one, two = pair(w, S.SOCK_DGRAM)
    w.call("close", two)
    assert send(w, one, b"x") == -ECONNREFUSED
    assert send(w, one, b"x") == -ENOTCONN
    assert send(w, new(w, S.AF_UNIX, S.SOCK_STREAM), b"x") == -ENOTCONN
    assert receive(w, new(w, S.AF_INET, S.SOCK_STREAM)) == -ENOTCONN
    assert w.call("sendto", 0, b"x", 1, 0, None, 0) == -ENOTSOCK
    assert w.call("sendto", 99, b"x", 1, 0, None, 0) == -EBADF


@CASES("recvfrom")
def nothing_is_in_the_queue_of_errors(w: World) -> None:
    for kind in (S.SOCK_STREAM, S.SOCK_DGRAM):
        fd = new(w, S.AF_INET, kind)
        assert w.call("recvfrom", fd, bytearray(8), 8, S.MSG_ERRQUEUE, None, None) == -EAGAIN
    one, two = pair(w)
    send(w, one, b"x")
    length = bytearray(struct.pack("<i", -1))
    assert w.call("recvfrom", two, bytearray(8), 8, 0, bytearray(16), length) == -EINVAL


@CASES("sendto", host=False)
def writing_to_nobody_is_a_signal(w: GuestWorld) -> None:
    one, two = pair(w)
    w.call("close", two)
    assert send(w, one, b"x", S.MSG_NOSIGNAL) == -EPIPE
    assert not w.pending_signals
    assert send(w, one, b"x", 0) == -EPIPE
    assert w.pending_signals & bit(SIGPIPE)


@CASES("sendto", "recvfrom")
def datagrams(w: World) -> None:
    for family, address in ((S.AF_UNIX, unix(b"receiver\0")), (S.AF_INET, inet(0)), (S.AF_INET6, inet6(0))):
        receiver, sender = new(w, family, S.SOCK_DGRAM), new(w, family, S.SOCK_DGRAM)
        assert w.call("bind", receiver, address, len(address)) == 0
        there = name_of(w, receiver)
        assert send(w, sender, b"x") == -(ENOTCONN if family == S.AF_UNIX else EDESTADDRREQ)
        assert send(w, sender, b"message", 0, there) == 7
        buffer, source, length = bytearray(50), bytearray(128), bytearray(struct.pack("<I", 128))
        assert w.call("recvfrom", receiver, buffer, 50, 0, source, length) == 7
        assert buffer[:7] == b"message"
        size = struct.unpack("<I", length)[0]
        assert size == (0 if family == S.AF_UNIX else len(address))
        if family != S.AF_UNIX:
            assert send(w, receiver, b"back", 0, bytes(source[:size])) == 4
            assert receive(w, sender) == b"back"
        assert w.call("connect", sender, there, len(there)) == 0
        assert send(w, sender, b"again") == 5
        assert receive(w, receiver) == b"again"
        w.call("close", receiver)
        if family != S.AF_UNIX:
            assert send(w, sender, b"lost") == 4
        assert send(w, sender, b"refused") == -ECONNREFUSED


class Sleeper:
    def __init__(self) -> None:
        self.woken = False

    def wake(self, queue: WaitQueue) -> None:
        self.woken = True


@CASES("write", host=False)
def who_finds_no_room_for_a_datagram_is_woken(w: GuestWorld) -> None:
    one, two = pair(w, S.SOCK_DGRAM)
    data = bytes(50_000)
    assert any(w.blocks("write", one, data, len(data)) for _ in range(20))
    file = w.task.files.get(one)
    writer, poller = Sleeper(), Sleeper()
    file.room_queue.add(writer)
    file.queue.add(poller)
    while not (writer.woken and poller.woken):
        assert isinstance(receive(w, two), bytes), "all is read, and nobody was told"
    assert w.again() == len(data)


@CASES("sendmsg", "recvmsg")
def descriptors_are_passed(w: World) -> None:
    for kind in (S.SOCK_STREAM, S.SOCK_DGRAM):
        one, two = pair(w, kind)
        reader, writer = w.pipe()
        control = rights(w, writer)
        message = header(w, w.memory(b"take"), 4, w.memory(control), len(control))
        assert w.call("sendmsg", one, message, 0) == 4
        w.call("close", writer)
        place, room = w.memory(bytes(16)), w.memory(bytes(64))
        message = header(w, place, 10, room, 64)
        assert w.call("recvmsg", two, message, S.MSG_CMSG_CLOEXEC) == 4
        assert w.peek(place, 4) == b"take"
        head = S.CONTROL_HEADER[w.word]
        length, level, what = head.unpack(w.peek(room, head.size))
        assert (length, level, what) == (head.size + 4, S.SOL_SOCKET, S.SCM_RIGHTS)
        passed = struct.unpack("<i", w.peek(room + head.size, 4))[0]
        assert w.call("write", passed, b"through", 7) == 7
        buffer = bytearray(10)
        assert w.call("read", reader, buffer, 10) == 7
        fields = S.MESSAGE_HEADER[w.word].unpack(w.peek(message, S.MESSAGE_HEADER[w.word].size))
        assert fields[6] == S.MSG_CMSG_CLOEXEC
        control = rights(w, 99)
        message = header(w, w.memory(b"take"), 4, w.memory(control), len(control))
        assert w.call("sendmsg", one, message, 0) == -EBADF


@CASES("recvmsg")
def descriptors_without_room_are_closed(w: World) -> None:
    one, two = pair(w)
    reader, writer = w.pipe()
    control = rights(w, writer)
    assert w.call("sendmsg", one, header(w, w.memory(b"x"), 1, w.memory(control), len(control)), 0) == 1
    w.call("close", writer)
    message = header(w, w.memory(bytes(8)), 8)
    assert w.call("recvmsg", two, message, 0) == 1
    fields = S.MESSAGE_HEADER[w.word].unpack(w.peek(message, S.MESSAGE_HEADER[w.word].size))
    assert fields[6] == S.MSG_CTRUNC
    assert w.call("read", reader, bytearray(1), 1) == 0


@CASES("sendmmsg", "recvmmsg")
def several_at_once(w: World) -> None:
    one, two = pair(w, S.SOCK_DGRAM)
    layout = S.MESSAGE_HEADER[w.word]
    step = layout.size + w.word

    def messages(*places: tuple[int, int]) -> int:
        return w.memory(b"".join(layout.pack(0, 0, w.vector([place]), 1, 0, 0, 0) + bytes(w.word) for place in places))

    out = messages((w.memory(b"one"), 3), (w.memory(b"three"), 5))
    assert w.call("sendmmsg", one, out, 2, 0) == 2
    assert [struct.unpack("<I", w.peek(out + n * step + layout.size, 4))[0] for n in range(2)] == [3, 5]
    places = [w.memory(bytes(8)) for _ in range(3)]
    into = messages(*((place, 8) for place in places))
    assert w.call("recvmmsg", two, into, 3, S.MSG_DONTWAIT, None) == 2
    assert [w.peek(place, 5) for place in places[:2]] == [b"one\0\0", b"three"]


@CASES("getsockopt", "setsockopt")
def options(w: World) -> None:
    one, _ = pair(w)
    assert option(w, one, S.SOL_SOCKET, S.SO_TYPE) == S.SOCK_STREAM
    assert option(w, one, S.SOL_SOCKET, S.SO_DOMAIN) == S.AF_UNIX
    assert option(w, one, S.SOL_SOCKET, S.SO_ERROR) == 0
    assert option(w, one, S.SOL_SOCKET, S.SO_ACCEPTCONN) == 0
    assert option(w, one, S.SOL_SOCKET, 999) == -ENOPROTOOPT
    assert option(w, one, S.IPPROTO_TCP, S.TCP_NODELAY) == -EOPNOTSUPP
    assert w.call("setsockopt", one, S.SOL_SOCKET, S.SO_PASSCRED, struct.pack("<i", 5), 4) == 0
    assert option(w, one, S.SOL_SOCKET, S.SO_PASSCRED) == 1
    assert w.call("setsockopt", one, S.SOL_SOCKET, S.SO_PASSCRED, b"\1", 1) == -EINVAL
    assert w.call("setsockopt", one, S.SOL_SOCKET, S.SO_SNDBUF, struct.pack("<i", 5000), 4) == 0
    assert option(w, one, S.SOL_SOCKET, S.SO_SNDBUF) == 10000
    fd, _ = listener(w, "inet")
    assert option(w, fd, S.SOL_SOCKET, S.SO_ACCEPTCONN) == 1
    assert option(w, fd, S.SOL_SOCKET, S.SO_PROTOCOL) == S.IPPROTO_TCP
    assert w.call("setsockopt", fd, S.IPPROTO_TCP, S.TCP_NODELAY, struct.pack("<i", 1), 4) == 0
    assert option(w, fd, S.IPPROTO_TCP, S.TCP_NODELAY) == 1
    value, length = bytearray(12), bytearray(struct.pack("<I", 12))
    assert w.call("getsockopt", one, S.SOL_SOCKET, S.SO_PEERCRED, value, length) == 0
    pid, uid, _ = struct.unpack("<iII", value)
    assert (pid, uid) == (w.call("getpid"), w.call("geteuid32" if w.word == 4 else "geteuid"))


@CASES("socketcall", isas=("i386",))
def all_through_one_call(w: World) -> None:
    place = w.memory(bytes(8))
    assert w.call("socketcall", 8, w.words(S.AF_UNIX, S.SOCK_STREAM, 0, place)) == 0
    one, two = struct.unpack("<ii", w.peek(place, 8))
    assert w.call("socketcall", 9, w.words(one, w.memory(b"abc"), 3, 0)) == 3
    assert w.call("socketcall", 10, w.words(two, place, 3, 0)) == 3
    assert w.peek(place, 3) == b"abc"
    assert w.call("socketcall", 1, w.words(-1, S.SOCK_STREAM, 0)) == -EAFNOSUPPORT
    assert w.call("socketcall", 21, w.words(0)) == -EINVAL


@CASES("send", "recv", isas=("arm",))
def without_addresses(w: World) -> None:
    one, two = pair(w)
    assert w.call("send", one, b"abc", 3, 0) == 3
    buffer = bytearray(3)
    assert w.call("recv", two, buffer, 3, 0) == 3
    assert buffer == b"abc"


@CASES("sendto", "recvfrom", host=False)
def who_has_to_wait(w: GuestWorld) -> None:
    one, two = pair(w)
    assert w.blocks("recvfrom", two, bytearray(4), 4, 0, None, None)
    send(w, one, b"late")
    assert w.again() == 4
    block = bytes(1 << 18)
    assert w.blocks("sendto", one, block, len(block), 0, None, 0)
    got = 0
    while got < w.machine.sockets.soft_limit:
        part = receive(w, two, 1 << 16)
        if not isinstance(part, bytes):
            break
        got += len(part)
    assert got > 200_000
    fd, address = listener(w, "unix")
    assert w.blocks("accept4", fd, None, None, 0)
    third = new(w, S.AF_UNIX, S.SOCK_STREAM)
    w.call("connect", third, address, len(address))
    assert w.again() > third


@CASES("sendmsg", host=False)
def descriptors_in_flight_are_bounded(w: GuestWorld) -> None:
    one, two = pair(w)
    control = rights(w, one, two, one, two)
    message = header(w, w.memory(b"x"), 1, w.memory(control), len(control))
    results = [w.call("sendmsg", one, message, S.MSG_DONTWAIT) for _ in range(300)]
    assert results[0] == 1
    assert results[-1] == -ETOOMANYREFS
    assert w.machine.sockets.in_flight <= 1024
    assert receive(w, two, 5000) == b"x"


@CASES("sendmsg", host=False)
def a_chain_of_sockets_in_sockets_is_released(w: GuestWorld) -> None:
    """Each lies in the next one's buffer; the last close frees all, one after the other, not nested."""
    held = w.machine.file_budget.used
    first, last = pair(w)
    for _ in range(400):
        there, here = pair(w)
        control = rights(w, first, last)
        before = w.next_free
        message = header(w, w.memory(b"x"), 1, w.memory(control), len(control))
        assert w.call("sendmsg", there, message, 0) == 1
        w.next_free = before
        w.call("close", first)
        w.call("close", last)
        first, last = there, here
    assert w.machine.sockets.in_flight == 800
    w.call("close", first)
    w.call("close", last)
    assert w.machine.sockets.in_flight == 0
    assert w.machine.file_budget.used == held


test_guest, test_host, test_proof = CASES.tests()
