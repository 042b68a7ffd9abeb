"""Sockets: what all kinds share, and the little world that they live in. Nothing in it leads to the host's network.

A `Socket` is an open file on a `SocketNode`. `SocketFs`, one per VM, knows who listens where: names of AF_UNIX that
have no file, ports of the loopback interface. Data lies in `Message`s on the receiver's side, bounded by the
receiver's buffer; together they are bounded by `SocketFs.soft_limit`, beyond which buffers are small.

As everywhere, nothing here waits: EAGAIN means "sleep on `queue`". SIGPIPE is the kernel's business.
Neighbours: `stream_socket`, `datagram_socket` (the kinds), `ports` (internet addresses), `kernel.sys_socket*`.
Source: socket(7), unix(7), ip(7); net/unix/af_unix.c.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from sandbox.abi import sockets as S
from sandbox.abi.errno import EINVAL, ENOPROTOOPT, ENOTCONN, ENOTTY, ENXIO, EOPNOTSUPP, ESPIPE, ETOOMANYREFS, Errno
from sandbox.abi.flags import O_RDWR, POLLIN, POLLRDNORM, S_IFSOCK
from sandbox.clock import Clock
from sandbox.vfs.node import Filesystem, Node, OpenFile, Stat
from sandbox.vfs.ports import InternetAddress, Ports

if TYPE_CHECKING:
    from sandbox.memory import AddressSpace

DEFAULT_BUFFER = 212_992  # net.core.rmem_default
SMALL_BUFFER = 16_384
MOST_UNACCEPTED = 4_096  # as many as one backlog may have
LEAST_BUFFER = 2_304
MOST_BUFFER = 425_984
FIONREAD, TIOCOUTQ = 0x541B, 0x5411
EVENT_READ_HANGUP = 0x2000  # POLLRDHUP

Address = bytes | InternetAddress  # of AF_UNIX: a path, or NUL and an abstract name, or empty


class Owner(NamedTuple):
    """Who a process is, as SO_PEERCRED and SCM_CREDENTIALS say it."""

    pid: int
    uid: int
    gid: int


NOBODY = Owner(0, 0xFFFFFFFF, 0xFFFFFFFF)


@dataclass(slots=True)
class Message:
    """What one send put into a receiver's buffer. `taken` bytes have been read already."""

    data: bytes
    source: Address | None = None
    owner: Owner = NOBODY
    files: list[OpenFile] = field(default_factory=list)
    taken: int = 0
    sender: Socket | None = None  # AF_UNIX: whose name of now is told

    @property
    def origin(self) -> Address | None:
        return self.source if self.sender is None else self.sender.address

    @property
    def left(self) -> int:
        return len(self.data) - self.taken


class SocketFs(Filesystem):
    """Where the sockets of one VM live."""

    name = "sockfs"
    magic = 0x534F434B

    def __init__(self, clock: Clock | None = None, soft_limit: int = 16 << 20) -> None:
        super().__init__()
        self.device = 0x8
        self.soft_limit = soft_limit
        self.held = 0  # bytes in all buffers
        self.in_flight = 0  # descriptors that are in messages
        self.unaccepted = 0  # connections that lie in backlogs
        self.abstract: dict[bytes, Socket] = {}
        self.ports = {S.SOCK_STREAM: Ports(), S.SOCK_DGRAM: Ports()}
        self._last_ino = 0
        self._last_name = 0
        self._condemned: deque[OpenFile] = deque()
        self._releasing = False
        self._clock = clock

    def node(self, uid: int = 0, gid: int = 0) -> SocketNode:
        self._last_ino += 1
        return SocketNode(self, self._last_ino, uid, gid, self._clock.realtime() if self._clock is not None else 0)

    def room_for(self, socket: Socket) -> int:
        """How many bytes the socket's buffer may hold now."""
        return socket.receive_buffer if self.held < self.soft_limit else min(SMALL_BUFFER, socket.receive_buffer)

    def free_name(self) -> bytes:
        """For autobind: five hexadecimal digits."""
        while True:
            self._last_name = self._last_name + 1 & 0xFFFFF
            name = b"\0%05x" % self._last_name
            if name not in self.abstract:
                return name

    def send_files(self, files: Sequence[OpenFile], limit: int) -> list[OpenFile]:
        """References for a message. Bounded, because sockets that lie in each other's buffers are never freed."""
        if self.in_flight + len(files) > limit:
            raise Errno(ETOOMANYREFS)
        self.in_flight += len(files)
        return [file.retain() for file in files]

    def landed(self, files: list[OpenFile]) -> list[OpenFile]:
        """The references of a message pass to the caller."""
        self.in_flight -= len(files)
        taken = files[:]
        files.clear()
        return taken

    def discard(self, message: Message) -> None:
        """Nobody will read it. Sockets in sockets in sockets are released one after the other, not nested."""
        self.held -= message.left
        self._condemned.extend(self.landed(message.files))
        if self._releasing:
            return
        self._releasing = True
        try:
            while self._condemned:
                self._condemned.popleft().release()
        finally:
            self._releasing = False


