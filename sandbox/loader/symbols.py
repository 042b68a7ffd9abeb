"""Names of addresses in an ELF file, for breakpoints, crash reports and listings.

Takes any bytes: what does not make sense is left out, nothing is raised, and no more work is done than the
file is long (each name is read to at most 256 bytes, at most a million symbols). Written on the layouts of
`sandbox.abi.elf` rather than on a general reader, which a hostile file can keep busy for ever.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator

from sandbox.abi import elf

_SECTIONS_LIMIT = 65536
_SYMBOLS_LIMIT = 1_000_000
_NAME_LIMIT = 256


class Symbols:
    """Address to name and back. Addresses are the file's own; add a program's bias yourself."""

    def __init__(self, table: dict[str, int]) -> None:
        self.by_name = table
        self._addresses = sorted({address: name for name, address in reversed(table.items())}.items())

    def address(self, name: str) -> int | None:
        return self.by_name.get(name)

    def at(self, address: int) -> str | None:
        """The name that stands exactly there."""
        index = bisect.bisect_left(self._addresses, (address, ""))
        if index < len(self._addresses) and self._addresses[index][0] == address:
            return self._addresses[index][1]
        return None

    def near(self, address: int) -> tuple[str, int] | None:
        """The closest name at or before the address, and the distance in bytes."""
        index = bisect.bisect_right(self._addresses, (address, "\U0010ffff")) - 1
        if index < 0:
            return None
        start, name = self._addresses[index]
        return name, address - start


def read_symbols(data: bytes) -> Symbols:
    """All defined symbols with a name; global ones win over local ones of the same name."""
    table: dict[str, int] = {}
    for name, address, binding in _iterate(data):
        if name not in table or binding != elf.STB_LOCAL:
            table[name] = address
    return Symbols(table)


def read_sections(data: bytes) -> list[elf.SectionHeader]:
    """The section headers that lie inside the file; an empty list for anything else."""
    if data[:4] != elf.MAGIC or len(data) < 6 or data[4] not in elf.FILE_HEADER or data[5] != elf.LITTLE_ENDIAN:
        return []
    layout = elf.FILE_HEADER[data[4]]
    entry = elf.SECTION_HEADER[data[4]]
    if len(data) < layout.size:
        return []
    header = elf.FileHeader(*layout.unpack_from(data))
    if header.shentsize != entry.size or header.shoff == 0:
        return []
    count = min(header.shnum, _SECTIONS_LIMIT, max(0, len(data) - header.shoff) // entry.size)
    return [elf.SectionHeader(*entry.unpack_from(data, header.shoff + index * entry.size)) for index in range(count)]


def _iterate(data: bytes) -> Iterator[tuple[str, int, int]]:
    sections = read_sections(data)
    thumb = len(data) > 20 and data[18:20] == elf.MACHINES["arm"][0].to_bytes(2, "little")
    remaining = _SYMBOLS_LIMIT
    for section in sections:
        if section.type not in (elf.SHT_SYMTAB, elf.SHT_DYNSYM) or section.link >= len(sections):
            continue
        strings = sections[section.link]
        size = elf.SYMBOL[data[4]].size
        available = min(section.size, max(0, len(data) - section.offset))
        count = min(available // size, remaining)
        remaining -= count
        for offset in range(section.offset, section.offset + count * size, size):
            symbol = elf.unpack_symbol(data[4], data, offset)
            kind = symbol.info & 15
            if symbol.shndx == elf.SHN_UNDEF or kind not in (elf.STT_NOTYPE, elf.STT_OBJECT, elf.STT_FUNC):
                continue
            name = _name(data, strings, symbol.name)
            if name and not name.startswith("$"):  # $a, $t, $d, $x: marks between code and data, not names
                address = symbol.value & ~1 if thumb and kind == elf.STT_FUNC else symbol.value
                yield name, address, symbol.info >> 4


def _name(data: bytes, strings: elf.SectionHeader, index: int) -> str:
    if index >= strings.size or strings.offset + index >= len(data):
        return ""
    start = strings.offset + index
    end = min(start + _NAME_LIMIT, strings.offset + strings.size)
    return data[start:end].split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
