"""Message queues of POSIX as calls. Timeouts are points of the real-time clock. Source: mq_open(3) and relatives;
ipc/mqueue.c.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from sandbox.abi import flags as F
from sandbox.abi.errno import EACCES, EAGAIN, EBADF, EBUSY, EINVAL, ENAMETOOLONG, ENOENT, ETIMEDOUT, Errno
from sandbox.abi.signals import NSIG
from sandbox.kernel.lookup import install, opened
from sandbox.kernel.mqueue import QueueFile
from sandbox.kernel.row import FULL, PARTIAL, Row
from sandbox.kernel.sys_time import read_timespec
from sandbox.wait import Block

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

_ATTRIBUTES = {8: Struct("<4q32x"), 4: Struct("<4i16x")}  # mq_flags mq_maxmsg mq_msgsize mq_curmsgs
_EVENT = {8: Struct("<Qii"), 4: Struct("<Iii")}  # the beginning of struct sigevent: value, signal, how
_SIGNAL, _NOTHING, _THREAD = 0, 1, 2
_HIGHEST_PRIORITY = 32767


def _name(name: bytes) -> bytes:
    """libc has taken the slash off."""
    if not name:
        raise Errno(ENOENT)
    if b"/" in name or name in (b".", b".."):
        raise Errno(EACCES)
    if len(name) > 255:
        raise Errno(ENAMETOOLONG)
    return name


def mq_open(task: Task, name: bytes, flags: int, mode: int, attributes: int) -> int:
    wanted = None
    create = bool(flags & F.O_CREAT)
    if create and attributes:
        layout = _ATTRIBUTES[task.word]
        _, most, size, _ = layout.unpack(task.space.copy_in(attributes, layout.size))
        wanted = most, size
    if flags & F.O_ACCMODE == F.O_ACCMODE:
        raise Errno(EINVAL)
    task.files.expect_room()
    file = task.kernel.message_queues.open(task, _name(name), flags, mode, wanted, create, bool(flags & F.O_EXCL))
    return install(task, file, close_on_exec=True)


def mq_unlink(task: Task, name: bytes) -> int:
    task.kernel.message_queues.unlink(task, _name(name))
    return 0


def _queue_file(task: Task, fd: int) -> QueueFile:
    file = opened(task, fd)
    if not isinstance(file, QueueFile):
        raise Errno(EBADF)
    return file


def mq_timedsend(task: Task, fd: int, message: int, size: int, priority: int, timeout: int) -> int:
    return _send(task, fd, message, size, priority, timeout, task.word)


def mq_timedsend_time64(task: Task, fd: int, message: int, size: int, priority: int, timeout: int) -> int:
    return _send(task, fd, message, size, priority, timeout, 8)


def _send(task: Task, fd: int, message: int, size: int, priority: int, timeout: int, width: int) -> int:
    until = read_timespec(task, timeout, width) if timeout else None
    if priority > _HIGHEST_PRIORITY:
        raise Errno(EINVAL)
    file = _queue_file(task, fd)
    queue = file.expect_fit(size, sending=True)
    data = task.space.copy_in(message, size)
    if len(queue.messages) >= queue.most:
        _wait(task, file, until)
    queue.put(task, data, priority)
    return 0


def mq_timedreceive(task: Task, fd: int, message: int, size: int, priority: int, timeout: int) -> int:
    return _receive(task, fd, message, size, priority, timeout, task.word)


def mq_timedreceive_time64(task: Task, fd: int, message: int, size: int, priority: int, timeout: int) -> int:
    return _receive(task, fd, message, size, priority, timeout, 8)


def _receive(task: Task, fd: int, message: int, size: int, priority: int, timeout: int, width: int) -> int:
    until = read_timespec(task, timeout, width) if timeout else None
    file = _queue_file(task, fd)
    queue = file.expect_fit(size, sending=False)
    if not queue.messages:
        task.restart["message queue"] = queue
        _wait(task, file, until)
    data, rank = queue.take()
    task.space.copy_out(message, data)
    if priority:
        task.space.copy_out(priority, rank.to_bytes(4, "little"))
    return len(data)


def _wait(task: Task, file: QueueFile, until: int | None) -> None:
    """Raises Block, or Errno: EAGAIN, ETIMEDOUT."""
    if file.flags & F.O_NONBLOCK:
        raise Errno(EAGAIN)
    deadline = None
    if until is not None:
        clock = task.kernel.clock
        left = until - clock.realtime()
        if left <= 0:
            raise Errno(ETIMEDOUT)
        deadline = clock.monotonic() + left
    raise Block(file.queue, deadline=deadline, restart=True)


def mq_notify(task: Task, fd: int, event: int) -> int:
    value = number = 0
    if event:
        layout = _EVENT[task.word]
        value, number, how = layout.unpack(task.space.copy_in(event, layout.size))
        if how not in (_SIGNAL, _NOTHING, _THREAD) or (how == _SIGNAL and not 0 <= number <= NSIG):
            raise Errno(EINVAL)
        if how == _THREAD:
            raise Errno(EBADF)  # libc names a netlink socket, of which there are none
        number = number if how == _SIGNAL else 0
    file = _queue_file(task, fd)
    queue = file.message_queue
    if queue.listener is not None and queue.listener[0].wait_status is not None:
        queue.listener = None  # it has ended
    if not event:
        if queue.listener is not None and queue.listener[0] is task.process:
            queue.listener = None
        return 0
    if queue.listener is not None:
        raise Errno(EBUSY)
    queue.listener = (task.process, number, value)
    queue.listening = file
    return 0


def mq_getsetattr(task: Task, fd: int, new: int, old: int) -> int:
    layout = _ATTRIBUTES[task.word]
    flags = layout.unpack(task.space.copy_in(new, layout.size))[0] if new else 0
    if flags & ~F.O_NONBLOCK:
        raise Errno(EINVAL)
    file = _queue_file(task, fd)
    queue = file.message_queue
    present = layout.pack(file.flags & F.O_NONBLOCK, queue.most, queue.size, len(queue.messages))
    if new:
        file.flags = file.flags & ~F.O_NONBLOCK | flags
    if old:
        task.space.copy_out(old, present)
    return 0


_MESSAGE = "fd:fd message:address size:size"

ROWS: tuple[Row, ...] = (
    Row("mq_open", mq_open, "name:string flags:flags:open mode:mode attributes:address", FULL),
    Row("mq_unlink", mq_unlink, "name:string", FULL),
    Row("mq_timedsend", mq_timedsend, f"{_MESSAGE} priority:uint timeout:address", FULL),
    Row("mq_timedsend_time64", mq_timedsend_time64, f"{_MESSAGE} priority:uint timeout:address", FULL),
    Row("mq_timedreceive", mq_timedreceive, f"{_MESSAGE} priority:address timeout:address", FULL),
    Row("mq_timedreceive_time64", mq_timedreceive_time64, f"{_MESSAGE} priority:address timeout:address", FULL),
    Row("mq_notify", mq_notify, "fd:fd event:address", PARTIAL, "no SIGEV_THREAD"),
    Row("mq_getsetattr", mq_getsetattr, "fd:fd new:address old:address", FULL),
)
