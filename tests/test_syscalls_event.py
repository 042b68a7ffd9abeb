"""eventfd, timerfd, memfd: files made of nothing."""

from __future__ import annotations

import struct

from sandbox.abi.errno import (
    EAGAIN,
    EBADF,
    EFAULT,
    EINVAL,
)
from sandbox.abi.flags import (
    CLOCK_MONOTONIC,
    CLOCK_REALTIME,
    F_GETFD,
    F_GETFL,
    O_CLOEXEC,
    O_NONBLOCK,
    O_RDWR,
    S_IFMT,
    S_IFREG,
    SEEK_CUR,
    SEEK_SET,
)
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD, GuestWorld

CASES = Cases()
MILLISECOND = 1_000_000
SECOND = 1_000_000_000


# -- eventfd -----------------------------------------------------------------------------------------------


@CASES("eventfd2")
def eventfd_counts(w: World) -> None:
    fd = w.call("eventfd2", 3, O_NONBLOCK | O_CLOEXEC)
    assert w.call("fcntl", fd, F_GETFD, 0) == 1
    assert w.call("fcntl", fd, F_GETFL, 0) & 0o4003 == O_NONBLOCK | O_RDWR
    buffer = bytearray(8)
    assert w.call("write", fd, struct.pack("<Q", 4), 8) == 8
    assert w.call("read", fd, buffer, 8) == 8
    assert struct.unpack("<Q", buffer)[0] == 7
    assert w.call("read", fd, buffer, 8) == -EAGAIN
    assert w.call("read", fd, buffer, 7) == -EINVAL
    assert w.call("write", fd, buffer, 7) == -EINVAL
    assert w.call("write", fd, struct.pack("<Q", (1 << 64) - 1), 8) == -EINVAL
    assert w.call("write", fd, struct.pack("<Q", (1 << 64) - 2), 8) == 8
    assert w.call("write", fd, struct.pack("<Q", 1), 8) == -EAGAIN
    assert w.call("lseek", fd, 7, SEEK_SET) == 0
    assert w.call("eventfd2", 0, 2) == -EINVAL
    semaphore = w.call("eventfd2", 2, 1)
    for _ in range(2):
        assert w.call("read", semaphore, buffer, 8) == 8
        assert struct.unpack("<Q", buffer)[0] == 1


@CASES("writev")
def eventfd_takes_each_part_of_a_vector_for_itself(w: World) -> None:
    fd = w.call("eventfd2", 0, O_NONBLOCK)
    one = w.memory(struct.pack("<Q", 1))
    halves, empty, whole = [(one, 4), (one + 4, 4)], [(one, 0), (one, 8)], [(one, 8), (one, 8), (one, 1), (one, 8)]
    assert w.call("writev", fd, w.vector(halves), 2) == -EINVAL
    assert w.call("writev", fd, w.vector(empty), 2) == -EINVAL
    assert w.call("writev", fd, w.vector(whole), 4) == 16
    assert w.call("writev", fd, w.vector([(one, 0)]), 1) == 0
    buffer = bytearray(8)
    assert w.call("read", fd, buffer, 8) == 8
    assert struct.unpack("<Q", buffer)[0] == 2


@CASES("eventfd2", host=False)
def eventfd_waits(w: GuestWorld) -> None:
    fd = w.call("eventfd2", 0, 0)
    buffer = w.memory(bytes(8))
    assert w.blocks("read", fd, buffer, 8)
    assert w.other().call("write", fd, struct.pack("<Q", 5), 8) == 8
    assert w.again() == 8
    assert w.peek(buffer, 8) == struct.pack("<Q", 5)


@CASES("eventfd")
def the_first_eventfd(w: World) -> None:
    fd = w.call("eventfd", 9)
    buffer = bytearray(8)
    assert w.call("read", fd, buffer, 8) == 8
    assert struct.unpack("<Q", buffer)[0] == 9


# -- timerfd -----------------------------------------------------------------------------------------------


def setting(width: int, interval: int, value: int) -> bytes:
    pack = struct.Struct("<qq" if width == 8 else "<ii")
    return pack.pack(*divmod(interval, SECOND)) + pack.pack(*divmod(value, SECOND))


