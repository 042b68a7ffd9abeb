"""Regions of the selected VM's address space with a map of their pages, and a hex view.

The map has one sign for a group of pages: resident, dirty, shared, compressed or absent, told apart by sign
and colour. The hex view begins at the stack pointer until `:goto ADDRESS`.
"""

from __future__ import annotations

from rich.text import Text

from sandbox.dashboard import figures
from sandbox.dashboard.grid import beside, nothing
from sandbox.dashboard.interface import Interface
from sandbox.dashboard.palette import Look
from sandbox.dashboard.text import Piece, fill, fit, line, visible
from sandbox.dashboard.view import MemoryView, RegionView, View

_STYLES = {"r": "page.resident", "d": "page.dirty", "s": "page.shared", "z": "page.compressed", ".": "page.absent"}


def render(view: View, interface: Interface, columns: int, height: int, look: Look) -> list[Text]:
    memory = view.detail.memory if view.detail else None
    if memory is None:
        return nothing("no memory to show", columns, height)
    if columns >= 150:
        hex_cells = 76
        return beside(
            [
                (0, lambda cells, rows: _regions(memory, interface, cells, rows, look)),
                (hex_cells, lambda cells, rows: hex_rows(memory, cells, rows)),
            ],
            columns,
            height,
            "  ",
        )
    if height < 9:
        return _regions(memory, interface, columns, height, look)
    top = max(4, min(len(memory.regions) + 2, height // 2))
    bottom = height - top
    return _regions(memory, interface, columns, top, look) + hex_rows(memory, columns, bottom)


def _regions(memory: MemoryView, interface: Interface, columns: int, height: int, look: Look) -> list[Text]:
    signs = look.signs
    legend: list[Piece] = [("REGIONS ", "heading"), " "]
    used = f"{figures.size(memory.resident)}" + (f" of {figures.size(memory.limit)}" if memory.limit else "")
    legend += [(used + "   ", "strong")]
    for letter, sign, word in _legend(look):
        legend += [(sign, _STYLES[letter]), (f" {word}  ", "dim")]
    rows = [line(legend, columns)]
    room = height - 1
    scroll = max(0, min(interface.scroll, len(memory.regions) - room))
    digits = max((len(f"{region.end:x}") for region in memory.regions), default=8)
    map_cells = max(0, min(32, columns - digits * 2 - 4 - 6 - 8 - 16))
    table = {letter: sign for letter, sign, _ in _legend(look)}
    for region in memory.regions[scroll : scroll + room]:
        rows.append(_region(region, digits, map_cells, table, columns))
    below = len(memory.regions) - scroll - room
    if below > 0:
        rows[-1] = line([(f"{below + 1} more below {signs.down}", "dim")], columns)
    return fill(rows, columns, height)


def _legend(look: Look) -> list[tuple[str, str, str]]:
    signs = look.signs
    return [
        ("r", signs.resident, "clean"),
        ("d", signs.dirty, "dirty"),
        ("s", signs.shared, "shared"),
        ("z", signs.compressed, "compressed"),
        (".", signs.absent, "absent"),
    ]


def _region(region: RegionView, digits: int, map_cells: int, table: dict[str, str], columns: int) -> Text:
    pieces: list[Piece] = [
        (f"{region.start:0{digits}x}-{region.end:0{digits}x} ", "address"),
        region.protection + ("s" if region.shared else "p") + " ",
        (fit(figures.size(region.end - region.start), 6, right=True) + " ", "strong"),
    ]
    if map_cells:
        pages = _squeeze(region.pages, map_cells)
        run = ""
        for letter in pages + "\0":
            if run and letter != run[0]:
                pieces.append((table.get(run[0], "?") * len(run), _STYLES.get(run[0], "")))
                run = ""
            run += letter
        pieces.append(" " * (map_cells - len(pages) + 1))
    pieces.append(visible(region.name) or ("anonymous", "dim"))
    return line(pieces, columns)


def _squeeze(pages: str, cells: int) -> str:
    """At most `cells` letters; a group shows its most telling page."""
    if len(pages) <= cells:
        return pages
    groups = [pages[index * len(pages) // cells : (index + 1) * len(pages) // cells] for index in range(cells)]
    return "".join(next((letter for letter in "dzrs" if letter in group), ".") for group in groups)


def hex_rows(memory: MemoryView, columns: int, height: int) -> list[Text]:
    per_row = 16 if columns >= 74 else 8
    rows = [line([("HEX ", "heading"), (f"  {memory.address:#x}  (:goto ADDRESS or SYMBOL moves)", "dim")], columns)]
    if not memory.readable:
        rows.append(line([("this address is not mapped", "warning")], columns))
    digits = max(8, len(f"{memory.address + len(memory.data):x}"))
    for start in range(0, min(len(memory.data), per_row * (height - 1)), per_row):
        chunk = memory.data[start : start + per_row]
        half = per_row // 2
        words = chunk[:half].hex(" ").ljust(half * 3 - 1) + "  " + chunk[half:].hex(" ").ljust(half * 3 - 1)
        letters = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in chunk)
        rows.append(
            line([(f"{memory.address + start:0{digits}x}  ", "address"), words, "  ", (letters, "string")], columns)
        )
    return fill(rows, columns, height)


if __name__ == "__main__":
    from sandbox.dashboard.alone import show

    show(render, height=18)
