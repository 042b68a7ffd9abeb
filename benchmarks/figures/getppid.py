"""The cost of a system call that does next to nothing (programs/getppid.c), with the accelerator and with its twin."""

from __future__ import annotations

from benchmarks.figure import ProgramFigure
from benchmarks.peers import TWIN, Job, Peer, ours, standard

CALLS = 100_000


def jobs(isa: str) -> dict[str, Job]:
    return {"start": Job(isa, "getppid", ("0",)), "calls": Job(isa, "getppid", (str(CALLS),))}


def microseconds(parts: dict[str, float]) -> float:
    return max(parts["calls"] - parts["start"], 1e-9) / CALLS * 1e6


def peers(qiling: str | None) -> list[Peer]:
    columns = standard(qiling)
    columns.insert(2, ours(TWIN, engine="python"))
    return columns


FIGURE = ProgramFigure("getppid", "System call (getppid)", "us per call", jobs, microseconds, peers)