class SocketNode(Node):
    __slots__ = ("created",)

    def __init__(self, filesystem: SocketFs, ino: int, uid: int, gid: int, created: int) -> None:
        super().__init__(filesystem, ino, S_IFSOCK | 0o777, uid, gid)
        self.created = created

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
            self.mode = S_IFSOCK | mode & 0o7777
        if uid is not None:
            self.uid = uid
        if gid is not None:
            self.gid = gid

    def label(self) -> bytes:
        return b"socket:[%d]" % self.ino

    def open(self, flags: int, task_context: object | None = None) -> OpenFile:
        raise Errno(ENXIO)


class Socket(OpenFile):
    """`family`, `kind` (SOCK_*) and `protocol` as for socket(2). `owner` is who made it."""

    __slots__ = (
        "address",
        "broken",
        "error",
        "family",
        "inbox",
        "kind",
        "options",
        "own_choice",
        "own_host",
        "owner",
        "peer_address",
        "peer_owner",
        "protocol",
        "receive_buffer",
        "send_buffer",
        "shut",
        "size",
        "stale",
        "world",
    )  # fmt: skip

    def __init__(self, world: SocketFs, family: int, kind: int, protocol: int, flags: int, owner: Owner) -> None:
        super().__init__(world.node(owner.uid, owner.gid), O_RDWR | flags)
        self.world = world
        self.family, self.kind, self.protocol = family, kind, protocol
        self.owner = owner
        self.peer_owner = NOBODY
        self.address: Address | None = None  # bound to
        self.own_choice = False  # by bind, not by the kernel
        self.own_host = False
        self.stale = False  # the address is only a memory: it can be bound anew
        self.peer_address: Address | None = None
        self.inbox: deque[Message] = deque()
        self.size = 0  # bytes in it
        self.receive_buffer = self.send_buffer = DEFAULT_BUFFER
        self.shut = 0  # 1: reading has ended, 2: writing has
        self.error = 0  # reported once, by SO_ERROR or the next call
        self.broken = False
        self.options: dict[tuple[int, int], int] = {}

    # -- what the kinds do --------------------------------------------------------------------------------

    def transmit(self, data: bytes, destination: Socket | None, files: Sequence[OpenFile], owner: Owner) -> int:
        """How many bytes were taken. Raises Errno: EAGAIN, EPIPE, ENOTCONN ..."""
        raise NotImplementedError

    def take(self, count: int, peek: bool) -> tuple[bytes, Message | None, int]:
        """(data, the message it is from or None at the end, the message's whole length). Raises EAGAIN."""
        raise NotImplementedError

    def connect(self, other: Socket, nonblocking: bool) -> None:
        raise Errno(EOPNOTSUPP)

    def listen(self, backlog: int) -> None:
        raise Errno(EOPNOTSUPP)

    def accept(self, flags: int) -> Socket:
        raise Errno(EOPNOTSUPP)

    @property
    def listening(self) -> bool:
        return False

    @property
    def connected(self) -> bool:
        return self.peer_address is not None

    def shutdown(self, how: int) -> None:
        """`how`: 1 reading, 2 writing, 3 both."""
        raise Errno(ENOTCONN)

    # -- for the kinds ------------------------------------------------------------------------------------

    def deliver(self, message: Message) -> None:
        self.inbox.append(message)
        self.size += len(message.data)
        self.world.held += len(message.data)
        self.queue.wake(events=POLLIN | POLLRDNORM)

    def use_up(self, message: Message, count: int) -> None:
        """`count` bytes of the first message were read; it goes when nothing is left of it."""
        message.taken += count
        self.size -= count
        self.world.held -= count

    def empty(self) -> None:
        while self.inbox:
            self.world.discard(self.inbox.popleft())
        self.size = 0

    def raise_error(self) -> None:
        if self.error:
            number, self.error = self.error, 0
            raise Errno(number)

    @property
    def bound(self) -> bool:
        return self.address is not None and not self.stale

    def give_back(self) -> None:
        """A connection has failed: a port that nobody asked for is free again, though the name stays."""
        if self.family != S.AF_UNIX and not self.own_choice:
            self.unbind()
            self.stale = True

    def unbind(self) -> None:
        address, self_address = self.address, self.address
        if isinstance(self_address, bytes):
            if self.world.abstract.get(self_address) is self:
                del self.world.abstract[self_address]
        elif address is not None:
            self.world.ports[self.kind].leave(self)

    # -- as a file ----------------------------------------------------------------------------------------

    def patience(self, writing: bool) -> int | None:
        return self.options.get((S.SOL_SOCKET, S.SO_SNDTIMEO if writing else S.SO_RCVTIMEO)) or None

    def read(self, count: int, offset: int | None = None) -> bytes:
        if offset is not None:
            raise Errno(ESPIPE)
        if not count:
            return b""  # receiving nothing is another matter: that looks for a message
        data, message, _ = self.take(count, False)
        if message is not None and message.files:
            self.world.discard(Message(b"", files=message.files))  # descriptors that nobody asked for
        return data

    def write(self, data: bytes, offset: int | None = None) -> int:
        if offset is not None:
            raise Errno(ESPIPE)
        return self.transmit(data, None, (), self.owner)

    def seek(self, offset: int, whence: int) -> int:
        raise Errno(ESPIPE)

    def truncate(self, size: int) -> None:
        raise Errno(EINVAL)

    def sync(self) -> None:
        raise Errno(EINVAL)

    def ioctl(self, request: int, argument: int, space: AddressSpace) -> int:
        if request == FIONREAD:
            if self.listening:
                raise Errno(EINVAL)
            value = self.size if self.kind != S.SOCK_DGRAM else self.inbox[0].left if self.inbox else 0
        elif request == TIOCOUTQ:
            value = 0
        else:
            raise Errno(ENOTTY)
        space.copy_out(argument, value.to_bytes(4, "little"))
        return 0

    # -- options ------------------------------------------------------------------------------------------

    def option(self, level: int, name: int) -> int:
        """An option that is one number; ENOPROTOOPT for what there is not."""
        if level == S.SOL_SOCKET:
            known = {
                S.SO_TYPE: self.kind,
                S.SO_PROTOCOL: self.protocol,
                S.SO_DOMAIN: self.family,
                S.SO_ACCEPTCONN: int(self.listening),
                S.SO_SNDBUF: self.send_buffer,
                S.SO_RCVBUF: self.receive_buffer,
            }
            if name in known:
                return known[name]
            if name == S.SO_ERROR:
                number, self.error = self.error, 0
                return number
        found = self.options.get((level, name), OPTIONS.get((level, name)))
        if found is None or not self._has(level):
            raise Errno(ENOPROTOOPT if self._has(level) or self.family == S.AF_INET6 else EOPNOTSUPP)
        return found

    def expect_level(self, level: int) -> None:
        if not self._has(level):
            raise Errno(EOPNOTSUPP if self.family == S.AF_UNIX else ENOPROTOOPT)

    def set_option(self, level: int, name: int, value: int) -> None:
        if level == S.SOL_SOCKET and name in (S.SO_SNDBUF, S.SO_SNDBUFFORCE):
            self.send_buffer = max(2 * LEAST_BUFFER, min(2 * value, MOST_BUFFER))
        elif level == S.SOL_SOCKET and name in (S.SO_RCVBUF, S.SO_RCVBUFFORCE):
            self.receive_buffer = max(LEAST_BUFFER, min(2 * value, MOST_BUFFER))
        elif (level, name) not in OPTIONS:
            raise Errno(ENOPROTOOPT)
        elif (level, name) == (S.IPPROTO_IP, S.IP_TTL) and value != -1 and not 1 <= value <= 255:
            raise Errno(EINVAL)
        else:
            self.options[level, name] = int(value != 0) if (level, name) in SWITCHES else value

    def _has(self, level: int) -> bool:
        if level == S.SOL_SOCKET:
            return True
        if level == S.IPPROTO_TCP:
            return self.family != S.AF_UNIX and self.kind == S.SOCK_STREAM
        return (level == S.IPPROTO_IP and self.family != S.AF_UNIX) or (
            level == S.IPPROTO_IPV6 and self.family == S.AF_INET6
        )


