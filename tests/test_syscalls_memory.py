"""mmap, brk and relatives."""

from __future__ import annotations

from sandbox.abi import flags as F
from sandbox.abi.errno import EACCES, EAGAIN, EBADF, EBUSY, EEXIST, EFAULT, EINVAL, ENODEV, ENOMEM, EOPNOTSUPP, EPERM
from sandbox.abi.flags import (
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_FIXED_NOREPLACE,
    MAP_PRIVATE,
    MAP_SHARED,
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
    PROT_NONE,
    PROT_READ,
    PROT_WRITE,
)
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD, GuestWorld

CASES = Cases()
PAGE = 4096
RW = PROT_READ | PROT_WRITE
ANONYMOUS = MAP_PRIVATE | MAP_ANONYMOUS


def mmap(w: World, address: int, length: int, protection: int, kind: int, fd: int = -1, offset: int = 0) -> int:
    """By whichever call the ISA has; the offset in bytes."""
    if w.word == 4:
        return w.call("mmap2", address, length, protection, kind, fd, offset >> 12)
    return w.call("mmap", address, length, protection, kind, fd, offset)


def pages(w: World, count: int, protection: int = RW) -> int:
    address = mmap(w, 0, count * PAGE, protection, ANONYMOUS)
    assert address > 0 and address % PAGE == 0
    return address


@CASES("munmap", "mincore")
def mapping_and_unmapping(w: World) -> None:
    address = pages(w, 3)
    assert w.call("mincore", address, 3 * PAGE, bytearray(3)) == 0
    assert w.call("munmap", address + PAGE, PAGE) == 0
    assert w.call("mincore", address, PAGE, bytearray(1)) == 0
    assert w.call("mincore", address + PAGE, PAGE, bytearray(1)) == -ENOMEM
    assert w.call("mincore", address + 2 * PAGE, PAGE, bytearray(1)) == 0
    assert w.call("munmap", address + PAGE, PAGE) == 0  # nothing there is no error
    assert w.call("munmap", address + 1, PAGE) == -EINVAL
    assert w.call("munmap", address, 0) == -EINVAL


@CASES("mmap", isas=("x86_64", "arm64", "riscv64"))
def what_mmap_refuses_64(w: World) -> None:
    refusals(w)
    assert w.call("mmap", 0, PAGE, PROT_READ, ANONYMOUS, -1, 1) == -EINVAL


@CASES("mmap2")
def what_mmap_refuses_32(w: World) -> None:
    refusals(w)


def refusals(w: World) -> None:
    w.file(b"f", b"x" * 10)
    reader, writer, both = w.open(b"f", O_RDONLY), w.open(b"f", O_WRONLY), w.open(b"f", O_RDWR)
    assert mmap(w, 0, 0, PROT_READ, ANONYMOUS) == -EINVAL
    assert mmap(w, 0, PAGE, PROT_READ, MAP_ANONYMOUS) == -EINVAL
    assert mmap(w, 0x20001, PAGE, PROT_READ, ANONYMOUS | MAP_FIXED) == -EINVAL
    assert mmap(w, 0, PAGE, PROT_READ, MAP_PRIVATE, 77) == -EBADF
    assert mmap(w, 0, PAGE, PROT_READ, MAP_PRIVATE, writer) == -EACCES
    assert mmap(w, 0, PAGE, RW, MAP_SHARED, reader) == -EACCES
    assert mmap(w, 0, PAGE, PROT_READ, MAP_PRIVATE, w.open(b".")) == -ENODEV
    assert mmap(w, 0, PAGE, PROT_READ, MAP_PRIVATE, w.pipe()[0]) == -ENODEV
    assert mmap(w, 0, 1 << 8 * w.word - 1, RW, ANONYMOUS) == -ENOMEM
    taken = pages(w, 1)
    assert mmap(w, taken, PAGE, RW, ANONYMOUS | MAP_FIXED_NOREPLACE) == -EEXIST
    assert mmap(w, taken, PAGE, RW, ANONYMOUS | MAP_FIXED) == taken
    assert mmap(w, taken, PAGE, RW, ANONYMOUS) not in (taken, -EEXIST)
    assert mmap(w, 0, PAGE, RW, MAP_SHARED, both) > 0


