"""Random sequences of socket calls: Unix and loopback sockets of all kinds, and what watches them.

Nothing waits and nothing fills up, since how much a buffer holds is every kernel's own affair. Ports that the kernel
has chosen are known by the order in which they were seen. What lies in a socket shares no node with a machine's others.
"""

from __future__ import annotations

import random
import struct

from sandbox.abi import flags as f
from sandbox.abi import sockets as S
from sandbox.abi.errno import ENOTCONN
from tests import syscall_sequences as files
from tests.syscall_sequences import DATA, FDS, Makers, Player, Step

UNIX_KINDS = (S.SOCK_STREAM, S.SOCK_STREAM, S.SOCK_DGRAM, S.SOCK_SEQPACKET)
NAMES = (b"s", b"s", b"t", b"d/s", b"a", b"d", b"none/s")
NOBODYS, NEW = -1, -2  # instead of the place of a port
PORTS = (0, 0, 1, 2, 3, NOBODYS)
SIZES = (0, 1, 3, 10, 100, 1000)
SEND_FLAGS = (0, 0, 0, S.MSG_DONTWAIT, S.MSG_EOR, 0x800)
RECEIVE_FLAGS = (0, 0, 0, S.MSG_PEEK, S.MSG_TRUNC, S.MSG_PEEK | S.MSG_TRUNC, S.MSG_DONTWAIT)
OPTIONS = (
    (S.SOL_SOCKET, S.SO_ERROR), (S.SOL_SOCKET, S.SO_ERROR), (S.SOL_SOCKET, S.SO_TYPE), (S.SOL_SOCKET, S.SO_ACCEPTCONN),
    (S.SOL_SOCKET, S.SO_REUSEADDR), (S.SOL_SOCKET, S.SO_KEEPALIVE), (S.SOL_SOCKET, S.SO_BROADCAST),
    (S.SOL_SOCKET, S.SO_DOMAIN), (S.SOL_SOCKET, S.SO_PROTOCOL), (S.IPPROTO_TCP, S.TCP_NODELAY),
    (S.IPPROTO_IPV6, S.IPV6_V6ONLY), (S.IPPROTO_IP, 2), (S.SOL_SOCKET, 9999), (77, 1), (S.SOL_SOCKET, S.SO_LINGER),
)  # fmt: skip
FIONREAD = 0x541B


def _socket(rng: random.Random) -> Step:
    flags = f.O_NONBLOCK | rng.choice((0, f.O_CLOEXEC))
    family, kind, protocol = rng.choice(
        (
            (S.AF_UNIX, rng.choice(UNIX_KINDS), 0),
            (S.AF_UNIX, rng.choice(UNIX_KINDS), 0),
            (S.AF_INET, S.SOCK_STREAM, 0),
            (S.AF_INET, S.SOCK_DGRAM, 0),
            (S.AF_INET6, S.SOCK_STREAM, S.IPPROTO_TCP),
            (S.AF_INET6, S.SOCK_DGRAM, 0),
            (S.AF_INET, S.SOCK_STREAM, S.IPPROTO_UDP),
            (S.AF_INET, S.SOCK_SEQPACKET, 0),
            (S.AF_UNIX, S.SOCK_STREAM, 5),
            (99, S.SOCK_STREAM, 0),
        )
    )
    return "socket", (family, kind | flags, protocol)


def _pair(rng: random.Random) -> Step:
    family = S.AF_UNIX if rng.random() < 0.95 else S.AF_INET
    return "socketpair", (family, rng.choice(UNIX_KINDS) | f.O_NONBLOCK, 0)


def _place(rng: random.Random) -> tuple[str, object]:
    """An address: of a family, and what it is there."""
    return rng.choice((("unix", rng.choice(NAMES)), ("inet", rng.choice(PORTS)), ("inet6", rng.choice(PORTS))))


def _bind(rng: random.Random) -> Step:
    family, place = _place(rng)
    return "bind", (rng.choice(FDS), family, place if family == "unix" else rng.choice((NEW, NEW, NEW, 0, 1)))


def _connect(rng: random.Random) -> Step:
    place = _place(rng) if rng.random() < 0.93 else ("none", 0)
    return "connect", (rng.choice(FDS), *place)


def _listen(rng: random.Random) -> Step:
    return "listen", (rng.choice(FDS), rng.choice((0, 1, 5, 128, -1)))


def _accept(rng: random.Random) -> Step:
    return "accept4", (rng.choice(FDS), rng.choice((f.O_NONBLOCK, f.O_NONBLOCK, f.O_NONBLOCK | f.O_CLOEXEC, 1)))


def _send(rng: random.Random) -> Step:
    place = _place(rng) if rng.random() < 0.3 else ("none", 0)
    return "sendto", (rng.choice(FDS), rng.choice(SIZES), rng.choice(SEND_FLAGS), *place)


