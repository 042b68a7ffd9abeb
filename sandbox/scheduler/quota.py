"""Caps: how much of something a VM may have in each period, with debts carried over.

A `Cap` is refilled at the start of each of its periods, up to one period's quota. What is overdrawn (the
last block of a slice, the kernel's work for it) is a debt that the next periods pay, so that the long-run
average is the quota and not a little above it. The CPU cap is one (`cpus=0.25`: 25 ms of CPU time in every
100 ms). Pure: time is an argument.
"""

from __future__ import annotations


class Cap:
    __slots__ = ("_left", "_next", "period", "quota")

    def __init__(self, quota: int, period: int, now: int) -> None:
        self.quota = max(1, quota)
        self.period = period
        self._left = self.quota
        self._next = now + period

    def left(self, now: int) -> int:
        """What may still be used now; 0 or less means wait until `refill_time`."""
        if now >= self._next:
            periods = (now - self._next) // self.period + 1
            self._next += periods * self.period
            self._left = min(self.quota, self._left + periods * self.quota)
        return self._left

    def charge(self, used: int) -> None:
        self._left -= used

    def refill_time(self) -> int:
        """When there will be something left again (call `left` first)."""
        debt = max(0, -self._left)
        return self._next + (debt // self.quota) * self.period

    def change(self, quota: int, now: int) -> None:
        """A new quota from now on; what this period has used already stays used."""
        used = self.quota - self.left(now)
        self.quota = max(1, quota)
        self._left = self.quota - used
