"""The list of regions: finding, joining, cutting, gaps; and against a simple model, page by page."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.memory import PAGE_SIZE, Region
from sandbox.memory.region import RegionList
from tests.memory import File


def region(start: int, end: int, protection: int = 3, **more: object) -> Region:
    return Region(start * PAGE_SIZE, end * PAGE_SIZE, protection, **more)  # type: ignore[arg-type]


def listed(regions: RegionList) -> list[tuple[int, int]]:
    return [(found.start // PAGE_SIZE, found.end // PAGE_SIZE) for found in regions]


def made(*regions: Region) -> RegionList:
    result = RegionList()
    for one in regions:
        result.add(one)
    return result


FILE, OTHER = File(b""), File(b"")
JOINS = {
    "alike": (region(1, 2), region(2, 3), True),
    "a gap": (region(1, 2), region(3, 4), False),
    "protection": (region(1, 2), region(2, 3, 1), False),
    "shared": (region(1, 2), region(2, 3, shared=True), False),
    "name": (region(1, 2), region(2, 3, name=b"[heap]"), False),
    "stack": (region(1, 2), region(2, 3, grows_down=True), False),
    "device": (region(1, 2, device=True), region(2, 3, device=True), False),
    "inherit": (region(1, 2), region(2, 3, inherit=False), False),
    "file goes on": (region(1, 2, source=FILE, offset=0), region(2, 3, source=FILE, offset=PAGE_SIZE), True),
    "file repeats": (region(1, 2, source=FILE, offset=0), region(2, 3, source=FILE, offset=0), False),
    "other file": (region(1, 2, source=FILE, offset=0), region(2, 3, source=OTHER, offset=PAGE_SIZE), False),
}


@pytest.mark.parametrize(("low", "high", "joined"), JOINS.values(), ids=JOINS)
@pytest.mark.parametrize("upwards", [True, False])
def test_neighbours_that_are_alike_become_one(low: Region, high: Region, joined: bool, upwards: bool) -> None:
    low, high = RegionList([low, high]).copy()
    regions = made(low, high) if upwards else made(high, low)
    assert len(regions) == (1 if joined else 2)


def test_a_region_joins_on_both_sides() -> None:
    regions = made(region(1, 2), region(3, 4), region(2, 3))
    assert listed(regions) == [(1, 4)]


LIST = made(region(2, 4), region(4, 6, 1), region(10, 12))
FOUND = {
    1: (None, (2, 4), None),
    2: ((2, 4), (4, 6), None),
    3: ((2, 4), (4, 6), None),
    4: ((4, 6), (10, 12), (2, 4)),
    6: (None, (10, 12), (4, 6)),
    11: ((10, 12), None, (4, 6)),
    12: (None, None, (10, 12)),
}


@pytest.mark.parametrize(("page", "expected"), FOUND.items())
def test_at_above_below(page: int, expected: tuple[object, object, object]) -> None:
    address = page * PAGE_SIZE
    found = (LIST.at(address), LIST.above(address), LIST.below(address))
    assert tuple(one and (one.start // PAGE_SIZE, one.end // PAGE_SIZE) for one in found) == expected


COVERED = [(2, 6, True), (3, 5, True), (2, 7, False), (1, 3, False), (6, 7, False), (10, 12, True), (5, 11, False)]


@pytest.mark.parametrize(("start", "end", "covered"), COVERED)
def test_covered(start: int, end: int, covered: bool) -> None:
    assert LIST.covered(start * PAGE_SIZE, end * PAGE_SIZE) is covered


def test_a_cut_keeps_file_offsets() -> None:
    regions = made(region(10, 20, source=FILE, offset=5 * PAGE_SIZE))
    (taken,) = regions.cut(13 * PAGE_SIZE, 15 * PAGE_SIZE)
    assert (taken.offset, taken.length) == (8 * PAGE_SIZE, 2 * PAGE_SIZE)
    assert [(left.start // PAGE_SIZE, left.offset // PAGE_SIZE) for left in regions] == [(10, 5), (15, 10)]


def test_a_stack_grows_at_its_lower_piece() -> None:
    regions = made(region(10, 20, grows_down=True))
    regions.split(15 * PAGE_SIZE)
    assert [one.grows_down for one in regions] == [True, False]
    low = regions.at(10 * PAGE_SIZE)
    assert low is not None
    regions.move_start(low, 8 * PAGE_SIZE)
    assert listed(regions) == [(8, 15), (15, 20)]
    assert regions.at(8 * PAGE_SIZE) is low


GAPS = [(1, 0, 100, 99), (4, 0, 12, 6), (5, 0, 12, None), (2, 0, 10, 8), (2, 0, 11, 8), (2, 0, 5, 0), (3, 0, 5, None)]


@pytest.mark.parametrize(("length", "bottom", "top", "expected"), GAPS)
def test_gap(length: int, bottom: int, top: int, expected: int | None) -> None:
    found = LIST.gap(length * PAGE_SIZE, bottom * PAGE_SIZE, top * PAGE_SIZE)
    assert found == (None if expected is None else expected * PAGE_SIZE)


PAGES = 24
SPAN = st.tuples(st.integers(0, PAGES - 1), st.integers(1, PAGES)).map(lambda span: (span[0], min(PAGES, sum(span))))


@given(st.lists(st.tuples(st.sampled_from(["add", "cut", "split"]), SPAN, st.integers(0, 1))))
def test_against_pages(steps: list[tuple[str, tuple[int, int], int]]) -> None:
    regions, model = RegionList(), dict[int, int]()
    for step, (first, last), protection in steps:
        if step == "split":
            regions.split(first * PAGE_SIZE)
            continue
        taken = regions.cut(first * PAGE_SIZE, last * PAGE_SIZE)
        assert sum(one.length for one in taken) == PAGE_SIZE * sum(page in model for page in range(first, last))
        for page in range(first, last):
            model.pop(page, None)
        if step == "add":
            regions.add(region(first, last, protection))
            model.update(dict.fromkeys(range(first, last), protection))
        for page in range(PAGES):
            found = regions.at(page * PAGE_SIZE)
            assert (found and found.protection) == model.get(page)
        borders = [border for one in regions for border in (one.start, one.end)]
        assert borders == sorted(borders), "regions overlap or are out of order"
        for length in (1, 2, 5):
            places = [
                start
                for start in range(2, PAGES - length + 1)
                if not any(page in model for page in range(start, start + length))
            ]
            gap = regions.gap(length * PAGE_SIZE, 2 * PAGE_SIZE, PAGES * PAGE_SIZE)
            assert gap == (max(places) * PAGE_SIZE if places else None)
