"""The file format of a volume: a header, then transactions one behind the other, nothing ever overwritten.

A transaction is a run of records and ends with a commit record. What an interrupted write leaves behind is not whole
and is cut off when the volume is opened next: so there is always the old or the new state. Records say what is, not
what was done (an inode's attributes, an entry, a block of a file), so replaying is putting the latest of each in place.

Every checksum covers the record, its position and the volume's random id: neither stale bytes nor a file of the guest
that imitates a record is ever taken for one. A commit also says which transactions were known to be on the disk when
it was written: if one of these turns out to be broken, that is damage and reported, not an interruption.
All numbers are little-endian. Neighbour: `volume` (the filesystem).

    header   magic, version, size limit, id, checksum                        64 bytes
    record   kind u32, length u32, checksum u32, payload
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from typing import NamedTuple
from zlib import crc32

from sandbox.errors import ConfigurationError, StateError

MAGIC = b"SANDBOXV"
VERSION = 1
HEADER = struct.Struct("<8sIIQ16s")
HEADER_SIZE = 64
RECORD = struct.Struct("<III")
SEED = struct.Struct("<16sQII")
BLOCK = struct.Struct("<QQ")
INODE = struct.Struct("<QIIIIQQqqq")
BLOCK_SIZE = 4096
BLOCK_OVERHEAD = RECORD.size + BLOCK.size
MAX_PAYLOAD = 1 << 16

COMMIT = struct.Struct("<16sQQ")  # id, number of this transaction, number of the last that is surely on the disk

KIND_INODE, KIND_ENTRY, KIND_BLOCK, KIND_HOLES, KIND_CUT, KIND_DROP, KIND_COMMIT = range(1, 8)
Record = tuple[int, bytes]  # kind and payload


class Inode(NamedTuple):
    ino: int
    mode: int
    uid: int
    gid: int
    rdev: int
    size: int
    atime: int
    mtime: int
    ctime: int
    target: bytes = b""

    def record(self) -> Record:
        fixed = INODE.pack(
            self.ino, self.mode, self.uid, self.gid, 0, self.rdev, self.size, self.atime, self.mtime, self.ctime
        )
        return KIND_INODE, fixed + self.target


def entry_record(directory: int, name: bytes, child: int) -> Record:
    """`child` 0: the entry is gone."""
    return KIND_ENTRY, BLOCK.pack(directory, child) + name


def block_record(ino: int, index: int, data: bytes) -> Record:
    return KIND_BLOCK, BLOCK.pack(ino, index) + data


def holes_record(ino: int, first: int, count: int) -> Record:
    return KIND_HOLES, struct.pack("<QQQ", ino, first, count)


def cut_record(ino: int, blocks: int) -> Record:
    """The file keeps at most its first `blocks` blocks."""
    return KIND_CUT, BLOCK.pack(ino, blocks)


def drop_record(ino: int) -> Record:
    return KIND_DROP, struct.pack("<Q", ino)


@dataclass
class State:
    """What the committed transactions amount to. `blocks` are positions of records in the file."""

    inodes: dict[int, Inode] = field(default_factory=dict)
    entries: dict[int, dict[bytes, int]] = field(default_factory=dict)
    blocks: dict[int, dict[int, int]] = field(default_factory=dict)
    highest: int = 0

    def apply(self, kind: int, payload: bytes, position: int) -> None:
        """Raises struct.error or IndexError for a malformed record."""
        if kind == KIND_INODE:
            ino, mode, uid, gid, _, rdev, size, atime, mtime, ctime = INODE.unpack_from(payload)
            target = payload[INODE.size :]
            self.inodes[ino] = Inode(ino, mode, uid, gid, rdev, size, atime, mtime, ctime, target)
        elif kind == KIND_ENTRY:
            ino, child = BLOCK.unpack_from(payload)
            names = self.entries.setdefault(ino, {})
            if child:
                names[payload[BLOCK.size :]] = child
            else:
                names.pop(payload[BLOCK.size :], None)
        elif kind == KIND_BLOCK:
            ino, index = BLOCK.unpack_from(payload)
            self.blocks.setdefault(ino, {})[index] = position
        elif kind == KIND_HOLES:
            ino, first, count = struct.unpack("<QQQ", payload)
            _remove(self.blocks.get(ino), first, first + count)
        elif kind == KIND_CUT:
            ino, count = BLOCK.unpack(payload)
            _remove(self.blocks.get(ino), count, None)
        else:
            (ino,) = struct.unpack("<Q", payload)
            self.inodes.pop(ino, None)
            self.entries.pop(ino, None)
            self.blocks.pop(ino, None)
        self.highest = max(self.highest, ino)


def _remove(blocks: dict[int, int] | None, first: int, end: int | None) -> None:
    if blocks:
        for index in [index for index in blocks if index >= first and (end is None or index < end)]:
            del blocks[index]


class Journal:
    """An open journal file. `end` is where the next transaction begins."""

    def __init__(self, descriptor: int, size: int, identity: bytes, end: int, sequence: int) -> None:
        self.descriptor = descriptor
        self.size = size
        self.identity = identity
        self.end = end
        self.sequence = sequence
        self.durable = sequence

    @classmethod
    def create(cls, path: str, size: int, identity: bytes) -> Journal:
        """A new, empty file; it must not exist."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            header = HEADER.pack(MAGIC, VERSION, 0, size, identity)
            header += crc32(header).to_bytes(4, "little")
            _write_all(descriptor, header.ljust(HEADER_SIZE, b"\0"), 0)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor, size, identity, HEADER_SIZE, 0)

    @classmethod
    def open(cls, path: str, read_only: bool) -> tuple[Journal, State]:
        """Replay what is committed; an unfinished transaction at the end is cut off (unless `read_only`). Raises
        ConfigurationError for what is no volume, StateError for a damaged one."""
        try:
            descriptor = os.open(path, (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC)
        except OSError as error:
            raise ConfigurationError(f"the volume {path} cannot be opened: {error.strerror}") from None
        try:
            size, identity = read_header(descriptor, path)
            journal = cls(descriptor, size, identity, HEADER_SIZE, 0)
            state = journal._replay(path)
            if not read_only:
                os.ftruncate(descriptor, journal.end)
                journal.sync()
        except BaseException:
            os.close(descriptor)
            raise
        return journal, state

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def sync(self) -> None:
        sequence = self.sequence
        os.fdatasync(self.descriptor)
        self.durable = sequence

    # -- writing ----------------------------------------------------------------------------------------

    def append(self, records: list[Record]) -> list[int]:
        """One transaction, all or nothing; returns the positions of the records. Raises OSError."""
        buffer = bytearray()
        positions = []
        commit = COMMIT.pack(self.identity, self.sequence + 1, self.durable)
        for kind, payload in [*records, (KIND_COMMIT, commit)]:
            position = self.end + len(buffer)
            positions.append(position)
            buffer += RECORD.pack(kind, len(payload), self._checksum(position, kind, payload))
            buffer += payload
        try:
            _write_all(self.descriptor, buffer, self.end)
        except OSError:
            os.ftruncate(self.descriptor, self.end)
            raise
        self.end += len(buffer)
        self.sequence += 1
        return positions[:-1]

    def _checksum(self, position: int, kind: int, payload: bytes) -> int:
        return crc32(payload, crc32(SEED.pack(self.identity, position, kind, len(payload))))

    # -- reading ----------------------------------------------------------------------------------------

    def read_blocks(self, position: int, count: int) -> bytes:
        """The contents of `count` block records in a row, the first at `position`; all but the last are full. Raises
        OSError when they are damaged."""
        stride = BLOCK_OVERHEAD + BLOCK_SIZE
        data = os.pread(self.descriptor, stride * count, position)
        pieces = []
        for start in range(0, stride * count, stride):
            if len(data) < start + RECORD.size:
                raise OSError("a block is missing")
            kind, length, checksum = RECORD.unpack_from(data, start)
            payload = data[start + RECORD.size : start + RECORD.size + length]
            if kind != KIND_BLOCK or checksum != self._checksum(position + start, kind, payload):
                raise OSError("a block is damaged")
            pieces.append(payload[BLOCK.size :])
        return b"".join(pieces)

    def _replay(self, path: str) -> State:
        state = State()
        with open(os.dup(self.descriptor), "rb", buffering=1 << 20) as file:
            position = file.seek(HEADER_SIZE)
            pending: list[tuple[int, bytes, int]] = []
            while (record := self._next_record(file.read(RECORD.size), position)) is not None:
                kind, length, checksum = record
                payload = file.read(length)
                if len(payload) != length or checksum != self._checksum(position, kind, payload):
                    break
                if kind == KIND_COMMIT:
                    if not payload.startswith(self.identity + struct.pack("<Q", self.sequence + 1)):
                        break
                    self._apply(state, pending, path)
                    pending = []
                    self.sequence += 1
                    self.end = position + RECORD.size + length
                else:
                    # The bytes of a block stay in the file.
                    pending.append((kind, payload if kind != KIND_BLOCK else payload[: BLOCK.size], position))
                position += RECORD.size + length
            self._check_rest(path)
        return state

    @staticmethod
    def _next_record(head: bytes, position: int) -> tuple[int, int, int] | None:
        if len(head) < RECORD.size:
            return None
        kind, length, checksum = RECORD.unpack(head)
        return (kind, length, checksum) if KIND_INODE <= kind <= KIND_COMMIT and length <= MAX_PAYLOAD else None

    @staticmethod
    def _apply(state: State, pending: list[tuple[int, bytes, int]], path: str) -> None:
        try:
            for kind, payload, position in pending:
                state.apply(kind, payload, position)
        except (struct.error, ValueError, IndexError):
            raise StateError(f"the volume {path} holds a malformed record") from None

    def _check_rest(self, path: str) -> None:
        """Behind the last good transaction there may be pieces of others, but none that were on the disk already."""
        position = self.end
        overlap = b""
        marker = self.identity
        while chunk := os.pread(self.descriptor, 1 << 20, position):
            text = overlap + chunk
            base = position - len(overlap)
            found = text.find(marker)
            while found >= 0:
                self._check_commit(base + found, path)
                found = text.find(marker, found + 1)
            overlap = text[-(len(marker) - 1) :]
            position += len(chunk)

    def _check_commit(self, position: int, path: str) -> None:
        """`position`: where the volume's id stands, which begins the payload of a commit."""
        start = position - RECORD.size
        if start < self.end:
            return
        data = os.pread(self.descriptor, RECORD.size + COMMIT.size, start)
        if len(data) < RECORD.size + COMMIT.size:
            return
        kind, length, checksum = RECORD.unpack_from(data)
        payload = data[RECORD.size :]
        if kind != KIND_COMMIT or length != COMMIT.size or checksum != self._checksum(start, kind, payload):
            return
        if COMMIT.unpack(payload)[2] > self.sequence:
            raise StateError(f"the volume {path} is damaged at byte {self.end}: what comes later is intact")


def read_header(descriptor: int, path: str) -> tuple[int, bytes]:
    """Size limit and id."""
    data = os.pread(descriptor, HEADER_SIZE, 0)
    if len(data) < HEADER_SIZE or not data.startswith(MAGIC):
        raise ConfigurationError(f"{path} is not a volume")
    _, version, _, size, identity = HEADER.unpack_from(data)
    if int.from_bytes(data[HEADER.size : HEADER.size + 4], "little") != crc32(data[: HEADER.size]):
        raise StateError(f"the header of the volume {path} is damaged")
    if version != VERSION:
        raise ConfigurationError(f"the volume {path} has format {version}; this program knows format {VERSION}")
    return size, identity


def _write_all(descriptor: int, data: bytes | bytearray, position: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, position)
        view = view[written:]
        position += written
