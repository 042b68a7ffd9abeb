"""The page cache: clean pages of files, shared by all VMs that map the same file, given up under pressure.

A cached frame has one reference of the cache and one per page table leaf that shows it. Under pressure
those that nobody maps go first; then the address spaces that are not running are asked to let go of theirs
(they come back on a fault).
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from typing import TYPE_CHECKING

from sandbox.engine.layout import PAGE_SIZE
from sandbox.memory.frames import FramePool
from sandbox.memory.source import PageSource

if TYPE_CHECKING:
    from sandbox.memory.space import AddressSpace

READ_AHEAD = 8  # pages read around a miss


class PageCache:
    def __init__(self, pool: FramePool) -> None:
        self._pool = pool
        self._files: dict[Hashable, dict[int, int]] = {}
        self.spaces: weakref.WeakSet[AddressSpace] = weakref.WeakSet()
        self.dropped = 0
        pool.reclaimers.append(self.reclaim)

    def pages(self, source: PageSource) -> dict[int, int]:
        """The frames of a file that are here, by page index. Not to be kept."""
        return self._files.setdefault(source.identity, {})

    def frame(self, source: PageSource, index: int) -> int:
        """The frame of one page, not retained. Raises OutOfMemory, and whatever the source raises."""
        pages = self.pages(source)
        frame = pages.get(index)
        if frame is None:
            start = index & ~(READ_AHEAD - 1)
            last = (source.size - 1) // PAGE_SIZE
            for near in range(start, min(start + READ_AHEAD, last + 1)):
                if near == index or (near not in pages and self._roomy()):
                    data = source.load(near)
                    new = self._pool.allocate(self._pool.system)
                    if data:
                        self._pool.write(new, 0, data[:PAGE_SIZE])
                    pages = self.pages(source)  # the allocation may have reclaimed it
                    pages[near] = new
            frame = pages[index]
        return frame

    def _roomy(self) -> bool:
        return self._pool.used < self._pool.frames * 7 // 8

    def reclaim(self, wanted: int) -> int:
        """Free up to `wanted` frames; return how many were freed."""
        won = self._drop_unmapped(wanted)
        if won < wanted:
            for space in list(self.spaces):
                if not space.running:
                    space.drop_clean()
            won += self._drop_unmapped(wanted - won)
        self.dropped += won
        return won

    def _drop_unmapped(self, wanted: int) -> int:
        won = 0
        references = self._pool.references
        for identity in list(self._files):
            pages = self._files[identity]
            for index in [index for index, frame in pages.items() if references[frame] == 1]:
                if won >= wanted:
                    return won
                self._pool.release(pages.pop(index))
                won += 1
            if not pages:
                del self._files[identity]
        return won

    def forget(self, identity: Hashable) -> None:
        """The file has gone or changed: new faults read it again."""
        for frame in self._files.pop(identity, {}).values():
            self._pool.release(frame)


def pool_cache(pool: FramePool) -> PageCache:
    """The page cache of a pool, made at first use."""
    if pool.cache is None:
        pool.cache = PageCache(pool)
    return pool.cache
