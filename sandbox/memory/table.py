"""The page table of one address space: a directory of leaves, each a frame of 512 entries (2 MiB).

An entry (layout.py) says which frame stands at a page, what may be done with it and what must happen
first (copy, zero). The accelerator reads and completes entries of leaves that belong to one table alone;
everything else, and every change of the directory, happens here. The directory exists twice: as a dict for
Python and as an open-addressing hash for the accelerator.

`epoch` must grow whenever a TLB may hold more than the table still allows (`shrunk`).
"""

from __future__ import annotations

import ctypes
import itertools
import secrets
from array import array
from collections.abc import Iterator
from ctypes import c_uint64

from sandbox.engine import layout
from sandbox.engine.layout import LEAF_ENTRIES, PAGE_SIZE
from sandbox.memory.frames import Account, FramePool

LEAF_SHIFT = 21
LEAF_SPAN = 1 << LEAF_SHIFT
# Of the hash. Secret: guests choose addresses, and would choose those that collide. No result depends on it.
_MULTIPLIER = secrets.randbits(64) | 1
_WORD = (1 << 64) - 1
_identities = itertools.count(1)
EMPTY_LEAF = array("Q", bytes(PAGE_SIZE))


class PageTable:
    def __init__(self, pool: FramePool, account: Account, end: int) -> None:
        self.pool = pool
        self.account = account
        self.leaves: dict[int, int] = {}
        self.words = layout.TableWords()
        self.words.identity = next(_identities)
        self.words.account = account.number
        self.words.multiplier = _MULTIPLIER
        self.words.end = end
        self.pointer = ctypes.addressof(self.words)
        self._rebuild(8)

    # ---- directory

    def _rebuild(self, slots: int) -> None:
        self._slots = (c_uint64 * (slots * 2))()
        self._mask = slots - 1
        for key, leaf in self.leaves.items():
            self._place(key, leaf)
        self.words.slots = ctypes.cast(self._slots, ctypes.POINTER(c_uint64))
        self.words.mask = self._mask

    def _place(self, number: int, leaf: int) -> None:
        key = number + 1
        index = self._home(number)
        while self._slots[index * 2] not in (0, key):
            index = index + 1 & self._mask
        self._slots[index * 2] = key
        self._slots[index * 2 + 1] = leaf

    def _displace(self, number: int) -> None:
        """Take a leaf out of the hash: what stands behind it in its run moves up, so that no gap parts it from where
        its search begins."""
        slots, mask = self._slots, self._mask
        hole = self._home(number)
        while slots[hole * 2] != number + 1:
            hole = hole + 1 & mask
        index = hole + 1 & mask
        while slots[index * 2]:
            if index - self._home(slots[index * 2] - 1) & mask >= index - hole & mask:
                slots[hole * 2], slots[hole * 2 + 1] = slots[index * 2], slots[index * 2 + 1]
                hole = index
            index = index + 1 & mask
        slots[hole * 2] = 0

    def _home(self, number: int) -> int:
        return ((number + 1) * _MULTIPLIER & _WORD) >> 32 & self._mask

    def own_leaf(self, number: int) -> int:
        """The leaf for addresses from `number << 21` on, made or made private. Raises OutOfMemory."""
        leaf = self.leaves.get(number)
        if leaf is None:
            leaf = self.pool.allocate(self.account)
            self.leaves[number] = leaf
            if len(self.leaves) * 2 > self._mask:
                self._rebuild((self._mask + 1) * 2)
            else:
                self._place(number, leaf)
        elif self.pool.references[leaf] > 1:
            leaf = self.pool.copy_leaf(leaf, self.account)
            self.leaves[number] = leaf
            self._place(number, leaf)
        return leaf

    # ---- entries

    def entry(self, address: int) -> int:
        leaf = self.leaves.get(address >> LEAF_SHIFT)
        if leaf is None:
            return 0
        return self.pool.entries[leaf * LEAF_ENTRIES + (address >> 12 & 511)]

    def set_entry(self, address: int, value: int) -> None:
        """Overwrite one entry; the caller has dealt with what stood there. Raises OutOfMemory."""
        leaf = self.own_leaf(address >> LEAF_SHIFT)
        self.pool.entries[leaf * LEAF_ENTRIES + (address >> 12 & 511)] = value

    def pieces(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """(leaf number, first entry, count) of the existing leaves in [start, end)."""
        first, last = start >> LEAF_SHIFT, (end - 1) >> LEAF_SHIFT
        if last - first + 1 > len(self.leaves):
            numbers = sorted(number for number in self.leaves if first <= number <= last)
        else:
            numbers = [number for number in range(first, last + 1) if number in self.leaves]
        for number in numbers:
            low = max(start, number << LEAF_SHIFT)
            high = min(end, (number + 1) << LEAF_SHIFT)
            yield number, low >> 12 & 511, (high - low) >> 12

    def detach(self, start: int, end: int, whole: bool = False) -> None:
        """Make private every leaf of which a part, or with `whole` all, lies in [start, end): what is done to those
        pages next cannot fail half way. Raises OutOfMemory."""
        for number, _, count in self.pieces(start, end):
            if whole or count < LEAF_ENTRIES:
                self.own_leaf(number)

    def move(self, old: int, new: int, length: int) -> None:
        """Let the pages of [old, old + length) stand at `new`, where there are none. Raises OutOfMemory, with nothing
        moved."""
        self.detach(old, old + length, whole=True)
        for number, first, count in list(self.pieces(old, old + length)):
            target = (number << LEAF_SHIFT) + (first << 12) - old + new
            self.own_leaf(target >> LEAF_SHIFT)
            self.own_leaf(target + (count << 12) - 1 >> LEAF_SHIFT)
        entries = self.pool.entries
        for number, first, count in list(self.pieces(old, old + length)):
            start = self.leaves[number] * LEAF_ENTRIES + first
            target = (number << LEAF_SHIFT) + (first << 12) - old + new
            for index, value in enumerate(entries[start : start + count].tolist()):
                if value:
                    self.set_entry(target + (index << 12), value)
                    entries[start + index] = 0
        self.shrunk()

    def clear(self, start: int, end: int) -> None:
        """Forget all pages in [start, end). Raises OutOfMemory unless `detach` came before."""
        emptied = []
        for number, first, count in self.pieces(start, end):
            if count == LEAF_ENTRIES:
                emptied.append(number)
            else:
                self.pool.clear_entries(self.own_leaf(number), first, count)
        few = len(emptied) * 8 < len(self.leaves)  # else it is cheaper to begin again
        for number in emptied:
            self.pool.release_leaf(self.leaves.pop(number))
            if few:
                self._displace(number)
        if emptied and (not few or len(self.leaves) * 16 < self._mask):
            self._rebuild(max(8, 1 << (len(self.leaves) * 2).bit_length()))
        self.shrunk()

    def protect(self, start: int, end: int, access: int) -> None:
        """Give the pages in [start, end) the access bits `access`. Raises OutOfMemory."""
        for number, first, count in self.pieces(start, end):
            self.pool.protect_entries(self.own_leaf(number), first, count, access)
        self.shrunk()

    def shrunk(self) -> None:
        self.words.epoch += 1

    # ---- whole tables

    def fork(self, account: Account) -> PageTable:
        """A table that shares every leaf; private pages become copy-on-write on both sides."""
        child = PageTable(self.pool, account, self.words.end)
        for leaf in self.leaves.values():
            self.pool.share_leaf(leaf)
        child.leaves = dict(self.leaves)
        child._rebuild(self._mask + 1)
        self.shrunk()
        return child

    def release(self) -> None:
        leaves, self.leaves = self.leaves, {}
        self._rebuild(8)
        for leaf in leaves.values():
            self.pool.release_leaf(leaf)
        self.shrunk()
