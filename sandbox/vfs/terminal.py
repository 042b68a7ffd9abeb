"""Terminals: a device with a screen side and a program side, and a line discipline between them.

The screen side types with `type` and takes what is shown with `take_output`; that is a console of the host, or the
master of a pseudo terminal (`pty`). The program side is a `TerminalFile`. Signals that control characters ask for go
to the foreground process group through `on_signal`: this layer knows no processes, only numbers. Who may read and
write in the background is the kernel's business (`kernel.job_control`).
Neighbours: `termios`, `line_discipline`. Source: termios(3), ioctl_tty(2), drivers/tty/tty_io.c.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.abi.errno import EAGAIN, EBADF, EINVAL, EIO, ENOTTY, ESPIPE, Errno
from sandbox.abi.flags import (
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDNORM,
    POLLWRNORM,
)
from sandbox.abi.signals import SIGCONT, SIGHUP, SIGWINCH
from sandbox.abi.structs import TERMIOS, TERMIOS2, WINSIZE
from sandbox.vfs import termios as T
from sandbox.vfs.line_discipline import BACKLOG, LineDiscipline
from sandbox.vfs.node import Node, OpenFile
from sandbox.vfs.termios import Termios
from sandbox.wait import WaitQueue

if TYPE_CHECKING:
    from sandbox.memory import AddressSpace

TCGETS, TCSETS, TCSETSW, TCSETSF = 0x5401, 0x5402, 0x5403, 0x5404
TCGETS2, TCSETS2, TCSETSW2, TCSETSF2 = 0x802C542A, 0x402C542B, 0x402C542C, 0x402C542D
TCSBRK, TCXONC, TCFLSH, TIOCEXCL, TIOCNXCL = 0x5409, 0x540A, 0x540B, 0x540C, 0x540D
TIOCOUTQ, TIOCSTI, TIOCGWINSZ, TIOCSWINSZ = 0x5411, 0x5412, 0x5413, 0x5414
FIONREAD, TIOCSETD, TIOCGETD, TCSBRKP = 0x541B, 0x5423, 0x5424, 0x5425
TCOOFF, TCOON, TCIOFF, TCION = range(4)
TCIFLUSH, TCOFLUSH, TCIOFLUSH = range(3)

PIECE = 4096  # bytes that `drain` offers at once
OUTPUT_ROOM = 65536  # bytes shown that the screen side has not taken yet; beyond it writers wait


class Terminal:
    """`device` is its number, `session` and `foreground` ids of the kernel's (0 and -1: none)."""

    def __init__(self, device: int, rows: int = 24, columns: int = 80) -> None:
        self.device = device
        self.session = 0
        self.foreground = -1
        self.settings = Termios()
        self.discipline = LineDiscipline(self.settings)
        self.window = (rows, columns, 0, 0)
        self.queue = WaitQueue()
        self.hung_up = False
        self.opens = 0  # open files on the program side
        self.on_signal: Callable[[int, int], None] | None = None  # (process group, signal)
        self.on_output: Callable[[], None] | None = None  # there is something to take
        self.on_room: Callable[[], None] | None = None  # more can be typed, after there was no room for it
        self.on_wanted: Callable[[], None] | None = None  # a reader finds nothing
        self.on_packet: Callable[[int], None] | None = None  # TIOCPKT_* of what happened to the program side
        self.on_close: Callable[[], None] | None = None  # the last program has closed it
        self._output = bytearray()

    # -- the screen side --------------------------------------------------------------------------------

    def type(self, data: bytes) -> None:
        """Keys, as they come from a keyboard."""
        discipline = self.discipline
        discipline.type(data)
        if discipline.echo:
            shown = discipline.cook(bytes(discipline.echo))
            discipline.echo.clear()
            if len(self._output) + len(shown) <= OUTPUT_ROOM:
                self._show(shown)
        asked, discipline.signals = discipline.signals, []
        for number in dict.fromkeys(asked):  # however often: nobody has run in between
            self.signal(number)
        self.queue.wake()

    def take_output(self, count: int = OUTPUT_ROOM) -> bytes:
        data = bytes(self._output[:count])
        del self._output[:count]
        if data:
            self.queue.wake()
        return data

    def drain(self, take: Callable[[bytes], int]) -> None:
        """Offer what is shown to `take` for as long as it takes some of it; it returns how many bytes it took."""
        while self._output:
            taken = take(bytes(self._output[:PIECE]))
            if not taken:
                return
            del self._output[:taken]
            self.queue.wake()

    @property
    def room(self) -> int:
        """Bytes that can be typed before the programs have read some; beyond it keys are lost."""
        return max(0, BACKLOG - self.discipline.waiting)

    @property
    def shown(self) -> int:
        """Bytes that wait to be taken."""
        return len(self._output)

    def resize(self, rows: int, columns: int, x_pixels: int = 0, y_pixels: int = 0) -> None:
        window = (rows, columns, x_pixels, y_pixels)
        if window != self.window:
            self.window = window
            self.signal(SIGWINCH)

    def hang_up(self) -> None:
        """The screen side is gone: reads end, writes fail, the session leader is told."""
        if not self.hung_up:
            self.hung_up = True
            if self.session:
                self._signal_group(self.session, SIGHUP)
                self._signal_group(self.session, SIGCONT)
            self.queue.wake()

    # -- the program side -------------------------------------------------------------------------------

    def read(self, count: int) -> bytes:
        if self.hung_up:
            return b""
        discipline = self.discipline
        if not count:
            return b""
        if not self.has_input():
            characters = self.settings.characters
            if discipline.canonical or characters[T.VMIN] or characters[T.VTIME]:
                raise Errno(EAGAIN)
            return b""
        was_full = not self.room
        data = discipline.take(count)
        if was_full:
            self._tell_room()
        return data

    def has_input(self) -> bool:
        """Whether a read would get something, after telling the screen side that a reader is there."""
        if not self.discipline.has_input() and self.on_wanted is not None:
            self.on_wanted()
        return self.discipline.has_input()

    def _tell_room(self) -> None:
        self.queue.wake()
        if self.room and self.on_room is not None:
            self.on_room()

    @property
    def read_timeout(self) -> int | None:
        """Nanoseconds after which a read without input ends (VTIME with VMIN 0); None: never."""
        characters = self.settings.characters
        if self.discipline.canonical or characters[T.VMIN] or not characters[T.VTIME]:
            return None
        return characters[T.VTIME] * 100_000_000

    def write(self, data: bytes) -> int:
        if self.hung_up:
            raise Errno(EIO)
        room = OUTPUT_ROOM - len(self._output)
        if not data:
            return 0
        if room <= 0 or self.discipline.stopped:
            raise Errno(EAGAIN)
        data = data[:room]
        self._show(self.discipline.cook(data))
        return len(data)

    def _show(self, data: bytes) -> None:
        self._output += data
        if self.on_output is not None:
            self.on_output()
        self.queue.wake()

    def signal(self, number: int) -> None:
        """To the foreground process group."""
        if self.foreground > 0:
            self._signal_group(self.foreground, number)

    def _signal_group(self, group: int, number: int) -> None:
        if self.on_signal is not None:
            self.on_signal(group, number)

    def leader_ended(self, process: object) -> None:
        """The session's leader has ended: the terminal belongs to nobody, who is in the foreground is told."""
        self.signal(SIGHUP)
        self.signal(SIGCONT)
        self.session = 0
        self.foreground = -1

    def closed(self) -> None:
        self.opens -= 1
        if self.opens == 0:
            self.queue.wake()
            if self.on_close is not None:
                self.on_close()

    # -- settings ---------------------------------------------------------------------------------------

    def configure(self, data: bytes, flush: bool) -> None:
        was_canonical = self.discipline.canonical
        if flush:
            self.discipline.flush_input()
        if len(data) == TERMIOS2.size:
            self.settings.unpack2(data)
        else:
            self.settings.unpack(data)
        if not self.settings.input & T.IXON:
            self.discipline.stopped = False
        self.discipline.mode_changed(was_canonical)
        self._tell_room()

    def control(self, request: int, argument: int, space: AddressSpace) -> int:
        """The ioctl requests that both sides understand."""
        if request == TCGETS:
            space.copy_out(argument, self.settings.pack())
        elif request == TCGETS2:
            space.copy_out(argument, self.settings.pack2())
        elif request in (TCSETS, TCSETSW, TCSETSF):
            self.configure(space.copy_in(argument, TERMIOS.size), request == TCSETSF)
        elif request in (TCSETS2, TCSETSW2, TCSETSF2):
            self.configure(space.copy_in(argument, TERMIOS2.size), request == TCSETSF2)
        elif request == TIOCGWINSZ:
            space.copy_out(argument, WINSIZE.pack(*self.window))
        elif request == TIOCSWINSZ:
            self.resize(*WINSIZE.unpack(space.copy_in(argument, WINSIZE.size)))
        elif request == TCFLSH:
            self._flush(argument)
        elif request == TCXONC:
            self._flow(argument)
        elif request == TIOCOUTQ:
            space.copy_out(argument, len(self._output).to_bytes(4, "little"))
        elif request == TIOCGETD:
            space.copy_out(argument, bytes(4))  # N_TTY
        elif request == TIOCSETD:
            if any(space.copy_in(argument, 4)):
                raise Errno(EINVAL)
        elif request == TIOCSTI:
            raise Errno(EIO)  # legacy_tiocsti=0
        elif request not in (TCSBRK, TCSBRKP, TIOCEXCL, TIOCNXCL):
            raise Errno(ENOTTY)
        return 0

    def _flush(self, what: int) -> None:
        if what not in (TCIFLUSH, TCOFLUSH, TCIOFLUSH):
            raise Errno(EINVAL)
        if what != TCOFLUSH:
            self.discipline.flush_input()
        if what != TCIFLUSH:
            self._output.clear()
        self._tell_packet({TCIFLUSH: 1, TCOFLUSH: 2, TCIOFLUSH: 3}[what])
        self._tell_room()

    def _tell_packet(self, status: int) -> None:
        if self.on_packet is not None:
            self.on_packet(status)

    def _flow(self, what: int) -> None:
        if what in (TCOOFF, TCOON):
            self.discipline.stopped = what == TCOOFF
            self._tell_packet(4 if what == TCOOFF else 8)
            self.queue.wake()
        elif what not in (TCIOFF, TCION):
            raise Errno(EINVAL)


