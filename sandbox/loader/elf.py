"""Reading an ELF program's headers, with every number taken as hostile.

Rules: the bytes come through a `PageSource`, a page at a time, and no more than the file header and 64 KiB of
program headers and one path are ever read, whatever the numbers in them say. Everything that is not right
raises `BadProgram`, an `Errno` that carries a sentence for the operator; the errno values are those of
Linux's `fs/binfmt_elf.c`, except where Linux would map the file and kill the process half way (segments
beyond the end of the file): here it is ENOEXEC and the old image stays.

The result is an `ElfImage`: pure numbers, checked, not yet placed. `sandbox.loader.place` maps it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from sandbox.abi import elf
from sandbox.abi.errno import EINVAL, ENOEXEC, Errno
from sandbox.memory import PageSource

PAGE = 4096
PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
_PROGRAM_HEADERS_LIMIT = 65536  # bytes; the limit of Linux
_PATH_MAX = 4096
_SMALLEST_HEADER = elf.FILE_HEADER[elf.CLASS32].size
_ISA_NAMES = {machine: name for name, (machine, _) in elf.MACHINES.items()} | {elf.EM_486: "i386"}


class BadProgram(Errno):
    """This file is no program that can be run. `reason` is a sentence's predicate for a person, e.g.
    "is cut short: segment 2 ends at byte 900 of 512"."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(number)
        self.reason = reason

    def __str__(self) -> str:
        return f"{super().__str__()}: the file {self.reason}"


@dataclass(frozen=True, slots=True)
class Segment:
    """One PT_LOAD. `address` and `offset` are congruent modulo the page size."""

    address: int
    memory_size: int
    offset: int
    file_size: int
    protection: int


@dataclass(frozen=True, slots=True)
class ElfImage:
    isa_name: str
    bits: int
    relocatable: bool  # ET_DYN: may be placed anywhere
    entry: int
    segments: tuple[Segment, ...]
    interpreter: bytes | None
    headers_address: int  # where the program headers will stand in memory (before the bias), 0: nowhere
    headers_count: int
    executable_stack: bool
    alignment: int  # the largest power of two that a segment asks for, at least a page

    @property
    def low(self) -> int:
        return min(segment.address for segment in self.segments) & -PAGE

    @property
    def high(self) -> int:
        return max(segment.address + segment.memory_size for segment in self.segments)


