"""Earliest deadline first: each quantum of work is due `share.period` after it was wanted.

A share that has used its quantum gets a deadline one period later, as in the constant bandwidth server
(Abeni and Buttazzo 1998): who computes without end falls behind those who ask for little, and starves
nobody. Weights are ignored; a share of period p that wants no more than q in every p gets it within p as long
as the sum of q/p is at most 1. A deadline is never more than `LEAD` periods ahead, so that who had the
processor to itself for an hour is not out of turn for the next, and a new one never lies in the past, so that
who asks for more than there is does not shut out the rest.
"""

from __future__ import annotations

from itertools import count

from sandbox.scheduler.heap import ShareHeap
from sandbox.scheduler.share import Share

LEAD = 10


class EarliestDeadlinePolicy:
    name = "earliest-deadline"

    def __init__(self, quantum: int, cores: int = 1, ahead: bool = False) -> None:
        self.quantum = quantum
        self._heap = ShareHeap(count(1))

    def slice(self, share: Share) -> int:
        """What is left of the quantum its deadline is for (`eligible` counts what has been used)."""
        return max(1, self.quantum - share.eligible)

    def enter(self, share: Share, now: int) -> None:
        # A short sleep does not renew the deadline: only one whose time has passed begins anew.
        if share.deadline <= now:
            share.deadline = now + share.period
            share.eligible = 0
        self._heap.push(share.deadline, share)

    def leave(self, share: Share) -> None:
        if share.ticket > 0:
            self._heap.withdraw(share)

    def pick(self, eager: bool = True) -> Share | None:
        return self._heap.pop()

    def settle(self, share: Share, used: int, runnable: bool, now: int) -> None:
        if used == 0 and runnable:  # its turn was taken back
            self._heap.restore(share.deadline, share)
            return
        share.eligible += used
        while share.eligible >= self.quantum:
            share.eligible -= self.quantum
            share.deadline = min(max(share.deadline, now), now + (LEAD - 1) * share.period) + share.period
        if runnable:
            self._heap.push(share.deadline, share)

    def reweigh(self, share: Share, weight: int) -> None:
        share.weight = weight
