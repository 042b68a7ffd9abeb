"""Regions with a map of their pages, and bytes, as they are: a look brings no page in."""

from __future__ import annotations

from typing import Any

from sandbox.dashboard.view import MemoryView, RegionView
from sandbox.engine import layout

_PAGE = layout.PAGE_SIZE
_MAP = 64  # groups of pages per region
_REGIONS = 200
_MOST_PAGES = 1 << 15  # that are looked at one by one


def peek(space: Any, address: int, length: int) -> bytes:
    """As much as is present, from `address` on."""
    pieces = []
    while length > 0 and address >= 0:
        entry = space.table.entry(address)
        if not entry & layout.PRESENT or entry & layout.DEVICE:
            break
        offset = address & (_PAGE - 1)
        size = min(_PAGE - offset, length)
        pieces.append(bytes(space.pool.read(entry >> 12, offset, size)))
        address += size
        length -= size
    return b"".join(pieces)


def memory_view(space: Any, address: int, length: int, limit: int | None) -> MemoryView:
    regions = space.regions()[:_REGIONS]
    budget = _MOST_PAGES
    views = []
    for region in regions:
        count = (region.end - region.start) // _PAGE
        pages, resident = ("", None) if budget <= 0 else _pages(space, region.start, region.end)
        budget -= min(count, 512)
        bits = region.protection
        views.append(
            RegionView(
                region.start,
                region.end,
                ("r" if bits & 1 else "-") + ("w" if bits & 2 else "-") + ("x" if bits & 4 else "-"),
                region.shared,
                region.name,
                region.offset,
                resident,
                pages,
            )
        )
    data = peek(space, address, length)
    return MemoryView(
        regions=tuple(views),
        resident=space.account.used * _PAGE,
        limit=limit,
        address=address,
        data=data,
        readable=bool(data) or any(region.start <= address < region.end for region in regions),
    )


def _pages(space: Any, start: int, end: int) -> tuple[str, int]:
    """One letter for each of at most `_MAP` groups of pages, and how many pages are resident."""
    table, pool = space.table, space.pool
    count = (end - start) // _PAGE
    groups = min(count, _MAP)
    letters = ["."] * groups
    rank = ".rsd"
    resident = 0
    for number, first, size in table.pieces(start, end):
        leaf = table.leaves[number]
        base = (number << 21) + (first << 12)
        entries = pool.entries[leaf * layout.LEAF_ENTRIES + first : leaf * layout.LEAF_ENTRIES + first + size]
        shared_leaf = pool.references[leaf] > 1
        for index, entry in enumerate(entries):
            if not entry & layout.PRESENT or entry & layout.DEVICE:  # a device's page has no frame
                continue
            resident += 1
            letter = _letter(entry, pool, shared_leaf)
            group = ((base - start >> 12) + index) * groups // count
            if rank.index(letter) > rank.index(letters[group]):
                letters[group] = letter
    return "".join(letters), resident


def _letter(entry: int, pool: Any, shared_leaf: bool) -> str:
    """shared: more than one mapping has the frame; dirty: the guest's own; resident: clean, as in its file."""
    if entry & layout.SHARED or shared_leaf or pool.references[entry >> 12] > 1:
        return "s"
    return "r" if entry & layout.CLEAN else "d"
