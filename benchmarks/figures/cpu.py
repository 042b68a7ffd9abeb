"""The CPU mix: branchy integer code, memory, calls and floating point, the same C on every ISA (programs/mix.c)."""

from __future__ import annotations

from benchmarks.figure import Parts, ProgramFigure, measure
from benchmarks.peers import Job, Peer, standard

# Rounds chosen so that each kernel takes about a quarter of a second under qemu-user.
ROUNDS = {"integer": 40, "memory": 60, "calls": 60, "floating point": 60}


def run(peer: Peer, isa: str, runs: int) -> Parts:
    jobs = {kernel: Job(isa, "mix", (kernel[0], str(rounds))) for kernel, rounds in ROUNDS.items()}
    return measure(peer, jobs, runs)


FIGURE = ProgramFigure("cpu", "CPU mix", "seconds", run, lambda parts: sum(parts.values()), standard)
