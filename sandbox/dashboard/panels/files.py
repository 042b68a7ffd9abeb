"""Mounts, open descriptors and the file tree of the selected VM."""

from __future__ import annotations

from rich.text import Text

from sandbox.dashboard import figures
from sandbox.dashboard.grid import Cell, Heading, beside, grid, nothing
from sandbox.dashboard.interface import Interface
from sandbox.dashboard.palette import Look
from sandbox.dashboard.text import line, visible
from sandbox.dashboard.view import FilesView, View


def render(view: View, interface: Interface, columns: int, height: int, look: Look) -> list[Text]:
    files = view.detail.files if view.detail else None
    if files is None:
        return nothing("no files: a bare-metal board has none", columns, height)
    rows = [_summary(files, columns)]
    height -= 1
    if columns >= 150:
        third = columns // 3
        return rows + beside(
            [
                (third, lambda cells, rows: _mounts(files, cells, rows, 0)),
                (third, lambda cells, rows: _descriptors(files, cells, rows, interface.scroll)),
                (0, lambda cells, rows: _tree(files, cells, rows, interface.scroll)),
            ],
            columns,
            height,
            "  ",
        )
    half = columns // 2
    return rows + beside(
        [
            (half, lambda cells, rows: _left(files, interface, cells, rows)),
            (0, lambda cells, rows: _descriptors(files, cells, rows, interface.scroll)),
        ],
        columns,
        height,
        "  ",
    )


def _summary(files: FilesView, columns: int) -> Text:
    words = (
        ("open files", str(len(files.descriptors))),
        ("read from the console", figures.size(files.bytes_read)),
        ("written to it", figures.size(files.bytes_written)),
    )
    return line(
        [piece for label, value in words for piece in ((f"{label} ", "dim"), (f"{value}   ", "strong"))], columns
    )


def _left(files: FilesView, interface: Interface, columns: int, height: int) -> list[Text]:
    top = min(len(files.mounts) + 1, max(3, height * 2 // 3))
    rows = _mounts(files, columns, top, 0)
    if height - top >= 3:
        rows += _tree(files, columns, height - top, interface.scroll)
    return rows


def _mounts(files: FilesView, columns: int, height: int, scroll: int) -> list[Text]:
    headings = (Heading("MOUNT", 0), Heading("TYPE", 8), Heading("", 2), Heading("USED", 6, True))
    rows: list[list[Cell]] = [
        [
            visible(mount.path),
            (mount.type, "dim"),
            ("ro" if mount.read_only else "rw", "dim"),
            figures.size(mount.used) if mount.used is not None else "",
        ]
        for mount in files.mounts
    ]
    return grid(headings, rows, columns, height, scroll=scroll)


def _descriptors(files: FilesView, columns: int, height: int, scroll: int) -> list[Text]:
    headings = (
        Heading("PID", 5, True),
        Heading("FD", 3, True),
        Heading("", 2),
        Heading("AT", 6, True),
        Heading("OPEN FILE", 0),
    )
    rows: list[list[Cell]] = [
        [
            (str(item.task), "dim"),
            str(item.number),
            (item.access, "dim"),
            "" if item.position is None else figures.size(item.position),
            visible(item.path),
        ]
        for item in files.descriptors
    ]
    return grid(headings, rows, columns, height, scroll=scroll, empty="nothing is open")


def _tree(files: FilesView, columns: int, height: int, scroll: int) -> list[Text]:
    headings = (Heading("TREE", 0), Heading("SIZE", 6, True))
    rows: list[list[Cell]] = []
    for entry in files.tree:
        sign = {"directory": "/", "link": "@", "device": "%"}.get(entry.kind, "")
        name = "  " * min(entry.depth, 12) + visible(entry.name) + sign
        rows.append(
            [
                (name, "accent" if entry.kind == "directory" else ""),
                "" if entry.size is None else figures.size(entry.size),
            ]
        )
    return grid(headings, rows, columns, height, scroll=scroll)


if __name__ == "__main__":
    from sandbox.dashboard.alone import show

    show(render, height=10)
