"""eventfd(2): a counter that is read and added to, and can be waited for. Neighbours: `anonymous`."""

from __future__ import annotations

from sandbox.abi.errno import EAGAIN, EINVAL, Errno
from sandbox.abi.flags import POLLERR, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM
from sandbox.vfs.anonymous import AnonymousFile, AnonymousFs

HIGHEST = (1 << 64) - 2


class EventFile(AnonymousFile):
    """`semaphore`: a read takes one instead of all. 2^64-1 is never reached by writing."""

    __slots__ = ("semaphore", "value")

    def __init__(self, filesystem: AnonymousFs, value: int, semaphore: bool, flags: int) -> None:
        super().__init__(filesystem, b"[eventfd]", flags)
        self.value = value
        self.semaphore = semaphore

    def read(self, count: int, offset: int | None = None) -> bytes:
        if count < 8:
            raise Errno(EINVAL)
        if not self.value:
            raise Errno(EAGAIN)
        taken = 1 if self.semaphore else self.value
        self.value -= taken
        self.queue.wake(events=POLLOUT | POLLWRNORM)
        return taken.to_bytes(8, "little")

    def write(self, data: bytes, offset: int | None = None) -> int:
        if len(data) != 8:
            raise Errno(EINVAL)
        value = int.from_bytes(data, "little")
        if value > HIGHEST:
            raise Errno(EINVAL)
        if self.value + value > HIGHEST:
            raise Errno(EAGAIN)
        self.value += value
        if value:
            self.queue.wake(events=POLLIN | POLLRDNORM)
        return 8

    def poll(self) -> int:
        ready = 0
        if self.value:
            ready |= POLLIN | POLLRDNORM
        if self.value < HIGHEST:
            ready |= POLLOUT | POLLWRNORM
        if self.value > HIGHEST:
            ready |= POLLERR
        return ready
