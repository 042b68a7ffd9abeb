"""What it costs to watch: CPU time of one picture of the dashboard, and the share of a core at ten a second.

The VMs are real and asleep (a program that waits for input), so nothing but the dashboard uses this thread; each
picture is made after a key, so that the list moves, and drawn by the terminal's own code into nothing. Beside it, a
`rich.Table` of the rows that are on the screen, printed at the same size.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable

from benchmarks.figure import Result, Row
from benchmarks.peers import OURS

COUNTS = {12: 3.0, 100: 3.0, 1000: 5.0, 10_000: 20.0}  # and how many seconds are watched: several readings of all VMs
COLUMNS, ROWS = 120, 40
RATE = 10  # pictures a second
SHARE = "share of a core, %"
TABLE = "rich.Table"


class DashboardFigure:
    name = "dashboard"
    title = f"a picture of the dashboard at {COLUMNS}x{ROWS}, by number of VMs"

    def measure(self, qiling: str | None, runs: int, progress: Callable[[str], None]) -> Result:
        from sandbox.errors import OutOfMemory

        rows = []
        for count, seconds in COUNTS.items():
            row = Row(f"{count:,}")
            progress(f"{self.name}: {count} VMs")
            try:
                picture, share, table = _watch(count, seconds, runs if count < 10_000 else 1)
            except (OutOfMemory, OSError) as error:
                row.notes[OURS] = str(error)
            else:
                row.values = {OURS: picture * 1e3, TABLE: table * 1e3, SHARE: share * 100}
            rows.append(row)
        return Result(self.name, self.title, "milliseconds of CPU", rows, ((OURS, TABLE),))


def _watch(count: int, seconds: float, runs: int) -> tuple[float, float, float]:
    """Seconds of CPU of a picture, the share of one core, seconds of CPU of the table."""
    from sandbox.dashboard.app import App
    from sandbox.dashboard.collector import Collector
    from sandbox.dashboard.keys import Key
    from sandbox.dashboard.layout import compose
    from sandbox.dashboard.screen import Screen
    from sandbox.guests import guest
    from sandbox.hypervisor import Hypervisor

    program = str(guest("cat", "x86_64").path)
    descriptor = os.open(os.devnull, os.O_WRONLY)
    best = (float("inf"), float("inf"))
    try:
        with Hypervisor(memory="8G") as hypervisor:
            for number in range(count):
                hypervisor.create(f"vm-{number}", [program], memory="1M").start()
            app = App(Collector(hypervisor))
            app.size = (COLUMNS, ROWS)
            screen = Screen(descriptor, environment={"TERM": "xterm-256color"})
            screen.enter()
            for _ in range(runs):
                begun, spent, pictures = time.monotonic(), time.thread_time(), 0
                while (now := time.monotonic()) - begun < seconds:
                    app.press(Key("down"))
                    app.look_again()
                    screen.paint(compose(app.view, app.interface, *app.size, app.look))
                    pictures += 1
                    time.sleep(max(0.0, 1 / RATE - (time.monotonic() - now)))
                used = time.thread_time() - spent
                best = min(best, (used / pictures, used / (time.monotonic() - begun)))
            table = min(_table(app) for _ in range(runs))
    finally:
        os.close(descriptor)
    return (*best, table)


def _table(app: object) -> float:
    from rich.console import Console
    from rich.table import Table

    from sandbox.dashboard.app import App
    from sandbox.dashboard.palette import Look
    from sandbox.dashboard.panels.vms import choose

    assert isinstance(app, App)
    columns = [column for column, _ in choose(COLUMNS)]
    console = Console(file=io.StringIO(), width=COLUMNS, height=ROWS, force_terminal=True)
    begun = time.thread_time()
    table = Table(*(column.title for column in columns), box=None)
    for vm in app.view.rows:
        table.add_row(*(column.value(vm, Look()) for column in columns))
    console.print(table)
    return time.thread_time() - begun


FIGURE = DashboardFigure()
