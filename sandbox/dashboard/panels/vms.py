"""The list of VMs: one line each, with what it gets of the host against what it is entitled to.

`COLUMNS` is the one table of columns: what is shown at which width, what can be sorted by, and the titles.
The list shows the window of rows that the source was asked for; the selection is an identity, so it stays
on its VM when the order changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.text import Text

from sandbox.dashboard import figures
from sandbox.dashboard.interface import Interface
from sandbox.dashboard.palette import Look
from sandbox.dashboard.text import Piece, fill, fit, line, visible
from sandbox.dashboard.view import View, VmView


@dataclass(frozen=True, slots=True)
class Column:
    """`rank`: columns of a low rank are the last to go when the screen is narrow."""

    key: str
    title: str
    cells: int
    rank: int
    value: Callable[[VmView, Look], str]
    help: str
    right: bool = True
    style: str = ""


def _memory(vm: VmView, look: Look) -> str:
    return figures.size(vm.memory)


def _why(vm: VmView, look: Look) -> str:
    if vm.reason:
        return visible(vm.reason)
    return f"exit {vm.exit_status}" if vm.exit_status is not None else ""


COLUMNS = (
    Column("name", "NAME", 12, 0, lambda vm, look: visible(vm.name), "the VM's name", right=False),
    Column("state", "STATE", 7, 1, lambda vm, look: vm.state, "as above", right=False),
    Column("isa", "ISA", 7, 2, lambda vm, look: vm.isa, "instruction set", right=False),
    Column("weight", "WEIGHT", 6, 9, lambda vm, look: str(vm.weight), "scheduling weight"),
    Column("cpu", "CPU", 6, 4, lambda vm, look: figures.percent(vm.cpu), "100% is one core"),
    Column("received", "SHARE", 6, 3, lambda vm, look: figures.percent(vm.received), "of all work, received"),
    Column("entitled", "DUE", 6, 3, lambda vm, look: figures.percent(vm.entitled), "share it is entitled to"),
    Column("bar", "OF DUE", 9, 5, lambda vm, look: "", "received; the mark is due", right=False),
    Column("memory", "MEMORY", 6, 6, _memory, "memory in use"),
    Column("limit", "LIMIT", 5, 10, lambda vm, look: figures.size(vm.memory_limit), "memory limit"),
    Column("faults", "FAULT/s", 7, 12, lambda vm, look: figures.rate(vm.faults), "page faults per second"),
    Column("syscalls", "CALLS/s", 7, 8, lambda vm, look: figures.rate(vm.syscalls), "system calls per second"),
    Column(
        "tasks", "TASKS", 5, 11, lambda vm, look: "-" if vm.tasks is None else str(vm.tasks), "processes and threads"
    ),
    Column("uptime", "UP", 6, 7, lambda vm, look: figures.span(vm.uptime), "time since it was started"),
    Column("reason", "WHY IT ENDED", 12, 13, _why, "exit status, or of what", right=False),
)
SORTABLE = tuple(column.key for column in COLUMNS if column.key not in ("bar", "reason"))
_NAME_MOST = 28
_SPARE, _NAME_FIRST = 10, 6  # columns of so high a rank come only once the name has six cells more


def choose(columns: int) -> list[tuple[Column, int]]:
    """The columns that fit, in screen order, each with its width; spare cells go to the name and the reason."""
    room = columns - 3  # the sign in front
    chosen: list[Column] = []
    for column in sorted(COLUMNS, key=lambda column: column.rank):
        if column.cells + 1 + (_NAME_FIRST if column.rank >= _SPARE else 0) > room:
            break
        room -= column.cells + 1
        chosen.append(column)
    result = []
    for column in COLUMNS:
        if column not in chosen:
            continue
        extra = 0
        if column.key == "name":
            extra = min(room, _NAME_MOST - column.cells)
        elif column.key == "reason":
            extra = room
        room -= extra
        result.append((column, column.cells + extra))
    return result


def share_bar(vm: VmView, cells: int, look: Look) -> list[Piece]:
    """Received over entitled; the mark in the middle is exactly the due share."""
    if not vm.entitled or vm.received is None:
        return [" " * cells]
    ratio = vm.received / vm.entitled
    done, rest = look.bar(ratio / 2, cells)
    style = "bar" if 0.95 <= ratio <= 1.05 else "bar.more" if ratio > 1 else "bar.less"
    middle = cells // 2
    if len(done) <= middle:  # the mark stands in the empty part
        at = middle - len(done)
        return [(done, style), (rest[:at], "bar.rest"), (look.signs.mark, "strong"), (rest[at + 1 :], "bar.rest")]
    return [(done[:middle], style), (look.signs.mark, "strong"), (done[middle + 1 :], style), (rest, "bar.rest")]


def render(view: View, interface: Interface, columns: int, height: int, look: Look) -> list[Text]:
    chosen = choose(columns)
    rows = [_titles(chosen, interface, columns, look)]
    for vm in view.rows[: height - 1]:
        rows.append(_row(vm, chosen, vm.identity == interface.selected, columns, look))
    if not view.rows and height > 2:
        empty = f"no VM matches “{visible(interface.filter)}” (Esc shows all)" if interface.filter else "no VMs"
        rows.append(line([("   " + empty, "dim")], columns))
    return fill(rows, columns, height)


def _titles(chosen: list[tuple[Column, int]], interface: Interface, columns: int, look: Look) -> Text:
    pieces: list[Piece] = ["   "]
    for column, cells in chosen:
        title = column.title
        sorted_by = column.key == interface.sort
        if sorted_by:
            arrow = look.signs.down if interface.descending else look.signs.up
            title = title[: cells - 1] + arrow
        pieces += [(fit(title, cells, right=column.right), "strong" if sorted_by else "heading"), " "]
    return line(pieces, columns)


def _row(vm: VmView, chosen: list[tuple[Column, int]], selected: bool, columns: int, look: Look) -> Text:
    # The selected row is one reversed stretch: colours inside it would be hard to read.
    quiet = vm.state in ("stopped", "created")
    pieces: list[Piece] = [(f" {look.state(vm.state)} ", "" if selected else vm.state)]
    for column, cells in chosen:
        if column.key == "bar":
            pieces += share_bar(vm, cells, look)
        else:
            style = vm.state if column.key in ("state", "reason") else "dim" if quiet else column.style
            pieces.append((fit(column.value(vm, look), cells, right=column.right), "" if selected else style))
        pieces.append(" ")
    if not selected:
        return line(pieces, columns)
    return line([("".join(piece if isinstance(piece, str) else piece[0] for piece in pieces), "select")], columns)


if __name__ == "__main__":
    from sandbox.dashboard.alone import show

    show(render, height=14)