@CASES("timerfd_create", "timerfd_settime", "timerfd_gettime")
def timerfd_arms_and_refuses(w: World) -> None:
    fd = w.call("timerfd_create", CLOCK_MONOTONIC, O_NONBLOCK | O_CLOEXEC)
    size = 4 * w.word
    new, old = setting(w.word, 7 * SECOND, 500 * SECOND), bytearray(b"\xee" * size)
    assert w.call("timerfd_settime", fd, 0, new, old) == 0
    assert old == bytes(size)
    assert w.call("timerfd_gettime", fd, old) == 0
    interval, _, value, _ = struct.unpack("<qqqq" if w.word == 8 else "<iiii", old)
    assert interval == 7
    assert value in (499, 500)
    assert w.call("read", fd, bytearray(8), 8) == -EAGAIN
    assert w.call("timerfd_settime", fd, 0, setting(w.word, 0, 0), None) == 0
    assert w.call("timerfd_gettime", fd, old) == 0
    assert old == bytes(size)
    assert w.call("timerfd_create", 99, 0) == -EINVAL
    assert w.call("timerfd_create", CLOCK_MONOTONIC, 1) == -EINVAL
    assert w.call("timerfd_settime", fd, 4, new, None) == -EINVAL
    assert w.call("timerfd_settime", fd, 0, w.words(0, 0, 0, SECOND), None) == -EINVAL
    assert w.call("timerfd_settime", fd, 0, w.words(0, 0, -1, 0), None) == -EINVAL
    assert w.call("timerfd_settime", fd, 0, BAD, None) == -EFAULT
    assert w.call("timerfd_settime", 77, 0, new, None) == -EBADF
    assert w.call("timerfd_settime", w.pipe()[0], 0, new, None) == -EINVAL
    assert w.call("timerfd_gettime", w.pipe()[0], old) == -EINVAL
    assert w.call("timerfd_gettime", fd, BAD) == -EFAULT


@CASES("timerfd_create", "timerfd_settime", host=False)
def timerfd_expires(w: GuestWorld) -> None:
    fd = w.call("timerfd_create", CLOCK_MONOTONIC, 0)
    assert w.call("timerfd_settime", fd, 0, setting(w.word, 10 * MILLISECOND, 50 * MILLISECOND), None) == 0
    buffer = w.memory(bytes(8))
    assert w.blocks("read", fd, buffer, 8)
    w.advance(75 * MILLISECOND)
    assert w.again() == 8
    assert w.peek(buffer, 8) == struct.pack("<Q", 3)
    assert w.blocks("read", fd, buffer, 8)
    w.advance(5 * MILLISECOND)
    assert w.again() == 8
    now = w.machine.clock.realtime()
    real = w.call("timerfd_create", CLOCK_REALTIME, O_NONBLOCK)
    assert w.call("timerfd_settime", real, 1, setting(w.word, 0, now + SECOND), None) == 0
    assert w.call("read", real, buffer, 8) == -EAGAIN
    w.advance(SECOND)
    assert w.call("read", real, buffer, 8) == 8
    assert w.peek(buffer, 8) == struct.pack("<Q", 1)
    assert w.call("read", real, buffer, 8) == -EAGAIN


@CASES("timerfd_settime64", "timerfd_gettime64")
def timerfd_with_64_bit_times(w: World) -> None:
    fd = w.call("timerfd_create", CLOCK_MONOTONIC, 0)
    assert w.call("timerfd_settime64", fd, 0, setting(8, SECOND, 3 << 32), None) == 0
    current = bytearray(32)
    assert w.call("timerfd_gettime64", fd, current) == 0
    assert current == setting(8, SECOND, 3 << 32)
    assert w.call("timerfd_settime64", 77, 0, current, None) == -EBADF
    assert w.call("timerfd_gettime64", 77, current) == -EBADF


@CASES("timerfd_create", host=False)
def a_closed_timer_leaves_the_queue(w: GuestWorld) -> None:
    fd = w.call("timerfd_create", CLOCK_MONOTONIC, 0)
    assert w.call("timerfd_settime", fd, 0, setting(w.word, SECOND, SECOND), None) == 0
    assert w.machine.timers.next() is not None
    assert w.call("close", fd) == 0
    assert w.machine.timers.next() is None


# -- memfd -------------------------------------------------------------------------------------------------


@CASES("memfd_create")
def memfd_is_a_file(w: World) -> None:
    fd = w.call("memfd_create", b"name", 1)
    assert w.call("fcntl", fd, F_GETFD, 0) == 1
    assert w.call("write", fd, b"abc", 3) == 3
    assert w.call("ftruncate", fd, 5) == 0
    assert w.call("lseek", fd, 0, SEEK_CUR) == 3
    found = w.fstat(fd)
    assert (found["mode"] & S_IFMT, found["size"], found["nlink"]) == (S_IFREG, 5, 0)
    buffer = bytearray(5)
    assert w.call("pread64", fd, buffer, 5, 0) == 5
    assert buffer == b"abc\0\0"
    assert w.call("memfd_create", b"name", 0x100) == -EINVAL
    assert w.call("memfd_create", b"n" * 250, 0) == -EINVAL
    assert w.call("memfd_create", b"n" * 249, 0) == fd + 1
    assert w.call("memfd_create", BAD, 0) == -EFAULT


@CASES("memfd_create", host=False)
def memfd_is_charged_and_given_back(w: GuestWorld) -> None:
    before = w.machine.account.used
    fd = w.call("memfd_create", b"name", 0)
    assert fd == 3
    assert w.call("write", fd, w.memory(bytes(1 << 20)), 1 << 20) == 1 << 20
    assert w.machine.account.used >= before + 256
    held = w.machine.account.used
    assert w.call("close", fd) == 0
    assert w.machine.account.used <= held - 256


test_guest, test_host, test_proof = CASES.tests()