@CASES("munmap")
def a_file_shows_through_a_mapping(w: World) -> None:
    w.file(b"f", b"A" * PAGE + b"B" * 10)
    fd = w.open(b"f", O_RDWR)
    private = mmap(w, 0, 2 * PAGE, RW, MAP_PRIVATE, fd)
    shared = mmap(w, 0, PAGE, RW, MAP_SHARED, fd, PAGE)
    assert w.peek(private + PAGE, 12) == b"B" * 10 + b"\0\0"
    assert w.call("pread64", w.open(b"f"), private, 4, PAGE) == 4  # into the private copy
    assert w.peek(private, 5) == b"BBBBA"
    assert w.content(b"f")[:5] == b"AAAAA"
    assert w.call("pread64", w.open(b"f"), shared, 4, 0) == 4  # into the file itself
    assert w.content(b"f")[PAGE:] == b"AAAABBBBBB"
    assert w.call("munmap", private, 2 * PAGE) == 0
    assert w.call("pread64", fd, private, 4, 0) == -EFAULT


@CASES("mprotect")
def protections_bind_the_kernel_too(w: World) -> None:
    address = pages(w, 2)
    reader, writer = w.pipe()
    assert w.call("write", writer, b"0123456789", 10) == 10
    assert w.call("mprotect", address, PAGE, PROT_READ) == 0
    assert w.call("read", reader, address, 4) == -EFAULT
    assert w.call("read", reader, address + PAGE, 4) == 4
    assert w.call("mprotect", address, PAGE, PROT_NONE) == 0
    assert w.call("write", writer, address, 4) == -EFAULT
    assert w.call("mprotect", address, PAGE, RW) == 0
    assert w.call("write", writer, address, 4) == 4
    assert w.call("mprotect", address + 1, PAGE, RW) == -EINVAL
    assert w.call("mprotect", address, PAGE, 0x800) == -EINVAL
    w.call("munmap", address + PAGE, PAGE)
    assert w.call("mprotect", address, 2 * PAGE, RW) == -ENOMEM


@CASES("mremap")
def mappings_grow_shrink_and_move(w: World) -> None:
    address = pages(w, 4)
    w.call("munmap", address + 3 * PAGE, PAGE)
    reader, writer = w.pipe()
    w.call("write", writer, b"kept", 4)
    assert w.call("read", reader, address, 4) == 4
    assert w.call("mremap", address, 3 * PAGE, PAGE, 0, 0) == address
    assert w.call("mincore", address + PAGE, PAGE, bytearray(1)) == -ENOMEM
    assert w.call("mremap", address, PAGE, 2 * PAGE, 0, 0) == address
    target = pages(w, 2)
    assert w.call("mremap", address, 2 * PAGE, 2 * PAGE, F.MREMAP_MAYMOVE | F.MREMAP_FIXED, target) == target
    assert w.peek(target, 4) == b"kept"
    assert w.call("mincore", address, PAGE, bytearray(1)) == -ENOMEM
    assert w.call("mremap", target + 1, PAGE, PAGE, 0, 0) == -EINVAL
    assert w.call("mremap", target, PAGE, 0, 0, 0) == -EINVAL
    assert w.call("mremap", target, PAGE, PAGE, F.MREMAP_FIXED, target + 64 * PAGE) == -EINVAL
    assert w.call("mremap", target, PAGE, PAGE, 0x80, 0) == -EINVAL
    assert w.call("mremap", address, PAGE, PAGE, 0, 0) == -EFAULT


@CASES("brk", host=False)
def the_break_moves(w: GuestWorld) -> None:
    space = w.task.space
    space.start_brk = space.brk = 0x800000
    assert w.call("brk", 0) == 0x800000
    assert w.call("brk", 0x803004) == 0x803004
    space.copy_out(0x803000, b"here")
    assert w.call("brk", 0x7FFFFF) == 0x803004
    assert w.call("brk", 0x801000) == 0x801000
    assert w.call("brk", 0x804000) == 0x804000
    assert w.peek(0x803000, 4) == bytes(4)
    assert w.call("brk", 1 << 31) == 0x804000  # more than there is memory


