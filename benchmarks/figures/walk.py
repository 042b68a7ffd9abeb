"""Random access over 64 MB, after every page was touched: what the TLB costs when it misses (programs/walk.c)."""

from __future__ import annotations

from benchmarks.figure import Parts, ProgramFigure, measure
from benchmarks.peers import Job, Peer, standard

STEPS = 2_000_000


def run(peer: Peer, isa: str, runs: int) -> Parts:
    return measure(peer, {"touch": Job(isa, "walk", ("0",)), "walk": Job(isa, "walk", (str(STEPS),))}, runs)


def nanoseconds(parts: dict[str, float]) -> float:
    return max(parts["walk"] - parts["touch"], 1e-9) / STEPS * 1e9


FIGURE = ProgramFigure("walk", "Random walk over 64 MB", "ns per step", run, nanoseconds, standard)
