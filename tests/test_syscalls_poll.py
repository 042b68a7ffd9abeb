"""poll and select, in all their forms."""

from __future__ import annotations

import struct

from sandbox.abi.errno import (
    EBADF,
    EFAULT,
    EINVAL,
)
from sandbox.abi.flags import (
    O_PATH,
    O_RDWR,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLNVAL,
    POLLOUT,
    RLIMIT_NOFILE,
)
from sandbox.abi.signals import SIGUSR1, bit
from sandbox.kernel.signals import SignalInfo, send_to_task
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD, GuestWorld

CASES = Cases()
MILLISECOND = 1_000_000
SECOND = 1_000_000_000


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
    w.advance(49 * MILLISECOND)
    task = w.task
    assert task.restart["deadline"] == w.machine.clock.monotonic() + MILLISECOND
    w.advance(MILLISECOND)
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
    w.advance(5 * MILLISECOND)
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
    w.advance(SECOND)
    assert w.other().call("write", writer, b"x", 1) == 1
    assert w.again() == 1
    assert struct.unpack("<ii", w.peek(time, 8)) == (2, 500_000)
    assert w.blocks("_newselect", 5, None, None, None, w.memory(w.words(1, 0)))
    w.advance(SECOND)
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


test_guest, test_host, test_proof = CASES.tests()
