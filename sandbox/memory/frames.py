"""RAM: one host mapping of 4 KiB frames, the only owner of guest bytes.

Frames are handed out zeroed and counted by references; each is charged to the account of the VM that
asked for it, until the last reference goes. The pool's size is the hard budget of the host process, an
account's limit that of a VM. The bookkeeping lives in the structures of `sandbox.engine.layout`, which the
accelerator reads and writes as well; with an accelerator its functions are used (they lock), without one
the methods here do the same under a Python lock.

`AddressSpace` (space.py) is the only caller that maps frames into a guest.
"""

from __future__ import annotations

import ctypes
import mmap
import threading
from collections.abc import Callable
from ctypes import c_uint8, c_uint32
from typing import TYPE_CHECKING, Literal

from sandbox.engine import layout
from sandbox.engine.layout import LEAF_ENTRIES, PAGE_SIZE
from sandbox.engine.native import accelerator
from sandbox.errors import ConfigurationError, OutOfMemory

if TYPE_CHECKING:
    from sandbox.memory.cache import PageCache

MOST_ACCOUNTS = 1 << 17
MAP_NORESERVE = 0x4000  # mmap(2); the mmap module names it only from Python 3.13 on
TRIM_FRAMES = 4096  # free frames (16 MiB) that may stay resident before they go back to the host


def address_of_map(mapping: mmap.mmap) -> int:
    """Where a mapping lies in the host's memory; it must be kept alive by the caller."""
    return ctypes.addressof(ctypes.c_char.from_buffer(mapping))


class Account:
    """What one VM holds of the pool, in frames."""

    __slots__ = ("_pool", "_words", "number")

    def __init__(self, pool: FramePool, number: int, limit: int) -> None:
        self._pool = pool
        self.number = number
        self._words = pool.words.accounts[number]
        self._words.used = self._words.peak = self._words.reserved = 0
        self._words.limit = limit

    @property
    def used(self) -> int:
        return int(self._words.used)

    @property
    def peak(self) -> int:
        return int(self._words.peak)

    @property
    def limit(self) -> int:
        return int(self._words.limit)

    @limit.setter
    def limit(self, frames: int) -> None:
        self._words.limit = frames

    def close(self) -> None:
        """Give the number back. Frames that others still share go on being counted here until they are free."""
        self._pool.close_account(self)


