"""What is due when: one heap of deadlines per VM, for sleeping tasks and for the guest's timers.

An entry is a list `[deadline, sequence, target]`; cancelling clears the target and leaves the entry to be dropped
later. Equal deadlines expire in the order in which they were set, so runs are repeatable.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Any, Protocol


class Expiring(Protocol):
    def expire(self, entry: list[Any]) -> None: ...


class TimerQueue:
    __slots__ = ("_cancelled", "_heap", "_sequence")

    def __init__(self) -> None:
        self._heap: list[list[Any]] = []
        self._sequence = 0
        self._cancelled = 0

    def add(self, deadline: int, target: Expiring) -> list[Any]:
        self._sequence += 1
        entry = [deadline, self._sequence, target]
        heappush(self._heap, entry)
        return entry

    def cancel(self, entry: list[Any]) -> None:
        if entry[2] is None:
            return
        entry[2] = None
        self._cancelled += 1
        if self._cancelled > 64 and self._cancelled * 2 > len(self._heap):
            self._heap = [kept for kept in self._heap if kept[2] is not None]
            heapify(self._heap)
            self._cancelled = 0

    def next(self) -> int | None:
        """The earliest deadline, or None."""
        heap = self._heap
        while heap and heap[0][2] is None:
            heappop(heap)
            self._cancelled -= 1
        return heap[0][0] if heap else None

    def expire(self, now: int) -> None:
        """Hand every entry that is due to its target."""
        heap = self._heap
        while heap and (heap[0][2] is None or heap[0][0] <= now):
            entry = heappop(heap)
            target = entry[2]
            if target is None:
                self._cancelled -= 1
                continue
            entry[2] = None
            target.expire(entry)
