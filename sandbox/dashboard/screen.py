"""The screen: rows of rich Text to bytes for the terminal, and only the rows that have changed.

The alternate screen is entered and left together with the keyboard's mode (`keys.Keyboard` calls `enter`
and `leave`). A row that equals what stands there already is neither rendered nor sent. Every row is
checked once more to hold nothing but harmless characters, whatever a panel did. Still pictures (text, SVG,
HTML) are made from the same rows by `still.py`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style
from rich.text import Text
from rich.theme import Theme

from sandbox.dashboard import text
from sandbox.dashboard.palette import styles_for

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[H\x1b[2J"  # alternate screen, no cursor, no wrapping, clear
_LEAVE = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
_SYSTEMS = {
    "standard": ColorSystem.STANDARD,
    "256": ColorSystem.EIGHT_BIT,
    "truecolor": ColorSystem.TRUECOLOR,
}
_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"  # one update at once, where the terminal knows it


class Screen:
    """Writes to `descriptor`. `size` is asked of the terminal at each frame, so a resize needs no event."""

    def __init__(self, descriptor: int, *, unicode: bool = True, environment: Mapping[str, str] = os.environ) -> None:
        self._descriptor = descriptor
        self._unicode = unicode
        probe = Console(force_terminal=True, _environ=environment)
        # With NO_COLOR the styles keep their bold, dim and reverse, which rich drops when it has no system.
        name = None if environment.get("NO_COLOR") else probe.color_system
        self._colors = _SYSTEMS.get(name or "standard", ColorSystem.STANDARD)
        self._styles = {key: Style.parse(value) for key, value in styles_for(name).items()}
        if name is None:
            self._styles = {key: style.without_color for key, style in self._styles.items()}
        self._console = Console(
            force_terminal=True,
            theme=Theme(self._styles),
            _environ=environment,
        )
        self._shown: list[tuple[str, tuple[object, ...]]] = []
        self._active = False
        self.bytes_written = 0

    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        try:
            columns, rows = os.get_terminal_size(self._descriptor)
        except OSError:
            columns, rows = 80, 24
        return columns or 80, rows or 24

    def enter(self) -> None:
        self._active = True
        self._shown.clear()
        self._write(_ENTER)

    def leave(self) -> None:
        if self._active:
            self._active = False
            self._write(_LEAVE)

    def repaint(self) -> None:
        """Forget what is shown: the next frame is sent whole, on a cleared screen."""
        self._shown.clear()

    def paint(self, rows: Sequence[Text]) -> int:
        """Show `rows`, top to bottom; return how many of them had to be sent."""
        if not self._active:
            return 0
        whole = len(self._shown) != len(rows)
        out = ["\x1b[0m\x1b[2J"] if whole else []
        shown: list[tuple[str, tuple[object, ...]]] = []
        for number, row in enumerate(rows, 1):
            mark = (row.plain, tuple(row.spans))
            if whole or self._shown[number - 1] != mark:
                # Erased before, not after: at the end of a full row the cursor stands on its last cell.
                erase = "" if whole or text.width(row.plain) >= text.width(self._shown[number - 1][0]) else "\x1b[K"
                out.append(f"\x1b[{number};1H{erase}{self._render(row)}\x1b[0m")
            shown.append(mark)
        self._shown = shown
        if out:
            self._write(_BEGIN + "".join(out) + _END)
        return len(out) - whole

    def _render(self, row: Text) -> str:
        plain = row.plain
        if not text.is_harmless(plain):
            row = Text(text.visible(plain), spans=list(row.spans), no_wrap=True, end="")
        parts = []
        for segment in row.render(self._console, end=""):
            word = segment.text if self._unicode else text.plain_ascii(segment.text)
            if segment.style is None or not word:
                parts.append(word)
            else:
                parts.append(segment.style.render(word, color_system=self._colors))
        return "".join(parts)

    def _write(self, out: str) -> None:
        data = memoryview(out.encode("utf-8", "replace"))
        self.bytes_written += len(data)
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except (BlockingIOError, InterruptedError):
                continue
            except OSError:  # the terminal is gone; the keyboard will say so
                return
