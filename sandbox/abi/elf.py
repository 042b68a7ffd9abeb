"""The ELF file format, as far as programs need it: numbers and layouts, no behaviour.

Source: the System V ABI, chapters 4 and 5, and its per-processor supplements; `elf(5)`. The little-endian
forms only: all five ISAs here are little-endian. Layouts are keyed by EI_CLASS (`CLASS32`, `CLASS64`).
Readers: `sandbox.loader.elf` and `sandbox.loader.symbols`. Writer: `sandbox.assembler.image`.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

MAGIC = b"\x7fELF"
CLASS32, CLASS64 = 1, 2
LITTLE_ENDIAN, BIG_ENDIAN = 1, 2
VERSION = 1
ET_EXEC, ET_DYN = 2, 3
PT_LOAD, PT_INTERP, PT_GNU_STACK = 1, 3, 0x6474E551
PF_X, PF_W, PF_R = 1, 2, 4
SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_DYNSYM = 1, 2, 3, 11
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4
SHN_UNDEF, SHN_ABS, SHN_LORESERVE = 0, 0xFFF1, 0xFF00
STB_LOCAL, STB_GLOBAL, STB_WEAK = 0, 1, 2
STT_NOTYPE, STT_OBJECT, STT_FUNC = 0, 1, 2

# ISA name -> (e_machine, EI_CLASS).
MACHINES: dict[str, tuple[int, int]] = {
    "i386": (3, CLASS32),
    "arm": (40, CLASS32),
    "x86_64": (62, CLASS64),
    "arm64": (183, CLASS64),
    "riscv64": (243, CLASS64),
}
EM_486 = 6
# What people call other machines, for the sentence that refuses them.
MACHINE_NAMES: dict[int, str] = {
    2: "SPARC",
    3: "80386",
    4: "m68k",
    8: "MIPS",
    20: "PowerPC",
    21: "64-bit PowerPC",
    22: "S/390",
    40: "ARM",
    42: "SuperH",
    43: "SPARC v9",
    50: "Itanium",
    62: "x86-64",
    94: "Xtensa",
    183: "AArch64",
    243: "RISC-V",
    247: "BPF",
    258: "LoongArch",
}
EF_ARM_EABI_MASK = 0xFF000000
EF_ARM_EABI5 = 0x05000000
EF_ARM_BE8 = 0x00800000
EF_RISCV_RVC_DOUBLE = 0x5  # compressed instructions, double-float calling convention


class FileHeader(NamedTuple):
    ident: bytes
    type: int
    machine: int
    version: int
    entry: int
    phoff: int
    shoff: int
    flags: int
    ehsize: int
    phentsize: int
    phnum: int
    shentsize: int
    shnum: int
    shstrndx: int


class ProgramHeader(NamedTuple):
    type: int
    flags: int
    offset: int
    vaddr: int
    paddr: int
    filesz: int
    memsz: int
    align: int


class SectionHeader(NamedTuple):
    name: int
    type: int
    flags: int
    addr: int
    offset: int
    size: int
    link: int
    info: int
    addralign: int
    entsize: int


class Symbol(NamedTuple):
    name: int
    info: int
    other: int
    shndx: int
    value: int
    size: int


FILE_HEADER = {CLASS32: Struct("<16sHHIIIIIHHHHHH"), CLASS64: Struct("<16sHHIQQQIHHHHHH")}
PROGRAM_HEADER = {CLASS32: Struct("<8I"), CLASS64: Struct("<IIQQQQQQ")}
SECTION_HEADER = {CLASS32: Struct("<10I"), CLASS64: Struct("<IIQQQQIIQQ")}
SYMBOL = {CLASS32: Struct("<IIIBBH"), CLASS64: Struct("<IBBHQQ")}


def unpack_program_header(elf_class: int, data: bytes, offset: int = 0) -> ProgramHeader:
    fields = PROGRAM_HEADER[elf_class].unpack_from(data, offset)
    if elf_class == CLASS32:  # p_flags stands near the end there
        kind, file_offset, vaddr, paddr, filesz, memsz, flags, align = fields
        return ProgramHeader(kind, flags, file_offset, vaddr, paddr, filesz, memsz, align)
    return ProgramHeader(*fields)


def pack_program_header(elf_class: int, header: ProgramHeader) -> bytes:
    if elf_class == CLASS32:
        kind, flags, *rest, align = header
        return PROGRAM_HEADER[elf_class].pack(kind, *rest, flags, align)
    return PROGRAM_HEADER[elf_class].pack(*header)


def unpack_symbol(elf_class: int, data: bytes, offset: int = 0) -> Symbol:
    fields = SYMBOL[elf_class].unpack_from(data, offset)
    if elf_class == CLASS32:
        name, value, size, info, other, shndx = fields
        return Symbol(name, info, other, shndx, value, size)
    return Symbol(*fields)


def pack_symbol(elf_class: int, symbol: Symbol) -> bytes:
    if elf_class == CLASS32:
        name, info, other, shndx, value, size = symbol
        return SYMBOL[elf_class].pack(name, value, size, info, other, shndx)
    return SYMBOL[elf_class].pack(*symbol)
