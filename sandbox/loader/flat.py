"""Images for boards: an ELF file's segments at their physical addresses, or raw bytes at a given one.

A board's RAM is memory like any other; nothing is mapped from the file, the pieces are copied in. Errors are
the operator's: `LoadError`.
"""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.abi import elf
from sandbox.errors import LoadError
from sandbox.loader.elf import BadProgram, parse, read_range
from sandbox.loader.source import BytesSource


@dataclass(frozen=True, slots=True)
class FlatImage:
    isa_name: str | None  # None: raw bytes say nothing about it
    entry: int
    pieces: tuple[tuple[int, bytes], ...]  # (address, bytes), in the order they are to be written

    @property
    def end(self) -> int:
        return max(address + len(data) for address, data in self.pieces)

    @property
    def start(self) -> int:
        return min(address for address, _ in self.pieces)


def flat_image(data: bytes, name: str, address: int, size_limit: int) -> FlatImage:
    """`address` is where raw bytes go and start; an ELF file says so itself. At most `size_limit` bytes."""
    if not data.startswith(elf.MAGIC):
        if not data:
            raise LoadError(f"{name}: the file is empty")
        _check_size(len(data), name, size_limit)
        return FlatImage(None, address, ((address, data),))
    source = BytesSource(data)
    try:
        image = parse(source)
    except BadProgram as error:
        raise LoadError(f"{name}: the file {error.reason}") from None
    if image.relocatable:
        raise LoadError(f"{name}: the file is position-independent; a board runs programs linked to fixed addresses")
    _check_size(sum(segment.memory_size for segment in image.segments), name, size_limit)
    pieces = tuple(
        (
            segment.address,
            read_range(source, segment.offset, segment.file_size).ljust(segment.memory_size, b"\0"),
        )
        for segment in image.segments
    )
    return FlatImage(image.isa_name, image.entry, pieces)


def _check_size(size: int, name: str, limit: int) -> None:
    if size > limit:
        raise LoadError(f"{name}: the image needs {size} bytes, and the board's memory has {limit}")
