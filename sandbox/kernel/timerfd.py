"""timerfd_create(2): a timer that is a file. It sits in the machine's timer queue, so virtual time works alike.

Expirations are counted when they are asked for: one entry in the queue serves a periodic timer, however far behind
its reader is. Times are nanoseconds; the clock of the host cannot be set by a guest, so a realtime timer never jumps.
Neighbours: `sys_event` (the calls), `timers`, `sandbox.vfs.anonymous`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.abi.errno import EAGAIN, EINVAL, Errno
from sandbox.abi.flags import POLLIN, POLLRDNORM
from sandbox.vfs.anonymous import AnonymousFile

if TYPE_CHECKING:
    from sandbox.kernel.linux import LinuxMachine

_HIGHEST = (1 << 64) - 1


class TimerFile(AnonymousFile):
    """`due` is on the machine's monotonic clock; None: disarmed. `clock` is what the guest chose (CLOCK_*)."""

    __slots__ = ("_entry", "_kernel", "clock", "due", "interval")

    def __init__(self, kernel: LinuxMachine, clock: int, flags: int) -> None:
        super().__init__(kernel.nameless.anonymous, b"[timerfd]", flags)
        self._kernel = kernel
        self._entry: list[Any] | None = None
        self.clock = clock
        self.due: int | None = None
        self.interval = 0

    def arm(self, due: int | None, interval: int) -> None:
        if self._entry is not None:
            self._kernel.timers.cancel(self._entry)
            self._entry = None
        self.due = due
        self.interval = interval
        if due is not None:
            self._entry = self._kernel.timers.add(due, self)

    def expire(self, entry: list[Any]) -> None:
        """The timer queue's call: whoever waits for the file may look again."""
        self._entry = None
        self.queue.wake()

    def setting(self) -> tuple[int, int]:
        """(interval, time until the next expiration), as timerfd_gettime reports them."""
        if self.due is None:
            return self.interval, 0
        left = self.due - self._kernel.clock.monotonic()
        if left <= 0:
            left = left % self.interval if self.interval else 0
        return self.interval, left

    def _expirations(self) -> int:
        now = self._kernel.clock.monotonic()
        if self.due is None or now < self.due:
            return 0
        return 1 + (now - self.due) // self.interval if self.interval else 1

    def read(self, count: int, offset: int | None = None) -> bytes:
        if count < 8:
            raise Errno(EINVAL)
        number = self._expirations()
        if not number:
            raise Errno(EAGAIN)
        assert self.due is not None
        self.arm(self.due + number * self.interval if self.interval else None, self.interval)
        return min(number, _HIGHEST).to_bytes(8, "little")

    def poll(self) -> int:
        return POLLIN | POLLRDNORM if self._expirations() else 0

    def close(self) -> None:
        self.arm(None, 0)
