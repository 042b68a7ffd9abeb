"""Memory calls: mmap, brk and relatives. The work is done by `sandbox.memory.AddressSpace`; here flags are checked
and translated. Source: mmap(2), mremap(2), madvise(2), mprotect(2), msync(2), mincore(2), membarrier(2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi import flags
from sandbox.abi.errno import (
    EACCES,
    EBUSY,
    EFAULT,
    EINVAL,
    ENODEV,
    ENOMEM,
    EOPNOTSUPP,
    EOVERFLOW,
    EPERM,
    Errno,
)
from sandbox.abi.flags import (
    MAP_32BIT,
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_FIXED_NOREPLACE,
    MAP_GROWSDOWN,
    MAP_HUGETLB,
    MAP_NORESERVE,
    MAP_PRIVATE,
    MAP_SHARED,
    MAP_SHARED_VALIDATE,
    MAP_SYNC,
    MAP_TYPE,
    MREMAP_DONTUNMAP,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    O_ACCMODE,
    O_RDWR,
    O_WRONLY,
    PROT_EXEC,
    PROT_GROWSDOWN,
    PROT_GROWSUP,
    PROT_READ,
    PROT_SEM,
    PROT_WRITE,
    RLIMIT_AS,
)
from sandbox.kernel.lookup import opened
from sandbox.kernel.pieces import PAGES_AT_ONCE, page_ranges
from sandbox.kernel.row import FULL, PARTIAL, STUB, Row
from sandbox.kernel.sys_mlock import check_range, expect_lockable, is_locked, lock_mapping
from sandbox.memory import PagedFile, PageSource, page_ceiling
from sandbox.vfs.memory_file import F_SEAL_FUTURE_WRITE, F_SEAL_WRITE, MemoryFile

if TYPE_CHECKING:
    from sandbox.kernel.task import Task
    from sandbox.memory import AddressSpace

PAGE = 4096
_PROTECTIONS = PROT_READ | PROT_WRITE | PROT_EXEC
_LOW_2G = 0x80000000
_VALIDATED = 0x1FFFFF & ~(MAP_SYNC | MAP_FIXED_NOREPLACE | 0x600)  # what MAP_SHARED_VALIDATE accepts
_ZERO_DEVICE = (1, 5)


class SharedMemory(PagedFile):
    """An anonymous shared mapping: a file without a name that goes when its last mapping has gone."""

    def __del__(self) -> None:
        self.release()


def _check_limit(task: Task, growth: int) -> None:
    limit = task.limits.soft(RLIMIT_AS)
    if limit != flags.RLIM_INFINITY and sum(region.length for region in task.space.regions()) + growth > limit:
        raise Errno(ENOMEM)


def _expect_regions(task: Task) -> None:
    """There may be some more. Raises Errno(ENOMEM)."""
    if task.kernel.spaces.crowded(task.space):
        raise Errno(ENOMEM)


def mmap(task: Task, address: int, length: int, protection: int, kind: int, fd: int, offset: int) -> int:
    if offset & (PAGE - 1):
        raise Errno(EINVAL)
    if not kind & MAP_ANONYMOUS:
        opened(task, fd)
    if length == 0:
        raise Errno(EINVAL)
    _expect_regions(task)
    sharing = kind & MAP_TYPE
    if sharing not in (MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE):
        raise Errno(EINVAL)
    shared = sharing != MAP_PRIVATE
    if length > 1 << (8 * task.word - 1):
        raise Errno(ENOMEM)
    length = page_ceiling(length)
    _check_limit(task, length)
    expect_lockable(task, kind, length)
    space = task.space
    source: PageSource | None = None
    name = b""
    if not kind & MAP_ANONYMOUS:
        if sharing == MAP_SHARED_VALIDATE and kind & ~_VALIDATED:
            raise Errno(EOPNOTSUPP)
        source, name = _mapped_file(task, fd, protection, shared)
        if offset + length > 1 << 63:
            raise Errno(EOVERFLOW)
    elif kind & MAP_HUGETLB:
        raise Errno(ENOMEM)  # no huge page is reserved
    fixed = bool(kind & (MAP_FIXED | MAP_FIXED_NOREPLACE))
    if source is None and shared:
        memory = SharedMemory(space.pool, space.account)
        memory.truncate(length)
        source, offset, name = memory, 0, b"/dev/zero (deleted)"
    low = bool(kind & MAP_32BIT) and task.isa == "x86_64" and not fixed

    def place(shared: bool) -> int:
        return space.map(
            address,
            length,
            protection & _PROTECTIONS,
            shared=shared,
            fixed=fixed,
            replace=not kind & MAP_FIXED_NOREPLACE,
            source=source,
            offset=offset,
            name=name,
            grows_down=bool(kind & MAP_GROWSDOWN),
            reserve=not kind & MAP_NORESERVE,
            below=_LOW_2G if low else None,
        )

    try:
        result = place(shared)
    except Errno as error:
        if error.number != ENODEV or protection & PROT_WRITE:
            raise
        result = place(False)  # files without frames of their own can be shared as long as nobody writes
    if low and result + length > _LOW_2G:
        space.unmap(result, length)
        raise Errno(ENOMEM)
    if shared and not kind & MAP_ANONYMOUS and not _may_write(task, fd):
        mark_unwritable(task, result)
    lock_mapping(task, kind, result, length)
    return result


def _may_write(task: Task, fd: int) -> bool:
    file = task.files.get(fd)
    sealed = isinstance(file.node, MemoryFile) and file.node.seals & F_SEAL_WRITE
    return file.flags & O_ACCMODE == O_RDWR and not sealed


def mark_unwritable(task: Task, address: int) -> None:
    region = task.space.list.at(address)
    if region is not None:
        region.may_write = False


def _mapped_file(task: Task, fd: int, protection: int, shared: bool) -> tuple[PageSource | None, bytes]:
    """What a file mapping shows, and its name. /dev/zero is the same as no file."""
    file = task.files.get(fd)
    mode = file.flags & O_ACCMODE
    if mode == O_WRONLY or (shared and protection & PROT_WRITE and mode != O_RDWR):
        raise Errno(EACCES)
    stat = file.node.stat()
    if stat.mode & flags.S_IFMT == flags.S_IFCHR and (stat.rdev >> 8 & 0xFFF, stat.rdev & 0xFF) == _ZERO_DEVICE:
        return None, b""
    if shared and protection & PROT_WRITE and isinstance(file.node, MemoryFile):
        file.node.require_unsealed(F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)
    source = file.node.page_source()
    if source is None:
        raise Errno(ENODEV)
    file.node.read_at(0, 0)  # to map it is an access
    return source, file.path


def mmap2(task: Task, address: int, length: int, protection: int, kind: int, fd: int, page: int) -> int:
    """The offset in units of 4096 bytes."""
    return mmap(task, address, length, protection, kind, fd, page << 12)


def old_mmap(task: Task, arguments: int) -> int:
    """i386: all six arguments in memory."""
    address, length, protection, kind, fd, offset = task.space.copy_in_words(arguments, 6, 4)
    return mmap(task, address, length, protection, kind, fd - (1 << 32) if fd >> 31 else fd, offset)


def munmap(task: Task, address: int, length: int) -> int:
    if length > 1 << (8 * task.word - 1):
        raise Errno(EINVAL)
    region = task.space.list.at(address)
    if region is not None and region.start < address and region.end > address + length:
        _expect_regions(task)  # one becomes two
    task.space.unmap(address, length)
    return 0


def mprotect(task: Task, address: int, length: int, protection: int) -> int:
    if protection & ~(_PROTECTIONS | PROT_SEM | PROT_GROWSDOWN | PROT_GROWSUP) or address & (PAGE - 1):
        raise Errno(EINVAL)
    _expect_regions(task)
    if protection & (PROT_GROWSDOWN | PROT_GROWSUP):
        if protection & PROT_GROWSUP:
            raise Errno(EINVAL)  # no stack grows upwards here
        region = task.space.list.at(address)
        if region is None:
            raise Errno(ENOMEM)
        if not region.grows_down:
            raise Errno(EINVAL)
        length += address - region.start
        address = region.start
    if protection & PROT_WRITE:
        end = address + page_ceiling(length)
        for region in task.space.regions():
            if region.start < end and address < region.end and not region.may_write:
                if region.start > address:  # what lies before it is changed all the same
                    task.space.protect(address, region.start - address, protection & _PROTECTIONS)
                raise Errno(EACCES)
    task.space.protect(address, length, protection & _PROTECTIONS)
    return 0


def pkey_mprotect(task: Task, address: int, length: int, protection: int, key: int) -> int:
    """Without protection keys the only key is -1, "none"."""
    if key != -1:
        raise Errno(EINVAL)
    return mprotect(task, address, length, protection)


def mremap(task: Task, old: int, old_size: int, new_size: int, how: int, new: int) -> int:
    if how & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP) or old & (PAGE - 1):
        raise Errno(EINVAL)
    if how & (MREMAP_FIXED | MREMAP_DONTUNMAP) and not how & MREMAP_MAYMOVE:
        raise Errno(EINVAL)
    if how & MREMAP_DONTUNMAP:
        raise Errno(EINVAL)  # as on kernels before 5.7
    if page_ceiling(new_size) > page_ceiling(old_size):
        _check_limit(task, page_ceiling(new_size) - page_ceiling(old_size))
    region = task.space.list.at(old)
    fixed = region is not None and not region.may_write
    moved = task.space.remap(old, old_size, new_size, bool(how & MREMAP_MAYMOVE), new if how & MREMAP_FIXED else None)
    if fixed:
        mark_unwritable(task, moved)
    return moved


def brk(task: Task, address: int) -> int:
    """Never fails: answers where the break is now."""
    space = task.space
    if address > space.brk:
        try:
            _check_limit(task, page_ceiling(address - space.brk))
        except Errno:
            return space.brk
    return space.set_brk(address)


_ADVICE_WITHOUT_EFFECT = frozenset(
    (
        flags.MADV_NORMAL, flags.MADV_RANDOM, flags.MADV_SEQUENTIAL, flags.MADV_WILLNEED, flags.MADV_MERGEABLE,
        flags.MADV_UNMERGEABLE, flags.MADV_HUGEPAGE, flags.MADV_NOHUGEPAGE, flags.MADV_DONTDUMP, flags.MADV_DODUMP,
        flags.MADV_COLD, flags.MADV_PAGEOUT,
    )
)  # fmt: skip


def madvise(task: Task, address: int, length: int, advice: int) -> int:
    space = task.space
    if address & (PAGE - 1):
        raise Errno(EINVAL)
    known = advice in _ADVICE_WITHOUT_EFFECT or advice in (
        flags.MADV_DONTNEED, flags.MADV_FREE, flags.MADV_DONTFORK, flags.MADV_DOFORK,
        flags.MADV_WIPEONFORK, flags.MADV_KEEPONFORK, flags.MADV_POPULATE_READ, flags.MADV_POPULATE_WRITE,
    )  # fmt: skip
    if not known:
        raise Errno(EINVAL)
    end = address + page_ceiling(length)
    if length > 1 << (8 * task.word - 1) or end > 1 << (8 * task.word):
        raise Errno(EINVAL)
    if length == 0:
        return 0
    if advice in (flags.MADV_DONTNEED, flags.MADV_FREE):
        if is_locked(space, address, end) or (advice == flags.MADV_FREE and _of_files(space, address, end)):
            raise Errno(EINVAL)
        space.advise(address, length)
    elif advice in (flags.MADV_DONTFORK, flags.MADV_DOFORK):
        _set_inheritance(space, address, end, advice == flags.MADV_DOFORK)
    elif advice in (flags.MADV_WIPEONFORK, flags.MADV_KEEPONFORK):
        _set_wiping(space, address, end, advice == flags.MADV_WIPEONFORK)
    elif advice in (flags.MADV_POPULATE_READ, flags.MADV_POPULATE_WRITE):
        _populate(task, address, end, PROT_READ if advice == flags.MADV_POPULATE_READ else PROT_WRITE)
    if not space.list.covered(address, end):
        raise Errno(ENOMEM)
    return 0


def _set_inheritance(space: AddressSpace, address: int, end: int, inherit: bool) -> None:
    space.list.change(address, end, inherit=inherit)


def _of_files(space: AddressSpace, address: int, end: int) -> bool:
    """Whether some of it is more than private memory without a file."""
    return any(region.shared or region.source is not None for region in space.list.overlapping(address, end))


def _set_wiping(space: AddressSpace, address: int, end: int, wiped: bool) -> None:
    for region in list(space.list.overlapping(address, end)):
        if wiped and (region.shared or region.source is not None):
            raise Errno(EINVAL)  # for private memory without a file alone; what lies before it is done
        space.list.change(max(address, region.start), min(end, region.end), wiped=wiped)


def _populate(task: Task, address: int, end: int, access: int) -> None:
    space = task.space
    for first, last in page_ranges(task, address, end):
        for page in range(first, last, PAGE):
            if space.list.at(page) is None:
                raise Errno(ENOMEM)
            if not space.resolve(page, access):
                raise Errno({"oom": ENOMEM, "bus": EFAULT}.get(space.fault, EINVAL))


def msync(task: Task, address: int, length: int, how: int) -> int:
    """Shared mappings show the file's own frames, so there is never anything left to write back."""
    if how & ~(flags.MS_ASYNC | flags.MS_INVALIDATE | flags.MS_SYNC) or address & (PAGE - 1):
        raise Errno(EINVAL)
    if how & flags.MS_ASYNC and how & flags.MS_SYNC:
        raise Errno(EINVAL)
    check_range(task, address, length)
    if how & flags.MS_INVALIDATE and is_locked(task.space, address, address + page_ceiling(length)):
        raise Errno(EBUSY)
    if how & (flags.MS_SYNC | flags.MS_ASYNC):
        task.space.watch_stores(address, address + page_ceiling(length))
    return 0


