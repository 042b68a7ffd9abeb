"""What the threads need of the hypervisor: how a turn is run, and what follows from it.

`serve(share)` runs the share's machine for `share.budget` on an engine; the monitor's lock is held when it is
called and when it returns, and let go while guest code runs. `commit(share, turn)` comes after the run queue has
settled: it looks whether the VM has ended, or whether somebody wants it paused or killed. Neither raises. A `Turn` is
valid until the share is served again.
`Workers` runs turns as they come, `Epochs` in a fixed order of virtual time; both are a `Drive`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sandbox.scheduler.queue import After
from sandbox.scheduler.share import Share


@dataclass(slots=True)
class Turn:
    used: int  # units of service
    cpu: int  # nanoseconds of CPU time; virtual ones when deterministic
    after: After
    wake_at: int | None = None  # when ASLEEP: the earliest timer
    quiet: bool = False  # `commit` would find nothing to do, if it came at once


Serve = Callable[[Share], Turn]
Commit = Callable[[Share, Turn], None]


class Drive(Protocol):
    def start(self) -> None:
        """Somebody wants to run. Idempotent."""

    def kick(self) -> None:
        """The run queue or its timers have changed."""

    def wait_until(self, done: Callable[[], bool], timeout: int | None) -> bool:
        """Wait, the lock being held by a visitor, until `done()` or until so many nanoseconds have passed."""

    def inside_turn(self, share: Share | None = None) -> bool:
        """Whether the calling thread is running a turn, or that share's turn (a callback of instrumentation)."""

    def close(self) -> None:
        """End all threads. Turns under way end first."""
