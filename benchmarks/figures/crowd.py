"""Many VMs alive at the same time in one process, of five ISAs in turn: memory, and time to start and to finish.

Each waits for its input, is given a value of its own, answers it and ends; every answer is checked. Assembled: the
guest `cat`; busybox: Debian's static one running `sed`, fetched as for the tests; shells: the same one's shell with a
loop, a subshell, a command substitution and a pipeline, so five processes each.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.figure import Result, Row
from benchmarks.figures.switch import attempt
from benchmarks.peers import OURS


class CrowdFigure:
    name = "crowd"
    title = "Many VMs at once"

    def measure(self, qiling: str | None, runs: int, progress: Callable[[str], None]) -> Result:
        rows = []
        for kind, count in (("busybox", 1000), ("shell", 1000), ("assembled", 10_000)):
            progress(f"{self.name}: {count} {kind}")
            row = Row(f"{count:,} {kind}")
            if values := attempt(row, OURS, "crowd", kind, count):
                row.values = {
                    "MiB": values["memory"],
                    "KiB each": values["each"],
                    "s to start": values["start"],
                    "s to finish": values["run"],
                    "wrong": values["wrong"],
                }
            rows.append(row)
        return Result(self.name, self.title, "resident memory, seconds, wrong answers", rows, (), "one run")


FIGURE = CrowdFigure()
