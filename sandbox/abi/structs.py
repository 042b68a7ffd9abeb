"""Byte layouts of the structures that cross the syscall boundary, for five ISAs; little endian throughout.

Functions take the ISA's name first where the layout depends on it. Values that do not fit a 32-bit field raise
EOVERFLOW, as the kernel does. Signal structures are in `sandbox.abi.signal_structs`. Sources: `asm/stat.h`,
`asm/statfs.h`, `linux/stat.h`, `linux/sysinfo.h`, `asm/resource.h`, `asm/fcntl.h` of each ISA.
"""

from __future__ import annotations

from struct import Struct
from typing import Protocol

from sandbox.abi.errno import EOVERFLOW, Errno

BITS: dict[str, int] = {"x86_64": 64, "i386": 32, "arm64": 64, "arm": 32, "riscv64": 64}
NANOSECONDS = 1_000_000_000


class StatLike(Protocol):
    """`sandbox.vfs.node.Stat`; times in nanoseconds."""

    dev: int
    ino: int
    mode: int
    nlink: int
    uid: int
    gid: int
    rdev: int
    size: int
    blksize: int
    blocks: int
    atime: int
    mtime: int
    ctime: int


class StatFsLike(Protocol):
    """`sandbox.vfs.node.StatFs`; `kind` is the magic number."""

    kind: int
    bsize: int
    blocks: int
    bfree: int
    bavail: int
    files: int
    ffree: int
    namelen: int
    flags: int


# -- stat ------------------------------------------------------------------------------------------------
_STAT_X86_64 = Struct("<QQQIII4xQqqqqQqQqQ24x")
_STAT_GENERIC = Struct("<QQIIIIQ8xqi4xqqQqQqQ8x")
_STAT_32 = Struct("<IIHHHHIIIIIIIIII8x")
_STAT64_I386 = Struct("<Q4xIIIIIQ4xqIQIIIIIIQ")
_STAT64_ARM = Struct("<Q4xIIIIIQ8xqI4xQIIIIIIQ")
_STATX = Struct("<IIQIIIH2xQQQQqI4xqI4xqI4xqI4xIIIIQ104x")

assert (_STAT_X86_64.size, _STAT_GENERIC.size, _STAT_32.size) == (144, 128, 64)
assert (_STAT64_I386.size, _STAT64_ARM.size, _STATX.size) == (96, 104, 256)


def major(device: int) -> int:
    return (device >> 8 & 0xFFF) | (device >> 32 & ~0xFFF)


def minor(device: int) -> int:
    return (device & 0xFF) | (device >> 12 & ~0xFF & 0xFFFFFFFF)


def makedev(major_number: int, minor_number: int) -> int:
    return (
        (major_number & 0xFFF) << 8
        | (major_number & ~0xFFF) << 32
        | (minor_number & 0xFF)
        | (minor_number & ~0xFF) << 12
    )


def _low16(value: int) -> int:
    """An id or a link count in a 16-bit field: what does not fit becomes the overflow id."""
    return value if value <= 0xFFFF else 65534


def pack_stat(isa: str, s: StatLike) -> bytes:
    """What stat, fstat, lstat and newfstatat store; on 32-bit ISAs the form with 32-bit sizes."""
    asec, ansec = divmod(s.atime, NANOSECONDS)
    msec, mnsec = divmod(s.mtime, NANOSECONDS)
    csec, cnsec = divmod(s.ctime, NANOSECONDS)
    if isa == "x86_64":
        return _STAT_X86_64.pack(
            s.dev, s.ino, s.nlink, s.mode, s.uid, s.gid, s.rdev, s.size, s.blksize, s.blocks,
            asec, ansec, msec, mnsec, csec, cnsec,
        )  # fmt: skip
    if BITS[isa] == 64:
        return _STAT_GENERIC.pack(
            s.dev, s.ino, s.mode, s.nlink, s.uid, s.gid, s.rdev, s.size, s.blksize, s.blocks,
            asec, ansec, msec, mnsec, csec, cnsec,
        )  # fmt: skip
    if s.size > 0x7FFFFFFF or s.ino > 0xFFFFFFFF or s.nlink > 0xFFFF:
        raise Errno(EOVERFLOW)
    return _STAT_32.pack(
        s.dev & 0xFFFFFFFF, s.ino, s.mode, s.nlink, _low16(s.uid), _low16(s.gid), s.rdev & 0xFFFFFFFF, s.size,
        s.blksize, s.blocks & 0xFFFFFFFF,
        asec & 0xFFFFFFFF, ansec, msec & 0xFFFFFFFF, mnsec, csec & 0xFFFFFFFF, cnsec,
    )  # fmt: skip


