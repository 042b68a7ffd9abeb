"""Shared memory of System V: shmget, shmat, shmdt, shmctl. Source: shmget(2), shmop(2), shmctl(2); ipc/shm.c.

A segment is a file without a name, charged to the machine's account. Who has it attached is not counted but looked up
in the regions of all address spaces, which fork, execve and exit change anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi import ipc as ipc_abi
from sandbox.abi.errno import EEXIST, EINVAL, ENOMEM, EPERM, Errno
from sandbox.abi.ipc import SHM_DEST, SHM_EXEC, SHM_LOCKED, SHM_RDONLY, SHM_REMAP, SHM_RND
from sandbox.kernel.ipc import READ, WRITE, IpcObject, command_of, now
from sandbox.kernel.row import FULL, PARTIAL, Row
from sandbox.kernel.sys_memory import SharedMemory, mark_unwritable
from sandbox.memory import PROT_EXEC, PROT_READ, PROT_WRITE

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

PAGE = 4096
_BOUNDARY = {"arm": 4 * PAGE}  # SHMLBA where it is not a page
_CAP_IPC_LOCK = 14


class Segment(IpcObject):
    def __init__(self, task: Task, key: int, mode: int, size: int) -> None:
        super().__init__(task, key, mode)
        self.size = size
        self.memory = SharedMemory(task.space.pool, task.kernel.account)
        self.memory.truncate(size + PAGE - 1 & -PAGE)
        self.creator, self.last = task.tgid, 0
        self.attached = self.detached = 0
        self.doomed = self.locked = False

    @property
    def shown_mode(self) -> int:
        return self.mode | (SHM_DEST if self.doomed else 0) | (SHM_LOCKED if self.locked else 0)

    def status(self, task: Task) -> bytes:
        """struct shmid_ds."""
        *first, _, sequence = self.permissions()
        return ipc_abi.SHMID_DS[task.isa].pack(
            *first, self.shown_mode, sequence,
            self.size, self.attached, self.detached, self.changed, self.creator, self.last,
            task.kernel.ipc.attachments(task.kernel)[self.memory],
        )  # fmt: skip


def shmget(task: Task, key: int, size: int, flags: int) -> int:
    def make() -> Segment:
        if not 0 < size < 1 << (8 * task.word - 2):
            raise Errno(EINVAL)
        if flags & ipc_abi.SHM_HUGETLB or size >> 12 > task.kernel.account.limit:
            raise Errno(ENOMEM)
        return Segment(task, key, flags, size)

    def check(found: Segment) -> None:
        if size > found.size:
            raise Errno(EINVAL)

    return task.kernel.ipc.segments.get(task, key, flags, make, check)


def shmat(task: Task, identifier: int, address: int, flags: int) -> int:
    space = task.space
    if identifier < 0:
        raise Errno(EINVAL)
    boundary = _BOUNDARY.get(task.isa, PAGE)
    if address & (boundary - 1):
        if flags & SHM_RND:
            address &= -boundary
            if not address and flags & SHM_REMAP:
                raise Errno(EINVAL)
        elif address & (PAGE - 1) or not flags & SHM_REMAP:
            raise Errno(EINVAL)
    elif not address and flags & SHM_REMAP:
        raise Errno(EINVAL)
    protection = PROT_READ | (0 if flags & SHM_RDONLY else PROT_WRITE)
    wanted = READ | (0 if flags & SHM_RDONLY else WRITE)
    if flags & SHM_EXEC:
        protection, wanted = protection | PROT_EXEC, wanted | 0o111
    segment = task.kernel.ipc.segments.find(identifier)
    segment.expect(task, wanted)
    try:
        result = space.map(
            address,
            segment.size,
            protection,
            shared=True,
            fixed=bool(address),
            replace=bool(flags & SHM_REMAP),
            source=segment.memory,
            name=b"/SYSV%08x (deleted)" % (segment.key & 0xFFFFFFFF),
        )
    except Errno as error:
        raise Errno(EINVAL if error.number == EEXIST else error.number) from None
    if flags & SHM_RDONLY:
        mark_unwritable(task, result)
    segment.attached, segment.last = now(task), task.tgid
    return result


def shmdt(task: Task, address: int) -> int:
    space, segments = task.space, task.kernel.ipc.segments
    if address & (PAGE - 1):
        raise Errno(EINVAL)
    for segment in segments:
        pieces = [
            region
            for region in space.regions()
            if region.source is segment.memory and region.start - region.offset == address
        ]
        if pieces:
            for region in pieces:
                space.unmap(region.start, region.length)
            segment.detached, segment.last = now(task), task.tgid
            if segment.doomed:
                task.kernel.ipc.collect(task.kernel)
            return 0
    raise Errno(EINVAL)


def shmctl(task: Task, identifier: int, command: int, buffer: int) -> int:
    command = command_of(task, command)
    segments = task.kernel.ipc.segments
    if identifier < 0 or command < 0:
        raise Errno(EINVAL)
    if command in (ipc_abi.IPC_INFO, ipc_abi.SHM_INFO):
        return _information(task, command, buffer)
    if command in (ipc_abi.IPC_STAT, ipc_abi.SHM_STAT, ipc_abi.SHM_STAT_ANY):
        segment = segments.find(identifier) if command == ipc_abi.IPC_STAT else segments.at(identifier)
        if command != ipc_abi.SHM_STAT_ANY:
            segment.expect(task, READ)
        task.space.copy_out(buffer, segment.status(task))
        return 0 if command == ipc_abi.IPC_STAT else segment.identifier
    if command == ipc_abi.IPC_SET:
        data = task.space.copy_in(buffer, ipc_abi.SHMID_DS[task.isa].size)
        segments.find(identifier).change_owner(task, data)
        return 0
    if command == ipc_abi.IPC_RMID:
        segment = segments.find(identifier)
        segment.expect_owner(task)
        segment.doomed, segment.key = True, ipc_abi.IPC_PRIVATE
        task.kernel.ipc.collect(task.kernel)
        return 0
    if command not in (ipc_abi.SHM_LOCK, ipc_abi.SHM_UNLOCK):
        raise Errno(EINVAL)
    segment = segments.find(identifier)
    if task.credentials.euid not in (segment.uid, segment.cuid) and not task.credentials.capable(_CAP_IPC_LOCK):
        raise Errno(EPERM)
    segment.locked = command == ipc_abi.SHM_LOCK
    return 0


def _information(task: Task, command: int, buffer: int) -> int:
    segments, bits = task.kernel.ipc.segments, 8 * task.word
    if command == ipc_abi.IPC_INFO:
        most = (1 << bits) - 1 - (1 << 24)
        data = ipc_abi.SHMINFO[bits].pack(most, 1, segments.most, segments.most, most)
    else:
        total = sum(segment.size + PAGE - 1 >> 12 for segment in segments)
        resident = sum(segment.memory.blocks for segment in segments)
        data = ipc_abi.SHM_USAGE[bits].pack(len(segments), total, resident, 0)
    task.space.copy_out(buffer, data)
    return segments.highest


ROWS: tuple[Row, ...] = (
    Row("shmget", shmget, "key:int size:size flags:int", FULL),
    Row("shmat", shmat, "identifier:int address:address flags:int", FULL),
    Row("shmdt", shmdt, "address:address", FULL),
    Row(
        "shmctl",
        shmctl,
        "identifier:int command:int buffer:address",
        PARTIAL,
        "no memory is ever locked; the structures from before IPC_64 are not served",
    ),
)
