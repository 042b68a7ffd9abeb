"""tmpfs: a tree whose files live in frames of the VM's own memory, so they count against its limit.

A file's pages are a `memory.PagedFile`: mmap maps the very frames. Full means ENOSPC, in bytes (`limit`, or the VM's
account) or in names. Neighbours: `tree` (all of the mechanism), `overlay` (takes its room from a Tmpfs), `root`.
"""

from __future__ import annotations

from collections.abc import MutableSet

from sandbox.abi.errno import ENOSPC, Errno
from sandbox.clock import Clock
from sandbox.errors import OutOfMemory
from sandbox.memory import Account, FramePool, PagedFile
from sandbox.vfs.node import StatFs
from sandbox.vfs.tree import TreeFilesystem

PAGE = 4096
MINIMUM_ENTRIES = 4096


class TmpfsContent(PagedFile):
    """A file in frames that also keeps within its filesystem's limit."""

    def __init__(self, filesystem: Tmpfs) -> None:
        super().__init__(filesystem.pool, filesystem.account)
        self._filesystem = filesystem

    def _frame(self, index: int) -> int:
        if index in self._frames:
            return self._frames[index]
        filesystem = self._filesystem
        if filesystem.pages >= filesystem.limit_pages:
            raise OutOfMemory("vm")
        frame = super()._frame(index)
        filesystem.pages += 1
        return frame

    def truncate(self, size: int) -> None:
        before = self.blocks
        super().truncate(size)
        self._filesystem.pages += self.blocks - before

    def allocate(self, offset: int, length: int) -> None:
        # All or nothing: found out beforehand, because a range may be larger than anything there is.
        missing = ((offset + length + PAGE - 1) >> 12) - (offset >> 12) - self.blocks
        if missing > self._filesystem.free_pages:
            raise Errno(ENOSPC)
        super().allocate(offset, length)

    def punch(self, offset: int, length: int) -> None:
        before = self.blocks
        super().punch(offset, length)
        self._filesystem.pages += self.blocks - before

    def release(self) -> None:
        self._filesystem.pages -= self.blocks
        super().release()


class Tmpfs(TreeFilesystem):
    """`limit` in bytes; None: only the account bounds it. One name is allowed per page of the smaller of the two,
    and 4,096 in any case."""

    name = "tmpfs"
    magic = 0x01021994

    def __init__(
        self, pool: FramePool, account: Account, clock: Clock, limit: int | None = None, root_mode: int = 0o755
    ) -> None:
        self.pool = pool
        self.account = account
        self.pages = 0
        self._limit = limit
        super().__init__(clock, max(MINIMUM_ENTRIES, self.limit_pages), root_mode)

    def set_limit(self, limit: int | None) -> None:
        """What is there stays, even beyond the new limit."""
        self._limit = limit

    @property
    def limit_pages(self) -> int:
        """The account's limit may change while the VM runs."""
        pages: int = self.account.limit
        return pages if self._limit is None else min(pages, -(-self._limit // PAGE))

    @property
    def free_pages(self) -> int:
        return max(0, min(self.limit_pages - self.pages, self.account.limit - self.account.used))

    def new_content(self) -> TmpfsContent:
        return TmpfsContent(self)

    def statfs(self) -> StatFs:
        free = self.free_pages
        files = max(0, self.max_entries - self.entries)
        return StatFs(self.magic, PAGE, self.limit_pages, free, free, self.max_entries, files)


class MountedTmpfs(Tmpfs):
    """One that a guest has made. All of its `family` together hold as many names as one may: names are in the host's
    memory, however many filesystems they are in."""

    def __init__(
        self,
        pool: FramePool,
        account: Account,
        clock: Clock,
        limit: int | None,
        root_mode: int,
        family: MutableSet[Tmpfs],
    ) -> None:
        self._family = family
        super().__init__(pool, account, clock, limit, root_mode)
        family.add(self)

    def charge(self, entries: int, force: bool = True) -> None:
        if not force and sum(each.entries for each in self._family) + entries > max(
            MINIMUM_ENTRIES, self.account.limit
        ):
            raise Errno(ENOSPC)
        super().charge(entries, force)

    def close(self) -> None:
        self._family.discard(self)
        super().close()
