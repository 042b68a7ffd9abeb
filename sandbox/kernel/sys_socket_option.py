"""getsockopt and setsockopt: structures and numbers; what most options are is `vfs.socket.OPTIONS`.
Source: socket(7), tcp(7), getsockopt(2); net/core/sock.c.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from sandbox.abi import sockets as S
from sandbox.abi.errno import EDOM, EINVAL, ENOPROTOOPT, Errno
from sandbox.abi.structs import NANOSECONDS, PAIR
from sandbox.kernel.row import PARTIAL, Row
from sandbox.kernel.socket_address import socket_of

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

_WIDE = Struct("<qq")
_TIMEOUTS = {
    S.SO_RCVTIMEO: S.SO_RCVTIMEO,
    S.SO_SNDTIMEO: S.SO_SNDTIMEO,
    S.SO_RCVTIMEO_NEW: S.SO_RCVTIMEO,
    S.SO_SNDTIMEO_NEW: S.SO_SNDTIMEO,
}


def _timeval(task: Task, name: int) -> Struct:
    return PAIR[task.word] if name in (S.SO_RCVTIMEO, S.SO_SNDTIMEO) else _WIDE


def getsockopt(task: Task, fd: int, level: int, name: int, value: int, length: int) -> int:
    file = socket_of(task, fd)
    room = int.from_bytes(task.space.copy_in(length, 4), "little", signed=True)
    if room < 0:
        raise Errno(EINVAL)
    if level == S.SOL_SOCKET and name in _TIMEOUTS:
        nanoseconds = file.options.get((level, _TIMEOUTS[name]), 0)
        data = _timeval(task, name).pack(nanoseconds // NANOSECONDS, nanoseconds % NANOSECONDS // 1000)
    elif level == S.SOL_SOCKET and name == S.SO_LINGER:
        setting = file.options.get((level, name), 0)
        data = S.LINGER.pack(setting & 1, setting >> 1)
    elif level == S.SOL_SOCKET and name == S.SO_PEERCRED:
        owner = file.peer_owner
        data = S.UCRED.pack(owner.pid, owner.uid, owner.gid)
    else:
        number = file.option(level, name) & 0xFFFFFFFF
        data = number.to_bytes(4, "little")
        if level == S.IPPROTO_IP and 0 < room < 4 and number <= 255:
            data = data[:1]
    data = data[:room]
    task.space.copy_out(value, data)
    task.space.copy_out(length, len(data).to_bytes(4, "little"))
    return 0


def setsockopt(task: Task, fd: int, level: int, name: int, value: int, length: int) -> int:
    file = socket_of(task, fd)
    if length < 0:
        raise Errno(EINVAL)
    file.expect_level(level)
    if level == S.SOL_SOCKET and length < 4:
        raise Errno(EINVAL)
    space = task.space
    if level == S.SOL_SOCKET and name in _TIMEOUTS:
        layout = _timeval(task, name)
        if length < layout.size:
            raise Errno(EINVAL)
        seconds, micro = layout.unpack(space.copy_in(value, layout.size))
        if not 0 <= micro < 1_000_000:
            raise Errno(EDOM)
        file.options[level, _TIMEOUTS[name]] = max(0, min(seconds, 1 << 32) * NANOSECONDS + micro * 1000)
        return 0
    if level == S.SOL_SOCKET and name == S.SO_LINGER:
        if length < S.LINGER.size:
            raise Errno(EINVAL)
        on, seconds = S.LINGER.unpack(space.copy_in(value, S.LINGER.size))
        file.options[level, name] = int(on != 0) | (seconds & 0x7FFFFFFF) << 1
        return 0
    if level == S.SOL_SOCKET and name in (S.SO_TYPE, S.SO_ERROR, S.SO_PROTOCOL, S.SO_DOMAIN, S.SO_ACCEPTCONN):
        raise Errno(ENOPROTOOPT)
    if length < 4 and not (level in (S.IPPROTO_IP, S.IPPROTO_IPV6) and length):
        raise Errno(EINVAL)
    if (level, name) == (S.IPPROTO_IPV6, S.IPV6_V6ONLY) and (length < 4 or file.bound):
        raise Errno(EINVAL)
    number = int.from_bytes(space.copy_in(value, min(length, 4)), "little", signed=True)
    file.set_option(level, name, number)
    return 0


_KEPT = "the usual options; many are kept and mean nothing on a loopback"

ROWS: tuple[Row, ...] = (
    Row("getsockopt", getsockopt, "fd:fd level:int name:int value:out length:inout", PARTIAL, _KEPT),
    Row("setsockopt", setsockopt, "fd:fd level:int name:int value:in length:int", PARTIAL, _KEPT),
)
