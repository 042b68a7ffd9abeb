"""Clocks and sleeping. All time comes from the machine's clock; a machine's clock cannot be set by its guest.

On 32-bit ISAs the plain names use 32-bit seconds and the `*64` names 64-bit ones; a handler is made for each width.
Source: clock_gettime(2), clock_nanosleep(2), gettimeofday(2), times(2), adjtimex(2).
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING

from sandbox.abi import flags
from sandbox.abi.errno import EINVAL, EOPNOTSUPP, EPERM, Errno
from sandbox.abi.flags import TIMER_ABSTIME
from sandbox.abi.structs import NANOSECONDS, PAIR, pack_timespec, pack_timeval
from sandbox.kernel.constant_calls import asked
from sandbox.kernel.row import FULL, PARTIAL, STUB, Row
from sandbox.kernel.signals import is_deliverable
from sandbox.wait import Block

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

FOREVER = (1 << 62) - 1
TICK = NANOSECONDS // 100
_REALTIME = frozenset((flags.CLOCK_REALTIME, flags.CLOCK_REALTIME_COARSE, flags.CLOCK_REALTIME_ALARM, flags.CLOCK_TAI))
_MONOTONIC = frozenset(
    (flags.CLOCK_MONOTONIC, flags.CLOCK_MONOTONIC_RAW, flags.CLOCK_MONOTONIC_COARSE, flags.CLOCK_BOOTTIME,
     flags.CLOCK_BOOTTIME_ALARM)
)  # fmt: skip
_COARSE = frozenset((flags.CLOCK_REALTIME_COARSE, flags.CLOCK_MONOTONIC_COARSE))
_SLEEPABLE = (_REALTIME | _MONOTONIC) - _COARSE - {flags.CLOCK_MONOTONIC_RAW}
COARSE_RESOLUTION = 4_000_000


def read_timespec(task: Task, address: int, width: int) -> int:
    """Nanoseconds. Raises Errno: EFAULT, EINVAL when it is no time."""
    seconds, nanoseconds = PAIR[width].unpack(task.space.copy_in(address, 2 * width))
    if width == 8 and task.word == 4:
        nanoseconds = (nanoseconds & 0xFFFFFFFF ^ 0x80000000) - 0x80000000  # the upper half is padding
    if seconds < 0 or not 0 <= nanoseconds < NANOSECONDS:
        raise Errno(EINVAL)
    return int(min(seconds * NANOSECONDS + nanoseconds, FOREVER))


def clock_now(task: Task, clock: int) -> int:
    """Nanoseconds on the guest's clock `clock`. Raises Errno(EINVAL) when there is none of that number."""
    kernel = task.kernel
    if clock in _MONOTONIC:
        return kernel.clock.monotonic()
    if clock in _REALTIME:
        return kernel.clock.realtime()
    if clock == flags.CLOCK_PROCESS_CPUTIME_ID:
        return task.process.cpu_time()
    if clock == flags.CLOCK_THREAD_CPUTIME_ID:
        return kernel.cpu_time(task)
    if clock < 0:
        return _dynamic_clock(task, clock)
    raise Errno(EINVAL)


def _dynamic_clock(task: Task, clock: int) -> int:
    """The CPU clock of another process or thread (clock_getcpuclockid(3)): ~pid << 3, bit 2 for a thread."""
    number = ~(clock >> 3)
    if clock & 3 == 3 or clock & 3 > 2:
        raise Errno(EINVAL)
    if clock & 4:
        thread = task if number == 0 else task.kernel.tasks.get(number)
        if thread is None or thread.process is not task.process:
            raise Errno(EINVAL)
        return task.kernel.cpu_time(thread)
    process = task.process if number == 0 else task.kernel.processes.get(number)
    if process is None:
        raise Errno(EINVAL)
    return process.cpu_time()


def _clock_gettime(width: int) -> Callable[[Task, int, int], int]:
    def clock_gettime(task: Task, clock: int, time: int) -> int:
        asked(task)
        task.space.copy_out(time, pack_timespec(width, clock_now(task, clock)))
        return 0

    return clock_gettime


