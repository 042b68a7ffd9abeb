"""The cost of a system call that does next to nothing (programs/getppid.c), with the accelerator and with its twin."""

from __future__ import annotations

from benchmarks.figure import ProgramFigure, Repetition
from benchmarks.peers import TWIN, Peer, ours, standard

CALLS = Repetition("getppid", (), 100_000)


def peers(qiling: str | None) -> list[Peer]:
    columns = standard(qiling)
    columns.insert(2, ours(TWIN, engine="python"))
    return columns


FIGURE = ProgramFigure("getppid", "System call (getppid)", "us per call", CALLS.measure, CALLS.microseconds, peers)
