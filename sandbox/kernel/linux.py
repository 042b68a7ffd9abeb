"""A Linux virtual machine: the kernel's state, its tasks, how they sleep and wake, and how it all ends.

Time and chance come from `clock` and `entropy` only. In a deterministic machine the clock is virtual: it moves with
the code bytes executed and jumps to the next deadline when everybody sleeps.
Neighbours: `loop` runs the tasks, `start` builds the first process, `dispatch` serves calls, `delivery` signals,
`lifecycle` ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from sandbox.abi.signals import SIGTERM, signal_name
from sandbox.clock import Clock, Entropy, VirtualClock
from sandbox.engine import Engine, Isa
from sandbox.events import Recorder
from sandbox.kernel import constant_calls, descriptors, lifecycle
from sandbox.kernel.fdtable import FileBudget
from sandbox.kernel.futex import FutexTable
from sandbox.kernel.ipc import Ipc
from sandbox.kernel.loop import run_tasks
from sandbox.kernel.mqueue import MessageQueues
from sandbox.kernel.nameless import Nameless
from sandbox.kernel.observers import Observers
from sandbox.kernel.process import MachineLimits, Process
from sandbox.kernel.signals import SignalInfo, is_deliverable, send_to_process
from sandbox.kernel.spaces import SpaceUsers
from sandbox.kernel.stats import KernelStats
from sandbox.kernel.table import calls
from sandbox.kernel.terminals import Terminals
from sandbox.kernel.timers import TimerQueue
from sandbox.kernel.trace import TraceFormatter
from sandbox.machine import Activity, Outcome
from sandbox.vfs.mount import Mounts
from sandbox.vfs.pipe import PipeFs
from sandbox.vfs.socket import SocketFs
from sandbox.wait import Block

if TYPE_CHECKING:
    from sandbox.kernel.async_signal import AsyncSignal
    from sandbox.kernel.crash import CrashReport
    from sandbox.kernel.task import Task
    from sandbox.memory import Account, AddressSpace, FramePool
    from sandbox.vfs.file import OpenFile
    from sandbox.vfs.node import Node

LAST_CALLS = 16


class LinuxMachine:
    """Made by `sandbox.kernel.start.boot`, which also loads the first program."""

    def __init__(
        self,
        isa: Isa,
        pool: FramePool,
        account: Account,
        mounts: Mounts,
        *,
        clock: Clock,
        entropy: Entropy,
        hostname: bytes = b"sandbox",
        limits: MachineLimits | None = None,
        deterministic: bool = False,
        trace: Callable[..., None] | None = None,
        events: Recorder | None = None,
    ) -> None:
        self.isa = isa
        self.pool = pool
        self.account = account
        self.mounts = mounts
        self.owns_mounts = True  # False: they outlive this machine, and somebody else closes them
        self.clock = clock
        self.entropy = entropy
        self.hostname = hostname
        self.domain_name = b"(none)"
        self.limits = limits or MachineLimits()
        self.deterministic = deterministic
        self.events = events
        self.stats = KernelStats(isa.name)
        self.calls = calls(isa.name)
        self.trace_formatter = TraceFormatter()
        self.trace = trace
        self.call_began: dict[int, int] | None = None  # by task; a dictionary when the trace wants to know how long
        self.observers = Observers(events)
        self.tasks: dict[int, Task] = {}
        self.processes: dict[int, Process] = {}
        mounts.executing = self._executes
        self.spaces = SpaceUsers()
        self.timers = TimerQueue()
        self.futexes = FutexTable()
        self.file_budget = FileBudget(self.limits.files)
        self.nameless = Nameless(pool, account, clock)
        self.terminals = Terminals(self)
        self.async_signals: WeakKeyDictionary[OpenFile, AsyncSignal] = WeakKeyDictionary()  # of O_ASYNC and F_SETOWN
        self.recent: deque[tuple[int, int, tuple[int, ...], int | None]] = deque(maxlen=LAST_CALLS)
        self.pipes = PipeFs(clock)
        self.sockets = SocketFs(clock)
        self.ipc = Ipc()
        self.message_queues = MessageQueues()
        self.boot_time = clock.monotonic()
        self.many_tasks = False  # there has ever been more than one: traces then say which
        self.exit_status: int | None = None
        self.death: str | None = None
        self.crash: CrashReport | None = None
        self.on_wake: Callable[[], None] | None = None
        self.breakpoints: frozenset[int] = frozenset()  # addresses, in every address space
        self.on_breakpoint: Callable[[Task, int], None] | None = None
        self.passed: dict[int, int] = {}  # by task: the breakpoint that it stands at and has been told of
        self.halted = False  # the run under way is to end
        self.virtual = clock if deterministic and isinstance(clock, VirtualClock) else None
        self.ready: deque[Task] = deque()
        self.running = False
        self.outcome = Outcome(Activity.RUNNABLE, 0)  # of the last run
        self.current: Task | None = None  # whose turn it is
        self.slice_start = 0
        self.doomed: tuple[str, int] | None = None
        self.yielded = False
        self.gave_way = False  # the task sleeps only to let the others have a turn (`pieces`)
        self._released = False
        self.last_pid = 0
        self.forks = 0  # tasks ever made

    # -- running ----------------------------------------------------------------------------------------

    def run(self, engine: Engine, budget: int) -> Outcome:
        """See `sandbox.machine.Machine`."""
        if self.exit_status is not None:
            return Outcome(Activity.EXITED, 0)
        self.running = True
        try:
            return run_tasks(self, engine, budget)
        finally:
            self.running = False

    def halt(self) -> None:
        """From a callback: end this run of the machine where it stands, so that it can be paused there."""
        self.halted = self.running

    # -- sleeping and waking ----------------------------------------------------------------------------

    def sleep(self, task: Task, block: Block, number: int, arguments: tuple[int, ...]) -> None:
        """Park the task in its call, unless a signal is there that interrupts it at once."""
        task.call = (number, arguments)
        task.restartable = block.restart
        task.interruptible = block.interruptible
        if task.attention and block.interruptible and is_deliverable(task):
            return
        for queue in block.queues:
            queue.add(task)
        task.queues = block.queues
        if block.deadline is not None:
            task.deadline = self.timers.add(block.deadline, task)
        task.state = "waiting"
        task.usage.voluntary += 1

    def make_ready(self, task: Task) -> None:
        """The task has something to do: another look at its call, or a signal."""
        if task.state == "dead":
            return
        self.forget_sleep(task)
        if task.process.stop_signal:
            task.state = "stopped"
            return
        task.state = "ready"
        if task is not self.current:
            self.enqueue(task)
        if not self.running and self.on_wake is not None:
            self.on_wake()

    def forget_sleep(self, task: Task) -> None:
        """Off every queue it sleeps on."""
        for queue in task.queues:
            queue.discard(task)
        task.queues = ()
        if task.deadline is not None:
            self.timers.cancel(task.deadline)
            task.deadline = None

    def interrupt(self, task: Task) -> None:
        """A signal has come for a task that may be asleep."""
        if task.state == "waiting" and task.interruptible:
            self.make_ready(task)

    def yield_task(self, task: Task) -> None:
        """Let the others have their turn before this task goes on."""
        self.yielded = bool(self.ready)

    def finish_call(self, task: Task) -> None:
        """The call is over: forget what it remembered."""
        task.call = None
        if task.restart:
            waiter = task.restart.get("futex")
            if waiter is not None:
                self.futexes.remove(waiter)
            task.restart.clear()

    def enqueue(self, task: Task) -> None:
        if not task.queued:
            task.queued = True
            self.ready.append(task)

    # -- time -------------------------------------------------------------------------------------------

    def settle_time(self, task: Task) -> None:
        """Book the CPU time of the running slice to its task."""
        if task is self.current:
            now = self.clock.monotonic()
            task.usage.user += now - self.slice_start
            self.slice_start = now

    def cpu_time(self, task: Task) -> int:
        """Nanoseconds of CPU that the task has used."""
        self.settle_time(task)
        return task.usage.user + task.usage.system

    # -- tasks and processes ----------------------------------------------------------------------------

    def new_pid(self) -> int | None:
        """The next free number; None when the machine has as many tasks as it may."""
        if len(self.tasks) + sum(not process.threads for process in self.processes.values()) >= self.limits.tasks:
            return None
        number = self.last_pid
        taken = {process.group for process in self.processes.values()}
        taken |= {process.session for process in self.processes.values()}
        while True:
            number = number + 1 if number < self.limits.highest_pid else 2
            if number not in self.tasks and number not in self.processes and number not in taken:
                self.last_pid = number
                return number

    def add_task(self, task: Task) -> None:
        """Put a new task on the machine; it runs when its turn comes."""
        self.forks += 1
        self.tasks[task.tid] = task
        task.process.threads[task.tid] = task
        self.spaces.enter(task.space)
        if len(self.tasks) > 1:
            self.many_tasks = True
        if len(self.tasks) == 2:
            for lonely in self.tasks.values():
                constant_calls.end_solitude(lonely)
        self.make_ready(task)

    def release_space(self, task: Task) -> None:
        """The task leaves its address space; the last one gives the memory back."""
        usage = task.process.usage
        usage.peak = max(usage.peak, self.account.peak)
        self.spaces.leave(task.space)

    def replace_space(self, task: Task, space: AddressSpace) -> None:
        """execve: the task has a new address space for itself."""
        self.release_space(task)
        task.space = space
        self.spaces.enter(space)

    def show_tls(self, task: Task) -> None:
        """i386: make the task's thread-local segments visible in the descriptor table of its address space."""
        descriptors.show(task)

    # -- ends -------------------------------------------------------------------------------------------

    def init_ended(self, word: int) -> None:
        """Process 1 has ended, and with it everything."""
        if self.exit_status is None:
            killed = word & 0x7F
            self.exit_status = 128 + killed if killed else word >> 8
            if killed and self.death is None:
                self.death = f"process 1 was killed by {signal_name(killed)}"
        for process in list(self.processes.values()):
            if process.pid != 1 and process.threads:
                lifecycle.end_process(process, lifecycle.signal_word(9))

    def kill(self, reason: str, status: int = 137) -> None:
        """End the machine now (or as soon as its engine has stopped)."""
        if self.exit_status is not None or self.doomed is not None:
            return
        if self.running:
            self.doomed = reason, status
        else:
            self.die(reason, status)

    def die(self, reason: str, status: int) -> None:
        if self.exit_status is None:
            self.exit_status = status
            self.death = reason
        for process in sorted(self.processes.values(), key=lambda process: -process.pid):
            if process.threads:
                lifecycle.end_process(process, lifecycle.signal_word(9))

    def power_off(self) -> None:
        """The guest asked for it: everything ends, with status 0."""
        if self.exit_status is None:
            self.exit_status = 0
        self.die("", 0)

    def terminate(self) -> None:
        """SIGTERM to process 1; a machine whose first process ignores it goes on."""
        init = self.processes.get(1)
        if init is not None:
            send_to_process(init, SignalInfo(SIGTERM))

    def release(self) -> None:
        """Give back frames, contexts and descriptors."""
        if self._released:
            return
        self._released = True
        self.doomed = None
        self.die("the machine was released", 137)
        self.nameless.close()
        self.ipc.close()
        if self.owns_mounts:
            self.mounts.close()

    def _executes(self, node: Node) -> bool:
        """Whether a living process runs this file."""
        return any(
            process.threads and process.executable_place is not None and process.executable_place.node is node
            for process in self.processes.values()
        )

    # -- what happened ----------------------------------------------------------------------------------

    def kill_process(self, process: Process, info: SignalInfo) -> None:
        """SIGKILL: nothing can put it off, so the process ends at once."""
        self.stats.signals[signal_name(info.number)] += 1
        if process.pid == 1:
            self.death = "process 1 was killed by SIGKILL"
        lifecycle.end_process(process, lifecycle.signal_word(info.number))

    def report_bug(self, task: Task, where: str, error: BaseException) -> None:
        """A handler raised what it must not. The guest gets -EIO; this is for us."""
        self.stats.bugs += 1
        self.observers.defect(where, error)
