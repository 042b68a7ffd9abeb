"""Socket addresses between guest memory and the VM's little network: sockaddr structures, and who is behind them.

A path of AF_UNIX goes through the guest's own tree with its permissions; the socket hangs on the inode there.
Neighbours: `sys_socket`, `sys_message`; `vfs.ports`. Source: unix(7), ip(7), ipv6(7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi import sockets as S
from sandbox.abi.errno import (
    EACCES,
    EADDRINUSE,
    EAFNOSUPPORT,
    ECONNREFUSED,
    EEXIST,
    EINVAL,
    ENETUNREACH,
    ENOTSOCK,
    EPROTOTYPE,
    Errno,
)
from sandbox.abi.flags import AT_FDCWD, S_IFMT, S_IFSOCK, W_OK
from sandbox.kernel.lookup import find, namespace, opened
from sandbox.vfs.node import check_access
from sandbox.vfs.ports import ANY_4, ANY_6, LOOPBACK_4, LOOPBACK_6, InternetAddress
from sandbox.vfs.socket import Address, Owner, Socket
from sandbox.vfs.tree_node import TreeSpecial

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

CAP_NET_BIND_SERVICE = 10
UNSPECIFIED = "unspecified"  # AF_UNSPEC: take a connection back


def socket_of(task: Task, fd: int) -> Socket:
    file = opened(task, fd)
    if not isinstance(file, Socket):
        raise Errno(ENOTSOCK)
    return file


def owner_of(task: Task) -> Owner:
    return Owner(task.tgid, task.credentials.euid, task.credentials.egid)


def read_address(
    task: Task, socket: Socket, address: int, length: int, sending: bool = True, refusal: int = EAFNOSUPPORT
) -> Address | None:
    """The sockaddr at `address`; None for AF_UNSPEC. Raises EINVAL, EAFNOSUPPORT, EFAULT. `sending`: not for bind,
    since UDP over IPv6 sends to the addresses of IPv4, too, unless IPV6_V6ONLY says `refusal`."""
    if not 0 <= length <= S.SOCKADDR_STORAGE:
        raise Errno(EINVAL)
    data = task.space.copy_in(address, length)
    if length < 2:
        raise Errno(EINVAL)
    family = int.from_bytes(data[:2], "little")
    if family == S.AF_UNSPEC and length <= S.SOCKADDR_STORAGE and socket.family != S.AF_UNIX:
        return None
    if socket.family == S.AF_UNIX:
        if length > 2 + S.UNIX_PATH_MAX:
            raise Errno(EINVAL)
        if family == S.AF_UNSPEC and socket.kind == S.SOCK_DGRAM:
            return None
        if family != S.AF_UNIX:
            raise Errno(EINVAL)
        name = data[2:]
        return name if name.startswith(b"\0") else name.split(b"\0", 1)[0]
    if socket.family == S.AF_INET:
        if length < S.SOCKADDR_IN.size:
            raise Errno(EINVAL)
        if family != S.AF_INET:
            raise Errno(EAFNOSUPPORT)
        _, port, host = S.SOCKADDR_IN.unpack_from(data)
        return InternetAddress(host, int.from_bytes(port, "big"))
    if family == S.AF_INET and socket.kind == S.SOCK_DGRAM and sending and length >= S.SOCKADDR_IN.size:
        if socket.option(S.IPPROTO_IPV6, S.IPV6_V6ONLY):
            raise Errno(refusal)
        _, port, host = S.SOCKADDR_IN.unpack_from(data)
        return InternetAddress(host, int.from_bytes(port, "big")).mapped()
    if length < 24:
        raise Errno(EINVAL)
    if family != S.AF_INET6:
        raise Errno(EAFNOSUPPORT)
    return InternetAddress(data[8:24], int.from_bytes(data[2:4], "big"))


def pack_address(family: int, address: Address | None) -> bytes:
    if family == S.AF_UNIX:
        assert not isinstance(address, InternetAddress)
        name = address or b""
        return S.AF_UNIX.to_bytes(2, "little") + name + (b"\0" if name and name[0] else b"")
    if not isinstance(address, InternetAddress):
        address = InternetAddress(ANY_4 if family == S.AF_INET else ANY_6, 0)
    port = address.port.to_bytes(2, "big")
    if family == S.AF_INET:
        return S.SOCKADDR_IN.pack(family, port, address.unmapped().host)
    return S.SOCKADDR_IN6.pack(family, port, 0, address.mapped().host, 0)


def write_address(task: Task, family: int, value: Address | None, address: int, length: int) -> None:
    """Into the caller's buffer, cut to it; the length says how long it would have been."""
    room = int.from_bytes(task.space.copy_in(length, 4), "little", signed=True)
    if room < 0:
        raise Errno(EINVAL)
    data = pack_address(family, value)
    task.space.copy_out(address, data[:room])
    task.space.copy_out(length, len(data).to_bytes(4, "little"))


