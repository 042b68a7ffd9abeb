"""The settings of a terminal: what the bits of struct termios mean, and what a new terminal starts with.

Values are the generic ones, the same on all five ISAs (`asm-generic/termbits.h`). Source: termios(3).
"""

from __future__ import annotations

from sandbox.abi.structs import TERMIOS, TERMIOS2

# c_iflag
IGNBRK, BRKINT, IGNPAR, PARMRK, INPCK, ISTRIP, INLCR, IGNCR, ICRNL = 1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0x100
IUCLC, IXON, IXANY, IXOFF, IMAXBEL, IUTF8 = 0x200, 0x400, 0x800, 0x1000, 0x2000, 0x4000
# c_oflag
OPOST, OLCUC, ONLCR, OCRNL, ONOCR, ONLRET = 1, 2, 4, 8, 0x10, 0x20
XTABS = 0x1800
# c_cflag
B38400, CBAUD, CSIZE, CS8, CREAD, HUPCL, CLOCAL = 0xF, 0x100F, 0x30, 0x30, 0x80, 0x400, 0x800
# c_lflag
ISIG, ICANON, XCASE, ECHO, ECHOE, ECHOK, ECHONL, NOFLSH, TOSTOP = 1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0x100
ECHOCTL, ECHOPRT, ECHOKE, IEXTEN = 0x200, 0x400, 0x800, 0x8000
# indices of c_cc
VINTR, VQUIT, VERASE, VKILL, VEOF, VTIME, VMIN, VSWTC, VSTART, VSTOP, VSUSP = range(11)
VEOL, VREPRINT, VDISCARD, VWERASE, VLNEXT, VEOL2 = range(11, 17)
NCCS = 19
DISABLED = 0  # _POSIX_VDISABLE: a control character that is switched off

_DEFAULT_CHARACTERS = bytes(
    (0x03, 0x1C, 0x7F, 0x15, 0x04, 0, 1, 0, 0x11, 0x13, 0x1A, 0, 0x12, 0x0F, 0x17, 0x16, 0, 0, 0)
)


class Termios:
    """`characters` are the 19 bytes of c_cc."""

    __slots__ = ("characters", "control", "input", "input_speed", "line", "local", "output", "output_speed")

    def __init__(self) -> None:
        self.input = ICRNL | IXON
        self.output = OPOST | ONLCR
        self.control = B38400 | CS8 | CREAD
        self.local = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN
        self.line = 0
        self.characters = _DEFAULT_CHARACTERS
        self.input_speed = self.output_speed = 38400

    def pack(self) -> bytes:
        return TERMIOS.pack(*self._fields())

    def pack2(self) -> bytes:
        """struct termios2, with the speeds as numbers."""
        return TERMIOS2.pack(*self._fields(), self.input_speed, self.output_speed)

    def _fields(self) -> tuple[int, int, int, int, int, bytes]:
        return self.input, self.output, self.control, self.local, self.line, self.characters

    def unpack(self, data: bytes) -> None:
        self.input, self.output, self.control, self.local, _, self.characters = TERMIOS.unpack(data)

    def unpack2(self, data: bytes) -> None:
        self.unpack(data[: TERMIOS.size])
        self.input_speed, self.output_speed = TERMIOS2.unpack(data)[-2:]
