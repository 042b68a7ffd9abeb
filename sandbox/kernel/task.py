"""A task: one thread of execution, with references to everything it may share with others.

Its registers are a `Context`; everything else is plain data, so a task that is parked in a syscall can be saved:
`call` holds the call to be made again, `restart` what it must remember meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.kernel.process import Limits, Process, Usage
from sandbox.kernel.signals import TaskSignals
from sandbox.wait import WaitQueue

if TYPE_CHECKING:
    from sandbox.engine import Context
    from sandbox.kernel.fdtable import FdTable
    from sandbox.kernel.linux import LinuxMachine
    from sandbox.memory import AddressSpace
    from sandbox.vfs.mount import Place

ALL_CAPABILITIES = (1 << 41) - 1


class Credentials:
    """Who a task is. `fs*` are what file access is judged by."""

    __slots__ = (
        "ambient",
        "bounding",
        "effective",
        "egid",
        "euid",
        "fsgid",
        "fsuid",
        "gid",
        "groups",
        "inheritable",
        "permitted",
        "sgid",
        "suid",
        "uid",
    )

    def __init__(self, uid: int = 0, gid: int = 0, groups: tuple[int, ...] = ()) -> None:
        self.uid = self.euid = self.suid = self.fsuid = uid
        self.gid = self.egid = self.sgid = self.fsgid = gid
        self.groups = groups
        self.permitted = self.effective = ALL_CAPABILITIES if uid == 0 else 0
        self.inheritable = self.ambient = 0
        self.bounding = ALL_CAPABILITIES

    def copy(self) -> Credentials:
        other = Credentials.__new__(Credentials)
        for name in Credentials.__slots__:
            setattr(other, name, getattr(self, name))
        return other

    def in_group(self, gid: int) -> bool:
        return gid == self.fsgid or gid in self.groups

    def capable(self, capability: int) -> bool:
        return bool(self.effective >> capability & 1)


class FsContext:
    """Where path walks begin (shared by CLONE_FS)."""

    __slots__ = ("cwd", "root", "umask")

    def __init__(self, root: Place, cwd: Place, umask: int = 0o022) -> None:
        self.root = root
        self.cwd = cwd
        self.umask = umask

    def copy(self) -> FsContext:
        return FsContext(self.root, self.cwd, self.umask)


class Task:
    """`state`: "ready" (to run), "waiting" (in a call), "stopped" (job control), "zombie", "dead"."""

    __slots__ = (
        "__weakref__",
        "attention",
        "call",
        "clear_tid",
        "constant_calls",
        "context",
        "cpu_affinity",
        "credentials",
        "deadline",
        "default_timer_slack",
        "files",
        "fs",
        "interruptible",
        "isa",
        "kernel",
        "name",
        "policy",
        "process",
        "queued",
        "queues",
        "resets_on_fork",
        "restart",
        "restartable",
        "robust_list",
        "set_tid",
        "signals",
        "space",
        "state",
        "tid",
        "timer_slack",
        "tls_entries",
        "usage",
        "vfork_done",
        "word",
    )  # fmt: skip

    def __init__(
        self,
        kernel: LinuxMachine,
        process: Process,
        tid: int,
        *,
        context: Context,
        space: AddressSpace,
        files: FdTable,
        fs: FsContext,
        credentials: Credentials,
    ) -> None:
        self.kernel = kernel
        self.process = process
        self.tid = tid
        self.isa = kernel.isa.name
        self.word = kernel.isa.bits // 8
        self.context = context
        self.space = space
        self.files = files
        self.fs = fs
        self.credentials = credentials
        self.signals = TaskSignals()
        self.state = "ready"
        self.queued = False  # stands in the run queue
        self.attention = False  # look at the signals before going back to user code
        self.call: tuple[int, tuple[int, ...]] | None = None  # number and raw arguments of the call it sleeps in
        self.restart: dict[str, Any] = {}  # what that call must remember; emptied when it ends
        self.restartable = True  # Block.restart of the last sleep
        self.interruptible = True  # Block.interruptible of the last sleep
        self.queues: tuple[WaitQueue, ...] = ()
        self.deadline: list[Any] | None = None  # its entry in the timer queue
        self.name = b""
        self.constant_calls = 0  # made so far, of those in `constant_calls`
        self.clear_tid = 0  # set_tid_address, CLONE_CHILD_CLEARTID
        self.set_tid = 0
        self.robust_list = (0, 0)  # address and length of the robust futex list head
        self.tls_entries: dict[int, bytes] = {}  # i386: set_thread_area descriptors
        self.vfork_done: WaitQueue | None = None  # where the parent sleeps until this child execs or ends
        self.usage = Usage()
        self.policy = (0, 0)  # scheduling policy and priority, recorded only
        self.resets_on_fork = False  # SCHED_RESET_ON_FORK
        self.cpu_affinity = 1
        self.timer_slack = self.default_timer_slack = 50_000  # recorded only; the default is the parent's setting

    @property
    def tgid(self) -> int:
        return self.process.pid

    @property
    def parent(self) -> Process | None:
        return self.process.parent

    @property
    def limits(self) -> Limits:
        return self.process.limits

    def wake(self, queue: WaitQueue | None) -> None:
        """The queue has news: run the handler again. (The Sleeper protocol.)"""
        self.kernel.make_ready(self)

    def expire(self, entry: list[Any]) -> None:
        """The deadline of the sleep has passed: run the handler again, which will notice."""
        self.deadline = None
        self.kernel.make_ready(self)

    def __repr__(self) -> str:
        return f"<Task {self.tid} of {self.tgid} {self.name!r} {self.state}>"
