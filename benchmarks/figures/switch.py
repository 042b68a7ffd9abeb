"""What it costs to go from one VM to the next, what that adds to compute-bound VMs, and how soon a sleeper wakes.

A switch: 1,000 VMs of `jmp .` with a quantum of a few instructions, so that turns are nothing but switches; CPU time
per turn, all of it: the decision, the lease, the registers, the kernel's loop, the books. Beside it, the engine alone
going through the registers and page tables of the same VMs. Overhead: 20 VMs with the same work under the scheduler
and one after the other, medians of pairs in one process. Waking up: from a line typed to the guest's write of its
echo, among 100 VMs that never rest.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.figure import Result, Row
from benchmarks.fleets import Values, measure
from benchmarks.peers import OURS, TWIN, NotMeasured

ROUNDS = {OURS: 15_000_000, TWIN: 150_000}  # of the burner

HOW = "switches: CPU time, the best run; scheduling: CPU time, median of pairs; waking: wall time"


class SwitchFigure:
    name = "switch"
    title = "Between VMs"

    def measure(self, qiling: str | None, runs: int, progress: Callable[[str], None]) -> Result:
        whole, alone = Row("a switch among 1,000 VMs, us"), Row("of that, the engine, us")
        percent = {mode: Row(f"scheduling 20 busy VMs, {mode}, % more") for mode in ("free", "exact")}
        typed = {kind: Row(f"waking among 100, {kind}, p50, us") for kind in ("interactive", "normal")}
        worst = {kind: Row(f"waking among 100, {kind}, p99, us") for kind in ("interactive", "normal")}
        rows = [whole, alone, *percent.values()]
        for kind in typed:
            rows += [typed[kind], worst[kind]]
        for peer in (OURS, TWIN):
            progress(f"{self.name}: switches, {peer}")
            found = [values for _ in range(runs) if (values := attempt(whole, peer, "switch"))]
            if found:
                best = min(found, key=lambda values: values["whole"])
                whole.values[peer], alone.values[peer] = best["whole"], best["engine"]
            for mode, row in percent.items():
                progress(f"{self.name}: overhead, {mode}, {peer}")
                if values := attempt(row, peer, "overhead", mode, 20, max(3, runs), ROUNDS[peer]):
                    row.values[peer] = values["percent"]
                    row.details[peer] = values
            for kind in typed:
                progress(f"{self.name}: waking, {kind}, {peer}")
                if values := attempt(typed[kind], peer, "latency", kind):
                    typed[kind].values[peer], worst[kind].values[peer] = values["p50"], values["p99"]
        return Result(self.name, self.title, "units in the rows", rows, (), HOW)


def attempt(row: Row, peer: str, name: str, *arguments: object) -> Values:
    try:
        return measure(name, *arguments, twin=peer == TWIN)
    except NotMeasured as reason:
        row.notes[peer] = str(reason)
        return {}


FIGURE = SwitchFigure()
