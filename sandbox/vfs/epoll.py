"""epoll(7): a set of files that is watched, and the list of those that may be ready.

Every watched file has a `Watch`, which sits on the file's wait queue and puts itself on the ready list when it is
woken; `collect` then asks `poll` of those only. Level-triggered watches stay on the list while they are ready,
edge-triggered ones leave it until the next wake. A watch holds no reference to its file: when the last descriptor is
closed, the watch goes (it finds `references` at zero). An epoll file can itself be watched, five levels deep.
Neighbours: `anonymous`, `kernel.sys_epoll`. Source: fs/eventpoll.c.
"""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.abi.errno import EEXIST, EINVAL, ELOOP, ENOENT, ENOSPC, Errno
from sandbox.abi.flags import EPOLLET, EPOLLEXCLUSIVE, EPOLLONESHOT, EPOLLWAKEUP, POLLERR, POLLHUP, POLLIN, POLLRDNORM
from sandbox.vfs.anonymous import AnonymousFile, AnonymousFs
from sandbox.vfs.file import OpenFile
from sandbox.wait import WaitQueue

MAX_DEPTH = 5
MAX_WATCHES = 65536  # of all sets of a VM
MAX_NESTED = 512  # of those, sets in sets: an event goes from set to set on every way there is
_PRIVATE = EPOLLET | EPOLLONESHOT | EPOLLWAKEUP | EPOLLEXCLUSIVE
_ALWAYS = POLLERR | POLLHUP


class Watch:
    """One file in one epoll set. `events` 0: disabled by EPOLLONESHOT."""

    __slots__ = ("data", "epoll", "events", "file")

    def __init__(self, epoll: EpollFile, file: OpenFile, events: int, data: int) -> None:
        self.epoll = epoll
        self.file = file
        self.events = events
        self.data = data

    def wake(self, queue: WaitQueue) -> None:
        """The file's state may have changed. (The Sleeper protocol.)"""
        if self.file.references <= 0:
            return
        queue.add(self)  # being woken takes a sleeper off the queue
        if self.events & ~_PRIVATE and queue.events & (self.events & ~_PRIVATE | _ALWAYS):
            if self.events & EPOLLEXCLUSIVE:
                if queue.taken:
                    return
                queue.taken = len(self.epoll.queue) > 0  # somebody waits there
            self.epoll.may_be_ready(self)

    def state(self) -> int:
        return self.file.poll() & (self.events & ~_PRIVATE | _ALWAYS) if self.events & ~_PRIVATE else 0


class EpollFile(AnonymousFile):
    __slots__ = ("_ready", "_sweep_at", "_watches")

    def __init__(self, filesystem: AnonymousFs, flags: int) -> None:
        super().__init__(filesystem, b"[eventpoll]", flags)
        self._watches: dict[tuple[int, OpenFile], Watch] = {}
        self._ready: dict[Watch, None] = {}  # in order of arrival
        self._sweep_at = 64  # how many watches make it worth looking for those whose file was closed

    # -- the set ----------------------------------------------------------------------------------------

    def add(self, fd: int, file: OpenFile, events: int, data: int) -> None:
        if len(self._watches) >= self._sweep_at:
            self._forget_closed()
        if (fd, file) in self._watches:
            raise Errno(EEXIST)
        world = self._world()
        if world.epoll_watches >= MAX_WATCHES:
            raise Errno(ENOSPC)
        if isinstance(file, EpollFile):
            self._expect_shallow(file)
            if world.epoll_nested >= MAX_NESTED:
                raise Errno(ENOSPC)
        watch = Watch(self, file, events, data)
        self._count(watch, 1)
        self._watches[fd, file] = watch
        file.queue.add(watch)
        if watch.state():
            self.may_be_ready(watch)

    def modify(self, fd: int, file: OpenFile, events: int, data: int) -> None:
        watch = self._watches.get((fd, file))
        if watch is None:
            raise Errno(ENOENT)
        if (watch.events | events) & EPOLLEXCLUSIVE:
            raise Errno(EINVAL)
        watch.events = events
        watch.data = data
        if watch.state():
            self.may_be_ready(watch)

    def remove(self, fd: int, file: OpenFile) -> None:
        watch = self._watches.pop((fd, file), None)
        if watch is None:
            raise Errno(ENOENT)
        self._discard(watch)

    def _world(self) -> AnonymousFs:
        world = self.node.filesystem
        assert isinstance(world, AnonymousFs)
        return world

    def _count(self, watch: Watch, more: int) -> None:
        world = self._world()
        world.epoll_watches += more
        if isinstance(watch.file, EpollFile):
            world.epoll_nested += more

    def _discard(self, watch: Watch) -> None:
        self._count(watch, -1)
        watch.file.queue.discard(watch)
        self._ready.pop(watch, None)

    def _forget_closed(self) -> None:
        for key in [key for key in self._watches if key[1].references <= 0]:
            self._discard(self._watches.pop(key))
        self._sweep_at = 64 + 2 * len(self._watches)

    def _expect_shallow(self, file: EpollFile) -> None:
        """Raises Errno(ELOOP) when this set could no longer watch `file`: too many levels, above it and below, or a
        loop. Every set is looked at once a level, however many ways lead to it."""
        levels = 0
        for start, neighbours in ((self, EpollFile._watchers), (file, EpollFile._watched)):
            level = {start: None}
            while level:
                levels += 1
                if levels > MAX_DEPTH or (neighbours is EpollFile._watched and self in level):
                    raise Errno(ELOOP)
                level = {found: None for one in level for found in neighbours(one)}

    def _watched(self) -> Iterator[EpollFile]:
        for _, file in self._watches:
            if isinstance(file, EpollFile) and file.references > 0:
                yield file

    def _watchers(self) -> Iterator[EpollFile]:
        for sleeper in self.queue:
            if isinstance(sleeper, Watch) and sleeper.epoll.references > 0:
                yield sleeper.epoll

    # -- readiness --------------------------------------------------------------------------------------

    def may_be_ready(self, watch: Watch) -> None:
        if watch not in self._ready:
            self._ready[watch] = None
            self.queue.wake()

    def collect(self, limit: int) -> list[tuple[int, int]]:
        """At most `limit` pairs (events, data) of files that are ready now."""
        result: list[tuple[int, int]] = []
        again: list[Watch] = []
        for watch in list(self._ready):
            if len(result) == limit:
                break
            del self._ready[watch]
            if watch.file.references <= 0:
                continue
            state = watch.state()
            if not state:
                continue
            result.append((state, watch.data))
            if watch.events & EPOLLONESHOT:
                watch.events &= _PRIVATE
            elif not watch.events & EPOLLET:
                again.append(watch)  # behind the others, so that all have their turn
        for watch in again:
            self._ready[watch] = None
        return result

    def poll(self) -> int:
        for watch in list(self._ready):
            if watch.file.references > 0 and watch.state():
                return POLLIN | POLLRDNORM
            del self._ready[watch]
        return 0

    def close(self) -> None:
        for watch in self._watches.values():
            watch.file.queue.discard(watch)
            self._count(watch, -1)
        self._watches.clear()
        self._ready.clear()
