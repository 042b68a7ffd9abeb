"""The page cache: one frame for all who map a file, and reclaim, which takes clean pages and brings them back."""

from __future__ import annotations

import random

import pytest

from sandbox.engine import layout
from sandbox.errors import OutOfMemory
from sandbox.memory import PAGE_SIZE, Account, AddressSpace, FramePool, cache
from tests import memory
from tests.memory import BASE, EXECUTE, READ, WRITE, File, pages

pool, account, space = memory.pool, memory.account, memory.space
PAGE, RW = PAGE_SIZE, READ | WRITE


def frame_at(space: AddressSpace, address: int) -> int:
    return space.table.entry(address) >> 12


def test_two_spaces_show_the_same_frame(space: AddressSpace, pool: FramePool, account: Account) -> None:
    other_account = pool.account(64 * PAGE)
    other = AddressSpace(pool, other_account, 64)
    for one, base in ((space, BASE), (other, BASE + 5 * PAGE)):
        one.map(base, 4 * PAGE, READ | EXECUTE, fixed=True, source=File(pages(4)))  # two objects, one identity
    assert space.copy_in(BASE + PAGE, 1) == other.copy_in(BASE + 6 * PAGE, 1) == b"\1"
    assert frame_at(space, BASE + PAGE) == frame_at(other, BASE + 6 * PAGE)
    assert (account.used, other_account.used) == (1, 1), "files are charged to nobody, leaves are"
    other.release()
    other_account.close()


def test_a_write_is_private(space: AddressSpace, pool: FramePool) -> None:
    other = AddressSpace(pool, pool.system, 64)
    for one in (space, other):
        one.map(BASE, PAGE, RW, fixed=True, source=File(pages(1)))
        assert one.copy_in(BASE, 1) == b"\0"
    space.copy_out(BASE, b"mine")
    assert other.copy_in(BASE, 4) == bytes(4)
    assert frame_at(space, BASE) != frame_at(other, BASE)
    assert not space.table.entry(BASE) & (layout.CLEAN | layout.COPY)
    other.release()


def test_the_tail_of_the_last_page_is_zero(space: AddressSpace) -> None:
    space.map(BASE, 2 * PAGE, READ, fixed=True, source=File(b"short"))
    assert space.copy_in(BASE, PAGE) == b"short" + bytes(PAGE - 5)
    assert not space.resolve(BASE + PAGE, READ) and space.fault == "bus"


def test_files_differ_by_identity(space: AddressSpace) -> None:
    space.map(BASE, PAGE, READ, fixed=True, source=File(b"old", "old"))
    space.map(BASE + PAGE, PAGE, READ, fixed=True, source=File(b"new", "new"))
    assert space.copy_in(BASE, 3) == b"old" and space.copy_in(BASE + PAGE, 3) == b"new"


def test_reading_ahead(space: AddressSpace) -> None:
    file = File(pages(20))
    space.map(BASE, 20 * PAGE, READ, fixed=True, source=file)
    for page in (10, 9, 15, 8):
        assert space.copy_in(BASE + page * PAGE, 1) == bytes([page])
    assert file.loads == list(range(8, 16)), "eight pages at once, each once"
    assert space.copy_in(BASE + 17 * PAGE, 1) == b"\x11"
    assert file.loads[8:] == [16, 17, 18, 19], "and none beyond the end"


def test_forget(space: AddressSpace, pool: FramePool) -> None:
    file = File(b"old")
    space.map(BASE, PAGE, READ, fixed=True, source=file)
    assert space.copy_in(BASE, 3) == b"old"
    file.data = b"new"
    space.cache.forget(file.identity)
    assert space.copy_in(BASE, 3) == b"old", "who has the page keeps it"
    space.advise(BASE, PAGE)
    assert space.copy_in(BASE, 3) == b"new"


def fill(pool: FramePool, leave: int) -> list[int]:
    """Take frames until only `leave` are free."""
    hog = pool.account(1 << 40)
    return [pool.allocate(hog) for _ in range(pool.frames - 1 - pool.used - leave)]


def free(pool: FramePool, frames: list[int]) -> None:
    for frame in frames:
        pool.release(frame)


def test_clean_pages_go_under_pressure_and_come_back(space: AddressSpace, pool: FramePool) -> None:
    file = File(pages(64))
    space.map(BASE, 64 * PAGE, RW, fixed=True, source=file)
    space.copy_out(BASE, b"written")
    assert space.copy_in(BASE + 7, 64 * PAGE - 7) == file.data[7:]
    held = fill(pool, leave=0)
    loads, resident, epoch = len(file.loads), space.resident, space.table.words.epoch
    more = fill(pool, leave=-16)
    assert space.cache.dropped >= 16 and space.resident < resident
    assert space.table.words.epoch > epoch, "a TLB may still show them"
    free(pool, more)
    assert space.copy_in(BASE, 7) == b"written", "written pages stay"
    assert space.copy_in(BASE, 64 * PAGE) == b"written" + file.data[7:]
    assert len(file.loads) > loads
    free(pool, held)


