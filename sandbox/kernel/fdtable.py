"""The descriptor table of a process: small numbers to open files.

A table holds one reference to each open file description (`sandbox.vfs.node.OpenFile`); the table itself is counted
too, because CLONE_FILES shares it between tasks. The lowest free number is always given first (POSIX).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sandbox.abi.errno import EBADF, EMFILE, ENFILE, Errno

if TYPE_CHECKING:
    from sandbox.vfs.node import OpenFile


class FileBudget:
    """How many descriptors all tables of one VM may hold together; beyond it the guest gets ENFILE."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0


class FdTable:
    """`limit` is the soft RLIMIT_NOFILE: numbers from there on are refused with EMFILE."""

    __slots__ = ("_budget", "_close_on_exec", "_files", "_lowest", "_shares", "limit")

    def __init__(self, limit: int = 1024, budget: FileBudget | None = None) -> None:
        self.limit = limit
        self._budget = budget if budget is not None else FileBudget(1 << 20)
        self._files: dict[int, OpenFile] = {}
        self._close_on_exec: set[int] = set()
        self._lowest = 0  # no number below is free
        self._shares = 1

    def get(self, fd: int) -> OpenFile:
        try:
            return self._files[fd]
        except KeyError:
            raise Errno(EBADF) from None

    def expect_room(self) -> None:
        """Raise what `allocate` would, before there is a file: a call that fails for that must not have created one."""
        fd = self._lowest
        while fd in self._files:
            fd += 1
        if fd >= self.limit:
            raise Errno(EMFILE)
        if self._budget.used >= self._budget.limit:
            raise Errno(ENFILE)

    def allocate(self, file: OpenFile, minimum: int = 0, close_on_exec: bool = False) -> int:
        """Take over the caller's reference to `file`; on failure the caller still owns it."""
        files = self._files
        fd = max(minimum, self._lowest)
        while fd in files:
            fd += 1
        if fd >= self.limit:
            raise Errno(EMFILE)
        self._charge()
        if minimum <= self._lowest:
            self._lowest = fd + 1
        files[fd] = file
        if close_on_exec:
            self._close_on_exec.add(fd)
        return fd

    def replace(self, fd: int, file: OpenFile, close_on_exec: bool = False) -> None:
        """Put `file` at exactly `fd` (dup2), closing what was there; takes over the caller's reference."""
        if not 0 <= fd < self.limit:
            raise Errno(EBADF)
        previous = self._files.get(fd)
        if previous is None:
            self._charge()
        self._files[fd] = file
        self.set_close_on_exec(fd, close_on_exec)
        if previous is not None:
            self._let_go(previous)

    def close(self, fd: int) -> None:
        try:
            file = self._files.pop(fd)
        except KeyError:
            raise Errno(EBADF) from None
        self._close_on_exec.discard(fd)
        self._budget.used -= 1
        self._lowest = min(self._lowest, fd)
        self._let_go(file)

    def flags(self, fd: int) -> bool:
        """Whether the descriptor is closed by execve (FD_CLOEXEC, the only descriptor flag there is)."""
        self.get(fd)
        return fd in self._close_on_exec

    def set_close_on_exec(self, fd: int, value: bool) -> None:
        if value:
            self._close_on_exec.add(fd)
        else:
            self._close_on_exec.discard(fd)

    def numbers(self) -> list[int]:
        return sorted(self._files)

    def __iter__(self) -> Iterator[tuple[int, OpenFile]]:
        """In ascending order, over a copy: the table may change meanwhile."""
        return iter(sorted(self._files.items()))

    def __len__(self) -> int:
        return len(self._files)

    def duplicate(self) -> FdTable:
        """The table of a forked child: the same open files, each with one reference more."""
        count = len(self._files)
        if self._budget.used + count > self._budget.limit:
            raise Errno(ENFILE)
        copy = FdTable(self.limit, self._budget)
        for file in self._files.values():
            file.retain()
        copy._files = dict(self._files)
        copy._close_on_exec = set(self._close_on_exec)
        copy._lowest = self._lowest
        self._budget.used += count
        return copy

    def share(self) -> FdTable:
        """One more task uses this very table (CLONE_FILES)."""
        self._shares += 1
        return self

    @property
    def shared(self) -> bool:
        return self._shares > 1

    def release(self) -> None:
        """A task leaves; the last one closes everything."""
        self._shares -= 1
        if self._shares == 0:
            for fd in self.numbers():
                self.close(fd)

    def close_on_exec(self) -> None:
        for fd in sorted(self._close_on_exec):
            self.close(fd)

    def _let_go(self, file: OpenFile) -> None:
        if file.node.locks is not None:
            file.node.locks.drop(self)  # closing any descriptor of a file drops all record locks on it (POSIX)
        file.release()

    def _charge(self) -> None:
        if self._budget.used >= self._budget.limit:
            raise Errno(ENFILE)
        self._budget.used += 1
