"""epoll: sets of files that are waited for."""

from __future__ import annotations

import struct
from itertools import pairwise

from sandbox.abi.errno import (
    EBADF,
    EEXIST,
    EFAULT,
    EINVAL,
    ELOOP,
    ENOENT,
    EPERM,
)
from sandbox.abi.flags import (
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLET,
    EPOLLEXCLUSIVE,
    EPOLLONESHOT,
    F_GETFD,
    O_CLOEXEC,
    O_NONBLOCK,
    POLLHUP,
    POLLIN,
    POLLOUT,
    SEEK_SET,
)
from sandbox.abi.structs import EPOLL_EVENT
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD, GuestWorld

CASES = Cases()
MILLISECOND = 1_000_000


def pollfds(*entries: tuple[int, int]) -> bytearray:
    return bytearray(b"".join(struct.pack("<ihh", fd, events, -1) for fd, events in entries))


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
    for device in (b"/dev/null", b"/dev/zero", b"/dev/full"):
        assert w.call("epoll_ctl", epoll, add, w.open(device), good) == -EPERM
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


@CASES("epoll_ctl", "epoll_pwait", host=False)
def exclusive_watches_are_woken_one_at_a_time(w: GuestWorld) -> None:
    reader, writer = w.pipe()
    epolls = [w.call("epoll_create1", 0) for _ in range(4)]
    modes = (POLLIN | EPOLLEXCLUSIVE, POLLIN | EPOLLEXCLUSIVE, POLLIN | EPOLLEXCLUSIVE, POLLIN)
    for index, (epoll, mode) in enumerate(zip(epolls, modes, strict=True)):
        assert w.call("epoll_ctl", epoll, EPOLL_CTL_ADD, reader, event(w, mode, index)) == 0
    for epoll in epolls[1:]:  # nobody waits at the first
        w.task.files.get(epoll).queue.add(w.task)
    assert w.call("write", writer, b"x", 1) == 1
    assert [bool(collected(w, epoll)) for epoll in epolls] == [True, True, False, True]


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


@CASES("epoll_ctl", "epoll_create1", host=False)
def epoll_in_epoll_from_above(w: GuestWorld) -> None:
    """Levels count above a set as well as below (Linux before 6.17 forgot them); another way down is no level more."""
    sets = [w.call("epoll_create1", 0) for _ in range(8)]
    for outer, inner in pairwise(sets[:5]):
        assert w.call("epoll_ctl", outer, EPOLL_CTL_ADD, inner, event(w, POLLIN, inner)) == 0
    assert w.call("epoll_ctl", sets[4], EPOLL_CTL_ADD, sets[5], event(w, POLLIN, 0)) == -ELOOP
    assert w.call("epoll_ctl", sets[4], EPOLL_CTL_ADD, sets[0], event(w, POLLIN, 0)) == -ELOOP
    assert w.call("epoll_ctl", sets[5], EPOLL_CTL_ADD, sets[0], event(w, POLLIN, 0)) == -ELOOP
    assert w.call("epoll_ctl", sets[0], EPOLL_CTL_ADD, sets[4], event(w, POLLIN, 0)) == 0
    assert w.call("epoll_ctl", sets[3], EPOLL_CTL_DEL, sets[4], None) == 0
    assert w.call("epoll_ctl", sets[4], EPOLL_CTL_ADD, sets[5], event(w, POLLIN, 0)) == 0
    assert w.call("close", sets[0]) == 0
    assert w.call("epoll_ctl", sets[5], EPOLL_CTL_ADD, sets[6], event(w, POLLIN, 0)) == 0


@CASES("epoll_pwait", "epoll_pwait2", host=False)
def epoll_waits(w: GuestWorld) -> None:
    epoll = w.call("epoll_create1", 0)
    reader, writer = w.pipe()
    assert w.call("epoll_ctl", epoll, EPOLL_CTL_ADD, reader, event(w, POLLIN, 5)) == 0
    buffer = w.memory(bytes(64))
    assert w.blocks("epoll_pwait", epoll, buffer, 4, 20, None, 0)
    w.advance(20 * MILLISECOND)
    assert w.again() == 0
    assert w.blocks("epoll_pwait", epoll, buffer, 4, -1, None, 0)
    other = w.other()
    assert other.call("write", writer, b"x", 1) == 1
    assert w.again() == 1
    assert EPOLL_EVENT[w.isa].unpack(w.peek(buffer, EPOLL_EVENT[w.isa].size)) == (POLLIN, 5)
    assert w.call("read", reader, bytearray(1), 1) == 1
    assert w.blocks("epoll_pwait2", epoll, buffer, 4, w.memory(struct.pack("<qq", 0, 5)), None, 0)
    w.advance(5)
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


test_guest, test_host, test_proof = CASES.tests()
