"""Where the files without a name live that are no pipes: anonymous inodes and memfds; and what
a guest has mounted. One per machine."""

from __future__ import annotations

from weakref import WeakSet

from sandbox.clock import Clock
from sandbox.memory import Account, FramePool
from sandbox.vfs.anonymous import AnonymousFs
from sandbox.vfs.tmpfs import Tmpfs


class Nameless:
    def __init__(self, pool: FramePool, account: Account, clock: Clock) -> None:
        self.anonymous = AnonymousFs()
        self.memory = Tmpfs(pool, account, clock)
        self.memory.device = 0x1
        self.mounted: WeakSet[Tmpfs] = WeakSet()  # by the guest

    def close(self) -> None:
        self.memory.close()
