"""POSIX message queues of one machine: by name, with priorities, bounded all together. Source: mq_overview(7),
ipc/mqueue.c. Neighbour: `sys_mqueue`, the calls.
"""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING
from weakref import WeakSet

from sandbox.abi.errno import EACCES, EBADF, EEXIST, EINVAL, EMFILE, EMSGSIZE, ENOENT, ENOSPC, EPERM, Errno
from sandbox.abi.flags import (
    O_ACCMODE,
    O_NONBLOCK,
    O_RDONLY,
    O_WRONLY,
    POLLIN,
    POLLOUT,
    POLLRDNORM,
    POLLWRNORM,
)
from sandbox.abi.signals import SI_MESGQ
from sandbox.kernel.signals import SignalInfo, send_to_process
from sandbox.vfs.anonymous import AnonymousFile, AnonymousFs
from sandbox.wait import WaitQueue

if TYPE_CHECKING:
    from sandbox.kernel.process import Process
    from sandbox.kernel.task import Credentials, Task

MOST_QUEUES = 256
MOST_BYTES = 819200  # what all queues of the machine may come to hold (Linux: RLIMIT_MSGQUEUE, of each user)
MESSAGES, MOST_MESSAGES = 10, 65536  # by default, and for the privileged
SIZE, MOST_SIZE = 8192, 16 << 20
_OVERHEAD = 128  # bytes that one message costs beside its own
_CAP_DAC_OVERRIDE, _CAP_FOWNER, _CAP_SYS_RESOURCE = 1, 3, 24


class MessageQueue:
    """`messages`: (-priority, number, data), so that the first is the oldest of the highest priority."""

    def __init__(self, name: bytes, mode: int, owner: Credentials, most: int, size: int) -> None:
        self.name = name
        self.mode = mode
        self.uid, self.gid = owner.fsuid, owner.fsgid
        self.most = most
        self.size = size
        self.messages: list[tuple[int, int, bytes]] = []
        self.changed = WaitQueue()
        self.listener: tuple[Process, int, int] | None = None  # who is told of a message: process, signal, value
        self.listening: QueueFile | None = None  # what it registered by: to close that takes the registration back
        self._sent = 0

    @property
    def cost(self) -> int:
        return self.most * (self.size + _OVERHEAD)

    def expect(self, credentials: Credentials, flags: int) -> None:
        """Raises Errno(EACCES)."""
        access = flags & O_ACCMODE
        wanted = (0 if access == O_WRONLY else 4) | (0 if access == O_RDONLY else 2)
        granted = self.mode
        if credentials.fsuid == self.uid:
            granted >>= 6
        elif credentials.in_group(self.gid):
            granted >>= 3
        if wanted & ~granted & 7 and not credentials.capable(_CAP_DAC_OVERRIDE):
            raise Errno(EACCES)

    def put(self, task: Task, data: bytes, priority: int) -> None:
        insort(self.messages, (-priority, self._sent, data))
        self._sent += 1
        if len(self.messages) == 1 and self.listener is not None and not self._is_awaited(task):
            process, number, value = self.listener
            self.listener = None
            if number and process.wait_status is None:
                sender = task.credentials.uid
                send_to_process(process, SignalInfo(number, SI_MESGQ, pid=task.tgid, uid=sender, value=value))
        self.changed.wake()

    def _is_awaited(self, task: Task) -> bool:
        """Somebody sleeps in mq_receive: the message is theirs, and no news."""
        return any(
            other.call is not None and other.restart.get("message queue") is self
            for other in task.kernel.tasks.values()
        )

    def take(self) -> tuple[bytes, int]:
        """A message and its priority."""
        rank, _, data = self.messages.pop(0)
        self.changed.wake()
        return data, -rank


class QueueFile(AnonymousFile):
    __slots__ = ("message_queue",)

    def __init__(self, filesystem: AnonymousFs, message_queue: MessageQueue, flags: int) -> None:
        super().__init__(filesystem, b"[mqueue]", flags)
        self.flags = flags & (O_ACCMODE | O_NONBLOCK)
        self.message_queue = message_queue

    @property
    def queue(self) -> WaitQueue:
        return self.message_queue.changed

    def expect_fit(self, size: int, sending: bool) -> MessageQueue:
        """The queue, if the file is open for it and the size is right. Raises Errno(EBADF, EMSGSIZE)."""
        if self.flags & O_ACCMODE == (O_RDONLY if sending else O_WRONLY):
            raise Errno(EBADF)
        queue = self.message_queue
        if size > queue.size if sending else size < queue.size:
            raise Errno(EMSGSIZE)
        return queue

    def close(self) -> None:
        if self.message_queue.listening is self:
            self.message_queue.listener = self.message_queue.listening = None

    def poll(self) -> int:
        queue = self.message_queue
        ready = POLLIN | POLLRDNORM if queue.messages else 0
        return ready | (POLLOUT | POLLWRNORM if len(queue.messages) < queue.most else 0)


class MessageQueues:
    """One per machine."""

    def __init__(self) -> None:
        self._queues: dict[bytes, MessageQueue] = {}
        self._all: WeakSet[MessageQueue] = WeakSet()  # those that were unlinked and are open, too

    def open(
        self, task: Task, name: bytes, flags: int, mode: int, wanted: tuple[int, int] | None, create: bool, new: bool
    ) -> QueueFile:
        """`wanted`: messages and bytes of one. Raises Errno."""
        found = self._queues.get(name)
        if found is None:
            if not create:
                raise Errno(ENOENT)
            found = self._make(task, name, mode, wanted)
        elif create and new:
            raise Errno(EEXIST)
        else:
            found.expect(task.credentials, flags)
        return QueueFile(task.kernel.nameless.anonymous, found, flags)

    def _make(self, task: Task, name: bytes, mode: int, wanted: tuple[int, int] | None) -> MessageQueue:
        most, size = wanted or (MESSAGES, SIZE)
        privileged = task.credentials.capable(_CAP_SYS_RESOURCE)
        limits = (MOST_MESSAGES, MOST_SIZE) if privileged else (MESSAGES, SIZE)
        if not 0 < most <= limits[0] or not 0 < size <= limits[1]:
            raise Errno(EINVAL)
        if len(self._all) >= MOST_QUEUES:
            raise Errno(ENOSPC)
        made = MessageQueue(name, mode & ~task.fs.umask & 0o777, task.credentials, most, size)
        if made.cost + sum(queue.cost for queue in self._all) > MOST_BYTES:
            raise Errno(EMFILE)
        self._queues[name] = made
        self._all.add(made)
        return made

    def unlink(self, task: Task, name: bytes) -> None:
        """Whoever has it open keeps it. Raises Errno(ENOENT, EPERM)."""
        found = self._queues.get(name)
        if found is None:
            raise Errno(ENOENT)
        if task.credentials.fsuid != found.uid and not task.credentials.capable(_CAP_FOWNER):
            raise Errno(EPERM)
        del self._queues[name]
