"""What the scheduler knows of one virtual machine, and what a policy is.

A `Share` is a VM's claim on the processor: a weight, a latency class, an optional cap, and the book-keeping of
the run queue and of one policy. A `Policy` orders the shares that want to run; it is pure (no threads, no
clock of its own) and is told everything through six calls. Units of service are whatever is charged: code
bytes in exact mode, CPU nanoseconds when free-running.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol

from sandbox.errors import ConfigurationError
from sandbox.scheduler.quota import Cap

# Latency classes: the part of a quantum that one request of the class asks for. A short request has an early
# deadline, so it is served soon; its share stays what its weight says.
LATENCY_CLASSES = {"normal": 1, "interactive": 16}
# Other than normal: what part the first request after waking is; each next one is twice as long, up to the class's.
QUICK = 512

MINIMUM_WEIGHT = 1
MAXIMUM_WEIGHT = 10_000

CAP_PERIOD = 100_000_000  # nanoseconds, as in Linux's cpu.max


class Phase(IntEnum):
    """What a VM's time is spent on; `Share.spent` adds them up."""

    ASLEEP = 0  # nothing to run
    READY = 1  # wants a processor, another VM has it
    RUNNING = 2
    THROTTLED = 3  # its cap is used up
    HELD = 4  # paused, or not started


@dataclass(slots=True, eq=False)
class Share:
    owner: Any  # the VM; the scheduler never looks inside
    weight: int = 1
    latency: str = "normal"
    period: int = 100_000_000  # EDF only: each quantum of work is due this many nanoseconds after it was wanted
    cap: Cap | None = None  # of CPU time
    output_cap: Cap | None = None  # of bytes written; the owner charges it
    reads: frozenset[str] = frozenset()  # paths of things that others may write; deterministic turns keep apart
    writes: frozenset[str] = frozenset()
    engine: Any = None  # the lease's memory (scheduler.leases)

    # kept by RunQueue
    wants: bool = False
    held: bool = True
    running: bool = False
    woken: bool = False
    queued: bool = False
    throttled: bool = False
    gone: bool = False
    budget: int = 0
    pace: float = 1.0  # service units per nanosecond of CPU time, to turn what a cap leaves into a budget
    phase: Phase = Phase.HELD
    since: int = 0
    spent: list[int] = field(default_factory=lambda: [0] * len(Phase))

    # kept by the policy: its state, place in a queue, and (fair) virtual times
    state: int = 0
    ticket: int = 0
    eligible: int = 0
    deadline: int = 0
    effective: int = 0
    promised: int = 0
    request: int = 0  # its length
    burst: int = 0  # requests since it last woke
    next_weight: int | None = None

    def change_phase(self, phase: Phase, now: int) -> None:
        if now > self.since:
            self.spent[self.phase] += now - self.since
        self.phase = phase
        self.since = now

    def time_in(self, phase: Phase, now: int) -> int:
        running = max(0, now - self.since) if self.phase is phase else 0
        return self.spent[phase] + running


class Policy(Protocol):
    """Orders the shares that want to run. `now` is only looked at by policies that know of time (EDF)."""

    name: str

    def enter(self, share: Share, now: int) -> None:
        """It wants to run from now on: new, woken, resumed, or its cap has been refilled."""

    def leave(self, share: Share) -> None:
        """It no longer wants to run, and is not running: paused, killed or throttled while it waited."""

    def pick(self, eager: bool = True) -> Share | None:
        """Take the one to run next out of the queue; it counts as running until `settle`.

        Not eager: only one that is owed service now, though a processor may stay idle for it."""

    def settle(self, share: Share, used: int, runnable: bool, now: int) -> None:
        """It ran and used so much. `runnable`: it wants to go on; otherwise it has left.

        Nothing used and runnable: the turn was taken back, and its place in the queue stays what it was."""

    def reweigh(self, share: Share, weight: int) -> None:
        """Change its weight, at any time."""

    def slice(self, share: Share) -> int:
        """The service one turn of it may take, at most."""


def check_weight(weight: int) -> int:
    if isinstance(weight, bool) or not isinstance(weight, int) or not MINIMUM_WEIGHT <= weight <= MAXIMUM_WEIGHT:
        raise ConfigurationError(
            f"a weight is a whole number from {MINIMUM_WEIGHT} to {MAXIMUM_WEIGHT}, not {weight!r}"
        )
    return weight


def check_latency(latency: str) -> str:
    if latency not in LATENCY_CLASSES:
        raise ConfigurationError(f"a latency class is one of {', '.join(LATENCY_CLASSES)}, not {latency!r}")
    return latency
