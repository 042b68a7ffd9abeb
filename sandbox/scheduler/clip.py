"""Weights clipped to what one core can give, for fair sharing on several.

A VM runs on one core at a time, so of N cores it can use 1/N at most, whatever its weight. A weight that asks
for more is replaced, in effect, by the one that entitles it to exactly one core: with c weights clipped and R
the sum of the others, R / (N - c). (A. Chandra et al., "Surplus fair scheduling", OSDI 2000, call this the
readjustment.) Only the N - 1 heaviest can be concerned, so those are kept apart: each change is
O(log n + N). Effective weights are whole numbers, `UNIT` to one unit of weight.
"""

from __future__ import annotations

import heapq

from sandbox.scheduler.share import Share

UNIT = 1 << 16


class Clip:
    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._total = 0
        self._top: list[Share] = []  # the cores - 1 heaviest, heaviest first
        self._demoted: list[Share] = []
        self._rest: list[tuple[int, int, Share]] = []  # a heap; lazily deleted
        self._current: dict[Share, int] = {}  # who is in the rest, and its entry there
        self._entries = 0

    def add(self, share: Share) -> None:
        self._total += share.weight
        self._top.append(share)
        self._top.sort(key=lambda each: -each.weight)
        if len(self._top) >= self._cores:
            share = self._top.pop()
            self._demoted.append(share)
            self._push(share)

    def remove(self, share: Share) -> None:
        self._total -= share.weight
        if self._current.pop(share, None) is None:
            self._top.remove(share)
            heaviest = self._pop()
            if heaviest is not None:
                self._top.append(heaviest)

    def effective(self) -> list[tuple[Share, int]]:
        """The effective weights of all whose weight may have changed: the heaviest, and who was among them until
        now. Everybody else's is its weight in units."""
        rest, cores, clipped = self._total, self._cores, 0
        for share in self._top:
            if share.weight * cores <= rest:
                break
            rest -= share.weight
            cores -= 1
            clipped += 1
        each = max(rest, 1) * UNIT // cores
        weights = [(share, share.weight * UNIT) for share in self._top[clipped:] + self._demoted]
        self._demoted = []
        return [(share, each) for share in self._top[:clipped]] + weights

    def _push(self, share: Share) -> None:
        self._entries += 1
        self._current[share] = self._entries
        heapq.heappush(self._rest, (-share.weight, self._entries, share))
        if len(self._rest) > 64 and len(self._rest) > 2 * len(self._current):
            self._rest = [entry for entry in self._rest if self._current.get(entry[2]) == entry[1]]
            heapq.heapify(self._rest)

    def _pop(self) -> Share | None:
        while self._rest:
            _, entry, share = heapq.heappop(self._rest)
            if self._current.get(share) == entry:
                del self._current[share]
                return share
        return None