def read_range(source: PageSource, offset: int, count: int) -> bytes:
    """`count` bytes from `offset`, fewer at the end of the file."""
    if offset < 0 or count <= 0 or offset >= source.size:
        return b""
    end = min(offset + count, source.size)
    pages = [source.load(index).ljust(PAGE, b"\0") for index in range(offset // PAGE, (end + PAGE - 1) // PAGE)]
    start = offset % PAGE
    return b"".join(pages)[start : start + end - offset]


def identify(header: bytes) -> str:
    """The ISA's name from the first bytes of a file (64 suffice), or BadProgram(ENOEXEC). By the machine number
    alone, as Linux does it: class and byte order are not looked at, except to explain a refusal."""
    if header[:4] != elf.MAGIC:
        raise BadProgram(ENOEXEC, "is not an ELF file")
    if len(header) < _SMALLEST_HEADER:
        raise BadProgram(ENOEXEC, "ends within its ELF header")
    machine: int = struct.unpack_from("<H", header, 18)[0]
    name = _ISA_NAMES.get(machine)
    if name is not None and (name != "riscv64" or header[4] == elf.CLASS64):
        return name
    bits = 32 if header[4] == elf.CLASS32 else 64
    if header[5] == elf.BIG_ENDIAN:
        raise BadProgram(ENOEXEC, "is big-endian, and only little-endian machines are simulated")
    machine_name = elf.MACHINE_NAMES.get(machine, f"machine {machine}")
    known = ", ".join(sorted(elf.MACHINES))
    raise BadProgram(ENOEXEC, f"is a {bits}-bit program for {machine_name}; known are {known}")


def parse(source: PageSource) -> ElfImage:
    header = read_range(source, 0, 64)
    isa_name = identify(header)
    elf_class = elf.MACHINES[isa_name][1]
    layout = elf.FILE_HEADER[elf_class]
    if len(header) < layout.size:
        raise BadProgram(ENOEXEC, "ends within its ELF header")
    file = elf.FileHeader(*layout.unpack_from(header))
    if file.type not in (elf.ET_EXEC, elf.ET_DYN):
        kind = {1: "an object file that is not linked yet", 4: "a core dump"}.get(file.type, f"of type {file.type}")
        raise BadProgram(ENOEXEC, f"is {kind}, not a program")
    if isa_name == "arm" and (file.flags & elf.EF_ARM_EABI_MASK == 0 or file.flags & elf.EF_ARM_BE8):
        raise BadProgram(
            ENOEXEC, "is an ARM program of the old ABI or of BE8 order; only the little-endian EABI is known"
        )
    headers = _program_headers(source, file, elf_class)
    segments = tuple(
        _segment(index, header, source.size) for index, header in enumerate(headers) if header.type == elf.PT_LOAD
    )
    segments = tuple(segment for segment in segments if segment.memory_size)
    if not segments:
        raise BadProgram(ENOEXEC, "has no segment to load")
    return ElfImage(
        isa_name=isa_name,
        bits=32 if elf_class == elf.CLASS32 else 64,
        relocatable=file.type == elf.ET_DYN,
        entry=file.entry,
        segments=segments,
        interpreter=_interpreter(source, headers),
        headers_address=_headers_address(file.phoff, segments),
        headers_count=file.phnum,
        executable_stack=_executable_stack(headers, isa_name),
        alignment=_alignment(headers),
    )


def _program_headers(source: PageSource, file: elf.FileHeader, elf_class: int) -> list[elf.ProgramHeader]:
    size = elf.PROGRAM_HEADER[elf_class].size
    if file.phentsize != size:
        raise BadProgram(ENOEXEC, f"says that its program headers have {file.phentsize} bytes each, not {size}")
    length = file.phnum * size
    if not 0 < length <= _PROGRAM_HEADERS_LIMIT:
        raise BadProgram(ENOEXEC, f"says that it has {file.phnum} program headers")
    data = read_range(source, file.phoff, length)
    if len(data) < length:
        raise BadProgram(ENOEXEC, f"ends at byte {source.size}, before its program headers")
    return [elf.unpack_program_header(elf_class, data, offset) for offset in range(0, length, size)]


def _segment(index: int, header: elf.ProgramHeader, file_size: int) -> Segment:
    if header.filesz > header.memsz:
        raise BadProgram(EINVAL, f"is malformed: segment {index} is larger in the file than in memory")
    if header.filesz and header.offset + header.filesz > file_size:
        end = header.offset + header.filesz
        raise BadProgram(ENOEXEC, f"is cut short: segment {index} ends at byte {end} of {file_size}")
    if header.filesz and (header.vaddr - header.offset) % PAGE:
        raise BadProgram(
            EINVAL, f"is malformed: segment {index} stands at {header.vaddr:#x}, not congruent to its file offset"
        )
    protection = (
        (PROT_READ if header.flags & elf.PF_R else 0)
        | (PROT_WRITE if header.flags & elf.PF_W else 0)
        | (PROT_EXEC if header.flags & elf.PF_X else 0)
    )
    return Segment(header.vaddr, header.memsz, header.offset, header.filesz, protection)


def _interpreter(source: PageSource, headers: list[elf.ProgramHeader]) -> bytes | None:
    for header in headers:
        if header.type != elf.PT_INTERP:
            continue
        if not 2 <= header.filesz <= _PATH_MAX:
            raise BadProgram(ENOEXEC, f"names its interpreter in {header.filesz} bytes")
        path = read_range(source, header.offset, header.filesz)
        if len(path) < header.filesz or path[-1]:
            raise BadProgram(ENOEXEC, "does not end the name of its interpreter")
        return path.split(b"\0", 1)[0]
    return None


def _headers_address(offset: int, segments: tuple[Segment, ...]) -> int:
    for segment in segments:
        if segment.offset <= offset < segment.offset + segment.file_size:
            return offset - segment.offset + segment.address
    return 0


def _executable_stack(headers: list[elf.ProgramHeader], isa_name: str) -> bool:
    for header in headers:
        if header.type == elf.PT_GNU_STACK:
            return bool(header.flags & elf.PF_X)
    return isa_name in ("i386", "arm")  # what a missing note means there (arch/*/include/asm/elf.h)


def _alignment(headers: list[elf.ProgramHeader]) -> int:
    wanted = [header.align for header in headers if header.type == elf.PT_LOAD]
    return max([PAGE, *(align for align in wanted if align & (align - 1) == 0 and align <= 1 << 30)])
