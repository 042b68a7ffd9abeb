"""The top of the screen: how many VMs are in which state, and six meters with their recent past."""

from __future__ import annotations

from rich.text import Text

from sandbox.dashboard.figures import percent, rate, size, span
from sandbox.dashboard.interface import Interface
from sandbox.dashboard.palette import Look
from sandbox.dashboard.text import Piece, fit, line, width
from sandbox.dashboard.view import HISTORY, HostView, Meter, View

HEIGHT = 3
_LABEL, _VALUE = 8, 10


def render(view: View, interface: Interface, columns: int, height: int, look: Look) -> list[Text]:
    host = view.host
    rows = [_title(view, interface, columns, look)]
    meters = _meters(host)
    gap = 2
    cell = (columns - 2 * gap - 2) // 3
    for start in range(0, len(meters), 3):
        pieces: list[Piece] = [" "]
        for index, (label, value, meter) in enumerate(meters[start : start + 3]):
            if index:
                pieces.append(" " * gap)
            pieces += _meter(label, value, meter, cell, look)
        rows.append(line(pieces, columns))
    return rows[:height]


def _title(view: View, interface: Interface, columns: int, look: Look) -> Text:
    host = view.host
    left: list[Piece] = [(" sandbox ", "title")]
    left.append((f" {view.total} VM{'' if view.total == 1 else 's'}", "strong"))
    for state, count in host.states:
        if count:
            left += ["   ", (f"{look.state(state)} {count} {state}", state)]
    notes = [
        "read-only" if interface.read_only else "",
        _memory(host),
        host.mode,
        f"{host.engine} engine" if host.engine else "",
        f"up {span(host.uptime)}",
    ]
    right = f" {look.signs.dot} ".join(note for note in notes if note) + " "
    used = sum(width(piece if isinstance(piece, str) else piece[0]) for piece in left)
    for few in (notes[-2:], notes[-1:]):
        if used + len(right) + 1 > columns:
            right = f" {look.signs.dot} ".join(note for note in few if note) + " "
    if used + len(right) + 1 <= columns:
        left += [" " * (columns - used - len(right)), (right, "dim")]
    return line(left, columns)


def _memory(host: HostView) -> str:
    parts = (("private", host.memory_private), ("shared", host.memory_shared), ("compressed", host.memory_compressed))
    return ", ".join(f"{size(amount)} {name}" for name, amount in parts if amount is not None)


def _meters(host: HostView) -> list[tuple[str, str, Meter]]:
    cores = f"{host.busy.value:.1f}/{host.cores}"
    memory = f"{size(host.memory.value)}/{size(host.memory.limit)}" if host.memory.limit else size(host.memory.value)
    return [
        ("cores", cores, host.busy),
        ("work", f"{rate(host.work.value)}/s", host.work),
        ("syscalls", f"{rate(host.syscalls.value)}/s", host.syscalls),
        ("memory", memory, host.memory),
        ("faults", f"{rate(host.faults.value)}/s", host.faults),
        ("events", f"{rate(host.events.value)}/s", host.events),
    ]


def _meter(label: str, value: str, meter: Meter, cell: int, look: Look) -> list[Piece]:
    """Exactly `cell` cells: label, value, and the past in what is left."""
    pieces: list[Piece] = [(fit(label, _LABEL), "dim"), (fit(value, _VALUE, right=True), "strong")]
    room = cell - _LABEL - _VALUE - 1
    if room < 3:
        return [(fit(label + " " + value, cell), "strong")]
    if meter.limit and room > 40:
        done, rest = look.bar(meter.value / meter.limit, 12)
        share = fit(percent(meter.value / meter.limit), 6, right=True)
        pieces += [" ", (done, "bar"), (rest, "bar.rest"), share]
        room -= 19
    room = min(room, HISTORY)
    spark = look.sparkline(meter.history, room, meter.limit)
    used = sum(width(piece if isinstance(piece, str) else piece[0]) for piece in pieces)
    past = spark.lstrip(" ")
    pieces += [" ", (look.signs.empty * (len(spark) - len(past)), "faint"), (past, "spark")]
    pieces.append(" " * (cell - used - 1 - room))
    return pieces


if __name__ == "__main__":
    from sandbox.dashboard.alone import show

    show(render, height=HEIGHT)
