"""What a figure is: rows of values by peer, and the ratios that are read off them.

A new figure is a file in figures/ with a module-level `FIGURE`; it decides what is run and how a row's value is
computed from measurements. Ratios say how many times as fast as the peer this package is (2 = twice as fast), whether
the value is a time or a rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.peers import EXACT, HOST, ISAS, OURS, QEMU_USER, QILING, STOCK, Job, Measurement, NotMeasured, Peer


@dataclass
class Row:
    label: str
    values: dict[str, float] = field(default_factory=dict)  # by peer; absent = not measured
    notes: dict[str, str] = field(default_factory=dict)  # by peer: why it was not measured
    details: dict[str, dict[str, float]] = field(default_factory=dict)  # by peer: the parts of the value


@dataclass
class Result:
    name: str
    title: str
    unit: str
    rows: list[Row]
    ratios: tuple[tuple[str, str], ...]  # (numerator of speed, what it is compared with)
    how: str = ""  # it was measured, where it is not the minimum of the runs


class Figure(Protocol):
    name: str
    title: str

    def measure(self, qiling: str | None, runs: int, progress: Callable[[str], None]) -> Result: ...


RATIOS = ((OURS, STOCK), (OURS, QEMU_USER), (EXACT, QEMU_USER), (OURS, HOST), (OURS, QILING))


def ratio(row: Row, ours: str, peer: str) -> float | None:
    """How many times as fast as `peer`; values are times, so less is faster."""
    if row.values.get(ours) and row.values.get(peer):
        return row.values[peer] / row.values[ours]
    return None


def geometric_mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value]
    return math.exp(sum(map(math.log, known)) / len(known)) if known else None


@dataclass(frozen=True)
class Repetition:
    """What a program does once, from a run that does it `times` times and one that only starts: as often as it takes
    to outweigh the start by far, whose own noise is else all that is seen of something quick."""

    program: str
    mode: tuple[str, ...]  # arguments before the number of times
    times: int  # to begin with

    def jobs(self, isa: str, times: int) -> dict[str, Job]:
        return {
            "start": Job(isa, self.program, (*self.mode, "0")),
            "all": Job(isa, self.program, (*self.mode, str(times))),
        }

    def measure(self, peer: Peer, isa: str, runs: int) -> Parts:
        times = self.times
        while True:
            parts = measure(peer, self.jobs(isa, times), runs)
            if parts["all"].seconds > 4 * parts["start"].seconds or times >= 1024 * self.times:
                return parts | {"times": Measurement(times, "")}
            times *= 8

    @staticmethod
    def microseconds(parts: dict[str, float]) -> float:
        return max(parts["all"] - parts["start"], 1e-9) / parts["times"] * 1e6


Parts = dict[str, Measurement]


def measure(peer: Peer, jobs: dict[str, Job], runs: int) -> Parts:
    return dict(zip(jobs, peer.measure(list(jobs.values()), runs), strict=True))


@dataclass(frozen=True)
class ProgramFigure:
    """A figure that runs a few jobs per ISA with every peer; `value` makes one number of their seconds."""

    name: str
    title: str
    unit: str
    run: Callable[[Peer, str, int], Parts]  # with this peer, of an ISA, so many runs
    value: Callable[[dict[str, float]], float]
    peers: Callable[[str | None], list[Peer]]

    def measure(self, qiling: str | None, runs: int, progress: Callable[[str], None]) -> Result:
        rows = []
        for isa in ISAS:
            row = Row(isa)
            outputs: dict[str, tuple[str, ...]] = {}
            for peer in self.peers(qiling):
                progress(f"{self.name}: {isa}, {peer.name}")
                try:
                    measured = self.run(peer, isa, runs)
                except NotMeasured as reason:
                    row.notes[peer.name] = str(reason)
                    continue
                parts = {part: item.seconds for part, item in measured.items()}
                row.values[peer.name] = self.value(parts)
                row.details[peer.name] = parts
                outputs[peer.name] = tuple(item.output for item in measured.values())
            self._compare(row, outputs)
            rows.append(row)
        return Result(self.name, self.title, self.unit, rows, RATIOS)

    @staticmethod
    def _compare(row: Row, outputs: dict[str, tuple[str, ...]]) -> None:
        """A peer whose output differs from the majority's did not run the program; its value is withdrawn."""
        if not outputs:
            return
        votes = list(outputs.values())
        right = max(votes, key=votes.count)
        for peer, output in outputs.items():
            if output != right:
                row.values.pop(peer)
                row.notes[peer] = f"wrong output: {output!r}"
