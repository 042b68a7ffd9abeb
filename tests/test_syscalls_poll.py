"""poll, select, epoll, eventfd, timerfd, memfd: waiting, and files made of nothing."""

from __future__ import annotations

import struct
from itertools import pairwise

from sandbox.abi.errno import (
    EAGAIN,
    EBADF,
    EEXIST,
    EFAULT,
    EINVAL,
    ELOOP,
    ENOENT,
    EPERM,
)
from sandbox.abi.flags import (
    CLOCK_MONOTONIC,
    CLOCK_REALTIME,
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLET,
    EPOLLEXCLUSIVE,
    EPOLLONESHOT,
    F_GETFD,
    F_GETFL,
    O_CLOEXEC,
    O_NONBLOCK,
    O_PATH,
    O_RDWR,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLNVAL,
    POLLOUT,
    RLIMIT_NOFILE,
    S_IFMT,
    S_IFREG,
    SEEK_CUR,
    SEEK_SET,
)
from sandbox.abi.signals import SIGUSR1, bit
from sandbox.abi.structs import EPOLL_EVENT
from sandbox.clock import VirtualClock
from sandbox.kernel.signals import SignalInfo, send_to_task
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD, GuestWorld

CASES = Cases()
MILLISECOND = 1_000_000
SECOND = 1_000_000_000


def advance(w: GuestWorld, nanoseconds: int) -> None:
    clock = w.machine.clock
    assert isinstance(clock, VirtualClock)
    clock.advance(nanoseconds)


def pollfds(*entries: tuple[int, int]) -> bytearray:
    return bytearray(b"".join(struct.pack("<ihh", fd, events, -1) for fd, events in entries))


def results(data: bytearray) -> list[int]:
    return [struct.unpack_from("<H", data, at + 6)[0] for at in range(0, len(data), 8)]


def bits(w: World, *numbers: int, size: int = 16) -> bytearray:
    value = sum(1 << number for number in numbers)
    return bytearray(value.to_bytes(size, "little"))


# -- poll --------------------------------------------------------------------------------------------------


@CASES("poll")
def poll_says_what_is_ready(w: World) -> None:
    reader, writer = w.pipe()
    w.file(b"f")
    file, path = w.open(b"f", O_RDWR), w.open(b"f", O_PATH)
    asked = pollfds(
        (reader, POLLIN), (writer, POLLOUT), (file, POLLIN | POLLOUT), (-1, POLLIN), (77, 0), (path, POLLIN)
    )
    assert w.call("poll", asked, 6, 0) == 4
    assert results(asked) == [0, POLLOUT, POLLIN | POLLOUT, 0, POLLNVAL, POLLNVAL]
    assert w.call("write", writer, b"x", 1) == 1
    asked = pollfds((reader, POLLIN), (reader, POLLOUT), (reader, 0))
    assert w.call("poll", asked, 3, -1) == 1
    assert results(asked) == [POLLIN, 0, 0]
    assert w.call("close", writer) == 0
    asked = pollfds((reader, POLLIN), (reader, 0))
    assert w.call("poll", asked, 2, -1) == 2
    assert results(asked) == [POLLIN | POLLHUP, POLLHUP]
    reader, writer = w.pipe()
    assert w.call("close", reader) == 0
    asked = pollfds((writer, 0))
    assert w.call("poll", asked, 1, -1) == 1
    assert results(asked) == [POLLERR]


@CASES("poll")
def poll_refuses(w: World) -> None:
    assert w.call("poll", BAD, 1, 0) == -EFAULT
    assert w.call("poll", BAD, 0, 0) == 0
    assert w.call("prlimit64", 0, RLIMIT_NOFILE, struct.pack("<QQ", 5, 5), None) == 0
    assert w.call("poll", pollfds(*[(0, 0)] * 6), 6, 0) == -EINVAL
    assert w.call("poll", pollfds(*[(-1, 0)] * 5), 5, 0) == 0
    assert w.call("poll", pollfds((-1, 0)), 0xFFFFFFFF, 0) == -EINVAL


