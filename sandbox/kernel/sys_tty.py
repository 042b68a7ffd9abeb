"""ioctl: the requests every file knows, and the hand-over of all others to the file itself.

A terminal answers the TC* and TIOC* requests (`sandbox.vfs.terminal`); those about sessions and process groups need
to know who asks and are served by `sandbox.kernel.job_control`. What a file does not know is ENOTTY.
Source: ioctl(2), ioctl_tty(2); fs/ioctl.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi.errno import EIO, ENOTTY, Errno
from sandbox.abi.flags import (
    O_ACCMODE,
    O_ASYNC,
    O_CLOEXEC,
    O_NONBLOCK,
    S_IFDIR,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    open_flags,
)
from sandbox.kernel import job_control, network_interface
from sandbox.kernel.async_signal import async_signal
from sandbox.kernel.lookup import install, opened
from sandbox.kernel.row import PARTIAL, Row
from sandbox.vfs.pty import PtyMaster
from sandbox.vfs.socket import Socket
from sandbox.vfs.terminal import TIOCSTI, TerminalFile

if TYPE_CHECKING:
    from sandbox.kernel.task import Task
    from sandbox.vfs.file import OpenFile

FIONREAD, FIONBIO, FIONCLEX, FIOCLEX, FIOASYNC, FIGETBSZ = 0x541B, 0x5421, 0x5450, 0x5451, 0x5452, 2
TIOCGPTPEER = 0x5441
CAP_SYS_ADMIN = 21
FIOQSIZE = {"arm": 0x545E}
_FIOQSIZE = 0x5460


def ioctl(task: Task, fd: int, request: int, argument: int) -> int:
    file = opened(task, fd)
    if request in (FIOCLEX, FIONCLEX):
        task.files.set_close_on_exec(fd, request == FIOCLEX)
        return 0
    if request in (FIONBIO, FIOASYNC):
        flag = O_NONBLOCK if request == FIONBIO else O_ASYNC
        on = any(task.space.copy_in(argument, 4))
        begins = on and flag == O_ASYNC and not file.flags & O_ASYNC
        file.flags = file.flags | flag if on else file.flags & ~flag
        if begins:
            async_signal(task, file).watch(fd)
        return 0
    kind = file.node.mode & S_IFMT
    if request == FIOQSIZE.get(task.isa, _FIOQSIZE):
        if kind not in (S_IFREG, S_IFDIR, S_IFLNK):
            raise Errno(ENOTTY)
        task.space.copy_out(argument, (file.node.stat().blocks * 512).to_bytes(8, "little"))
        return 0
    if request == FIGETBSZ and kind in (S_IFREG, S_IFDIR):
        task.space.copy_out(argument, file.node.stat().blksize.to_bytes(4, "little"))
        return 0
    if request == FIONREAD and kind == S_IFREG:
        task.space.copy_out(argument, _left(file).to_bytes(4, "little"))
        return 0
    if isinstance(file, PtyMaster) and request == TIOCGPTPEER:
        task.files.expect_room()
        flags = open_flags(task.isa, argument & 0xFFFFFFFF)
        slave = task.kernel.terminals.peer(file, flags & (O_ACCMODE | O_NONBLOCK))
        return install(task, slave, bool(flags & O_CLOEXEC))
    if isinstance(file, TerminalFile):
        if file.terminal.hung_up:
            raise Errno(ENOTTY if request == job_control.TIOCSPGRP else EIO)
        if request == TIOCSTI:
            return _type(task, file, argument)
    if isinstance(file, TerminalFile | PtyMaster):
        answer = job_control.ioctl(task, file, request, argument)
        if answer is not None:
            return answer
    if isinstance(file, Socket) and network_interface.concerns(request):
        return network_interface.ioctl(task, file, request, argument)
    return file.ioctl(request, argument, task.space)


def _type(task: Task, file: TerminalFile, argument: int) -> int:
    """As if it had been typed; only for the superuser (dev.tty.legacy_tiocsti is 0)."""
    if not task.credentials.capable(CAP_SYS_ADMIN):
        raise Errno(EIO)
    file.terminal.type(task.space.copy_in(argument, 1))
    return 0


def _left(file: OpenFile) -> int:
    """What remains to be read, as an int (it wraps, as on Linux)."""
    return (file.node.size - file.position) & 0xFFFFFFFF


ROWS = [
    Row(
        "ioctl",
        ioctl,
        "fd:fd request:uint argument:ulong",
        PARTIAL,
        "files, pipes, terminals, and lo by any socket; no other devices",
    ),
]
