"""`sandbox disasm FILE`: the code of an ELF program as lines of text, with its symbols."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.abi import elf
from sandbox.disassembler import disassemble
from sandbox.errors import LoadError
from sandbox.loader.elf import PROT_EXEC, BadProgram, ElfImage, parse, read_range
from sandbox.loader.source import BytesSource
from sandbox.loader.symbols import Symbols, read_sections, read_symbols

_CHUNK_LIMIT = 64 << 20  # bytes of one code section that are listed


def list_program(data: bytes, name: str, isa_name: str | None = None) -> Iterator[str]:
    """Lines without line ends. Bytes that are no ELF file are listed as code of `isa_name` at address 0.
    Raises LoadError."""
    if not data.startswith(elf.MAGIC):
        if isa_name is None:
            raise LoadError(f"{name}: the file is not an ELF file; say whose code it is with --arch")
        yield from _listing(isa_name, data, 0, False, Symbols({}))
        return
    source = BytesSource(data)
    try:
        image = parse(source)
    except BadProgram as error:
        raise LoadError(f"{name}: the file {error.reason}") from None
    symbols = read_symbols(data)
    thumb = image.isa_name == "arm" and bool(image.entry & 1)
    for title, address, code in _code(data, source, image):
        yield f"{title}:"
        yield from _listing(image.isa_name, code, address, thumb, symbols)


def _code(data: bytes, source: BytesSource, image: ElfImage) -> Iterator[tuple[str, int, bytes]]:
    """Sections of code by name; executable segments when there are no sections."""
    executable = [
        section
        for section in read_sections(data)
        if section.flags & elf.SHF_EXECINSTR and section.type == elf.SHT_PROGBITS and section.size
    ]
    for section in executable:
        size = min(section.size, _CHUNK_LIMIT)
        yield f"section at {section.addr:#x}", section.addr, read_range(source, section.offset, size)
    if executable:
        return
    for segment in image.segments:
        if segment.protection & PROT_EXEC:
            size = min(segment.file_size, _CHUNK_LIMIT)
            yield f"segment at {segment.address:#x}", segment.address, read_range(source, segment.offset, size)


def _listing(isa_name: str, code: bytes, address: int, thumb: bool, symbols: Symbols) -> Iterator[str]:
    for instruction in disassemble(isa_name, code, address, thumb=thumb, names=symbols.at):
        label = symbols.at(instruction.address)
        if label is not None:
            yield f"{instruction.address:08x} <{label}>:"
        yield str(instruction)