@CASES("madvise")
def advice_can_discard(w: World) -> None:
    address = pages(w, 2)
    reader, writer = w.pipe()
    w.call("write", writer, b"gone", 4)
    w.call("read", reader, address, 4)
    assert w.call("madvise", address, PAGE, F.MADV_WILLNEED) == 0
    assert w.peek(address, 4) == b"gone"
    assert w.call("madvise", address, PAGE, F.MADV_DONTNEED) == 0
    assert w.peek(address, 4) == bytes(4)
    assert w.call("madvise", address + 1, PAGE, F.MADV_DONTNEED) == -EINVAL
    assert w.call("madvise", address, PAGE, 77) == -EINVAL
    assert w.call("madvise", address, 0, F.MADV_DONTNEED) == 0
    w.call("munmap", address + PAGE, PAGE)
    assert w.call("madvise", address, 2 * PAGE, F.MADV_DONTNEED) == -ENOMEM


@CASES("mincore")
def residency(w: World) -> None:
    address = pages(w, 3)
    reader, writer = w.pipe()
    w.call("write", writer, b"x", 1)
    w.call("read", reader, address + PAGE, 1)
    vector = bytearray(b"\xff" * 3)
    assert w.call("mincore", address, 3 * PAGE, vector) == 0
    assert [byte & 1 for byte in vector] == [0, 1, 0]
    assert w.call("mincore", address + 1, PAGE, bytearray(1)) == -EINVAL
    assert w.call("mincore", address, PAGE, BAD) == -EFAULT


@CASES("msync")
def msync_checks(w: World) -> None:
    w.file(b"f", b"x" * PAGE)
    address = mmap(w, 0, PAGE, RW, MAP_SHARED, w.open(b"f", O_RDWR))
    assert w.call("msync", address, PAGE, F.MS_SYNC) == 0
    assert w.call("msync", address, PAGE, F.MS_SYNC | F.MS_ASYNC) == -EINVAL
    assert w.call("msync", address, PAGE, 0x80) == -EINVAL
    assert w.call("msync", address + 1, PAGE, F.MS_SYNC) == -EINVAL
    w.call("munmap", address, PAGE)
    assert w.call("msync", address, PAGE, F.MS_ASYNC) == -ENOMEM


@CASES("mlock", "munlock", "mlock2", "mlockall")
def locking_checks_and_brings_in(w: World) -> None:
    address = pages(w, 1)
    assert w.call("mlock", address, PAGE) == 0
    vector = bytearray(1)
    w.call("mincore", address, PAGE, vector)
    assert vector[0] & 1
    assert w.call("munlock", address, PAGE) == 0
    assert w.call("mlock2", address, PAGE, 2) == -EINVAL
    assert w.call("mlockall", 0) == -EINVAL
    assert w.call("mlockall", 8) == -EINVAL
    assert w.call("munlockall") == 0
    w.call("munmap", address, PAGE)
    assert w.call("mlock", address, PAGE) == -ENOMEM
    assert w.call("munlock", address, PAGE) == -ENOMEM


@CASES("mlock", "mlock2", "munlock", "munlockall", host=False)
def what_is_locked_is_counted(w: GuestWorld) -> None:
    def locked() -> int:
        return sum(region.length for region in w.task.space.regions() if region.locked)

    address = pages(w, 8)
    assert w.call("mlock", address + PAGE + 1, PAGE) == 0
    assert locked() == 2 * PAGE
    assert w.call("mlock2", address + PAGE, 4 * PAGE, F.MLOCK_ONFAULT) == 0
    assert locked() == 4 * PAGE
    assert w.call("munlock", address + 2 * PAGE, PAGE) == 0
    assert locked() == 3 * PAGE
    assert w.call("madvise", address, 2 * PAGE, F.MADV_DONTNEED) == -EINVAL
    assert w.call("msync", address, 2 * PAGE, F.MS_INVALIDATE) == -EBUSY
    assert w.call("munlockall") == 0
    assert locked() == 0
    assert w.call("madvise", address, 2 * PAGE, F.MADV_DONTNEED) == 0
    assert w.call("mlockall", F.MCL_FUTURE) == 0
    pages(w, 3)
    assert locked() == 3 * PAGE
    assert w.call("munlockall") == 0
    pages(w, 3)
    assert locked() == 0