class TerminalFile(OpenFile):
    """An open terminal, on the program side."""

    __slots__ = ("terminal",)

    def __init__(self, node: Node, terminal: Terminal, flags: int) -> None:
        super().__init__(node, flags)
        self.terminal = terminal
        self._queue = terminal.queue
        terminal.opens += 1

    def close(self) -> None:
        self.terminal.closed()

    def read(self, count: int, offset: int | None = None) -> bytes:
        if not self.readable:
            raise Errno(EBADF)
        if offset is not None:
            raise Errno(ESPIPE)
        return self.terminal.read(count)

    def write(self, data: bytes, offset: int | None = None) -> int:
        if not self.writable:
            raise Errno(EBADF)
        if offset is not None:
            raise Errno(ESPIPE)
        return self.terminal.write(data)

    def seek(self, offset: int, whence: int) -> int:
        raise Errno(ESPIPE)

    def truncate(self, size: int) -> None:
        raise Errno(EINVAL)

    def sync(self) -> None:
        raise Errno(EINVAL)

    def ioctl(self, request: int, argument: int, space: AddressSpace) -> int:
        if request == FIONREAD:
            space.copy_out(argument, self.terminal.discipline.waiting.to_bytes(4, "little"))
            return 0
        return self.terminal.control(request, argument, space)

    def poll(self) -> int:
        terminal = self.terminal
        if terminal.hung_up:
            return POLLHUP | POLLERR | POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM
        ready = 0
        if terminal.has_input():
            ready |= POLLIN | POLLRDNORM
        if terminal.shown < OUTPUT_ROOM and not terminal.discipline.stopped:
            ready |= POLLOUT | POLLWRNORM
        return ready
