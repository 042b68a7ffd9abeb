"""How tasks and processes end, and how a parent learns of it.

Tasks of one VM never run at the same moment, so a whole process can be taken apart on the spot: there is no
"dying" state that others must respect. The order is the kernel's (`do_exit`): tell whoever waits on the thread's
futexes, leave what is shared, then, with the last thread, become a zombie or vanish. Source: _exit(2), wait(2),
set_tid_address(2), get_robust_list(2), prctl(2) on subreapers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi.signals import (
    CLD_EXITED,
    CLD_KILLED,
    SA_NOCLDWAIT,
    SIG_IGN,
    SIGCHLD,
    SIGCONT,
    SIGHUP,
)
from sandbox.kernel import robust
from sandbox.kernel.constant_calls import count, forget
from sandbox.kernel.process import group_members
from sandbox.kernel.signals import SignalInfo, send_to_process

if TYPE_CHECKING:
    from sandbox.kernel.process import Process
    from sandbox.kernel.task import Task

TICK = 10_000_000  # nanoseconds of a clock tick (USER_HZ is 100)


def exit_word(code: int) -> int:
    """The status word of a process that called exit."""
    return (code & 0xFF) << 8


def signal_word(number: int) -> int:
    return number


def end_process(process: Process, word: int) -> None:
    """exit_group, or a fatal signal: every thread ends."""
    if process.exiting is None:
        process.exiting = word
    for task in list(process.threads.values()):
        end_task(task, word)


def end_task(task: Task, word: int) -> None:
    """One thread ends; with the last one the process does. Idempotent."""
    if task.state == "dead":
        return
    kernel, process = task.kernel, task.process
    kernel.settle_time(task)
    count(task)
    kernel.forget_sleep(task)
    task.state = "dead"
    task.attention = False
    task.call = None
    robust.leave(task)
    task.files.release()
    kernel.release_space(task)
    task.context.release()
    if task.vfork_done is not None:
        task.vfork_done.wake()
        task.vfork_done = None
    process.usage.add(task.usage)
    process.last_uid, process.last_name = task.credentials.uid, task.name
    del process.threads[task.tid]
    kernel.tasks.pop(task.tid, None)
    if not process.threads:
        _process_ended(process, word if process.exiting is None else process.exiting)


def _process_ended(process: Process, word: int) -> None:
    kernel = process.kernel
    process.wait_status = word
    process.stop_signal = 0
    process.cancel_timers()
    kernel.ipc.leave(process)
    if process.pid == 1:
        kernel.init_ended(word)
        return
    _orphan(process)
    _hang_up_group(process, process.parent)
    if process.session == process.pid:
        _leave_terminal(process)
    process.ended.wake()
    parent = process.parent
    if parent is None:  # it was entered from outside (start.py)
        reap(process)
        if process.on_end is not None:
            process.on_end(word)
        return
    _tell(parent, process)


def _tell(parent: Process, process: Process) -> None:
    """That the process has ended; a parent that does not want to know never sees it again."""
    number = process.exit_signal
    if number == SIGCHLD:
        action = parent.actions[SIGCHLD]
        if action.handler == SIG_IGN or action.flags & SA_NOCLDWAIT:
            reap(process)
            if action.handler != SIG_IGN:
                send_to_process(parent, child_signal(process, SIGCHLD))
            parent.child_change.wake()
            return
    if number:
        send_to_process(parent, child_signal(process, number))
    parent.child_change.wake()


def _orphan(process: Process) -> None:
    """Hand the children to the nearest subreaper, or to process 1."""
    if not process.children:
        return
    heir = process.parent
    while heir is not None and not (heir.subreaper and heir.threads):
        heir = heir.parent
    if heir is None:
        heir = process.kernel.processes[1]
    children = list(process.children.values())
    for child in children:
        child.parent = heir
        for task in child.threads.values():
            forget(task)  # getppid
        heir.children[child.pid] = child
        child.exit_signal = SIGCHLD
        if child.death_signal and child.threads:
            send_to_process(child, SignalInfo(child.death_signal, pid=process.pid))
        if child.wait_status is not None:
            _tell(heir, child)
    process.children.clear()
    for child in children:
        _hang_up_group(child, process)


def _hang_up_group(member: Process, lost: Process | None) -> None:
    """The group of `member` has lost `lost`, who could continue it. When nobody is left who can, and one of the group
    is stopped, it is sent SIGHUP and SIGCONT (POSIX; `kill_orphaned_pgrp`)."""
    group = member.group
    if lost is None or lost.group == group or lost.session != member.session:
        return
    members = group_members(member.kernel, group)
    if any(other.stop_signal for other in members) and is_orphaned_group(member, group):
        for other in members:
            send_to_process(other, SignalInfo(SIGHUP))
            send_to_process(other, SignalInfo(SIGCONT))


def is_orphaned_group(process: Process, group: int) -> bool:
    """No member has a parent that is in another group of the same session."""
    for member in process.kernel.processes.values():
        parent = member.parent
        if (
            member.group == group
            and member.threads
            and parent is not None
            and parent.threads
            and parent.group != group
            and parent.session == member.session
        ):
            return False
    return True


def _leave_terminal(process: Process) -> None:
    """The session leader has ended: its terminal belongs to nobody, and the foreground group is told."""
    terminal = process.terminal
    if terminal is None:
        return
    hang_up = getattr(terminal, "leader_ended", None)
    if hang_up is not None:
        hang_up(process)
    for other in process.kernel.processes.values():
        if other.session == process.session:
            other.terminal = None


def reap(process: Process) -> None:
    """The parent has seen it: the pid may be used again."""
    parent = process.parent
    if parent is not None:
        parent.children.pop(process.pid, None)
        parent.children_usage.add(process.usage)
        parent.children_usage.add(process.children_usage)
    process.kernel.processes.pop(process.pid, None)


def child_signal(process: Process, number: int) -> SignalInfo:
    """The SIGCHLD that tells how `process` ended."""
    word = process.wait_status or 0
    killed = word & 0x7F
    return SignalInfo(
        number,
        CLD_KILLED if killed else CLD_EXITED,
        pid=process.pid,
        uid=process.uid,
        status=killed or word >> 8,
        utime=process.usage.user // TICK,
        stime=process.usage.system // TICK,
    )
