"""Bad pointers and wild sizes for every system call that is served, generated from the argument kinds of its row.

Each call is made with arguments that are as valid as possible, and then with one of them bad: NULL, not mapped, the
kernel's, read-only, the last byte before a hole; or, for numbers, 0, 2^31, 2^32-1, 2^63 and the like. Where the valid
call succeeds, a bad pointer gives EFAULT (`UNTOUCHED` names those that the call does not look at); everywhere, the
result is a number that Linux could give, nothing raises but Errno, nothing allocates on a guest's word.
"""

from __future__ import annotations

import errno
import resource
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from sandbox.abi.errno import EFAULT, NAMES
from sandbox.abi.numbers import NUMBERS
from sandbox.abi.structs import BITS
from sandbox.kernel.calling import places
from sandbox.kernel.dispatch import dispatch
from sandbox.kernel.row import STUB, WIDE, Row
from sandbox.kernel.table import Entry, entries
from tests import campaign
from tests.syscall_worlds import SCRATCH, GuestWorld, Value, guest, open_flags_of
from tests.test_syscalls_file import harmless, prepare, stage

POINTERS = frozenset("in out inout path string path? string?".split())
WRITTEN = frozenset(("out", "inout"))
NUMBERS_TOO = frozenset(
    "int uint long ulong size offset loff address pid mode uid gid dev uid16 gid16 signal fd".split()
)
PAGE = 4096
READ_ONLY, LAST_PAGE, HOLE = 0x6000_0000, 0x6100_0000, 0x6200_0000
MOST_GROWTH = 24 << 20  # bytes of the host's memory during the calls of one row
# (call, argument) that the valid call does not look at, or not in full.
UNTOUCHED = {
    **{(name, "events"): "nothing is ready" for name in ("epoll_wait", "epoll_pwait", "epoll_pwait2")},
    **{(name, "remaining"): "nothing interrupts" for name in (
        "nanosleep", "clock_nanosleep", "clock_nanosleep_time64")},
    ("splice", "target_offset"): "belongs to a pipe: ESPIPE",
}  # fmt: skip
# Linux does not mind a timeout that cannot be written back (poll_select_finish in fs/select.c).
SHORT = frozenset("read write pread64 pwrite64 readlink readlinkat".split())
READ_ONLY_TIMEOUTS = frozenset("select _newselect pselect6 pselect6_time64 ppoll ppoll_time64".split())


def bad_pointers(isa: str) -> dict[str, int]:
    top = 1 << BITS[isa]
    kernel = 0xFFFF_8000_0000_0000 if BITS[isa] == 64 else 0xFFFF_E000
    return {
        "the first page": 0x10,
        "not mapped": HOLE + 0x123,
        "the kernel's": kernel,
        "beyond everything": top - 8,
        "the last byte before a hole": LAST_PAGE + PAGE - 1,
    }


def wild_numbers(isa: str) -> tuple[int, ...]:
    wild = (0, 1 << 31, (1 << 31) - 1, (1 << 32) - 1, 1 << 16, (1 << 16) + 1)
    return wild if BITS[isa] == 32 else (*wild, 1 << 32, 1 << 63, (1 << 63) - 1, (1 << 64) - 1, (1 << 47) - PAGE)


class Stage:
    """A world with its files, renewed when a call has changed the task."""

    def __init__(self, isa: str, row: Row, entry: Entry) -> None:
        self.isa, self.row, self.entry = isa, row, entry
        self.kinds = row.parsed()
        self.stack = ExitStack()
        self.world: GuestWorld | None = None

    def close(self) -> None:
        self.stack.close()
        self.world = None

    def valid(self) -> list[Value]:
        w = self._fresh()
        arguments: list[Value] = [harmless(w, self.row, kind.kind, kind.name) for kind in self.kinds]
        prepare(w, self.row, arguments)
        improve(w, self.row, arguments)
        return arguments

    def _fresh(self) -> GuestWorld:
        self.close()
        w = self.world = self.stack.enter_context(guest(self.isa))
        space = w.task.space
        space.map(READ_ONLY, PAGE, 1, fixed=True)
        space.map(LAST_PAGE, PAGE, 3, fixed=True)
        space.copy_out(LAST_PAGE, b"x" * PAGE)
        stage(w)
        return w

    def call(self, arguments: list[Value]) -> int | None:
        """Through the kernel's own boundary; None when the call sleeps or the task is gone."""
        w = self.world
        assert w is not None
        registers = [0] * 6
        mask = (1 << BITS[self.isa]) - 1
        for kind, value, register in zip(self.kinds, arguments, places(self.isa, self.kinds), strict=True):
            if isinstance(value, bytes | bytearray):
                value = w.memory(bytes(value) + b"\0")
            number = value or 0
            if kind.kind == "flags" and kind.words == "open":
                number = open_flags_of(self.isa, number)
            registers[register] = number & mask
            if kind.kind in WIDE and BITS[self.isa] == 32:
                registers[register + 1] = number >> 32 & mask
        result = dispatch(w.task, self.entry.number, tuple(registers))
        assert w.machine.stats.bugs == 0, (self.row.name, arguments)
        assert w.machine.account.used <= w.machine.account.limit
        if result is None:
            return None
        assert result >= -4095 or BITS[self.isa] == 64, result
        assert result >= 0 or -result in errno.errorcode or -result >= 512, result
        return result


