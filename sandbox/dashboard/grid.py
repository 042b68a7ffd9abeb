"""A plain grid of columns, and panes side by side: what most panels are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text

from sandbox.dashboard.text import Piece, blank, fill, fit, line

Cell = str | tuple[str, str]


@dataclass(frozen=True, slots=True)
class Heading:
    """`cells` 0 takes what is left (one such column at most)."""

    title: str
    cells: int
    right: bool = False


def grid(
    headings: Sequence[Heading],
    cells: Sequence[Sequence[Cell]],
    columns: int,
    height: int,
    *,
    scroll: int = 0,
    empty: str = "",
) -> list[Text]:
    """Exactly `height` rows: the titles, then `cells` from row `scroll` on."""
    fixed = sum(heading.cells + 1 for heading in headings if heading.cells)
    rest = max(0, columns - fixed - 1)
    widths = [heading.cells or rest for heading in headings]
    titles: list[Piece] = []
    for heading, size in zip(headings, widths, strict=True):
        titles += [(fit(heading.title, size, right=heading.right), "heading"), " "]
    rows = [line(titles, columns)]
    room = height - 1
    scroll = max(0, min(scroll, len(cells) - room))
    for row in cells[scroll : scroll + room]:
        pieces: list[Piece] = []
        for cell, heading, size in zip(row, headings, widths, strict=True):
            word, style = cell if isinstance(cell, tuple) else (cell, "")
            pieces += [(fit(word, size, right=heading.right), style), " "]
        rows.append(line(pieces, columns))
    if not cells and empty:
        rows.append(line([(empty, "dim")], columns))
    below = len(cells) - scroll - room
    if below > 0 and len(rows) > 1:
        rows[-1] = line([(f"{below + 1} more below", "dim")], columns)
    return fill(rows, columns, height)


def beside(
    panes: Sequence[tuple[int, Callable[[int, int], list[Text]]]], columns: int, height: int, divider: str = " "
) -> list[Text]:
    """Panes from left to right, each (cells, draw(cells, height)); cells 0 takes what is left."""
    gap = len(divider)
    rest = columns - sum(cells for cells, _ in panes) - gap * (len(panes) - 1)
    drawn = [fill(draw(cells or rest, height), cells or rest, height) for cells, draw in panes]
    rows = []
    for index in range(height):
        row = Text("", no_wrap=True, end="")
        for number, pane in enumerate(drawn):
            if number:
                row.append(divider, "faint")
            row.append_text(pane[index])
        rows.append(row)
    return rows


def nothing(words: str, columns: int, height: int) -> list[Text]:
    return [line([(words, "dim")], columns)] + [blank(columns)] * (height - 1)