# -- binding -----------------------------------------------------------------------------------------------


def bind_to(task: Task, socket: Socket, address: Address) -> None:
    if isinstance(address, InternetAddress):
        _expect_right(task, address)
    elif socket.address is not None and address and not address.startswith(b"\0"):
        try:
            namespace(task).expect_absent(task.fs.cwd, address)  # the name is looked at first
        except Errno as error:
            raise Errno(EADDRINUSE) if error.number == EEXIST else error from None
    if socket.bound:
        raise Errno(EINVAL)
    if isinstance(address, bytes):
        _bind_name(task, socket, address)
    else:
        bind_port(task, socket, address)
        socket.own_choice = bool(address.port)
        socket.own_host = not address.wildcard
        if socket.family == S.AF_INET6 and not address.wildcard and len(address.unmapped().host) == 16:
            socket.options[S.IPPROTO_IPV6, S.IPV6_V6ONLY] = 1  # as Linux does


def _bind_name(task: Task, socket: Socket, name: bytes) -> None:
    world = socket.world
    if not name:
        name = world.free_name()
    if name.startswith(b"\0"):
        if name in world.abstract:
            raise Errno(EADDRINUSE)
        world.abstract[name] = socket
    else:
        try:
            place = namespace(task).mknod(task.fs.cwd, name, S_IFSOCK | socket.node.mode & 0o777 & ~task.fs.umask)
        except Errno as error:
            raise Errno(EADDRINUSE) if error.number == EEXIST else error from None
        if isinstance(place.node, TreeSpecial):
            place.node.endpoint = socket
    socket.address = name


def _expect_right(task: Task, address: InternetAddress) -> None:
    if 0 < address.port < 1024 and not task.credentials.capable(CAP_NET_BIND_SERVICE):
        raise Errno(EACCES)


def bind_port(task: Task, socket: Socket, address: InternetAddress) -> None:
    v6_only = socket.family == S.AF_INET6 and socket.option(S.IPPROTO_IPV6, S.IPV6_V6ONLY)
    both = socket.family == S.AF_INET6 and address.host == ANY_6 and not v6_only
    reuse = bool(socket.option(S.SOL_SOCKET, S.SO_REUSEADDR) or socket.option(S.SOL_SOCKET, S.SO_REUSEPORT))
    socket.address = socket.world.ports[socket.kind].bind(socket, address, both, reuse)
    socket.stale = False


def bind_anywhere(task: Task, socket: Socket, destination: InternetAddress | None = None) -> None:
    """What connect, listen and sendto do for a socket without a port."""
    if socket.bound or socket.family == S.AF_UNIX:
        return
    wide = socket.family == S.AF_INET6
    host = ANY_6 if wide else ANY_4
    if destination is not None:
        host = source_for(destination).host
    address = InternetAddress(host, 0)
    bind_port(task, socket, address.mapped() if wide else address)


def source_for(destination: InternetAddress) -> InternetAddress:
    """What a packet to `destination` has as its source address."""
    plain = destination.unmapped()
    if not (plain.wildcard or plain.loopback):
        raise Errno(ENETUNREACH)
    return InternetAddress(LOOPBACK_4 if len(plain.host) == 4 else LOOPBACK_6, 0)


def expect_family(file: Socket, target: InternetAddress) -> None:
    """An IPv6 socket that is at an address of IPv4 cannot reach the others."""
    own = file.address
    if isinstance(own, InternetAddress) and not own.wildcard and len(own.unmapped().host) < len(target.unmapped().host):
        raise Errno(EAFNOSUPPORT)


def named_socket(task: Task, socket: Socket, address: Address) -> Socket | None:
    """Who is at `address`; None when nobody is at an internet address. Raises what connect(2) would."""
    if isinstance(address, InternetAddress):
        found = socket.world.ports[socket.kind].find(address)
        return found if isinstance(found, Socket) else None
    if address.startswith(b"\0"):
        other: object = socket.world.abstract.get(address)
    else:
        place = find(task, AT_FDCWD, address)
        check_access(place.node, task.credentials, W_OK)
        if place.node.mode & S_IFMT != S_IFSOCK:
            raise Errno(ECONNREFUSED)
        other = place.node.endpoint if isinstance(place.node, TreeSpecial) else None
    if not isinstance(other, Socket) or other.references <= 0:
        raise Errno(ECONNREFUSED)
    if other.kind != socket.kind:
        raise Errno(EPROTOTYPE)
    return other
