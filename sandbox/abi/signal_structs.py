"""Byte layouts of sigaction, siginfo_t and stack_t for five ISAs. Source: `asm-generic/siginfo.h`, `asm/signal.h`."""

from __future__ import annotations

from struct import Struct

from sandbox.abi.signals import (
    POLL_HUP,
    SI_QUEUE,
    SI_TIMER,
    SIGBUS,
    SIGCHLD,
    SIGFPE,
    SIGILL,
    SIGRTMIN,
    SIGSEGV,
    SIGTRAP,
)
from sandbox.abi.structs import BITS

SIGINFO_SIZE = 128

# The kernel's struct sigaction (not libc's): handler, flags, restorer, mask. riscv64 has no restorer.
_SIGACTION_64 = Struct("<QQQQ")
_SIGACTION_RISCV = Struct("<QQQ")
_SIGACTION_32 = Struct("<IIIQ")
_STACK = {64: Struct("<Qi4xQ"), 32: Struct("<IiI")}
OLD_SIGACTION = Struct("<IIII")  # i386 and arm sigaction(2): handler, mask, flags, restorer


def sigaction_size(isa: str) -> int:
    return {"riscv64": 24, "i386": 20, "arm": 20}.get(isa, 32)


def pack_sigaction(isa: str, handler: int, flags: int, restorer: int, mask: int) -> bytes:
    if isa == "riscv64":
        return _SIGACTION_RISCV.pack(handler, flags, mask)
    return (_SIGACTION_64 if BITS[isa] == 64 else _SIGACTION_32).pack(handler, flags, restorer, mask)


def unpack_sigaction(isa: str, data: bytes) -> tuple[int, int, int, int]:
    """handler, flags, restorer, mask"""
    if isa == "riscv64":
        handler, flags, mask = _SIGACTION_RISCV.unpack(data)
        return handler, flags, 0, mask
    handler, flags, restorer, mask = (_SIGACTION_64 if BITS[isa] == 64 else _SIGACTION_32).unpack(data)
    return handler, flags, restorer, mask


def stack_size(isa: str) -> int:
    return _STACK[BITS[isa]].size


def pack_stack(isa: str, base: int, flags: int, size: int) -> bytes:
    return _STACK[BITS[isa]].pack(base, flags - (1 << 32) if flags >> 31 else flags, size)


def unpack_stack(isa: str, data: bytes) -> tuple[int, int, int]:
    """base, flags, size"""
    base, flags, size = _STACK[BITS[isa]].unpack(data)
    return base, flags & 0xFFFFFFFF, size


def pack_siginfo(
    isa: str,
    number: int,
    code: int,
    errno: int = 0,
    *,
    pid: int = 0,
    uid: int = 0,
    address: int = 0,
    status: int = 0,
    utime: int = 0,
    stime: int = 0,
    value: int = 0,
    timer: int = 0,
    overrun: int = 0,
    band: int = 0,
    fd: int = 0,
) -> bytes:
    """Which member of the union is filled follows from number and code, as in the kernel's siginfo_layout()."""
    wide = BITS[isa] == 64
    word = "Q" if wide else "I"
    mask = (1 << BITS[isa]) - 1
    head = Struct("<iii4x" if wide else "<iii").pack(number, errno, code)
    if code == SI_TIMER:
        body = Struct("<ii" + word).pack(timer, overrun, value & mask)
    elif code == SI_QUEUE or (code <= 0 and number >= SIGRTMIN):
        body = Struct("<iI" + word).pack(pid, uid, value & mask)
    elif code > 0 and number in (SIGILL, SIGFPE, SIGSEGV, SIGBUS, SIGTRAP) and code < 0x80:
        body = Struct("<" + word).pack(address & mask)
    elif code > 0 and number == SIGCHLD and code < 0x80:
        ticks = "qq" if wide else "ii"
        body = Struct("<iIi" + ("4x" if wide else "") + ticks).pack(pid, uid, status, utime, stime)
    elif 0 < code <= POLL_HUP:  # of input and output, whatever signal F_SETSIG chose for it
        body = Struct("<qi" if wide else "<ii").pack(band, fd)
    else:
        body = Struct("<iI").pack(pid, uid)
    return (head + body).ljust(SIGINFO_SIZE, b"\0")


def unpack_queued_siginfo(isa: str, data: bytes) -> tuple[int, int, int, int, int, int]:
    """number, errno, code, pid, uid, value of a siginfo a guest hands to rt_sigqueueinfo."""
    wide = BITS[isa] == 64
    number, errno, code = Struct("<iii").unpack_from(data)
    pid, uid, value = Struct("<iIQ" if wide else "<iII").unpack_from(data, 16 if wide else 12)
    return number, errno, code, pid, uid, value
