"""N_TTY: between the keys and the program. Editing and echo of a line, control characters that become signals, and the
little that happens to output on its way to the screen.

`type` takes what was typed and fills `lines`, from which reads are served; `cook` prepares output. Nothing waits and
nobody is told: the terminal does that. A line is at most 4095 bytes (beyond it keys are lost, as on Linux), and what
nobody reads is bounded, so that a paste fills no memory. Neighbours: `termios` (the settings), `terminal`.
Source: termios(3), drivers/tty/n_tty.c.
"""

from __future__ import annotations

from collections import deque

from sandbox.abi.signals import SIGINT, SIGQUIT, SIGTSTP
from sandbox.vfs import termios as T
from sandbox.vfs.termios import Termios

LINE_MAX = 4095
BACKLOG = 65536  # bytes in finished lines
ECHO_MAX = 16384  # bytes to be shown from which on no line is shown again
_CONTROLS = bytes(key for key in range(0x20) if key != 0x09) + b"\x7f"
_CONTINUATIONS = bytes(range(0x80, 0xC0))  # of UTF-8
_NEWLINE, _RETURN, _TAB, _BACKSPACE, _BELL = 0x0A, 0x0D, 0x09, 0x08, 0x07


class LineDiscipline:
    """`signals` collects what control characters asked for, `echo` what is to be shown; the terminal takes both."""

    __slots__ = ("_literal_next", "column", "echo", "line", "lines", "settings", "signals", "stopped", "waiting")

    def __init__(self, settings: Termios) -> None:
        self.settings = settings
        self.lines: deque[bytes] = deque()  # what may be read; an empty one is an end of file
        self.waiting = 0  # bytes in them
        self.line = bytearray()  # being edited
        self.echo = bytearray()
        self.signals: list[int] = []
        self.stopped = False  # output is held back (^S)
        self.column = 0
        self._literal_next = False

    # -- reading ----------------------------------------------------------------------------------------

    @property
    def canonical(self) -> bool:
        return bool(self.settings.local & T.ICANON)

    def has_input(self) -> bool:
        if self.canonical:
            return bool(self.lines)
        least = self.settings.characters[T.VMIN] if not self.settings.characters[T.VTIME] else 1
        return self.waiting >= max(1, least)

    def take(self, count: int) -> bytes:
        """What a read of `count` bytes gets: in canonical mode at most one line."""
        lines = self.lines
        if self.canonical:
            data = lines.popleft()
            if len(data) > count:
                lines.appendleft(data[count:])
        else:
            data = b"".join(lines)
            lines.clear()
            if len(data) > count:
                lines.append(data[count:])
        self.waiting -= min(count, len(data))
        return data[:count]

    def flush_input(self) -> None:
        self.lines.clear()
        self.waiting = 0
        self.line.clear()
        self._literal_next = False

    def mode_changed(self, was_canonical: bool) -> None:
        """What was typed but not finished can be read at once without ICANON."""
        if was_canonical and not self.canonical:
            self._finish()
            self.lines = deque(line for line in self.lines if line)

    # -- typing -----------------------------------------------------------------------------------------

    def type(self, data: bytes) -> None:
        for key in data:
            self._key(key)

    def _key(self, key: int) -> None:
        settings = self.settings
        flags = settings.input
        if flags & T.ISTRIP:
            key &= 0x7F
        if self._literal_next:
            self._literal_next = False
            self._insert(key)
            return
        if key == _RETURN:
            if flags & T.IGNCR:
                return
            if flags & T.ICRNL:
                key = _NEWLINE
        elif key == _NEWLINE and flags & T.INLCR:
            key = _RETURN
        if flags & T.IXON and self._flow(key):
            return
        if settings.local & T.ISIG and self._signal(key):
            return
        if settings.local & T.ICANON and self._edit(key):
            return
        self._insert(key)

    def _is(self, key: int, index: int) -> bool:
        character = self.settings.characters[index]
        return character == key and character != T.DISABLED

    def _flow(self, key: int) -> bool:
        if self._is(key, T.VSTOP):
            self.stopped = True
            return True
        if self._is(key, T.VSTART):
            self.stopped = False
            return True
        if self.stopped and self.settings.input & T.IXANY:
            self.stopped = False
        return False

    def _signal(self, key: int) -> bool:
        for index, number in ((T.VINTR, SIGINT), (T.VQUIT, SIGQUIT), (T.VSUSP, SIGTSTP)):
            if self._is(key, index):
                if not self.settings.local & T.NOFLSH:
                    self.flush_input()
                self.stopped = False
                self._show(key)
                self.signals.append(number)
                return True
        return False

    def _edit(self, key: int) -> bool:
        local = self.settings.local
        extended = local & T.IEXTEN
        if self._is(key, T.VERASE):
            self._erase_one()
        elif extended and self._is(key, T.VWERASE):
            self._erase_word()
        elif self._is(key, T.VKILL):
            self._kill()
        elif extended and self._is(key, T.VLNEXT):
            self._literal_next = True
            if local & T.ECHO and local & T.ECHOCTL:
                self.echo += b"^\b"
        elif extended and local & T.ECHO and self._is(key, T.VREPRINT):
            self._show(key)
            self._echo_newline()
            if len(self.echo) < ECHO_MAX:
                for old in self.line:
                    self._show(old)
        elif self._is(key, T.VEOF):
            self._finish(even_empty=True)
        elif key == _NEWLINE:
            if local & (T.ECHO | T.ECHONL):
                self._echo_newline()
            self._end(key)
        elif self._is(key, T.VEOL) or (extended and self._is(key, T.VEOL2)):
            self._show(key)
            self._end(key)
        else:
            return False
        return True

    def _insert(self, key: int) -> None:
        if len(self.line) >= LINE_MAX or self.waiting >= BACKLOG:
            if self.settings.input & T.IMAXBEL:
                self.echo.append(_BELL)
            return
        self.line.append(key)
        if key == _NEWLINE and self.settings.local & T.ECHO:
            self._echo_newline()
        else:
            self._show(key)
        if not self.canonical:
            self._finish()

    def _end(self, key: int) -> None:
        if self.waiting < BACKLOG:
            self.line.append(key)
            self._finish()

    def _finish(self, even_empty: bool = False) -> None:
        if self.line or (even_empty and len(self.lines) < BACKLOG):
            self.lines.append(bytes(self.line))
            self.waiting += len(self.line)
            self.line.clear()

    # -- erasing ----------------------------------------------------------------------------------------

    def _pop(self) -> bytes:
        """Remove the last character from the line: all bytes of it, in UTF-8."""
        end = len(self.line) - 1
        if self.settings.input & T.IUTF8:
            while end > 0 and self.line[end] & 0xC0 == 0x80:
                end -= 1
        character = bytes(self.line[end:])
        del self.line[end:]
        return character

    def _erase_one(self) -> None:
        if self.line:
            self._unshow(self._pop())

    def _erase_word(self) -> None:
        while self.line and chr(self.line[-1]).isspace():
            self._unshow(self._pop())
        while self.line and not chr(self.line[-1]).isspace():
            self._unshow(self._pop())

    def _kill(self) -> None:
        local = self.settings.local
        if local & T.ECHOKE and local & T.ECHOE:
            while self.line:
                self._unshow(self._pop())
            return
        self.line.clear()
        self._show(self.settings.characters[T.VKILL])
        if local & T.ECHOK:
            self._echo_newline()

    def _unshow(self, character: bytes) -> None:
        local = self.settings.local
        if not local & T.ECHO:
            return
        if not local & T.ECHOE:
            self._show(self.settings.characters[T.VERASE])
            return
        if character == b"\t":
            width = 8 - self._width(self.line[self.line.rfind(b"\t") + 1 :]) % 8
        else:
            width = 1 if len(character) > 1 else self._width(character)
        self.echo += b"\b \b" * width if character != b"\t" else b"\b" * width

    def _width(self, text: bytes | bytearray) -> int:
        """Columns that `text`, which has no tab, takes when it is echoed."""
        controls = len(text) - len(text.translate(None, _CONTROLS))
        width = len(text) - controls
        if self.settings.input & T.IUTF8:
            width -= len(text) - len(text.translate(None, _CONTINUATIONS))
        return width + (2 * controls if self.settings.local & T.ECHOCTL else 0)

    # -- showing ----------------------------------------------------------------------------------------

    def _show(self, key: int) -> None:
        if not self.settings.local & T.ECHO:
            return
        is_control = (key < 0x20 and key not in (_TAB, _NEWLINE)) or key == 0x7F
        if is_control and self.settings.local & T.ECHOCTL:
            self.echo += bytes((0x5E, key ^ 0x40))
        else:
            self.echo.append(key)

    def _echo_newline(self) -> None:
        self.echo.append(_NEWLINE)

    def cook(self, data: bytes) -> bytes:
        """Output as the screen gets it."""
        flags = self.settings.output
        if not flags & T.OPOST:
            return data
        if flags & (T.OCRNL | T.ONOCR | T.ONLRET | T.OLCUC) or flags & T.XTABS == T.XTABS:
            return self._cook_slowly(data, flags)
        return data.replace(b"\n", b"\r\n") if flags & T.ONLCR else data

    def _cook_slowly(self, data: bytes, flags: int) -> bytes:
        result = bytearray()
        for key in data:
            if key == _NEWLINE:
                if flags & T.ONLCR:
                    result += b"\r\n"
                    self.column = 0
                    continue
                if flags & T.ONLRET:
                    self.column = 0
            elif key == _RETURN:
                if flags & T.ONOCR and self.column == 0:
                    continue
                if flags & T.OCRNL:
                    key = _NEWLINE
                if key == _RETURN or flags & T.ONLRET:
                    self.column = 0
            elif key == _TAB:
                width = 8 - self.column % 8
                self.column += width
                if flags & T.XTABS == T.XTABS:
                    result += b" " * width
                    continue
            elif key == _BACKSPACE:
                self.column = max(0, self.column - 1)
            elif key >= 0x20:
                self.column += 1
                if flags & T.OLCUC and 0x61 <= key <= 0x7A:
                    key -= 0x20
            result.append(key)
        return bytes(result)
