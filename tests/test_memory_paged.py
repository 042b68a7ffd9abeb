"""Files held in frames: holes, limits, truncation, and mappings that go on showing them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.abi.errno import Errno
from sandbox.memory import PAGE_SIZE, Account, AddressSpace, FramePool, PagedFile
from tests import memory
from tests.memory import BASE, READ, WRITE

pool, account, space = memory.pool, memory.account, memory.space
PAGE, RW = PAGE_SIZE, READ | WRITE


@pytest.fixture
def file(pool: FramePool, account: Account) -> PagedFile:
    return PagedFile(pool, account)


def test_holes_take_no_frame(file: PagedFile, account: Account) -> None:
    assert file.write(5 * PAGE + 10, b"end") == 3
    assert (file.size, file.blocks, account.used) == (5 * PAGE + 13, 1, 1)
    assert file.read(0, 1 << 30) == bytes(5 * PAGE + 10) + b"end"
    assert file.read(PAGE, 10) == bytes(10)
    file.truncate(1 << 40)
    assert file.blocks == 1
    file.release()
    assert account.used == 0


def test_reading_ends_with_the_file(file: PagedFile) -> None:
    file.write(0, b"abc")
    cases = [(0, 2, b"ab"), (1, 9, b"bc"), (3, 1, b""), (9, 9, b""), (0, 0, b"")]
    assert [file.read(offset, count) for offset, count, _ in cases] == [expected for _, _, expected in cases]
    file.release()


def test_writing_nothing_does_not_extend(file: PagedFile) -> None:
    assert file.write(100, b"") == 0
    assert file.size == 0


def test_a_full_account_gives_a_short_count_then_enospc(pool: FramePool) -> None:
    small = pool.account(2 * PAGE)
    file = PagedFile(pool, small)
    assert file.write(PAGE - 1, bytes(3 * PAGE)) == PAGE + 1
    assert file.size == 2 * PAGE
    with pytest.raises(Errno, match="ENOSPC"):
        file.write(2 * PAGE, b"x")
    assert file.size == 2 * PAGE
    assert file.write(PAGE, b"over") == 4
    with pytest.raises(Errno, match="ENOSPC"):
        file.allocate(0, 3 * PAGE)
    file.release()
    small.close()


def test_truncation_zeroes_what_comes_back(file: PagedFile) -> None:
    file.write(0, b"x" * 3 * PAGE)
    file.truncate(PAGE + 5)
    assert file.blocks == 2
    file.truncate(3 * PAGE)
    assert file.read(0, 3 * PAGE) == b"x" * (PAGE + 5) + bytes(2 * PAGE - 5)
    file.release()


def test_punch(file: PagedFile) -> None:
    file.write(0, b"x" * 4 * PAGE)
    file.punch(10, 2 * PAGE)
    assert file.read(0, 4 * PAGE) == b"x" * 10 + bytes(2 * PAGE) + b"x" * (2 * PAGE - 10)
    assert (file.size, file.blocks) == (4 * PAGE, 3)
    file.punch(3 * PAGE, 9 * PAGE)
    assert file.blocks == 2 and file.size == 4 * PAGE
    file.release()


def test_a_hole_may_be_larger_than_anything(file: PagedFile) -> None:
    """What is there is looked at, not every page of the range."""
    file.write(0, b"x" * (3 * PAGE))
    file.truncate(1 << 62)
    file.write((1 << 60) + 5, b"y")
    file.punch(PAGE + 1, 1 << 61)
    assert file.read(0, 3 * PAGE) == b"x" * (PAGE + 1) + bytes(2 * PAGE - 1)
    assert file.read(1 << 60, PAGE) == bytes(PAGE) and file.blocks == 2 and file.size == 1 << 62
    file.release()


def test_mappings_and_file_agree_at_once(file: PagedFile, space: AddressSpace) -> None:
    file.truncate(2 * PAGE)
    for base in (BASE, BASE + 64 * PAGE):
        space.map(base, 2 * PAGE, RW, fixed=True, shared=True, source=file)
    space.copy_out(BASE, b"one")
    file.write(PAGE, b"two")
    assert space.copy_in(BASE + 64 * PAGE, 3) == b"one" == file.read(0, 3)
    assert space.copy_in(BASE + PAGE, 3) == b"two"
    file.release()
    assert space.copy_in(BASE, 3) == b"one", "the pages live as long as their mappings"


@pytest.mark.parametrize("cut", ["truncate", "punch"])
def test_mappings_see_a_file_cut_and_written_again(file: PagedFile, space: AddressSpace, cut: str) -> None:
    file.write(0, b"old" * PAGE)
    space.map(BASE, 2 * PAGE, RW, fixed=True, shared=True, source=file)
    assert space.copy_in(BASE + PAGE, 1)
    if cut == "truncate":
        file.truncate(0)
        file.truncate(2 * PAGE)
    else:
        file.punch(0, 2 * PAGE)
    assert space.copy_in(BASE, 2 * PAGE) == bytes(2 * PAGE)
    file.write(PAGE, b"new")
    assert space.copy_in(BASE + PAGE, 3) == b"new"
    space.copy_out(BASE, b"too")
    assert file.read(0, 3) == b"too"
    file.release()


def test_private_mappings_keep_their_writes_to_themselves(file: PagedFile, space: AddressSpace) -> None:
    file.write(0, b"file")
    space.map(BASE, PAGE, RW, fixed=True, source=file)
    assert space.copy_in(BASE, 4) == b"file"
    space.copy_out(BASE, b"mine")
    assert (file.read(0, 4), space.copy_in(BASE, 4)) == (b"file", b"mine")
    file.release()


def test_beyond_the_end_is_a_bus_error(file: PagedFile, space: AddressSpace) -> None:
    file.write(0, b"x")
    space.map(BASE, 3 * PAGE, RW, fixed=True, shared=True, source=file)
    assert space.resolve(BASE, WRITE)
    assert not space.resolve(BASE + PAGE, READ) and space.fault == "bus"
    file.truncate(PAGE + 1)
    assert space.resolve(BASE + PAGE, READ)
    file.release()


STEP = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 3 * PAGE), st.binary(max_size=50).map(lambda data: data * 100)),
    st.tuples(st.just("truncate"), st.integers(0, 5 * PAGE), st.none()),
    st.tuples(st.just("punch"), st.integers(0, 5 * PAGE), st.integers(0, 3 * PAGE)),
)


@given(st.lists(STEP, max_size=12))
def test_against_a_byte_array(steps: list[tuple[str, int, bytes | int | None]]) -> None:
    pool = FramePool(64 * PAGE)
    file, model = PagedFile(pool, pool.system), bytearray()
    for step, offset, value in steps:
        if step == "write":
            assert isinstance(value, bytes)
            file.write(offset, value)
            if value:
                model.extend(bytes(max(0, offset + len(value) - len(model))))
                model[offset : offset + len(value)] = value
        elif step == "truncate":
            file.truncate(offset)
            model = model[:offset] + bytes(max(0, offset - len(model)))
        else:
            assert isinstance(value, int)
            file.punch(offset, value)
            end = min(len(model), offset + value)
            if offset < end:
                model[offset:end] = bytes(end - offset)
        assert file.size == len(model) and file.read(0, len(model) + 9) == model
        assert file.read(len(model) // 2, 5) == model[len(model) // 2 :][:5]
    file.release()
    assert pool.used == 0
    pool.close()
