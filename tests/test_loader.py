"""Programs into address spaces: what is mapped where, what is shared, the initial stack, scripts, errors."""

from __future__ import annotations

import io
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from sandbox import assembler, guests
from sandbox.abi.errno import E2BIG, EACCES, EINVAL, ELIBBAD, ELOOP, ENOENT, ENOEXEC, ENOMEM, Errno
from sandbox.engine import ISAS
from sandbox.errors import LoadError
from sandbox.loader import (
    LAYOUTS,
    BytesSource,
    Identity,
    LoadedProgram,
    flat_image,
    for_operator,
    identify,
    load,
    parse,
    read_symbols,
)
from sandbox.loader import stack as initial_stack
from sandbox.loader.elf import BadProgram, read_range
from sandbox.loader.kuser import KuserPage
from sandbox.loader.listing import list_program
from sandbox.loader.script import parse_line, resolve
from sandbox.memory import PROT_EXEC, PROT_READ, PROT_WRITE, Account, AddressSpace, FramePool
from tests.elf_files import put

Files = dict[bytes, bytes]


@pytest.fixture
def pool() -> Iterator[FramePool]:
    pool = FramePool(64 << 20)
    yield pool
    pool.close()


@pytest.fixture
def account(pool: FramePool) -> Account:
    return pool.account(32 << 20)


def opener(files: Files) -> Callable[[bytes], BytesSource]:
    def open_program(path: bytes) -> BytesSource:
        if path not in files:
            raise Errno(ENOENT)
        if not files[path]:
            raise Errno(EACCES)
        return BytesSource(files[path])

    return open_program


def load_files(
    space: AddressSpace,
    isa: str,
    files: Files,
    argv: list[bytes] | None = None,
    environment: list[bytes] | None = None,
    identity: Identity | None = None,
) -> LoadedProgram:
    return load(
        space,
        isa,
        opener(files),
        b"/program",
        [b"program"] if argv is None else argv,
        environment or [],
        random=bytes(range(16)),
        identity=identity or Identity(),
    )


def burner(arch: str) -> bytes:
    return guests.guest("burner", arch).program()


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


def position_independent(segments: list[tuple[int, int, int, int, int]], entry: int = 0, interp: bytes = b"") -> bytes:
    """An ET_DYN file for x86_64: (vaddr, offset, file size, memory size, flags) each; file bytes count up."""
    header = [b"\x7fELF\x02\x01\x01" + bytes(9)]
    count = len(segments) + bool(interp)
    header.append(struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, entry, 64, 0, 0, 64, 56, count, 64, 0, 0))
    for vaddr, offset, file_size, memory_size, flags in segments:
        header.append(struct.pack("<IIQQQQQQ", 1, flags, offset, vaddr, vaddr, file_size, memory_size, 4096))
    if interp:
        place = 64 + 56 * count
        header.append(struct.pack("<IIQQQQQQ", 3, 4, place, place, place, len(interp) + 1, len(interp) + 1, 1))
        header.append(interp + b"\0")
    body = b"".join(header)
    length = max(offset + size for _, offset, size, _, _ in segments)
    return body + bytes(index & 0xFF for index in range(len(body), length))


# (name, vaddr, offset, file size, memory size)
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


# ---- the initial stack


def words_at(space: AddressSpace, address: int, count: int) -> tuple[int, ...]:
    size = space.bits // 8
    return struct.unpack(f"<{count}{'Q' if size == 8 else 'I'}", space.copy_in(address, count * size))


def strings_at(space: AddressSpace, address: int) -> tuple[list[bytes], int]:
    """The strings of a pointer vector, and the address behind its NULL."""
    found = []
    size = space.bits // 8
    while pointer := words_at(space, address, 1)[0]:
        found.append(space.copy_string(pointer))
        address += size
    return found, address + size


def read_stack(space: AddressSpace, pointer: int) -> tuple[list[bytes], list[bytes], dict[int, int]]:
    size = space.bits // 8
    count = words_at(space, pointer, 1)[0]
    argv, address = strings_at(space, pointer + size)
    assert len(argv) == count
    environment, address = strings_at(space, address)
    entries: dict[int, int] = {}
    while True:
        key, value = words_at(space, address, 2)
        if key == initial_stack.AT_NULL:
            return argv, environment, entries
        entries[key] = value
        address += 2 * size


