"""Message queues of System V: msgget, msgsnd, msgrcv, msgctl. Source: msgget(2), msgop(2), msgctl(2); ipc/msg.c."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi import ipc as ipc_abi
from sandbox.abi.errno import E2BIG, EAGAIN, EFAULT, EINVAL, ENOMSG, EPERM, Errno
from sandbox.abi.ipc import IPC_NOWAIT, MSG_COPY, MSG_EXCEPT, MSG_NOERROR
from sandbox.kernel.ipc import READ, WRITE, IpcObject, command_of, now
from sandbox.kernel.row import FULL, PARTIAL, Row
from sandbox.wait import Block

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

LARGEST = 8192  # bytes of one message (msgmax)
QUEUE_BYTES = 16384  # of all messages of a queue (msgmnb)
MOST_MESSAGES = 16384  # of all queues of the machine
_CAP_SYS_RESOURCE = 24


class MessageQueue(IpcObject):
    """`messages`: (type, data), oldest first."""

    def __init__(self, task: Task, key: int, mode: int) -> None:
        super().__init__(task, key, mode)
        self.messages: list[tuple[int, bytes]] = []
        self.bytes = 0
        self.limit = QUEUE_BYTES
        self.last_sender = self.last_receiver = 0
        self.sent = self.received = 0

    def status(self, isa: str) -> bytes:
        """struct msqid_ds."""
        return ipc_abi.MSQID_DS[isa].pack(
            *self.permissions(),
            self.sent, self.received, self.changed,
            self.bytes, len(self.messages), self.limit, self.last_sender, self.last_receiver,
        )  # fmt: skip

    def select(self, kind: int, flags: int) -> int | None:
        """The position of the message that msgrcv(2) would take."""
        if flags & MSG_COPY:
            return kind if 0 <= kind < len(self.messages) else None
        if kind == 0:
            return 0 if self.messages else None
        if kind > 0:
            wanted = (index for index, (of, _) in enumerate(self.messages) if (of == kind) != bool(flags & MSG_EXCEPT))
            return next(wanted, None)
        lowest = [(of, index) for index, (of, _) in enumerate(self.messages) if of <= -kind]
        return min(lowest)[1] if lowest else None


def msgget(task: Task, key: int, flags: int) -> int:
    queues = task.kernel.ipc.queues
    return queues.get(task, key, flags, lambda: MessageQueue(task, key, flags), lambda queue: None)


def msgsnd(task: Task, identifier: int, message: int, size: int, flags: int) -> int:
    word = task.word
    kind = _signed(task.space.copy_in_words(message, 1, word)[0], word)
    if size > LARGEST or identifier < 0 or kind < 1:
        raise Errno(EINVAL)
    data = task.space.copy_in(message + word, size)
    queues = task.kernel.ipc.queues
    queue = queues.find(identifier, "message" in task.restart)
    queue.expect(task, WRITE)
    crowded = sum(len(other.messages) for other in queues) >= MOST_MESSAGES
    if crowded or queue.bytes + size > queue.limit or len(queue.messages) >= queue.limit:
        if flags & IPC_NOWAIT:
            raise Errno(EAGAIN)
        task.restart["message"] = True
        raise Block(queue.queue, restart=False)
    queue.messages.append((kind, data))
    queue.bytes += size
    queue.last_sender, queue.sent = task.tgid, now(task)
    queue.queue.wake()
    return 0


def msgrcv(task: Task, identifier: int, message: int, size: int, kind: int, flags: int) -> int:
    if identifier < 0 or size >> (8 * task.word - 1):
        raise Errno(EINVAL)
    if flags & MSG_COPY and (flags & MSG_EXCEPT or not flags & IPC_NOWAIT):
        raise Errno(EINVAL)
    queue = task.kernel.ipc.queues.find(identifier, "message" in task.restart)
    queue.expect(task, READ)
    position = queue.select(kind, flags)
    if position is None:
        if flags & IPC_NOWAIT:
            raise Errno(ENOMSG)
        task.restart["message"] = True
        raise Block(queue.queue, restart=False)
    found, data = queue.messages[position]
    if len(data) > size and not flags & MSG_NOERROR:
        raise Errno(E2BIG)
    if not flags & MSG_COPY:
        del queue.messages[position]
        queue.bytes -= len(data)
        queue.last_receiver, queue.received = task.tgid, now(task)
        queue.queue.wake()
    task.space.copy_out(message, found.to_bytes(task.word, "little") + data[:size])
    return min(len(data), size)


def msgctl(task: Task, identifier: int, command: int, buffer: int) -> int:
    command = command_of(task, command)
    queues = task.kernel.ipc.queues
    if identifier < 0 or command < 0:
        raise Errno(EINVAL)
    if command in (ipc_abi.IPC_INFO, ipc_abi.MSG_INFO):
        if command == ipc_abi.IPC_INFO:
            limits = (queues.most * QUEUE_BYTES >> 10, QUEUE_BYTES, LARGEST, QUEUE_BYTES, queues.most, 16, QUEUE_BYTES)
        else:
            messages = sum(len(queue.messages) for queue in queues)
            used = sum(queue.bytes for queue in queues)
            limits = (len(queues), messages, LARGEST, QUEUE_BYTES, queues.most, 16, used)
        task.space.copy_out(buffer, ipc_abi.MSGINFO.pack(*limits, 0xFFFF))
        return queues.highest
    if command in (ipc_abi.MSG_STAT, ipc_abi.MSG_STAT_ANY, ipc_abi.IPC_STAT):
        queue = queues.find(identifier) if command == ipc_abi.IPC_STAT else queues.at(identifier)
        if command != ipc_abi.MSG_STAT_ANY:
            queue.expect(task, READ)
        task.space.copy_out(buffer, queue.status(task.isa))
        return 0 if command == ipc_abi.IPC_STAT else queue.identifier
    if command not in (ipc_abi.IPC_SET, ipc_abi.IPC_RMID):
        raise Errno(EINVAL)
    if command == ipc_abi.IPC_RMID:
        queue = queues.find(identifier)
        queue.expect_owner(task)
        queues.remove(queue)
        return 0
    if not buffer:
        raise Errno(EFAULT)
    data = task.space.copy_in(buffer, ipc_abi.MSQID_DS[task.isa].size)
    queue = queues.find(identifier)
    limit = ipc_abi.MSQID_DS[task.isa].unpack(data)[12]
    queue.expect_owner(task)
    if limit > QUEUE_BYTES:
        # Linux lets the privileged go beyond; here all of it is the host's memory.
        raise Errno(EINVAL if task.credentials.capable(_CAP_SYS_RESOURCE) else EPERM)
    queue.change_owner(task, data)
    queue.limit = limit
    queue.queue.wake()
    return 0


def _signed(value: int, word: int) -> int:
    return value - (1 << 8 * word) if value >> (8 * word - 1) else value


ROWS: tuple[Row, ...] = (
    Row("msgget", msgget, "key:int flags:int", FULL),
    Row("msgsnd", msgsnd, "identifier:int message:address size:size flags:int", FULL),
    Row("msgrcv", msgrcv, "identifier:int message:address size:size kind:long flags:int", FULL),
    Row(
        "msgctl",
        msgctl,
        "identifier:int command:int buffer:address",
        PARTIAL,
        "msg_qbytes cannot grow; the structures from before IPC_64 are not served",
    ),
)
