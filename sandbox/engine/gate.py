"""The lock that a thread holds while it works in Python, as an engine sees it: let go while guest code runs, so that
another thread's kernel can work, and taken again afterwards.

Letting go costs nothing and coming back may cost dear: where two threads serve guests that call all the time, each
finds the lock taken at every call, sleeps, and is woken, which takes ten times as long as the call. So guest code that
will be back at once is run without letting go. Whoever waits gets the lock after `LEASE` nanoseconds at the latest.
"""

from __future__ import annotations

import threading
from time import monotonic_ns

LEASE = 300_000


class Gate:
    __slots__ = ("lock", "since", "waiting")

    def __init__(self, lock: threading.RLock) -> None:
        self.lock = lock
        self.since = 0  # when the thread that holds it came in
        self.waiting: set[object] = set()  # who wants to come in

    def come_in(self, who: object) -> None:
        if not self.lock.acquire(blocking=False):
            self.waiting.add(who)
            self.lock.acquire()
            self.waiting.discard(who)
        self.since = monotonic_ns()

    def may_stay(self) -> bool:
        """Whether the thread inside may go on without letting anybody in."""
        return not self.waiting or monotonic_ns() - self.since < LEASE