@CASES("poll", host=False)
def poll_waits_until_its_deadline(w: GuestWorld) -> None:
    reader, writer = w.pipe()
    assert w.blocks("poll", pollfds((reader, POLLIN)), 1, 50)
    advance(w, 49 * MILLISECOND)
    task = w.task
    assert task.restart["deadline"] == w.machine.clock.monotonic() + MILLISECOND
    advance(w, MILLISECOND)
    assert w.again() == 0
    assert w.blocks("poll", pollfds((reader, POLLIN)), 1, -1)
    assert w.other().call("write", writer, b"x", 1) == 1
    assert w.again() == 1


@CASES("ppoll", isas=("x86_64", "arm64", "riscv64"))
@CASES("ppoll", "ppoll_time64")
def ppoll_has_a_timespec(w: World) -> None:
    for name, width in (("ppoll", w.word), ("ppoll_time64", 8)):
        if not w.has(name):
            continue
        pack = struct.Struct("<qq" if width == 8 else "<ii")
        reader, writer = w.pipe()
        asked = pollfds((reader, POLLIN), (writer, POLLOUT))
        assert w.call(name, asked, 2, bytearray(pack.pack(5, 0)), None, 0) == 1
        assert results(asked) == [0, POLLOUT]
        time = bytearray(pack.pack(0, 1000))
        if w.host:
            assert w.call(name, pollfds((reader, POLLIN)), 1, time, None, 0) == 0
            assert pack.unpack(time) == (0, 0)
        assert w.call(name, pollfds((reader, POLLIN)), 1, bytearray(pack.pack(0, SECOND)), None, 0) == -EINVAL
        assert w.call(name, pollfds((reader, POLLIN)), 1, bytearray(pack.pack(-1, 0)), None, 0) == -EINVAL
        assert w.call(name, pollfds((reader, POLLIN)), 1, BAD, None, 0) == -EFAULT
        mask = bytes(8)
        assert w.call(name, asked, 2, None, mask, 7) == -EINVAL
        assert w.call(name, asked, 2, None, BAD, 8) == -EFAULT
        assert w.call(name, asked, 2, None, mask, 8) == 1


@CASES("ppoll", host=False)
def the_mask_holds_while_ppoll_sleeps(w: GuestWorld) -> None:
    reader, writer = w.pipe()
    signals = w.task.signals
    signals.mask = bit(SIGUSR1)
    time = bytearray(w.words(0, 5 * MILLISECOND))
    assert w.blocks("ppoll", pollfds((reader, POLLIN)), 1, time, bytes(8), 8)
    assert (signals.mask, signals.saved_mask) == (0, bit(SIGUSR1))
    advance(w, 5 * MILLISECOND)
    assert w.again() == 0
    assert (signals.mask, signals.saved_mask) == (bit(SIGUSR1), None)
    send_to_task(w.task, SignalInfo(SIGUSR1))
    assert w.call("write", writer, b"x", 1) == 1
    assert w.call("ppoll", pollfds((reader, POLLIN)), 1, None, bytes(8), 8) == 1
    assert (signals.mask, signals.saved_mask) == (bit(SIGUSR1), None)


# -- select ------------------------------------------------------------------------------------------------


def new_select(w: World) -> str:
    return "select" if w.word == 8 else "_newselect"


@CASES("select", isas=("x86_64",))
@CASES("_newselect")
def select_answers_in_the_sets(w: World) -> None:
    name = new_select(w)
    reader, writer = w.pipe()
    assert (reader, writer) == (3, 4)
    zero = bytearray(w.words(0, 0))
    reads, writes, others = bits(w, reader), bits(w, reader, writer), bits(w, reader)
    assert w.call(name, 5, reads, writes, others, zero) == 1
    assert (reads, writes, others) == (bits(w), bits(w, writer), bits(w))
    assert w.call("write", writer, b"x", 1) == 1
    reads, writes = bits(w, reader), bits(w, writer)
    assert w.call(name, 5, reads, writes, None, None) == 2
    assert (reads, writes) == (bits(w, reader), bits(w, writer))
    reads = bits(w, reader)
    assert w.call(name, reader, reads, None, None, zero) == 0
    assert w.call("close", reader) == 0
    writes = bits(w, writer)
    assert w.call(name, 5, bits(w), writes, None, None) == 1
    assert w.call(name, 5, bits(w, reader), None, None, zero) == -EBADF
    assert w.call(name, -1, None, None, None, zero) == -EINVAL
    assert w.call(name, 5, BAD, None, None, zero) == -EFAULT
    assert w.call(name, 5, None, None, None, bytearray(w.words(-1, 0))) == -EINVAL
    assert w.call(name, 5, None, None, None, BAD) == -EFAULT