@CASES("mlock", "mlock2", host=False)
def locking_is_limited(w: GuestWorld) -> None:
    w.task.limits[F.RLIMIT_MEMLOCK] = 2 * PAGE, 2 * PAGE
    address = pages(w, 4)
    assert w.call("mlock", address, 4 * PAGE) == 0, "not for the privileged"
    assert w.call("munlock", address, 4 * PAGE) == 0
    w.become(1000, 1000)
    assert w.call("mlock", address, 2 * PAGE) == 0
    assert w.call("mlock", address, 2 * PAGE) == 0, "the same again"
    assert w.call("mlock", address + 2 * PAGE, PAGE) == -ENOMEM
    assert w.call("mlock2", address + 2 * PAGE, PAGE, 0) == -ENOMEM
    assert mmap(w, 0, PAGE, RW, ANONYMOUS | F.MAP_LOCKED) == -EAGAIN
    assert w.call("mlockall", F.MCL_CURRENT) == -ENOMEM
    w.task.limits[F.RLIMIT_MEMLOCK] = 0, 0
    assert w.call("mlock", address, PAGE) == -EPERM
    assert w.call("mlockall", F.MCL_FUTURE) == -EPERM
    assert w.call("munlock", address, 2 * PAGE) == 0


@CASES("munmap")
def what_mmap_looks_at_first(w: World) -> None:
    w.file(b"f", b"x")
    fd = w.open(b"f", O_RDWR)
    assert mmap(w, 0, 0, PROT_READ, F.MAP_SHARED, 77) == -EBADF, "the descriptor, before the length"
    assert mmap(w, 0, 0, PROT_READ, F.MAP_SHARED, fd) == -EINVAL
    for unknown in (1 << 10, 1 << 21, F.MAP_FIXED_NOREPLACE):
        assert mmap(w, 0, PAGE, PROT_READ, F.MAP_SHARED_VALIDATE | unknown, fd) == -EOPNOTSUPP
    address = mmap(w, 0, PAGE, PROT_READ, F.MAP_SHARED_VALIDATE | F.MAP_POPULATE, fd)
    assert address > 0
    assert w.call("madvise", address, PAGE, F.MADV_FREE) == -EINVAL, "only for private memory without a file"
    assert w.call("madvise", address, PAGE, F.MADV_DONTNEED) == 0
    assert w.call("munmap", address + 1, PAGE) == -EINVAL


@CASES("msync", host=False)
def a_file_is_told_of_stores_to_its_mapping(w: GuestWorld) -> None:
    w.file(b"f", bytes(2 * PAGE))
    address = mmap(w, 0, 2 * PAGE, RW, F.MAP_SHARED, w.open(b"f", O_RDWR))
    private = mmap(w, 0, PAGE, RW, F.MAP_PRIVATE, w.open(b"f", O_RDWR))
    writing = [(address, True), (address, False), (address + PAGE, True), (private, False)]
    for _ in range(2):
        for place, told in writing:
            before = w.stat(b"f")["mtime"]
            w.machine.clock.advance(1_000_000)  # type: ignore[attr-defined]
            assert w.peek(place, 1) in (b"\0", b"x")
            assert w.stat(b"f")["mtime"] == before, "reading changes nothing"
            w.task.space.copy_out(place, b"x")
            assert (w.stat(b"f")["mtime"] > before) == told
        assert w.call("msync", address, 2 * PAGE, F.MS_SYNC) == 0


@CASES("membarrier")
def barriers(w: World) -> None:
    assert w.call("membarrier", 0, 0, 0) & 0x1F == 0x1F
    assert w.call("membarrier", 0, 1, 0) == -EINVAL
    assert w.call("membarrier", 3, 0, 0) == -EINVAL
    assert w.call("membarrier", 8, 0, 0) == -EPERM
    assert w.call("membarrier", 16, 0, 0) == 0
    assert w.call("membarrier", 8, 0, 0) == 0


@CASES("prlimit64", host=False)
def the_address_space_has_a_limit(w: GuestWorld) -> None:
    used = sum(region.length for region in w.task.space.regions())
    pair = (used + 4 * PAGE).to_bytes(8, "little") * 2
    assert w.call("prlimit64", 0, F.RLIMIT_AS, pair, None) == 0
    assert mmap(w, 0, 5 * PAGE, RW, ANONYMOUS) == -ENOMEM
    assert mmap(w, 0, 3 * PAGE, RW, ANONYMOUS) > 0


test_guest, test_host, test_proof = CASES.tests()
