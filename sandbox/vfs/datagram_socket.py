"""SOCK_DGRAM: messages without a connection, of AF_UNIX (reliable, the sender waits) and UDP (what does not fit is
lost). Source: unix(7), udp(7); net/unix/af_unix.c, net/ipv4/udp.c.
"""

from __future__ import annotations

from collections.abc import Sequence

from sandbox.abi import sockets as S
from sandbox.abi.errno import EAGAIN, ECONNREFUSED, ECONNRESET, EDESTADDRREQ, EMSGSIZE, ENOTCONN, EPERM, EPIPE, Errno
from sandbox.abi.flags import O_NONBLOCK, POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM
from sandbox.vfs.node import OpenFile
from sandbox.vfs.ports import LOOPBACK_4, LOOPBACK_6, InternetAddress
from sandbox.vfs.socket import EVENT_READ_HANGUP, Message, Owner, Socket, SocketFs
from sandbox.wait import WaitQueue

MOST_QUEUED = 10  # net.unix.max_dgram_qlen
MOST_UDP = 65_507
OVERHEAD = 768  # what a message counts for besides its bytes


class DatagramSocket(Socket):
    __slots__ = ("closed", "peer")

    def __init__(self, world: SocketFs, family: int, kind: int, protocol: int, flags: int, owner: Owner) -> None:
        super().__init__(world, family, kind, protocol, flags, owner)
        self.peer: DatagramSocket | None = None  # AF_UNIX: connected to; UDP finds it anew for each message
        self.closed = False

    @property
    def local(self) -> bool:
        return self.family == S.AF_UNIX

    def pair_with(self, other: DatagramSocket) -> None:
        for one, two in ((self, other), (other, self)):
            one.peer, one.peer_owner = two, two.owner
            one.peer_address = two.address if two.address is not None else b""

    def connect(self, other: Socket, nonblocking: bool) -> None:
        if self.local:
            assert isinstance(other, DatagramSocket)
            if other.peer is not None and other.peer is not self:
                raise Errno(EPERM)
            if other is not self.peer:
                self._part()
            self.peer, self.peer_owner = other, other.owner

    def _part(self) -> None:
        """What the old peer has sent is lost, and it hears of that."""
        peer, lost = self.peer, bool(self.inbox)
        if peer is not None and self.local:
            self.empty()
            if lost and peer.peer is self and not peer.closed:
                peer.error = ECONNRESET
                peer.queue.wake()

    def disconnect(self) -> None:
        self._part()
        self.peer = None
        self.peer_address = None

    def shutdown(self, how: int) -> None:
        self.shut |= how
        if self.peer_address is None and not self.local:
            raise Errno(ENOTCONN)  # and still it has happened
        self.queue.wake()

    def close(self) -> None:
        self.closed = True
        self.unbind()
        self.empty()
        peer, self.peer = self.peer, None
        if peer is not None and peer.peer is self:
            peer.peer_address = self.address or b""
            peer.queue.wake()
        self.queue.wake()

    def transmit(self, data: bytes, destination: Socket | None, files: Sequence[OpenFile], owner: Owner) -> int:
        if self.local and self.shut & 2:
            raise Errno(EPIPE)
        to_peer = destination is None or (self.peer_address is not None and destination.address == self.peer_address)
        if destination is None:
            if self.peer_address is None:
                raise Errno(ENOTCONN if self.local else EDESTADDRREQ)
            destination = self._destination()
        if len(data) > (self.send_buffer - 32 if self.local else MOST_UDP):
            raise Errno(EMSGSIZE)
        self.raise_error()
        if self.shut & 2:
            raise Errno(EPIPE)
        if not isinstance(destination, DatagramSocket) or destination.closed:
            if self.local:
                if self.peer is destination:
                    self.disconnect()
                raise Errno(ECONNREFUSED)
            if to_peer:
                self.error = ECONNREFUSED  # ICMP says so: the next call tells
                self.queue.wake()
            return len(data)
        if destination.local:
            if destination.peer is not None and destination.peer is not self:
                raise Errno(EPERM)
            if destination.shut & 1:
                raise Errno(EPIPE)
            if len(destination.inbox) > MOST_QUEUED or (
                destination.inbox and destination.size + len(data) > self.world.room_for(destination)
            ):
                raise Errno(EAGAIN)
        else:
            held = destination.size + len(destination.inbox) * OVERHEAD
            if held + len(data) > self.world.room_for(destination):
                return len(data)  # lost
            source = self._source(destination)
            peer_of = destination.peer_address
            if peer_of is not None and not isinstance(peer_of, bytes) and not isinstance(source, bytes):
                assert source is not None
                if peer_of.unmapped() != source.unmapped():
                    return len(data)  # it hears only whom it is connected to
            destination.deliver(Message(data, source, owner, list(files)))
            return len(data)
        destination.deliver(Message(data, self.address, owner, list(files), sender=self))
        return len(data)

    def _source(self, destination: DatagramSocket) -> InternetAddress:
        """Who is everywhere sends from the loopback."""
        own, target = self.address, destination.address
        assert isinstance(own, InternetAddress) and isinstance(target, InternetAddress)
        if not own.wildcard:
            return own
        short = len(target.unmapped().host) == 4 or self.family == S.AF_INET
        return own._replace(host=LOOPBACK_4 if short else LOOPBACK_6)

    def _destination(self) -> Socket | None:
        if self.local:
            return self.peer
        address = self.peer_address
        assert address is not None and not isinstance(address, bytes)
        found = self.world.ports[S.SOCK_DGRAM].find(address)
        return found if isinstance(found, Socket) else None

    def blocked_on(self, destination: Socket | None) -> Socket:
        """Whose queue a sender sleeps on that got EAGAIN."""
        return destination or self.peer or self

    @property
    def room_queue(self) -> WaitQueue:
        return self.blocked_on(None).queue

    def take(self, count: int, peek: bool) -> tuple[bytes, Message | None, int]:
        self.raise_error()
        if not self.inbox:
            if self.shut & 1 and not self.flags & O_NONBLOCK:
                return b"", None, 0  # only who would wait is told
            raise Errno(EAGAIN)
        message = self.inbox[0]
        if not peek:
            self.inbox.popleft()
            self.use_up(message, len(message.data))
            self.queue.wake(events=POLLOUT | POLLWRNORM)
            if self.peer is not None and self.peer.peer is self:
                self.peer.queue.wake(events=POLLOUT | POLLWRNORM)  # who polls sleeps on its own
        return message.data[:count], message, len(message.data)

    def poll(self) -> int:
        ready = 0
        if self.error:
            ready |= POLLERR
        if self.inbox or self.shut & 1:
            ready |= POLLIN | POLLRDNORM
        if self.shut & 1:
            ready |= EVENT_READ_HANGUP
        if self.shut == 3:
            ready |= POLLHUP
        peer = self.peer
        if peer is None or len(peer.inbox) <= MOST_QUEUED:
            ready |= POLLOUT | POLLWRNORM
        return ready