@CASES("_newselect", host=False)
def select_gives_the_time_left_back(w: GuestWorld) -> None:
    reader, writer = w.pipe()
    time = w.memory(w.words(3, 500_000))
    assert w.blocks("_newselect", 5, bits(w, reader), None, None, time)
    advance(w, SECOND)
    assert w.other().call("write", writer, b"x", 1) == 1
    assert w.again() == 1
    assert struct.unpack("<ii", w.peek(time, 8)) == (2, 500_000)
    assert w.blocks("_newselect", 5, None, None, None, w.memory(w.words(1, 0)))
    advance(w, SECOND)
    assert w.again() == 0


@CASES("select", isas=("i386",))
def the_oldest_select_has_its_arguments_in_memory(w: World) -> None:
    reader, writer = w.pipe()
    assert w.call("write", writer, b"x", 1) == 1
    reads = w.memory(bytes(bits(w, reader)))
    assert w.call("select", w.words(5, reads, 0, 0, 0)) == 1
    assert w.peek(reads, 4) == bits(w, reader)[:4]
    assert w.call("select", BAD) == -EFAULT


@CASES("pselect6", isas=("x86_64", "arm64", "riscv64"))
@CASES("pselect6", "pselect6_time64")
def pselect_has_a_mask(w: World) -> None:
    for name, width in (("pselect6", w.word), ("pselect6_time64", 8)):
        if not w.has(name):
            continue
        pack = struct.Struct("<qq" if width == 8 else "<ii")
        reader, writer = w.pipe()
        count = writer + 1
        writes = bits(w, writer)
        assert w.call(name, count, bits(w, reader), writes, None, bytearray(pack.pack(1, 0)), None) == 1
        assert writes == bits(w, writer)
        mask = w.memory(bytes(8))
        assert w.call(name, count, None, writes, None, None, w.words(mask, 8)) == 1
        assert w.call(name, count, None, writes, None, None, w.words(mask, 4)) == -EINVAL
        assert w.call(name, count, None, writes, None, None, w.words(0, 4)) == 1
        assert w.call(name, count, None, writes, None, None, w.words(BAD, 8)) == -EFAULT
        assert w.call(name, count, None, writes, None, None, BAD) == -EFAULT
        assert w.call(name, count, None, None, None, bytearray(pack.pack(0, SECOND)), None) == -EINVAL


# -- epoll -------------------------------------------------------------------------------------------------


def event(w: World, events: int, data: int) -> bytes:
    return EPOLL_EVENT[w.isa].pack(events, data)


def collected(w: World, epoll: int, limit: int = 8) -> list[tuple[int, int]]:
    layout = EPOLL_EVENT[w.isa]
    buffer = bytearray(layout.size * limit)
    count = w.call("epoll_pwait", epoll, buffer, limit, 0, None, 0)
    assert count >= 0
    return [layout.unpack_from(buffer, at * layout.size) for at in range(count)]


