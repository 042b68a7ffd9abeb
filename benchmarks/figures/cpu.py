"""The CPU mix: branchy integer code, memory, calls and floating point, the same C on every ISA (programs/mix.c)."""

from __future__ import annotations

from benchmarks.figure import ProgramFigure
from benchmarks.peers import Job, standard

# Rounds chosen so that each kernel takes about a quarter of a second under qemu-user.
ROUNDS = {"integer": 40, "memory": 60, "calls": 60, "floating point": 60}


def jobs(isa: str) -> dict[str, Job]:
    return {kernel: Job(isa, "mix", (kernel[0], str(rounds))) for kernel, rounds in ROUNDS.items()}


FIGURE = ProgramFigure("cpu", "CPU mix", "seconds", jobs, lambda parts: sum(parts.values()), standard)
