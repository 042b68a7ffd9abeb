"""Locked memory: mlock and relatives. Nothing is ever swapped out, so a lock changes little: pages are brought in, what
is locked counts against RLIMIT_MEMLOCK and is shown in /proc, and cannot be given back by madvise or msync.
Source: mlock(2); mm/mlock.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi import flags
from sandbox.abi.errno import EAGAIN, EINVAL, ENOMEM, EPERM, Errno
from sandbox.abi.flags import PROT_READ, PROT_WRITE
from sandbox.kernel.pieces import PAGES_AT_ONCE, page_ranges
from sandbox.kernel.row import FULL, PARTIAL, Row
from sandbox.memory import page_ceiling

if TYPE_CHECKING:
    from sandbox.kernel.task import Task
    from sandbox.memory import AddressSpace

PAGE = 4096
CAP_IPC_LOCK = 14
MOST_BROUGHT_IN = 4 * PAGES_AT_ONCE  # by mmap, which cannot be run again half way; what is more comes when it is used


def check_range(task: Task, address: int, length: int) -> None:
    """ENOMEM unless the whole range is mapped."""
    end = address + page_ceiling(length)
    if end > 1 << (8 * task.word):
        raise Errno(ENOMEM)
    if length and not task.space.list.covered(address & -PAGE, end):
        raise Errno(ENOMEM)


def is_locked(space: AddressSpace, start: int, end: int) -> bool:
    """Whether any of it is."""
    return any(region.locked for region in space.list.overlapping(start, end))


def expect_lockable(task: Task, kind: int, length: int) -> None:
    """For mmap: a mapping that will be locked is within the limit. Raises Errno: EPERM, EAGAIN."""
    asked = bool(kind & flags.MAP_LOCKED)
    if (not asked and not task.space.locks_future) or task.credentials.capable(CAP_IPC_LOCK):
        return
    limit = task.limits.soft(flags.RLIMIT_MEMLOCK)
    if asked and not limit:
        raise Errno(EPERM)
    if _locked(task.space) + length > limit:
        raise Errno(EAGAIN)


def lock_mapping(task: Task, kind: int, start: int, length: int) -> None:
    """A new mapping is locked when its flags or an earlier mlockall say so."""
    if kind & flags.MAP_LOCKED or task.space.locks_future:
        task.space.list.change(start, start + length, locked=True)
        if kind & flags.MAP_LOCKED:
            room = task.space.account.limit - task.space.account.used
            pages = length // PAGE if length // PAGE <= room else 0
            _bring_in(task.space, start, start + min(pages, MOST_BROUGHT_IN) * PAGE)


def _locked(space: AddressSpace) -> int:
    return sum(region.length for region in space.regions() if region.locked)


def _bring_in(space: AddressSpace, start: int, end: int) -> bool:
    for page in range(start, end, PAGE):
        region = space.list.at(page)
        if region is not None and region.protection:
            access = PROT_WRITE if region.protection & PROT_WRITE else PROT_READ
            if not space.resolve(page, access):
                return False
    return True


def _lock(task: Task, address: int, length: int, bring_in: bool) -> int:
    start = address & -PAGE
    length = page_ceiling(length + address - start)
    space, limit = task.space, task.limits.soft(flags.RLIMIT_MEMLOCK)
    if not task.credentials.capable(CAP_IPC_LOCK):
        if not limit:
            raise Errno(EPERM)
        end = start + length
        again = sum(
            min(region.end, end) - max(region.start, start)
            for region in space.list.overlapping(start, end)
            if region.locked
        )
        if _locked(space) + length - again > limit:
            raise Errno(ENOMEM)
    check_range(task, start, length)
    if task.kernel.spaces.crowded(space):
        raise Errno(ENOMEM)
    if "position" not in task.restart:
        if bring_in and length >> 12 > space.account.limit - space.account.used:
            raise Errno(EAGAIN)
        space.list.change(start, start + length, locked=True)
    if bring_in:
        for first, last in page_ranges(task, start, start + length):
            if not _bring_in(space, first, last):
                raise Errno(ENOMEM)
    return 0


def mlock(task: Task, address: int, length: int) -> int:
    return _lock(task, address, length, bring_in=True)


def mlock2(task: Task, address: int, length: int, how: int) -> int:
    if how & ~flags.MLOCK_ONFAULT:
        raise Errno(EINVAL)
    return _lock(task, address, length, bring_in=not how)


def munlock(task: Task, address: int, length: int) -> int:
    start = address & -PAGE
    length = page_ceiling(length + address - start)
    check_range(task, start, length)
    if is_locked(task.space, start, start + length):
        if task.kernel.spaces.crowded(task.space):
            raise Errno(ENOMEM)
        task.space.list.change(start, start + length, locked=False)
    return 0


def mlockall(task: Task, how: int) -> int:
    if not how or how & ~(flags.MCL_CURRENT | flags.MCL_FUTURE | flags.MCL_ONFAULT) or how == flags.MCL_ONFAULT:
        raise Errno(EINVAL)
    space, limit = task.space, task.limits.soft(flags.RLIMIT_MEMLOCK)
    if not task.credentials.capable(CAP_IPC_LOCK):
        if not limit:
            raise Errno(EPERM)
        if how & flags.MCL_CURRENT and sum(region.length for region in space.regions()) > limit:
            raise Errno(ENOMEM)
    space.locks_future = bool(how & flags.MCL_FUTURE)
    if how & flags.MCL_CURRENT:
        for region in space.regions():
            region.locked = True
    return 0


def munlockall(task: Task) -> int:
    task.space.locks_future = False
    for region in task.space.regions():
        region.locked = False
    return 0


_RANGE = "address:address length:size"

ROWS: tuple[Row, ...] = (
    Row("mlock", mlock, _RANGE, FULL),
    Row("mlock2", mlock2, f"{_RANGE} flags:uint", FULL),
    Row("munlock", munlock, _RANGE, FULL),
    Row("mlockall", mlockall, "flags:flags:mcl", PARTIAL, "brings nothing in; the heap and stack grow unlocked"),
    Row("munlockall", munlockall, "", FULL),
)
