"""epoll_create1, epoll_ctl, epoll_wait and their relatives. The set itself is `sandbox.vfs.epoll`.

Source: epoll_create(2), epoll_ctl(2), epoll_wait(2); fs/eventpoll.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi.errno import EINVAL, EPERM, Errno
from sandbox.abi.flags import (
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLET,
    EPOLLEXCLUSIVE,
    EPOLLWAKEUP,
    O_CLOEXEC,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    S_IFDIR,
    S_IFMT,
    S_IFREG,
)
from sandbox.abi.structs import EPOLL_EVENT
from sandbox.kernel.lookup import install, opened
from sandbox.kernel.readiness import deadline_after, wait, with_mask
from sandbox.kernel.row import FULL, Row
from sandbox.kernel.sys_time import read_timespec
from sandbox.vfs.devfs import NullFile, ZeroFile
from sandbox.vfs.epoll import EpollFile

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

_EXCLUSIVE_ALLOWED = POLLIN | POLLOUT | POLLERR | POLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE
_BATCH = 1024


def epoll_create(task: Task, size: int) -> int:
    if size <= 0:
        raise Errno(EINVAL)
    return epoll_create1(task, 0)


def epoll_create1(task: Task, flags: int) -> int:
    if flags & ~O_CLOEXEC:
        raise Errno(EINVAL)
    task.files.expect_room()
    return install(task, EpollFile(task.kernel.nameless.anonymous, 0), bool(flags & O_CLOEXEC))


def epoll_ctl(task: Task, epoll_fd: int, operation: int, fd: int, event: int) -> int:
    events = data = 0
    if operation != EPOLL_CTL_DEL:
        layout = EPOLL_EVENT[task.isa]
        events, data = layout.unpack(task.space.copy_in(event, layout.size))
    epoll, file = opened(task, epoll_fd), opened(task, fd)
    if file.node.mode & S_IFMT in (S_IFREG, S_IFDIR) or isinstance(file, NullFile | ZeroFile):
        raise Errno(EPERM)  # always ready: nothing to wait for
    if not isinstance(epoll, EpollFile) or epoll is file:
        raise Errno(EINVAL)
    if events & EPOLLEXCLUSIVE and (
        operation == EPOLL_CTL_MOD or events & ~_EXCLUSIVE_ALLOWED or isinstance(file, EpollFile)
    ):
        raise Errno(EINVAL)
    if operation == EPOLL_CTL_ADD:
        epoll.add(fd, file, events | POLLERR | POLLHUP, data)
    elif operation == EPOLL_CTL_DEL:
        epoll.remove(fd, file)
    elif operation == EPOLL_CTL_MOD:
        epoll.modify(fd, file, events | POLLERR | POLLHUP, data)
    else:
        raise Errno(EINVAL)
    return 0


def epoll_wait(task: Task, fd: int, events: int, limit: int, timeout: int) -> int:
    return _epoll_wait(task, fd, events, limit, None if timeout < 0 else timeout * 1_000_000)


def epoll_pwait(task: Task, fd: int, events: int, limit: int, timeout: int, mask: int, mask_size: int) -> int:
    return with_mask(task, mask, mask_size, lambda: epoll_wait(task, fd, events, limit, timeout))


def epoll_pwait2(task: Task, fd: int, events: int, limit: int, timeout: int, mask: int, mask_size: int) -> int:
    known = "deadline" in task.restart
    duration = None if not timeout else 0 if known else read_timespec(task, timeout, 8)
    return with_mask(task, mask, mask_size, lambda: _epoll_wait(task, fd, events, limit, duration))


def _epoll_wait(task: Task, fd: int, address: int, limit: int, duration: int | None) -> int:
    layout = EPOLL_EVENT[task.isa]
    if not 0 < limit <= 0x7FFFFFFF // layout.size:
        raise Errno(EINVAL)
    epoll = opened(task, fd)
    if not isinstance(epoll, EpollFile):
        raise Errno(EINVAL)
    deadline = deadline_after(task, duration)
    ready = epoll.collect(min(limit, _BATCH))
    if not ready:
        wait(task, deadline, (epoll.queue,))
    task.space.copy_out(address, b"".join(layout.pack(*pair) for pair in ready))
    return len(ready)


_WAIT = "fd:fd events:out limit:int timeout:int"

ROWS = [
    Row("epoll_create", epoll_create, "size:int", FULL),
    Row("epoll_create1", epoll_create1, "flags:flags:open", FULL),
    Row("epoll_ctl", epoll_ctl, "epoll:fd operation:choice:epoll_ctl fd:fd event:in", FULL),
    Row("epoll_wait", epoll_wait, _WAIT, FULL),
    Row("epoll_pwait", epoll_pwait, f"{_WAIT} mask:in mask_size:ulong", FULL),
    Row("epoll_pwait2", epoll_pwait2, "fd:fd events:out limit:int timeout:in mask:in mask_size:ulong", FULL),
]
