"""Clocks and sleeping."""

from __future__ import annotations

import struct

from sandbox.abi import flags as F
from sandbox.abi.errno import EFAULT, EINVAL, EOPNOTSUPP, EPERM
from sandbox.abi.structs import PAIR
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD, Blocked, GuestWorld

CASES = Cases()
START = 1_000_000_000  # of the virtual clock


def time_of(data: bytes | bytearray) -> int:
    """Nanoseconds of a timespec of either width."""
    seconds, rest = PAIR[len(data) // 2].unpack(data)
    return int(seconds * 1_000_000_000 + rest)


def spec(width: int, nanoseconds: int) -> bytes:
    return PAIR[width].pack(*divmod(nanoseconds, 1_000_000_000))


@CASES("clock_gettime", "clock_getres")
def clocks(w: World) -> None:
    clock_cases(w, "clock_gettime", "clock_getres", w.word)


@CASES("clock_gettime64", "clock_getres_time64")
def wide_clocks(w: World) -> None:
    clock_cases(w, "clock_gettime64", "clock_getres_time64", 8)


def clock_cases(w: World, gettime: str, getres: str, width: int) -> None:
    known = [F.CLOCK_REALTIME, F.CLOCK_MONOTONIC, F.CLOCK_MONOTONIC_RAW, F.CLOCK_REALTIME_COARSE,
             F.CLOCK_MONOTONIC_COARSE, F.CLOCK_BOOTTIME]  # fmt: skip
    for clock in known:
        now = bytearray(2 * width)
        assert w.call(gettime, clock, now) == 0
        assert time_of(now) > 0
        resolution = bytearray(2 * width)
        assert w.call(getres, clock, resolution) == 0
        assert 1 <= time_of(resolution) <= 10_000_000
    assert w.call(getres, F.CLOCK_MONOTONIC, None) == 0
    for clock in (F.CLOCK_PROCESS_CPUTIME_ID, F.CLOCK_THREAD_CPUTIME_ID):
        assert w.call(gettime, clock, bytearray(2 * width)) == 0
    assert w.call(gettime, 77, bytearray(2 * width)) == -EINVAL
    assert w.call(getres, 77, bytearray(2 * width)) == -EINVAL
    assert w.call(gettime, F.CLOCK_REALTIME, BAD) == -EFAULT


@CASES("clock_gettime", host=False)
def clocks_are_the_machines(w: GuestWorld) -> None:
    now = bytearray(2 * w.word)
    w.call("clock_gettime", F.CLOCK_MONOTONIC, now)
    assert time_of(now) == START
    w.machine.clock.advance(1_500_000_000)  # type: ignore[attr-defined]
    w.call("clock_gettime", F.CLOCK_MONOTONIC, now)
    assert time_of(now) == START + 1_500_000_000
    w.call("clock_gettime", F.CLOCK_REALTIME, now)
    assert time_of(now) == w.machine.clock.realtime()


@CASES("gettimeofday")
def time_of_day(w: World) -> None:
    now = bytearray(2 * w.word)
    assert w.call("gettimeofday", now, None) == 0
    seconds, micros = PAIR[w.word].unpack(now)
    assert seconds > 1_600_000_000 and 0 <= micros < 1_000_000
    zone = bytearray(b"\xff" * 8)
    assert w.call("gettimeofday", None, zone) == 0
    assert zone == bytes(8)
    assert w.call("gettimeofday", BAD, None) == -EFAULT


@CASES("time")
def seconds(w: World) -> None:
    stored = bytearray(w.word)
    now = w.call("time", stored)
    assert now > 1_600_000_000
    assert int.from_bytes(stored, "little") == now
    assert w.call("time", None) >= now
    assert w.call("time", BAD) == -EFAULT


@CASES("clock_settime", "settimeofday", host=False)
def the_clock_cannot_be_set(w: World) -> None:
    assert w.call("clock_settime", F.CLOCK_REALTIME, spec(w.word, 5)) == -EPERM
    assert w.call("clock_settime", F.CLOCK_REALTIME, BAD) == -EFAULT
    assert w.call("clock_settime", F.CLOCK_MONOTONIC, spec(w.word, 5)) == -EINVAL
    assert w.call("settimeofday", spec(w.word, 5), None) == -EPERM
    assert w.call("settimeofday", BAD, None) == -EFAULT


@CASES("clock_settime64", "stime", host=False, isas=("i386",))
def nor_by_the_other_forms(w: World) -> None:
    assert w.call("clock_settime64", F.CLOCK_REALTIME, spec(8, 5)) == -EPERM
    assert w.call("stime", spec(4, 5)) == -EPERM


def sleeps(w: GuestWorld, width: int, name: str, *before: int) -> None:
    remaining = bytearray(2 * width)
    for wrong in ((0, 1_000_000_000), (0, -1), (-1, 0)):
        assert w.call(name, *before, PAIR[width].pack(*wrong), None) == -EINVAL
    assert w.call(name, *before, BAD, None) == -EFAULT
    assert w.call(name, *before, spec(width, 0), None) == 0
    assert w.blocks(name, *before, spec(width, 2_000_000_000), remaining)
    w.machine.clock.advance(1_999_999_999)  # type: ignore[attr-defined]
    try:
        w.again()
    except Blocked:
        pass
    else:
        raise AssertionError("woke too early")
    w.machine.clock.advance(1)  # type: ignore[attr-defined]
    assert w.again() == 0


@CASES("nanosleep", host=False)
def sleeping(w: GuestWorld) -> None:
    sleeps(w, w.word, "nanosleep")


@CASES("clock_nanosleep", host=False)
def sleeping_on_a_clock(w: GuestWorld) -> None:
    for clock in (F.CLOCK_REALTIME, F.CLOCK_MONOTONIC):
        sleeps(w, w.word, "clock_nanosleep", clock, 0)
    for clock in (F.CLOCK_THREAD_CPUTIME_ID, F.CLOCK_MONOTONIC_RAW, F.CLOCK_MONOTONIC_COARSE, F.CLOCK_REALTIME_COARSE):
        assert w.call("clock_nanosleep", clock, 0, spec(w.word, 5), None) == -EOPNOTSUPP
    assert w.call("clock_nanosleep", 77, 0, spec(w.word, 5), None) == -EINVAL
    assert w.call("clock_nanosleep", F.CLOCK_MONOTONIC, F.TIMER_ABSTIME, spec(w.word, 5), None) == 0
    now = w.machine.clock.monotonic()
    assert w.blocks("clock_nanosleep", F.CLOCK_MONOTONIC, F.TIMER_ABSTIME, spec(w.word, now + 7), None)
    w.machine.clock.advance(7)  # type: ignore[attr-defined]
    assert w.again() == 0


@CASES("clock_nanosleep_time64", host=False)
def sleeping_on_a_wide_clock(w: GuestWorld) -> None:
    sleeps(w, 8, "clock_nanosleep_time64", F.CLOCK_MONOTONIC, 0)


@CASES("times")
def process_times(w: World) -> None:
    buffer = bytearray(b"\xff" * 4 * w.word)
    first = w.call("times", buffer)
    assert first > 0
    assert buffer != b"\xff" * 4 * w.word
    assert w.call("times", None) >= first
    assert w.call("times", BAD) == -EFAULT


@CASES("adjtimex", "clock_adjtime")
def the_clock_can_be_looked_at(w: World) -> None:
    buffer = bytearray(208)
    assert w.call("adjtimex", buffer) in range(6)
    now = bytearray(2 * w.word)
    w.call("gettimeofday", now, None)
    offset = 72 if w.word == 8 else 36
    assert abs(PAIR[w.word].unpack_from(buffer, offset)[0] - PAIR[w.word].unpack(now)[0]) <= 1
    assert w.call("adjtimex", BAD) == -EFAULT
    assert w.call("clock_adjtime", F.CLOCK_REALTIME, bytearray(208)) in range(6)
    assert w.call("clock_adjtime", 77, bytearray(208)) == -EINVAL


@CASES("clock_adjtime64", host=False)
def the_wide_form(w: World) -> None:
    buffer = bytearray(208)
    assert w.call("clock_adjtime64", F.CLOCK_REALTIME, buffer) == 5
    assert struct.unpack_from("<q", buffer, 72)[0] > 1_600_000_000


test_guest, test_host, test_proof = CASES.tests()
