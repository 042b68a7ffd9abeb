"""Connected sockets: SOCK_STREAM of AF_UNIX and TCP, and SOCK_SEQPACKET, which keeps the borders of messages.

Two connected sockets refer to each other; data lies in the receiver's inbox. A connection to a listener makes the
second socket at once and puts it into the listener's backlog; nobody has to be awake for it. TCP differs from AF_UNIX
in what a program can see of its slower hand-shake: EINPROGRESS, and one write that still succeeds after the other side
has gone. Source: unix(7), tcp(7), connect(2), accept(2); net/unix/af_unix.c, net/ipv4/tcp.c.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from sandbox.abi import sockets as S
from sandbox.abi.errno import (
    EAGAIN,
    ECONNABORTED,
    ECONNREFUSED,
    ECONNRESET,
    EINPROGRESS,
    EINVAL,
    EISCONN,
    EMSGSIZE,
    ENOBUFS,
    ENOTCONN,
    EPIPE,
    Errno,
)
from sandbox.abi.flags import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM
from sandbox.vfs.node import OpenFile
from sandbox.vfs.ports import InternetAddress
from sandbox.vfs.socket import EVENT_READ_HANGUP, MOST_UNACCEPTED, Message, Owner, Socket, SocketFs

LEAST_ROOM = 2048  # poll says writable when so much fits


class StreamSocket(Socket):
    __slots__ = ("_backlog", "_connecting", "_limit", "_spoilt", "_was_connected", "peer")

    def __init__(self, world: SocketFs, family: int, kind: int, protocol: int, flags: int, owner: Owner) -> None:
        super().__init__(world, family, kind, protocol, flags, owner)
        self.peer: StreamSocket | None = None
        self._was_connected = False
        self._connecting = False  # TCP: the next connect tells how it went
        self._backlog: deque[StreamSocket] | None = None
        self._spoilt = False  # TCP: shut down while it connected
        self._limit = 0

    # -- connections --------------------------------------------------------------------------------------

    @property
    def listening(self) -> bool:
        return self._backlog is not None

    @property
    def connected(self) -> bool:
        return self._was_connected

    @property
    def local(self) -> bool:
        return self.family == S.AF_UNIX

    def pair_with(self, other: StreamSocket) -> None:
        """Both are connected to each other from now on."""
        for one, two in ((self, other), (other, self)):
            one.peer, one.peer_owner, one.peer_address = two, two.owner, two.address
            one._was_connected = True

    def expect_listening(self) -> None:
        if self._was_connected or self._connecting or (self.local and self.address is None):
            raise Errno(EINVAL)

    def listen(self, backlog: int) -> None:
        if self._backlog is None:
            self._backlog = deque()
        if not self.local:
            self.shut = 0  # only a shutdown from now on counts
        self._limit = min(backlog & 0xFFFFFFFF, S.SOMAXCONN)
        self.queue.wake()

    def resume_connect(self) -> bool:
        """A connect after EINPROGRESS: whether that is all it asks."""
        if self._spoilt:
            raise Errno(EINVAL)
        if self._connecting:
            self._connecting = False
            if self._was_connected:
                return True
            number, self.error, self.shut = self.error or ECONNABORTED, 0, 0
            if self.stale and not self.own_host and isinstance(self.address, InternetAddress):
                self.address = self.address._replace(host=bytes(len(self.address.host)))
            raise Errno(number)
        if self._was_connected or self.listening:
            raise Errno(EISCONN)
        return False

    def expect_free(self, other: Socket) -> None:
        """AF_UNIX looks at the other side first, and then whether this one may connect to it."""
        if isinstance(other, StreamSocket) and other._backlog is not None and not other.shut & 1:
            if len(other._backlog) > other._limit:
                return  # it waits, or is told to come again
            if self._was_connected or self.listening:
                raise Errno(EISCONN if self._was_connected else EINVAL)

    def refuse(self, nonblocking: bool) -> None:
        """TCP: nobody listens there."""
        if nonblocking and not self.local:
            self.error = ECONNREFUSED
            self.shut = 3
            self._connecting = True
            self.queue.wake()
            raise Errno(EINPROGRESS)
        raise Errno(ECONNREFUSED)

    def connect(self, other: Socket, nonblocking: bool) -> None:
        if not isinstance(other, StreamSocket) or other._backlog is None or other.shut & 1:
            self.refuse(nonblocking)
            return
        if len(other._backlog) > other._limit:
            raise Errno(EAGAIN)  # sleeps on the listener's queue
        if self.world.unaccepted >= MOST_UNACCEPTED:
            raise Errno(ENOBUFS)
        self.world.unaccepted += 1
        accepted = StreamSocket(self.world, other.family, self.kind, self.protocol, 0, other.owner)
        accepted.address = self.peer_address if self.peer_address is not None else other.address
        accepted.receive_buffer, accepted.send_buffer = other.receive_buffer, other.send_buffer
        accepted.options = dict(other.options)
        target = self.peer_address
        self.pair_with(accepted)
        if target is not None:
            self.peer_address = target
        other._backlog.append(accepted)
        other.queue.wake()
        if nonblocking and not self.local:
            self._connecting = True
            self.queue.wake()
            raise Errno(EINPROGRESS)

    def accept(self, flags: int) -> Socket:
        if self._backlog is None:
            raise Errno(EINVAL)
        if not self._backlog:
            if self.shut & 1:
                raise Errno(EINVAL)
            raise Errno(EAGAIN)
        accepted = self._backlog.popleft()
        self.world.unaccepted -= 1
        accepted.flags |= flags
        self.queue.wake()
        return accepted

    def shutdown(self, how: int) -> None:
        if self.listening:
            if self.local:
                self.shut |= how
            elif how & 1:
                self._drop_backlog()
                self.shut = 0  # it is as new then
            self.queue.wake()
            return
        self.shut |= how
        if not (self._was_connected or self.local):
            self._spoilt = self._connecting
            raise Errno(ENOTCONN)  # and still it has happened
        self.queue.wake()
        peer = self.peer
        if peer is not None:
            if self.local:
                peer.shut |= (how & 1) << 1 | how >> 1
            elif how & 2:
                peer.shut |= 1
            peer.queue.wake()

    def close(self) -> None:
        self.unbind()
        self._drop_backlog()
        unread = len(self.inbox) > 1 or (bool(self.inbox) and self.inbox[0].left > 0)  # Linux passes over an empty one
        self.empty()
        peer, self.peer = self.peer, None
        if peer is not None:
            peer.peer = None
            if self.local:
                peer.peer_address = self.address
            peer.shut |= 3 if self.local else 1
            if unread:
                peer.error = ECONNRESET if self.local or not self.shut & 2 else EPIPE
                peer.broken = True
            peer.queue.wake()
        self.queue.wake()

    def _drop_backlog(self) -> None:
        backlog, self._backlog = self._backlog, None
        for waiting in backlog or ():
            self.world.unaccepted -= 1
            if waiting.peer is not None:
                waiting.peer.error = ECONNRESET
                waiting.peer.broken = True
            waiting.release()

    # -- data ---------------------------------------------------------------------------------------------

    def transmit(self, data: bytes, destination: Socket | None, files: Sequence[OpenFile], owner: Owner) -> int:
        if not self.local or self.kind == S.SOCK_SEQPACKET:
            self.raise_error()
        if not self._was_connected:
            raise Errno(ENOTCONN if self.local else EPIPE)
        peer = self.peer
        if self.shut & 2 or self.broken:
            raise Errno(EPIPE)
        if peer is None:
            self.broken = True  # TCP: the answer to this is a reset, so the next one fails
            if self.local:
                raise Errno(EPIPE)
            return len(data)
        if peer.shut & 1 and self.local:
            raise Errno(EPIPE)
        room = self.world.room_for(peer) - peer.size
        if self.kind == S.SOCK_SEQPACKET:
            if len(data) > self.send_buffer - 32:
                raise Errno(EMSGSIZE)
            if room < len(data) and peer.inbox:
                raise Errno(EAGAIN)
        elif room <= 0:
            raise Errno(EAGAIN)
        else:
            data = data[:room]
        if not data and self.kind == S.SOCK_STREAM:
            self.world.discard(Message(b"", files=list(files)))  # nothing to lie beside
        else:
            last = peer.inbox[-1] if peer.inbox else None
            if (
                last is not None
                and self.kind == S.SOCK_STREAM
                and not (files or last.files or last.taken)
                and last.owner == owner
                and len(last.data) + len(data) <= 4096
            ):
                last.data += data  # many small writes do not make many messages
                peer.size += len(data)
                self.world.held += len(data)
                peer.queue.wake(events=POLLIN | POLLRDNORM)
            else:
                peer.deliver(Message(data, None, owner, list(files), sender=self if self.local else None))
        return len(data)

    def take(self, count: int, peek: bool) -> tuple[bytes, Message | None, int]:
        if not self._was_connected:
            if self.local:
                raise Errno(EINVAL if self.kind == S.SOCK_STREAM else ENOTCONN)
            self.raise_error()
            if self.shut & 1 and not self.listening:
                return b"", None, 0
            raise Errno(ENOTCONN)
        if self.kind == S.SOCK_SEQPACKET:
            self.raise_error()
        if not self.inbox:
            self.raise_error()
            if self.shut & 1 or self.peer is None:
                return b"", None, 0
            raise Errno(EAGAIN)
        if self.kind == S.SOCK_SEQPACKET:
            message = self.inbox[0]
            data = message.data[:count]
            if not peek:
                self.inbox.popleft()
                self.use_up(message, len(message.data))
                self._tell_peer()
            return data, message, len(message.data)
        pieces: list[bytes] = []
        first = self.inbox[0]
        for message in list(self.inbox) if peek else iter(self._first, None):
            if message is not first and self.local and message.owner != first.owner and self._tells_owner():
                break
            piece = message.data[message.taken : message.taken + count]
            pieces.append(piece)
            count -= len(piece)
            if not peek:
                self.use_up(message, len(piece))
                if not message.left:
                    self.inbox.popleft()
            if message.files:
                first = message  # what lies beside it ends what is read at once
                break
            if not count:
                break
        if not peek:
            self._tell_peer()
        data = b"".join(pieces)
        return data, first, len(data)

    def _first(self) -> Message | None:
        return self.inbox[0] if self.inbox else None

    def _tells_owner(self) -> bool:
        return bool(self.option(S.SOL_SOCKET, S.SO_PASSCRED))

    def _tell_peer(self) -> None:
        if self.peer is not None:
            self.peer.queue.wake(events=POLLOUT | POLLWRNORM)

    def poll(self) -> int:
        if self._backlog is not None:
            return POLLIN | POLLRDNORM if self._backlog else 0
        ready = 0
        if self.error:
            ready |= POLLERR
        if not self._was_connected:
            if self.shut & 1:
                ready |= POLLIN | POLLRDNORM | EVENT_READ_HANGUP
            return ready | POLLOUT | POLLWRNORM | POLLHUP
        gone = self.peer is None and (self.local or self.shut & 2 or self.broken)
        if self.inbox or self.shut & 1 or self.peer is None:
            ready |= POLLIN | POLLRDNORM
        if self.shut & 1 or self.peer is None:
            ready |= EVENT_READ_HANGUP
        if self.shut == 3 or gone:
            ready |= POLLHUP
        peer = self.peer
        if peer is None or self.shut & 2 or self.world.room_for(peer) - peer.size >= LEAST_ROOM:
            ready |= POLLOUT | POLLWRNORM
        return ready
