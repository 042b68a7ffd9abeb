"""What /proc shows of the kernel: its state in the terms of `sandbox.vfs.proc_views`. Nothing here changes anything,
but for the name of a task and the host name, which may be written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sandbox.abi.errno import EACCES, EFAULT, EINVAL, EIO, Errno
from sandbox.kernel.inspection import may_inspect
from sandbox.kernel.process import RESOURCES, Process
from sandbox.kernel.sys_system import MACHINES, RELEASE, VERSION
from sandbox.vfs.proc_views import (
    CapabilityFigures,
    MemoryFigures,
    ProcessView,
    SignalFigures,
    TimeFigures,
)
from sandbox.vfs.walk import walk

if TYPE_CHECKING:
    from sandbox.kernel.linux import LinuxMachine
    from sandbox.kernel.task import Task
    from sandbox.memory import Region
    from sandbox.vfs.mount import Mounts, Place
    from sandbox.vfs.node import OpenFile

_CAP_SYS_RESOURCE = 24
_NOBODY = (0, 0, 0, 0)
_MOST_MEMORY = 1 << 20  # bytes of a command line or an environment that are shown


class TaskView:
    """A process, or one thread of it; a zombie has no task any more."""

    def __init__(self, process: Process, task: Task | None) -> None:
        self._process = process
        self._task = task

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def tid(self) -> int:
        return self._task.tid if self._task is not None else self._process.pid

    @property
    def parent(self) -> int:
        return self._process.parent.pid if self._process.parent is not None else 0

    @property
    def group(self) -> int:
        return self._process.group

    @property
    def session(self) -> int:
        return self._process.session

    @property
    def terminal(self) -> int:
        return int(getattr(self._process.terminal, "device", 0))

    @property
    def foreground(self) -> int:
        """The foreground process group of the terminal, or -1."""
        return int(getattr(self._process.terminal, "foreground", -1))

    @property
    def name(self) -> bytes:
        return self._task.name if self._task is not None else self._process.last_name

    def rename(self, name: bytes) -> None:
        task = self._task
        current = self._process.kernel.current
        if task is None or current is None or current.process is not self._process:
            raise Errno(EACCES)
        task.name = name.split(b"\0")[0].rstrip(b"\n")[:15]

    @property
    def oom_adjustment(self) -> int:
        return self._process.oom_adjustment

    def adjust_oom(self, text: bytes) -> None:
        words = text[:16].split()
        if len(words) != 1 or not re.fullmatch(rb"[-+]?\d+", words[0]) or abs(int(words[0])) > 1000:
            raise Errno(EINVAL)
        value, process = int(words[0]), self._process
        current = process.kernel.current
        if value < process.oom_floor and (current is None or not current.credentials.capable(_CAP_SYS_RESOURCE)):
            raise Errno(EACCES)
        if current is not None and current.credentials.capable(_CAP_SYS_RESOURCE):
            process.oom_floor = value
        process.oom_adjustment = value

    @property
    def state(self) -> str:
        task = self._task
        if task is None:
            return "Z"
        if self._process.stop_signal:
            return "T"
        if task.state == "waiting":
            return "S" if task.interruptible else "D"
        return "R"

    @property
    def threads(self) -> Sequence[int]:
        return sorted(self._process.threads)

    @property
    def uids(self) -> tuple[int, int, int, int]:
        if self._task is None:
            return _NOBODY
        c = self._task.credentials
        return c.uid, c.euid, c.suid, c.fsuid

    @property
    def gids(self) -> tuple[int, int, int, int]:
        if self._task is None:
            return _NOBODY
        c = self._task.credentials
        return c.gid, c.egid, c.sgid, c.fsgid

    @property
    def groups(self) -> Sequence[int]:
        return self._task.credentials.groups if self._task is not None else ()

    @property
    def umask(self) -> int:
        return self._task.fs.umask if self._task is not None else 0

    @property
    def nice(self) -> int:
        return self._process.nice

    @property
    def times(self) -> TimeFigures:
        process, kernel = self._process, self._process.kernel
        user, system = process.usage.user, process.usage.system
        for task in process.threads.values():
            kernel.settle_time(task)
            user += task.usage.user
            system += task.usage.system
        children = process.children_usage
        return TimeFigures(process.started - kernel.boot_time, user, system, children.user, children.system)

    @property
    def faults(self) -> tuple[int, int]:
        usages = [self._process.usage, *(task.usage for task in self._process.threads.values())]
        return sum(usage.minor for usage in usages), sum(usage.major for usage in usages)

    @property
    def switches(self) -> tuple[int, int]:
        usage = self._task.usage if self._task is not None else self._process.usage
        return usage.voluntary, usage.involuntary

    @property
    def signals(self) -> SignalFigures:
        process, task = self._process, self._task
        ignored, caught = process.actions.masks()
        if task is None:
            return SignalFigures(0, process.pending.bits, 0, ignored, caught)
        queued = len(task.signals.pending.queue) + len(process.pending.queue)
        return SignalFigures(
            task.signals.pending.bits, process.pending.bits, task.signals.mask, ignored, caught, queued
        )

    @property
    def capabilities(self) -> CapabilityFigures:
        if self._task is None:
            return CapabilityFigures()
        c = self._task.credentials
        return CapabilityFigures(c.inheritable, c.permitted, c.effective, c.bounding, c.ambient)

    @property
    def limits(self) -> Sequence[tuple[int, int]]:
        return [self._process.limits[resource] for resource in range(RESOURCES)]

    @property
    def resident(self) -> int:
        return self._task.space.resident * 4096 if self._task is not None else 0

    @property
    def peak(self) -> int:
        return max(self.resident, self._process.usage.peak * 4096)

    def regions(self) -> Iterable[Region]:
        return self._task.space.regions() if self._task is not None else ()

    def resident_in(self, region: Region) -> int:
        return self._task.space.resident_in(region.start, region.end) * 4096 if self._task is not None else 0

    def _memory(self, part: tuple[int, int]) -> bytes:
        start, end = part
        if self._task is None or end <= start:
            return b""
        try:
            return self._task.space.read(start, min(end - start, _MOST_MEMORY))
        except Errno:
            return b""

    def read_memory(self, address: int, count: int) -> bytes:
        if self._task is None:
            raise Errno(EFAULT)
        return self._task.space.read(address, count)

    def check_memory(self) -> None:
        current, task = self._process.kernel.current, self._task
        if current is not None and task is not None and not may_inspect(current, task, current.credentials.fsuid):
            raise Errno(EACCES)

    def write_memory(self, address: int, data: bytes) -> None:
        if self._task is None:
            raise Errno(EFAULT)
        region = self._task.space.list.at(address)
        if region is None or (region.shared and not region.may_write):
            raise Errno(EIO)  # the file was not opened for it, whatever a debugger may do to private memory
        self._task.space.write(address, data)

    def command_line(self) -> bytes:
        return self._memory(self._process.arguments)

    def environment(self) -> bytes:
        return self._memory(self._process.environment)

    def auxiliary(self) -> bytes:
        return self._process.auxiliary if self._task is not None else b""

    def executable(self) -> Place | None:
        return self._process.executable_place if self._task is not None else None

    def cwd(self) -> Place | None:
        return self._task.fs.cwd if self._task is not None else None

    def root(self) -> Place | None:
        return self._task.fs.root if self._task is not None else None

    def files(self) -> Iterable[tuple[int, OpenFile, bool]]:
        if self._task is None:
            return ()
        table = self._task.files
        return [(fd, file, table.flags(fd)) for fd, file in table]


class KernelView:
    """The machine as a whole."""

    def __init__(self, kernel: LinuxMachine) -> None:
        self._kernel = kernel

    @property
    def isa(self) -> str:
        return self._kernel.isa.name

    @property
    def cpus(self) -> int:
        return 1

    @property
    def release(self) -> bytes:
        return RELEASE

    @property
    def version(self) -> bytes:
        return VERSION

    @property
    def machine(self) -> bytes:
        return MACHINES[self._kernel.isa.name]

    @property
    def hostname(self) -> bytes:
        return self._kernel.hostname

    @hostname.setter
    def hostname(self, name: bytes) -> None:
        self._kernel.hostname = name

    @property
    def domain_name(self) -> bytes:
        return self._kernel.domain_name

    @domain_name.setter
    def domain_name(self, name: bytes) -> None:
        self._kernel.domain_name = name

    @property
    def mounts(self) -> Mounts:
        return self._kernel.mounts

    def current(self) -> tuple[int, int]:
        task = self._kernel.current
        return (task.process.pid, task.tid) if task is not None else (0, 0)

    def pids(self) -> Iterable[int]:
        return sorted(self._kernel.processes)

    def message_queues(self) -> Iterable[tuple[int, ...]]:
        for queue in self._kernel.ipc.queues:
            yield (queue.key, queue.identifier, queue.mode, queue.bytes, len(queue.messages), queue.last_sender,
                   queue.last_receiver, *queue.owners, queue.sent, queue.received, queue.changed)  # fmt: skip

    def semaphores(self) -> Iterable[tuple[int, ...]]:
        for found in self._kernel.ipc.sets:
            yield (found.key, found.identifier, found.mode, len(found.values), *found.owners, found.operated,
                   found.changed)  # fmt: skip

    def shared_memory(self) -> Iterable[tuple[int, ...]]:
        attached = self._kernel.ipc.attachments(self._kernel)
        for segment in self._kernel.ipc.segments:
            yield (segment.key, segment.identifier, segment.shown_mode, segment.size, segment.creator, segment.last,
                   attached[segment.memory], *segment.owners, segment.attached, segment.detached,
                   segment.changed, segment.memory.blocks << 12, 0)  # fmt: skip

    def process(self, pid: int, tid: int = 0) -> ProcessView | None:
        process = self._kernel.processes.get(pid)
        if process is None:
            thread = self._kernel.tasks.get(pid)  # /proc/TID is not listed, but found
            if thread is None or tid:
                return None
            return TaskView(thread.process, thread)
        if tid:
            task = process.threads.get(tid)
            return TaskView(process, task) if task is not None else None
        task = process.leader or next(iter(process.threads.values()), None)
        return TaskView(process, task)

    def uptime(self) -> int:
        return self._kernel.clock.monotonic() - self._kernel.boot_time

    def boot_time(self) -> int:
        clock = self._kernel.clock
        return clock.realtime() - (clock.monotonic() - self._kernel.boot_time)

    def memory(self) -> MemoryFigures:
        account = self._kernel.account
        return MemoryFigures(account.limit * 4096, max(0, account.limit - account.used) * 4096)

    def load(self) -> tuple[float, float, float]:
        return 0.0, 0.0, 0.0

    def runnable(self) -> int:
        return sum(task.state == "ready" for task in self._kernel.tasks.values())

    def forks(self) -> int:
        return self._kernel.forks

    def switches(self) -> int:
        return self._kernel.stats.switches

    def last_pid(self) -> int:
        return self._kernel.last_pid

    def highest_pid(self) -> int:
        return self._kernel.limits.highest_pid

    def open_files(self) -> tuple[int, int]:
        budget = self._kernel.file_budget
        return budget.used, budget.limit

    def random(self, count: int) -> bytes:
        return self._kernel.entropy.bytes(count)


def executable_place(task: Task, path: bytes) -> Place | None:
    """Where the program that was loaded lies, for /proc/PID/exe."""
    try:
        return walk(task.kernel.mounts, task.fs.root, task.fs.cwd, path, task.credentials)
    except Errno:
        return None
