"""socketcall(2): the one call through which i386 did all socket calls, with their arguments in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.abi.errno import EINVAL, Errno
from sandbox.kernel import sys_message, sys_socket, sys_socket_option
from sandbox.kernel.row import FULL, Row

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

# In the order of their numbers, from 1; which arguments are signed, by position.
_CALLS: tuple[tuple[Callable[..., int], str], ...] = (
    (sys_socket.socket, "iii"),
    (sys_socket.bind, "iui"),
    (sys_socket.connect, "iui"),
    (sys_socket.listen, "ii"),
    (sys_socket.accept, "iuu"),
    (sys_socket.getsockname, "iuu"),
    (sys_socket.getpeername, "iuu"),
    (sys_socket.socketpair, "iiiu"),
    (sys_message.send, "iuui"),
    (sys_message.recv, "iuui"),
    (sys_message.sendto, "iuuiui"),
    (sys_message.recvfrom, "iuuiuu"),
    (sys_socket.shutdown, "ii"),
    (sys_socket_option.setsockopt, "iiiui"),
    (sys_socket_option.getsockopt, "iiiuu"),
    (sys_message.sendmsg, "iui"),
    (sys_message.recvmsg, "iui"),
    (sys_socket.accept4, "iuui"),
    (sys_message.recvmmsg, "iuuiu"),
    (sys_message.sendmmsg, "iuui"),
)


def socketcall(task: Task, call: int, arguments: int) -> int:
    if not 1 <= call <= len(_CALLS):
        raise Errno(EINVAL)
    handler, kinds = _CALLS[call - 1]
    words = task.space.copy_in_words(arguments, len(kinds), 4)
    return handler(
        task,
        *(word - (1 << 32) if kind == "i" and word >> 31 else word for word, kind in zip(words, kinds, strict=True)),
    )


ROWS: tuple[Row, ...] = (Row("socketcall", socketcall, "call:int arguments:in", FULL, isas=("i386",)),)