def pack_stat64(isa: str, s: StatLike) -> bytes:
    """What stat64, fstat64, lstat64 and fstatat64 of the 32-bit ISAs store."""
    asec, ansec = divmod(s.atime, NANOSECONDS)
    msec, mnsec = divmod(s.mtime, NANOSECONDS)
    csec, cnsec = divmod(s.ctime, NANOSECONDS)
    layout = _STAT64_ARM if isa == "arm" else _STAT64_I386
    return layout.pack(
        s.dev, s.ino & 0xFFFFFFFF, s.mode, s.nlink, s.uid, s.gid, s.rdev, s.size, s.blksize, s.blocks,
        asec & 0xFFFFFFFF, ansec, msec & 0xFFFFFFFF, mnsec, csec & 0xFFFFFFFF, cnsec, s.ino,
    )  # fmt: skip


def pack_statx(s: StatLike, mask: int, *, mount: int = 0, attributes: int = 0, attributes_mask: int = 0) -> bytes:
    """`mask` says which fields are valid; the birth time is the change time (nothing here records another)."""
    asec, ansec = divmod(s.atime, NANOSECONDS)
    msec, mnsec = divmod(s.mtime, NANOSECONDS)
    csec, cnsec = divmod(s.ctime, NANOSECONDS)
    return _STATX.pack(
        mask, s.blksize, attributes, s.nlink, s.uid, s.gid, s.mode, s.ino, s.size, s.blocks, attributes_mask,
        asec, ansec, csec, cnsec, csec, cnsec, msec, mnsec,
        major(s.rdev), minor(s.rdev), major(s.dev), minor(s.dev), mount,
    )  # fmt: skip


# -- statfs ----------------------------------------------------------------------------------------------
_STATFS_64 = Struct("<qqQQQQQQqqq32x")
_STATFS_32 = Struct("<IIIIIIIQIII16x")
_STATFS64_32 = Struct("<IIQQQQQQIII16x")

assert (_STATFS_64.size, _STATFS_32.size, _STATFS64_32.size) == (120, 64, 84)


def pack_statfs(isa: str, s: StatFsLike, fsid: int = 0) -> bytes:
    values = (s.kind, s.bsize, s.blocks, s.bfree, s.bavail, s.files, s.ffree, fsid, s.namelen, s.bsize, s.flags)
    if BITS[isa] == 64:
        return _STATFS_64.pack(*values)
    if max(values[2:7]) > 0xFFFFFFFF:
        raise Errno(EOVERFLOW)
    return _STATFS_32.pack(*values)


def pack_statfs64(s: StatFsLike, fsid: int = 0) -> bytes:
    """statfs64 of the 32-bit ISAs."""
    return _STATFS64_32.pack(
        s.kind, s.bsize, s.blocks, s.bfree, s.bavail, s.files, s.ffree, fsid, s.namelen, s.bsize, s.flags
    )


# -- directories -----------------------------------------------------------------------------------------
_DIRENT64 = Struct("<QqHB")
_DIRENT = {64: Struct("<QQH"), 32: Struct("<IIH")}


def pack_dirent64(ino: int, offset: int, kind: int, name: bytes) -> bytes:
    length = (19 + len(name) + 1 + 7) & ~7
    return (_DIRENT64.pack(ino, offset, length, kind) + name).ljust(length, b"\0")


