"""What the memory tests share: a pool that must be empty again at the end, and files to map.

A test module takes the fixtures by assignment (`pool = memory.pool`). They run every test on both implementations of
the bookkeeping, the accelerator's and the one in Python.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator

import pytest

from sandbox.memory import PAGE_SIZE, Account, AddressSpace, FramePool
from tests.programs import KINDS, choose_engine

READ, WRITE, EXECUTE = 1, 2, 4
POOL_FRAMES = 1024
BASE = 0x10_0000  # where tests map


@pytest.fixture(params=KINDS)
def pool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[FramePool]:
    """4 MiB; a test that leaves a frame in use fails."""
    choose_engine(monkeypatch, request.param)
    pool = FramePool(POOL_FRAMES * PAGE_SIZE)
    yield pool
    pool.reclaim(pool.frames)  # the page cache may keep what it likes
    assert pool.used == 0, "frames have leaked"
    assert pool.system.used == 0
    pool.close()


@pytest.fixture
def account(pool: FramePool) -> Iterator[Account]:
    """256 frames."""
    account = pool.account(256 * PAGE_SIZE)
    yield account
    assert account.used == 0, "frames have leaked"
    account.close()


@pytest.fixture
def space(pool: FramePool, account: Account) -> Iterator[AddressSpace]:
    space = AddressSpace(pool, account, 64)
    yield space
    space.release()


class File:
    """A file on a host, of which nothing is known but its bytes; counts what is read."""

    def __init__(self, data: bytes, name: str = "file") -> None:
        self.data = data
        self.name = name
        self.loads: list[int] = []
        self.on_load: Callable[[], None] | None = None

    @property
    def identity(self) -> Hashable:
        return self.name

    @property
    def size(self) -> int:
        return len(self.data)

    def load(self, index: int) -> bytes:
        self.loads.append(index)
        if self.on_load is not None:
            self.on_load()
        return self.data[index * PAGE_SIZE : (index + 1) * PAGE_SIZE]

    def shared_frame(self, index: int) -> int | None:
        return None


def pages(count: int) -> bytes:
    """`count` pages, each filled with its number."""
    return b"".join(bytes([index & 255]) * PAGE_SIZE for index in range(count))
