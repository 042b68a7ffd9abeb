"""Loading programs in tests: files by path, small images made by hand, and reading back the initial stack."""

from __future__ import annotations

import struct
from collections.abc import Callable

from sandbox import guests
from sandbox.abi.errno import EACCES, ENOENT, Errno
from sandbox.loader import BytesSource, Identity, LoadedProgram, load
from sandbox.loader import stack as initial_stack
from sandbox.memory import AddressSpace

Files = dict[bytes, bytes]


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
