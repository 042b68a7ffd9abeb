"""signalfd(2): pending signals that are read like a file. It shows the signals of whoever reads, not of who made it.
Source: signalfd(2); fs/signalfd.c.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from sandbox.abi.errno import EAGAIN, EINVAL, Errno
from sandbox.abi.flags import O_CLOEXEC, O_NONBLOCK, POLLIN, POLLRDNORM
from sandbox.abi.signals import UNBLOCKABLE
from sandbox.kernel.delivery import take_signal
from sandbox.kernel.lookup import install, opened
from sandbox.kernel.readiness import SIGSET_SIZE
from sandbox.kernel.row import FULL, Row
from sandbox.kernel.signals import SignalInfo
from sandbox.vfs.anonymous import AnonymousFile
from sandbox.wait import WaitQueue

if TYPE_CHECKING:
    from sandbox.kernel.linux import LinuxMachine
    from sandbox.kernel.task import Task

# signo errno code pid uid fd tid band overrun trapno status int ptr utime stime addr
_INFO = Struct("<IiiIIiIIIIiiQQQQ48x")
SIZE = 128
assert _INFO.size == SIZE


class SignalFile(AnonymousFile):
    """`mask` is what it takes. Only the running task reads or polls, so it is asked of the machine."""

    __slots__ = ("_kernel", "mask")

    def __init__(self, kernel: LinuxMachine, mask: int, flags: int) -> None:
        super().__init__(kernel.nameless.anonymous, b"[signalfd]", flags)
        self._kernel = kernel
        self.mask = mask

    def _reader(self) -> Task:
        task = self._kernel.current or next(iter(self._kernel.tasks.values()))
        return task

    @property
    def queue(self) -> WaitQueue:
        return self._reader().process.signal_arrival

    def read(self, count: int, offset: int | None = None) -> bytes:
        if count < SIZE:
            raise Errno(EINVAL)
        task = self._reader()
        taken: list[bytes] = []
        while len(taken) < count // SIZE:
            info = take_signal(task, self.mask)
            if info is None:
                break
            taken.append(_pack(info))
        if not taken:
            raise Errno(EAGAIN)
        return b"".join(taken)

    def poll(self) -> int:
        task = self._reader()
        pending = (task.signals.pending.bits | task.process.pending.bits) & self.mask
        return POLLIN | POLLRDNORM if pending else 0


def _pack(info: SignalInfo) -> bytes:
    word = info.value & (1 << 64) - 1
    number = (word & 0xFFFFFFFF ^ 1 << 31) - (1 << 31)
    head = (info.number, info.errno, info.code, info.pid & 0xFFFFFFFF, info.uid, info.fd, info.timer)
    middle = (info.band & 0xFFFFFFFF, info.overrun, info.trap, info.status, number)
    return _INFO.pack(*head, *middle, word, info.utime, info.stime, info.address)


def signalfd4(task: Task, fd: int, mask: int, size: int, flags: int) -> int:
    if size != SIGSET_SIZE or flags & ~(O_CLOEXEC | O_NONBLOCK):
        raise Errno(EINVAL)
    wanted = int.from_bytes(task.space.copy_in(mask, SIGSET_SIZE), "little") & ~UNBLOCKABLE
    if fd == -1:
        task.files.expect_room()
        file = SignalFile(task.kernel, wanted, flags & O_NONBLOCK)
        return install(task, file, bool(flags & O_CLOEXEC))
    present = opened(task, fd)
    if not isinstance(present, SignalFile):
        raise Errno(EINVAL)
    present.mask = wanted
    task.process.signal_arrival.wake()
    return fd


def signalfd(task: Task, fd: int, mask: int, size: int) -> int:
    return signalfd4(task, fd, mask, size, 0)


ROWS: tuple[Row, ...] = (
    Row("signalfd", signalfd, "fd:fd mask:in size:ulong", FULL),
    Row("signalfd4", signalfd4, "fd:fd mask:in size:ulong flags:flags:open", FULL),
)
