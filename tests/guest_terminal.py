"""`sandbox run -t` on a pty: a person's terminal with what shells and full-screen programs send to it.

Unlike the emulator of `tests.terminal`, which knows just what our own screen sends, this one moves the cursor, scrolls
and edits, and takes colours and modes without a word.
"""

from __future__ import annotations

import re
import termios
from typing import Any

from tests.terminal import Emulator, Terminal

_SEQUENCE = re.compile(r"\x1b(?:\[([?>]?)([0-9;]*)([@-~])|[()][A-Z0-9]|[=>78M])")


class Screen(Emulator):
    def feed(self, text: str) -> None:
        text, self._pending = self._pending + text, ""
        self.plain += text
        at = 0
        while at < len(text):
            character = text[at]
            at += 1
            if character == "\x1b":
                match = _SEQUENCE.match(text, at - 1)
                if match is None:
                    self._pending = text[at - 1 :]
                    return
                at = match.end()
                if match[3]:
                    self._control(match[1], [int(number or 0) for number in match[2].split(";")], match[3])
            elif character == "\r":
                self.x = 0
            elif character == "\n":
                self._line_feed()
            elif character == "\b":
                self.x = max(0, self.x - 1)
            elif character == "\t":
                self.x = min(self.x // 8 * 8 + 8, self.columns - 1)
            elif character.isprintable():
                if self.x == self.columns:
                    self.x = 0
                    self._line_feed()
                self.cells[self.y][self.x] = character
                self.x += 1

    def _line_feed(self) -> None:
        if self.y < self.rows - 1:
            self.y += 1
        else:
            self.cells = [*self.cells[1:], [" "] * self.columns]

    def _control(self, private: str, numbers: list[int], final: str) -> None:
        count = max(1, numbers[0])
        if private:
            return
        if final in "Hf":
            row, column = (*numbers, 1)[:2]
            self.y, self.x = min(max(1, row), self.rows) - 1, min(max(1, column), self.columns) - 1
        elif final in "ABCD":
            self.y = min(max(0, self.y + {"A": -count, "B": count}.get(final, 0)), self.rows - 1)
            self.x = min(max(0, self.x + {"D": -count, "C": count}.get(final, 0)), self.columns - 1)
        elif final == "J":
            self._erase(self.y, self.x if numbers[0] == 0 else 0)
            first = self.y + 1 if numbers[0] == 0 else 0
            self.cells[first:] = [[" "] * self.columns for _ in range(self.rows - first)]
        elif final == "K":
            self._erase(self.y, self.x if numbers[0] == 0 else 0)
        elif final == "P":
            row_cells = self.cells[self.y]
            self.cells[self.y] = [*row_cells[: self.x], *row_cells[self.x + count :], *" " * count][: self.columns]
        elif final == "@":
            row_cells = self.cells[self.y]
            self.cells[self.y] = [*row_cells[: self.x], *" " * count, *row_cells[self.x :]][: self.columns]

    def _erase(self, row: int, column: int) -> None:
        self.cells[row][column:] = [" "] * (self.columns - column)


class GuestTerminal(Terminal):
    """`sandbox ARGUMENTS` (or `script`, in Python) with a terminal of its own."""

    def __init__(self, *arguments: str, script: str = "", home: str = "") -> None:
        environment: dict[str, Any] = {"SANDBOX_HOME": home} if home else {}
        super().__init__(["-c", script] if script else ["-m", "sandbox", *arguments], **environment)
        self.screen: Screen = Screen(80, 24)

    def __enter__(self) -> GuestTerminal:
        return self

    def line(self, text: str, answer: str) -> None:
        """Type a line, and wait for what it prints (not for its echo: `answer` must differ from it)."""
        assert answer not in text
        start = len(self.screen.plain)
        self.press(text + "\r")
        self.wait_for(lambda: answer in self.screen.plain[start:])

    def is_restored(self) -> bool:
        return termios.tcgetattr(self.slave) == self.before
