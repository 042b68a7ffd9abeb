"""A priority queue whose entries can be withdrawn: lazy deletion, so every operation is O(log n).

An entry counts while its ticket is the share's ticket; a withdrawn or superseded one is dropped when it
comes up, or when such entries outnumber the rest.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from sandbox.scheduler.share import Share


class ShareHeap:
    __slots__ = ("_count", "_entries", "_tickets")

    def __init__(self, tickets: Iterator[int]) -> None:
        """`tickets` counts up from 1; heaps that a share moves between draw from the same."""
        self._entries: list[tuple[int, int, Share]] = []
        self._tickets = tickets
        self._count = 0

    def push(self, key: int, share: Share) -> None:
        """Smallest key first; equal keys first come, first served."""
        share.ticket = next(self._tickets)
        self._count += 1
        heapq.heappush(self._entries, (key, share.ticket, share))

    def restore(self, key: int, share: Share) -> None:
        """Undo the `pop` that took it: its old place among equal keys."""
        share.ticket = -share.ticket
        self._count += 1
        heapq.heappush(self._entries, (key, share.ticket, share))

    def withdraw(self, share: Share) -> None:
        share.ticket = 0
        self._count -= 1
        if len(self._entries) > 64 and len(self._entries) > 2 * self._count:
            self._entries = [entry for entry in self._entries if entry[2].ticket == entry[1]]
            heapq.heapify(self._entries)

    def first(self) -> tuple[int, Share] | None:
        entries = self._entries
        while entries:
            key, ticket, share = entries[0]
            if share.ticket == ticket:
                return key, share
            heapq.heappop(entries)
        return None

    def pop(self) -> Share | None:
        entries = self._entries
        while entries:
            _, ticket, share = heapq.heappop(entries)
            if share.ticket == ticket:
                share.ticket = -ticket  # void, and remembered for `restore`
                self._count -= 1
                return share
        return None

    def __iter__(self) -> Iterator[Share]:
        return (share for _, ticket, share in self._entries if share.ticket == ticket)

    def __len__(self) -> int:
        return self._count
