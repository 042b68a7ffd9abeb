"""System V IPC of one machine: objects by key and identifier, who may do what with them, and what they cost.

An identifier is `sequence * 32768 + index`, so that one that was removed is not mistaken for its successor. The three
kinds of objects are in `sys_ipc_message`, `sys_ipc_semaphore` and `sys_ipc_shared`. Everything is bounded: what a guest
leaves behind here is the host's memory, or charged to its account. Source: svipc(7); ipc/util.c.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

from sandbox.abi import ipc as ipc_abi
from sandbox.abi.errno import EACCES, EEXIST, EIDRM, EINVAL, ENOENT, ENOSPC, EPERM, Errno
from sandbox.wait import WaitQueue

if TYPE_CHECKING:
    from sandbox.kernel.linux import LinuxMachine
    from sandbox.kernel.process import Process
    from sandbox.kernel.sys_ipc_message import MessageQueue
    from sandbox.kernel.sys_ipc_semaphore import SemaphoreSet
    from sandbox.kernel.sys_ipc_shared import Segment
    from sandbox.kernel.task import Task

_INDEXES = 32768
CAP_IPC_OWNER, CAP_SYS_ADMIN = 15, 21
READ, WRITE = 0o444, 0o222


class IpcObject:
    """What all three kinds have. Times in seconds."""

    def __init__(self, task: Task, key: int, mode: int) -> None:
        credentials = task.credentials
        self.key = key
        self.identifier = -1
        self.uid = self.cuid = credentials.euid
        self.gid = self.cgid = credentials.egid
        self.mode = mode & 0o777
        self.changed = now(task)
        self.gone = False
        self.queue = WaitQueue()  # woken when a waiting call may go on

    @property
    def owners(self) -> tuple[int, int, int, int]:
        return self.uid, self.gid, self.cuid, self.cgid

    def permissions(self) -> tuple[int, ...]:
        """The fields of struct ipc64_perm."""
        return (self.key, *self.owners, self.mode, self.identifier // _INDEXES & 0xFFFF)

    def expect(self, task: Task, wanted: int) -> None:
        """`wanted`: permission bits, of any class of users. Raises Errno(EACCES)."""
        credentials = task.credentials
        asked = wanted >> 6 | wanted >> 3 | wanted
        granted = self.mode
        if credentials.euid in (self.uid, self.cuid):
            granted >>= 6
        elif any(credentials.egid == gid or gid in credentials.groups for gid in (self.gid, self.cgid)):
            granted >>= 3
        if asked & ~granted & 7 and not credentials.capable(CAP_IPC_OWNER):
            raise Errno(EACCES)

    def expect_owner(self, task: Task) -> None:
        """To change or remove it. Raises Errno(EPERM)."""
        credentials = task.credentials
        if credentials.euid not in (self.uid, self.cuid) and not credentials.capable(CAP_SYS_ADMIN):
            raise Errno(EPERM)

    def change_owner(self, task: Task, data: bytes) -> None:
        """IPC_SET: the ids and the permission bits of a struct ipc64_perm. Raises Errno(EPERM, EINVAL)."""
        _, uid, gid, _, _, mode, _ = ipc_abi.PERMISSIONS[8 * task.word].unpack_from(data)
        self.expect_owner(task)
        if 0xFFFFFFFF in (uid, gid):
            raise Errno(EINVAL)
        self.uid, self.gid = uid, gid
        self.mode = self.mode & ~0o777 | mode & 0o777
        self.changed = now(task)


Kind = TypeVar("Kind", bound=IpcObject)


class IpcTable(Generic[Kind]):
    def __init__(self, most: int) -> None:
        self.most = most
        self._objects: dict[int, Kind] = {}  # by index
        self._sequence = 0

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._objects.values())

    def __len__(self) -> int:
        return len(self._objects)

    @property
    def highest(self) -> int:
        """The largest index in use, 0 when there is none."""
        return max(self._objects, default=0)

    def get(self, task: Task, key: int, flags: int, make: Callable[[], Kind], check: Callable[[Kind], None]) -> int:
        """The identifier of the object with this key, made when `flags` ask for it. `check` looks at one that is
        there. Raises Errno: ENOENT, EEXIST, EACCES, ENOSPC, and what `make` and `check` raise."""
        if key != ipc_abi.IPC_PRIVATE:
            for found in self._objects.values():
                if found.key == key:
                    if flags & ipc_abi.IPC_CREAT and flags & ipc_abi.IPC_EXCL:
                        raise Errno(EEXIST)
                    check(found)
                    found.expect(task, flags & 0o777)
                    return found.identifier
            if not flags & ipc_abi.IPC_CREAT:
                raise Errno(ENOENT)
        if len(self._objects) >= self.most:
            raise Errno(ENOSPC)
        made = make()
        index = next(index for index in range(self.most) if index not in self._objects)
        made.identifier = self._sequence * _INDEXES + index
        self._sequence = (self._sequence + 1) % (1 << 16)
        self._objects[index] = made
        return made.identifier

    def find(self, identifier: int, slept: bool = False) -> Kind:
        """Raises Errno(EINVAL), or, to a call that has slept, Errno(EIDRM)."""
        found = self._objects.get(identifier % _INDEXES)
        if identifier < 0 or found is None or found.identifier != identifier:
            raise Errno(EIDRM if slept else EINVAL)
        return found

    def at(self, index: int) -> Kind:
        """For MSG_STAT and relatives. Raises Errno(EINVAL)."""
        found = self._objects.get(index)
        if found is None:
            raise Errno(EINVAL)
        return found

    def remove(self, found: Kind) -> None:
        """Whoever waits for it hears EIDRM."""
        self._objects.pop(found.identifier % _INDEXES, None)
        found.gone = True
        found.queue.wake()


class Ipc:
    """One per machine. The limits are lower than Linux's: what is kept here is in the host's own memory."""

    def __init__(self) -> None:
        self.queues: IpcTable[MessageQueue] = IpcTable(128)
        self.sets: IpcTable[SemaphoreSet] = IpcTable(128)
        self.segments: IpcTable[Segment] = IpcTable(4096)

    def leave(self, process: Process) -> None:
        """The process has ended: what it wanted undone is undone, and segments nobody has any more may go."""
        for semaphores in self.sets:
            semaphores.undo(process)
        self.collect(process.kernel)

    @staticmethod
    def attachments(kernel: LinuxMachine) -> Counter[object]:
        """How often each shared memory is mapped, from one look at all regions of all processes. A mapping that was
        split by mprotect counts once, by its first page."""
        found: Counter[object] = Counter()
        for space in kernel.spaces.all():
            for region in space.list:
                if region.shared and region.offset == 0:
                    found[region.source] += 1
        return found

    def collect(self, kernel: LinuxMachine) -> None:
        """Let go of the removed segments that nobody has any more."""
        doomed = [segment for segment in self.segments if segment.doomed]
        if doomed:
            attached = self.attachments(kernel)
            for segment in doomed:
                if not attached[segment.memory]:
                    self.segments.remove(segment)

    def close(self) -> None:
        """The machine is released."""
        for segment in self.segments:
            segment.memory.release()


def command_of(task: Task, command: int) -> int:
    """Without the mark that asks for today's structures, which are the only ones here. Raises Errno(EINVAL)."""
    return command & ~ipc_abi.IPC_64 if task.isa in ipc_abi.VERSIONED else command


def now(task: Task) -> int:
    """Seconds since the epoch."""
    return task.kernel.clock.realtime() // 1_000_000_000
