"""Programs into address spaces: what is mapped where, what is shared, symbols, listings, flat images."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from sandbox import guests
from sandbox.abi.errno import Errno
from sandbox.engine import ISAS
from sandbox.errors import LoadError
from sandbox.loader import (
    LAYOUTS,
    BytesSource,
    flat_image,
    identify,
    parse,
    read_symbols,
)
from sandbox.loader import stack as initial_stack
from sandbox.loader.elf import read_range
from sandbox.loader.listing import list_program
from sandbox.memory import PROT_EXEC, PROT_READ, PROT_WRITE, Account, AddressSpace, FramePool
from tests.elf_files import put
from tests.loading import auxiliary, burner, load_files, position_independent


@pytest.fixture
def pool() -> Iterator[FramePool]:
    pool = FramePool(64 << 20)
    yield pool
    pool.close()


@pytest.fixture
def account(pool: FramePool) -> Account:
    return pool.account(32 << 20)


# ---- headers, compared with pyelftools


def known_programs() -> list[Path]:
    candidates = [
        Path(name) for name in ("/bin/busybox", "/bin/true", "/lib64/ld-linux-x86-64.so.2", "/usr/bin/python3")
    ]
    candidates += [Path(f"/usr/{prefix}/lib/ld-linux-{prefix.split('-')[0]}.so.1") for prefix in ("aarch64-linux-gnu",)]
    candidates += [Path("/usr/arm-linux-gnueabihf/lib/ld-linux-armhf.so.3")]
    return [path for path in candidates if path.exists()]


@pytest.mark.parametrize("path", known_programs(), ids=str)
def test_headers_and_symbols_as_pyelftools_reads_them(path: Path) -> None:
    data = path.read_bytes()
    image = parse(BytesSource(data))
    reference = ELFFile(io.BytesIO(data))
    segments = [
        (segment["p_vaddr"], segment["p_memsz"], segment["p_offset"], segment["p_filesz"])
        for segment in reference.iter_segments("PT_LOAD")
    ]
    assert [(s.address, s.memory_size, s.offset, s.file_size) for s in image.segments] == segments
    assert image.entry == reference["e_entry"]
    assert image.relocatable == (reference["e_type"] == "ET_DYN")
    interpreters = [segment.data().rstrip(b"\0") for segment in reference.iter_segments("PT_INTERP")]
    assert image.interpreter == (interpreters[0] if interpreters else None)
    expected: dict[str, set[int]] = {}
    for section in reference.iter_sections():
        if isinstance(section, SymbolTableSection):
            for symbol in section.iter_symbols():
                if symbol["st_shndx"] != "SHN_UNDEF" and symbol["st_info"]["type"] in ("STT_FUNC", "STT_OBJECT"):
                    expected.setdefault(symbol.name, set()).add(symbol["st_value"] & ~1)
    symbols = read_symbols(data)
    assert expected or path.name == "busybox" or not symbols.by_name
    for name, values in expected.items():
        if name and len(name) < 256:
            assert symbols.by_name[name] & ~1 in values, name


@pytest.mark.parametrize("arch", list(ISAS))
def test_isa_is_identified(arch: str) -> None:
    assert identify(burner(arch)[:64]) == arch


# ---- placement


@pytest.mark.parametrize("arch", list(ISAS))
def test_segments_stand_where_the_file_says(pool: FramePool, account: Account, arch: str) -> None:
    data = guests.guest("check", arch).program()
    space = AddressSpace(pool, account, ISAS[arch].bits)
    loaded = load_files(space, arch, {b"/program": data})
    image = parse(BytesSource(data))
    text, writable = image.segments
    assert loaded.pc == loaded.entry == image.entry
    assert space.copy_in(text.address, text.file_size) == data[text.offset : text.offset + text.file_size]
    stored = data[writable.offset : writable.offset + writable.file_size]
    assert space.copy_in(writable.address, writable.memory_size) == stored.ljust(writable.memory_size, b"\0")
    protections = {region.start: region.protection for region in space.regions()}
    assert protections[text.address] == PROT_READ | PROT_EXEC
    assert protections[writable.address] == PROT_READ | PROT_WRITE
    assert space.start_brk == space.brk == loaded.start_brk == (image.high + 4095) & -4096
    with pytest.raises(Errno):
        space.copy_out(text.address, b"x")
    space.release()
    assert account.used == 0


def test_pages_of_a_program_are_shared_and_its_data_is_not(pool: FramePool, account: Account) -> None:
    data = guests.guest("check", "x86_64").program()
    spaces = [AddressSpace(pool, pool.account(1 << 20), 64) for _ in range(3)]
    for space in spaces:
        load_files(space, "x86_64", {b"/program": data})
        space.copy_in(0x401000, 1)
        space.copy_in(0x403000, 8)
    frames = {space.table.entry(0x401000) >> 12 for space in spaces}
    assert len(frames) == 1
    spaces[0].copy_out(0x403000, b"changed!")
    assert spaces[1].copy_in(0x403000, 8) == b"\x11" * 8
    for space in spaces:
        space.release()


ODD_SEGMENTS = [
    ("a whole page", 0x0, 0x0, 0x1000, 0x1000),
    ("starts within a page", 0x123, 0x123, 0x400, 0x400),
    ("bss within the last page", 0x234, 0x234, 0x100, 0x900),
    ("bss beyond the last page", 0x234, 0x234, 0x100, 0x5000),
    ("ends on a page's end", 0x800, 0x800, 0x800, 0x1800),
    ("several pages", 0x10, 0x10, 0x3456, 0x3456),
    ("one byte", 0xFFF, 0xFFF, 1, 2),
]


@pytest.mark.parametrize(("vaddr", "offset", "file_size", "memory_size"), [row[1:] for row in ODD_SEGMENTS])
def test_odd_segments(
    pool: FramePool, account: Account, vaddr: int, offset: int, file_size: int, memory_size: int
) -> None:
    data = position_independent([(vaddr, offset, file_size, memory_size, 6)]) + b"\xee" * 5000  # to be cleared
    space = AddressSpace(pool, account, 64)
    loaded = load_files(space, "x86_64", {b"/program": data})
    address = loaded.bias + vaddr
    expected = data[offset : offset + file_size].ljust(memory_size, b"\0")
    assert space.copy_in(address, memory_size) == expected
    page_end = -(-(address + memory_size) // 4096) * 4096
    if memory_size > file_size:
        rest = space.copy_in(address + memory_size, page_end - address - memory_size)
        assert not any(rest), "what follows bss on its page is zero"
    before = address & -4096
    assert space.copy_in(before, address - before) == data[offset - (address - before) : offset]
    space.release()


def test_bss_without_file_bytes_and_a_read_only_tail(pool: FramePool, account: Account) -> None:
    data = position_independent([(0, 0, 0x200, 0x200, 5), (0x2000, 0, 0, 0x3000, 6), (0x8000, 0, 0x100, 0x900, 4)])
    space = AddressSpace(pool, account, 64)
    loaded = load_files(space, "x86_64", {b"/program": data})
    assert space.copy_in(loaded.bias + 0x2000, 0x3000) == bytes(0x3000)
    tail = space.copy_in(loaded.bias + 0x8100, 0x100)
    assert tail == data[0x100:0x200], "Linux clears the tail of writable segments only"
    space.release()


def test_where_position_independent_programs_go(pool: FramePool, account: Account) -> None:
    plain = [(0, 0, 0x200, 0x3000, 7)]
    space = AddressSpace(pool, account, 64)
    alone = load_files(space, "x86_64", {b"/program": position_independent(plain, 0x80)})
    assert alone.bias + 0x3000 == LAYOUTS["x86_64"].mmap_top
    assert alone.start_brk == LAYOUTS["x86_64"].pie_base, "the heap of a static-pie program has room to grow"
    assert alone.pc == alone.bias + 0x80
    assert alone.interpreter_base == 0
    space.release()
    space = AddressSpace(pool, account, 64)
    files = {
        b"/program": position_independent(plain, 0x80, b"/lib/ld.so"),
        b"/lib/ld.so": position_independent([(0, 0, 0x300, 0x300, 5)], 0x99),
    }
    both = load_files(space, "x86_64", files)
    assert both.bias == LAYOUTS["x86_64"].pie_base
    assert both.entry == both.bias + 0x80
    assert both.interpreter_base + 0x1000 == LAYOUTS["x86_64"].mmap_top
    assert both.pc == both.interpreter_base + 0x99
    assert auxiliary(space, both)[initial_stack.AT_BASE] == both.interpreter_base
    assert auxiliary(space, both)[initial_stack.AT_ENTRY] == both.entry
    assert auxiliary(space, both)[initial_stack.AT_PHDR] == both.bias + 64
    assert both.start_brk == both.bias + 0x3000
    space.release()


def test_large_alignment_is_honoured(pool: FramePool, account: Account) -> None:
    data = position_independent([(0x1000, 0x1000, 0x10, 0x10, 5)])
    data = put(data, 64 + 48, 8, 0x200000)
    space = AddressSpace(pool, account, 64)
    assert load_files(space, "x86_64", {b"/program": data}).bias % 0x200000 == 0
    space.release()


# ---- symbols, listings, flat images


def test_symbols_by_address() -> None:
    symbols = read_symbols(burner("x86_64"))
    turn = symbols.address("turn")
    assert turn is not None
    assert symbols.at(turn) == "turn"
    assert symbols.at(turn + 1) is None
    assert symbols.near(turn + 1) == ("turn", 1)
    assert symbols.near(0) is None
    assert symbols.address("nothing") is None
    assert read_symbols(b"no ELF file").by_name == {}


def test_listing() -> None:
    lines = list(list_program(burner("x86_64"), "burner"))
    assert "00401011 <turn>:" in lines
    assert any("call 0x" in line and line.endswith("<parse_argument>") for line in lines)
    stripped = put(burner("x86_64"), 40, 8, 0)  # no sections: by segment
    assert next(list_program(stripped, "burner")) == "segment at 0x401000:"
    assert list(list_program(b"\x1f\x20\x03\xd5", "raw", "arm64")) == ["       0:  1f2003d5          nop"]
    with pytest.raises(LoadError, match="say whose code"):
        list(list_program(b"\x90", "raw"))


def test_flat_images() -> None:
    raw = flat_image(b"\x13\0\0\0", "raw.bin", 0x80000000, 1 << 20)
    assert (raw.entry, raw.pieces, raw.isa_name) == (0x80000000, ((0x80000000, b"\x13\0\0\0"),), None)
    program = guests.guest("timer", "riscv64").program()
    image = flat_image(program, "timer", 0, 1 << 20)
    assert (image.isa_name, image.entry, image.start) == ("riscv64", 0x80000000, 0x80000000)
    for data, sentence in (
        (b"", "is empty"),
        (b"x" * 5000, "needs 5000 bytes"),
        (b"\x7fELF", "ends within"),
        (position_independent([(0, 0, 0x200, 0x200, 7)]), "position-independent"),
    ):
        with pytest.raises(LoadError, match=sentence):
            flat_image(data, "image", 0, 4096)


@pytest.mark.parametrize(
    ("offset", "count"), [(0, 0), (0, 10), (4090, 10), (0, 9000), (8999, 5), (9000, 1), (9001, 1), (-1, 5), (5, -1)]
)
def test_read_range(offset: int, count: int) -> None:
    data = bytes(index % 251 for index in range(9000))
    expected = data[offset : offset + count] if offset >= 0 and count > 0 else b""
    assert read_range(BytesSource(data), offset, count) == expected
