"""The MMU of one process: regions say what is mapped, the page table what is there; nothing else decides
which byte a guest may touch.

`map`, `unmap`, `protect`, `remap`, `advise` and `set_brk` are the memory calls of Linux (mmap(2) and
relatives) without their flag words: the kernel's handlers translate. faults.py has the other half, what
happens at a fault; access.py the only paths to guest bytes for the rest of the package.

Failures are the guest's: Errno. Frames are charged to the account; an allocation over the limit is refused
at once where it is obviously too large, and otherwise at the fault (`fault` says "oom").
"""

from __future__ import annotations

from collections.abc import Hashable

from sandbox.abi.errno import EEXIST, EFAULT, EINVAL, ENODEV, ENOMEM, Errno
from sandbox.engine import layout
from sandbox.engine.layout import LEAF_ENTRIES, PAGE_SIZE
from sandbox.errors import OutOfMemory
from sandbox.memory.cache import PageCache, pool_cache
from sandbox.memory.faults import (
    LOWEST,
    PROT_EXEC,
    PROT_NONE,
    PROT_READ,
    PROT_WRITE,
    FaultHandling,
    access_bits,
    page_ceiling,
    page_floor,
    tells_of_stores,
)
from sandbox.memory.frames import Account, FramePool
from sandbox.memory.region import Region, RegionList
from sandbox.memory.source import PageSource
from sandbox.memory.table import PageTable

__all__ = ["PROT_EXEC", "PROT_NONE", "PROT_READ", "PROT_WRITE", "AddressSpace"]

MOST_REGIONS = 65530  # vm.max_map_count


