"""Semaphores of System V: semget, semop, semtimedop, semctl. Source: semget(2), semop(2), semctl(2); ipc/sem.c."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sandbox.abi import ipc as ipc_abi
from sandbox.abi.errno import E2BIG, EAGAIN, EFBIG, EINVAL, ENOMEM, ERANGE, Errno
from sandbox.abi.ipc import IPC_NOWAIT, SEM_UNDO
from sandbox.kernel.ipc import READ, WRITE, IpcObject, command_of, now
from sandbox.kernel.row import FULL, PARTIAL, Row
from sandbox.kernel.sys_time import read_timespec
from sandbox.wait import Block

if TYPE_CHECKING:
    from sandbox.kernel.linux import LinuxMachine
    from sandbox.kernel.process import Process
    from sandbox.kernel.task import Task

MOST_IN_SET = 1024  # SEMMSL
MOST_OPERATIONS = 500  # SEMOPM
MOST_ADJUSTMENTS = 32768  # that SEM_UNDO owes in a machine, but for those of one call: they are in the host's memory
LARGEST = 32767  # SEMVMX, and the largest adjustment

Operation = tuple[int, int, int]  # number, change, flags


class SemaphoreSet(IpcObject):
    def __init__(self, task: Task, key: int, mode: int, count: int) -> None:
        super().__init__(task, key, mode)
        self.values = [0] * count
        self.pids = [0] * count  # of the last operation on each
        self.operated = 0
        self.adjustments: dict[Process, dict[int, int]] = {}  # what SEM_UNDO owes, by semaphore

    def status(self, isa: str) -> bytes:
        """struct semid_ds."""
        return ipc_abi.SEMID_DS[isa].pack(*self.permissions(), self.operated, self.changed, len(self.values))

    def attempt(self, task: Task, operations: list[Operation]) -> Operation | None:
        """All of them at once, or none: then the one that has to wait. Raises Errno(ERANGE, ENOMEM)."""
        values = self.values.copy()
        owed = dict(self.adjustments.get(task.process, {}))
        for operation in operations:
            number, change, flags = operation
            if (change == 0 and values[number]) or values[number] + change < 0:
                return operation
            values[number] += change
            if values[number] > LARGEST:
                raise Errno(ERANGE)
            if flags & SEM_UNDO and change:
                owed[number] = owed.get(number, 0) - change
                if not -LARGEST - 1 <= owed[number] <= LARGEST:
                    raise Errno(ERANGE)
        owed = {number: change for number, change in owed.items() if change}
        if len(owed) > len(self.adjustments.get(task.process, ())) and _adjustments(task.kernel) >= MOST_ADJUSTMENTS:
            raise Errno(ENOMEM)
        changed = values != self.values
        self.values = values
        if owed:
            self.adjustments[task.process] = owed
        else:
            self.adjustments.pop(task.process, None)
        for number, _, _ in operations:
            self.pids[number] = task.tgid
        self.operated = now(task)
        if changed:
            self.queue.wake()
        return None

    def undo(self, process: Process) -> None:
        """The process has ended."""
        for number, change in self.adjustments.pop(process, {}).items():
            self.values[number] = min(LARGEST, max(0, self.values[number] + change))
            self.pids[number] = process.pid
            self.queue.wake()

    def forget_adjustments(self, number: int) -> None:
        """Its value has been set: nothing is owed any more."""
        for owed in self.adjustments.values():
            owed.pop(number, None)


def _adjustments(kernel: LinuxMachine) -> int:
    return sum(len(owed) for semaphores in kernel.ipc.sets for owed in semaphores.adjustments.values())


def _sleepers(kernel: LinuxMachine, semaphores: SemaphoreSet, number: int, for_zero: bool) -> Iterator[Task]:
    for task in kernel.tasks.values():
        waits_for = task.restart.get("semaphore") if task.call is not None else None
        if waits_for is not None and waits_for[0] == semaphores.identifier:
            _, waited, change = waits_for
            if waited == number and (change == 0) == for_zero:
                yield task


def semget(task: Task, key: int, count: int, flags: int) -> int:
    sets = task.kernel.ipc.sets
    if not 0 <= count <= MOST_IN_SET:
        raise Errno(EINVAL)

    def make() -> SemaphoreSet:
        if count == 0:
            raise Errno(EINVAL)
        return SemaphoreSet(task, key, flags, count)

    def check(found: SemaphoreSet) -> None:
        if count > len(found.values):
            raise Errno(EINVAL)

    return sets.get(task, key, flags, make, check)


def semop(task: Task, identifier: int, operations: int, count: int) -> int:
    return _operate(task, identifier, operations, count, None)


def semtimedop(task: Task, identifier: int, operations: int, count: int, timeout: int) -> int:
    return _operate(task, identifier, operations, count, read_timespec(task, timeout, task.word) if timeout else None)


def semtimedop_time64(task: Task, identifier: int, operations: int, count: int, timeout: int) -> int:
    return _operate(task, identifier, operations, count, read_timespec(task, timeout, 8) if timeout else None)


def _operate(task: Task, identifier: int, address: int, count: int, timeout: int | None) -> int:
    if count < 1 or identifier < 0:
        raise Errno(EINVAL)
    if count > MOST_OPERATIONS:
        raise Errno(E2BIG)
    data = task.space.copy_in(address, count * ipc_abi.SEMBUF.size)
    operations: list[Operation] = list(ipc_abi.SEMBUF.iter_unpack(data))
    slept = "semaphore" in task.restart
    semaphores = task.kernel.ipc.sets.find(identifier, slept)
    if any(number >= len(semaphores.values) for number, _, _ in operations):
        raise Errno(EFBIG)
    semaphores.expect(task, WRITE if any(change for _, change, _ in operations) else READ)
    obstacle = semaphores.attempt(task, operations)
    if obstacle is None:
        return 0
    if obstacle[2] & IPC_NOWAIT:
        raise Errno(EAGAIN)
    clock = task.kernel.clock.monotonic()
    deadline = task.restart.get("deadline")
    if timeout is not None and deadline is None:
        deadline = task.restart["deadline"] = clock + timeout
    if deadline is not None and clock >= deadline:
        raise Errno(EAGAIN)
    task.restart["semaphore"] = (identifier, obstacle[0], obstacle[1])
    raise Block(semaphores.queue, deadline=deadline, restart=False)


def semctl(task: Task, identifier: int, number: int, command: int, argument: int) -> int:
    command = command_of(task, command)
    if identifier < 0 or command < 0:
        raise Errno(EINVAL)
    if command in (ipc_abi.IPC_INFO, ipc_abi.SEM_INFO):
        return _information(task, command, argument)
    if command in (ipc_abi.IPC_STAT, ipc_abi.SEM_STAT, ipc_abi.SEM_STAT_ANY):
        return _status(task, identifier, command, argument)
    if command in (ipc_abi.GETALL, ipc_abi.SETALL):
        return _all(task, identifier, command, argument)
    if command in (ipc_abi.GETVAL, ipc_abi.GETPID, ipc_abi.GETNCNT, ipc_abi.GETZCNT, ipc_abi.SETVAL):
        return _one(task, identifier, number, command, argument)
    sets = task.kernel.ipc.sets
    if command == ipc_abi.IPC_SET:
        data = task.space.copy_in(argument, ipc_abi.SEMID_DS[task.isa].size)
        sets.find(identifier).change_owner(task, data)
    elif command == ipc_abi.IPC_RMID:
        semaphores = sets.find(identifier)
        semaphores.expect_owner(task)
        sets.remove(semaphores)
    else:
        raise Errno(EINVAL)
    return 0


def _information(task: Task, command: int, argument: int) -> int:
    sets = task.kernel.ipc.sets
    in_use = sum(len(semaphores.values) for semaphores in sets)
    usage = (len(sets), LARGEST, in_use) if command == ipc_abi.SEM_INFO else (20, LARGEST, LARGEST)
    everything = sets.most * MOST_IN_SET
    task.space.copy_out(
        argument,
        ipc_abi.SEMINFO.pack(
            everything, sets.most, everything, everything, MOST_IN_SET, MOST_OPERATIONS, MOST_OPERATIONS, *usage
        ),
    )
    return sets.highest


def _status(task: Task, identifier: int, command: int, argument: int) -> int:
    sets = task.kernel.ipc.sets
    semaphores = sets.find(identifier) if command == ipc_abi.IPC_STAT else sets.at(identifier)
    if command != ipc_abi.SEM_STAT_ANY:
        semaphores.expect(task, READ)
    task.space.copy_out(argument, semaphores.status(task.isa))
    return 0 if command == ipc_abi.IPC_STAT else semaphores.identifier


def _all(task: Task, identifier: int, command: int, argument: int) -> int:
    semaphores = task.kernel.ipc.sets.find(identifier)
    layout = struct.Struct(f"<{len(semaphores.values)}H")
    if command == ipc_abi.GETALL:
        semaphores.expect(task, READ)
        task.space.copy_out(argument, layout.pack(*semaphores.values))
        return 0
    semaphores.expect(task, WRITE)
    values = layout.unpack(task.space.copy_in(argument, layout.size))
    if any(value > LARGEST for value in values):
        raise Errno(ERANGE)
    semaphores.values = list(values)
    semaphores.pids = [task.tgid] * len(values)
    semaphores.adjustments.clear()
    semaphores.changed = now(task)
    semaphores.queue.wake()
    return 0


def _one(task: Task, identifier: int, number: int, command: int, argument: int) -> int:
    semaphores = task.kernel.ipc.sets.find(identifier)
    if command == ipc_abi.SETVAL:
        value = (argument & 0xFFFFFFFF ^ 0x80000000) - 0x80000000  # an int in a union
        if not 0 <= value <= LARGEST:
            raise Errno(ERANGE)
    semaphores.expect(task, WRITE if command == ipc_abi.SETVAL else READ)
    if not 0 <= number < len(semaphores.values):
        raise Errno(EINVAL)
    if command == ipc_abi.GETVAL:
        return semaphores.values[number]
    if command == ipc_abi.GETPID:
        return semaphores.pids[number]
    if command != ipc_abi.SETVAL:
        return sum(1 for _ in _sleepers(task.kernel, semaphores, number, command == ipc_abi.GETZCNT))
    semaphores.values[number] = value
    semaphores.pids[number] = task.tgid
    semaphores.forget_adjustments(number)
    semaphores.changed = now(task)
    semaphores.queue.wake()
    return 0


_OPERATIONS = "identifier:int operations:in count:uint"

ROWS: tuple[Row, ...] = (
    Row("semget", semget, "key:int count:int flags:int", FULL),
    Row("semop", semop, _OPERATIONS, FULL),
    Row("semtimedop", semtimedop, f"{_OPERATIONS} timeout:address", FULL),
    Row("semtimedop_time64", semtimedop_time64, f"{_OPERATIONS} timeout:address", FULL),
    Row(
        "semctl",
        semctl,
        "identifier:int number:int command:int argument:address",
        PARTIAL,
        "the structures from before IPC_64 are not served",
    ),
)