@CASES("epoll_create1", "epoll_ctl", "epoll_pwait")
def epoll_watches(w: World) -> None:
    epoll = w.call("epoll_create1", O_CLOEXEC)
    assert epoll == 3
    assert w.call("fcntl", epoll, F_GETFD, 0) == 1
    reader, writer = w.pipe()
    data = 0x1122334455667788
    assert w.call("epoll_ctl", epoll, EPOLL_CTL_ADD, reader, event(w, POLLIN, data)) == 0
    assert w.call("epoll_ctl", epoll, EPOLL_CTL_ADD, writer, event(w, POLLIN, 2)) == 0
    assert collected(w, epoll) == []
    assert w.call("write", writer, b"x", 1) == 1
    assert collected(w, epoll) == [(POLLIN, data)]
    assert collected(w, epoll) == [(POLLIN, data)], "level-triggered: as long as it is so"
    assert w.call("epoll_ctl", epoll, EPOLL_CTL_MOD, writer, event(w, POLLOUT, 3)) == 0
    assert sorted(collected(w, epoll)) == [(POLLIN, data), (POLLOUT, 3)]
    assert len(collected(w, epoll, 1)) == 1
    assert w.call("read", reader, bytearray(1), 1) == 1
    assert collected(w, epoll) == [(POLLOUT, 3)]
    assert w.call("epoll_ctl", epoll, EPOLL_CTL_DEL, writer, None) == 0
    assert collected(w, epoll) == []
    assert w.call("close", writer) == 0
    assert collected(w, epoll) == [(POLLHUP, data)]
    assert w.call("close", reader) == 0
    assert collected(w, epoll) == [], "a closed file leaves the set"


@CASES("epoll_ctl", "epoll_pwait")
def epoll_once_and_on_edges(w: World) -> None:
    epoll = w.call("epoll_create1", 0)
    reader, writer = w.pipe()
    assert w.call("epoll_ctl", epoll, EPOLL_CTL_ADD, reader, event(w, POLLIN | EPOLLET, 1)) == 0
    assert w.call("write", writer, b"x", 1) == 1
    assert collected(w, epoll) == [(POLLIN, 1)]
    assert collected(w, epoll) == []
    assert w.call("write", writer, b"y", 1) == 1
    assert collected(w, epoll) == [(POLLIN, 1)]
    assert w.call("epoll_ctl", epoll, EPOLL_CTL_MOD, reader, event(w, POLLIN | EPOLLONESHOT, 2)) == 0
    assert collected(w, epoll) == [(POLLIN, 2)]
    assert w.call("write", writer, b"z", 1) == 1
    assert collected(w, epoll) == []
    assert w.call("epoll_ctl", epoll, EPOLL_CTL_MOD, reader, event(w, POLLIN | EPOLLONESHOT, 3)) == 0
    assert collected(w, epoll) == [(POLLIN, 3)]


@CASES("epoll_create1", "epoll_ctl", "epoll_pwait")
def epoll_refuses(w: World) -> None:
    epoll = w.call("epoll_create1", 0)
    reader, _ = w.pipe()
    add, modify, remove = EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL
    good = event(w, POLLIN, 1)
    assert w.call("epoll_create1", O_NONBLOCK) == -EINVAL
    assert w.call("epoll_ctl", epoll, add, epoll, good) == -EINVAL
    assert w.call("epoll_ctl", epoll, add, w.open(b"."), good) == -EPERM
    w.file(b"f")
    assert w.call("epoll_ctl", epoll, add, w.open(b"f"), good) == -EPERM
    assert w.call("epoll_ctl", epoll, add, 77, good) == -EBADF
    assert w.call("epoll_ctl", 77, add, reader, good) == -EBADF
    assert w.call("epoll_ctl", reader, add, epoll, good) == -EINVAL
    assert w.call("epoll_ctl", epoll, modify, reader, good) == -ENOENT
    assert w.call("epoll_ctl", epoll, remove, reader, None) == -ENOENT
    assert w.call("epoll_ctl", epoll, add, reader, BAD) == -EFAULT
    assert w.call("epoll_ctl", epoll, 9, reader, good) == -EINVAL
    assert w.call("epoll_ctl", epoll, add, reader, event(w, POLLIN | EPOLLEXCLUSIVE, 1)) == 0
    assert w.call("epoll_ctl", epoll, add, reader, good) == -EEXIST
    assert w.call("epoll_ctl", epoll, modify, reader, good) == -EINVAL
    assert w.call("epoll_ctl", epoll, add, w.call("dup", reader), good) == 0, "another number, another entry"
    buffer = bytearray(64)
    assert w.call("epoll_pwait", epoll, buffer, 0, 0, None, 0) == -EINVAL
    assert w.call("epoll_pwait", epoll, buffer, -1, 0, None, 0) == -EINVAL
    assert w.call("epoll_pwait", reader, buffer, 1, 0, None, 0) == -EINVAL
    assert w.call("epoll_pwait", 77, buffer, 1, 0, None, 0) == -EBADF
    assert w.call("epoll_pwait", epoll, buffer, 1, 0, bytes(8), 4) == -EINVAL
    assert w.call("read", epoll, buffer, 8) == -EINVAL
    assert w.call("lseek", epoll, 5, SEEK_SET) == 0
    assert w.call("lseek", epoll, 5, 9) == -EINVAL