class AddressSpace(FaultHandling):
    """`bits` is 32 or 64. `top` is where user addresses end, `mmap_top` where mmap begins its downward search."""

    def __init__(self, pool: FramePool, account: Account, bits: int, cache: PageCache | None = None) -> None:
        end = 1 << (47 if bits == 64 else 32)
        super().__init__(pool, PageTable(pool, account, end), account, cache or pool_cache(pool))
        self.bits = bits
        self.cache.spaces.add(self)
        self.top = end - PAGE_SIZE if bits == 64 else 0xFFFFE000
        self.mmap_top = self.top - (1 << 28 if bits == 64 else 1 << 26)
        self.start_brk = self.brk = 0
        self.brk_limit = 1 << 62  # RLIMIT_DATA
        self.locks_future = False  # mlockall(MCL_FUTURE): what is mapped from now on is locked
        self.running = False

    # ---- regions

    def regions(self) -> list[Region]:
        """What is mapped, by address. The objects are the space's own: look, do not touch."""
        return list(self.list)

    def map(
        self,
        address: int,
        length: int,
        protection: int,
        *,
        shared: bool = False,
        fixed: bool = False,
        replace: bool = True,
        source: PageSource | None = None,
        offset: int = 0,
        name: bytes = b"",
        grows_down: bool = False,
        reserve: bool = True,
        below: int | None = None,
        kernel: bool = False,
    ) -> int:
        """Map `length` bytes; return the address. `address` is a hint unless `fixed`; `replace=False` is
        MAP_FIXED_NOREPLACE; `reserve=False` is MAP_NORESERVE; `below` overrides where the search begins.
        `kernel` lifts the rule that low and top addresses are not for guests.

        Raises Errno: EINVAL (length 0, alignment), ENOMEM (no room, over the budget), EEXIST, ENODEV."""
        if length <= 0 or offset & 4095 or (fixed and address & 4095):
            raise Errno(EINVAL)
        length = page_ceiling(length)
        limit = self.table.words.end if kernel else self.top
        if length > limit:
            raise Errno(ENOMEM)
        if protection & PROT_WRITE and not shared and reserve:
            self._expect(length)
        address = page_floor(address)
        if len(self.list) >= MOST_REGIONS:
            raise Errno(ENOMEM)
        if fixed:
            if address + length > limit or (address < LOWEST and not kernel):
                raise Errno(ENOMEM if address + length > limit else EINVAL)
            if self.list.overlapping(address, address + length):
                if not replace:
                    raise Errno(EEXIST)
                self.unmap(address, length)
        elif not (
            address >= LOWEST and address + length <= limit and not self.list.overlapping(address, address + length)
        ):
            found = self.list.gap(length, LOWEST, below or self.mmap_top)
            if found is None:
                found = self.list.gap(length, LOWEST, self.top)
            if found is None:
                raise Errno(ENOMEM)
            address = found
        if shared and source is not None and source.size:
            try:
                frame = source.shared_frame(min(offset, source.size - 1) >> 12)
            except OutOfMemory:
                raise Errno(ENOMEM) from None
            if frame is None:
                raise Errno(ENODEV)
            self.pool.release(frame)
        self.list.add(
            Region(address, address + length, protection, shared, name, offset if source else 0, source, grows_down)
        )
        return address

    def _expect(self, length: int) -> None:
        """Refuse what obviously exceeds the budget, as Linux's heuristic overcommit does."""
        if length >> 12 > self.account.limit - self.account.used:
            raise Errno(ENOMEM)

    def map_device(self, address: int, length: int, physical: int) -> None:
        """Show `length` bytes of the engine's device window, from guest-physical `physical` on, at `address`."""
        self.list.add(Region(address, address + length, PROT_READ | PROT_WRITE, name=b"[device]", device=True))
        bits = layout.DEVICE | layout.PRESENT | layout.READ | layout.WRITE
        for page in range(0, length, PAGE_SIZE):
            self.table.set_entry(address + page, (physical + page) | bits)

    def unmap(self, address: int, length: int) -> None:
        """Raises Errno(EINVAL)."""
        if address & 4095 or length <= 0 or address + page_ceiling(length) > self.table.words.end:
            raise Errno(EINVAL)
        end = address + page_ceiling(length)
        if self.list.overlapping(address, end):
            self._prepare(address, end)
            self.list.cut(address, end)
            self.table.clear(address, end)

    def _prepare(self, start: int, end: int, whole: bool = False) -> None:
        """Refuse now what would fail half way: too many regions, no frame for a leaf. Raises Errno(ENOMEM)."""
        if len(self.list) >= MOST_REGIONS and not (self.list.is_border(start) and self.list.is_border(end)):
            raise Errno(ENOMEM)
        try:
            self.table.detach(start, end, whole)
        except OutOfMemory:
            raise Errno(ENOMEM) from None

    def protect(self, address: int, length: int, protection: int) -> None:
        """Raises Errno: EINVAL, ENOMEM at the first page of the range that is not mapped."""
        if address & 4095:
            raise Errno(EINVAL)
        end = address + page_ceiling(length)
        if length == 0:
            return
        if length < 0 or end > self.table.words.end:
            raise Errno(ENOMEM)
        mapped = self.list.covered_until(address, end)  # what lies before a hole is changed all the same
        if mapped > address:
            self._prepare(address, mapped, whole=True)
            self.list.change(address, mapped, protection=protection)
            self.table.protect(address, mapped, access_bits(protection))
        if mapped < end:
            raise Errno(ENOMEM)

    def watch_stores(self, start: int, end: int) -> None:
        """After msync: the files behind shared mappings in [start, end) are told anew of the first store to each page.
        Raises Errno(ENOMEM)."""
        for region in self.list.overlapping(start, end):
            if region.protection & PROT_WRITE and tells_of_stores(region):
                low, high = max(start, region.start), min(end, region.end)
                self._prepare(low, high, whole=True)
                self.table.protect(low, high, access_bits(region.protection) & ~layout.WRITE)

    def remap(self, old: int, old_size: int, new_size: int, may_move: bool, new: int | None = None) -> int:
        """mremap(2): `new` is the address of MREMAP_FIXED. Raises Errno: EINVAL, EFAULT, ENOMEM."""
        if old & 4095 or new_size <= 0 or (new is not None and (new & 4095 or not may_move)):
            raise Errno(EINVAL)
        old_size, new_size = page_ceiling(old_size), page_ceiling(new_size)
        region = self.list.at(old)
        if region is None or region.device:
            raise Errno(EFAULT)
        if new is None and 0 < new_size <= old_size:
            if new_size < old_size:
                self.unmap(old + new_size, old_size - new_size)  # whatever lies there
            return old
        if old + min(old_size, new_size) > region.end:
            raise Errno(EFAULT)
        if old_size == 0 and not region.shared:
            raise Errno(EINVAL)
        if new is None:
            if region.protection & PROT_WRITE and not region.shared:
                self._expect(new_size - old_size)
            room = not self.list.overlapping(old + old_size, old + new_size) and old + new_size <= self.top
            if old + old_size == region.end and room:
                region.end = old + new_size
                return old
            if not may_move:
                raise Errno(ENOMEM)
        elif new + new_size > self.top or new < LOWEST or (new < old + old_size and old < new + new_size):
            raise Errno(EINVAL)
        offset = region.offset + (old - region.start if region.source else 0)
        if new_size < old_size:
            self.unmap(old + new_size, old_size - new_size)
            old_size = new_size
        target = self.map(
            new or 0,
            new_size,
            region.protection,
            shared=region.shared,
            fixed=new is not None,
            source=region.source,
            offset=offset,
            name=region.name,
        )
        if old_size:
            try:
                self.table.move(old, target, old_size)
            except OutOfMemory:
                self.unmap(target, new_size)
                raise Errno(ENOMEM) from None
            # What was agreed on for the region holds where it has gone, too.
            self.list.change(
                target, target + new_size,
                inherit=region.inherit, wiped=region.wiped, locked=region.locked, may_write=region.may_write,
            )  # fmt: skip
            self.unmap(old, old_size)
        return target

    def advise(self, address: int, length: int) -> None:
        """MADV_DONTNEED: private pages are forgotten and read as zero, or as the file, again."""
        end = address + page_ceiling(length)
        if address & 4095 or length < 0 or end > self.table.words.end:
            raise Errno(EINVAL)
        self._prepare(address, end)
        for region in self.list.overlapping(address, end):
            if not region.device:
                self.table.clear(max(address, region.start), min(end, region.end))
        if not self.list.covered(address, end):
            raise Errno(ENOMEM)

    def forget_file(self, identity: Hashable, start: int, end: int) -> None:
        """The pages of [start, end) are no longer in the file: what shows them, copies too, is taken away."""
        for region in list(self.list):
            if region.source is None or region.source.identity != identity:
                continue
            first = max(region.start, region.start + start - region.offset)
            last = min(region.end, region.start + end - region.offset)
            if first < last:
                self.table.detach(first, last)
                self.table.clear(first, last)

    def set_brk(self, address: int) -> int:
        """brk(2): the new break, or the old one when it cannot be had."""
        if address < self.start_brk or address - self.start_brk > self.brk_limit:
            return self.brk
        old_end, new_end = page_ceiling(self.brk), page_ceiling(address)
        try:
            if new_end > old_end:
                if new_end > self.top or self.list.overlapping(old_end, new_end + PAGE_SIZE):
                    return self.brk
                self._expect(new_end - old_end)
                self.map(old_end, new_end - old_end, PROT_READ | PROT_WRITE, fixed=True, replace=False, name=b"[heap]")
            elif new_end < old_end:
                self.unmap(new_end, old_end - new_end)
        except Errno:
            return self.brk
        self.brk = address
        return address

    # ---- whole spaces

    def fork(self, account: Account | None = None) -> AddressSpace:
        """A copy-on-write copy; no page is copied now. Raises Errno(ENOMEM)."""
        child = AddressSpace.__new__(AddressSpace)
        account = account or self.account
        FaultHandling.__init__(child, self.pool, self.table.fork(account), account, self.cache)
        child.bits = self.bits
        child.list = self.list.copy()
        child.top, child.mmap_top, child.stack_limit = self.top, self.mmap_top, self.stack_limit
        child.start_brk, child.brk, child.brk_limit = self.start_brk, self.brk, self.brk_limit
        child.running = child.locks_future = False
        for region in child.list:
            region.locked = False
        child.cache.spaces.add(child)
        try:
            for start, end in child.list.runs(lambda region: not region.inherit):
                child.unmap(start, end - start)
            for start, end in child.list.runs(lambda region: region.wiped):
                child.advise(start, end - start)
        except Errno:
            child.release()
            raise
        return child

    @property
    def resident(self) -> int:
        """Pages present, in frames."""
        present = 0
        for leaf in self.table.leaves.values():
            piece = self.pool.entries[leaf * LEAF_ENTRIES : (leaf + 1) * LEAF_ENTRIES]
            present += sum(1 for value in piece if value & layout.PRESENT)
        return present

    def resident_in(self, start: int, end: int) -> int:
        """The same of [start, end)."""
        present = 0
        for number, first, count in self.table.pieces(start, end):
            base = self.table.leaves[number] * LEAF_ENTRIES + first
            present += sum(1 for value in self.pool.entries[base : base + count] if value & layout.PRESENT)
        return present

    def release(self) -> None:
        """Give everything back. Idempotent."""
        self.cache.spaces.discard(self)
        self.table.release()
        self.list = RegionList()
        self.pool.trim()
