"""The contents of a file of a volume: blocks in the journal, and blocks that wait to be written.

Neighbours: `volume` (the filesystem, which counts the room), `volume_journal` (the records).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING

from sandbox.abi.errno import ENOSPC, Errno
from sandbox.vfs import volume_journal as journal_format
from sandbox.vfs.volume_journal import BLOCK_OVERHEAD, BLOCK_SIZE, Record

if TYPE_CHECKING:
    from sandbox.vfs.volume import VolumeFs

_ZERO = bytes(BLOCK_SIZE)


class BlockContent:
    """Blocks by index: in the journal at a position (`stored`), or still to be written (`dirty`). A missing one is a
    hole."""

    __slots__ = ("_filesystem", "_size", "cut", "dirty", "holes", "ino", "stored", "version")

    def __init__(self, filesystem: VolumeFs, ino: int = 0, size: int = 0, stored: dict[int, int] | None = None) -> None:
        self._filesystem = filesystem
        self.ino = ino
        self._size = size
        self.stored = stored if stored is not None else {}
        self.dirty: dict[int, bytearray] = {}
        self.holes: list[int] = []  # stored blocks that were given up, to be recorded
        self.cut: int | None = None  # likewise, all from this index on
        self.version = 0

    @property
    def size(self) -> int:
        return self._size

    @property
    def blocks(self) -> int:
        return len(self.stored) + sum(index not in self.stored for index in self.dirty)

    def read(self, offset: int, count: int) -> bytes:
        end = min(offset + count, self._size)
        if offset >= end:
            return b""
        pieces = []
        index = offset // BLOCK_SIZE
        last = (end - 1) // BLOCK_SIZE
        while index <= last:
            data, blocks = self._run(index, last)
            pieces.append(data)
            index += blocks
        data = b"".join(pieces) if len(pieces) > 1 else pieces[0]
        skipped = offset % BLOCK_SIZE
        return data[skipped : skipped + end - offset]

    def _run(self, index: int, last: int) -> tuple[bytes, int]:
        """Whole blocks from `index` on, as many as come with one access."""
        dirty = self.dirty.get(index)
        if dirty is not None:
            return bytes(dirty), 1
        position = self.stored.get(index)
        if position is None:
            return _ZERO, 1
        count = 1
        stride = BLOCK_OVERHEAD + BLOCK_SIZE
        while (
            index + count <= last
            and self.stored.get(index + count) == position + count * stride
            and index + count not in self.dirty
        ):
            count += 1
        data = self._filesystem.read_blocks(position, count)
        return data.ljust(count * BLOCK_SIZE, b"\0"), count

    def write(self, offset: int, data: bytes) -> int:
        view = memoryview(data)
        done = 0
        try:
            while done < len(view):
                index, start = divmod(offset + done, BLOCK_SIZE)
                piece = view[done : done + BLOCK_SIZE - start]
                self._writable_block(index, len(piece) == BLOCK_SIZE)[start : start + len(piece)] = piece
                done += len(piece)
        except Errno:
            if not done:
                raise
        self._size = max(self._size, offset + done)
        self.version += 1
        return done

    def _writable_block(self, index: int, replaced: bool) -> bytearray:
        block = self.dirty.get(index)
        if block is None:
            if index not in self.stored:
                self._filesystem.take_block()
                block = bytearray(BLOCK_SIZE)
            else:
                block = bytearray(BLOCK_SIZE) if replaced else bytearray(self._run(index, index)[0])
            self.dirty[index] = block
            self._filesystem.dirty_blocks += 1
        return block

    def truncate(self, size: int) -> None:
        if size < self._size:
            kept = -(-size // BLOCK_SIZE)
            for index in [index for index in self.dirty if index >= kept]:
                del self.dirty[index]
                self._filesystem.dirty_blocks -= 1
                if index not in self.stored:
                    self._filesystem.give_block()
            lost = [index for index in self.stored if index >= kept]
            for index in lost:
                del self.stored[index]
                self._filesystem.give_block()
            if lost:
                self.cut = kept if self.cut is None else min(self.cut, kept)
            tail = size % BLOCK_SIZE
            if tail and (kept - 1 in self.dirty or kept - 1 in self.stored):
                self._writable_block(kept - 1, False)[tail:] = bytes(BLOCK_SIZE - tail)
        self._size = size
        self.version += 1

    def allocate(self, offset: int, length: int) -> None:
        first, last = offset // BLOCK_SIZE, (offset + length - 1) // BLOCK_SIZE
        if last - first + 1 - self.blocks > self._filesystem.free_blocks:
            raise Errno(ENOSPC)
        for index in range(first, last + 1):
            if index not in self.stored:
                self._writable_block(index, True)

    def punch(self, offset: int, length: int) -> None:
        end = max(offset, min(offset + length, self._size))
        blocks = range(offset // BLOCK_SIZE, -(-end // BLOCK_SIZE))
        if len(blocks) <= self.blocks:
            held = [index for index in blocks if index in self.dirty or index in self.stored]
        else:  # the range may be far larger than what is in it
            held = sorted(index for index in self.dirty.keys() | self.stored.keys() if index in blocks)
        for index in held:
            first, last = max(offset, index * BLOCK_SIZE), min(end, (index + 1) * BLOCK_SIZE)
            if last - first == BLOCK_SIZE:
                self._drop_block(index)
            else:
                start = first - index * BLOCK_SIZE
                self._writable_block(index, False)[start : start + last - first] = bytes(last - first)
        self.version += 1

    def _drop_block(self, index: int) -> None:
        if self.dirty.pop(index, None) is not None:
            self._filesystem.dirty_blocks -= 1
        if self.stored.pop(index, None) is not None:
            self.holes.append(index)
        self._filesystem.give_block()

    def release(self) -> None:
        self._filesystem.dirty_blocks -= len(self.dirty)
        self._filesystem.give_block(self.blocks)
        self.dirty = {}
        self.stored = {}

    # -- for mmap ---------------------------------------------------------------------------------------

    @property
    def identity(self) -> Hashable:
        return ("volume", self._filesystem.identity, self.ino, self.version)

    def load(self, index: int) -> bytes:
        return self.read(index * BLOCK_SIZE, BLOCK_SIZE)

    def shared_frame(self, index: int) -> int | None:
        return None

    # -- for the journal --------------------------------------------------------------------------------

    def records(self) -> Iterable[tuple[Record, int | None]]:
        """What has changed, in the order in which it must be replayed; with blocks, their index."""
        if self.cut is not None:
            yield journal_format.cut_record(self.ino, self.cut), None
        for index in self.holes:
            yield journal_format.holes_record(self.ino, index, 1), None
        for index in sorted(self.dirty):
            end = self._size - index * BLOCK_SIZE
            data = self.dirty[index] if end >= BLOCK_SIZE else self.dirty[index][: max(0, end)]
            yield journal_format.block_record(self.ino, index, bytes(data)), index

    def written(self, positions: dict[int, int]) -> None:
        self.stored.update(positions)
        self._filesystem.dirty_blocks -= len(self.dirty)
        self.dirty = {}
        self.holes = []
        self.cut = None
