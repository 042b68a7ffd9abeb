"""Waiting for children: wait4, waitpid, waitid. Source: wait(2), `kernel/exit.c`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi import flags
from sandbox.abi.errno import EAGAIN, ECHILD, EINVAL, ESRCH, Errno
from sandbox.abi.flags import O_NONBLOCK, WALL, WCLONE, WCONTINUED, WEXITED, WNOHANG, WNOTHREAD, WNOWAIT, WUNTRACED
from sandbox.abi.signal_structs import pack_siginfo
from sandbox.abi.signals import CLD_CONTINUED, CLD_EXITED, CLD_KILLED, CLD_STOPPED, SIGCHLD, SIGCONT
from sandbox.kernel.lifecycle import reap
from sandbox.kernel.pidfd import process_of
from sandbox.kernel.process import Process, Usage
from sandbox.kernel.row import FULL, Row
from sandbox.kernel.sys_limits import packed_usage, usage_of
from sandbox.wait import Block

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

STOPPED, CONTINUED_WORD = 0x7F, 0xFFFF


def _eligible(task: Task, kind: int, number: int, options: int) -> list[Process]:
    """The children that the caller's selection covers, oldest first."""
    found = []
    for child in task.process.children.values():
        if kind == flags.P_PID and child.pid != number:
            continue
        if kind == flags.P_PGID and child.group != number:
            continue
        if not options & WALL and (child.exit_signal != SIGCHLD) != bool(options & WCLONE):
            continue
        found.append(child)
    return found


def _ready(child: Process, options: int) -> int | None:
    """The status word that the child has for a waiter with these options, or None."""
    if child.wait_status is not None:
        return child.wait_status if options & WEXITED else None
    if options & WUNTRACED and child.stop_signal and not child.stop_reported:
        return child.stop_signal << 8 | STOPPED
    if options & WCONTINUED and not child.continue_reported:
        return CONTINUED_WORD
    return None


def _consume(child: Process, options: int) -> None:
    """The report has been given; WNOWAIT leaves it for another time."""
    if options & WNOWAIT:
        return
    if child.wait_status is not None:
        reap(child)
    elif child.stop_signal:
        child.stop_reported = True
    else:
        child.continue_reported = True


def wait_for(task: Task, kind: int, number: int, options: int) -> tuple[Process, int] | None:
    """The first child that has something to report; None with WNOHANG when none has. Raises Errno(ECHILD), Block."""
    children = _eligible(task, kind, number, options)
    if not children:
        raise Errno(ECHILD)
    for child in children:
        word = _ready(child, options)
        if word is not None:
            return child, word
    if not options & WEXITED and all(child.wait_status is not None for child in children):
        raise Errno(ECHILD)  # zombies are no longer stopped or continued
    if options & WNOHANG:
        return None
    raise Block(task.process.child_change)


def _usage(child: Process) -> Usage:
    """Of the child and of the children it has waited for."""
    total = Usage()
    total.add(usage_of(child))
    total.add(child.children_usage)
    return total


def wait4(task: Task, pid: int, status: int, options: int, usage: int) -> int:
    if options & ~(WNOHANG | WUNTRACED | WCONTINUED | WNOTHREAD | WCLONE | WALL):
        raise Errno(EINVAL)
    if pid == -(1 << 31):
        raise Errno(ESRCH)
    kind, number = _selection(task, pid)
    found = wait_for(task, kind, number, options | WEXITED)
    if found is None:
        return 0
    child, word = found
    data = packed_usage(task.isa, _usage(child)) if usage else b""
    if status:
        task.space.copy_out(status, word.to_bytes(4, "little"))
    if usage:
        task.space.copy_out(usage, data)
    _consume(child, options)
    return child.pid


def _selection(task: Task, pid: int) -> tuple[int, int]:
    if pid == -1:
        return flags.P_ALL, 0
    if pid > 0:
        return flags.P_PID, pid
    return flags.P_PGID, -pid if pid else task.process.group


def waitpid(task: Task, pid: int, status: int, options: int) -> int:
    """i386."""
    return wait4(task, pid, status, options, 0)


def waitid(task: Task, kind: int, number: int, info: int, options: int, usage: int) -> int:
    if options & ~(WNOHANG | WNOWAIT | WEXITED | WUNTRACED | WCONTINUED | WNOTHREAD | WCLONE | WALL):
        raise Errno(EINVAL)
    if not options & (WEXITED | WUNTRACED | WCONTINUED):
        raise Errno(EINVAL)
    if kind not in (flags.P_ALL, flags.P_PID, flags.P_PGID, flags.P_PIDFD):
        raise Errno(EINVAL)
    if (kind == flags.P_PID and number <= 0) or (kind in (flags.P_PGID, flags.P_PIDFD) and number < 0):
        raise Errno(EINVAL)
    if kind == flags.P_PIDFD:
        return _wait_by_pidfd(task, number, info, options, usage)
    if kind == flags.P_PGID and number == 0:
        number = task.process.group
    return _report(task, wait_for(task, kind, number, options), info, options, usage)


def _wait_by_pidfd(task: Task, fd: int, info: int, options: int, usage: int) -> int:
    file = process_of(task, fd)
    if task.process.children.get(file.process.pid) is not file.process:
        raise Errno(ECHILD)
    hasty = bool(file.flags & O_NONBLOCK)
    found = wait_for(task, flags.P_PID, file.process.pid, options | (WNOHANG if hasty else 0))
    if found is None and hasty and not options & WNOHANG:
        raise Errno(EAGAIN)
    return _report(task, found, info, options, usage)


def _report(task: Task, found: tuple[Process, int] | None, info: int, options: int, usage: int) -> int:
    if found is None:
        if info:
            task.space.copy_out(info, pack_siginfo(task.isa, 0, 0)[:28])
        return 0
    child, word = found
    if usage:
        task.space.copy_out(usage, packed_usage(task.isa, _usage(child)))
    if info:
        code, value = _code_and_status(word)
        data = pack_siginfo(task.isa, SIGCHLD, code, pid=child.pid, uid=child.uid, status=value)
        task.space.copy_out(info, data)
    _consume(child, options)
    return 0


def _code_and_status(word: int) -> tuple[int, int]:
    if word == CONTINUED_WORD:
        return CLD_CONTINUED, SIGCONT
    if word & 0xFF == STOPPED:
        return CLD_STOPPED, word >> 8
    if word & 0x7F:
        return CLD_KILLED, word & 0x7F
    return CLD_EXITED, word >> 8


ROWS: tuple[Row, ...] = (
    Row("wait4", wait4, "pid:pid status:out options:flags:wait usage:out", FULL),
    Row("waitpid", waitpid, "pid:pid status:out options:flags:wait", FULL),
    Row("waitid", waitid, "kind:choice:idtype number:pid info:out options:flags:waitid usage:out", FULL),
)  # fmt: skip
