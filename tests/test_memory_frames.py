"""The pool of frames: reference counts, accounts, zeroing, the two budgets, trimming, and page table leaves."""

from __future__ import annotations

import pytest

from sandbox.engine import layout
from sandbox.errors import ConfigurationError, OutOfMemory
from sandbox.memory import PAGE_SIZE, Account, FramePool, frames
from tests import memory

pool, account = memory.pool, memory.account
ZEROS = bytes(PAGE_SIZE)


def test_a_frame_is_charged_until_its_last_reference_goes(pool: FramePool, account: Account) -> None:
    frame = pool.allocate(account)
    assert (pool.used, account.used, pool.references[frame], pool.owner[frame]) == (1, 1, 1, account.number)
    pool.retain(frame)
    assert pool.release(frame) == 1
    assert (pool.used, account.used) == (1, 1)
    assert pool.release(frame) == 0
    assert (pool.used, account.used) == (0, 0)


def test_frame_0_is_never_handed_out(pool: FramePool) -> None:
    held = [pool.allocate(pool.system) for _ in range(pool.frames - 1)]
    assert sorted(held) == list(range(1, pool.frames))
    for frame in held:
        pool.release(frame)


def test_frames_come_zeroed(pool: FramePool, account: Account) -> None:
    for _ in range(3):  # new ones first, then used ones
        held = [pool.allocate(account) for _ in range(account.limit)]
        assert all(pool.read(frame) == ZEROS for frame in held)
        for frame in held:
            pool.write(frame, 0, b"\xff" * PAGE_SIZE)
            pool.release(frame)


def test_reused_frames_come_zeroed_when_no_new_ones_are_left(pool: FramePool) -> None:
    held = [pool.allocate(pool.system) for _ in range(pool.frames - 1)]
    for frame in held[::2]:
        pool.write(frame, 100, b"secret")
        pool.release(frame)
    again = [pool.allocate(pool.system) for _ in held[::2]]
    assert all(pool.read(frame) == ZEROS for frame in again)
    for frame in [*again, *held[1::2]]:
        pool.release(frame)


def test_account_limit(pool: FramePool) -> None:
    small = pool.account(3 * PAGE_SIZE)
    held = [pool.allocate(small) for _ in range(3)]
    with pytest.raises(OutOfMemory) as refused:
        pool.allocate(small)
    assert refused.value.scope == "vm"
    assert small.used == small.peak == small.limit == 3
    small.limit = 4
    held.append(pool.allocate(small))
    small.limit = 1  # below what it has: nothing is taken away
    with pytest.raises(OutOfMemory):
        pool.allocate(small)
    for frame in held:
        pool.release(frame)
    assert (small.used, small.peak) == (0, 4)
    small.close()


def test_pool_limit(pool: FramePool) -> None:
    rich = pool.account(1 << 40)
    held = [pool.allocate(rich) for _ in range(pool.frames - 1)]
    with pytest.raises(OutOfMemory) as refused:
        pool.allocate(rich)
    assert refused.value.scope == "pool"
    assert pool.peak == pool.frames - 1
    for frame in held:
        pool.release(frame)
    rich.close()


def test_a_full_pool_reclaims_before_it_refuses(pool: FramePool) -> None:
    rich, asked = pool.account(1 << 40), []
    held = [pool.allocate(rich) for _ in range(pool.frames - 1)]

    def give_back(wanted: int) -> int:
        asked.append(wanted)
        pool.release(held.pop())
        return 1

    pool.reclaimers.append(give_back)
    held.append(pool.allocate(rich))
    assert asked and pool.read(held[-1]) == ZEROS
    pool.reclaimers.remove(give_back)
    for frame in held:
        pool.release(frame)
    rich.close()


def test_a_number_of_a_closed_account_is_used_again_once_its_frames_are_gone(pool: FramePool) -> None:
    first = pool.account(PAGE_SIZE)
    frame, number = pool.allocate(first), first.number
    first.close()
    first.close()
    second = pool.account(PAGE_SIZE)
    assert second.number != number, "frames are still charged to it"
    pool.release(frame)
    third = pool.account(PAGE_SIZE)
    assert (third.number, third.used, third.peak) == (number, 0, 0)
    second.close()
    third.close()


@pytest.mark.parametrize("size", [0, PAGE_SIZE, -1, 1 << 50])
def test_senseless_sizes(size: int) -> None:
    with pytest.raises(ConfigurationError):
        FramePool(size)


