"""Deterministic turns: decided in virtual time, run on any number of host cores, committed in the order decided.

An epoch is up to `WIDTH` turns. They are decided one after the other from the run queue, the virtual clock and
nothing else; then they are run, in any order and on as many threads as there are; then they are settled and
committed one after the other in the order in which they were decided, the clock moving by what each has used.
`WIDTH` does not depend on the number of cores, so the event log of a fleet is the same on one core and on two,
whatever the host's load. What makes it true: turns of one epoch share nothing that a guest can see (each VM has a
clock of its own that starts the epoch at the common time, each pen is held until the commit, shares that write
to what others read never run in the same epoch), and each turn is exact.

Time moves only while somebody waits (`wait_until`): between two calls of a program that starts, waits and kills,
nothing happens, and so the program's own pace does not matter either. When all sleep, the clock jumps to the next
timer, or to the end of the wait.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from sandbox.callbacks import heard
from sandbox.clock import VirtualClock
from sandbox.errors import StateError
from sandbox.scheduler.monitor import Monitor
from sandbox.scheduler.queue import After, RunQueue
from sandbox.scheduler.share import Share
from sandbox.scheduler.turn import Commit, Serve, Turn

WIDTH = 8


def clash(one: Share, other: Share) -> bool:
    """Whether one writes what the other may look at."""
    return _touch(one.writes, other.reads | other.writes) or _touch(other.writes, one.reads)


def _touch(some: frozenset[str], others: frozenset[str]) -> bool:
    return any(a == b or a.startswith(f"{b}/") or b.startswith(f"{a}/") for a in some for b in others)


class Epochs:
    def __init__(
        self,
        monitor: Monitor,
        queue: RunQueue,
        clock: VirtualClock,
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
        self._helpers = count - 1
        self._threads: list[threading.Thread] = []
        self._stopping = False
        self._driving = False
        self._jobs: deque[Share] = deque()
        self._done: dict[Share, Turn | BaseException] = {}
        self._interrupt: BaseException | None = None
        self._mine = threading.local()
        self._waits = 0

    def start(self) -> None:
        with self._monitor:
            while len(self._threads) < self._helpers and not self._stopping:
                name = f"sandbox-core-{len(self._threads) + 1}"
                thread = threading.Thread(target=self._help, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()

    def kick(self) -> None:
        self._monitor.changed.notify_all()

    def inside_turn(self, share: Share | None = None) -> bool:
        mine: Share | None = getattr(self._mine, "turn", None)
        return mine is not None and (share is None or share is mine)

    def close(self) -> None:
        with self._monitor:
            self._stopping = True
            self._monitor.work.notify_all()
            self._monitor.changed.notify_all()
            while self._driving and not self.inside_turn():  # another thread waits: its epoch ends first
                self._monitor.changed.wait()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
        self._threads.clear()

    # Driving

    def wait_until(self, done: Callable[[], bool], timeout: int | None) -> bool:
        """Let virtual time pass until `done()`, for at most so many virtual nanoseconds."""
        if done():
            return True
        if self.inside_turn():
            raise StateError("a callback cannot wait for a VM: return, and wait outside")
        end = None if timeout is None else self._clock.monotonic() + timeout
        self._waits += 1
        alarm = ("wait", self._waits)
        if end is not None:  # the clock stops there, whoever drives
            self._queue.agenda.set(alarm, end, lambda now: self._monitor.changed.notify_all())
        try:
            while not done():
                if self._stopping or (end is not None and self._clock.monotonic() >= end):
                    return False
                if self._driving:  # another thread does; it tells when something has changed
                    self._monitor.changed.wait()
                    continue
                self._driving = True
                try:
                    moved = self._advance()
                finally:
                    self._driving = False
                    self._monitor.changed.notify_all()
                if not moved and not done():
                    self._monitor.changed.wait()
            return True
        finally:
            self._queue.agenda.cancel(alarm)

    def _advance(self) -> bool:
        """One epoch; or, when nobody can run, the jump to the next timer. False when there is none: only the world
        outside can make something happen."""
        epoch = self._decide()
        if epoch:
            self._run(epoch)
            for share in epoch:
                self._settle(share)
            self._monitor.give_way()
            interrupt, self._interrupt = self._interrupt, None
            if interrupt is not None:
                raise interrupt
            return True
        timer = self._queue.timer()
        if timer is None:
            return False
        self._clock.advance(max(0, timer - self._clock.monotonic()))
        self._queue.agenda.run(self._clock.monotonic())
        return True

    def _decide(self) -> list[Share]:
        now = self._clock.monotonic()
        epoch: list[Share] = []
        while len(epoch) < WIDTH:
            share = self._queue.next(now, eager=not epoch)
            if share is None:
                break
            if (share.reads or share.writes) and any(clash(share, other) for other in epoch):
                self._queue.take_back(share, now)
                break
            epoch.append(share)
        return epoch

    def _run(self, epoch: list[Share]) -> None:
        self._jobs.extend(epoch)
        if self._threads and len(epoch) > 1:
            self._monitor.work.notify_all()
        while self._jobs:
            self._do(self._jobs.popleft())
        while len(self._done) < len(epoch):
            try:
                self._monitor.work.wait()
            except BaseException as error:  # Ctrl-C, and the turns of the others are under way: first settle them
                self._interrupt = error

    def _do(self, share: Share) -> None:
        self._mine.turn = share
        try:
            with heard():
                self._done[share] = self._serve(share)
        except Exception as error:
            self._done[share] = error
        except BaseException as error:  # Ctrl-C in the thread that drives: its VM is lost, and the caller hears of it
            self._done[share] = self._interrupt = error
        finally:
            self._mine.turn = None

    def _settle(self, share: Share) -> None:
        outcome = self._done.pop(share)
        defect = outcome if isinstance(outcome, BaseException) else None
        turn = outcome if isinstance(outcome, Turn) else Turn(0, 0, After.RUNNABLE)
        self._clock.advance(turn.cpu)
        now = self._clock.monotonic()
        self._queue.settle(share, now, turn.used, turn.cpu, turn.after, turn.wake_at)
        try:
            if defect is None:
                self._commit(share, turn)
        except Exception as error:
            defect = error
        if defect is not None:
            self._on_defect(share, defect)

    def _help(self) -> None:
        with self._monitor.as_worker():
            while not self._stopping:
                if self._jobs:
                    self._do(self._jobs.popleft())
                    if not self._jobs:
                        self._monitor.work.notify_all()
                else:
                    self._monitor.work.wait()
