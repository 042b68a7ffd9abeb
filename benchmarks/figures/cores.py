"""Two host cores beside one: eight VMs that compute, and eight that make system calls all the time.

Medians of pairs, each pair in one process. The kernels of all VMs are Python under one lock, so only guest code runs
on two cores at a time: the second row is what that leaves. Only a host with two idle cores shows the first; how many
this process had is said, and what the speedup would be without the time that its threads waited for one: the CPU time
of one core's run by that of two, times how many threads were at work at a time.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.figure import Result, Row
from benchmarks.figures.switch import attempt
from benchmarks.peers import OURS

TWO, ONE, BEST, HAD = "two cores", "one core", "best pair", "cores had"
CORRECTED = "speedup undisturbed"


class CoresFigure:
    name = "cores"
    title = "Two host cores"

    def measure(self, qiling: str | None, runs: int, progress: Callable[[str], None]) -> Result:
        rows = []
        for kind in ("compute", "calls"):
            progress(f"{self.name}: {kind}")
            row = Row(kind)
            if values := attempt(row, OURS, "cores", kind, max(3, runs)):
                row.values = {
                    TWO: values["two"],
                    ONE: values["one"],
                    "speedup": values["speedup"],
                    BEST: values["best"],
                    HAD: values["had"],
                    CORRECTED: values["undisturbed"],
                }
            rows.append(row)
        return Result(self.name, self.title, "seconds", rows, ((TWO, ONE),), "wall time, medians of pairs")


FIGURE = CoresFigure()