def test_trim_gives_free_frames_back_as_zeros(pool: FramePool, monkeypatch: pytest.MonkeyPatch) -> None:
    held = [pool.allocate(pool.system) for _ in range(64)]
    for frame in held:
        pool.write(frame, 0, b"old")
    kept = held[10]
    for frame in held:
        if frame != kept:
            pool.release(frame)
    assert pool.trim() == 0, "not worth a system call"
    monkeypatch.setattr(frames, "TRIM_FRAMES", 8)
    assert pool.trim() == 63
    assert pool.words.dirty_count == 0
    assert pool.read(kept, 0, 3) == b"old"
    assert all(pool.read(frame) == ZEROS for frame in held if frame != kept)
    again = [pool.allocate(pool.system) for _ in range(63)]
    assert set(again) == set(held) - {kept}, "they are used before new ones"
    for frame in [*again, kept]:
        pool.release(frame)


def test_stores_by_the_host_outdate_translations(pool: FramePool, account: Account) -> None:
    frame = pool.allocate(account)
    generation, epoch = pool.generation[frame], pool.words.code_epoch
    pool.write(frame, 0, b"data")
    assert (pool.generation[frame], pool.words.code_epoch) == (generation, epoch), "nobody executes it"
    for state in (layout.EXECUTABLE, layout.MIXED):
        pool.state[frame] = state
        pool.write(frame, 0, b"code")
        assert (pool.generation[frame], pool.words.code_epoch) == (generation + 1, epoch + 1)
        assert pool.state[frame] == layout.IDLE
        generation, epoch = generation + 1, epoch + 1
    pool.release(frame)


@pytest.mark.parametrize("state", [layout.EXECUTABLE, layout.MIXED])
def test_a_released_frame_outdates_translations(pool: FramePool, account: Account, state: int) -> None:
    frame = pool.allocate(account)
    generation = pool.generation[frame]
    pool.state[frame], pool.flip_count[frame] = state, 3
    pool.release(frame)
    assert pool.generation[frame] == generation + 1
    assert (pool.state[frame], pool.flip_count[frame]) == (layout.IDLE, 0)


def leaf_with(pool: FramePool, account: Account, flags: dict[int, int]) -> tuple[int, dict[int, int]]:
    leaf, held = pool.allocate(account), {}
    for index, bits in flags.items():
        held[index] = 7 if bits & layout.DEVICE else pool.allocate(account)
        pool.entries[leaf * layout.LEAF_ENTRIES + index] = held[index] << 12 | bits
    return leaf, held


P, R, W, X = layout.PRESENT, layout.READ, layout.WRITE, layout.EXECUTE
FLAGS = {0: P | R | W, 1: P | R | layout.SHARED, 2: P | R | layout.DEVICE, 511: P | R | X}


def entry(pool: FramePool, leaf: int, index: int) -> int:
    return pool.entries[leaf * layout.LEAF_ENTRIES + index]


def test_clear_entries(pool: FramePool, account: Account) -> None:
    leaf, held = leaf_with(pool, account, FLAGS)
    pool.clear_entries(leaf, 1, 510)
    assert [entry(pool, leaf, index) for index in (1, 2)] == [0, 0]
    assert entry(pool, leaf, 0) and entry(pool, leaf, 511)
    assert pool.references[held[1]] == 0 and account.used == 3
    pool.release_leaf(leaf)
    assert account.used == 0


def test_share_and_copy_leaf(pool: FramePool, account: Account) -> None:
    leaf, held = leaf_with(pool, account, FLAGS)
    pool.share_leaf(leaf)
    assert [entry(pool, leaf, index) & layout.COPY for index in FLAGS] == [layout.COPY, 0, 0, layout.COPY]
    assert pool.references[leaf] == 2
    other = pool.account(PAGE_SIZE)
    copy = pool.copy_leaf(leaf, other)
    assert pool.owner[copy] == other.number and other.used == 1
    assert [entry(pool, copy, index) for index in FLAGS] == [entry(pool, leaf, index) for index in FLAGS]
    assert [pool.references[held[index]] for index in (0, 1, 511)] == [2, 2, 2]
    assert pool.references[leaf] == 1
    with pytest.raises(OutOfMemory):
        pool.share_leaf(leaf)
        pool.copy_leaf(leaf, other)
    pool.release_leaf(leaf)
    pool.release_leaf(copy)
    assert account.used == 4
    pool.release_leaf(leaf)
    assert (account.used, other.used) == (0, 0)
    other.close()


def test_protect_entries(pool: FramePool, account: Account) -> None:
    leaf, held = leaf_with(pool, account, FLAGS)
    pool.entries[leaf * layout.LEAF_ENTRIES + 3] = layout.ZERO | R | W
    pool.protect_entries(leaf, 0, 4, R | X)
    assert entry(pool, leaf, 0) == held[0] << 12 | P | R | X
    assert entry(pool, leaf, 1) == held[1] << 12 | P | R | X | layout.SHARED
    assert entry(pool, leaf, 3) == 0, "what is not there yet is decided again at the fault"
    assert entry(pool, leaf, 511) == held[511] << 12 | FLAGS[511]
    pool.release_leaf(leaf)
