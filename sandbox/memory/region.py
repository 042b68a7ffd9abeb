"""Regions (VMAs): what a guest has mapped, as a sorted list without overlaps.

A region says what ought to be at an address; the page table (table.py) holds what is there already. The
list knows how to find, cut and join regions, and gaps for new ones; it touches no page.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sandbox.memory.source import PageSource


@dataclass(slots=True)
class Region:
    """Addresses [start, end), whole pages. `offset` is the file offset of `start`."""

    start: int
    end: int
    protection: int
    shared: bool = False
    name: bytes = b""
    offset: int = 0
    source: PageSource | None = None
    grows_down: bool = False
    device: bool = False
    inherit: bool = True  # False after madvise(MADV_DONTFORK)
    wiped: bool = False  # True after madvise(MADV_WIPEONFORK): a child finds zeros
    locked: bool = False  # True after mlock
    may_write: bool = True  # False for a file that was opened for reading only and is shared: mprotect says EACCES

    @property
    def length(self) -> int:
        return self.end - self.start

    def copy(self) -> Region:
        """As `dataclasses.replace` does it, ten times as fast: a fork copies them all."""
        return Region(
            self.start, self.end, self.protection, self.shared, self.name, self.offset, self.source, self.grows_down,
            self.device, self.inherit, self.wiped, self.locked, self.may_write,
        )  # fmt: skip

    def joins(self, other: Region) -> bool:
        """True when `other`, which begins where this ends, can be one region with it."""
        return (
            self.end == other.start
            and self.protection == other.protection
            and self.shared == other.shared
            and self.name == other.name
            and self.source is other.source
            and (self.source is None or self.offset + self.length == other.offset)
            and not (self.grows_down or other.grows_down or self.device or other.device)
            and self.inherit == other.inherit
            and self.wiped == other.wiped
            and self.locked == other.locked
            and self.may_write == other.may_write
        )


class RegionList:
    def __init__(self, regions: list[Region] | None = None) -> None:
        self._regions = regions or []
        self._starts = [region.start for region in self._regions]

    def __iter__(self) -> Iterator[Region]:
        return iter(self._regions)

    def __len__(self) -> int:
        return len(self._regions)

    def copy(self) -> RegionList:
        return RegionList([region.copy() for region in self._regions])

    def at(self, address: int) -> Region | None:
        index = bisect_right(self._starts, address) - 1
        if index >= 0 and address < self._regions[index].end:
            return self._regions[index]
        return None

    def above(self, address: int) -> Region | None:
        """The first region that starts after `address`."""
        index = bisect_right(self._starts, address)
        return self._regions[index] if index < len(self._regions) else None

    def below(self, address: int) -> Region | None:
        """The last region that ends at or before `address`."""
        index = bisect_right(self._starts, address) - 1
        if index >= 0 and self._regions[index].end > address:
            index -= 1
        return self._regions[index] if index >= 0 else None

    def is_border(self, address: int) -> bool:
        """True when no region has to be split for one to begin or end at `address`."""
        region = self.at(address)
        return region is None or region.start == address

    def overlapping(self, start: int, end: int) -> list[Region]:
        index = max(0, bisect_right(self._starts, start) - 1)
        found = []
        while index < len(self._regions) and self._regions[index].start < end:
            if self._regions[index].end > start:
                found.append(self._regions[index])
            index += 1
        return found

    def runs(self, wanted: Callable[[Region], bool]) -> list[tuple[int, int]]:
        """What the regions that are `wanted` cover, those that touch taken together."""
        found: list[tuple[int, int]] = []
        for region in self._regions:
            if not wanted(region):
                continue
            if found and found[-1][1] == region.start:
                found[-1] = found[-1][0], region.end
            else:
                found.append((region.start, region.end))
        return found

    def covered_until(self, start: int, end: int) -> int:
        """Where in [start, end) the first page without a region is; `end` when there is none."""
        for region in self.overlapping(start, end):
            if region.start > start:
                break
            start = region.end
        return min(start, end)

    def covered(self, start: int, end: int) -> bool:
        """True when no page of [start, end) is without a region."""
        return self.covered_until(start, end) >= end

    def add(self, region: Region) -> Region:
        """Insert a region into free space, joined with its neighbours where they are alike."""
        index = bisect_right(self._starts, region.start)
        if index and self._regions[index - 1].joins(region):
            self._regions[index - 1].end = region.end
            index -= 1
            region = self._regions[index]
        else:
            self._regions.insert(index, region)
            self._starts.insert(index, region.start)
        if index + 1 < len(self._regions) and region.joins(self._regions[index + 1]):
            region.end = self._regions[index + 1].end
            del self._regions[index + 1]
            del self._starts[index + 1]
        return region

    def move_start(self, region: Region, start: int) -> None:
        """Grow a region downwards into free space."""
        index = bisect_right(self._starts, region.start) - 1
        region.offset -= region.start - start if region.source else 0
        region.start = self._starts[index] = start

    def split(self, address: int) -> None:
        """Make `address` a border."""
        region = self.at(address)
        if region is None or region.start == address:
            return
        offset = region.offset + (address - region.start if region.source else 0)
        upper = region.copy()
        upper.start, upper.offset, upper.grows_down = address, offset, False
        region.end = address
        index = bisect_right(self._starts, address)
        self._regions.insert(index, upper)
        self._starts.insert(index, address)

    def cut(self, start: int, end: int) -> list[Region]:
        """Take [start, end) out; return what was there, cut to size."""
        self.split(start)
        self.split(end)
        taken = self.overlapping(start, end)
        if taken:
            first = bisect_right(self._starts, start - 1)
            del self._regions[first : first + len(taken)]
            del self._starts[first : first + len(taken)]
        return taken

    def change(self, start: int, end: int, **attributes: object) -> None:
        """Set attributes of all that lies in [start, end), which are whole regions afterwards."""
        for region in self.cut(start, end):
            for name, value in attributes.items():
                setattr(region, name, value)
            self.add(region)

    def gap(self, length: int, bottom: int, top: int) -> int | None:
        """The highest free start of `length` bytes in [bottom, top), or None."""
        end = top
        for index in range(bisect_right(self._starts, top) - 1, -1, -1):
            region = self._regions[index]
            if region.end <= bottom:
                break
            if end - region.end >= length:
                return end - length
            end = min(end, region.start)
        return end - length if end - length >= bottom else None
