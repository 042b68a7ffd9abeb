"""What the scheduler sees of a virtual machine: something of one ISA that can be run for a while.

Two kinds exist: `sandbox.kernel.linux.LinuxMachine` and `sandbox.board.machine.BoardMachine`. The
scheduler hands a machine an engine and a budget and gets an `Outcome`; it knows no syscalls, devices or
files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sandbox.engine import Engine, Isa


class Activity(Enum):
    RUNNABLE = "runnable"  # wants to go on at once
    WAITING = "waiting"  # nothing to run until `wake` is called or the deadline passes
    EXITED = "exited"  # finished; `exit_status` or `crash` says how


@dataclass(slots=True)
class Outcome:
    activity: Activity
    work: int  # code bytes executed (exact mode) or 0 when nothing counts them
    deadline: int | None = None  # monotonic nanoseconds, with WAITING: the earliest timer
    used: int = 0  # of the budget, in its unit: `work` and what the kernel did for it; this is charged


class Machine(Protocol):
    isa: Isa
    exit_status: int | None  # 0..255, or 128+n when signal n ended it; None while alive
    death: str | None  # why it ended, one sentence, when it did not exit by itself
    on_wake: Callable[[], None] | None  # set by the scheduler; called when a waiting machine has something to run

    def run(self, engine: Engine, budget: int) -> Outcome:
        """Run for at most about `budget` (code bytes in exact mode, nanoseconds in free-running mode)."""

    def kill(self, reason: str, status: int = 137) -> None:
        """End it now. Idempotent. Frees everything it holds."""

    def terminate(self) -> None:
        """Ask it to end (SIGTERM to process 1, or a board's power button)."""

    def release(self) -> None:
        """Give back frames, contexts and descriptors. Idempotent; called once it has ended."""
