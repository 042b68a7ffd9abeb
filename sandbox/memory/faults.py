"""What a fault does: demand zero, pages of files (shared through the page cache, copied on write), stack growth.

The half of AddressSpace that changes page table entries one at a time; space.py has the half that changes regions. A
fault that cannot be served is the guest's own, and `fault` says which kind it is.
"""

from __future__ import annotations

from array import array

from sandbox.abi.errno import EFAULT, Errno
from sandbox.engine import layout
from sandbox.engine.layout import LEAF_ENTRIES, PAGE_SIZE
from sandbox.errors import OutOfMemory
from sandbox.memory.access import GuestBytes
from sandbox.memory.cache import PageCache
from sandbox.memory.frames import Account, FramePool
from sandbox.memory.region import Region, RegionList
from sandbox.memory.table import LEAF_SHIFT, PageTable

PROT_NONE, PROT_READ, PROT_WRITE, PROT_EXEC = 0, 1, 2, 4
STACK_GAP = 1 << 20  # unmapped bytes kept below a growing stack (stack_guard_gap)
MAP_AROUND = 1 << 17  # bytes of a file shown at one fault, as far as cached (fault_around_bytes); divides a leaf
LOWEST = 0x10000  # vm.mmap_min_addr


def page_floor(address: int) -> int:
    return address & ~(PAGE_SIZE - 1)


def page_ceiling(address: int) -> int:
    return (address + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1)


def access_bits(protection: int) -> int:
    """PROT_* as page table bits; writable or executable pages are readable too, as on x86 and riscv64."""
    if protection & (PROT_WRITE | PROT_EXEC):
        protection |= PROT_READ
    return (protection & 7) << 1


def tells_of_stores(region: Region) -> bool:
    """Whether the file behind a shared mapping wants to know of the first store to each page: its times change then."""
    return region.shared and hasattr(region.source, "touched")


