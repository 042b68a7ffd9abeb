"""memfd_create(2): a file in memory that can be sealed, so that a reader may trust that it stays as it is.

`seals` only grow (F_ADD_SEALS); a file that was not made for sealing has F_SEAL_SEAL from the start. Shared writable
mappings cannot be counted from here: whoever adds F_SEAL_WRITE asks the address spaces (`kernel.sys_descriptor`).
Source: memfd_create(2), fcntl(2), "File Sealing"; mm/memfd.c.
"""

from __future__ import annotations

from sandbox.abi.errno import EPERM, Errno
from sandbox.vfs.tree_node import TreeFile

F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE, F_SEAL_FUTURE_WRITE, F_SEAL_EXEC = 1, 2, 4, 8, 16, 32
ALL_SEALS = 63


class MemoryFile(TreeFile):
    __slots__ = ("seals",)

    seals: int

    def require_unsealed(self, seals: int) -> None:
        if self.seals & seals:
            raise Errno(EPERM)

    def _check(self, offset: int, length: int) -> None:
        self.require_unsealed(F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)
        if offset + length > self.size:
            self.require_unsealed(F_SEAL_GROW)

    def write_at(self, offset: int, data: bytes) -> int:
        self._check(offset, len(data))
        return super().write_at(offset, data)

    def truncate(self, size: int) -> None:
        if size < self.size:
            self.require_unsealed(F_SEAL_SHRINK)
        if size > self.size:
            self.require_unsealed(F_SEAL_GROW)
        super().truncate(size)

    def allocate(self, offset: int, length: int, keep_size: bool = False) -> None:
        if offset + length > self.size:
            self.require_unsealed(F_SEAL_GROW)
        super().allocate(offset, length, keep_size)

    def punch(self, offset: int, length: int) -> None:
        self.require_unsealed(F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)
        super().punch(offset, length)

    def set_attributes(
        self,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        atime: int | None = None,
        mtime: int | None = None,
    ) -> None:
        if mode is not None and (mode ^ self.mode) & 0o111:
            self.require_unsealed(F_SEAL_EXEC)
        super().set_attributes(mode, uid, gid, atime, mtime)