# Options that are kept and mostly mean nothing on a loopback: (level, name) to what they are at first.
SWITCHES = {
    (S.SOL_SOCKET, name)
    for name in (
        S.SO_DEBUG, S.SO_REUSEADDR, S.SO_DONTROUTE, S.SO_BROADCAST, S.SO_KEEPALIVE, S.SO_OOBINLINE, S.SO_REUSEPORT,
        S.SO_PASSCRED, S.SO_TIMESTAMP, S.SO_NO_CHECK,
    )
} | {(S.IPPROTO_TCP, S.TCP_NODELAY), (S.IPPROTO_TCP, S.TCP_CORK), (S.IPPROTO_IPV6, S.IPV6_V6ONLY)}  # fmt: skip
OPTIONS: dict[tuple[int, int], int] = {
    **dict.fromkeys(SWITCHES, 0),
    (S.SOL_SOCKET, S.SO_PRIORITY): 0,
    (S.SOL_SOCKET, S.SO_MARK): 0,
    (S.SOL_SOCKET, S.SO_RCVLOWAT): 1,
    (S.SOL_SOCKET, S.SO_SNDLOWAT): 1,
    (S.IPPROTO_TCP, S.TCP_MAXSEG): 65_483,
    (S.IPPROTO_TCP, S.TCP_KEEPIDLE): 7200,
    (S.IPPROTO_TCP, S.TCP_KEEPINTVL): 75,
    (S.IPPROTO_TCP, S.TCP_KEEPCNT): 9,
    **{(S.IPPROTO_IP, name): value for name, value in ((1, 0), (2, 64), (8, 0), (10, 1), (11, 0), (33, 1), (34, 1))},
    **{(S.IPPROTO_IPV6, name): value for name, value in ((16, 64), (18, 1), (19, 1), (25, 0), (49, 0), (67, 0))},
}
