"""The selected VM's system calls as they happen, newest at the bottom, and which ones it makes most."""

from __future__ import annotations

from rich.text import Text

from sandbox.dashboard import figures
from sandbox.dashboard.grid import Cell, Heading, beside, grid, nothing
from sandbox.dashboard.interface import Interface
from sandbox.dashboard.palette import Look
from sandbox.dashboard.text import Piece, fill, fit, line, visible
from sandbox.dashboard.view import SyscallsView, SyscallView, View

_TOP = 32


def render(view: View, interface: Interface, columns: int, height: int, look: Look) -> list[Text]:
    syscalls = view.detail.syscalls if view.detail else None
    if syscalls is None:
        return nothing("no system calls: a bare-metal board has none", columns, height)
    if columns < 80:
        return _live(syscalls, interface, columns, height)
    return beside(
        [
            (0, lambda cells, rows: _live(syscalls, interface, cells, rows)),
            (_TOP, lambda cells, rows: _top(syscalls, cells, rows, interface)),
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
    room = columns - len(head) - len(latency) - 1
    arguments = visible(call.text)
    body = f"{call.name}({arguments})"
    space = room - len(tail)
    body = fit(body, space) if space < len(body) else body
    cut = len(call.name) if body.startswith(call.name) else 0
    used = len(fit(body + tail, room))
    pieces: list[Piece] = [
        (head, "dim"),
        (body[:cut], "mnemonic"),
        body[cut:],
        (tail, "error" if call.error else "dim"),
    ]
    text = line(pieces, len(head) + used)
    text.append(" " + latency, "warning" if (call.latency or 0) >= 1e6 else "dim")
    return text


def _top(syscalls: SyscallsView, columns: int, height: int, interface: Interface) -> list[Text]:
    headings = (Heading("MOST FREQUENT", 0), Heading("CALLS", 7, True), Heading("ERRORS", 6, True))
    rows: list[list[Cell]] = [
        [name, figures.rate(calls), (figures.rate(errors) if errors else "", "error")]
        for name, calls, errors in syscalls.top[:10]
    ]
    for name, calls in syscalls.unknown:
        rows.append([(name, "warning"), figures.rate(calls), ("ENOSYS", "error")])
    return grid(headings, rows, columns, height)


if __name__ == "__main__":
    from sandbox.dashboard.alone import show

    show(render, height=12)
