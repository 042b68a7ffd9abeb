"""The only paths to guest bytes: copy_in, copy_out, copy_string for the kernel, which obey the guest's own
protections and raise EFAULT, and read, write for a debugger, which do not.

Addresses and lengths come from the guest and may be anything. A copy that fails half way has moved the
pages before the fault, as on Linux.
"""

from __future__ import annotations

import struct

from sandbox.abi.errno import EFAULT, ENAMETOOLONG, Errno
from sandbox.engine import layout
from sandbox.engine.layout import LEAF_ENTRIES, PAGE_SIZE
from sandbox.errors import OutOfMemory
from sandbox.memory.frames import FramePool
from sandbox.memory.table import PageTable

_READABLE = layout.PRESENT | layout.READ
_STORABLE = layout.PRESENT | layout.WRITE
_PROT_READ, _PROT_WRITE = 1, 2


class GuestBytes:
    """The base of AddressSpace: a page table and the frames behind it."""

    def __init__(self, pool: FramePool, table: PageTable) -> None:
        self.pool = pool
        self.table = table

    def resolve(self, address: int, access: int) -> bool:
        raise NotImplementedError

    # ---- pages

    def _page_in(self, address: int) -> int:
        """Host offset in the pool of the page at `address`, readable by the guest. Raises Errno(EFAULT)."""
        leaf = self.table.leaves.get(address >> 21)
        if leaf is not None:
            value = self.pool.entries[leaf * LEAF_ENTRIES + (address >> 12 & 511)]
            if value & _READABLE == _READABLE and not value & layout.DEVICE:
                return value >> 12 << 12
        self._demand(address, _PROT_READ)
        return self.table.entry(address) >> 12 << 12

    def _page_out(self, address: int) -> int:
        """The same for a store: private, written pages only, and no engine keeps translations of it."""
        leaf = self.table.leaves.get(address >> 21)
        value = 0
        if leaf is not None and self.pool.references[leaf] == 1:
            value = self.pool.entries[leaf * LEAF_ENTRIES + (address >> 12 & 511)]
        if value & _STORABLE != _STORABLE or value & (layout.COPY | layout.DEVICE):
            self._demand(address, _PROT_WRITE)
            value = self.table.entry(address)
        frame = value >> 12
        if self.pool.state[frame] >= layout.EXECUTABLE:
            self.pool.forget_code(frame)
        return frame << 12

    def _demand(self, address: int, access: int) -> None:
        try:
            if address < 0 or not self.resolve(address, access):
                raise Errno(EFAULT)
        except OutOfMemory:
            raise Errno(EFAULT) from None

    # ---- the kernel's copies

    def copy_in(self, address: int, length: int) -> bytes:
        """`length` bytes from the guest. Raises Errno(EFAULT)."""
        offset = address & 4095
        if 0 < length <= PAGE_SIZE - offset:
            start = self._page_in(address) + offset
            return bytes(self.pool.memory[start : start + length])
        if length <= 0:
            return b""
        if address < 0 or address + length > self.table.words.end:
            raise Errno(EFAULT)
        pieces = []
        while length:
            size = min(PAGE_SIZE - (address & 4095), length)
            start = self._page_in(address) + (address & 4095)
            pieces.append(bytes(self.pool.memory[start : start + size]))
            address += size
            length -= size
        return b"".join(pieces)

    def copy_out(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Bytes to the guest. Raises Errno(EFAULT)."""
        length = len(data)
        offset = address & 4095
        if 0 < length <= PAGE_SIZE - offset:
            start = self._page_out(address) + offset
            self.pool.memory[start : start + length] = data
            return
        if address < 0 or (length and address + length > self.table.words.end):
            raise Errno(EFAULT)
        view = memoryview(data)
        done = 0
        while done < length:
            position = address + done
            size = min(PAGE_SIZE - (position & 4095), length - done)
            start = self._page_out(position) + (position & 4095)
            self.pool.memory[start : start + size] = view[done : done + size]
            done += size

    def copy_string(self, address: int, limit: int = 4096) -> bytes:
        """A string up to its NUL, without it. Raises Errno: EFAULT; ENAMETOOLONG when no NUL comes in `limit` bytes."""
        pieces = []
        left = limit
        while left > 0:
            size = min(PAGE_SIZE - (address & 4095), left)
            start = self._page_in(address) + (address & 4095)
            piece = bytes(self.pool.memory[start : start + size])
            end = piece.find(0)
            if end >= 0:
                pieces.append(piece[:end])
                return b"".join(pieces)
            pieces.append(piece)
            address += size
            left -= size
        raise Errno(ENAMETOOLONG)

    def copy_in_words(self, address: int, count: int, size: int = 8) -> tuple[int, ...]:
        """`count` unsigned little-endian words of `size` bytes (4 or 8). Raises Errno(EFAULT)."""
        return struct.unpack(f"<{count}{'Q' if size == 8 else 'I'}", self.copy_in(address, count * size))

    def place_for(self, address: int) -> int:
        """Where in `pool.memory` a store to `address` and the rest of its page goes. Raises Errno(EFAULT)."""
        return self._page_out(address) + (address & 4095)

    def writable(self, address: int, length: int) -> bool:
        """Can the guest store to every page of the range? Pages are brought in."""
        try:
            for page in range(address & ~4095, address + length, PAGE_SIZE):
                self._page_out(page)
        except Errno:
            return False
        return True

    # ---- a debugger's

    def read(self, address: int, length: int) -> bytes:
        """Whatever the protections. Raises Errno(EFAULT) where nothing is mapped."""
        pieces = []
        while length > 0:
            size = min(PAGE_SIZE - (address & 4095), length)
            value = self.table.entry(address) if address >= 0 else 0
            if not value & layout.PRESENT:
                self._demand(address, self._any_access(address))
                value = self.table.entry(address)
            if value & layout.DEVICE:
                raise Errno(EFAULT)
            start = (value >> 12 << 12) + (address & 4095)
            pieces.append(bytes(self.pool.memory[start : start + size]))
            address += size
            length -= size
        return b"".join(pieces)

    def write(self, address: int, data: bytes) -> None:
        """Whatever the protections, and without touching what others share. Raises Errno(EFAULT)."""
        done = 0
        while done < len(data):
            position = address + done
            size = min(PAGE_SIZE - (position & 4095), len(data) - done)
            self._force_private(position)
            frame = self.table.entry(position) >> 12
            self.pool.write(frame, position & 4095, data[done : done + size])
            self.table.shrunk()
            done += size

    def _any_access(self, address: int) -> int:
        raise NotImplementedError

    def _force_private(self, address: int) -> None:
        raise NotImplementedError