def mincore(task: Task, address: int, length: int, vector: int) -> int:
    if address & (PAGE - 1):
        raise Errno(EINVAL)
    check_range(task, address, length)
    table = task.space.table
    for first, last in page_ranges(task, address, address + page_ceiling(length), 4 * PAGES_AT_ONCE):
        present = bytes(table.entry(page) & 1 for page in range(first, last, PAGE))
        task.space.copy_out(vector + (first - address) // PAGE, present)
    return 0


_BARRIERS = 1 | 2 | 4 | 8 | 16  # global, global expedited and its registration, private expedited and its registration


def membarrier(task: Task, command: int, how: int, cpu: int) -> int:
    """Tasks of a machine are interleaved, never parallel: every order is already the program's."""
    if how or command < 0:
        raise Errno(EINVAL)
    if command == 0:
        return _BARRIERS
    if command & (command - 1) or not command & _BARRIERS:
        raise Errno(EINVAL)
    registered = task.process.memory_barriers
    if command in (4, 16):
        task.process.memory_barriers = registered | command
    elif command == 8 and not registered & 16:
        raise Errno(EPERM)
    return 0


def memory_policy(task: Task, *arguments: int) -> int:
    return 0


_RANGE = "address:address length:size"

ROWS: tuple[Row, ...] = (
    Row("mmap", mmap, f"{_RANGE} protection:flags:prot flags:flags:map fd:fd offset:ulong", PARTIAL,
        "MAP_SYNC and huge pages are refused; mprotect may add writing to a shared mapping of a read-only file",
        isas=("x86_64", "arm64", "riscv64")),
    Row("mmap", old_mmap, "arguments:in", PARTIAL, "as mmap2", isas=("i386",)),
    Row("mmap2", mmap2, f"{_RANGE} protection:flags:prot flags:flags:map fd:fd page:ulong", PARTIAL,
        "MAP_SYNC and huge pages are refused; mprotect may add writing to a shared mapping of a read-only file"),
    Row("munmap", munmap, _RANGE, FULL),
    Row("mprotect", mprotect, f"{_RANGE} protection:flags:prot", FULL),
    Row("pkey_mprotect", pkey_mprotect, f"{_RANGE} protection:flags:prot key:int", PARTIAL, "no protection keys"),
    Row("mremap", mremap, "old:address old_size:size new_size:size flags:flags:mremap new:address", PARTIAL,
        "MREMAP_DONTUNMAP is refused"),
    Row("brk", brk, "address:address", FULL),
    Row("madvise", madvise, f"{_RANGE} advice:choice:madvise", PARTIAL,
        "MADV_REMOVE is refused; hints have no effect"),
    Row("msync", msync, f"{_RANGE} flags:flags:msync", FULL),
    Row("mincore", mincore, "address:address length:ulong vector:out", FULL),
    Row("membarrier", membarrier, "command:int flags:uint cpu:int", PARTIAL, "tasks are interleaved: nothing to order"),
    Row("set_mempolicy", memory_policy, "mode:int mask:in nodes:ulong", STUB, "one memory node"),
    Row("mbind", memory_policy, f"{_RANGE} mode:int mask:in nodes:ulong flags:uint", STUB, "one memory node"),
)  # fmt: skip