class FaultHandling(GuestBytes):
    """The base of AddressSpace: its regions, and how faults in them are served."""

    def __init__(self, pool: FramePool, table: PageTable, account: Account, cache: PageCache) -> None:
        super().__init__(pool, table)
        self.account = account
        self.cache = cache
        self.list = RegionList()
        self.stack_limit = 8 << 20
        self.fault = ""  # why the last resolve refused: maperr, accerr, bus, oom
        self.faults = {"zero": 0, "copy": 0, "file": 0, "stack": 0}

    def resolve(self, address: int, access: int) -> bool:
        """Make `access` (PROT_* bit) to the page at `address` possible. False: the guest's fault, or out of
        memory; `fault` says which."""
        region = self.list.at(address) or self._grow_stack(address)
        if region is None:
            self.fault = "maperr"
            return False
        if not access_bits(region.protection) & access << 1 or region.device:
            self.fault = "accerr"
            return False
        try:
            return self._resolve(region, page_floor(address), access)
        except OutOfMemory as error:
            if error.scope == "pool":
                raise
            self.fault = "oom"
            return False

    def _grow_stack(self, address: int) -> Region | None:
        region = self.list.above(address)
        if region is None or not region.grows_down or region.end - page_floor(address) > self.stack_limit:
            return None
        neighbour = self.list.below(region.start)
        start = page_floor(address)
        if start < LOWEST:
            return None
        if neighbour is not None and neighbour.protection and start - neighbour.end < STACK_GAP:
            return None
        self.list.move_start(region, start)
        self.faults["stack"] += 1
        return region

    def _resolve(self, region: Region, page: int, access: int) -> bool:
        leaf = self.table.own_leaf(page >> LEAF_SHIFT)
        index = leaf * LEAF_ENTRIES + (page >> 12 & 511)
        entries = self.pool.entries
        value = entries[index]
        bits = access_bits(region.protection)
        if not value & layout.PRESENT:
            if region.source is not None:
                number = (region.offset + page - region.start) >> 12
                if number << 12 >= region.source.size:
                    self.fault = "bus"
                    return False
                try:
                    value = self._file_page(region, number, bits, access)
                except Errno:  # the file cannot be read (any more)
                    self.fault = "bus"
                    return False
                self.faults["file"] += 1
                if value & layout.CLEAN:
                    entries[index] = value
                    self._map_around(region, page, leaf, bits)
            elif region.shared:
                raise AssertionError("a shared mapping has a source")
            else:
                if not value & layout.ZERO:
                    self._expect_zero(region, page, leaf, bits)
                frame = self.pool.allocate(self.account)
                value = frame << 12 | bits | layout.PRESENT
                self.faults["zero"] += 1
            entries[index] = value
        if access & PROT_WRITE and value & layout.COPY:
            entries[index] = self._copy(index, value)
            self.faults["copy"] += 1
        elif access & PROT_WRITE and not value & layout.WRITE:  # the first store to this page since it was watched
            entries[index] = value | layout.WRITE
            assert region.source is not None
            region.source.touched()  # type: ignore[attr-defined]
        return True

    def _file_page(self, region: Region, number: int, bits: int, access: int) -> int:
        source = region.source
        assert source is not None
        frame = source.shared_frame(number)
        if frame is not None:
            if tells_of_stores(region):
                bits &= ~layout.WRITE
            return frame << 12 | bits | layout.PRESENT | (layout.SHARED if region.shared else layout.COPY)
        frame = self.cache.frame(source, number)
        self.pool.retain(frame)
        return frame << 12 | bits | layout.PRESENT | layout.COPY | layout.CLEAN

    def _map_around(self, region: Region, page: int, leaf: int, bits: int) -> None:
        """Show the neighbours that are in the page cache too, so that a program does not fault on each page."""
        assert region.source is not None
        base = page >> LEAF_SHIFT << LEAF_SHIFT
        start = max(region.start, page & -MAP_AROUND)
        end = min(region.end, (page & -MAP_AROUND) + MAP_AROUND)
        pages = self.cache.pages(region.source)
        number = (region.offset + start - region.start) >> 12
        first = leaf * LEAF_ENTRIES + (start - base >> 12)
        entries, flags = self.pool.entries, bits | layout.PRESENT | layout.COPY | layout.CLEAN
        for index in range(first, first + (end - start >> 12)):
            if not entries[index]:
                frame = pages.get(number)
                if frame is not None:
                    self.pool.retain(frame)
                    entries[index] = frame << 12 | flags
            number += 1

    def _expect_zero(self, region: Region, page: int, leaf: int, bits: int) -> None:
        """Let the accelerator serve the neighbours: mark absent pages of the region in this leaf demand-zero."""
        base = page >> LEAF_SHIFT << LEAF_SHIFT
        first = max(region.start, base) - base >> 12
        last = min(region.end, base + (1 << LEAF_SHIFT)) - base >> 12
        start = leaf * LEAF_ENTRIES
        piece = self.pool.entries[start + first : start + last]
        if not any(piece):
            self.pool.entries[start + first : start + last] = array("Q", [layout.ZERO | bits]) * (last - first)
            return
        for index, value in enumerate(piece, start + first):
            if not value:
                self.pool.entries[index] = layout.ZERO | bits

    def _copy(self, index: int, value: int) -> int:
        frame = value >> 12
        flags = value & layout.FLAGS & ~(layout.COPY | layout.CLEAN)
        if self.pool.references[frame] > 1:
            self.pool.entries[index] = value & ~layout.CLEAN  # the allocation may reclaim clean pages: not this one
            try:
                new = self.pool.allocate(self.account)
            except OutOfMemory:
                self.pool.entries[index] = value
                raise
            start = frame << 12
            self.pool.memory[new << 12 : (new << 12) + PAGE_SIZE] = self.pool.memory[start : start + PAGE_SIZE]
            self.pool.release(frame)
            frame = new
            self.table.shrunk()  # a TLB may still show the old frame for reading
        return frame << 12 | flags

    def _any_access(self, address: int) -> int:
        """For a debugger: some access that the region allows. Raises Errno(EFAULT)."""
        region = self.list.at(address)
        if region is None or region.device or not region.protection:
            raise Errno(EFAULT)
        return PROT_READ if access_bits(region.protection) & layout.READ else PROT_WRITE

    def _force_private(self, address: int) -> None:
        """For a debugger's write: the page is there and nobody else's."""
        page = page_floor(address)
        value = self.table.entry(page)
        if not value & layout.PRESENT:
            self._demand(page, self._any_access(page))
            value = self.table.entry(page)
        if value & layout.DEVICE:
            raise Errno(EFAULT)
        try:
            index = self.table.own_leaf(page >> LEAF_SHIFT) * LEAF_ENTRIES + (page >> 12 & 511)
            value = self.pool.entries[index]
            if value & layout.COPY:
                self.pool.entries[index] = self._copy(index, value)
        except OutOfMemory:
            raise Errno(EFAULT) from None

    def drop_clean(self) -> int:
        """Forget pages of files that were never written; they come back on a fault. How many went."""
        dropped = 0
        for leaf in self.table.leaves.values():
            if self.pool.references[leaf] > 1:
                continue
            start = leaf * LEAF_ENTRIES
            for index in range(start, start + LEAF_ENTRIES):
                if self.pool.entries[index] & layout.CLEAN:
                    self.pool.release(self.pool.entries[index] >> 12)
                    self.pool.entries[index] = 0
                    dropped += 1
        if dropped:
            self.table.shrunk()
        return dropped
