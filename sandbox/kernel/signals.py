"""Signals as data: what is pending, what is blocked, what a process wants done; and how one is sent.

Sending only records and wakes; a signal takes effect in `sandbox.kernel.delivery`, when its task is about to go back
to user code. Pending signals live per task (tgkill, faults) and per process (kill). Source: signal(7), sigaction(2).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sandbox.abi.signals import (
    DEFAULTS,
    SI_KERNEL,
    SI_USER,
    SIG_DFL,
    SIG_IGN,
    SIGCONT,
    SIGKILL,
    SIGRTMIN,
    SS_DISABLE,
    STOP_SIGNALS,
    SYNCHRONOUS,
    UNBLOCKABLE,
    Default,
    bit,
)

if TYPE_CHECKING:
    from sandbox.kernel.linux import LinuxMachine
    from sandbox.kernel.process import Process
    from sandbox.kernel.task import Task


@dataclass(slots=True)
class SignalInfo:
    """The fields of siginfo_t that some signal uses; which ones count depends on number and code."""

    number: int
    code: int = SI_USER
    errno: int = 0
    pid: int = 0
    uid: int = 0
    address: int = 0  # faults
    status: int = 0  # SIGCHLD
    utime: int = 0  # SIGCHLD, clock ticks
    stime: int = 0
    value: int = 0  # sigqueue, timers
    timer: int = 0
    overrun: int = 0
    band: int = 0  # SIGIO
    fd: int = 0
    trap: int = 0  # x86: the vector and error code that the frame shows
    error: int = 0
    reason: str = ""  # a sentence for the report, when the task itself caused the signal
    queued: bool = False  # it waits to be taken


@dataclass(frozen=True, slots=True)
class Action:
    """What sigaction installs."""

    handler: int = SIG_DFL
    flags: int = 0
    restorer: int = 0
    mask: int = 0


DEFAULT_ACTION = Action()


class SignalActions:
    """The action table, shared by the threads of a process (and by CLONE_SIGHAND)."""

    __slots__ = ("_table",)

    def __init__(self) -> None:
        self._table: dict[int, Action] = {}

    def __getitem__(self, number: int) -> Action:
        return self._table.get(number, DEFAULT_ACTION)

    def __setitem__(self, number: int, action: Action) -> None:
        self._table[number] = action

    def copy(self) -> SignalActions:
        other = SignalActions()
        other._table = dict(self._table)
        return other

    def reset_for_exec(self) -> None:
        """Handlers point into a program that is gone; what was ignored stays ignored (execve(2))."""
        self._table = {number: Action(SIG_IGN) for number, action in self._table.items() if action.handler == SIG_IGN}

    def reset_handlers(self) -> None:
        """CLONE_CLEAR_SIGHAND: everything that is not ignored goes back to its default."""
        self.reset_for_exec()

    def ignores(self, number: int) -> bool:
        """Whether the signal would be thrown away."""
        handler = self[number].handler
        if handler == SIG_DFL:
            return DEFAULTS[number] in (Default.IGNORE, Default.CONTINUE)  # continuing happens when it is sent
        return handler == SIG_IGN

    def masks(self) -> tuple[int, int]:
        """(ignored, caught) as bit masks, for /proc/PID/status."""
        ignored = caught = 0
        for number, action in self._table.items():
            if action.handler == SIG_IGN:
                ignored |= bit(number)
            elif action.handler != SIG_DFL:
                caught |= bit(number)
        return ignored, caught


MOST_QUEUED = 1024  # real-time signals that wait in one queue, whatever RLIMIT_SIGPENDING says: they are host memory
MOST_OF_ALL = 16384  # in all queues of a machine; but
FEW_QUEUED = 32  # in each are had without a look at the others


class PendingSignals:
    """A set for the standard signals, a queue for the real-time ones. When the queue is full a signal still arrives,
    once, without what it carried."""

    __slots__ = ("bits", "queue")

    def __init__(self) -> None:
        self.bits = 0
        self.queue: list[SignalInfo] = []

    def add(self, info: SignalInfo, full: bool = False) -> None:
        """`full`: whatever this queue holds, the machine's hold too much (`is_full`)."""
        mask = bit(info.number)
        if self.bits & mask and info.number < SIGRTMIN:
            return  # a standard signal is pending at most once
        self.bits |= mask
        if info.number >= SIGRTMIN and (full or len(self.queue) >= MOST_QUEUED):
            return
        info.queued = True
        self.queue.append(info)

    def take(self, allowed: int) -> SignalInfo | None:
        """Remove and return the next signal in `allowed`: faults first, then the lowest number, oldest first."""
        ready = self.bits & allowed
        if not ready:
            return None
        chosen = ready & SYNCHRONOUS or ready
        number = (chosen & -chosen).bit_length()
        index = next((index for index, info in enumerate(self.queue) if info.number == number), None)
        if index is None:
            self.bits &= ~bit(number)
            return SignalInfo(number)
        info = self.queue.pop(index)
        info.queued = False
        if not any(other.number == number for other in self.queue):
            self.bits &= ~bit(number)
        return info

    def discard(self, mask: int) -> None:
        if self.bits & mask:
            for info in self.queue:
                info.queued = info.queued and not bit(info.number) & mask
            self.queue = [info for info in self.queue if not bit(info.number) & mask]
            self.bits &= ~mask


