"""Host threads that take turns as they come: one per host core, as many turns at a time.

The free-running half of the scheduler's threads (epochs.py is the deterministic one). Each worker asks the run
queue, serves the turn and settles it; when there is nothing to run it sleeps until the next timer or a kick. A
worker never dies of a turn: what `serve` and `commit` let through would be a defect of ours, and is reported to
`on_defect`, which is expected to end that VM and no other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from sandbox.clock import Clock
from sandbox.errors import StateError
from sandbox.scheduler.monitor import Monitor
from sandbox.scheduler.queue import After, RunQueue
from sandbox.scheduler.share import Share
from sandbox.scheduler.turn import Commit, Serve, Turn


class Workers:
    def __init__(
        self,
        monitor: Monitor,
        queue: RunQueue,
        clock: Clock,
        serve: Serve,
        commit: Commit,
        on_defect: Callable[[Share, BaseException], None],
        count: int,
    ) -> None:
        self._monitor = monitor
        self._queue = queue
        self._clock = clock
        self._serve = serve
        self._commit = commit
        self._on_defect = on_defect
        self._count = count
        self._threads: list[threading.Thread] = []
        self._stopping = False
        self._idle = 0
        self._sleep_until: int | None = None  # what the idle wait for
        self._mine = threading.local()

    def start(self) -> None:
        with self._monitor:
            while len(self._threads) < self._count and not self._stopping:
                name = f"sandbox-core-{len(self._threads)}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()

    def kick(self) -> None:
        if self._idle:
            self._monitor.work.notify()

    def inside_turn(self, share: Share | None = None) -> bool:
        mine: Share | None = getattr(self._mine, "turn", None)
        return mine is not None and (share is None or share is mine)

    def wait_until(self, done: Callable[[], bool], timeout: int | None) -> bool:
        if done():
            return True
        if self.inside_turn():
            raise StateError("a callback cannot wait for a VM: return, and wait outside")
        end = None if timeout is None else self._clock.monotonic() + timeout
        while not done():
            left = None if end is None else (end - self._clock.monotonic()) / 1e9
            if left is not None and left <= 0:
                return False
            self._monitor.changed.wait(left)
        return True

    def close(self) -> None:
        with self._monitor:
            self._stopping = True
            self._monitor.work.notify_all()
            threads = [thread for thread in self._threads if thread is not threading.current_thread()]
        for thread in threads:
            thread.join()
        self._threads.clear()

    def _work(self) -> None:
        queue, clock, monitor, mine = self._queue, self._clock, self._monitor, self._mine
        with monitor.as_worker():
            now = clock.monotonic()
            while not self._stopping:
                share = queue.next(now)
                if share is None:
                    self._sleep()
                else:
                    mine.turn = share
                    now = self._take_turn(share)
                    mine.turn = None
                    if self._idle:
                        self._share_timer()
                    if not monitor.waiting:
                        continue  # a moment ago is as good as now
                    monitor.give_way()
                now = clock.monotonic()

    def _take_turn(self, share: Share) -> int:
        """Run, settle and commit it; the time."""
        defect: Exception | None = None
        try:
            turn = self._serve(share)
        except Exception as error:
            defect = error
            turn = Turn(0, 0, After.RUNNABLE)
        now = self._clock.monotonic()
        self._queue.settle(share, now, turn.used, turn.cpu, turn.after, turn.wake_at)
        if turn.quiet:
            return now
        try:
            if defect is None:
                self._commit(share, turn)
        except Exception as error:
            defect = error
        if defect is not None:
            self._on_defect(share, defect)
        return self._clock.monotonic()

    def _share_timer(self) -> None:
        """Others sleep: one of them must see to a timer that is earlier than what they wait for."""
        timer = self._queue.timer()
        if timer is not None and (self._sleep_until is None or timer < self._sleep_until):
            self._monitor.work.notify()

    def _sleep(self) -> None:
        timer = self._queue.timer()
        timeout = None if timer is None else max(0, timer - self._clock.monotonic()) / 1e9
        self._idle += 1
        self._sleep_until = timer
        self._monitor.work.wait(timeout)
        self._idle -= 1