def _clock_getres(width: int) -> Callable[[Task, int, int], int]:
    def clock_getres(task: Task, clock: int, resolution: int) -> int:
        clock_now(task, clock)
        if resolution:
            task.space.copy_out(resolution, pack_timespec(width, COARSE_RESOLUTION if clock in _COARSE else 1))
        return 0

    return clock_getres


def clock_settime(task: Task, clock: int, time: int) -> int:
    if clock != flags.CLOCK_REALTIME:
        clock_now(task, clock)
        raise Errno(EINVAL)
    read_timespec(task, time, 8)
    raise Errno(EPERM)


def clock_settime32(task: Task, clock: int, time: int) -> int:
    if clock == flags.CLOCK_REALTIME:
        read_timespec(task, time, 4)
        raise Errno(EPERM)
    clock_now(task, clock)
    raise Errno(EINVAL)


def gettimeofday(task: Task, time: int, zone: int) -> int:
    asked(task)
    if time:
        task.space.copy_out(time, pack_timeval(task.word, task.kernel.clock.realtime()))
    if zone:
        task.space.copy_out(zone, bytes(8))
    return 0


def settimeofday(task: Task, time: int, zone: int) -> int:
    if time:
        task.space.copy_in(time, 2 * task.word)
    if zone:
        task.space.copy_in(zone, 8)
    raise Errno(EPERM)


def time(task: Task, address: int) -> int:
    seconds = task.kernel.clock.realtime() // NANOSECONDS
    if address:
        task.space.copy_out(address, (seconds & ((1 << 8 * task.word) - 1)).to_bytes(task.word, "little"))
    return seconds


def stime(task: Task, address: int) -> int:
    task.space.copy_in(address, 4)
    raise Errno(EPERM)


def sleep_until(task: Task, deadline: int, remaining: int, width: int) -> int:
    """Sleep until `deadline` on the monotonic clock. Whenever a signal may end the sleep, what is left of it is
    stored at `remaining` (0: nowhere)."""
    now = task.kernel.clock.monotonic()
    if now >= deadline:
        return 0
    if remaining and task.attention and is_deliverable(task):
        task.space.copy_out(remaining, pack_timespec(width, deadline - now))
    raise Block(deadline=deadline, restart=False)


def _nanosleep(width: int) -> Callable[[Task, int, int], int]:
    def nanosleep(task: Task, request: int, remaining: int) -> int:
        deadline = task.restart.get("deadline")
        if deadline is None:
            deadline = task.kernel.clock.monotonic() + read_timespec(task, request, width)
            task.restart["deadline"] = deadline
        return sleep_until(task, deadline, remaining, width)

    return nanosleep


def _clock_nanosleep(width: int) -> Callable[[Task, int, int, int, int], int]:
    def clock_nanosleep(task: Task, clock: int, how: int, request: int, remaining: int) -> int:
        deadline = task.restart.get("deadline")
        if deadline is None:
            now = clock_now(task, clock)
            if clock not in _SLEEPABLE:
                raise Errno(EOPNOTSUPP)
            wanted = read_timespec(task, request, width)
            deadline = task.kernel.clock.monotonic() + (max(0, wanted - now) if how & TIMER_ABSTIME else wanted)
            task.restart["deadline"] = deadline
        return sleep_until(task, deadline, 0 if how & TIMER_ABSTIME else remaining, width)

    return clock_nanosleep


