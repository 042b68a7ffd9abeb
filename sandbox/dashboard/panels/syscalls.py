"""The selected VM's system calls as they happen, newest at the bottom, and which ones it makes most."""

from __future__ import annotations

from rich.text import Text

from sandbox.dashboard import figures
from sandbox.dashboard.grid import Cell, Heading, beside, grid, nothing
from sandbox.dashboard.interface import Interface
from sandbox.dashboard.palette import Look
from sandbox.dashboard.text import Piece, fill, fit, line, visible, width
from sandbox.dashboard.view import SyscallsView, SyscallView, View

_TOP, _TIMED_TOP = 32, 46


def render(view: View, interface: Interface, columns: int, height: int, look: Look) -> list[Text]:
    syscalls = view.detail.syscalls if view.detail else None
    if syscalls is None:
        return nothing("no system calls: a bare-metal board has none", columns, height)
    if columns < 80:
        return _live(syscalls, interface, columns, height)
    beside_it = _TIMED_TOP if columns >= 110 else _TOP
    return beside(
        [
            (0, lambda cells, rows: _live(syscalls, interface, cells, rows)),
            (beside_it, lambda cells, rows: _top(syscalls, cells, rows)),
        ],
        columns,
        height,
        "  ",
    )


def _live(syscalls: SyscallsView, interface: Interface, columns: int, height: int) -> list[Text]:
    wanted = interface.tab_filter
    calls = [call for call in syscalls.recent if not wanted or matches(call, wanted)]
    end = max(min(len(calls), height), len(calls) - interface.scroll)
    timed = columns >= 60 and any(call.latency is not None for call in calls)
    rows = [_call(call, columns, timed) for call in calls[max(0, end - height) : end]]
    if not rows:
        words = f"no call matches {wanted!r}" if wanted else "no calls seen since this tab was opened"
        return nothing(words, columns, height)
    return fill(rows, columns, height)


def matches(call: SyscallView, wanted: str) -> bool:
    """A name, an errno's name, or "errors"."""
    wanted = wanted.lower()
    return wanted in call.name or wanted == call.error.lower() or (wanted == "errors" and bool(call.error))


def _call(call: SyscallView, columns: int, timed: bool) -> Text:
    tail = f" = {call.result}" + (f" {call.error}" if call.error else "")
    latency = fit(figures.brief(call.latency), 6, right=True) if timed else ""
    head = f"{call.task:>5} "
    room = columns - len(latency) - 1
    body = f"{call.name}({visible(call.text)})"
    space = room - len(head) - len(tail)
    body = fit(body, space) if space < width(body) else body
    cut = len(call.name) if body.startswith(call.name) else 0
    pieces: list[Piece] = [
        (head, "dim"),
        (body[:cut], "mnemonic"),
        body[cut:],
        (tail, "error" if call.error else "dim"),
    ]
    text = line(pieces, room)
    text.append(" " + latency, "dim")
    return text


def _top(syscalls: SyscallsView, columns: int, height: int) -> list[Text]:
    headings = [Heading("MOST FREQUENT", 0), Heading("CALLS", 7, True), Heading("ERRORS", 6, True)]
    timed = columns >= _TIMED_TOP
    if timed:
        headings += [Heading("MEAN", 6, True), Heading("MOST", 6, True)]
    rows: list[list[Cell]] = []
    for call in syscalls.top[:10]:
        row: list[Cell] = [call.name, figures.rate(call.calls)]
        row.append((figures.rate(call.errors) if call.errors else "", "error"))
        rows.append(row + ([_took(call.mean), _took(call.longest)] if timed else []))
    for name, calls in syscalls.unknown:
        unknown: list[Cell] = [(name, "warning"), figures.rate(calls), ("ENOSYS", "error")]
        rows.append(unknown + ["", ""] * timed)
    return grid(headings, rows, columns, height)


def _took(nanoseconds: float | None) -> Cell:
    return "" if nanoseconds is None else figures.brief(nanoseconds)


if __name__ == "__main__":
    from sandbox.dashboard.alone import show

    show(render, height=12)
