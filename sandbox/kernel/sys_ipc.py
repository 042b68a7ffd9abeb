"""ipc(2): the one call through which i386 did all of System V IPC."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi.errno import EINVAL, ENOSYS, Errno
from sandbox.kernel import sys_ipc_message as message
from sandbox.kernel import sys_ipc_semaphore as semaphore
from sandbox.kernel import sys_ipc_shared as shared
from sandbox.kernel.row import PARTIAL, Row

if TYPE_CHECKING:
    from sandbox.kernel.task import Task


def ipc(task: Task, call: int, first: int, second: int, third: int, pointer: int, fifth: int) -> int:
    version, call = call >> 16, call & 0xFFFF
    match call:
        case 1:
            return semaphore.semop(task, first, pointer, second)
        case 2:
            return semaphore.semget(task, first, _signed(second), _signed(third))
        case 3:
            if not pointer:
                raise Errno(EINVAL)
            return semaphore.semctl(
                task, first, _signed(second), _signed(third), task.space.copy_in_words(pointer, 1, 4)[0]
            )
        case 4:
            return semaphore.semtimedop(task, first, pointer, second, fifth & 0xFFFFFFFF)
        case 11:
            return message.msgsnd(task, first, pointer, second, _signed(third))
        case 12 if version == 0:
            if not pointer:
                raise Errno(EINVAL)
            buffer, kind = task.space.copy_in_words(pointer, 2, 4)
            return message.msgrcv(task, first, buffer, second, _signed(kind), _signed(third))
        case 12:
            return message.msgrcv(task, first, pointer, second, fifth, _signed(third))
        case 13:
            return message.msgget(task, first, _signed(second))
        case 14:
            return message.msgctl(task, first, _signed(second), pointer)
        case 21 if version != 1:
            address = shared.shmat(task, first, pointer, _signed(second))
            task.space.copy_out(third, address.to_bytes(4, "little"))
            return 0
        case 21:
            raise Errno(EINVAL)
        case 22:
            return shared.shmdt(task, pointer)
        case 23:
            return shared.shmget(task, first, second, _signed(third))
        case 24:
            return shared.shmctl(task, first, _signed(second), pointer)
    raise Errno(ENOSYS)


def _signed(word: int) -> int:
    return (word & 0xFFFFFFFF ^ 0x80000000) - 0x80000000


ROWS: tuple[Row, ...] = (
    Row(
        "ipc",
        ipc,
        "call:uint first:int second:ulong third:ulong pointer:address fifth:long",
        PARTIAL,
        "what the calls of its own say: the structures from before IPC_64 are not served",
        isas=("i386",),
    ),
)
