"""What processes and threads cost (programs/tasks.c): getpid, fork+exit+wait, a round trip over two pipes between two
processes, a thread made and joined. Microseconds for each, the program's start taken off."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.figure import RATIOS, ProgramFigure, Repetition, Result
from benchmarks.peers import EXACT, HOST, OURS, QEMU_USER, Peer, standard

TIMES = {"getpid": 500_000, "fork+exit+wait": 300, "ping-pong": 20_000, "thread create+join": 1_000}


def peers(qiling: str | None) -> list[Peer]:
    """Stock Unicorn has no processes, and Qiling's are processes of the host."""
    return [peer for peer in standard(None) if peer.name in (OURS, EXACT, QEMU_USER, HOST)]


def figure(what: str, times: int) -> ProgramFigure:
    repeated = Repetition("tasks", (what[0],), times)
    return ProgramFigure("processes", what, "us", repeated.measure, repeated.microseconds, peers)


class ProcessesFigure:
    name = "processes"
    title = "Processes and threads"

    def measure(self, qiling: str | None, runs: int, progress: Callable[[str], None]) -> Result:
        rows = []
        for what, times in TIMES.items():
            for row in figure(what, times).measure(qiling, runs, progress).rows:
                row.label = f"{what} {row.label}"
                rows.append(row)
        return Result(self.name, self.title, "us each", rows, RATIOS)


FIGURE = ProcessesFigure()
