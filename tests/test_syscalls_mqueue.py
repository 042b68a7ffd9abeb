"""Message queues of POSIX."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from sandbox.abi import flags as F
from sandbox.abi.errno import (
    EACCES,
    EAGAIN,
    EBADF,
    EBUSY,
    EEXIST,
    EFAULT,
    EINVAL,
    EMFILE,
    EMSGSIZE,
    ENAMETOOLONG,
    ENOENT,
    EPERM,
    ETIMEDOUT,
)
from sandbox.abi.signals import SIGUSR1
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD, Blocked, GuestWorld

CASES = Cases()
NAME = b"sandbox-test-%d" % os.getpid()  # the host has one set of names for all
SIZE = 16


def attributes(w: World, most: int = 3, size: int = SIZE, flags: int = 0) -> bytes:
    return w.words(flags, most, size, 0, 0, 0, 0, 0)


@contextmanager
def queue(w: World, flags: int = F.O_RDWR | F.O_NONBLOCK, most: int = 3, mode: int = 0o600) -> Iterator[int]:
    fd = w.call("mq_open", NAME, F.O_CREAT | F.O_EXCL | flags, mode, attributes(w, most))
    assert fd >= 0
    try:
        yield fd
    finally:
        w.call("mq_unlink", NAME)


def receive(w: World, fd: int, size: int = SIZE) -> tuple[bytes, int] | int:
    """The message and its priority, or the error."""
    buffer, priority = bytearray(size), bytearray(4)
    result = w.call("mq_timedreceive", fd, buffer, size, priority, None)
    return result if result < 0 else (bytes(buffer[:result]), int.from_bytes(priority, "little"))


@CASES("mq_open", "mq_unlink")
def a_queue_by_name(w: World) -> None:
    assert w.call("mq_open", NAME, F.O_RDWR, 0, None) == -ENOENT
    with queue(w) as fd:
        assert w.call("fcntl", fd, F.F_GETFD, 0) == 1, "close-on-exec"
        assert w.call("mq_open", NAME, F.O_RDWR | F.O_CREAT | F.O_EXCL, 0o600, None) == -EEXIST
        second = w.call("mq_open", NAME, F.O_WRONLY | F.O_CREAT, 0o600, attributes(w, 1))
        assert second > fd
        assert w.call("mq_timedsend", second, b"x", 1, 0, None) == 0
        assert w.call("mq_unlink", NAME) == 0
        assert w.call("mq_unlink", NAME) == -ENOENT
        assert w.call("mq_open", NAME, F.O_RDWR, 0, None) == -ENOENT
        assert receive(w, fd) == (b"x", 0), "who has it open keeps it"
    assert w.call("mq_open", b"", F.O_RDWR, 0, None) == -ENOENT
    assert w.call("mq_open", b"a/b", F.O_RDWR, 0, None) == -EACCES
    assert w.call("mq_open", b"x" * 256, F.O_RDWR, 0, None) == -ENAMETOOLONG
    assert w.call("mq_open", NAME, F.O_RDWR | F.O_CREAT, 0o600, BAD) == -EFAULT
    assert w.call("mq_open", NAME, F.O_RDWR | F.O_CREAT, 0o600, attributes(w, 0)) == -EINVAL
    assert w.call("mq_open", NAME, F.O_RDWR | F.O_CREAT, 0o600, attributes(w, 1, 0)) == -EINVAL
    assert w.call("mq_unlink", NAME) == -ENOENT, "none of them has made it"


@CASES("mq_open", host=False)
def only_who_may(w: GuestWorld) -> None:
    with queue(w, mode=0o640):
        w.become(1000, 1000)
        assert w.call("mq_open", NAME, F.O_RDONLY, 0, None) == -EACCES
        assert w.call("mq_unlink", NAME) == -EPERM
        assert w.call("mq_open", b"other", F.O_RDWR | F.O_CREAT, 0o600, attributes(w, 11)) == -EINVAL


@CASES("mq_timedsend", "mq_timedreceive")
def the_highest_priority_first(w: World) -> None:
    with queue(w, most=4) as fd:
        assert receive(w, fd) == -EAGAIN
        for data, priority in ((b"low", 1), (b"high", 32767), (b"", 2), (b"high too", 32767)):
            assert w.call("mq_timedsend", fd, data, len(data), priority, None) == 0
        assert w.call("mq_timedsend", fd, b"x", 1, 0, None) == -EAGAIN
        assert receive(w, fd, SIZE - 1) == -EMSGSIZE
        assert [receive(w, fd) for _ in range(4)] == [(b"high", 32767), (b"high too", 32767), (b"", 2), (b"low", 1)]


@CASES("mq_timedsend", "mq_timedreceive")
def messages_refused(w: World) -> None:
    with queue(w) as fd:
        reader = w.call("mq_open", NAME, F.O_RDONLY, 0, None)
        writer = w.call("mq_open", NAME, F.O_WRONLY, 0, None)
        assert w.call("mq_timedsend", reader, b"x", 1, 0, None) == -EBADF
        assert receive(w, writer) == -EBADF
        assert w.call("mq_timedsend", w.open(b"."), b"x", 1, 0, None) == -EBADF
        assert w.call("mq_timedsend", fd, bytes(SIZE + 1), SIZE + 1, 0, None) == -EMSGSIZE
        assert w.call("mq_timedsend", fd, b"x", 1, 32768, None) == -EINVAL
        assert w.call("mq_timedsend", fd, b"x", 1, 0, w.words(0, 1_000_000_000)) == -EINVAL
        assert w.call("mq_timedsend", fd, BAD, 1, 0, None) == -EFAULT
        assert w.call("mq_timedsend", fd, b"x", 1, 0, BAD) == -EFAULT
        assert w.call("mq_timedreceive", fd, bytearray(SIZE), SIZE, None, BAD) == -EFAULT
        assert receive(w, fd) == -EAGAIN, "nothing has been sent"


@CASES("mq_timedreceive", "mq_timedsend")
def a_time_that_has_passed(w: World) -> None:
    with queue(w, F.O_RDWR, 1) as fd:
        past = w.words(1, 0)
        assert w.call("mq_timedreceive", fd, bytearray(SIZE), SIZE, None, past) == -ETIMEDOUT
        assert w.call("mq_timedsend", fd, b"x", 1, 0, past) == 0, "it need not wait"
        assert w.call("mq_timedsend", fd, b"x", 1, 0, past) == -ETIMEDOUT


@CASES("mq_timedreceive_time64", "mq_timedsend_time64", host=False)
def wide_times(w: GuestWorld) -> None:
    with queue(w, F.O_RDWR, 1) as fd:
        past = struct.pack("<qq", 1, 0)
        assert w.call("mq_timedreceive_time64", fd, bytearray(SIZE), SIZE, None, past) == -ETIMEDOUT
        assert w.call("mq_timedsend_time64", fd, b"x", 1, 0, past) == 0
        assert w.call("mq_timedsend_time64", fd, b"x", 1, 0, past) == -ETIMEDOUT
        assert w.call("mq_timedreceive_time64", fd, bytearray(SIZE), SIZE, None, None) == 1


@CASES("mq_timedsend", host=False)
def who_waits_is_woken(w: GuestWorld) -> None:
    with queue(w, F.O_RDWR) as fd:
        other = w.other()
        try:
            other.call("mq_timedreceive", fd, bytearray(SIZE), SIZE, None, None)
        except Blocked:
            assert w.call("mq_timedsend", fd, b"news", 4, 0, None) == 0
            assert other.again() == 4
        else:
            raise AssertionError("it does not wait")


@CASES("mq_getsetattr")
def attributes_are_read_and_set(w: World) -> None:
    with queue(w) as fd:
        old = bytearray(8 * w.word)
        assert w.call("mq_timedsend", fd, b"x", 1, 0, None) == 0
        assert w.call("mq_getsetattr", fd, None, old) == 0
        assert bytes(old[: 4 * w.word]) == w.words(F.O_NONBLOCK, 3, SIZE, 1)
        assert w.call("mq_getsetattr", fd, attributes(w, 99, 99), old) == 0
        assert bytes(old[: 4 * w.word]) == w.words(F.O_NONBLOCK, 3, SIZE, 1), "what it was before"
        assert w.call("mq_getsetattr", fd, None, old) == 0
        assert bytes(old[: 4 * w.word]) == w.words(0, 3, SIZE, 1)
        assert w.call("mq_getsetattr", fd, attributes(w, flags=F.O_APPEND), None) == -EINVAL
        assert w.call("mq_getsetattr", w.open(b"."), None, old) == -EBADF
        assert w.call("mq_getsetattr", fd, None, BAD) == -EFAULT


def event(w: World, how: int, number: int = SIGUSR1) -> bytes:
    return (w.words(7) + struct.pack("<ii", number, how)).ljust(64, b"\0")


@CASES("mq_notify")
def news_of_a_message(w: World) -> None:
    blocked = struct.pack("<Q", 1 << SIGUSR1 - 1)
    pending = bytearray(8)
    assert w.call("rt_sigprocmask", 0, blocked, None, 8) == 0
    with queue(w) as fd:
        assert w.call("mq_notify", fd, event(w, 0)) == 0
        assert w.call("mq_notify", fd, event(w, 0)) == -EBUSY
        assert w.call("mq_notify", fd, event(w, 9)) == -EINVAL
        assert w.call("mq_notify", fd, event(w, 0, 99)) == -EINVAL
        assert w.call("mq_notify", fd, BAD) == -EFAULT
        assert w.call("mq_notify", w.open(b"."), None) == -EBADF
        assert w.call("mq_timedsend", fd, b"x", 1, 0, None) == 0
        assert w.call("rt_sigpending", pending, 8) == 0 and bytes(pending) == blocked
        assert w.call("mq_notify", fd, event(w, 1)) == 0, "it was for one message"
        assert w.call("mq_notify", fd, None) == 0
        assert w.call("mq_notify", fd, event(w, 1)) == 0
    with queue(w) as fd:
        other = w.call("mq_open", NAME, F.O_RDWR, 0, None)
        assert w.call("mq_notify", other, event(w, 0)) == 0
        assert w.call("mq_notify", fd, event(w, 0)) == -EBUSY
        w.call("close", other)
        assert w.call("mq_notify", fd, event(w, 0)) == 0, "to close the descriptor takes the registration back"


@CASES("mq_open", host=False)
def all_of_them_are_bounded(w: GuestWorld) -> None:
    """Also those that were unlinked and are still open."""
    opened = 0
    for _ in range(300):
        fd = w.call("mq_open", NAME, F.O_CREAT | F.O_RDWR, 0o600, attributes(w, 10, 8192))
        if fd < 0:
            break
        opened += 1
        assert w.call("mq_unlink", NAME) == 0
    assert fd == -EMFILE and 5 < opened < 20
    assert w.call("mq_open", NAME, F.O_CREAT | F.O_RDWR, 0o600, attributes(w, 65536, 16 << 20)) == -EMFILE
    assert w.call("mq_open", NAME, F.O_CREAT | F.O_RDWR, 0o600, attributes(w, 65537, 1)) == -EINVAL
    for descriptor in range(3, 40):
        w.call("close", descriptor)
    assert w.call("mq_open", NAME, F.O_CREAT | F.O_RDWR, 0o600, attributes(w, 10, 8192)) >= 0


test_guest, test_host, test_proof = CASES.tests()
