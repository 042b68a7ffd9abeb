"""The one blocking primitive: a queue of sleepers, and the exception that puts a task to sleep on it.

A syscall handler that cannot go on raises `Block`. The kernel parks the task on the named queues until
one of them is woken or the deadline (nanoseconds on the VM's monotonic clock) has passed; then the same
handler is called again with the same arguments (restart style, so a sleeping task is plain data and can
be saved). State that must survive the sleep, such as an absolute deadline, lives in `Task.restart`.

Queues know nothing of tasks: a sleeper is anything with `wake(queue)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

ANYTHING = ~0


class Sleeper(Protocol):
    def wake(self, queue: WaitQueue) -> None: ...


class WaitQueue:
    """First come, first woken. A sleeper may be on many queues at once (poll).

    `events` says what the wake under way is about (POLLIN ...; anything, unless the one that wakes knows better): who
    watches for edges does not take room in a pipe for bytes in it. `taken`: one of those that only want to be woken if
    no other was (EPOLLEXCLUSIVE) has been."""

    __slots__ = ("_sleepers", "events", "taken")

    def __init__(self) -> None:
        self._sleepers: dict[Sleeper, None] = {}
        self.events = ANYTHING
        self.taken = False

    def add(self, sleeper: Sleeper) -> None:
        self._sleepers[sleeper] = None

    def discard(self, sleeper: Sleeper) -> None:
        self._sleepers.pop(sleeper, None)

    def wake(self, count: int | None = None, events: int = ANYTHING) -> int:
        """Wake the first `count` sleepers (all when None); return how many were woken."""
        if not self._sleepers:
            return 0
        self.events = events
        self.taken = False
        chosen = list(self._sleepers)[:count]
        for sleeper in chosen:
            self._sleepers.pop(sleeper, None)
            sleeper.wake(self)
        return len(chosen)

    def __iter__(self) -> Iterator[Sleeper]:
        return iter(self._sleepers)

    def __len__(self) -> int:
        return len(self._sleepers)


class Block(Exception):
    """Raised by a handler: sleep on `queues` until woken or until `deadline` (None: for ever).

    The handler runs again afterwards; it finds out by itself what has changed. A signal handler of the guest
    ends the sleep: with EINTR, or, when `restart` holds and the handler was installed with SA_RESTART, by
    issuing the call anew. Calls with a timeout give `restart=False` (signal(7), "Interruption of system calls").
    `interruptible=False` lets nothing but SIGKILL end the sleep."""

    def __init__(
        self, *queues: WaitQueue, deadline: int | None = None, restart: bool = True, interruptible: bool = True
    ) -> None:
        super().__init__()
        self.queues = queues
        self.deadline = deadline
        self.restart = restart
        self.interruptible = interruptible