class FramePool:
    """`size` bytes of RAM for all guests of this process. Raises ConfigurationError for a senseless size."""

    def __init__(self, size: int) -> None:
        frames = size // PAGE_SIZE
        if not 16 <= frames < 1 << 30:
            raise ConfigurationError(f"a memory of {size} bytes cannot be served: choose between 64K and 4T")
        self.frames = frames
        self._closed = False
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
        self._map = mmap.mmap(-1, frames * PAGE_SIZE, flags=flags)
        self.address = address_of_map(self._map)
        self.memory = memoryview(self._map)
        self.entries = self.memory.cast("Q")  # the same bytes as 64-bit words: page table leaves
        self._tables: list[mmap.mmap] = []
        self.words = layout.PoolWords()
        words = self.words
        words.memory = self.address
        words.frames = frames
        self.references = self._table("references", c_uint32, "I")
        self.generation = self._table("generation", c_uint32, "I")
        self.owner = self._table("owner", c_uint32, "I")
        self.state = self._table("state", c_uint8, "B")
        self.flip_count = self._table("flip_count", c_uint8, "B")
        self.zeroed = self._table("zeroed", c_uint32, "I")
        self.dirty = self._table("dirty", c_uint32, "I")
        accounts = mmap.mmap(-1, MOST_ACCOUNTS * ctypes.sizeof(layout.AccountWords), flags=flags)
        self._tables.append(accounts)
        words.accounts = ctypes.cast(address_of_map(accounts), ctypes.POINTER(layout.AccountWords))
        words.next = 1  # frame 0 is never handed out
        self._accounts_next = 0
        self._accounts_free: list[int] = []
        self._accounts_closed: list[int] = []
        self._lock = threading.Lock()
        self._native = accelerator()
        self._pointer = ctypes.addressof(words)
        self.reclaimers: list[
            Callable[[int], int]
        ] = []  # called with a number of frames wanted; give back what they can
        self.cache: PageCache | None = None  # made by cache.pool_cache
        self.system = self.account(frames * PAGE_SIZE)  # page cache and engines' own frames

    def _table(self, name: str, kind: type[c_uint8] | type[c_uint32], code: Literal["I", "B"]) -> memoryview[int]:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
        table = mmap.mmap(-1, self.frames * ctypes.sizeof(kind), flags=flags)
        self._tables.append(table)
        setattr(self.words, name, ctypes.cast(address_of_map(table), ctypes.POINTER(kind)))
        return memoryview(table).cast(code)

    @property
    def pointer(self) -> int:
        """The address of the pool's structure, for the accelerator."""
        return self._pointer

    @property
    def used(self) -> int:
        """Frames in use now."""
        return int(self.words.used)

    @property
    def peak(self) -> int:
        return int(self.words.peak)

    # ---- accounts

    def account(self, limit: int) -> Account:
        """A new account that may hold `limit` bytes."""
        with self._lock:
            for index, number in enumerate(self._accounts_closed):
                if self.words.accounts[number].used == 0:
                    del self._accounts_closed[index]
                    self._accounts_free.append(number)
                    break
            if self._accounts_free:
                number = self._accounts_free.pop()
            elif self._accounts_next < MOST_ACCOUNTS:
                number = self._accounts_next
                self._accounts_next += 1
            else:
                raise OutOfMemory("pool")
            return Account(self, number, max(1, limit // PAGE_SIZE))

    def close_account(self, account: Account) -> None:
        with self._lock:
            if account.number >= 0:
                (self._accounts_free if account.used == 0 else self._accounts_closed).append(account.number)
                account.number = -1

    # ---- frames

    def allocate(self, account: Account) -> int:
        """A zeroed frame with one reference. Raises OutOfMemory: the account or, after reclaim, the pool is full."""
        for attempt in range(2):
            frame = self._allocate(account.number)
            if frame >= 0:
                return frame
            if frame == -1:
                raise OutOfMemory("vm")
            if attempt or not self.reclaim(64):
                break
        raise OutOfMemory("pool")

    def reclaim(self, frames: int) -> int:
        """Ask those who hold what can be had again to give up to `frames` of it; return how many came."""
        won = 0
        for reclaimer in list(self.reclaimers):
            if won >= frames:
                break
            won += reclaimer(frames - won)
        return won

    def _allocate(self, owner: int) -> int:
        if self._native:
            return int(self._native.allocate(self._pointer, owner))
        return self.take(owner, zero=True)

    def take(self, owner: int, zero: bool) -> int:
        """What the accelerator's allocate does: a frame, -1 when the account or -2 when the pool is full."""
        with self._lock:
            return self._take(owner, zero)

    def _take(self, owner: int, zero: bool) -> int:
        words = self.words
        account = words.accounts[owner]
        if account.used >= account.limit:
            return -1
        if not zero and words.dirty_count:
            words.dirty_count -= 1
            frame = self.dirty[words.dirty_count]
        elif words.zeroed_count:
            words.zeroed_count -= 1
            frame = self.zeroed[words.zeroed_count]
        elif words.next < self.frames:
            frame = words.next
            words.next += 1
        elif words.dirty_count:
            words.dirty_count -= 1
            frame = self.dirty[words.dirty_count]
            self.memory[frame * PAGE_SIZE : (frame + 1) * PAGE_SIZE] = bytes(PAGE_SIZE)
        else:
            return -2
        self.references[frame] = 1
        self.owner[frame] = owner
        account.used += 1
        account.peak = max(account.peak, account.used)
        words.used += 1
        words.peak = max(words.peak, words.used)
        return int(frame)

    def retain(self, frame: int) -> None:
        if self._native:
            self._native.retain(self._pointer, frame)
        else:
            with self._lock:
                self.references[frame] += 1

    def release(self, frame: int) -> int:
        """Drop one reference; return how many are left. After `close` (a file that outlives its machine in somebody's
        traceback) there is nothing left to drop."""
        if self._closed:
            return 0
        if self._native:
            left = int(self._native.release(self._pointer, frame))
        else:
            with self._lock:
                left = self._release(frame)
        return left

    def _release(self, frame: int) -> int:
        self.references[frame] -= 1
        left = self.references[frame]
        if left:
            return left
        if self.state[frame] >= layout.EXECUTABLE:
            self.generation[frame] = (self.generation[frame] + 1) & 0xFFFFFFFF
        self.state[frame] = layout.IDLE
        self.flip_count[frame] = 0
        words = self.words
        words.accounts[self.owner[frame]].used -= 1
        words.used -= 1
        self.dirty[words.dirty_count] = frame
        words.dirty_count += 1
        return 0

    def trim(self) -> int:
        """Give free frames back to the host when there are many; return how many went."""
        if self.words.dirty_count < TRIM_FRAMES:
            return 0
        if self._native:
            return int(self._native.trim(self._pointer))
        with self._lock:
            count = int(self.words.dirty_count)
            free = sorted(self.dirty[:count].tolist())
            start = previous = free[0]
            for frame in [*free[1:], -1]:
                if frame != previous + 1:
                    self._map.madvise(mmap.MADV_DONTNEED, start * PAGE_SIZE, (previous + 1 - start) * PAGE_SIZE)
                    start = frame
                previous = frame
            base = int(self.words.zeroed_count)
            for index, frame in enumerate(reversed(free)):  # the lowest are used again first
                self.zeroed[base + index] = frame
            self.words.zeroed_count = base + count
            self.words.dirty_count = 0
            return count

    # ---- page table leaves: frames of 512 entries (layout.py)

    def clear_entries(self, leaf: int, first: int, count: int) -> None:
        """Release what entries [first, first + count) of a leaf hold, and clear them."""
        if self._native:
            self._native.clear_entries(self._pointer, leaf, first, count)
            return
        start = leaf * LEAF_ENTRIES + first
        for index in range(start, start + count):
            value = self.entries[index]
            if value & layout.PRESENT and not value & layout.DEVICE:
                self.release(value >> 12)
            self.entries[index] = 0

    def protect_entries(self, leaf: int, first: int, count: int, access: int) -> None:
        """Other access bits (READ | WRITE | EXECUTE) for entries [first, first + count); absent ones are forgotten."""
        if self._native:
            self._native.protect_entries(self._pointer, leaf, first, count, access)
            return
        start = leaf * LEAF_ENTRIES + first
        keep = ~(layout.READ | layout.WRITE | layout.EXECUTE)
        for index in range(start, start + count):
            value = self.entries[index]
            self.entries[index] = value & keep | access if value & layout.PRESENT else 0

    def release_leaf(self, leaf: int) -> None:
        """Drop a reference to a leaf; with the last one go its frames."""
        if self._native:
            self._native.release_leaf(self._pointer, leaf)
            return
        if self.references[leaf] == 1:
            self.clear_entries(leaf, 0, LEAF_ENTRIES)
        self.release(leaf)

    def copy_leaf(self, leaf: int, account: Account) -> int:
        """A private copy instead of a shared leaf; every frame in it gains a reference. Raises OutOfMemory."""
        copy = self._copy_leaf(leaf, account.number)
        if copy == -2 and self.reclaim(64):
            copy = self._copy_leaf(leaf, account.number)
        if copy < 0:
            raise OutOfMemory("vm" if copy == -1 else "pool")
        return copy

    def _copy_leaf(self, leaf: int, owner: int) -> int:
        if self._native:
            return int(self._native.copy_leaf(self._pointer, leaf, owner))
        copy = self.take(owner, zero=False)
        if copy >= 0:
            source = self.entries[leaf * LEAF_ENTRIES : (leaf + 1) * LEAF_ENTRIES]
            self.entries[copy * LEAF_ENTRIES : (copy + 1) * LEAF_ENTRIES] = source
            for value in source:
                if value & layout.PRESENT and not value & layout.DEVICE:
                    self.retain(value >> 12)
            self.release(leaf)
        return copy

    def share_leaf(self, leaf: int) -> None:
        """One more reference; private entries become copy-on-write for both sides."""
        if self._native:
            self._native.share_leaf(self._pointer, leaf)
            return
        for index in range(leaf * LEAF_ENTRIES, (leaf + 1) * LEAF_ENTRIES):
            value = self.entries[index]
            if value & layout.PRESENT and not value & (layout.SHARED | layout.DEVICE):
                self.entries[index] = value | layout.COPY
        self.retain(leaf)

    # ---- bytes

    def read(self, frame: int, offset: int = 0, length: int = PAGE_SIZE) -> bytes:
        start = frame * PAGE_SIZE + offset
        return bytes(self.memory[start : start + length])

    def write(self, frame: int, offset: int, data: bytes | memoryview) -> None:
        """A store by the host: translations of the frame become stale in every engine."""
        if self.state[frame] >= layout.EXECUTABLE:
            self.forget_code(frame)
        start = frame * PAGE_SIZE + offset
        self.memory[start : start + len(data)] = data

    def forget_code(self, frame: int) -> None:
        self.generation[frame] = (self.generation[frame] + 1) & 0xFFFFFFFF
        self.state[frame] = layout.IDLE
        self.words.code_epoch += 1

    def close(self) -> None:
        """Unmap everything. No engine may run on it afterwards."""
        self._closed = True
        self.reclaimers.clear()
        self.entries.release()
        self.memory.release()
        for view in (
            self.references,
            self.generation,
            self.owner,
            self.state,
            self.flip_count,
            self.zeroed,
            self.dirty,
        ):
            view.release()
        self.words = layout.PoolWords()
        self._tables.clear()
        del self._map
