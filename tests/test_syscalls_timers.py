"""Timers that send signals."""

from __future__ import annotations

import struct

from sandbox.abi import flags as F
from sandbox.abi.errno import EFAULT, EINVAL
from sandbox.abi.signals import SIGALRM, SIGPROF, SIGUSR1, SIGVTALRM, SIGXCPU, bit
from sandbox.abi.structs import PAIR
from sandbox.kernel.interval import check_cpu_time
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD, GuestWorld

CASES = Cases()
SECOND = 1_000_000_000


def pass_time(w: GuestWorld, nanoseconds: int) -> None:
    w.machine.clock.advance(nanoseconds)  # type: ignore[attr-defined]
    w.machine.timers.expire(w.machine.clock.monotonic())


def setting(width: int, interval: int, value: int, unit: int = 1000) -> bytes:
    """A struct itimerval or itimerspec; times in nanoseconds, `unit` is that of the smaller field."""
    return b"".join(PAIR[width].pack(time // SECOND, time % SECOND // unit) for time in (interval, value))


@CASES("setitimer", "getitimer")
def what_is_set_is_told(w: World) -> None:
    old = bytearray(b"\xff" * 4 * w.word)
    assert w.call("setitimer", F.ITIMER_REAL, setting(w.word, 3 * SECOND, 100 * SECOND), old) == 0
    assert old == bytes(4 * w.word)
    assert w.call("getitimer", F.ITIMER_REAL, old) == 0
    assert PAIR[w.word].unpack_from(old) == (3, 0)
    assert 98 <= PAIR[w.word].unpack_from(old, 2 * w.word)[0] <= 100
    assert w.call("setitimer", F.ITIMER_REAL, setting(w.word, 0, 0), old) == 0
    assert w.call("getitimer", F.ITIMER_REAL, old) == 0
    assert old == bytes(4 * w.word)
    assert w.call("setitimer", 5, setting(w.word, 0, 0), None) == -EINVAL
    assert w.call("getitimer", 5, old) == -EINVAL
    assert w.call("setitimer", F.ITIMER_REAL, b"".join(PAIR[w.word].pack(0, 1_000_000) for _ in "ab"), None) == -EINVAL
    assert w.call("setitimer", F.ITIMER_REAL, BAD, None) == -EFAULT
    assert w.call("getitimer", F.ITIMER_REAL, BAD) == -EFAULT


@CASES("setitimer", host=False)
def an_interval_timer_fires_again_and_again(w: GuestWorld) -> None:
    w.task.signals.mask = bit(SIGALRM)
    assert w.call("setitimer", F.ITIMER_REAL, setting(w.word, 2 * SECOND, SECOND), None) == 0
    for wait in (SECOND, 2 * SECOND, 2 * SECOND):
        pass_time(w, wait - 1)
        assert w.pending_signals == 0
        pass_time(w, 1)
        assert w.pending_signals == bit(SIGALRM)
        w.task.process.discard_pending(bit(SIGALRM))


@CASES("setitimer", host=False)
def two_timers_count_cpu_time(w: GuestWorld) -> None:
    w.task.signals.mask = bit(SIGVTALRM) | bit(SIGPROF)
    assert w.call("setitimer", F.ITIMER_VIRTUAL, setting(w.word, 0, SECOND), None) == 0
    assert w.call("setitimer", F.ITIMER_PROF, setting(w.word, 0, 2 * SECOND), None) == 0
    pass_time(w, 5 * SECOND)
    check_cpu_time(w.task)
    assert w.pending_signals == 0
    w.task.usage.user += SECOND
    check_cpu_time(w.task)
    assert w.pending_signals == bit(SIGVTALRM)
    w.task.usage.user += SECOND
    check_cpu_time(w.task)
    assert w.pending_signals == bit(SIGVTALRM) | bit(SIGPROF)


@CASES("alarm")
def alarms_replace_each_other(w: World) -> None:
    assert w.call("alarm", 100) == 0
    assert w.call("alarm", 50) == 100
    assert w.call("alarm", 0) == 50
    assert w.call("alarm", 0) == 0


@CASES("alarm", host=False)
def an_alarm_rings(w: GuestWorld) -> None:
    w.task.signals.mask = bit(SIGALRM)
    w.call("alarm", 2)
    pass_time(w, 2 * SECOND)
    assert w.pending_signals == bit(SIGALRM)
    assert w.call("alarm", 0) == 0


def event(w: World, signal: int, value: int, notify: int = 0) -> bytes:
    return struct.pack("<Qiii" if w.word == 8 else "<Iiii", value, signal, notify, 0).ljust(64, b"\0")


def posix_cases(w: GuestWorld, settime: str, gettime: str, width: int) -> None:
    number = SIGUSR1
    w.task.signals.mask = bit(number)
    identity = bytearray(4)
    assert w.call("timer_create", F.CLOCK_MONOTONIC, event(w, number, 77), identity) == 0
    timer = int.from_bytes(identity, "little")
    assert w.call(settime, timer, 0, setting(width, SECOND, SECOND, 1), None) == 0
    found = bytearray(4 * width)
    pass_time(w, SECOND // 4)
    assert w.call(gettime, timer, found) == 0
    assert bytes(found) == setting(width, SECOND, SECOND * 3 // 4, 1)
    pass_time(w, SECOND)
    assert w.pending_signals == bit(number)
    pass_time(w, 3 * SECOND)
    assert w.call("timer_getoverrun", timer) == 0, "nothing has been taken yet"
    queued = w.task.process.pending.queue[0]
    assert (queued.value, queued.timer, queued.overrun) == (77, timer, 3)
    assert w.call("rt_sigtimedwait", bit(number).to_bytes(8, "little"), None, None, 8) == number
    assert w.call("timer_getoverrun", timer) == 3
    pass_time(w, 2 * SECOND)
    assert w.pending_signals == bit(number)
    assert w.call("timer_getoverrun", timer) == 3, "what is pending has not been taken"
    old = bytearray(4 * width)
    assert w.call(settime, timer, 0, setting(width, 0, 0), old) == 0
    assert any(old)
    w.task.process.discard_pending(bit(number))
    pass_time(w, 5 * SECOND)
    assert w.pending_signals == 0
    now = w.machine.clock.monotonic()
    assert w.call(settime, timer, F.TIMER_ABSTIME, setting(width, 0, now + SECOND, 1), None) == 0
    pass_time(w, SECOND)
    assert w.pending_signals == bit(number)
    w.task.process.discard_pending(bit(number))
    w.machine.clock.advance(20 * SECOND)  # type: ignore[attr-defined]
    now = w.machine.clock.monotonic()
    assert w.call(settime, timer, F.TIMER_ABSTIME, setting(width, SECOND, now - 5 * SECOND, 1), None) == 0
    pass_time(w, 0)
    assert w.task.process.pending.queue[0].overrun == 5, "periods that were over before it was set"
    w.task.process.discard_pending(bit(number))
    assert w.call(settime, timer, F.TIMER_ABSTIME, setting(width, 1, now - 5 * SECOND, 1), None) == 0
    pass_time(w, 0)
    assert w.task.process.pending.queue[0].overrun == 2**31 - 1
    assert w.call(settime, 99, 0, setting(width, 0, 0), None) == -EINVAL
    assert w.call(settime, timer, 0, None, None) == -EINVAL
    assert w.call(gettime, 99, found) == -EINVAL
    assert w.call(gettime, timer, BAD) == -EFAULT
    assert w.call("timer_getoverrun", 99) == -EINVAL
    assert w.call("timer_delete", timer) == 0
    assert w.call("timer_delete", timer) == -EINVAL


@CASES("timer_create", "timer_settime", "timer_gettime", "timer_getoverrun", "timer_delete", host=False)
def posix_timers(w: GuestWorld) -> None:
    posix_cases(w, "timer_settime", "timer_gettime", w.word)


@CASES("timer_settime64", "timer_gettime64", host=False)
def posix_timers_with_wide_times(w: GuestWorld) -> None:
    posix_cases(w, "timer_settime64", "timer_gettime64", 8)


@CASES("timer_create")
def what_timer_create_refuses(w: World) -> None:
    identity = bytearray(4)
    assert w.call("timer_create", 77, None, identity) == -EINVAL
    assert w.call("timer_create", F.CLOCK_MONOTONIC, event(w, 65, 0), identity) == -EINVAL
    assert w.call("timer_create", F.CLOCK_MONOTONIC, event(w, SIGUSR1, 0, 9), identity) == -EINVAL
    assert w.call("timer_create", F.CLOCK_MONOTONIC, BAD, identity) == -EFAULT
    assert w.call("timer_create", F.CLOCK_MONOTONIC, None, BAD) == -EFAULT
    assert w.call("timer_create", F.CLOCK_PROCESS_CPUTIME_ID, None, identity) == 0


@CASES("prlimit64", host=False)
def cpu_time_has_a_limit(w: GuestWorld) -> None:
    w.task.signals.mask = bit(SIGXCPU)
    assert w.call("prlimit64", 0, F.RLIMIT_CPU, struct.pack("<QQ", 1, 3), None) == 0
    check_cpu_time(w.task)
    assert w.pending_signals == 0
    w.task.usage.user += SECOND
    check_cpu_time(w.task)
    assert w.pending_signals == bit(SIGXCPU)
    w.task.usage.user += 2 * SECOND
    check_cpu_time(w.task)
    assert w.machine.exit_status == 137


test_guest, test_host, test_proof = CASES.tests()
