"""Who a terminal belongs to: sessions, foreground process groups, and what happens to the others.

A process in the background that reads its terminal is sent SIGTTIN and tries again when it is continued; one that
writes (with TOSTOP) or changes settings is sent SIGTTOU. Process groups that nobody could continue get EIO instead.
Neighbours: `sys_tty` (ioctl), `transfer` (read and write), `sandbox.vfs.terminal`.
Source: POSIX.1-2017, 11.1; ioctl_tty(2); drivers/tty/tty_jobctrl.c.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.abi.errno import EINVAL, EIO, ENOTTY, EPERM, ESRCH, Errno
from sandbox.abi.signals import SIG_IGN, SIGTTIN, SIGTTOU, bit
from sandbox.kernel.lifecycle import is_orphaned_group
from sandbox.kernel.process import group_members
from sandbox.kernel.signals import kernel_signal, send_to_process
from sandbox.vfs.pty import PtyMaster
from sandbox.vfs.terminal import (
    TCFLSH,
    TCSBRK,
    TCSBRKP,
    TCSETS,
    TCSETS2,
    TCSETSF,
    TCSETSF2,
    TCSETSW,
    TCSETSW2,
    TCXONC,
    TIOCSETD,
    Terminal,
    TerminalFile,
)
from sandbox.vfs.termios import TOSTOP
from sandbox.wait import Block

if TYPE_CHECKING:
    from sandbox.kernel.linux import LinuxMachine
    from sandbox.kernel.process import Process
    from sandbox.kernel.task import Task

TIOCSCTTY, TIOCGPGRP, TIOCSPGRP, TIOCNOTTY, TIOCGSID = 0x540E, 0x540F, 0x5410, 0x5422, 0x5429
CAP_SYS_ADMIN = 21
# What only the foreground may do.
CHANGES = frozenset(
    (TCSETS, TCSETSW, TCSETSF, TCSETS2, TCSETSW2, TCSETSF2, TCFLSH, TCXONC, TCSBRK, TCSBRKP, TIOCSETD, TIOCSPGRP)
)


def signal_group(kernel: LinuxMachine, group: int, number: int) -> None:
    for process in group_members(kernel, group):
        send_to_process(process, kernel_signal(number))


# -- the background ----------------------------------------------------------------------------------------


def may_read(task: Task, terminal: Terminal) -> None:
    _demand_foreground(task, terminal, SIGTTIN)


def may_write(task: Task, terminal: Terminal) -> None:
    if terminal.settings.local & TOSTOP:
        _demand_foreground(task, terminal, SIGTTOU)


def may_change(task: Task, terminal: Terminal) -> None:
    _demand_foreground(task, terminal, SIGTTOU)


def _demand_foreground(task: Task, terminal: Terminal, number: int) -> None:
    """Return when the process is in the foreground of this terminal, or when it is not its terminal at all."""
    process = task.process
    if process.terminal is not terminal or terminal.foreground in (-1, process.group):
        return
    if task.signals.mask & bit(number) or process.actions[number].handler == SIG_IGN:
        if number == SIGTTIN:
            raise Errno(EIO)
        return
    if is_orphaned_group(process, process.group):
        raise Errno(EIO)
    signal_group(task.kernel, process.group, number)
    raise Block()  # the signal interrupts at once; continued, the call is made again


# -- sessions ----------------------------------------------------------------------------------------------


def acquire(process: Process, terminal: Terminal) -> None:
    """Make `terminal` the controlling terminal of the session that `process` leads."""
    terminal.session = process.session
    terminal.foreground = process.group
    process.terminal = terminal


def acquire_on_open(task: Task, terminal: Terminal) -> None:
    """open(2) without O_NOCTTY: a session leader without a terminal gets the first one it opens."""
    process = task.process
    if process.session == process.pid and process.terminal is None and not terminal.session:
        acquire(process, terminal)


def _set_controlling(task: Task, terminal: Terminal, argument: int) -> int:
    process = task.process
    if process.session == process.pid and terminal.session == process.session:
        return 0
    if process.session != process.pid or process.terminal is not None:
        raise Errno(EPERM)
    if terminal.session:
        if argument != 1 or not task.credentials.capable(CAP_SYS_ADMIN):
            raise Errno(EPERM)
        _leave(task.kernel, terminal)
    acquire(process, terminal)
    return 0


def _give_up(task: Task, terminal: Terminal, argument: int) -> int:
    process = task.process
    if process.terminal is not terminal:
        raise Errno(ENOTTY)
    if process.session == process.pid:
        terminal.leader_ended(process)
        _leave(task.kernel, terminal)
    process.terminal = None
    return 0


def _leave(kernel: LinuxMachine, terminal: Terminal) -> None:
    for process in kernel.processes.values():
        if process.terminal is terminal:
            process.terminal = None


def _get_foreground(task: Task, terminal: Terminal, argument: int) -> int:
    task.space.copy_out(argument, max(0, terminal.foreground).to_bytes(4, "little"))
    return 0


def _set_foreground(task: Task, terminal: Terminal, argument: int) -> int:
    group = int.from_bytes(task.space.copy_in(argument, 4), "little", signed=True)
    if group < 0:
        raise Errno(EINVAL)
    sessions = {process.session for process in task.kernel.processes.values() if process.group == group}
    if not sessions:
        raise Errno(ESRCH)
    if task.process.session not in sessions:
        raise Errno(EPERM)
    terminal.foreground = group
    return 0


def _get_session(task: Task, terminal: Terminal, argument: int) -> int:
    if not terminal.session:
        raise Errno(ENOTTY)
    task.space.copy_out(argument, terminal.session.to_bytes(4, "little"))
    return 0


# Requests by number, and whether the caller's own terminal is meant (unless it asks through a master).
_REQUESTS: dict[int, tuple[Callable[[Task, Terminal, int], int], bool]] = {
    TIOCSCTTY: (_set_controlling, False),
    TIOCNOTTY: (_give_up, True),
    TIOCGPGRP: (_get_foreground, True),
    TIOCSPGRP: (_set_foreground, True),
    TIOCGSID: (_get_session, True),
}


def ioctl(task: Task, file: TerminalFile | PtyMaster, request: int, argument: int) -> int | None:
    """Serve `request` when it is about job control; None: it is not."""
    terminal = file.terminal
    if request in CHANGES and isinstance(file, TerminalFile):
        may_change(task, terminal)
    found = _REQUESTS.get(request)
    if found is None:
        return None
    handler, own = found
    if isinstance(file, TerminalFile):
        if terminal.hung_up:
            raise Errno(EIO)
        if own and task.process.terminal is not terminal:
            raise Errno(ENOTTY)
    elif request in (TIOCSCTTY, TIOCNOTTY):
        raise Errno(ENOTTY)
    return handler(task, terminal, argument)
