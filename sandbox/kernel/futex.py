"""Who sleeps on which futex word.

A private word is known by its address space and address, a word in a shared mapping by the file page behind it, so
that processes that map it at different addresses meet. Waiters are woken in the order in which they came, the real-time
ones among them by priority first. The calls themselves are in `sys_futex`. Source: futex(2), `kernel/futex/`.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from sandbox.wait import WaitQueue

if TYPE_CHECKING:
    from sandbox.kernel.task import Task
    from sandbox.memory import AddressSpace

Key = tuple[Hashable, int]


class Waiter:
    """One sleeping task; it stays in the table until woken, timed out or interrupted. `owner` is the thread that holds
    the lock it waits for, if the lock is one of those that know their owner."""

    __slots__ = ("address", "bitset", "key", "owner", "queue", "task", "woken")

    def __init__(self, task: Task, key: Key, bitset: int, address: int = 0, owner: int = 0) -> None:
        self.task = task
        self.key = key
        self.bitset = bitset
        self.address = address
        self.owner = owner
        self.queue = WaitQueue()
        self.woken = False


def futex_key(space: AddressSpace, address: int, private: bool) -> Key:
    """`private` is the guest's promise that no other process uses the word; it is cheaper, and only that."""
    if not private:
        region = space.list.at(address)
        if region is not None and region.shared and region.source is not None:
            return ("shared", region.source.identity), region.offset + address - region.start
    return space, address


class FutexTable:
    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: dict[Key, list[Waiter]] = {}

    def add(self, waiter: Waiter) -> None:
        """Behind all others, but real-time tasks before those of a lower priority."""
        waiters = self._waiters.setdefault(waiter.key, [])
        place = len(waiters)
        while place and waiters[place - 1].task.policy[1] < waiter.task.policy[1]:
            place -= 1
        waiters.insert(place, waiter)

    def remove(self, waiter: Waiter) -> None:
        waiters = self._waiters.get(waiter.key)
        if waiters is not None and waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._waiters[waiter.key]

    def count(self, key: Key) -> int:
        return len(self._waiters.get(key, ()))

    def first(self, key: Key) -> Waiter | None:
        waiters = self._waiters.get(key)
        return waiters[0] if waiters else None

    def wake(self, key: Key, count: int, bitset: int = 0xFFFFFFFF) -> int:
        woken = 0
        for waiter in list(self._waiters.get(key, ())):
            if woken >= count:
                break
            if waiter.bitset & bitset:
                self.remove(waiter)
                waiter.woken = True
                waiter.queue.wake()
                woken += 1
        return woken

    def hand_over(self, key: Key) -> None:
        """The first who waits for a lock with an owner becomes that."""
        waiters = list(self._waiters[key])
        for waiter in waiters:
            waiter.owner = waiters[0].task.tid
        self.wake(key, 1)

    def heirs(self, owner: int) -> list[Waiter]:
        """The first waiter of every lock that this thread holds."""
        return [waiters[0] for waiters in self._waiters.values() if waiters[0].owner == owner]

    def requeue(self, key: Key, target: Key, count: int) -> int:
        """Move up to `count` waiters from one word to another without waking them."""
        if key == target:
            return min(count, self.count(key))
        moved = self._waiters.get(key, [])[: max(count, 0)]
        for waiter in moved:
            self.remove(waiter)
            waiter.key = target
            self.add(waiter)
        return len(moved)