def _receive(rng: random.Random) -> Step:
    return "recvfrom", (rng.choice(FDS), rng.choice(SIZES), rng.choice(RECEIVE_FLAGS))


def _message(rng: random.Random) -> Step:
    sizes = tuple(rng.choice(SIZES) for _ in range(rng.randint(0, 3)))
    if rng.random() < 0.5:
        passed = tuple(rng.choice(FDS) for _ in range(rng.choice((0, 1, 1, 2))))
        return "sendmsg", (rng.choice(FDS), sizes, passed)
    return "recvmsg", (
        rng.choice(FDS),
        sizes,
        rng.choice((0, 10, 20, 24, 64)),
        rng.choice((*RECEIVE_FLAGS, 0x40000000)),
    )


def _end(rng: random.Random) -> Step:
    return "shutdown", (rng.choice(FDS), rng.choice((0, 1, 1, 2, 3)))


def _ask(rng: random.Random) -> Step:
    level, name = rng.choice(OPTIONS)
    return rng.choice(
        (
            ("getsockname", (rng.choice(FDS),)),
            ("getpeername", (rng.choice(FDS),)),
            ("getsockopt", (rng.choice(FDS), level, name, rng.choice((4, 4, 4, 8, 2)))),
            ("setsockopt", (rng.choice(FDS), level, name, rng.choice((0, 1, 5)), rng.choice((4, 4, 8, 2)))),
            ("queued", (rng.choice(FDS),)),
        )
    )


def _write(rng: random.Random) -> Step:
    return "write", (rng.choice(FDS), rng.choice(SIZES))


SOCKETS: Makers = (
    (_socket, 8), (_pair, 5), (_bind, 10), (_connect, 10), (_listen, 6), (_accept, 6), (_send, 8), (_receive, 8),
    (_message, 8), (_end, 3), (_ask, 10), (_write, 6), (files._read, 6), (files._close, 5), (files._dup, 2),
    (files._look, 4), (files._watch, 6), (files._pipe, 1), (files._nameless, 2), (files._remove, 2),
)  # fmt: skip