@CASES("epoll_ctl", "epoll_create1")
def epoll_in_epoll(w: World) -> None:
    sets = [w.call("epoll_create1", 0) for _ in range(7)]
    for inner, outer in pairwise(sets[:5]):
        assert w.call("epoll_ctl", outer, EPOLL_CTL_ADD, inner, event(w, POLLIN, inner)) == 0
    assert w.call("epoll_ctl", sets[0], EPOLL_CTL_ADD, sets[4], event(w, POLLIN, 0)) == -ELOOP
    reader, writer = w.pipe()
    assert w.call("epoll_ctl", sets[0], EPOLL_CTL_ADD, reader, event(w, POLLIN, 0)) == 0
    assert collected(w, sets[1]) == []
    assert w.call("write", writer, b"x", 1) == 1
    assert collected(w, sets[1]) == [(POLLIN, sets[0])]
    assert collected(w, sets[3]) == [(POLLIN, sets[2])]
    if w.has("poll"):
        asked = pollfds((sets[3], POLLIN))
        assert w.call("poll", asked, 1, 0) == 1


@CASES("epoll_pwait", "epoll_pwait2", host=False)
def epoll_waits(w: GuestWorld) -> None:
    epoll = w.call("epoll_create1", 0)
    reader, writer = w.pipe()
    assert w.call("epoll_ctl", epoll, EPOLL_CTL_ADD, reader, event(w, POLLIN, 5)) == 0
    buffer = w.memory(bytes(64))
    assert w.blocks("epoll_pwait", epoll, buffer, 4, 20, None, 0)
    advance(w, 20 * MILLISECOND)
    assert w.again() == 0
    assert w.blocks("epoll_pwait", epoll, buffer, 4, -1, None, 0)
    other = w.other()
    assert other.call("write", writer, b"x", 1) == 1
    assert w.again() == 1
    assert EPOLL_EVENT[w.isa].unpack(w.peek(buffer, EPOLL_EVENT[w.isa].size)) == (POLLIN, 5)
    assert w.call("read", reader, bytearray(1), 1) == 1
    assert w.blocks("epoll_pwait2", epoll, buffer, 4, w.memory(struct.pack("<qq", 0, 5)), None, 0)
    advance(w, 5)
    assert w.again() == 0


@CASES("epoll_wait", "epoll_create", "epoll_ctl")
def the_first_epoll_calls(w: World) -> None:
    epoll = w.call("epoll_create", 1)
    assert w.call("epoll_create", 0) == -EINVAL
    _, writer = w.pipe()
    assert w.call("epoll_ctl", epoll, EPOLL_CTL_ADD, writer, event(w, POLLOUT, 9)) == 0
    buffer = bytearray(16)
    assert w.call("epoll_wait", epoll, buffer, 1, -1) == 1
    assert EPOLL_EVENT[w.isa].unpack_from(buffer) == (POLLOUT, 9)
    assert w.call("epoll_wait", epoll, buffer, 0, 0) == -EINVAL


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
    advance(w, 75 * MILLISECOND)
    assert w.again() == 8
    assert w.peek(buffer, 8) == struct.pack("<Q", 3)
    assert w.blocks("read", fd, buffer, 8)
    advance(w, 5 * MILLISECOND)
    assert w.again() == 8
    now = w.machine.clock.realtime()
    real = w.call("timerfd_create", CLOCK_REALTIME, O_NONBLOCK)
    assert w.call("timerfd_settime", real, 1, setting(w.word, 0, now + SECOND), None) == 0
    assert w.call("read", real, buffer, 8) == -EAGAIN
    advance(w, SECOND)
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
