"""What is to be done when: actions by key and time, earliest first. Pure; time is an argument."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable

Action = Callable[[int], None]  # called with the time


class Agenda:
    """One action per key; setting a key again moves it. All operations O(log n)."""

    def __init__(self) -> None:
        self.heap: list[tuple[int, int, Hashable]] = []  # by time; some entries are void
        self._entries: dict[Hashable, tuple[int, Action]] = {}
        self._count = 0

    def set(self, key: Hashable, time: int, action: Action) -> None:
        self._count += 1
        self._entries[key] = (self._count, action)
        heapq.heappush(self.heap, (time, self._count, key))
        if len(self.heap) > 64 and len(self.heap) > 2 * len(self._entries):
            self.heap[:] = [entry for entry in self.heap if self._valid(entry)]
            heapq.heapify(self.heap)

    def cancel(self, key: Hashable) -> None:
        self._entries.pop(key, None)

    def next_time(self) -> int | None:
        while self.heap:
            if self._valid(self.heap[0]):
                return self.heap[0][0]
            heapq.heappop(self.heap)
        return None

    def run(self, now: int) -> bool:
        """Do all that is due, in the order of time, then of setting. True when anything was done."""
        done = False
        time = self.next_time()
        while time is not None and time <= now:
            _, _, key = heapq.heappop(self.heap)
            _, action = self._entries.pop(key)
            action(now)
            done = True
            time = self.next_time()
        return done

    def _valid(self, entry: tuple[int, int, Hashable]) -> bool:
        current = self._entries.get(entry[2])
        return current is not None and current[0] == entry[1]

    def __len__(self) -> int:
        return len(self._entries)
