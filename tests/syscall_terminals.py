"""Pseudo terminals for the tests of ioctl and job control: how to get one, type, read and change its settings."""

from __future__ import annotations

import struct

from sandbox.abi.flags import O_NOCTTY, O_RDWR
from sandbox.abi.structs import TERMIOS
from sandbox.vfs import termios as T
from tests.syscall_cases import World

TCGETS, TCSETS, TCSETSF, TCFLSH, TCXONC = 0x5401, 0x5402, 0x5404, 0x540B, 0x540A
TIOCSCTTY, TIOCGPGRP, TIOCSPGRP, TIOCNOTTY, TIOCGSID = 0x540E, 0x540F, 0x5410, 0x5422, 0x5429
TIOCGWINSZ, TIOCSWINSZ, FIONREAD, FIONBIO, FIOCLEX, FIONCLEX, FIGETBSZ = (
    0x5413, 0x5414, 0x541B, 0x5421, 0x5451, 0x5450, 2,
)  # fmt: skip
TIOCGPTN, TIOCSPTLCK, TIOCGPTPEER, TIOCOUTQ = 0x80045430, 0x40045431, 0x5441, 0x5411


def number(w: World, fd: int, request: int) -> int:
    buffer = w.memory(b"\xff" * 8)
    result = w.call("ioctl", fd, request, buffer)
    return result if result < 0 else struct.unpack("<i", w.peek(buffer, 4))[0]


def put(w: World, fd: int, request: int, value: int) -> int:
    return w.call("ioctl", fd, request, w.memory(struct.pack("<i", value)))


def read(w: World, fd: int, count: int = 256) -> bytes:
    buffer = bytearray(count)
    result = w.call("read", fd, buffer, count)
    assert result >= 0, result
    return bytes(buffer[:result])


def exactly(w: World, fd: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = read(w, fd, count - len(data))
        assert piece
        data += piece
    return data


def write(w: World, fd: int, data: bytes) -> None:
    assert w.call("write", fd, data, len(data)) == len(data)


def terminal_pair(w: World) -> tuple[int, int]:
    master = w.open(b"/dev/ptmx", O_RDWR | O_NOCTTY)
    assert put(w, master, TIOCSPTLCK, 0) == 0
    slave = w.call("ioctl", master, TIOCGPTPEER, O_RDWR | O_NOCTTY)
    assert slave == master + 1
    return master, slave


def settings(w: World, fd: int) -> list[int | bytes]:
    buffer = w.memory(bytes(TERMIOS.size))
    assert w.call("ioctl", fd, TCGETS, buffer) == 0
    return list(TERMIOS.unpack(w.peek(buffer, TERMIOS.size)))


def configure(w: World, fd: int, request: int = TCSETS, **change: int) -> None:
    """`set_local=...` and `clear_local=...`, and so on; `vmin` and `vtime`."""
    values = settings(w, fd)
    for index, name in enumerate(("input", "output", "control", "local")):
        old = values[index]
        assert isinstance(old, int)
        values[index] = (old | change.get(f"set_{name}", 0)) & ~change.get(f"clear_{name}", 0)
    characters = values[5]
    assert isinstance(characters, bytes)
    changed = bytearray(characters)
    changed[T.VMIN] = change.get("vmin", changed[T.VMIN])
    changed[T.VTIME] = change.get("vtime", changed[T.VTIME])
    values[5] = bytes(changed)
    assert w.call("ioctl", fd, request, w.memory(TERMIOS.pack(*values))) == 0
