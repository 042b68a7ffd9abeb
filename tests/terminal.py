"""A terminal for tests: a program on a pty of a given size, what it draws as a grid of characters, and keys.

`Emulator` knows just what our screen sends (cursor position, clear, erase to the end of the line, modes); anything
else fails the test, so that no stray escape goes unseen.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parent.parent
_SEQUENCE = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])")
MODES = {"1049", "25", "7", "2026"}


class Emulator:
    """What stands on the screen, and which modes are on."""

    def __init__(self, columns: int, rows: int) -> None:
        self.resize(columns, rows)
        self.modes: dict[str, bool] = {}
        self._pending = ""
        self.plain = ""  # what was written outside the alternate screen

    def resize(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.cells = [[" "] * columns for _ in range(rows)]
        self.x = self.y = 0

    def feed(self, text: str) -> None:
        text = self._pending + text
        self._pending = ""
        at = 0
        while at < len(text):
            character = text[at]
            if character == "\x1b":
                match = _SEQUENCE.match(text, at)
                if match is None:
                    assert len(text) - at < 20, f"an escape we never send: {text[at : at + 20]!r}"
                    self._pending = text[at:]
                    return
                self._act(match[1], match[2], match[3])
                at = match.end()
                continue
            at += 1
            if not self.modes.get("1049"):
                self.plain += character
            else:
                assert character.isprintable(), f"a control character on the screen: {character!r}"
                if self.y < self.rows:
                    self.cells[self.y][self.x] = character
                self.x = min(self.x + 1, self.columns - 1)  # no wrapping: the cursor stays on the last cell

    def _act(self, private: str, numbers: str, final: str) -> None:
        if private:
            for mode in numbers.split(";"):
                assert mode in MODES, f"mode {mode}"
                self.modes[mode] = final == "h"
        elif final == "H":
            row, _, column = numbers.partition(";")
            self.y, self.x = int(row or 1) - 1, int(column or 1) - 1
        elif final == "J":
            self.cells = [[" "] * self.columns for _ in range(self.rows)]
        elif final == "K":
            if self.y < self.rows:
                self.cells[self.y][self.x :] = [" "] * max(0, self.columns - self.x)
        else:
            assert final == "m", f"CSI {numbers}{final}"

    @property
    def lines(self) -> list[str]:
        return ["".join(row).rstrip() for row in self.cells]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class Terminal:
    """`program` (arguments of this Python) on a pty, as a context manager."""

    def __init__(self, arguments: list[str], columns: int = 80, rows: int = 24, **environment: str) -> None:
        self.screen = Emulator(columns, rows)
        self.master, self.slave = pty.openpty()
        self._set_size(columns, rows)
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=self.slave, stdout=self.slave, stderr=self.slave, cwd=ROOT, preexec_fn=self._own_session,
            env={**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **environment},
        )  # fmt: skip

    def _own_session(self) -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        self.screen.resize(columns, rows)
        self._set_size(columns, rows)
        self.process.send_signal(signal.SIGWINCH)

    def pump(self, timeout: float) -> bool:
        """Take what was drawn; False when nothing came in time."""
        ready, _, _ = select.select([self.master], [], [], timeout)
        if not ready:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.screen.feed(data.decode("utf-8", "replace"))
        return bool(data)

    def wait_for(self, found: str | Callable[[], bool], timeout: float = 30) -> None:
        """Read until the text stands on the screen (or the condition holds)."""
        end = time.monotonic() + timeout
        while not (found in self.screen.text if isinstance(found, str) else found()):
            if time.monotonic() > end:
                raise AssertionError(f"{found!r} never came; the screen:\n{self.screen.text}\n{self.screen.plain}")
            self.pump(0.05)

    def wait_for_end(self, timeout: float = 30) -> int:
        end = time.monotonic() + timeout
        while self.process.poll() is None and time.monotonic() < end:
            self.pump(0.05)
        while self.pump(0.05):
            pass
        status = self.process.poll()
        assert status is not None, f"it did not end; the screen:\n{self.screen.text}"
        return status

    def is_restored(self) -> bool:
        """The modes as before, the cursor back, the alternate screen left."""
        modes = self.screen.modes
        return (
            termios.tcgetattr(self.slave) == self.before
            and not modes.get("1049", False)
            and modes.get("25", True)
            and modes.get("7", True)
        )
