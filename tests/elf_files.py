"""ELF files made by hand: a small program that says "ok" and exits, and every way to spoil its headers.

`variants` yields (name, bytes): each field of the file header and of each program header set to each of a list of
values that a hostile file would try, and files that are cut, empty or not ELF at all. `mutated` changes a few at
random.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from sandbox import assembler
from sandbox.abi import elf

SOURCES = {
    "x86_64": """
_start: mov eax, 1
        mov edi, 1
        lea rsi, [rip + text]
        mov edx, 3
        syscall
        mov eax, 231
        xor edi, edi
        syscall
# data
text:   .ascii "ok\\n"
        .space 100
        .byte 1
""",
    "i386": """
_start: mov eax, 4
        mov ebx, 1
        lea ecx, [text]
        mov edx, 3
        int 0x80
        mov eax, 252
        xor ebx, ebx
        int 0x80
# data
text:   .ascii "ok\\n"
        .space 100
        .byte 1
""",
}
# What a hostile file would put into a number, by its width in bytes.
INTERESTING = {
    1: (0, 1, 2, 3, 0x7F, 0xFF),
    2: (0, 1, 2, 4, 0x7FFF, 0x8000, 0xFFFF),
    4: (0, 1, 5, 0xFFF, 0x1000, 0x7FFFFFFF, 0x80000000, 0xFFFFF000, 0xFFFFFFFF),
    8: (0, 1, 5, 0xFFF, 0x1000, 1 << 31, 1 << 47, (1 << 63) - 1, 1 << 63, (1 << 64) - 4096, (1 << 64) - 1),
}


def program(isa: str) -> bytes:
    return assembler.assemble(SOURCES[isa], f"ok.{isa}.s", isa)


def fields(isa: str, data: bytes) -> Iterator[tuple[str, int, int]]:
    """(name, offset, width) of every number in the headers."""
    elf_class = elf.MACHINES[isa][1]
    word = 8 if elf_class == elf.CLASS64 else 4
    for index in range(4, 9):
        yield f"ident{index}", index, 1
    offset = 16
    for name in elf.FileHeader._fields[1:]:
        width = 4 if name in ("version", "flags") else word if name in ("entry", "phoff", "shoff") else 2
        yield name, offset, width
        offset += width
    names64 = (("type", 4), ("flags", 4), ("offset", 8), ("vaddr", 8), ("paddr", 8), ("filesz", 8), ("memsz", 8))
    names32 = (("type", 4), ("offset", 4), ("vaddr", 4), ("paddr", 4), ("filesz", 4), ("memsz", 4), ("flags", 4))
    layout = (*(names64 if word == 8 else names32), ("align", word))
    header = elf.FileHeader(*elf.FILE_HEADER[elf_class].unpack_from(data))
    for index in range(header.phnum):
        offset = header.phoff + index * header.phentsize
        for name, width in layout:
            yield f"segment{index}.{name}", offset, width
            offset += width


def put(data: bytes, offset: int, width: int, value: int) -> bytes:
    return data[:offset] + (value & (1 << 8 * width) - 1).to_bytes(width, "little") + data[offset + width :]


def mutated(good: bytes, chance: random.Random) -> bytes:
    """One to four numbers of the headers changed, to what a hostile file would try or to anything."""
    for _ in range(chance.randint(1, 4)):
        width = chance.choice((1, 1, 2, 4, 8))
        good = put(good, chance.randrange(240), width, chance.choice((0, 1, -1, chance.getrandbits(64))))
    return good


def variants(isa: str) -> Iterator[tuple[str, bytes]]:
    good = program(isa)
    yield "untouched", good
    for name, offset, width in fields(isa, good):
        for value in INTERESTING[width]:
            changed = put(good, offset, width, value)
            if changed != good:
                yield f"{name}={value:#x}", changed
    for length in (0, 1, 3, 4, 5, 15, 16, 40, 51, 52, 63, 64, 65, 100, 119, 120, 200, 4095, 4096, 4100):
        yield f"cut to {length}", good[:length]
    yield "not an ELF file", b"hello" + good[5:]
    yield "zeros", bytes(200)
    yield "text", b"echo hello\n"
    yield "only the magic", b"\x7fELF"