class SocketPlayer(Player):
    def begin(self, ordinary: bool) -> None:
        super().begin(ordinary)
        self.ports: list[tuple[object, int]] = []  # of a protocol

    # -- addresses ------------------------------------------------------------------------------------------

    def _address(self, fd: int, family: str, place: object) -> bytes:
        if family == "unix":
            assert isinstance(place, bytes)
            return struct.pack("<H", S.AF_UNIX) + place + b"\0"
        if family == "none":
            return struct.pack("<H14x", S.AF_UNSPEC)
        assert isinstance(place, int)
        port = 0 if place == NEW else 1
        if 0 <= place < len(self.ports) and self.ports[place][0] == self._protocol(fd):
            port = self.ports[place][1]
        wire = struct.pack(">H", port)
        if family == "inet":
            return S.SOCKADDR_IN.pack(S.AF_INET, wire, bytes((127, 0, 0, 1)))
        return S.SOCKADDR_IN6.pack(S.AF_INET6, wire, 0, bytes(15) + b"\1", 0)

    def _protocol(self, fd: int) -> object:
        return self._getsockopt(fd, S.SOL_SOCKET, S.SO_PROTOCOL, 4)

    def _read_address(self, fd: int, data: bytes) -> object:
        """What may be compared; a port becomes its place among those seen."""
        if len(data) < 2:
            return data
        family = struct.unpack_from("<H", data)[0]
        if family not in (S.AF_INET, S.AF_INET6):
            return data
        port = struct.unpack_from(">H", data, 2)[0]
        seen = self._protocol(fd), port
        if port and seen not in self.ports:
            self.ports.append(seen)
        return data[:2], self.ports.index(seen) if port else None, data[4:]

    def _named(self, name: str, fd: int, *more: int) -> object:
        room = bytearray(128)
        length = bytearray(struct.pack("<I", 128))
        result = self.world.call(name, fd, room, length, *more)
        if result < 0:
            return result
        return result, self._read_address(fd, bytes(room[: struct.unpack("<I", length)[0]]))

    def _getsockname(self, fd: int) -> object:
        return self._named("getsockname", fd)

    def _getpeername(self, fd: int) -> object:
        return self._named("getpeername", fd)

    def _at_once(self, fd: int) -> None:
        """TCP would put small pieces off until it has heard of the others."""
        if fd >= 0:
            self.world.call("setsockopt", fd, S.IPPROTO_TCP, S.TCP_NODELAY, struct.pack("<i", 1), 4)

    # -- calls ----------------------------------------------------------------------------------------------

    def _socket(self, family: int, kind: int, protocol: int) -> object:
        fd = self.world.call("socket", family, kind, protocol)
        self._at_once(fd)
        return fd

    def _socketpair(self, family: int, kind: int, protocol: int) -> object:
        ends = bytearray(8)
        return self.world.call("socketpair", family, kind, protocol, ends), bytes(ends)

    def _bind(self, fd: int, family: str, place: object) -> object:
        if isinstance(place, int) and not 0 <= place < len(self.ports):
            place = NEW
        address = self._address(fd, family, place)
        result = self.world.call("bind", fd, address, len(address))
        if result == 0:
            self._named("getsockname", fd)  # so that the others may know the port
        return result

    def _connect(self, fd: int, family: str, place: object) -> object:
        if family == "none":
            domain = bytearray(4)
            self.world.call("getsockopt", fd, S.SOL_SOCKET, S.SO_DOMAIN, domain, struct.pack("<I", 4))
            if domain[0] in (S.AF_INET, S.AF_INET6):
                return "not compared"  # whether the port stays depends on how it was got
        address = self._address(fd, family, place)
        own = self._named("getsockname", fd)
        if isinstance(own, tuple) and isinstance(own[1], tuple) and own[1][1] == place:
            return "not served"  # a TCP connection to itself
        return self.world.call("connect", fd, address, len(address))

    def _accept4(self, fd: int, flags: int) -> object:
        answer = self._named("accept4", fd, flags)
        if isinstance(answer, tuple):
            self._at_once(answer[0])
        return answer

    def _sendto(self, fd: int, size: int, flags: int, family: str, place: object) -> object:
        address = self._address(fd, family, place) if family != "none" else None
        length = len(address) if address else 0
        return self.world.call("sendto", fd, DATA[:size], size, flags | S.MSG_NOSIGNAL, address, length)

    def _recvfrom(self, fd: int, size: int, flags: int) -> object:
        buffer, room, length = bytearray(size), bytearray(128), bytearray(struct.pack("<I", 128))
        count = self.world.call("recvfrom", fd, buffer, size, flags, room, length)
        if count < 0:
            return count
        used = struct.unpack("<I", length)[0]
        return count, bytes(buffer[:count]), self._read_address(fd, bytes(room[:used]))

    def _sendmsg(self, fd: int, sizes: tuple[int, ...], passed: tuple[int, ...]) -> object:
        w = self.world
        parts = [(w.memory(DATA[:size] + b"\0"), size) for size in sizes]
        control = b""
        if passed:
            control = S.CONTROL_HEADER[8].pack(16 + 4 * len(passed), S.SOL_SOCKET, S.SCM_RIGHTS)
            control += struct.pack(f"<{len(passed)}i", *passed)
            control += bytes(-len(control) % 8)
        header = S.MESSAGE_HEADER[8].pack(0, 0, w.vector(parts), len(parts), w.memory(control + b"\0"), len(control), 0)
        return w.call("sendmsg", fd, header, S.MSG_NOSIGNAL)

    def _recvmsg(self, fd: int, sizes: tuple[int, ...], room: int, flags: int) -> object:
        w = self.world
        parts = [(w.memory(bytes(size) + b"\0"), size) for size in sizes]
        flags &= ~S.MSG_PEEK  # of a stream it shows what lies beside the next piece, too
        name, control = w.memory(bytes(128)), w.memory(bytes(room) + b"\0")
        header = bytearray(S.MESSAGE_HEADER[8].pack(name, 128, w.vector(parts), len(parts), control, room, 0))
        count = w.call("recvmsg", fd, header, flags)
        if count < 0:
            return count
        _, length, _, _, _, controlled, seen = S.MESSAGE_HEADER[8].unpack(header)
        data = b"".join(w.peek(address, size) for address, size in parts)[:count]
        return count, data, self._read_address(fd, w.peek(name, length)), w.peek(control, controlled), seen

    def _write(self, fd: int, size: int) -> object:
        """To whom it is connected: the rest has sendto."""
        if self._named("getpeername", fd) == -ENOTCONN:
            return "not connected"
        return self.world.call("write", fd, DATA[:size], size)

    def _getsockopt(self, fd: int, level: int, name: int, room: int) -> object:
        value, length = bytearray(room), bytearray(struct.pack("<I", room))
        result = self.world.call("getsockopt", fd, level, name, value, length)
        return result, bytes(value), bytes(length)

    def _setsockopt(self, fd: int, level: int, name: int, value: int, length: int) -> object:
        return self.world.call("setsockopt", fd, level, name, struct.pack("<ii", value, 0), length)

    def _queued(self, fd: int) -> object:
        if not self.world.fstat(fd).get("mode", 1 << 12) & f.S_IFMT:
            return "nameless"
        count = self.world.memory(bytes(4))
        return self.world.call("ioctl", fd, FIONREAD, count), self.world.peek(count, 4)
