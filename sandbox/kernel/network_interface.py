"""The one network interface of a machine, lo, as ioctl shows it: what ifconfig, if_nametoindex and the like ask of a
socket. It is always up and cannot be changed; asking for what it is already succeeds.
Source: netdevice(7); net/core/dev_ioctl.c, net/ipv4/devinet.c.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from sandbox.abi import sockets as S
from sandbox.abi.errno import EINVAL, ENODEV, ENOTTY, EPERM, Errno

if TYPE_CHECKING:
    from sandbox.kernel.task import Task
    from sandbox.vfs.socket import Socket

SIOCATMARK = 0x8905
SIOCGIFNAME, SIOCGIFCONF, SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCGIFADDR, SIOCSIFADDR = 0x8910, *range(0x8912, 0x8917)
SIOCGIFDSTADDR, SIOCGIFBRDADDR, SIOCGIFNETMASK, SIOCSIFNETMASK = 0x8917, 0x8919, 0x891B, 0x891C
SIOCGIFMETRIC, SIOCGIFMTU, SIOCSIFMTU, SIOCGIFHWADDR, SIOCGIFINDEX = 0x891D, 0x8921, 0x8922, 0x8927, 0x8933
SIOCGIFTXQLEN, SIOCGIFMAP = 0x8942, 0x8970

NAME, INDEX, MTU = b"lo", 1, 65536
UP, LOOPBACK, RUNNING = 1, 8, 0x40
_NAME_SIZE = 16
_INT = Struct("<i")
_HARDWARE = (772).to_bytes(2, "little") + bytes(14)  # ARPHRD_LOOPBACK
_REQUEST = {8: 40, 4: 32}  # sizeof(struct ifreq)
_CONF = {8: Struct("<i4xQ"), 4: Struct("<iI")}


def _address(*host: int) -> bytes:
    return S.SOCKADDR_IN.pack(S.AF_INET, bytes(2), bytes(host)).ljust(16, b"\0")


_ANY_FAMILY = {
    SIOCGIFFLAGS: (UP | LOOPBACK | RUNNING).to_bytes(2, "little"),
    SIOCGIFMETRIC: _INT.pack(0),
    SIOCGIFMTU: _INT.pack(MTU),
    SIOCGIFHWADDR: _HARDWARE,
    SIOCGIFINDEX: _INT.pack(INDEX),
    SIOCGIFTXQLEN: _INT.pack(1000),
    SIOCGIFMAP: bytes(24),
}
_INTERNET = {
    SIOCGIFADDR: _address(127, 0, 0, 1),
    SIOCGIFDSTADDR: _address(127, 0, 0, 1),
    SIOCGIFBRDADDR: _address(0, 0, 0, 0),
    SIOCGIFNETMASK: _address(255, 0, 0, 0),
}
# What a request to set something is compared with, and how much of it.
_SETTINGS = {
    SIOCSIFFLAGS: (UP.to_bytes(1, "little"), 1),
    SIOCSIFADDR: (_INTERNET[SIOCGIFADDR][:8], 8),
    SIOCSIFNETMASK: (_INTERNET[SIOCGIFNETMASK][:8], 8),
    SIOCSIFMTU: (_INT.pack(MTU), 4),
}


def concerns(request: int) -> bool:
    """Whether it is a request to sockets, and not to files in general."""
    return request >> 8 == 0x89


def ioctl(task: Task, socket: Socket, request: int, argument: int) -> int:
    space = task.space
    if request == SIOCATMARK and socket.family != S.AF_UNIX and socket.kind == S.SOCK_STREAM:
        space.copy_out(argument, _INT.pack(0))
        return 0
    if request == SIOCGIFCONF:
        return _list(task, argument)
    if request == SIOCGIFNAME:
        size = _REQUEST[task.word]
        data = space.copy_in(argument, size)
        if _INT.unpack_from(data, _NAME_SIZE)[0] != INDEX:
            raise Errno(ENODEV)
        space.copy_out(argument, NAME.ljust(_NAME_SIZE, b"\0") + data[_NAME_SIZE:])
        return 0
    answers = _ANY_FAMILY | _INTERNET if socket.family == S.AF_INET else _ANY_FAMILY
    if request not in answers and request not in _SETTINGS:
        raise Errno(ENOTTY)
    data = space.copy_in(argument, _REQUEST[task.word])
    if request in _SETTINGS:
        return _set(task, request, data)
    _expect_known(data)
    space.copy_out(argument + _NAME_SIZE, answers[request][: len(data) - _NAME_SIZE])
    return 0


def _expect_known(data: bytes) -> None:
    name = data[: _NAME_SIZE - 1].split(b"\0", 1)[0]
    if name != NAME:
        raise Errno(ENODEV)


def _set(task: Task, request: int, data: bytes) -> int:
    if not task.credentials.capable(12):  # CAP_NET_ADMIN
        raise Errno(EPERM)
    _expect_known(data)
    present, length = _SETTINGS[request]
    wanted = data[_NAME_SIZE : _NAME_SIZE + length]
    if request == SIOCSIFFLAGS:
        wanted = bytes((wanted[0] & UP,))
    if wanted != present:
        raise Errno(EPERM)
    return 0


def _list(task: Task, argument: int) -> int:
    """SIOCGIFCONF: all interfaces with an address; without a buffer, how large one has to be."""
    layout, size = _CONF[task.word], _REQUEST[task.word]
    room, buffer = layout.unpack(task.space.copy_in(argument, layout.size))
    if room < 0:
        raise Errno(EINVAL)
    used = size if not buffer or room >= size else 0
    if buffer and used:
        entry = NAME.ljust(_NAME_SIZE, b"\0") + _INTERNET[SIOCGIFADDR]
        task.space.copy_out(buffer, entry.ljust(size, b"\0"))
    task.space.copy_out(argument, _INT.pack(used))
    return 0
