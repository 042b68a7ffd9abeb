"""The keyboard: bytes of a terminal to named keys, and the terminal's modes.

`Decoder` is pure: bytes and a time in, keys out. An escape sequence is always taken whole, typed-ahead
keys are kept, and a lone Esc is believed after 25 ms. `Keyboard` owns the terminal's mode: cbreak is set
once on entry and undone on every way out (return, exception, SIGTERM, SIGHUP, Ctrl-Z and back, exit from
elsewhere). Signals never interrupt the program in the middle of something: they become keys named
"signal-term", "signal-hup", "signal-int", "signal-suspend", "signal-resize", read like all others. A
second SIGTERM, SIGHUP or SIGINT that comes before the first was read ends the process at once.

Escape sequences: ECMA-48 (CSI), xterm's control sequences (modifiers, SS3), the Linux console's F1 to F5.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType

LONE_ESCAPE = 0.025
INCOMPLETE = 0.25  # a sequence that has begun may be split by a slow link
_LONGEST = 32  # a control sequence longer than this is noise

_FINAL = {
    "A": "up",
    "B": "down",
    "C": "right",
    "D": "left",
    "E": "center",
    "F": "end",
    "H": "home",
    "P": "f1",
    "Q": "f2",
    "R": "f3",
    "S": "f4",
    "M": "enter",  # SS3 M: the keypad
}
_TILDE = {
    1: "home",
    2: "insert",
    3: "delete",
    4: "end",
    5: "page-up",
    6: "page-down",
    7: "home",
    8: "end",
    **{number: f"f{index}" for index, number in enumerate((11, 12, 13, 14, 15, 17, 18, 19, 20, 21, 23, 24), 1)},
}
_CONTROL = {
    0x00: "ctrl-space",
    0x08: "backspace",
    0x09: "tab",
    0x0A: "enter",
    0x0D: "enter",
    0x1C: "ctrl-\\",
    0x1D: "ctrl-]",
    0x1E: "ctrl-^",
    0x1F: "ctrl-_",
    0x20: "space",
    0x7F: "backspace",
    **{number: f"ctrl-{chr(number + 96)}" for number in range(1, 27) if number not in (8, 9, 10, 13)},
}


@dataclass(frozen=True, slots=True)
class Key:
    """`name` is what the key table speaks of; `raw` is what the terminal sent, for typing into a guest."""

    name: str
    raw: bytes = b""

    @property
    def text(self) -> str:
        """The character to insert in an edited line; empty for keys that are none."""
        if self.name == "space":
            return " "
        return self.name if len(self.name) == 1 else ""


class Decoder:
    """Bytes to keys. `deadline` is the time at which `expire` should be called (None: nothing pending)."""

    def __init__(self) -> None:
        self._buffer = b""
        self.deadline: float | None = None

    def feed(self, data: bytes, now: float) -> list[Key]:
        self._buffer += data
        keys: list[Key] = []
        while self._buffer:
            found = _parse(self._buffer)
            if found is None:
                self.deadline = now + (LONE_ESCAPE if self._buffer == b"\x1b" else INCOMPLETE)
                return keys
            name, length = found
            if name:
                keys.append(Key(name, self._buffer[:length]))
            self._buffer = self._buffer[length:]
        self.deadline = None
        return keys

    def expire(self, now: float) -> list[Key]:
        """Nothing followed in time: what is pending is a key by itself, or noise."""
        if self.deadline is None or now < self.deadline:
            return []
        pending, self._buffer, self.deadline = self._buffer, b"", None
        if pending == b"\x1b":
            return [Key("escape", pending)]
        if len(pending) == 2 and pending[:1] == b"\x1b" and 0x20 < pending[1] < 0x7F:
            return [Key("alt-" + chr(pending[1]), pending)]
        return []


def _parse(data: bytes) -> tuple[str, int] | None:
    """The first key in `data` as (name, bytes used); an empty name is noise; None when it is incomplete."""
    first = data[0]
    if first == 0x1B:
        return _parse_escape(data)
    if first in _CONTROL:
        return _CONTROL[first], 1
    if first < 0x80:
        return chr(first), 1
    length = 2 if 0xC2 <= first < 0xE0 else 3 if first < 0xF0 else 4 if first < 0xF5 else 1
    if first < 0xC2 or length == 1:
        return "", 1
    piece = data[:length]
    try:
        return piece.decode(), length
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data" and len(piece) < length:
            return None
        return "", max(1, error.end)


def _parse_escape(data: bytes) -> tuple[str, int] | None:
    if len(data) == 1:
        return None
    second = data[1]
    if second == 0x1B:
        return "escape", 1
    if second == 0x4F:  # SS3: ESC O x
        if len(data) < 3:
            return None
        return _FINAL.get(chr(data[2]), ""), 3
    if second != 0x5B:
        if second in _CONTROL:
            return "alt-" + _CONTROL[second], 2
        return ("alt-" + chr(second), 2) if second < 0x80 else ("escape", 1)
    if data[2:3] == b"[":  # the Linux console: ESC [ [ A
        return (f"f{data[3] - 0x40}" if 0x41 <= data[3] <= 0x45 else "", 4) if len(data) > 3 else None
    if data[2:3] == b"M":  # an old mouse report that somebody left switched on
        return ("", 6) if len(data) >= 6 else None
    for index in range(2, min(len(data), _LONGEST)):
        byte = data[index]
        if 0x40 <= byte <= 0x7E:
            return _control_sequence(data[2:index].decode("ascii"), chr(byte)), index + 1
        if not 0x20 <= byte <= 0x3F:
            return "", index  # not a control sequence: drop what came so far, keep this byte
    return None if len(data) < _LONGEST else ("", _LONGEST)


def _control_sequence(parameters: str, final: str) -> str:
    if final == "Z":
        return "shift-tab"
    fields = parameters.split(";")
    numbers = [int(field) if field.isdigit() and len(field) < 6 else 0 for field in fields]
    if final == "~":
        name = _TILDE.get(numbers[0], "")
    else:
        name = _FINAL.get(final, "") if final != "M" else ""
    if not name:
        return ""
    modifier = numbers[1] - 1 if len(numbers) > 1 else 0
    if not 0 <= modifier < 16:
        return ""
    prefix = "".join(word for bit, word in ((4, "ctrl-"), (2, "alt-"), (1, "shift-")) if modifier & bit)
    return prefix + name


_SIGNALS = {
    signal.SIGTERM: "signal-term",
    signal.SIGHUP: "signal-hup",
    signal.SIGINT: "signal-int",
    signal.SIGTSTP: "signal-suspend",
    signal.SIGWINCH: "signal-resize",
    signal.SIGCONT: "signal-resize",  # whatever happened meanwhile, look again
}
_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

_Handler = Callable[[int, FrameType | None], object] | int | signal.Handlers | None


class Keyboard:
    """The terminal `descriptor` in cbreak mode, as a context manager; main thread only.

    `on_enter` and `on_leave` switch the screen along with the keyboard: they run on entry, on the way out,
    and around a stop by Ctrl-Z. They must be safe to call twice."""

    def __init__(
        self,
        descriptor: int,
        on_enter: Callable[[], None] = lambda: None,
        on_leave: Callable[[], None] = lambda: None,
    ) -> None:
        self._descriptor = descriptor
        self._on_enter, self._on_leave = on_enter, on_leave
        self._saved: list[object] | None = None
        self._handlers: dict[signal.Signals, _Handler] = {}
        self._pending: dict[signal.Signals, None] = {}
        self._wake_reader, self._wake_writer = -1, -1
        self._decoder = Decoder()
        self._hung_up = False
        self._raw = False

    def __enter__(self) -> Keyboard:
        self._wake_reader, self._wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            for number in _SIGNALS:
                self._handlers[number] = signal.signal(number, self._arrived)
            self._take_terminal()
        except BaseException:
            self.__exit__()
            raise
        atexit.register(self._give_terminal_back)
        return self

    def __exit__(self, *_: object) -> None:
        self._give_terminal_back()
        atexit.unregister(self._give_terminal_back)
        for number, handler in self._handlers.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._handlers.clear()
        for descriptor in (self._wake_reader, self._wake_writer):
            if descriptor >= 0:
                os.close(descriptor)
        self._wake_reader = self._wake_writer = -1

    def _take_terminal(self) -> None:
        if self._saved is None:
            self._saved = list(termios.tcgetattr(self._descriptor))
            self._apply()
            self._on_enter()

    def _apply(self) -> None:
        """cbreak: a key at a time, no echo, no CR translation (Enter sends CR in both modes)."""
        if self._saved is None:
            return
        mode = termios.tcgetattr(self._descriptor)
        mode[0] &= ~(termios.ICRNL | termios.IXON)
        mode[3] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)
        mode[3] = mode[3] & ~termios.ISIG if self._raw else mode[3] | termios.ISIG
        mode[3] |= termios.NOFLSH  # Ctrl-C would throw away keys typed ahead, and half of a picture on its way
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, mode)

    def _give_terminal_back(self) -> None:
        if self._saved is None:
            return
        saved, self._saved = self._saved, None
        with contextlib.suppress(Exception):  # a terminal that is gone must not keep us from the rest
            self._on_leave()
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, saved)  # type: ignore[arg-type]

    def pass_signals_as_keys(self, on: bool) -> None:
        """While typing into a guest Ctrl-C and Ctrl-Z are keys for the guest, not signals for us."""
        if on != self._raw:
            self._raw = on
            self._apply()

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        which = signal.Signals(number)
        if which in self._pending and which in _ENDING:
            self._give_terminal_back()
            signal.signal(which, signal.SIG_DFL)
            os.kill(os.getpid(), which)
        self._pending[which] = None
        with contextlib.suppress(OSError):  # full: awake already
            os.write(self._wake_writer, b"!")

    def wake(self) -> None:
        """From any thread: let `read` return early."""
        with contextlib.suppress(OSError):
            os.write(self._wake_writer, b"!")

    def suspend(self) -> None:
        """Ctrl-Z: give the terminal back, stop, and take it again when continued."""
        self._give_terminal_back()
        mine = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, mine)
        self._take_terminal()

    def read(self, timeout: float) -> list[Key]:
        """Wait for keys for at most `timeout` seconds (also returns, perhaps empty, when woken)."""
        now = time.monotonic()
        end = now + timeout
        while True:
            until = end if self._decoder.deadline is None else min(end, self._decoder.deadline)
            watched = [self._wake_reader] if self._hung_up else [self._descriptor, self._wake_reader]
            ready, _, _ = select.select(watched, [], [], max(0.0, until - now))
            now = time.monotonic()
            keys = self._decoder.feed(self._take_bytes(), now) if self._descriptor in ready else []
            keys += self._decoder.expire(now)
            if self._wake_reader in ready:
                keys += self._signals()
            if self._hung_up:
                keys.append(Key("signal-hup"))
            if keys or now >= end or self._wake_reader in ready:
                return keys

    def _take_bytes(self) -> bytes:
        try:
            data = os.read(self._descriptor, 4096)
        except InterruptedError:
            return b""
        except OSError:  # EIO: the terminal is gone
            data = b""
        self._hung_up = not data
        return data

    def _signals(self) -> Iterator[Key]:
        with contextlib.suppress(OSError):
            os.read(self._wake_reader, 4096)
        while self._pending:
            which = next(iter(self._pending))
            del self._pending[which]
            yield Key(_SIGNALS[which])