def improve(w: GuestWorld, row: Row, arguments: list[Value]) -> None:
    """What calls outside the file families need, so that the valid call succeeds."""
    name = row.name
    kinds = row.parsed()
    for index, kind in enumerate(kinds):
        if kind.kind == "pid" and name not in ("setpgid", "kill", "tkill"):
            arguments[index] = 0
        if kind.name == "mask_size" or (kind.name == "size" and name.startswith("rt_sig")):
            arguments[index] = 8
        if kind.name == "clock":
            arguments[index] = 1
    if name in ("sethostname", "setdomainname"):
        arguments[1] = 4
    elif name in ("rt_sigaction", "sigaction"):
        arguments[0] = 10
    elif name in ("timer_settime", "timer_gettime", "timer_settime64", "timer_gettime64", "timer_delete"):
        assert w.call("timer_create", 1, None, bytearray(4)) == 0
    elif name == "mincore":
        arguments[:2] = [SCRATCH, 2 * PAGE]
    elif name in ("chdir", "chroot"):
        arguments[0] = b"."
    elif name == "rmdir":
        w.call("mkdirat", -100, b"empty", 0o755)
        arguments[0] = b"empty"
    elif name == "sched_setaffinity":
        arguments[2] = w.memory(bytes([1]) + bytes(63))
    elif name == "timer_create":
        arguments[1] = w.memory(bytes(w.word) + struct.pack("<ii", 10, 0) + bytes(64))
    elif name == "sigaltstack":
        arguments[0] = w.memory(w.words(SCRATCH, 0, 1 << 16))
    elif name == "rt_sigqueueinfo":
        arguments[0] = 1
    elif name == "rt_tgsigqueueinfo":
        arguments[:3] = [1, 1, 0]
    elif name in ("rt_sigtimedwait", "rt_sigtimedwait_time64"):
        assert w.call("rt_sigprocmask", 0, w.memory(struct.pack("<Q", 1 << 9)), None, 8) == 0
        assert w.call("tgkill", 1, 1, 10) == 0
        arguments[0] = w.memory(struct.pack("<Q", 1 << 9))
    elif name in ("getgroups", "getgroups32"):
        w.task.credentials.groups = (1, 2, 3)
    elif name in ("setgroups", "setgroups32"):
        arguments[0] = 3
    elif name in ("sched_getattr",):
        arguments[2] = 48
    elif name == "prlimit64":
        arguments[1] = 7
    elif name in ("capget", "capset"):
        arguments[0] = w.memory(struct.pack("<Ii", 0x20080522, 0))


CALLS = [(isa, entry) for isa in NUMBERS for _, entry in sorted(entries(isa).items())]
WITH_POINTERS = [(isa, e) for isa, e in CALLS if any(a.kind in POINTERS for a in e.row.parsed())]
WITH_NUMBERS = [(isa, e) for isa, e in CALLS if any(a.kind in NUMBERS_TOO for a in e.row.parsed())]


def cases(calls: list[tuple[str, Entry]]) -> list[Any]:
    """A call that two ISAs have alike, with its arguments in the same places, is tried for one of them, and for all
    at length."""
    tried: dict[object, Any] = {}
    for isa, entry in calls:
        alike = (BITS[isa], entry.row, tuple(places(isa, entry.row.parsed())))
        tried.setdefault((isa, alike) if campaign.AT_LENGTH else alike, (isa, entry))
    return [pytest.param(isa, entry, id=f"{isa}-{entry.row.name}") for isa, entry in tried.values()]


@pytest.fixture(autouse=True)
def modest() -> Iterator[None]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert grown < MOST_GROWTH, f"{grown >> 20} MiB"


@pytest.mark.parametrize(("isa", "entry"), cases(WITH_POINTERS))
def test_bad_pointers(isa: str, entry: Entry) -> None:
    row = entry.row
    on = Stage(isa, row, entry)
    try:
        good = on.call(on.valid())
        for index, kind in enumerate(row.parsed()):
            if kind.kind not in POINTERS:
                continue
            arguments = on.valid()
            arguments[index] = 0
            on.call(arguments)  # NULL may mean something
            bad = bad_pointers(isa)
            if kind.kind in WRITTEN:
                bad["read-only"] = READ_ONLY
            for what, pointer in bad.items():
                arguments = on.valid()
                arguments[index] = pointer
                result = on.call(arguments)
                if good is None or good < 0 or row.level is STUB or (row.name, kind.name) in UNTOUCHED:
                    continue
                if what == "read-only" and kind.name == "timeout" and row.name in READ_ONLY_TIMEOUTS:
                    assert result == good
                elif pointer == LAST_PAGE + PAGE - 1 and result == 1:
                    assert row.name in SHORT, "only a transfer may be cut short"
                else:
                    assert result == -EFAULT, (kind.name, what, name_of(result), good)
        arguments = on.valid()
        for index, kind in enumerate(row.parsed()):
            if kind.kind in POINTERS:
                arguments[index] = HOLE
        on.call(arguments)
    finally:
        on.close()


def name_of(result: int | None) -> str:
    return "nothing" if result is None else NAMES.get(-result, str(result))


@pytest.mark.parametrize(("isa", "entry"), cases(WITH_NUMBERS))
def test_wild_numbers(isa: str, entry: Entry) -> None:
    on = Stage(isa, entry.row, entry)
    try:
        for index, kind in enumerate(entry.row.parsed()):
            if kind.kind not in NUMBERS_TOO:
                continue
            for number in wild_numbers(isa):
                arguments = on.valid()
                arguments[index] = number
                on.call(arguments)
        for number in wild_numbers(isa):
            arguments = on.valid()
            for index, kind in enumerate(entry.row.parsed()):
                if kind.kind in NUMBERS_TOO and kind.kind != "fd":
                    arguments[index] = number
            on.call(arguments)
    finally:
        on.close()
