"""What a guest wrote, as lines: the little of a terminal that a log needs, and none of its powers.

Line feed, carriage return, backspace and tab act; complete escape sequences are dropped; everything else
goes through `text.visible`. Pure and bounded: it looks only at the end of what it is given.
"""

from __future__ import annotations

import re
from functools import lru_cache

from sandbox.dashboard.text import visible, width

_SEQUENCE = re.compile(
    rb"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]"  # CSI: colours, cursor movement
    rb"|[\]PX^_][^\x07\x1b]{0,1024}(?:\x07|\x1b\\)"  # OSC, DCS, SOS, PM, APC: titles, queries
    rb"|[ -/]{1,8}[0-~]|[0-Z\\^-~])"  # everything shorter
)
_CLEAR = re.compile(rb"\x1b\[[23]J|\x1bc")  # what stood before is gone


@lru_cache(maxsize=8)
def lines(tail: bytes, columns: int, most: int) -> tuple[str, ...]:
    """The last `most` screen lines of `tail`, wrapped at `columns`; the last one is where the cursor is."""
    if columns < 1 or most < 1:
        return ()
    budget = max(4096, most * columns * 2)
    data = tail[-budget:]
    clears = list(_CLEAR.finditer(data))
    if clears:
        data = data[clears[-1].end() :]
    elif len(tail) > budget and b"\n" in data:
        data = data[data.index(b"\n") + 1 :]  # begin at a whole line
    data = _SEQUENCE.sub(b"", data)
    result: list[str] = []
    for raw in data.split(b"\n")[-most:]:
        result += _wrap(_overwrite(raw), columns)
    return tuple(result[-most:])


def _overwrite(raw: bytes) -> str:
    """One line after its carriage returns, backspaces and tabs."""
    raw = raw.rstrip(b"\r")
    if not any(control in raw for control in (b"\r", b"\b", b"\t")):
        return visible(raw)
    cells: list[str] = []
    at = 0
    for character in raw.decode("utf-8", "surrogateescape"):
        if character == "\r":
            at = 0
        elif character == "\b":
            at = max(0, at - 1)
        elif character == "\t":
            stop = (at // 8 + 1) * 8
            cells += [" "] * (stop - len(cells))
            at = stop
        else:
            if at < len(cells):
                cells[at] = character
            else:
                cells.append(character)
            at += 1
    return visible("".join(cells))


def _wrap(text: str, columns: int) -> list[str]:
    if width(text) <= columns:
        return [text]
    if text.isascii():
        return [text[start : start + columns] for start in range(0, len(text), columns)]
    result: list[str] = []
    row: list[str] = []
    used = 0
    for character in text:
        cells = width(character)
        if used + cells > columns and row:
            result.append("".join(row))
            row, used = [], 0
        row.append(character)
        used += cells
    result.append("".join(row))
    return result
