"""Sockets: making, naming and connecting them. Data goes through `sys_message`, options through `sys_socket_option`.

Families: AF_UNIX, and AF_INET and AF_INET6 on the VM's own loopback; nothing else can be made or reached.
Source: socket(2), bind(2), listen(2), accept(2), connect(2), shutdown(2), socketpair(2); net/socket.c.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from sandbox.abi import sockets as S
from sandbox.abi.errno import (
    EACCES,
    EAFNOSUPPORT,
    EAGAIN,
    EINVAL,
    ENOTCONN,
    EOPNOTSUPP,
    EPERM,
    EPROTONOSUPPORT,
    ESOCKTNOSUPPORT,
    Errno,
)
from sandbox.abi.flags import O_NONBLOCK
from sandbox.kernel.lookup import install, opened
from sandbox.kernel.row import FULL, PARTIAL, Row
from sandbox.kernel.socket_address import (
    bind_anywhere,
    bind_to,
    expect_family,
    named_socket,
    owner_of,
    read_address,
    socket_of,
    source_for,
    write_address,
)
from sandbox.vfs.datagram_socket import DatagramSocket
from sandbox.vfs.ports import InternetAddress
from sandbox.vfs.socket import Address, Socket
from sandbox.vfs.stream_socket import StreamSocket
from sandbox.wait import Block

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

_PAIR = Struct("<ii")
_PROTOCOLS = {S.SOCK_STREAM: S.IPPROTO_TCP, S.SOCK_DGRAM: S.IPPROTO_UDP}


def _new(task: Task, family: int, kind: int, protocol: int, flags: int) -> Socket:
    if family not in (S.AF_UNIX, S.AF_INET, S.AF_INET6):
        raise Errno(EAFNOSUPPORT)
    if not 0 <= kind <= 10:
        raise Errno(EINVAL)
    if family == S.AF_UNIX:
        if protocol not in (0, S.AF_UNIX):
            raise Errno(EPROTONOSUPPORT)
        if kind == S.SOCK_RAW:
            kind = S.SOCK_DGRAM
        if kind not in (S.SOCK_STREAM, S.SOCK_DGRAM, S.SOCK_SEQPACKET):
            raise Errno(ESOCKTNOSUPPORT)
        protocol = 0
    else:
        if kind not in _PROTOCOLS:
            raise Errno((EPERM if protocol else EPROTONOSUPPORT) if kind == S.SOCK_RAW else ESOCKTNOSUPPORT)
        if kind == S.SOCK_DGRAM and protocol == S.IPPROTO_ICMP:
            raise Errno(EACCES)
        if protocol not in (0, _PROTOCOLS[kind]):
            raise Errno(EPROTONOSUPPORT)
        protocol = _PROTOCOLS[kind]
    made: type[Socket] = DatagramSocket if kind == S.SOCK_DGRAM else StreamSocket
    return made(task.kernel.sockets, family, kind, protocol, flags & O_NONBLOCK, owner_of(task))


def _kind(word: int) -> tuple[int, int]:
    flags = word & ~0xF
    if flags & ~(S.SOCK_NONBLOCK | S.SOCK_CLOEXEC):
        raise Errno(EINVAL)
    return word & 0xF, flags


def socket(task: Task, family: int, kind: int, protocol: int) -> int:
    plain, flags = _kind(kind)
    task.files.expect_room()
    return install(task, _new(task, family, plain, protocol, flags), bool(flags & S.SOCK_CLOEXEC))


def socketpair(task: Task, family: int, kind: int, protocol: int, pair: int) -> int:
    plain, flags = _kind(kind)
    first = _new(task, family, plain, protocol, flags)
    second = _new(task, family, plain, protocol, flags)
    if family != S.AF_UNIX:
        raise Errno(EOPNOTSUPP)
    if isinstance(first, StreamSocket) and isinstance(second, StreamSocket):  # noqa: SIM114  # each pairs with its kind
        first.pair_with(second)
    elif isinstance(first, DatagramSocket) and isinstance(second, DatagramSocket):
        first.pair_with(second)
    close_on_exec = bool(flags & S.SOCK_CLOEXEC)
    try:
        one = install(task, first, close_on_exec)
    except Errno:
        second.release()
        raise
    try:
        two = install(task, second, close_on_exec)
        try:
            task.space.copy_out(pair, _PAIR.pack(one, two))
        except Errno:
            task.files.close(two)
            raise
    except Errno:
        task.files.close(one)
        raise
    return 0


def bind(task: Task, fd: int, address: int, length: int) -> int:
    file = socket_of(task, fd)
    wanted = read_address(task, file, address, length, sending=False)
    if wanted is None:
        raise Errno(EAFNOSUPPORT)
    bind_to(task, file, wanted)
    return 0


def listen(task: Task, fd: int, backlog: int) -> int:
    file = socket_of(task, fd)
    if not isinstance(file, StreamSocket):
        raise Errno(EOPNOTSUPP)
    file.expect_listening()
    bind_anywhere(task, file)
    file.listen(backlog)
    return 0


def accept(task: Task, fd: int, address: int, length: int) -> int:
    return accept4(task, fd, address, length, 0)


def accept4(task: Task, fd: int, address: int, length: int, flags: int) -> int:
    opened(task, fd)
    if flags & ~(S.SOCK_NONBLOCK | S.SOCK_CLOEXEC):
        raise Errno(EINVAL)
    task.files.expect_room()
    file = socket_of(task, fd)
    try:
        accepted = file.accept(flags & O_NONBLOCK)
    except Errno as error:
        if error.number == EAGAIN and not file.flags & O_NONBLOCK:
            raise Block(file.queue) from None
        raise
    try:
        if address:
            write_address(task, file.family, accepted.peer_address, address, length)
    except Errno:
        accepted.release()
        raise
    return install(task, accepted, bool(flags & S.SOCK_CLOEXEC))


def connect(task: Task, fd: int, address: int, length: int) -> int:
    file = socket_of(task, fd)
    if isinstance(file, StreamSocket) and not file.local:
        family = task.space.copy_in(address, 2) if length >= 2 else b""
        if any(family) and file.resume_connect():
            return 0  # the address is not looked at
    target = _read_target(task, file, address, length)
    nonblocking = bool(file.flags & O_NONBLOCK)
    if isinstance(file, DatagramSocket):
        if target is None:
            file.disconnect()
            return 0
        if isinstance(target, InternetAddress):
            bind_anywhere(task, file)
            target = _reachable(target)
            expect_family(file, target)
            _settle(file, target)
        else:
            other = named_socket(task, file, target)
            assert other is not None
            file.connect(other, nonblocking)
        file.peer_address = target
        file.queue.wake()
        return 0
    assert isinstance(file, StreamSocket)
    if target is None:
        raise Errno(EOPNOTSUPP)
    if isinstance(target, InternetAddress):
        target = _reachable(target)
        source_for(target)
    listener = named_socket(task, file, target)
    if file.local:
        assert listener is not None
        file.expect_free(listener)
    if isinstance(target, InternetAddress):
        bind_anywhere(task, file, target)
    if not file.connected:  # else it is refused, and remains with whom it has
        file.peer_address = target
    if listener is None or not listener.listening:
        file.give_back()
        file.refuse(nonblocking)
        return 0
    listening_owner = listener.owner
    try:
        file.connect(listener, nonblocking)
    except Errno as error:
        if error.number == EAGAIN and not nonblocking:
            raise Block(listener.queue) from None
        raise
    file.peer_owner = listening_owner
    return 0


def _read_target(task: Task, file: Socket, address: int, length: int) -> Address | None:
    try:
        return read_address(task, file, address, length)
    except Errno:
        if isinstance(file, DatagramSocket) and length >= 2:
            bind_anywhere(task, file)  # UDP has a port before it looks at the address
        raise


def _settle(file: DatagramSocket, target: InternetAddress) -> None:
    """Who was everywhere is where its packets to `target` come from."""
    if isinstance(file.address, InternetAddress) and file.address.wildcard:
        host = source_for(target)
        host = host.mapped() if file.family == S.AF_INET6 else host
        file.address = file.world.ports[file.kind].narrow(file, host.host)


def _reachable(target: InternetAddress) -> InternetAddress:
    """0.0.0.0 means this machine."""
    if target.wildcard:
        return target._replace(
            host=source_for(target).mapped().host
            if len(target.host) == 16 and len(target.unmapped().host) == 4
            else source_for(target).host
        )
    source_for(target)
    return target


def shutdown(task: Task, fd: int, how: int) -> int:
    file = socket_of(task, fd)
    if not S.SHUT_RD <= how <= S.SHUT_RDWR:
        raise Errno(EINVAL)
    file.shutdown(how + 1)
    return 0


def getsockname(task: Task, fd: int, address: int, length: int) -> int:
    file = socket_of(task, fd)
    write_address(task, file.family, file.address, address, length)
    return 0


def getpeername(task: Task, fd: int, address: int, length: int) -> int:
    file = socket_of(task, fd)
    if not file.connected:
        raise Errno(ENOTCONN)
    peer = file.peer if isinstance(file, StreamSocket | DatagramSocket) and file.family == S.AF_UNIX else None
    write_address(task, file.family, file.peer_address if peer is None else peer.address, address, length)
    return 0


_FAMILIES = "AF_UNIX, and AF_INET and AF_INET6 on the loopback inside the machine"
_NAME = "fd:fd address:out length:inout"

ROWS: tuple[Row, ...] = (
    Row("socket", socket, "family:int kind:int protocol:int", PARTIAL, _FAMILIES),
    Row("socketpair", socketpair, "family:int kind:int protocol:int pair:out", FULL),
    Row("bind", bind, "fd:fd address:in length:int", FULL),
    Row("listen", listen, "fd:fd backlog:int", FULL),
    Row("accept", accept, _NAME, FULL),
    Row("accept4", accept4, f"{_NAME} flags:int", FULL),
    Row("connect", connect, "fd:fd address:in length:int", FULL),
    Row("shutdown", shutdown, "fd:fd how:int", FULL),
    Row("getsockname", getsockname, _NAME, FULL),
    Row("getpeername", getpeername, _NAME, FULL),
)
