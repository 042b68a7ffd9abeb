"""A process as a file: what pidfd_open(2), clone(2) with CLONE_PIDFD, and waitid(2) with P_PIDFD deal in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi.errno import EBADF, EINVAL, Errno
from sandbox.abi.flags import O_ACCMODE, O_NONBLOCK, O_RDWR, POLLIN, POLLRDNORM
from sandbox.kernel.lookup import install, opened
from sandbox.vfs.anonymous import AnonymousFile
from sandbox.wait import WaitQueue

if TYPE_CHECKING:
    from sandbox.kernel.process import Process
    from sandbox.kernel.task import Task


class PidFile(AnonymousFile):
    """It names the process for ever, also when another one has got its number. Readable once the process has ended."""

    __slots__ = ("process",)

    def __init__(self, process: Process, flags: int) -> None:
        super().__init__(process.kernel.nameless.anonymous, b"[pidfd]", flags)
        self.process = process

    @property
    def queue(self) -> WaitQueue:
        return self.process.ended

    def read(self, count: int, offset: int | None = None) -> bytes:
        raise Errno(EINVAL)

    def write(self, data: bytes, offset: int | None = None) -> int:
        raise Errno(EINVAL)

    def poll(self) -> int:
        return POLLIN | POLLRDNORM if self.process.wait_status is not None else 0


def new_pidfd(task: Task, process: Process, flags: int = 0) -> int:
    """A descriptor, close-on-exec as always. Raises Errno(EMFILE)."""
    return install(task, PidFile(process, flags & (O_NONBLOCK | O_ACCMODE) | O_RDWR), close_on_exec=True)


def process_of(task: Task, fd: int) -> PidFile:
    """Raises Errno(EBADF)."""
    file = opened(task, fd)
    if not isinstance(file, PidFile):
        raise Errno(EBADF)
    return file
