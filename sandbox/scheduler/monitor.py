"""The one lock, and the way in for those who do not run guests.

All Python work of the hypervisor, the kernels and the devices is done under `lock`; an engine lets go of it only
while guest code runs (`Engine.gate`). A worker thread takes it again as soon as it can, so a caller of the API
would wait for luck: `with monitor:` is the visitors' entrance, and between two turns a worker calls
`give_way`, which lets all who stand there go first; who was woken by `changed` comes back the same way. `changed` is
notified when a VM's state may have changed, `work` when there may be something to run.

The lock is held exactly once when an engine runs (the gate releases it once): workers hold it as workers, and what
they call enters no second time; visitors may nest.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from sandbox.engine import Gate


class Monitor:
    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.gate = Gate(self.lock)
        self._entrance = threading.Lock()
        self.waiting = 0  # visitors at the entrance
        self._inside = threading.local()
        door: Any = _Door(self)
        self.changed = threading.Condition(door)
        self.work = threading.Condition(self.lock)

    @property
    def mine(self) -> bool:
        """Whether this thread is inside, as visitor or as worker."""
        return getattr(self._inside, "depth", 0) > 0

    def __enter__(self) -> Monitor:
        if not self.mine:
            self.come_in(self.lock.acquire)
            self._inside.depth = 0
        self._inside.depth += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._inside.depth -= 1
        if self._inside.depth == 0:
            self.lock.release()

    def come_in(self, acquire: Callable[[], object]) -> None:
        """Through the entrance: one after the other, and before the workers' next turns."""
        with self._entrance:
            self.waiting += 1
            self.gate.waiting.add(self)
            try:
                acquire()
            finally:
                self.gate.waiting.discard(self)
                self.waiting -= 1

    @contextmanager
    def as_worker(self) -> Iterator[None]:
        """A thread that runs guests: no entrance, it lives here."""
        with self.lock:
            self._inside.depth = 1
            try:
                yield
            finally:
                self._inside.depth = 0

    def give_way(self) -> None:
        """A worker between two turns, holding the lock once: whoever waits at the entrance goes first."""
        if self.waiting or self._entrance.locked():
            self.lock.release()
            with self._entrance:
                pass
            self.lock.acquire()


class _Door:
    """The lock as `threading.Condition` uses one, coming back from a wait through the entrance."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        lock: Any = monitor.lock
        self._lock = lock
        self.acquire, self.release = lock.acquire, lock.release
        self._release_save, self._is_owned = lock._release_save, lock._is_owned

    def _acquire_restore(self, state: Any) -> None:
        self._monitor.come_in(lambda: self._lock._acquire_restore(state))
