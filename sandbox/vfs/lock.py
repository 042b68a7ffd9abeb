"""Advisory locks of one inode: byte ranges (fcntl) and whole files (flock).

A `FileLocks` hangs on the node (`Node.locks`) from the first lock on. An owner is whatever the locks belong to: the
descriptor table of a process for F_SETLK, the open file description for F_OFD_SETLK and flock. Two ranges conflict when
they overlap, have different owners and one of them excludes; flock locks conflict only with each other (flock(2),
NOTES). Both kinds of owner call `drop` when they let go, so nothing outlives a close.
A guest cannot fill the host's memory with locks: `Filesystem.lock_budget` bounds them (ENOLCK).
Source: fcntl_locking(2), flock(2), fs/locks.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi.errno import ENOLCK, Errno
from sandbox.wait import WaitQueue

if TYPE_CHECKING:
    from sandbox.vfs.node import Node

END = 1 << 63  # a range that reaches here has no end


class RangeLock:
    """[start, end) held by `owner`; `pid` is what F_GETLK reports."""

    __slots__ = ("end", "exclusive", "owner", "pid", "start")

    def __init__(self, owner: object, pid: int, start: int, end: int, exclusive: bool) -> None:
        self.owner = owner
        self.pid = pid
        self.start = start
        self.end = end
        self.exclusive = exclusive


class FileLocks:
    __slots__ = ("_filesystem", "queue", "ranges", "whole")

    def __init__(self, node: Node) -> None:
        self._filesystem = node.filesystem
        self.ranges: list[RangeLock] = []
        self.whole: dict[object, bool] = {}  # owner to "exclusive"
        self.queue = WaitQueue()  # woken when anything was let go

    # -- ranges -----------------------------------------------------------------------------------------

    def conflict(self, owner: object, start: int, end: int, exclusive: bool) -> RangeLock | None:
        """The first lock of somebody else that stands in the way, by offset."""
        for lock in self.ranges:
            if lock.start >= end:
                return None
            if lock.end > start and lock.owner is not owner and (exclusive or lock.exclusive):
                return lock
        return None

    def held(self, owner: object, start: int, end: int) -> RangeLock | None:
        """The first lock of the owner's that overlaps the range."""
        for lock in self.ranges:
            if lock.owner is owner and lock.start < end and lock.end > start:
                return lock
        return None

    def set(self, owner: object, pid: int, start: int, end: int, exclusive: bool) -> None:
        """Lock a range that nobody else stands in the way of; it replaces what the owner held there."""
        low, high = start, end
        kept: list[RangeLock] = []
        for lock in self.ranges:
            if lock.owner is owner and lock.exclusive == exclusive and lock.start <= end and lock.end >= start:
                low, high = min(low, lock.start), max(high, lock.end)  # touching ranges of a kind become one
            else:
                kept.extend(_without(lock, start, end) if lock.owner is owner else (lock,))
        kept.append(RangeLock(owner, pid, low, high, exclusive))
        self._replace(kept, wakes=not exclusive)

    def clear(self, owner: object, start: int, end: int) -> None:
        kept: list[RangeLock] = []
        for lock in self.ranges:
            kept.extend(_without(lock, start, end) if lock.owner is owner else (lock,))
        self._replace(kept, wakes=True)

    def _replace(self, ranges: list[RangeLock], wakes: bool) -> None:
        more = len(ranges) - len(self.ranges)
        if more > self._filesystem.lock_budget:
            raise Errno(ENOLCK)
        self._filesystem.lock_budget -= more
        self.ranges = sorted(ranges, key=_start)
        if wakes:
            self.queue.wake()

    # -- whole files ------------------------------------------------------------------------------------

    def take_whole(self, owner: object, exclusive: bool) -> bool:
        """flock: False when another owner stands in the way. An existing lock is given up first, as on Linux: a
        conversion is not atomic."""
        if self.whole.get(owner) == exclusive:
            return True
        self.release_whole(owner)
        if any(exclusive or other for other in self.whole.values()):
            return False
        if self._filesystem.lock_budget <= 0:
            raise Errno(ENOLCK)
        self._filesystem.lock_budget -= 1
        self.whole[owner] = exclusive
        return True

    def release_whole(self, owner: object) -> None:
        if self.whole.pop(owner, None) is not None:
            self._filesystem.lock_budget += 1
            self.queue.wake()

    # -- letting go -------------------------------------------------------------------------------------

    def drop(self, owner: object) -> None:
        """The owner is gone, or has closed a descriptor of this file (which drops all of a process's ranges)."""
        if self.ranges:
            kept = [lock for lock in self.ranges if lock.owner is not owner]
            if len(kept) != len(self.ranges):
                self._replace(kept, wakes=True)
        if self.whole:
            self.release_whole(owner)


def locks_of(node: Node) -> FileLocks:
    if node.locks is None:
        node.locks = FileLocks(node)
    return node.locks


def _start(lock: RangeLock) -> int:
    return lock.start


def _without(lock: RangeLock, start: int, end: int) -> list[RangeLock]:
    """What is left of `lock` outside [start, end)."""
    if lock.end <= start or lock.start >= end:
        return [lock]
    pieces = ((lock.start, start), (end, lock.end))
    return [RangeLock(lock.owner, lock.pid, low, high, lock.exclusive) for low, high in pieces if low < high]
