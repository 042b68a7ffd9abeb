"""Signals that tell of input and output: O_ASYNC, F_SETOWN and F_SETSIG of fcntl(2).

An `AsyncSignal` belongs to an open file and sits on its wait queue while O_ASYNC is set. It keeps the file weakly: what
is closed tells nobody. Source: fcntl(2), "Managing signals"; `send_sigio` in fs/fcntl.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

from sandbox.abi.errno import EINVAL, ESRCH, Errno
from sandbox.abi.flags import (
    O_ASYNC,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDNORM,
    POLLWRNORM,
    S_IFCHR,
    S_IFIFO,
    S_IFMT,
    S_IFSOCK,
)
from sandbox.abi.signals import NSIG, POLL_HUP, POLL_IN, SIGIO
from sandbox.kernel.process import group_members
from sandbox.kernel.signals import SignalInfo, kernel_signal, send_to_process, send_to_task

if TYPE_CHECKING:
    from sandbox.kernel.task import Credentials, Task
    from sandbox.vfs.file import OpenFile
    from sandbox.wait import WaitQueue

OWNER_TID, OWNER_PID, OWNER_GROUP = range(3)  # F_OWNER_* of F_SETOWN_EX
POLL_OUT = 2
_KINDS = (S_IFCHR, S_IFIFO, S_IFSOCK)
# What is told first, with si_code and si_band.
_NEWS = (
    (POLLIN, POLL_IN, POLLIN | POLLRDNORM),
    (POLLOUT, POLL_OUT, POLLOUT | POLLWRNORM),
    (POLLHUP | POLLERR, POLL_HUP, POLLHUP | POLLERR),
)


class AsyncSignal:
    """`owner` is who is told, as a number of the kind `kind`; `number` the signal, 0 for SIGIO without details."""

    __slots__ = ("_file", "_uids", "fd", "kernel", "kind", "number", "owner")

    def __init__(self, task: Task, file: OpenFile) -> None:
        self.kernel = task.kernel
        self._file = ref(file)
        self._uids = (0, 0)
        self.kind = OWNER_PID
        self.owner = 0
        self.number = 0
        self.fd = 0

    def own(self, task: Task, kind: int, owner: int) -> None:
        """0: nobody. Raises Errno: EINVAL, ESRCH."""
        if kind not in (OWNER_TID, OWNER_PID, OWNER_GROUP):
            raise Errno(EINVAL)
        if owner and not self._receivers(kind, owner):
            raise Errno(ESRCH)
        self.kind, self.owner = kind, owner
        self._uids = task.credentials.uid, task.credentials.euid

    def choose(self, number: int) -> None:
        if not 0 <= number <= NSIG:
            raise Errno(EINVAL)
        self.number = number

    def watch(self, fd: int) -> None:
        """O_ASYNC was set by way of `fd`."""
        file = self._file()
        if file is not None and file.node.mode & S_IFMT in _KINDS:
            self.fd = fd
            file.queue.add(self)

    def wake(self, queue: WaitQueue) -> None:
        """Something may have happened to the file. (The Sleeper protocol.)"""
        file = self._file()
        if file is None or file.references <= 0 or not file.flags & O_ASYNC:
            return
        queue.add(self)
        state = file.poll() & (queue.events | POLLHUP | POLLERR)
        for bits, code, band in _NEWS:
            if state & bits:
                self._send(code, band)
                return

    def _receivers(self, kind: int, owner: int) -> list[Task]:
        """A task of each process that is told."""
        if kind == OWNER_GROUP:
            return [next(iter(process.threads.values())) for process in group_members(self.kernel, owner)]
        task = self.kernel.tasks.get(owner)
        return [task] if task is not None else []

    def _allowed(self, whose: Credentials) -> bool:
        uid, euid = self._uids
        return euid == 0 or bool({uid, euid} & {whose.uid, whose.suid})

    def _send(self, code: int, band: int) -> None:
        for task in self._receivers(self.kind, self.owner) if self.owner else ():
            if not self._allowed(task.credentials):
                continue
            if self.number:
                info = SignalInfo(self.number, code, band=band, fd=self.fd)
            else:
                info = kernel_signal(SIGIO)
            if self.kind == OWNER_TID:
                send_to_task(task, info)
            else:
                send_to_process(task.process, info)


def async_signal(task: Task, file: OpenFile) -> AsyncSignal:
    """That of the file, made now if there is none."""
    found = task.kernel.async_signals.get(file)
    if found is None:
        found = task.kernel.async_signals[file] = AsyncSignal(task, file)
    return found