def test_pages_nobody_maps_go_first(space: AddressSpace, pool: FramePool) -> None:
    for name in ("unmapped", "mapped"):
        space.map(BASE, 8 * PAGE, READ, fixed=True, source=File(pages(8), name))
        assert space.copy_in(BASE, 8 * PAGE) == pages(8)
    assert pool.reclaim(8) == 8 and space.resident == 8
    assert pool.reclaim(8) == 8 and space.resident == 0


def test_a_running_space_keeps_its_pages(space: AddressSpace, pool: FramePool) -> None:
    space.map(BASE, 8 * PAGE, READ, fixed=True, source=File(pages(8)))
    assert space.copy_in(BASE, 8 * PAGE) == pages(8)
    space.running = True
    assert pool.reclaim(100) == 0 and space.resident == 8
    space.running = False
    assert pool.reclaim(100) == 8 and space.resident == 0


def test_a_forked_space_keeps_its_pages(space: AddressSpace, pool: FramePool) -> None:
    space.map(BASE, 8 * PAGE, READ, fixed=True, source=File(pages(8)))
    assert space.copy_in(BASE, 8 * PAGE) == pages(8)
    child = space.fork()
    assert pool.reclaim(100) == 0, "the leaf belongs to both"
    child.release()
    assert pool.reclaim(100) == 8


def test_a_page_that_is_being_copied_is_not_reclaimed(space: AddressSpace, pool: FramePool) -> None:
    """The frame for the copy is found by taking clean pages away, of which the original is one."""
    file = File(b"original" * 600)
    space.map(BASE, PAGE, RW, fixed=True, source=file)
    assert space.copy_in(BASE, 8) == b"original"
    held = fill(pool, leave=0)
    while pool.reclaim(1):
        pass
    assert space.copy_in(BASE, 8) == b"original"
    held += fill(pool, leave=0)
    with pytest.raises(OutOfMemory):
        space.resolve(BASE, WRITE)
    assert space.copy_in(BASE, 8) == b"original"
    original = frame_at(space, BASE)
    assert pool.references[original] == 2
    pool.release(held.pop())
    space.copy_out(BASE, b"copy")
    assert space.copy_in(BASE, 8) == b"copyinal"
    assert pool.references[original] == 1
    free(pool, held)


def test_what_is_loaded_while_memory_is_short(space: AddressSpace, pool: FramePool) -> None:
    """No reading ahead then, and pages that were there a moment ago may have to go."""
    file = File(pages(32))
    space.map(BASE, 32 * PAGE, READ, fixed=True, source=file)
    held = fill(pool, leave=3)
    for _ in range(2):
        for page in range(32):
            assert space.copy_in(BASE + page * PAGE, 1) == bytes([page])
    assert space.resident <= 3
    free(pool, held)


def test_many_spaces_under_pressure(pool: FramePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random work in a pool too small for it: every byte read is the right one."""
    chance = random.Random(5)
    files = [
        File(bytes(chance.randrange(256) for _ in range(8)) * (PAGE * 40 // 8), f"{number}") for number in range(4)
    ]
    account = pool.account(1 << 40)
    spaces = [AddressSpace(pool, account, 64) for _ in range(6)]
    written: list[dict[int, bytes]] = [{} for _ in spaces]
    for space in spaces:
        for number, file in enumerate(files):
            space.map(BASE + number * 64 * PAGE, 40 * PAGE, RW, fixed=True, source=file)
    held = fill(pool, leave=120)
    for _ in range(3000):
        number = chance.randrange(len(spaces))
        which, page = chance.randrange(len(files)), chance.randrange(40)
        address = BASE + (which * 64 + page) * PAGE + 8 * chance.randrange(512)
        if chance.random() < 0.01 and pool.used < pool.frames - 40:
            written[number][address] = b"%08d" % address
            spaces[number].copy_out(address, b"%08d" % address)
        expected = written[number].get(address, files[which].data[:8])
        assert spaces[number].copy_in(address, 8) == expected
    assert spaces[0].cache.dropped > 1000
    for space in spaces:
        space.release()
    free(pool, held)
    account.close()


def test_a_pool_has_one_cache(pool: FramePool) -> None:
    assert cache.pool_cache(pool) is cache.pool_cache(pool)
