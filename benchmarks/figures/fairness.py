"""What VMs get beside what they are entitled to.

Exact mode: 1,000 real VMs of weights 1 to 1024 on one core, a million decisions: the largest lag there was at any
moment, in quanta (the bound is 1, see sandbox/scheduler/fair.py), and Jain's index of service per weight.
Free-running: 20 VMs for ten seconds, half of them `jmp .`, half blocks that take a thousand times as long; and caps,
of 1, 10 and 50 % beside one VM without: only a host that gives this process a whole core lets the largest be kept.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.figure import Result, Row
from benchmarks.figures.switch import attempt
from benchmarks.peers import OURS


class FairnessFigure:
    name = "fairness"
    title = "Fair shares"

    def measure(self, qiling: str | None, runs: int, progress: Callable[[str], None]) -> Result:
        lag, index, decisions = (
            Row("largest lag of 1,000 VMs, quanta"),
            Row("1 - Jain's index of them"),
            Row("decisions"),
        )
        free = Row("20 VMs of unlike blocks, 10 s: worst, % off")
        had = Row("host cores this process had meanwhile")
        caps = {cap: Row(f"cap of {cap} %: % off it") for cap in ("50", "10", "1")}
        progress(f"{self.name}: a million decisions")
        if values := attempt(lag, OURS, "exact_shares"):
            lag.values[OURS], index.values[OURS] = values["lag"], 1 - values["jain"]
            decisions.values[OURS] = values["decisions"]
        progress(f"{self.name}: free-running")
        if values := attempt(free, OURS, "free_shares"):
            free.values[OURS] = values["percent"]
        progress(f"{self.name}: caps")
        if values := attempt(caps["50"], OURS, "caps"):
            for cap, row in caps.items():
                row.values[OURS] = values[cap]
            had.values[OURS] = values["had"]
        rows = [lag, index, decisions, free, *caps.values(), had]
        return Result(self.name, self.title, "units in the rows", rows, (), "one run")


FIGURE = FairnessFigure()
