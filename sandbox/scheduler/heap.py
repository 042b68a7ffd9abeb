"""A priority queue whose entries can be withdrawn: lazy deletion, so every operation is O(log n).

An entry counts while its ticket is the share's ticket; a withdrawn or superseded one is dropped when it
comes up, or when such entries outnumber the rest.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from sandbox.scheduler.share import Share


class ShareHeap:
    __slots__ = ("_count", "_tickets", "entries")

    def __init__(self, tickets: Iterator[int]) -> None:
        """`tickets` counts up from 1; heaps that a share moves between draw from the same."""
        self.entries: list[tuple[int, int, Share]] = []  # for FairPolicy to look at
        self._tickets = tickets
        self._count = 0

    def push(self, key: int, share: Share) -> None:
        """Smallest key first; equal keys first come, first served."""
        share.ticket = ticket = next(self._tickets)
        self._count += 1
        heapq.heappush(self.entries, (key, ticket, share))

    def restore(self, key: int, share: Share) -> None:
        """Undo the `pop` that took it: its old place among equal keys."""
        share.ticket = -share.ticket
        self._count += 1
        heapq.heappush(self.entries, (key, share.ticket, share))

    def withdraw(self, share: Share) -> None:
        share.ticket = 0
        self._count -= 1
        entries = self.entries
        if len(entries) > 64 and len(entries) > 2 * self._count:
            entries[:] = [entry for entry in entries if entry[2].ticket == entry[1]]
            heapq.heapify(entries)

    def first(self) -> tuple[int, Share] | None:
        entries = self.entries
        while entries:
            key, ticket, share = entries[0]
            if share.ticket == ticket:
                return key, share
            heapq.heappop(entries)
        return None

    def pop(self) -> Share | None:
        entries = self.entries
        while entries:
            _, ticket, share = heapq.heappop(entries)
            if share.ticket == ticket:
                share.ticket = -ticket  # void, and remembered for `restore`
                self._count -= 1
                return share
        return None

    def __iter__(self) -> Iterator[Share]:
        return (share for _, ticket, share in self.entries if share.ticket == ticket)

    def __len__(self) -> int:
        return self._count
