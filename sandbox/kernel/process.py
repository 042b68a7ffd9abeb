"""A process: what the threads of one thread group share, and its place in the family.

A `Process` lives from fork until its parent has waited for it (then its pid is free again). While it has threads it
runs; afterwards it is a zombie that keeps `wait_status`. Address space, files and directories are referenced by each
task, because clone(2) can share them in any combination.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.abi import flags
from sandbox.abi.signals import (
    CLD_CONTINUED,
    CLD_STOPPED,
    SA_NOCLDSTOP,
    SIG_IGN,
    SIGCHLD,
    SIGCONT,
)
from sandbox.kernel.signals import PendingSignals, SignalActions, SignalInfo, send_to_process
from sandbox.wait import WaitQueue

if TYPE_CHECKING:
    from sandbox.kernel.interval import IntervalTimer
    from sandbox.kernel.linux import LinuxMachine
    from sandbox.kernel.task import Task
    from sandbox.vfs.mount import Place


UNLIMITED = flags.RLIM_INFINITY
RESOURCES = 16


@dataclass(frozen=True, slots=True)
class MachineLimits:
    """What a whole machine may have; beyond it the guest gets EAGAIN, ENFILE."""

    tasks: int = 1024
    files: int = 4096
    highest_pid: int = 32768


class Limits:
    """The sixteen resource limits as (soft, hard) pairs; a forked child gets a copy."""

    __slots__ = ("_pairs",)

    def __init__(self, tasks: int = 1024, files: int = 4096) -> None:
        self._pairs: list[tuple[int, int]] = [(UNLIMITED, UNLIMITED)] * 16
        self._pairs[flags.RLIMIT_STACK] = (8 << 20, UNLIMITED)
        self._pairs[flags.RLIMIT_CORE] = (0, UNLIMITED)
        self._pairs[flags.RLIMIT_NPROC] = (tasks, tasks)
        self._pairs[flags.RLIMIT_NOFILE] = (min(1024, files), files)
        self._pairs[flags.RLIMIT_MEMLOCK] = (8 << 20, 8 << 20)
        self._pairs[flags.RLIMIT_SIGPENDING] = (1024, 1024)
        self._pairs[flags.RLIMIT_MSGQUEUE] = (819200, 819200)
        self._pairs[flags.RLIMIT_NICE] = (0, 0)
        self._pairs[flags.RLIMIT_RTPRIO] = (0, 0)

    def __getitem__(self, resource: int) -> tuple[int, int]:
        return self._pairs[resource]

    def __setitem__(self, resource: int, pair: tuple[int, int]) -> None:
        self._pairs[resource] = pair

    def soft(self, resource: int) -> int:
        return self._pairs[resource][0]

    def copy(self) -> Limits:
        other = Limits.__new__(Limits)
        other._pairs = list(self._pairs)
        return other


class Usage:
    """Resource use, in nanoseconds and counts (getrusage(2))."""

    __slots__ = ("involuntary", "major", "minor", "peak", "system", "user", "voluntary")

    def __init__(self) -> None:
        self.user = self.system = 0
        self.minor = self.major = 0
        self.voluntary = self.involuntary = 0
        self.peak = 0  # resident frames

    def add(self, other: Usage) -> None:
        self.user += other.user
        self.system += other.system
        self.minor += other.minor
        self.major += other.major
        self.voluntary += other.voluntary
        self.involuntary += other.involuntary
        self.peak = max(self.peak, other.peak)


class Process:
    """Created by the kernel only; `threads` maps tid to task, the leader's tid being the pid."""

    def __init__(self, kernel: LinuxMachine, pid: int, parent: Process | None) -> None:
        self.kernel = kernel
        self.pid = pid
        self.parent = parent
        self.children: dict[int, Process] = {}
        self.threads: dict[int, Task] = {}
        self.group: int = parent.group if parent is not None else pid  # process group id
        self.session: int = parent.session if parent is not None else pid
        self.terminal: object | None = parent.terminal if parent is not None else None  # the controlling terminal
        self.actions = SignalActions()
        self.pending = PendingSignals()
        self.signal_arrival = WaitQueue()  # sigtimedwait and signalfd sleep here
        self.limits: Limits = parent.limits.copy() if parent is not None else Limits()
        self.usage = Usage()  # of threads that have ended
        self.children_usage = Usage()  # of children that were waited for
        self.exit_signal = 17  # SIGCHLD; what the parent is sent when this process ends
        self.child_change = WaitQueue()  # wait4 and waitid of any thread of this process sleep here
        self.ended = WaitQueue()  # pidfd polls sleep here
        self.wait_status: int | None = None  # the status word of wait(2), once it is a zombie
        self.exiting: int | None = None  # the status word that exit_group or a fatal signal has decided on
        self.stop_signal = 0  # not 0 while stopped by job control
        self.stop_reported = True
        self.continue_reported = True
        self.executed = False  # has called execve since fork (setpgid(2) wants to know)
        self.subreaper = False
        self.huge_pages_disabled = False
        self.personality: int = parent.personality if parent is not None else 0
        self.memory_barriers = 0  # membarrier registrations
        self.nice: int = parent.nice if parent is not None else 0
        self.io_priority: int = parent.io_priority if parent is not None else 0  # of ioprio_set; 0: by the nice value
        self.oom_adjustment: int = parent.oom_adjustment if parent is not None else 0  # /proc/PID/oom_score_adj
        self.oom_floor: int = parent.oom_floor if parent is not None else 0  # only the privileged go below it
        self.started = kernel.clock.monotonic()
        self.executable: bytes = parent.executable if parent is not None else b""
        self.arguments: tuple[int, int] = (0, 0)  # where /proc/PID/cmdline is in memory
        self.environment: tuple[int, int] = (0, 0)
        self.auxiliary = b""
        self.interval_timers: dict[int, IntervalTimer] = {}  # setitimer, by which
        self.timers: dict[int, IntervalTimer] = {}  # timer_create, by number
        self.cpu_timers: list[IntervalTimer] = []  # those that count CPU time
        self.cpu_limited = False  # RLIMIT_CPU is not unlimited
        self.next_cpu_warning = 0  # seconds of CPU time at which the next SIGXCPU is due
        self.dumpable = 1
        self.last_uid = 0
        self.last_name = b""  # of the last thread to end
        self.executable_place: Place | None = parent.executable_place if parent is not None else None
        self.death_signal = 0  # PR_SET_PDEATHSIG
        self.keep_capabilities = False
        self.no_new_privileges = False
        self.on_end: Callable[[int], None] | None = None  # whoever entered it from outside; gets the status word

    def inherit(self, old: Process) -> None:
        """What a forked process has from the one that forked it (which need not be its parent)."""
        self.limits = old.limits.copy()
        self.cpu_limited = old.cpu_limited
        self.executable, self.arguments, self.environment = old.executable, old.arguments, old.environment
        self.auxiliary, self.executable_place = old.auxiliary, old.executable_place
        self.group, self.session, self.terminal = old.group, old.session, old.terminal
        self.nice, self.personality, self.io_priority = old.nice, old.personality, old.io_priority
        self.dumpable, self.no_new_privileges = old.dumpable, old.no_new_privileges
        self.keep_capabilities = old.keep_capabilities
        self.memory_barriers = old.memory_barriers

    @property
    def leader(self) -> Task | None:
        return self.threads.get(self.pid)

    @property
    def alive(self) -> bool:
        return self.wait_status is None

    @property
    def uid(self) -> int:
        """The real user id; a zombie keeps the last one."""
        for task in self.threads.values():
            return task.credentials.uid
        return self.last_uid

    def cpu_time(self) -> int:
        """Nanoseconds used by all threads, ended and living."""
        total = self.usage.user + self.usage.system
        return total + sum(self.kernel.cpu_time(task) for task in self.threads.values())

    def cancel_timers(self) -> None:
        for timer in (*self.interval_timers.values(), *self.timers.values()):
            timer.cancel()
        self.interval_timers.clear()
        self.timers.clear()

    def discard_pending(self, mask: int) -> None:
        self.pending.discard(mask)
        for task in self.threads.values():
            task.signals.pending.discard(mask)

    def stop(self, number: int) -> None:
        """Job control: every thread stops before its next instruction."""
        self.stop_signal = number
        self.stop_reported = False
        self.continue_reported = True
        for task in self.threads.values():
            if task.state == "ready":
                task.state = "stopped"
        report_change(self)

    def resume(self) -> None:
        """SIGCONT."""
        if not self.stop_signal:
            return
        self.stop_signal = 0
        self.stop_reported = True
        for task in self.threads.values():
            if task.state == "stopped":
                self.kernel.make_ready(task)
        self.continue_reported = False
        report_change(self)


def report_change(process: Process) -> None:
    """The process was stopped or continued: tell the parent, unless it does not want to know."""
    parent = process.parent
    if parent is None:
        return
    action = parent.actions[SIGCHLD]
    if action.handler != SIG_IGN and not action.flags & SA_NOCLDSTOP:  # not even pending where it is blocked
        stopped = process.stop_signal
        send_to_process(
            parent,
            SignalInfo(
                SIGCHLD,
                CLD_STOPPED if stopped else CLD_CONTINUED,
                pid=process.pid,
                uid=process.uid,
                status=stopped or SIGCONT,
            ),
        )
    parent.child_change.wake()


def group_members(kernel: LinuxMachine, group: int) -> list[Process]:
    """The processes of a group that have not ended."""
    return [process for process in kernel.processes.values() if process.group == group and process.threads]
