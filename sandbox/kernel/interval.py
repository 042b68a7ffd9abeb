"""A timer of a process: expires once or again and again, on the machine's clock or on the CPU time of the process.

Timers of the first kind wait in the kernel's timer queue; those of the second are looked at whenever a task of the
process has used its turn. What happens at expiry is `fire`'s business. Source: setitimer(2), timer_settime(2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sandbox.abi.flags import RLIM_INFINITY, RLIMIT_CPU
from sandbox.abi.signals import SIGKILL, SIGXCPU
from sandbox.kernel.signals import SignalInfo, kernel_signal, send_to_process

if TYPE_CHECKING:
    from sandbox.kernel.process import Process
    from sandbox.kernel.task import Task

NANOSECONDS = 1_000_000_000


class IntervalTimer:
    """`fire(count)` is told how many periods have passed since it was last called: 1, or more when late."""

    __slots__ = ("_entry", "clock", "deadline", "fire", "interval", "process")

    def __init__(self, process: Process, fire: Callable[[int], None], clock: Callable[[], int] | None = None) -> None:
        self.process = process
        self.fire = fire
        self.clock = clock  # a CPU-time clock; None: the machine's
        self.deadline: int | None = None
        self.interval = 0
        self._entry: list[Any] | None = None

    def now(self) -> int:
        return self.clock() if self.clock is not None else self.process.kernel.clock.monotonic()

    def arm(self, deadline: int | None, interval: int) -> None:
        """None disarms."""
        self.cancel()
        self.deadline = deadline
        self.interval = interval
        self._wait()

    def remaining(self) -> int:
        """Nanoseconds until it fires, 0 when it is not armed; an armed timer never answers 0."""
        return 0 if self.deadline is None else max(1, self.deadline - self.now())

    def taken(self, info: SignalInfo) -> None:
        """The guest has taken the signal of this timer."""

    def patience(self) -> int:
        """How many nanoseconds at least until a period is looked at again: nobody may notice those between."""
        return 0

    def _wait(self, not_before: int = 0) -> None:
        if self.deadline is None:
            return
        if self.clock is None:
            self._entry = self.process.kernel.timers.add(max(self.deadline, not_before), self)
        else:
            self.process.cpu_timers.append(self)

    def cancel(self) -> None:
        self.deadline = None
        if self._entry is not None:
            self.process.kernel.timers.cancel(self._entry)
            self._entry = None
        if self in self.process.cpu_timers:
            self.process.cpu_timers.remove(self)

    def expire(self, entry: list[Any] | None) -> None:
        """It is due: fire, and wait for the next period if there is one."""
        self._entry = None
        deadline, interval = self.deadline, self.interval
        if deadline is None:
            return
        if interval:
            now = self.now()
            count = max(1, (now - deadline) // interval + 1)
            self.deadline = deadline + count * interval
            self._wait(now + self.patience())
        else:
            count = 1
            self.deadline = None
        self.fire(count)


def check_cpu_time(task: Task) -> None:
    """Fire the timers that count the CPU time of the task's process, and hold it to RLIMIT_CPU."""
    process = task.process
    for timer in list(process.cpu_timers):
        if timer.deadline is not None and timer.now() >= timer.deadline:
            process.cpu_timers.remove(timer)
            timer.expire(None)
    if process.cpu_limited and process.threads:
        _check_limit(process)


def _check_limit(process: Process) -> None:
    soft, hard = process.limits[RLIMIT_CPU]
    used = process.cpu_time()
    if hard != RLIM_INFINITY and used >= hard * NANOSECONDS:
        send_to_process(process, kernel_signal(SIGKILL, "the CPU time limit is used up"))
    elif soft != RLIM_INFINITY and used >= max(soft, process.next_cpu_warning) * NANOSECONDS:
        process.next_cpu_warning = used // NANOSECONDS + 1
        send_to_process(process, kernel_signal(SIGXCPU, "the CPU time limit is reached"))
