"""Who ran where for the last seconds, how far each VM is from its due, and who holds which engine.

The strip has one row per VM in the order of the list; the height of a block is the share of that moment it
had, its colour the lane (host core). The lag bar is in quanta: left of the middle ahead, right of it behind.
"""

from __future__ import annotations

from rich.text import Text

from sandbox.dashboard import figures
from sandbox.dashboard.grid import Cell, Heading, beside, grid, nothing
from sandbox.dashboard.interface import Interface
from sandbox.dashboard.palette import LANES, Look
from sandbox.dashboard.text import Piece, fill, fit, line, visible
from sandbox.dashboard.view import SchedulerView, View

_NAME, _WIDE_NAME, _LAG = 14, 22, 15
_LEASES = 40


def render(view: View, interface: Interface, columns: int, height: int, look: Look) -> list[Text]:
    scheduler = view.scheduler
    if scheduler is None:
        return nothing("no scheduler to show", columns, height)
    names = dict(scheduler.names) or {vm.identity: vm.name for vm in view.rows}
    if view.detail:
        names[view.detail.vm.identity] = view.detail.vm.name
    rows = [_summary(scheduler, columns, look)]
    body = height - 1
    if columns >= 130 and scheduler.leases:
        panes = beside(
            [
                (0, lambda cells, count: _strip(scheduler, names, interface, cells, count, look)),
                (_LEASES, lambda cells, count: _leases(scheduler, names, cells, count)),
            ],
            columns,
            body,
            "  ",
        )
        return rows + panes
    return rows + _strip(scheduler, names, interface, columns, body, look)


def _summary(scheduler: SchedulerView, columns: int, look: Look) -> Text:
    lag, switches = scheduler.largest_lag, scheduler.switches
    words = [
        ("policy", scheduler.policy),
        ("quantum", scheduler.quantum),
        ("queue", str(len(scheduler.queue))),
        ("lag at most", "" if lag is None else f"{lag:.2f} quanta"),
        ("switches", "" if switches is None else figures.rate(switches)),
    ]
    pieces: list[Piece] = []
    lanes: list[Piece] = []
    for lane in sorted({item.lane for item in scheduler.slices}):
        lanes += [(look.signs.full * 2, f"lane.{lane % LANES}"), (f" core {lane}   ", "dim")]
    room = columns - sum(len(piece[0]) for piece in lanes)
    for label, value in words:
        room -= len(label) + len(value) + 4
        if value and room >= 0:
            pieces += [(f"{label} ", "dim"), (f"{value}   ", "strong")]
    return line([*pieces, *lanes], columns)


def _strip(
    scheduler: SchedulerView, names: dict[str, str], interface: Interface, columns: int, height: int, look: Look
) -> list[Text]:
    name_cells = _WIDE_NAME if columns >= 100 else _NAME
    cells = max(1, columns - name_cells - _LAG - 2)
    shown = list(names)
    newest = scheduler.now
    oldest = min((item.start for item in scheduler.slices), default=newest)
    length = max(newest - oldest, 1e-9) / cells
    use: dict[str, list[float]] = {}
    lane: dict[str, list[int]] = {}
    for item in scheduler.slices:
        if item.vm not in names:
            continue
        busy = use.setdefault(item.vm, [0.0] * cells)
        where = lane.setdefault(item.vm, [0] * cells)
        first = max(0, int((item.start - oldest) / length))
        last = min(cells - 1, int((item.end - oldest) / length))
        for cell in range(first, last + 1):
            left, right = oldest + cell * length, oldest + (cell + 1) * length
            busy[cell] += max(0.0, min(right, item.end) - max(left, item.start)) / length
            where[cell] = item.lane
    lags = {item.vm: item.lag for item in scheduler.lags}
    head: list[Piece] = [
        (fit("VM", name_cells), "heading"),
        " ",
        (fit(f"the last {figures.span(newest - oldest)}", cells), "heading"),
        " ",
        (fit("  AHEAD  BEHIND", _LAG), "heading"),
    ]
    rows = [line(head, columns)]
    room = height - 1
    scroll = max(0, min(interface.scroll, len(shown) - room))
    for vm in shown[scroll : scroll + room]:
        style = "strong" if vm == interface.selected else ""
        pieces: list[Piece] = [(fit(visible(names[vm]), name_cells), style), " "]
        pieces += _lane_cells(use.get(vm), lane.get(vm), cells, look)
        pieces += [" ", *_lag_bar(lags.get(vm), look)]
        rows.append(line(pieces, columns))
    return fill(rows, columns, height)


def _lane_cells(use: list[float] | None, lanes: list[int] | None, cells: int, look: Look) -> list[Piece]:
    if use is None or lanes is None:
        return [(look.signs.empty * cells, "faint")]
    spark = look.signs.spark
    pieces: list[Piece] = []
    for busy, lane in zip(use, lanes, strict=True):
        if busy <= 0.005:
            pieces.append((look.signs.empty, "faint"))
        else:
            pieces.append((spark[min(len(spark) - 1, int(busy * len(spark)))], f"lane.{lane % LANES}"))
    return pieces


def _lag_bar(lag: float | None, look: Look) -> list[Piece]:
    """Seven cells on each side of the mark, one quantum wide."""
    if lag is None:
        return [" " * _LAG]
    half = _LAG // 2
    length = min(half, round(abs(lag) * half))
    full, mark = look.signs.full, look.signs.mark
    style = "bar" if abs(lag) <= 1 else "bar.less"
    if lag < 0:
        return [" " * (half - length), (full * length, style), (mark, "strong"), " " * half]
    return [" " * half, (mark, "strong"), (full * length, style), " " * (half - length)]


def _leases(scheduler: SchedulerView, names: dict[str, str], columns: int, height: int) -> list[Text]:
    headings = (Heading("ENGINE", 12), Heading("HELD BY", 0), Heading("SWITCHES", 8, True))
    rows: list[list[Cell]] = [
        [visible(lease.engine), visible(names.get(lease.vm, lease.vm)), figures.rate(lease.switches)]
        for lease in scheduler.leases
    ]
    return grid(headings, rows, columns, height)


if __name__ == "__main__":
    from sandbox.dashboard.alone import show

    show(render, height=12)
