"""Writing an ELF program: one text segment, at most one data segment, and a symbol table.

The program headers are not mapped; a program that looks for itself in AT_PHDR finds 0, as it would natively.
"""

from __future__ import annotations

from sandbox.abi import elf

_PAGE = 4096
_FLAGS = {"arm": elf.EF_ARM_EABI5, "riscv64": elf.EF_RISCV_RVC_DOUBLE}


def write_program(
    arch: str,
    entry: int,
    text_address: int,
    text: bytes,
    data_address: int,
    data: bytes,
    symbols: dict[str, int],
) -> bytes:
    """Both addresses are those of pages. Zeros at the end of `data` become memory without file bytes."""
    machine, elf_class = elf.MACHINES[arch]
    stored = data.rstrip(b"\0")
    text_offset = _PAGE
    # Where nothing is stored, any offset in the file will do, and readers complain of one beyond its end.
    data_offset = text_offset + (-(-len(text) // _PAGE) * _PAGE if stored else 0)
    headers = [elf.ProgramHeader(elf.PT_GNU_STACK, elf.PF_R | elf.PF_W, 0, 0, 0, 0, 0, 16)]
    for address, offset, file_size, memory_size, flags in (
        (text_address, text_offset, len(text), len(text), elf.PF_R | elf.PF_X),
        (data_address, data_offset, len(stored), len(data), elf.PF_R | elf.PF_W),
    ):
        if memory_size:
            headers.append(
                elf.ProgramHeader(elf.PT_LOAD, flags, offset, address, address, file_size, memory_size, _PAGE)
            )
    contents = bytearray(text_offset) + text
    if stored:
        contents = contents.ljust(data_offset, b"\0") + stored
    table, strings = _symbol_table(elf_class, symbols, text_address, len(text), data_address, len(data))
    names = b"\0.text\0.data\0.symtab\0.strtab\0.shstrtab\0"
    contents += bytes(-len(contents) % 8)
    table_offset = len(contents)
    contents += table
    strings_offset = len(contents)
    contents += strings
    names_offset = len(contents)
    contents += names
    contents += bytes(-len(contents) % 8)
    symbol_size = elf.SYMBOL[elf_class].size
    text_flags, data_flags = elf.SHF_ALLOC | elf.SHF_EXECINSTR, elf.SHF_ALLOC | elf.SHF_WRITE
    sections = [
        elf.SectionHeader(0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        elf.SectionHeader(1, elf.SHT_PROGBITS, text_flags, text_address, text_offset, len(text), 0, 0, 16, 0),
        elf.SectionHeader(7, elf.SHT_PROGBITS, data_flags, data_address, data_offset, len(stored), 0, 0, 16, 0),
        elf.SectionHeader(13, elf.SHT_SYMTAB, 0, 0, table_offset, len(table), 4, 1, 8, symbol_size),
        elf.SectionHeader(21, elf.SHT_STRTAB, 0, 0, strings_offset, len(strings), 0, 0, 1, 0),
        elf.SectionHeader(29, elf.SHT_STRTAB, 0, 0, names_offset, len(names), 0, 0, 1, 0),
    ]
    header = elf.FileHeader(
        ident=elf.MAGIC + bytes([elf_class, elf.LITTLE_ENDIAN, elf.VERSION]) + bytes(9),
        type=elf.ET_EXEC,
        machine=machine,
        version=elf.VERSION,
        entry=entry,
        phoff=elf.FILE_HEADER[elf_class].size,
        shoff=len(contents),
        flags=_FLAGS.get(arch, 0),
        ehsize=elf.FILE_HEADER[elf_class].size,
        phentsize=elf.PROGRAM_HEADER[elf_class].size,
        phnum=len(headers),
        shentsize=elf.SECTION_HEADER[elf_class].size,
        shnum=len(sections),
        shstrndx=5,
    )
    start = elf.FILE_HEADER[elf_class].pack(*header)
    start += b"".join(elf.pack_program_header(elf_class, entry) for entry in headers)
    contents[: len(start)] = start
    return bytes(contents) + b"".join(elf.SECTION_HEADER[elf_class].pack(*section) for section in sections)


def _symbol_table(
    elf_class: int, symbols: dict[str, int], text_address: int, text_size: int, data_address: int, data_size: int
) -> tuple[bytes, bytes]:
    strings = bytearray(b"\0")
    table = elf.pack_symbol(elf_class, elf.Symbol(0, 0, 0, 0, 0, 0))
    for name, value in symbols.items():
        section = elf.SHN_ABS
        if text_address <= value <= text_address + text_size:
            section = 1
        elif data_address <= value <= data_address + data_size:
            section = 2
        info = elf.STB_GLOBAL << 4 | elf.STT_NOTYPE
        table += elf.pack_symbol(elf_class, elf.Symbol(len(strings), info, 0, section, value, 0))
        strings += name.encode() + b"\0"
    return table, bytes(strings)
