"""copy_in, copy_out, copy_string, copy_in_words: page borders, bad pointers, absurd lengths."""

from __future__ import annotations

import errno

import pytest

from sandbox.abi.errno import Errno
from sandbox.memory import PAGE_SIZE, AddressSpace, FramePool, PagedFile
from tests import memory
from tests.memory import BASE, READ, WRITE, pages

pool, account, space = memory.pool, memory.account, memory.space
PAGE, RW = PAGE_SIZE, READ | WRITE
END = BASE + 8 * PAGE  # the first address behind what `mapped` maps
WILD = [0, 1, -1, -PAGE, BASE - 1, END, (1 << 47) - 1, 1 << 47, (1 << 64) - 1, 1 << 64, 1 << 100]
LENGTHS = [1, 2, 8, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE]
OFFSETS = [0, 1, PAGE - 1, PAGE, 2 * PAGE - 8, 5 * PAGE - PAGE // 2]


@pytest.fixture
def mapped(space: AddressSpace) -> AddressSpace:
    space.map(BASE, 8 * PAGE, RW, fixed=True)
    return space


def efault() -> pytest.RaisesExc[Errno]:
    return pytest.raises(Errno, match="EFAULT")


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("offset", OFFSETS)
def test_what_went_out_comes_in(mapped: AddressSpace, offset: int, length: int) -> None:
    data = bytes(index * 7 & 255 for index in range(length))
    mapped.copy_out(BASE + offset, data)
    around = mapped.copy_in(BASE, 8 * PAGE)
    assert around == bytes(offset) + data + bytes(8 * PAGE - offset - length)
    assert mapped.copy_in(BASE + offset, length) == data


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_whatever_holds_bytes_can_go_out(mapped: AddressSpace, kind: type[bytes]) -> None:
    mapped.copy_out(BASE + PAGE - 2, kind(b"abcd"))
    assert mapped.copy_in(BASE + PAGE - 2, 4) == b"abcd"


@pytest.mark.parametrize("address", WILD)
def test_wild_pointers(mapped: AddressSpace, address: int) -> None:
    for length in (1, PAGE, 1 << 30):
        with efault():
            mapped.copy_in(address, length)
    for data in (b"x", bytes(2 * PAGE)):
        with efault():
            mapped.copy_out(address, data)
    for size in (1, PAGE):
        with efault():
            mapped.copy_string(address, size)
    with efault():
        mapped.copy_in_words(address, 4)
    assert not mapped.writable(address, 1)


@pytest.mark.parametrize("length", [8 * PAGE + 1, 1 << 30, 1 << 46, 1 << 62, 1 << 64])
def test_lengths_beyond_the_mapping(mapped: AddressSpace, length: int) -> None:
    with efault():
        mapped.copy_in(BASE, length)
    assert not mapped.writable(BASE, length)


def test_nothing_is_copied_from_anywhere(mapped: AddressSpace) -> None:
    for address in WILD:
        assert mapped.copy_in(address, 0) == b"" and mapped.copy_in(address, -5) == b""
    for address in WILD:
        if address >= 0:
            mapped.copy_out(address, b"")
    assert mapped.resident == 0


def test_a_copy_that_fails_has_moved_the_pages_before(mapped: AddressSpace) -> None:
    with efault():
        mapped.copy_out(END - PAGE - 1, bytes(range(1, 256)) * 20)
    assert mapped.copy_in(END - PAGE - 1, 3) == b"\1\2\3"


def test_protections_are_the_guests_own(mapped: AddressSpace) -> None:
    mapped.copy_out(BASE, pages(3))
    mapped.protect(BASE + PAGE, PAGE, READ)
    mapped.protect(BASE + 2 * PAGE, PAGE, 0)
    assert mapped.copy_in(BASE + PAGE, 4) == b"\1" * 4
    for address in (BASE + PAGE, BASE + 2 * PAGE):
        with efault():
            mapped.copy_out(address, b"x")
    with efault():
        mapped.copy_in(BASE + 2 * PAGE - 1, 2)
    assert mapped.writable(BASE, PAGE)
    assert not mapped.writable(BASE, PAGE + 1)


STRINGS = {
    "short": (0, b"abc", 4096, b"abc"),
    "empty": (0, b"", 4096, b""),
    "up to the border": (PAGE - 4, b"abc", 4096, b"abc"),
    "over the border": (PAGE - 2, b"abc", 4096, b"abc"),
    "over two borders": (PAGE - 2, b"a" * (PAGE + 4), 2 * PAGE, b"a" * (PAGE + 4)),
    "NUL at the limit": (0, b"abc", 4, b"abc"),
    "last bytes that are mapped": (8 * PAGE - 4, b"abc", 4096, b"abc"),
}


@pytest.mark.parametrize(("offset", "string", "limit", "expected"), STRINGS.values(), ids=STRINGS)
def test_strings(mapped: AddressSpace, offset: int, string: bytes, limit: int, expected: bytes) -> None:
    mapped.copy_out(BASE, b"\xff" * (8 * PAGE))
    mapped.copy_out(BASE + offset, string + b"\0")
    assert mapped.copy_string(BASE + offset, limit) == expected


BAD_STRINGS = {
    "NUL behind the limit": (0, b"abc\0", 3, errno.ENAMETOOLONG),
    "no NUL within a path": (0, b"a" * 4096, 4096, errno.ENAMETOOLONG),
    "no limit left": (0, b"\0", 0, errno.ENAMETOOLONG),
    "no NUL up to the end": (8 * PAGE - 4, b"abcd", 4096, errno.EFAULT),
}


@pytest.mark.parametrize(("offset", "string", "limit", "number"), BAD_STRINGS.values(), ids=BAD_STRINGS)
def test_bad_strings(mapped: AddressSpace, offset: int, string: bytes, limit: int, number: int) -> None:
    mapped.copy_out(BASE + offset, string)
    with pytest.raises(Errno) as refused:
        mapped.copy_string(BASE + offset, limit)
    assert refused.value.number == number


def test_words(mapped: AddressSpace) -> None:
    mapped.copy_out(BASE + PAGE - 4, bytes(range(1, 17)))
    assert mapped.copy_in_words(BASE + PAGE - 4, 2) == (0x0807060504030201, 0x100F0E0D0C0B0A09)
    assert mapped.copy_in_words(BASE + PAGE - 4, 3, size=4) == (0x04030201, 0x08070605, 0x0C0B0A09)
    assert mapped.copy_in_words(BASE, 0) == ()


def test_reading_takes_no_copy_and_writing_does(mapped: AddressSpace, pool: FramePool) -> None:
    mapped.copy_out(BASE, b"original")
    child = mapped.fork()
    used = pool.used
    assert child.copy_in(BASE, 8) == b"original" and pool.used == used
    child.copy_out(BASE, b"changed!")
    assert pool.used == used + 2, "a page and the leaf that shows it"
    assert mapped.copy_in(BASE, 8) == b"original"
    child.release()


def test_copies_reach_shared_memory(mapped: AddressSpace, pool: FramePool) -> None:
    file = PagedFile(pool, pool.system)
    file.write(0, b"file")
    address = mapped.map(0, PAGE, RW, shared=True, source=file)
    mapped.copy_out(address, b"MINE")
    assert file.read(0, 4) == b"MINE"
    file.write(1, b"OUR")
    assert mapped.copy_in(address, 4) == b"MOUR"
    file.release()
