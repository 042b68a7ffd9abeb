"""Timers that send signals: alarm, setitimer, timer_create. Source: alarm(2), setitimer(2), timer_create(2)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from struct import Struct
from typing import TYPE_CHECKING

from sandbox.abi import flags
from sandbox.abi.errno import EAGAIN, EINVAL, EOPNOTSUPP, Errno
from sandbox.abi.flags import TIMER_ABSTIME
from sandbox.abi.signals import NSIG, SI_TIMER, SIGALRM, SIGPROF, SIGVTALRM
from sandbox.abi.structs import NANOSECONDS, PAIR, pack_timespec, pack_timeval
from sandbox.kernel.interval import IntervalTimer
from sandbox.kernel.row import FULL, Row
from sandbox.kernel.signals import SignalInfo, kernel_signal, send_to_process, send_to_task
from sandbox.kernel.sys_time import clock_now, read_timespec

if TYPE_CHECKING:
    from sandbox.kernel.process import Process
    from sandbox.kernel.task import Task

_SIGNALS = {flags.ITIMER_REAL: SIGALRM, flags.ITIMER_VIRTUAL: SIGVTALRM, flags.ITIMER_PROF: SIGPROF}
MICROSECOND = 1000
MOST_TIMERS = 1024
_SIGEV_SIGNAL, _SIGEV_NONE, _SIGEV_THREAD, _SIGEV_THREAD_ID = 0, 1, 2, 4
_SIGEVENT = {8: Struct("<Qiii"), 4: Struct("<Iiii")}  # value, signal, notify, thread id
_REAL_CLOCKS = (flags.CLOCK_REALTIME, flags.CLOCK_MONOTONIC, flags.CLOCK_BOOTTIME, flags.CLOCK_TAI)
_MOST_OVERRUNS = 0x7FFFFFFF
_PENDING_PATIENCE = 10_000_000


# -- interval timers ---------------------------------------------------------------------------------------


def _interval_timer(process: Process, which: int) -> IntervalTimer:
    if which not in _SIGNALS:
        raise Errno(EINVAL)
    timer = process.interval_timers.get(which)
    if timer is None:
        number = _SIGNALS[which]
        clock = None if which == flags.ITIMER_REAL else process.cpu_time
        timer = IntervalTimer(process, lambda count: send_to_process(process, kernel_signal(number)), clock)
        process.interval_timers[which] = timer
    return timer


def _set(timer: IntervalTimer, value: int, interval: int) -> None:
    timer.arm(timer.now() + value if value else None, interval)


def _pack_interval(task: Task, timer: IntervalTimer, remaining: int) -> bytes:
    # Rounded up: an armed timer must not look like one that is not.
    shown = remaining + MICROSECOND - 1
    return pack_timeval(task.word, timer.interval) + pack_timeval(task.word, shown)


def _read_timeval(task: Task, address: int) -> int:
    seconds, micros = PAIR[task.word].unpack(task.space.copy_in(address, 2 * task.word))
    if seconds < 0 or not 0 <= micros < 1_000_000:
        raise Errno(EINVAL)
    return int(min(seconds, 1 << 32)) * NANOSECONDS + int(micros) * MICROSECOND


def setitimer(task: Task, which: int, new: int, old: int) -> int:
    timer = _interval_timer(task.process, which)
    interval = value = 0
    if new:
        interval, value = _read_timeval(task, new), _read_timeval(task, new + 2 * task.word)
    before = _pack_interval(task, timer, timer.remaining())
    _set(timer, value, interval if value else 0)
    if old:
        task.space.copy_out(old, before)
    return 0


def getitimer(task: Task, which: int, value: int) -> int:
    timer = _interval_timer(task.process, which)
    task.space.copy_out(value, _pack_interval(task, timer, timer.remaining()))
    return 0


def alarm(task: Task, seconds: int) -> int:
    """The seconds that were left, rounded, and never 0 when an alarm was set."""
    timer = _interval_timer(task.process, flags.ITIMER_REAL)
    remaining = timer.remaining()
    left = max(1, (remaining + NANOSECONDS // 2) // NANOSECONDS) if remaining else 0
    _set(timer, seconds * NANOSECONDS, 0)
    return left


# -- POSIX timers ------------------------------------------------------------------------------------------


class PosixTimer(IntervalTimer):
    """A timer of timer_create: `number` is its id; overruns are counted while its signal is pending, and `overrun` is
    how many there had been when it was last taken (timer_getoverrun(2))."""

    __slots__ = ("clock_id", "notify", "number", "overrun", "pending", "signal", "thread", "value")

    def __init__(self, process: Process, number: int, clock_id: int, clock: Callable[[], int] | None) -> None:
        super().__init__(process, self._notify, clock)
        self.number = number
        self.clock_id = clock_id
        self.signal = SIGALRM
        self.notify = _SIGEV_SIGNAL
        self.value = number
        self.thread = 0
        self.overrun = 0
        self.pending: SignalInfo | None = None

    def _is_pending(self) -> bool:
        return self.pending is not None and self.pending.queued

    def taken(self, info: SignalInfo) -> None:
        if self.pending is not info:
            return
        self.pending = None
        self.overrun = info.overrun
        if self.deadline is None or not self.interval:
            return
        periods = max(0, (self.now() - self.deadline) // self.interval + 1)
        self.overrun = info.overrun = min(info.overrun + periods, _MOST_OVERRUNS)
        self.arm(self.deadline + periods * self.interval, self.interval)

    def patience(self) -> int:
        """While its signal waits to be taken, periods are only counted: that can be done later."""
        return _PENDING_PATIENCE if self._is_pending() else 0

    def _notify(self, count: int) -> None:
        if self.notify == _SIGEV_NONE:
            return
        process = self.process
        if self._is_pending():
            assert self.pending is not None
            self.pending.overrun = min(self.pending.overrun + count, _MOST_OVERRUNS)
            return
        info = SignalInfo(
            self.signal, SI_TIMER, timer=self.number, overrun=min(count - 1, _MOST_OVERRUNS), value=self.value
        )
        self.pending = info
        task = process.threads.get(self.thread) if self.notify == _SIGEV_THREAD_ID else None
        if task is not None:
            send_to_task(task, info)
        else:
            send_to_process(process, info)


def timer_create(task: Task, clock: int, event: int, identity: int) -> int:
    process = task.process
    cpu_clock: Callable[[], int] | None = None
    if clock not in _REAL_CLOCKS:
        clock_now(task, clock)
        if clock in (flags.CLOCK_REALTIME_COARSE, flags.CLOCK_MONOTONIC_COARSE, flags.CLOCK_MONOTONIC_RAW):
            raise Errno(EOPNOTSUPP)
        cpu_clock = partial(clock_now, task, clock)
    if len(process.timers) >= MOST_TIMERS:
        raise Errno(EAGAIN)
    number = next(number for number in range(MOST_TIMERS + 1) if number not in process.timers)
    timer = PosixTimer(process, number, clock, cpu_clock)
    if event:
        _read_event(task, timer, event)
    task.space.copy_out(identity, number.to_bytes(4, "little"))
    process.timers[number] = timer
    return 0


def _read_event(task: Task, timer: PosixTimer, event: int) -> None:
    layout = _SIGEVENT[task.word]
    timer.value, timer.signal, timer.notify, timer.thread = layout.unpack(task.space.copy_in(event, layout.size))
    if timer.notify not in (_SIGEV_SIGNAL, _SIGEV_NONE, _SIGEV_THREAD, _SIGEV_THREAD_ID):
        raise Errno(EINVAL)
    if timer.notify != _SIGEV_NONE and not 1 <= timer.signal <= NSIG:
        raise Errno(EINVAL)
    if timer.notify == _SIGEV_THREAD_ID and timer.thread not in task.process.threads:
        raise Errno(EINVAL)


def _find(task: Task, number: int) -> PosixTimer:
    timer = task.process.timers.get(number)
    if not isinstance(timer, PosixTimer):
        raise Errno(EINVAL)
    return timer


def _pack_setting(width: int, timer: IntervalTimer) -> bytes:
    return pack_timespec(width, timer.interval) + pack_timespec(width, timer.remaining())


def _timer_settime(width: int) -> Callable[[Task, int, int, int, int], int]:
    def timer_settime(task: Task, number: int, how: int, new: int, old: int) -> int:
        if not new:
            raise Errno(EINVAL)
        interval = read_timespec(task, new, width)
        value = read_timespec(task, new + 2 * width, width)
        timer = _find(task, number)
        before = _pack_setting(width, timer)
        deadline = None
        if value:
            deadline = timer.now() + value
            if how & TIMER_ABSTIME:
                deadline = timer.now() + value - clock_now(task, timer.clock_id)  # long ago: periods were missed
        timer.overrun = 0
        timer.arm(deadline, interval if value else 0)
        if old:
            task.space.copy_out(old, before)
        return 0

    return timer_settime


def _timer_gettime(width: int) -> Callable[[Task, int, int], int]:
    def timer_gettime(task: Task, number: int, value: int) -> int:
        task.space.copy_out(value, _pack_setting(width, _find(task, number)))
        return 0

    return timer_gettime


def timer_getoverrun(task: Task, number: int) -> int:
    return _find(task, number).overrun


def timer_delete(task: Task, number: int) -> int:
    _find(task, number).cancel()
    del task.process.timers[number]
    return 0


_64 = ("x86_64", "arm64", "riscv64")
_32 = ("i386", "arm")
_SET = "timer:int flags:flags:timer new:in old:out"

ROWS: tuple[Row, ...] = (
    Row("alarm", alarm, "seconds:uint", FULL),
    Row("setitimer", setitimer, "which:choice:itimer new:in old:out", FULL),
    Row("getitimer", getitimer, "which:choice:itimer value:out", FULL),
    Row("timer_create", timer_create, "clock:choice:clock event:in timer:out", FULL),
    Row("timer_settime", _timer_settime(8), _SET, FULL, isas=_64),
    Row("timer_settime", _timer_settime(4), _SET, FULL, isas=_32),
    Row("timer_settime64", _timer_settime(8), _SET, FULL),
    Row("timer_gettime", _timer_gettime(8), "timer:int value:out", FULL, isas=_64),
    Row("timer_gettime", _timer_gettime(4), "timer:int value:out", FULL, isas=_32),
    Row("timer_gettime64", _timer_gettime(8), "timer:int value:out", FULL),
    Row("timer_getoverrun", timer_getoverrun, "timer:int", FULL),
    Row("timer_delete", timer_delete, "timer:int", FULL),
)