@dataclass(slots=True)
class AlternateStack:
    base: int = 0
    size: int = 0
    flags: int = SS_DISABLE

    def holds(self, stack_pointer: int) -> bool:
        return self.base < stack_pointer <= self.base + self.size


@dataclass(slots=True)
class TaskSignals:
    """The part that belongs to one thread."""

    mask: int = 0
    pending: PendingSignals = field(default_factory=PendingSignals)
    stack: AlternateStack = field(default_factory=AlternateStack)
    saved_mask: int | None = None  # what sigsuspend, ppoll and pselect put aside until the handler has returned


def is_deliverable(task: Task) -> bool:
    """Whether something is pending that is not blocked."""
    return bool((task.signals.pending.bits | task.process.pending.bits) & ~task.signals.mask)


def set_mask(task: Task, mask: int) -> None:
    task.signals.mask = mask & ~UNBLOCKABLE
    task.attention = True


def is_full(kernel: LinuxMachine, pending: PendingSignals) -> bool:
    """Whether no more real-time signals are queued here."""
    if len(pending.queue) < FEW_QUEUED:
        return False
    processes = sum(len(process.pending.queue) for process in kernel.processes.values())
    threads = sum(len(task.signals.pending.queue) for task in kernel.tasks.values())
    return len(pending.queue) >= MOST_QUEUED or processes + threads >= MOST_OF_ALL


def send_to_task(task: Task, info: SignalInfo) -> None:
    """Direct a signal at one thread (tgkill, faults)."""
    if task.state == "dead" or not _accept(task.process, info.number, task):
        return
    if info.number == SIGKILL:
        task.kernel.kill_process(task.process, info)
        return
    pending = task.signals.pending
    pending.add(info, is_full(task.kernel, pending))
    task.process.signal_arrival.wake()
    task.attention = True
    if is_deliverable(task):
        task.kernel.interrupt(task)


def send_to_process(process: Process, info: SignalInfo) -> None:
    """Direct a signal at a process; any thread that does not block it may take it."""
    if not process.threads or not _accept(process, info.number, None):
        return
    if info.number == SIGKILL:
        process.kernel.kill_process(process, info)
        return
    process.pending.add(info, is_full(process.kernel, process.pending))
    process.signal_arrival.wake()
    mask = bit(info.number)
    receiver = None
    for task in process.threads.values():
        task.attention = True
        if receiver is None and not task.signals.mask & mask:
            receiver = task
    if receiver is not None:
        receiver.kernel.interrupt(receiver)


def force(task: Task, info: SignalInfo) -> None:
    """A signal that cannot be put off (a fault): blocked or ignored, it takes its default action, which is fatal."""
    mask = bit(info.number)
    if task.signals.mask & mask or task.process.actions[info.number].handler == SIG_IGN:
        task.process.actions[info.number] = DEFAULT_ACTION
        task.signals.mask &= ~mask
    task.signals.pending.add(info)
    task.attention = True


def kernel_signal(number: int, reason: str = "") -> SignalInfo:
    return SignalInfo(number, SI_KERNEL, reason=reason)


def _accept(process: Process, number: int, task: Task | None) -> bool:
    """Do what happens at once when a signal is generated; return whether it stays pending."""
    mask = bit(number)
    if number == SIGCONT:
        process.discard_pending(STOP_SIGNALS)
        process.resume()
    elif mask & STOP_SIGNALS:
        process.discard_pending(bit(SIGCONT))
    elif number == SIGKILL:
        return True
    blocked = (
        task.signals.mask & mask
        if task is not None
        else all(thread.signals.mask & mask for thread in process.threads.values())
    )
    return bool(blocked) or not process.actions.ignores(number)