def pack_dirent(isa: str, ino: int, offset: int, kind: int, name: bytes) -> bytes:
    """The old getdents: machine words, and the kind in the last byte."""
    layout = _DIRENT[BITS[isa]]
    word = BITS[isa] // 8
    length = (layout.size + len(name) + 2 + word - 1) & -word
    mask = (1 << BITS[isa]) - 1
    return (layout.pack(ino & mask, offset & mask, length) + name).ljust(length - 1, b"\0") + bytes((kind,))


# -- time ------------------------------------------------------------------------------------------------
# timespec, timeval, timezone-free; keyed by the width of time_t in bytes.
PAIR: dict[int, Struct] = {8: Struct("<qq"), 4: Struct("<ii")}


def pack_timespec(width: int, nanoseconds: int) -> bytes:
    """`width` is 8, or 4 for the time32 form, in which the seconds wrap."""
    seconds, rest = divmod(nanoseconds, NANOSECONDS)
    return PAIR[width].pack(_wrap(seconds, width), rest)


def pack_timeval(width: int, nanoseconds: int) -> bytes:
    seconds, rest = divmod(nanoseconds, NANOSECONDS)
    return PAIR[width].pack(_wrap(seconds, width), rest // 1000)


def _wrap(seconds: int, width: int) -> int:
    return (seconds + 0x80000000) % 0x100000000 - 0x80000000 if width == 4 else seconds


# -- system ----------------------------------------------------------------------------------------------
_SYSINFO = {64: Struct("<qQQQQQQQQQHHxxxxQQI4x"), 32: Struct("<iIIIIIIIIIHHIII8x")}
RLIMIT = {64: Struct("<QQ"), 32: Struct("<II")}

assert (_SYSINFO[64].size, _SYSINFO[32].size) == (112, 64)


def pack_utsname(*fields: bytes) -> bytes:
    """sysname, nodename, release, version, machine, domainname: 65 bytes each."""
    return b"".join(field[:64].ljust(65, b"\0") for field in fields)


def pack_sysinfo(isa: str, uptime: int, total: int, free: int, processes: int) -> bytes:
    """`total` and `free` in bytes; no swap, no high memory, no load."""
    bits = BITS[isa]
    unit = 1
    while bits == 32 and total // unit > 0xFFFFFFFF:
        unit <<= 12
    return _SYSINFO[bits].pack(
        uptime, 0, 0, 0, total // unit, free // unit, 0, 0, 0, 0, min(processes, 0xFFFF), 0, 0, 0, unit
    )


def pack_rusage(
    isa: str,
    user: int,
    system: int,
    *,
    peak_kib: int = 0,
    minor_faults: int = 0,
    major_faults: int = 0,
    voluntary: int = 0,
    involuntary: int = 0,
) -> bytes:
    """Times in nanoseconds."""
    word = BITS[isa] // 8
    mask = (1 << (8 * word - 1)) - 1
    counts = (peak_kib, 0, 0, 0, minor_faults, major_faults, 0, 0, 0, 0, 0, 0, voluntary, involuntary)
    tail = Struct("<14q" if word == 8 else "<14i").pack(*(count & mask for count in counts))
    return pack_timeval(word, user) + pack_timeval(word, system) + tail


# -- file control, polling, terminals ----------------------------------------------------------------------
# struct flock by ISA: type, whence, start, length, pid
FLOCK = {64: Struct("<hh4xqqi4x"), 32: Struct("<hhiii")}
FLOCK64_32 = {"i386": Struct("<hhqqi"), "arm": Struct("<hh4xqqi4x")}
POLLFD = Struct("<ihh")  # fd, events, revents
# epoll_event: events, data. Packed on x86-64; the natural layout of i386 is the same 12 bytes.
EPOLL_EVENT = {isa: Struct("<IQ" if isa in ("x86_64", "i386") else "<I4xQ") for isa in BITS}
WINSIZE = Struct("<HHHH")  # rows, columns, x pixels, y pixels
TERMIOS = Struct("<IIIIB19s")  # iflag, oflag, cflag, lflag, line, cc
TERMIOS2 = Struct("<IIIIB19sII")  # ... ispeed, ospeed
IOVEC = {8: Struct("<QQ"), 4: Struct("<II")}
USER_DESC = Struct("<IIII")  # entry number, base, limit, flag bits (i386 set_thread_area)
