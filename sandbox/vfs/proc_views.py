"""What procfs wants to know: the kernel implements these two, procfs turns them into text.

A view is asked anew for every file, so it need not keep anything; `SystemView.process` is the only way to one, and
None once the process has been waited for. Units: bytes, nanoseconds, plain numbers. Neighbours: `procfs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sandbox.memory import Region
    from sandbox.vfs.mount import Mounts, Place
    from sandbox.vfs.node import OpenFile


@dataclass(frozen=True, slots=True)
class MemoryFigures:
    """/proc/meminfo, in bytes. `shared` is what tmpfs holds, `cached` includes it."""

    total: int
    free: int
    cached: int = 0
    shared: int = 0


@dataclass(frozen=True, slots=True)
class SignalFigures:
    """Bit n-1 stands for signal n."""

    pending: int = 0
    shared_pending: int = 0
    blocked: int = 0
    ignored: int = 0
    caught: int = 0
    queued: int = 0


@dataclass(frozen=True, slots=True)
class CapabilityFigures:
    inheritable: int = 0
    permitted: int = 0
    effective: int = 0
    bounding: int = 0
    ambient: int = 0


@dataclass(frozen=True, slots=True)
class TimeFigures:
    """Nanoseconds; `started` counts from boot."""

    started: int = 0
    user: int = 0
    system: int = 0
    children_user: int = 0
    children_system: int = 0


class ProcessView(Protocol):
    """One process; for /proc/PID/task/TID, one thread of it (`pid` is the process's, `tid` the thread's)."""

    @property
    def pid(self) -> int: ...
    @property
    def tid(self) -> int: ...
    @property
    def parent(self) -> int: ...
    @property
    def group(self) -> int: ...
    @property
    def session(self) -> int: ...
    @property
    def terminal(self) -> int:
        """The device number of the controlling terminal, or 0."""

    @property
    def foreground(self) -> int:
        """The foreground process group of that terminal, or -1."""

    @property
    def name(self) -> bytes:
        """At most 15 bytes."""

    def rename(self, name: bytes) -> None:
        """Written to /proc/self/comm. Raises Errno when the current task may not."""

    @property
    def oom_adjustment(self) -> int:
        """From -1000 to 1000; remembered, and without effect: who has no frame left is killed itself."""

    def adjust_oom(self, text: bytes) -> None:
        """Written to /proc/PID/oom_score_adj. Raises Errno(EINVAL, EACCES)."""

    def read_memory(self, address: int, count: int) -> bytes:
        """Whatever the protections. Raises Errno(EFAULT) where nothing is mapped."""

    def check_memory(self) -> None:
        """Raises Errno(EACCES) when the current task may not open /proc/PID/mem."""

    def write_memory(self, address: int, data: bytes) -> None: ...
    @property
    def state(self) -> str:
        """R S T t Z X, as ps shows it."""

    @property
    def threads(self) -> Sequence[int]: ...
    @property
    def uids(self) -> tuple[int, int, int, int]:
        """Real, effective, saved, filesystem."""

    @property
    def gids(self) -> tuple[int, int, int, int]: ...
    @property
    def groups(self) -> Sequence[int]: ...
    @property
    def umask(self) -> int: ...
    @property
    def nice(self) -> int: ...
    @property
    def times(self) -> TimeFigures: ...
    @property
    def faults(self) -> tuple[int, int]:
        """Minor and major."""

    @property
    def switches(self) -> tuple[int, int]:
        """Voluntary and involuntary."""

    @property
    def signals(self) -> SignalFigures: ...
    @property
    def capabilities(self) -> CapabilityFigures: ...
    @property
    def limits(self) -> Sequence[tuple[int, int]]:
        """Soft and hard, by RLIMIT_* number; 2**64-1 is unlimited."""

    @property
    def resident(self) -> int:
        """Bytes."""

    @property
    def peak(self) -> int: ...
    def resident_in(self, region: Region) -> int:
        """Bytes of it that are."""
        ...

    def regions(self) -> Iterable[Region]:
        """Empty for a zombie."""

    def command_line(self) -> bytes:
        """The arguments as they are in memory now, each with its NUL; empty for a zombie."""

    def environment(self) -> bytes: ...
    def auxiliary(self) -> bytes: ...
    def executable(self) -> Place | None: ...
    def cwd(self) -> Place | None:
        """None for a zombie."""

    def root(self) -> Place | None: ...
    def files(self) -> Iterable[tuple[int, OpenFile, bool]]:
        """Descriptor, file, close-on-exec."""


class SystemView(Protocol):
    @property
    def isa(self) -> str: ...
    @property
    def cpus(self) -> int: ...
    @property
    def release(self) -> bytes: ...
    @property
    def version(self) -> bytes: ...
    @property
    def machine(self) -> bytes:
        """As uname -m."""

    hostname: bytes
    domain_name: bytes

    @property
    def mounts(self) -> Mounts: ...
    def current(self) -> tuple[int, int]:
        """Pid and tid of the task whose syscall is being served; (0, 0) when nobody's is."""

    def pids(self) -> Iterable[int]: ...
    def process(self, pid: int, tid: int = 0) -> ProcessView | None:
        """`tid` 0: the process as such, or the thread that has `pid` for its tid. None: there is no such."""

    def uptime(self) -> int: ...
    def boot_time(self) -> int:
        """Nanoseconds since 1970."""

    def memory(self) -> MemoryFigures: ...
    def message_queues(self) -> Iterable[tuple[int, ...]]:
        """The columns of /proc/sysvipc/msg; the next two likewise."""

    def semaphores(self) -> Iterable[tuple[int, ...]]: ...
    def shared_memory(self) -> Iterable[tuple[int, ...]]: ...
    def load(self) -> tuple[float, float, float]: ...
    def runnable(self) -> int: ...
    def forks(self) -> int: ...
    def switches(self) -> int: ...
    def last_pid(self) -> int: ...
    def highest_pid(self) -> int: ...
    def open_files(self) -> tuple[int, int]:
        """In use and allowed."""

    def random(self, count: int) -> bytes: ...