def auxiliary(space: AddressSpace, loaded: LoadedProgram) -> dict[int, int]:
    return read_stack(space, loaded.sp)[2]


@pytest.mark.parametrize("arch", list(ISAS))
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_initial_stack(pool: FramePool, account: Account, arch: str, count: int) -> None:
    argv = [b"argument %d" % index * index for index in range(count)]
    environment = [b"NAME%d=value" % index for index in range(count)]
    space = AddressSpace(pool, account, ISAS[arch].bits)
    identity = Identity(uid=1, euid=2, gid=3, egid=4, secure=True)
    loaded = load_files(space, arch, {b"/program": burner(arch)}, argv, environment, identity=identity)
    assert loaded.sp % 16 == 0
    found_argv, found_environment, entries = read_stack(space, loaded.sp)
    assert found_argv == (argv or [b""])
    assert found_environment == environment
    at = initial_stack
    assert [entries[key] for key in (at.AT_UID, at.AT_EUID, at.AT_GID, at.AT_EGID, at.AT_SECURE)] == [1, 2, 3, 4, 1]
    assert (entries[at.AT_PAGESZ], entries[at.AT_CLKTCK], entries[at.AT_FLAGS]) == (4096, 100, 0)
    assert entries[at.AT_ENTRY] == loaded.entry
    assert entries[at.AT_PHENT] == (56 if space.bits == 64 else 32)
    assert entries[at.AT_HWCAP] == LAYOUTS[arch].hwcap
    assert space.copy_in(entries[at.AT_RANDOM], 16) == bytes(range(16))
    assert space.copy_string(entries[at.AT_EXECFN]) == b"/program"
    platform = LAYOUTS[arch].platform
    assert (at.AT_PLATFORM in entries) == (platform is not None)
    if platform is not None:
        assert space.copy_string(entries[at.AT_PLATFORM]) == platform
    stack = loaded.stack
    joined = b"".join(text + b"\0" for text in found_argv)
    assert space.copy_in(stack.argument_start, stack.argument_end - stack.argument_start) == joined
    joined = b"".join(text + b"\0" for text in environment)
    assert space.copy_in(stack.environment_start, stack.environment_end - stack.environment_start) == joined
    top = LAYOUTS[arch].stack_top
    assert not any(space.copy_in(top - space.bits // 8, space.bits // 8))
    space.release()


@pytest.mark.parametrize(
    ("argv", "fits"),
    [
        ([b"x" * 131071], True),
        ([b"x" * 131072], False),
        ([b"x" * 1000] * 2000, True),
        ([b"x" * 1000] * 2100, False),
        ([b""] * 200_000, True),
        ([b""] * 240_000, False),
    ],
)
def test_too_many_arguments(pool: FramePool, account: Account, argv: list[bytes], fits: bool) -> None:
    space = AddressSpace(pool, account, 64)
    if fits:
        loaded = load_files(space, "x86_64", {b"/program": burner("x86_64")}, argv)
        assert words_at(space, loaded.sp, 1) == (len(argv),)
    else:
        with pytest.raises(BadProgram) as caught:
            load_files(space, "x86_64", {b"/program": burner("x86_64")}, argv)
        assert caught.value.number == E2BIG
    space.release()


def test_stack_is_executable_when_the_file_asks_for_it(pool: FramePool, account: Account) -> None:
    data = burner("x86_64")
    for flags, executable in ((6, False), (7, True)):
        space = AddressSpace(pool, account, 64)
        load_files(space, "x86_64", {b"/program": put(data, 64 + 4, 4, flags)})
        stack = next(region for region in space.regions() if region.name == b"[stack]")
        assert bool(stack.protection & PROT_EXEC) == executable
        space.release()


def test_arm_helpers_are_what_they_say(pool: FramePool, account: Account) -> None:
    """The words of the page, against keystone; what they do is tested by the guest `check`."""
    source = """
_start: push {r4, r5, r6, r7}
        ldrd r4, r5, [r0]
        ldrd r6, r7, [r1]
        dmb ish
again:  ldrexd r0, r1, [r2]
        eors r3, r0, r4
        eorseq r3, r1, r5
        strexdeq r3, r6, r7, [r2]
        teqeq r3, #1
        beq again
        dmb ish
        rsbs r0, r3, #0
        pop {r4, r5, r6, r7}
        bx lr
        .space 8
barrier: dmb ish
        bx lr
        .space 24
        dmb ish
retry:  ldrex r3, [r2]
        subs r3, r3, r0
        strexeq r3, r1, [r2]
        teqeq r3, #1
        beq retry
        rsbs r0, r3, #0
        b barrier
        mrc p15, #0, r0, c13, c0, #3
        bx lr
"""
    image = assembler.assemble(source, "kuser", "arm")
    code = image[4096 : 4096 + 0x88]
    page = KuserPage().load(0)
    undefined = bytes.fromhex("f1defde7")
    masked = page[0xF60 : 0xF60 + 0x88].replace(undefined, bytes(4))
    assert masked == code
    space = AddressSpace(pool, account, 32)
    load_files(space, "arm", {b"/program": burner("arm")})
    assert space.copy_in(0xFFFF0FFC, 4) == b"\x05\0\0\0"
    space.release()


# ---- scripts

LONG = b"/" + b"i" * 300
SCRIPT_LINES: list[tuple[bytes, tuple[bytes, bytes | None] | int | None]] = [
    (b"", None),
    (b"# !/bin/sh\n", None),
    (b"#!/bin/sh\n", (b"/bin/sh", None)),
    (b"#!/bin/sh", (b"/bin/sh", None)),
    (b"#! \t/bin/sh \t \n", (b"/bin/sh", None)),
    (b"#!/bin/sh -e\n", (b"/bin/sh", b"-e")),
    (b"#!/usr/bin/env  a  b c \nrest", (b"/usr/bin/env", b"a  b c")),
    (b"#!/bin/sh\r\n", (b"/bin/sh\r", None)),
    (b"#!/bin/sh\0junk\n", (b"/bin/sh", None)),
    (b"#!/bin/sh a\0junk\n", (b"/bin/sh", b"a")),
    (b"#!/bin/sh \0a\n", (b"/bin/sh", b"")),
    (b"#!\n", ENOEXEC),
    (b"#!   \t\n", ENOEXEC),
    (b"#!" + b" " * 300, ENOEXEC),
    (b"#!\0\n", EACCES),
    (b"#!", EACCES),
    (b"#!" + LONG + b"\n", ENOEXEC),
    (b"#!/" + b"i" * 252, (b"/" + b"i" * 252, None)),  # 255 bytes
    (b"#!/" + b"i" * 253, ENOEXEC),
    (b"#!/" + b"i" * 252 + b"\n", (b"/" + b"i" * 252, None)),
    (b"#!/" + b"i" * 251 + b" x y", (b"/" + b"i" * 251, None)),  # the argument is cut off
    (b"#!/bin/sh " + b"a" * 300, (b"/bin/sh", b"a" * 245)),
]


@pytest.mark.parametrize(("start", "expected"), SCRIPT_LINES)
def test_first_lines_of_scripts(start: bytes, expected: tuple[bytes, bytes | None] | int | None) -> None:
    if isinstance(expected, int):
        with pytest.raises(BadProgram) as caught:
            parse_line(start)
        assert caught.value.number == expected
    else:
        assert parse_line(start) == expected


def test_scripts_name_scripts(tmp_path: Path) -> None:
    """Five levels run and the sixth is ELOOP, here and natively."""
    program = tmp_path / "program"
    program.write_bytes(guests.guest("echo", "x86_64").program())
    files: Files = {bytes(program): program.read_bytes()}
    previous = program
    for level in range(1, 8):
        script = tmp_path / f"script{level}"
        script.write_bytes(b"#!%b of-%d\nrest\n" % (bytes(previous), level))
        script.chmod(0o755)
        files[bytes(script)] = script.read_bytes()
        previous = script
    program.chmod(0o755)
    for level in range(1, 8):
        path = tmp_path / f"script{level}"
        try:
            native: bytes | int = subprocess.run([path, "x", "y"], capture_output=True, check=False).stdout
        except OSError as error:
            native = error.errno or 0
        try:
            resolved = resolve(opener(files), bytes(path), [b"zero", b"x", b"y"])
            here: bytes | int = b" ".join(resolved.argv[1:]) + b"\n"
            assert resolved.path == resolved.argv[0] == bytes(program)
        except Errno as error:
            here = error.number
        assert here == (ELOOP if level > 5 else here)
        assert here == native


def test_a_script_executes_as_itself(pool: FramePool, account: Account) -> None:
    space = AddressSpace(pool, account, 64)
    files = {b"/program": b"#!/interpreter -x\n", b"/interpreter": burner("x86_64")}
    loaded = load_files(space, "x86_64", files, [b"a", b"b"])
    argv, _, entries = read_stack(space, loaded.sp)
    assert argv == [b"/interpreter", b"-x", b"/program", b"b"]
    assert loaded.path == b"/interpreter"
    assert space.copy_string(entries[initial_stack.AT_EXECFN]) == b"/program"
    space.release()


# ---- errors, for the guest as a number and for the operator as a sentence

GOOD = position_independent([(0, 0, 0x200, 0x200, 7)], 0x80, b"/lib/ld.so")
FAILURES: list[tuple[str, Files, int, str]] = [
    ("missing", {}, ENOENT, "no such program"),
    ("not executable", {b"/program": b""}, EACCES, "may not be executed"),
    ("text", {b"/program": b"hello"}, ENOEXEC, "is not an ELF file"),
    ("short", {b"/program": b"\x7fELF\x02\x01"}, ENOEXEC, "ends within its ELF header"),
    (
        "another ISA",
        {b"/program": burner("arm64")},
        ENOEXEC,
        "is a program for arm64, and this virtual machine is x86_64",
    ),
    ("unknown ISA", {b"/program": put(GOOD, 18, 2, 21)}, ENOEXEC, "64-bit program for 64-bit PowerPC"),
    ("big-endian", {b"/program": put(put(GOOD, 18, 2, 0x1500), 5, 1, 2)}, ENOEXEC, "is big-endian"),
    ("riscv32", {b"/program": put(put(GOOD, 18, 2, 243), 4, 1, 1)}, ENOEXEC, "32-bit program for RISC-V"),
    ("object file", {b"/program": put(GOOD, 16, 2, 1)}, ENOEXEC, "object file that is not linked"),
    ("core dump", {b"/program": put(GOOD, 16, 2, 4)}, ENOEXEC, "core dump"),
    (
        "no interpreter",
        {b"/program": GOOD},
        ENOENT,
        "needs the interpreter /lib/ld.so, which cannot be opened (ENOENT)",
    ),
    ("bad interpreter", {b"/program": GOOD, b"/lib/ld.so": b"?"}, ELIBBAD, "and that file is not an ELF file"),
    ("foreign interpreter", {b"/program": GOOD, b"/lib/ld.so": burner("arm")}, ELIBBAD, "which is for arm"),
    ("script without", {b"/program": b"#!/none\n"}, ENOENT, "is a script for /none, which cannot be opened"),
    ("null page", {b"/program": put(burner("x86_64"), 64 + 56 + 16, 8, 0)}, EINVAL, "near it"),
    ("too high", {b"/program": put(burner("x86_64"), 64 + 56 + 16, 8, 1 << 62)}, ENOMEM, "wants memory up to"),
    (
        "where the stack is",
        {b"/program": put(burner("x86_64"), 64 + 56 + 16, 8, LAYOUTS["x86_64"].stack_top - 0x2000)},
        ENOMEM,
        "no room for its stack",
    ),
]


@pytest.mark.parametrize(
    ("files", "number", "sentence"), [row[1:] for row in FAILURES], ids=[row[0] for row in FAILURES]
)
def test_failures(pool: FramePool, account: Account, files: Files, number: int, sentence: str) -> None:
    space = AddressSpace(pool, account, 64)
    with pytest.raises(Errno) as caught:
        load_files(space, "x86_64", files)
    assert caught.value.number == number
    told = for_operator(caught.value, "./program")
    assert str(told).startswith("./program: ")
    assert sentence in str(told)
    assert told.status == (127 if sentence == "no such program" else 126)
    space.release()
    assert account.used == 0


def test_a_program_that_does_not_fit(pool: FramePool) -> None:
    account = pool.account(8 * 4096)
    space = AddressSpace(pool, account, 64)
    with pytest.raises(Errno) as caught:
        load_files(space, "x86_64", {b"/program": position_independent([(0, 0, 0x100, 1 << 20, 6)])})
    assert caught.value.number == ENOMEM
    assert "does not fit into the memory" in str(for_operator(caught.value, "p"))
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
        (GOOD, "position-independent"),
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
