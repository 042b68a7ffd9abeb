"""AddressSpaces against a model without frames: a dictionary of pages for each, copied whole at a fork.

The pages lie on both sides of a leaf's border. Every read is compared; at the end, all bytes of all spaces are, and no
frame may be left in use.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from sandbox.abi.errno import Errno
from sandbox.memory import PAGE_SIZE, AddressSpace, FramePool, PagedFile
from tests.memory import READ, WRITE, File
from tests.programs import choose_engine

PAGE = PAGE_SIZE
PAGES = 16
BASE = (1 << 21) - PAGES // 2 * PAGE
FILE = File(b"".join(bytes([64 + index]) * PAGE for index in range(64)), "model")


@dataclass
class Page:
    """One page as the model sees it. `content` is shared by all who share the page; `first` is what it began with."""

    protection: int
    content: bytearray
    first: bytes
    shared: bool = False


Model = dict[int, Page]
SPAN = st.tuples(st.integers(0, PAGES - 1), st.integers(1, PAGES)).map(lambda span: (span[0], min(PAGES, sum(span))))
PROTECTION = st.sampled_from([0, READ, READ | WRITE, READ | WRITE, READ | WRITE])


class Spaces(RuleBasedStateMachine):
    kind = "python"

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        choose_engine(self.patch, self.kind)
        self.pool = FramePool(2048 * PAGE)
        self.account = self.pool.account(1 << 40)
        self.files: list[PagedFile] = []
        self.spaces: list[tuple[AddressSpace, Model]] = []

    @initialize()
    def first(self) -> None:
        self.spaces.append((AddressSpace(self.pool, self.account, 64), {}))

    def pick(self, number: int) -> tuple[AddressSpace, Model]:
        return self.spaces[number % len(self.spaces)]

    which = st.integers(0, 5)

    @rule(which=which, span=SPAN, protection=PROTECTION, kind=st.sampled_from(["zero", "zero", "file", "shared"]))
    def map(self, which: int, span: tuple[int, int], protection: int, kind: str) -> None:
        space, model = self.pick(which)
        first, last = span
        address, length = BASE + first * PAGE, (last - first) * PAGE
        if kind == "shared":
            shared = PagedFile(self.pool, self.account)
            shared.truncate(length)
            self.files.append(shared)
            space.map(address, length, protection, fixed=True, shared=True, source=shared)
        else:
            source = FILE if kind == "file" else None
            space.map(address, length, protection, fixed=True, source=source, offset=first * PAGE)
        for page in range(first, last):
            start = FILE.load(page) if kind == "file" else bytes(PAGE)
            model[page] = Page(protection, bytearray(start), start, kind == "shared")

    @rule(which=which, span=SPAN)
    def unmap(self, which: int, span: tuple[int, int]) -> None:
        space, model = self.pick(which)
        space.unmap(BASE + span[0] * PAGE, (span[1] - span[0]) * PAGE)
        for page in range(*span):
            model.pop(page, None)

    @rule(which=which, span=SPAN, protection=PROTECTION)
    def protect(self, which: int, span: tuple[int, int], protection: int) -> None:
        """What lies before the first page without a mapping is changed all the same."""
        space, model = self.pick(which)
        hole = next((page for page in range(*span) if page not in model), None)
        try:
            space.protect(BASE + span[0] * PAGE, (span[1] - span[0]) * PAGE, protection)
        except Errno:
            assert hole is not None
        else:
            assert hole is None
        for page in range(span[0], span[1] if hole is None else hole):
            model[page].protection = protection

    @rule(which=which, span=SPAN)
    def advise(self, which: int, span: tuple[int, int]) -> None:
        space, model = self.pick(which)
        try:
            space.advise(BASE + span[0] * PAGE, (span[1] - span[0]) * PAGE)
        except Errno:
            assert any(page not in model for page in range(*span))
        for page in range(*span):
            if page in model and not model[page].shared:
                model[page].content[:] = model[page].first

    @rule(which=which, span=SPAN, to=st.integers(0, PAGES - 1))
    def move(self, which: int, span: tuple[int, int], to: int) -> None:
        space, model = self.pick(which)
        first, last = span
        length = min(last - first, PAGES - to)
        try:
            space.remap(BASE + first * PAGE, (last - first) * PAGE, length * PAGE, may_move=True, new=BASE + to * PAGE)
        except Errno:
            overlaps = first < to + length and to < last
            end = first + length  # of what moves; the rest is unmapped, whatever is there
            attributes = {
                (page in model and (model[page].protection, model[page].shared, model[page].first))
                for page in range(first, end)
            }
            regions = [
                one for one in space.regions() if one.start < BASE + end * PAGE and one.end > BASE + first * PAGE
            ]
            assert overlaps or len(attributes) > 1 or len(regions) != 1 or False in attributes
            return
        moved = [model.pop(page) for page in range(first, first + length)]
        for page in range(first + length, last):
            model.pop(page, None)
        for page in range(to, to + length):
            model[page] = moved[page - to]

    @rule(which=which, start=st.integers(0, PAGES * PAGE), data=st.binary(max_size=8), times=st.sampled_from([1, 1100]))
    def write(self, which: int, start: int, data: bytes, times: int) -> None:
        space, model = self.pick(which)
        data *= times
        allowed = 0
        for offset in range(len(data)):
            page = model.get((start + offset) // PAGE)
            if page is None or not page.protection & WRITE:
                break
            page.content[(start + offset) % PAGE] = data[offset]
            allowed += 1
        try:
            space.copy_out(BASE + start, data)
        except Errno:
            assert allowed < len(data)
        else:
            assert allowed == len(data)

    @rule(which=which, start=st.integers(0, PAGES * PAGE), data=st.binary(min_size=1, max_size=8))
    def debug(self, which: int, start: int, data: bytes) -> None:
        space, model = self.pick(which)
        touched = [model.get((start + offset) // PAGE) for offset in range(len(data))]
        if any(page is None or not page.protection for page in touched):
            return
        space.write(BASE + start, data)
        for offset, page in enumerate(touched):
            assert page is not None
            page.content[(start + offset) % PAGE] = data[offset]
        assert space.read(BASE + start, len(data)) == data

    @rule(which=which, start=st.integers(0, PAGES * PAGE - 1), length=st.sampled_from([1, 8, PAGE, 3 * PAGE]))
    def read(self, which: int, start: int, length: int) -> None:
        space, model = self.pick(which)
        self.compare(space, model, start, length)

    def compare(self, space: AddressSpace, model: Model, start: int, length: int) -> None:
        numbers = range(start // PAGE, (start + length - 1) // PAGE + 1)
        readable = all(number in model and model[number].protection for number in numbers)
        try:
            found = space.copy_in(BASE + start, length)
        except Errno:
            assert not readable
        else:
            assert readable
            expected = b"".join(bytes(model[number].content) for number in numbers)
            assert found == expected[start % PAGE :][:length]

    @precondition(lambda self: len(self.spaces) < 5)
    @rule(which=which)
    def fork(self, which: int) -> None:
        space, model = self.pick(which)
        copied = {
            number: page if page.shared else replace(page, content=bytearray(page.content))
            for number, page in model.items()
        }
        copied = {number: replace(page) for number, page in copied.items()}  # protections are each one's own
        self.spaces.append((space.fork(), copied))

    @precondition(lambda self: len(self.spaces) > 1)
    @rule(which=which)
    def release(self, which: int) -> None:
        space, _ = self.spaces.pop(which % len(self.spaces))
        space.release()

    @rule(frames=st.integers(1, 64))
    def reclaim(self, frames: int) -> None:
        self.pool.reclaim(frames)

    def teardown(self) -> None:
        for space, model in self.spaces:
            for page in range(PAGES):
                self.compare(space, model, page * PAGE, PAGE)
        for space, _ in self.spaces:
            space.release()
        for file in self.files:
            file.release()
        self.pool.reclaim(self.pool.frames)
        assert self.pool.used == 0, "frames have leaked"
        self.pool.close()
        self.patch.undo()


class NativeSpaces(Spaces):
    kind = "native"


SETTINGS = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestPython = Spaces.TestCase
TestPython.settings = SETTINGS
TestNative = NativeSpaces.TestCase
TestNative.settings = SETTINGS