def times(task: Task, buffer: int) -> int:
    process = task.process
    if buffer:
        own = process.cpu_time()
        children = process.children_usage
        mask = (1 << 8 * task.word) - 1
        values = (own // TICK, 0, children.user // TICK, children.system // TICK)
        task.space.copy_out(buffer, b"".join((value & mask).to_bytes(task.word, "little") for value in values))
    # Never in the range of error numbers: ticks since boot, as an unsigned word that starts low.
    return task.kernel.clock.monotonic() // TICK & ((1 << 8 * task.word - 1) - 1)


# struct timex: modes offset freq maxerror esterror status constant precision tolerance time tick ppsfreq ...
_TIMEX = {8: Struct("<I4xqqqqi4xqqqqqq"), 4: Struct("<Iiiiiiiiiiii")}
_TIMEX_SIZE = {8: 208, 4: 128}
_STA_UNSYNC, _TIME_ERROR = 0x40, 5


def _adjust(task: Task, buffer: int, width: int) -> int:
    """The clock is the host's: it can be looked at, not steered."""
    modes = int.from_bytes(task.space.copy_in(buffer, 4), "little")
    if modes and modes != 0x8001 and modes != 0xA001:
        raise Errno(EPERM)
    seconds, rest = divmod(task.kernel.clock.realtime(), NANOSECONDS)
    if width == 4:
        seconds = (seconds + (1 << 31)) % (1 << 32) - (1 << 31)
    data = _TIMEX[width].pack(
        modes, 0, 0, 16_000_000, 16_000_000, _STA_UNSYNC, 2, 1, 32_768_000, seconds, rest // 1000, 10_000
    )
    task.space.copy_out(buffer, data.ljust(_TIMEX_SIZE[width], b"\0"))
    return _TIME_ERROR


def adjtimex(task: Task, buffer: int) -> int:
    return _adjust(task, buffer, task.word)


def clock_adjtime(task: Task, clock: int, buffer: int) -> int:
    if clock != flags.CLOCK_REALTIME:
        clock_now(task, clock)
        raise Errno(EOPNOTSUPP)
    return _adjust(task, buffer, task.word)


def clock_adjtime64(task: Task, clock: int, buffer: int) -> int:
    if clock != flags.CLOCK_REALTIME:
        clock_now(task, clock)
        raise Errno(EOPNOTSUPP)
    return _adjust(task, buffer, 8)


_64 = ("x86_64", "arm64", "riscv64")
_32 = ("i386", "arm")
_FIXED = "the clock cannot be set: EPERM"
_SLEEP = "clock:choice:clock flags:flags:timer request:in remaining:out"

ROWS: tuple[Row, ...] = (
    Row("clock_gettime", _clock_gettime(8), "clock:choice:clock time:out", FULL, isas=_64),
    Row("clock_gettime", _clock_gettime(4), "clock:choice:clock time:out", FULL, isas=_32),
    Row("clock_gettime64", _clock_gettime(8), "clock:choice:clock time:out", FULL),
    Row("clock_getres", _clock_getres(8), "clock:choice:clock resolution:out", FULL, isas=_64),
    Row("clock_getres", _clock_getres(4), "clock:choice:clock resolution:out", FULL, isas=_32),
    Row("clock_getres_time64", _clock_getres(8), "clock:choice:clock resolution:out", FULL),
    Row("clock_settime", clock_settime, "clock:choice:clock time:in", STUB, _FIXED, isas=_64),
    Row("clock_settime", clock_settime32, "clock:choice:clock time:in", STUB, _FIXED, isas=_32),
    Row("clock_settime64", clock_settime, "clock:choice:clock time:in", STUB, _FIXED),
    Row("gettimeofday", gettimeofday, "time:out zone:out", FULL),
    Row("settimeofday", settimeofday, "time:in zone:in", STUB, _FIXED),
    Row("time", time, "time:out", FULL),
    Row("stime", stime, "time:in", STUB, _FIXED),
    Row("nanosleep", _nanosleep(8), "request:in remaining:out", FULL, isas=_64),
    Row("nanosleep", _nanosleep(4), "request:in remaining:out", FULL, isas=_32),
    Row("clock_nanosleep", _clock_nanosleep(8), _SLEEP, PARTIAL, "not on CPU-time clocks", isas=_64),
    Row("clock_nanosleep", _clock_nanosleep(4), _SLEEP, PARTIAL, "not on CPU-time clocks", isas=_32),
    Row("clock_nanosleep_time64", _clock_nanosleep(8), _SLEEP, PARTIAL, "not on CPU-time clocks"),
    Row("times", times, "buffer:out", PARTIAL, "all CPU time is user time"),
    Row("adjtimex", adjtimex, "buffer:inout", PARTIAL, _FIXED),
    Row("clock_adjtime", clock_adjtime, "clock:choice:clock buffer:inout", PARTIAL, _FIXED),
    Row("clock_adjtime64", clock_adjtime64, "clock:choice:clock buffer:inout", PARTIAL, _FIXED),
)
