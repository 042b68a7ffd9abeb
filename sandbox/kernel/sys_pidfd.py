"""Processes by descriptor: pidfd_open, pidfd_send_signal, pidfd_getfd. Source: their manual pages; kernel/pid.c."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi.errno import EINVAL, EPERM, ESRCH, Errno
from sandbox.abi.flags import O_NONBLOCK
from sandbox.kernel.inspection import may_inspect
from sandbox.kernel.lookup import install
from sandbox.kernel.pidfd import new_pidfd, process_of
from sandbox.kernel.row import FULL, Row
from sandbox.kernel.sys_signals import send_queued

if TYPE_CHECKING:
    from sandbox.kernel.task import Task


def pidfd_open(task: Task, pid: int, flags: int) -> int:
    if flags & ~O_NONBLOCK or pid <= 0:
        raise Errno(EINVAL)
    process = task.kernel.processes.get(pid)
    if process is None:
        raise Errno(EINVAL if pid in task.kernel.tasks else ESRCH)  # a thread that leads no process
    return new_pidfd(task, process, flags)


def pidfd_send_signal(task: Task, fd: int, number: int, info: int, flags: int) -> int:
    if flags:
        raise Errno(EINVAL)
    process = process_of(task, fd).process
    if task.kernel.processes.get(process.pid) is not process:
        raise Errno(ESRCH)  # it has been waited for
    return send_queued(task, process, number, info)


def pidfd_getfd(task: Task, fd: int, target: int, flags: int) -> int:
    if flags:
        raise Errno(EINVAL)
    process = process_of(task, fd).process
    thread = next(iter(process.threads.values()), None)
    if thread is None:
        raise Errno(ESRCH)
    if not may_inspect(task, thread, task.credentials.uid):
        raise Errno(EPERM)
    file = thread.files.get(target)
    file.retain()
    return install(task, file, close_on_exec=True)


ROWS: tuple[Row, ...] = (
    Row("pidfd_open", pidfd_open, "pid:pid flags:uint", FULL),
    Row("pidfd_send_signal", pidfd_send_signal, "fd:fd number:signal info:address flags:uint", FULL),
    Row("pidfd_getfd", pidfd_getfd, "fd:fd target:fd flags:uint", FULL),
)
