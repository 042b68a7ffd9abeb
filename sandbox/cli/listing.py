"""Listings on stdout: columns for people, JSON for programs. No colours, so nothing to switch off.

Cells may hold foreign text (names of files, of VMs): control characters are shown as escapes. On a terminal
the last column is cut to the screen; in a pipe nothing is.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def show(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], as_json: bool, empty: str = "") -> None:
    """`columns`: key to title, in order. JSON has all keys of the rows, whatever is shown."""
    if as_json:
        show_json(list(rows))
        return
    if not rows:
        print(empty or "nothing to list", file=sys.stderr)
        return
    cells = [list(columns.values())]
    cells += [[_cell(row.get(key)) for key in columns] for row in rows]
    numeric = [all(isinstance(row.get(key), (int, float, type(None))) for row in rows) for key in columns]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for row in cells:
        pieces = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        line = "  ".join(pieces).rstrip()
        print(line if limit is None or len(line) <= limit else line[: limit - 1] + "…")


def show_json(value: Any) -> None:
    json.dump(value, sys.stdout, indent=2)
    print()


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)
