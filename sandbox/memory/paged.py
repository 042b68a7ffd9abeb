"""Bytes of a file held in frames: tmpfs files, memfd, shared anonymous memory.

The same frames serve read, write and shared mappings, so they agree at once. Holes take no frame.
Everything is charged to one account.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable
from contextlib import suppress

from sandbox.abi.errno import ENOSPC, Errno
from sandbox.engine.layout import PAGE_SIZE
from sandbox.errors import OutOfMemory
from sandbox.memory.frames import Account, FramePool

_identities = itertools.count(1)


class PagedFile:
    """A PageSource that can be written. Lengths and offsets are bytes."""

    def __init__(self, pool: FramePool, account: Account) -> None:
        self._pool = pool
        self._account = account
        self._frames: dict[int, int] = {}
        self._identity = ("paged", next(_identities))
        self._size = 0
        self._mapped = False  # once, by anybody

    @property
    def identity(self) -> Hashable:
        return self._identity

    @property
    def size(self) -> int:
        return self._size

    @property
    def blocks(self) -> int:
        """Frames held."""
        return len(self._frames)

    def read(self, offset: int, count: int) -> bytes:
        """At most `count` bytes, fewer at the end of the file."""
        end = min(offset + count, self._size)
        if offset >= end:
            return b""
        if offset >> 12 == (end - 1) >> 12:
            frame = self._frames.get(offset >> 12)
            return bytes(end - offset) if frame is None else self._pool.read(frame, offset & 4095, end - offset)
        pieces = []
        while offset < end:
            length = min(PAGE_SIZE - (offset & 4095), end - offset)
            frame = self._frames.get(offset >> 12)
            pieces.append(bytes(length) if frame is None else self._pool.read(frame, offset & 4095, length))
            offset += length
        return b"".join(pieces)

    def write(self, offset: int, data: bytes) -> int:
        """Write and extend. A full account gives a short count, or Errno(ENOSPC) when nothing went."""
        view = memoryview(data)
        done = 0
        try:
            while done < len(view):
                position = offset + done
                length = min(PAGE_SIZE - (position & 4095), len(view) - done)
                self._pool.write(self._frame(position >> 12), position & 4095, view[done : done + length])
                done += length
        except OutOfMemory:
            if not done:
                raise Errno(ENOSPC) from None
        if done:
            self._size = max(self._size, offset + done)
        return done

    def _frame(self, index: int) -> int:
        frame = self._frames.get(index)
        if frame is None:
            frame = self._frames[index] = self._pool.allocate(self._account)
        return frame

    def allocate(self, offset: int, length: int) -> None:
        """Fill holes of [offset, offset + length) with zero pages (fallocate). Raises Errno(ENOSPC)."""
        try:
            for index in range(offset >> 12, (offset + length + 4095) >> 12):
                self._frame(index)
        except OutOfMemory:
            raise Errno(ENOSPC) from None

    def punch(self, offset: int, length: int) -> None:
        """Make [offset, offset + length) read as zero and give whole frames back."""
        end = max(offset, min(offset + length, self._size))
        for index in self._held(range(offset >> 12, (end + PAGE_SIZE - 1) >> 12)):
            first, last = max(offset, index << 12), min(end, (index + 1) << 12)
            if last - first == PAGE_SIZE:
                self._forget(index)
            else:
                self._pool.write(self._frames[index], first & 4095, bytes(last - first))

    def _held(self, pages: range) -> list[int]:
        """Which of these pages are there. The range may be far larger than what is in it."""
        if len(pages) <= len(self._frames):
            return [index for index in pages if index in self._frames]
        return [index for index in self._frames if index in pages]

    def _forget(self, index: int) -> None:
        """A whole page becomes zero: given back, or, where someone maps it and must go on seeing the file, cleared."""
        if self._pool.references[self._frames[index]] > 1:
            self._pool.write(self._frames[index], 0, bytes(PAGE_SIZE))
        else:
            self._pool.release(self._frames.pop(index))

    def truncate(self, size: int) -> None:
        """Cut or extend (with a hole) to `size` bytes."""
        if size < self._size:
            self._take_from_mappings(size)
            for index in [index for index in self._frames if index << 12 >= size]:
                self._forget(index)
            frame = self._frames.get(size >> 12)
            if frame is not None and size & 4095:
                self._pool.write(frame, size & 4095, bytes(PAGE_SIZE - (size & 4095)))
        self._size = size

    def _take_from_mappings(self, size: int) -> None:
        """Whoever maps pages behind the new end finds SIGBUS there."""
        first = (size + PAGE_SIZE - 1) >> 12
        if self._pool.cache is None or not self._mapped:
            return
        for space in list(self._pool.cache.spaces):
            with suppress(OutOfMemory):  # a page that cannot be taken away shows zeros
                space.forget_file(self._identity, first << 12, 1 << 63)

    def load(self, index: int) -> bytes:
        self._mapped = True
        return self.read(index << 12, PAGE_SIZE)

    def shared_frame(self, index: int) -> int | None:
        """Raises OutOfMemory when a hole cannot be filled."""
        self._mapped = True
        frame = self._frame(index)
        self._pool.retain(frame)
        return frame

    def release(self) -> None:
        """Give all frames back (those still mapped stay until unmapped)."""
        frames, self._frames = self._frames, {}
        for frame in frames.values():
            self._pool.release(frame)
        self._size = 0
