"""Calls that do as much as a guest likes: they go in pieces, and to the guest each is one call."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from sandbox.abi import flags as F
from sandbox.kernel.pieces import BYTES_AT_ONCE, PAGES_AT_ONCE
from sandbox.wait import Block
from tests.syscall_worlds import Blocked, GuestWorld, guest

LARGE = 3 * BYTES_AT_ONCE
PAGES = 4096 * PAGES_AT_ONCE
TCGETS, TCSETS, ICANON = 0x5401, 0x5402, (2).to_bytes(4, "little")
Call = tuple[str, tuple[int, ...]]


def vector(w: GuestWorld, count: int = 12) -> int:
    """A quarter of a piece, so many times."""
    place = w.call("mmap", 0, BYTES_AT_ONCE // 4, F.PROT_READ | F.PROT_WRITE, F.MAP_PRIVATE | F.MAP_ANONYMOUS, -1, 0)
    return w.vector([(place, BYTES_AT_ONCE // 4)] * count)


def sparse(w: GuestWorld) -> int:
    fd = w.open(b"sparse", F.O_RDWR | F.O_CREAT)
    assert w.call("ftruncate", fd, 1 << 40) == 0
    return fd


def mapping(w: GuestWorld, pages: int, protection: int = F.PROT_READ) -> int:
    kind = F.MAP_PRIVATE | F.MAP_ANONYMOUS | F.MAP_NORESERVE
    return w.call("mmap", 0, pages * 4096, protection, kind, -1, 0)


def terminal(w: GuestWorld) -> int:
    """A master of which nobody takes what is typed; nothing is shown, so there is room for ever."""
    master = w.open(b"/dev/ptmx", F.O_RDWR | F.O_NOCTTY)
    settings = w.memory(bytes(60))
    assert w.call("ioctl", master, TCGETS, settings) == 0
    assert w.call("ioctl", master, TCSETS, w.memory(bytes(12) + ICANON + w.peek(settings, 60)[16:])) == 0
    return master


CASES: dict[str, tuple[Callable[[GuestWorld], Call], int, int]] = {  # the call, its result, how often it gives way
    "readv of a device": (lambda w: ("readv", (w.open(b"/dev/zero"), vector(w), 12)), LARGE, 2),
    "readv of a file": (lambda w: ("readv", (sparse(w), vector(w), 12)), LARGE, 2),
    "preadv": (lambda w: ("preadv", (sparse(w), vector(w), 12, 5, 0)), LARGE, 2),
    "writev": (lambda w: ("writev", (w.open(b"/dev/null", F.O_WRONLY), vector(w), 12)), LARGE, 2),
    "writev to a file": (lambda w: ("writev", (sparse(w), vector(w), 12)), LARGE, 2),
    "appending": (lambda w: ("writev", (w.open(b"f", F.O_WRONLY | F.O_CREAT | F.O_APPEND), vector(w), 12)), LARGE, 0),
    "sendfile": (lambda w: ("sendfile", (w.open(b"/dev/null", F.O_WRONLY), sparse(w), 0, LARGE + 1)), LARGE + 1, 3),
    "no more than a piece": (lambda w: ("readv", (sparse(w), vector(w, 4), 4)), BYTES_AT_ONCE, 0),
    "process_vm_readv": (
        lambda w: ("process_vm_readv", (w.call("getpid"), vector(w), 12, vector(w), 12, 0)),
        LARGE,
        2,
    ),
    "mincore": (
        lambda w: ("mincore", (mapping(w, 9 * PAGES_AT_ONCE), 9 * PAGES, mapping(w, 16, F.PROT_READ | F.PROT_WRITE))),
        0,
        2,
    ),
    "populating": (
        lambda w: ("madvise", (mapping(w, 2 * PAGES_AT_ONCE + 1), 2 * PAGES + 4096, F.MADV_POPULATE_READ)),
        0,
        2,
    ),
    "mlock": (lambda w: ("mlock", (mapping(w, 2 * PAGES_AT_ONCE), 2 * PAGES)), 0, 1),
    "getrandom": (
        lambda w: ("getrandom", (mapping(w, LARGE // 4096, F.PROT_READ | F.PROT_WRITE), LARGE, 0)),
        LARGE,
        2,
    ),
    "typing": (lambda w: ("write", (terminal(w), w.memory(bytes(10000)), 10000)), 10000, 2),
}


@pytest.mark.parametrize("case", CASES)
def test_a_long_call_gives_way(case: str) -> None:
    prepare, result, times = CASES[case]
    with guest("x86_64") as w:
        name, arguments = prepare(w)
        gave_way = 0
        call: Callable[[], int] = partial(w.call, name, *arguments)
        while True:
            try:
                found = call()
                break
            except Blocked as blocked:
                block = blocked.__context__
            assert isinstance(block, Block) and not block.interruptible and not block.queues
            assert block.deadline is not None and block.deadline <= w.machine.clock.monotonic(), "it runs again at once"
            assert w.machine.gave_way
            w.machine.gave_way = False
            gave_way += 1
            call = w.again
        assert (found, gave_way) == (result, times)


def test_what_is_moved_in_pieces_is_what_was_there() -> None:
    with guest("x86_64") as w:
        data = bytes(range(251)) * (2 * BYTES_AT_ONCE // 251)
        w.file(b"f")
        place = mapping(w, len(data) // 4096 + 1, F.PROT_READ | F.PROT_WRITE)
        w.task.space.copy_out(place, data)
        fd = w.open(b"f", F.O_RDWR)
        assert w.blocks("write", fd, place, len(data)) and w.again() == len(data)
        assert w.call("lseek", fd, 0, F.SEEK_CUR) == len(data)
        assert w.call("lseek", fd, 3, F.SEEK_SET) == 3
        assert w.blocks("read", fd, place, len(data)) and w.again() == len(data) - 3
        assert w.peek(place, len(data)) == data[3:] + data[-3:]
