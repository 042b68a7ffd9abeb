"""Seals of memfds, read-only shared mappings that stay so, and signals read from a file."""

from __future__ import annotations

import struct

from sandbox.abi.errno import EACCES, EAGAIN, EBUSY, EINVAL, EPERM
from sandbox.abi.flags import F_ADD_SEALS, F_GET_SEALS, MFD_ALLOW_SEALING, O_RDONLY, POLLIN, PROT_READ, PROT_WRITE
from sandbox.abi.signals import SIGUSR1, SIGUSR2, bit
from sandbox.kernel.signals import SignalInfo, send_to_task
from sandbox.vfs.memory_file import F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import GuestWorld

CASES = Cases()
PAGE = 4096
RW = PROT_READ | PROT_WRITE
MAP_SHARED, MAP_PRIVATE = 1, 2


def fcntl(w: World, fd: int, command: int, argument: int = 0) -> int:
    return w.call("fcntl64" if w.word == 4 else "fcntl", fd, command, argument)


def resize(w: World, fd: int, size: int) -> int:
    return w.call("ftruncate64" if w.word == 4 else "ftruncate", fd, size)


def mapped(w: World, fd: int, protection: int, kind: int = MAP_SHARED) -> int:
    return w.call("mmap2" if w.word == 4 else "mmap", None, PAGE, protection, kind, fd, 0)


def memory_file(w: World, flags: int = MFD_ALLOW_SEALING) -> int:
    fd = w.call("memfd_create", b"sealed", flags)
    assert w.call("write", fd, bytes(PAGE), PAGE) == PAGE
    return fd


@CASES("memfd_create")
def seals_hold(w: World) -> None:
    fd = memory_file(w)
    assert fcntl(w, fd, F_GET_SEALS) == 0
    assert fcntl(w, fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0
    assert resize(w, fd, 10) == -EPERM
    assert resize(w, fd, 2 * PAGE) == 0
    assert fcntl(w, fd, F_ADD_SEALS, F_SEAL_GROW) == 0
    assert resize(w, fd, 3 * PAGE) == -EPERM
    assert w.call("write", fd, bytes(PAGE), PAGE) == PAGE
    assert w.call("write", fd, b"x", 1) == -EPERM
    assert fcntl(w, fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL) == 0
    assert fcntl(w, fd, F_GET_SEALS) == 15
    assert fcntl(w, fd, F_ADD_SEALS, F_SEAL_WRITE) == -EPERM
    assert w.call("lseek", fd, 0, 0) == 0
    assert w.call("write", fd, b"x", 1) == -EPERM
    assert mapped(w, fd, RW) == -EPERM
    assert mapped(w, fd, RW, MAP_PRIVATE) > 0 or w.word == 4
    assert w.call("close", fd) == 0


@CASES("memfd_create")
def what_cannot_be_sealed(w: World) -> None:
    fd = memory_file(w, 0)
    assert fcntl(w, fd, F_GET_SEALS) == F_SEAL_SEAL
    assert fcntl(w, fd, F_ADD_SEALS, F_SEAL_WRITE) == -EPERM
    fd = memory_file(w)
    assert fcntl(w, fd, F_ADD_SEALS, 0x4000) == -EINVAL
    address = mapped(w, fd, RW)
    assert fcntl(w, fd, F_ADD_SEALS, F_SEAL_WRITE) == -EBUSY
    assert w.call("munmap", address, PAGE) == 0
    assert fcntl(w, fd, F_ADD_SEALS, F_SEAL_WRITE) == 0
    reader, _ = w.pipe()
    assert fcntl(w, reader, F_GET_SEALS) == -EINVAL


@CASES("mprotect")
def what_was_opened_for_reading_stays_unwritable(w: World) -> None:
    w.file(b"file", bytes(PAGE))
    fd = w.open(b"file", O_RDONLY)
    shared = mapped(w, fd, PROT_READ)
    assert w.call("mprotect", shared, PAGE, RW) == -EACCES
    assert w.call("mprotect", shared, PAGE, PROT_READ) == 0
    private = mapped(w, fd, PROT_READ, MAP_PRIVATE)
    assert w.call("mprotect", private, PAGE, RW) == 0
    assert w.call("mremap", shared, PAGE, 2 * PAGE, 1, None) not in (0, -EINVAL)


@CASES("mremap", host=False)
def and_does_when_it_moves(w: GuestWorld) -> None:
    w.file(b"file", bytes(PAGE))
    shared = mapped(w, w.open(b"file", O_RDONLY), PROT_READ)
    moved = w.call("mremap", shared, PAGE, PAGE, 3, 0x7000000)
    assert moved == 0x7000000
    assert w.call("mprotect", moved, PAGE, RW) == -EACCES


@CASES("signalfd4")
def what_signalfd_refuses(w: World) -> None:
    mask = struct.pack("<Q", bit(SIGUSR1))
    assert w.call("signalfd4", -1, mask, 4, 0) == -EINVAL
    assert w.call("signalfd4", -1, mask, 8, 1) == -EINVAL
    assert w.call("signalfd4", 0, mask, 8, 0) == -EINVAL
    fd = w.call("signalfd4", -1, mask, 8, 0o4000)
    assert w.call("read", fd, bytearray(128), 128) == -EAGAIN
    assert w.call("read", fd, bytearray(127), 127) == -EINVAL
    assert w.call("write", fd, b"x", 1) == -EINVAL
    assert w.call("signalfd4", fd, mask, 8, 0) == fd


@CASES("signalfd4", host=False)
def signals_are_read(w: GuestWorld) -> None:
    fd = w.call("signalfd4", -1, struct.pack("<Q", bit(SIGUSR1) | bit(SIGUSR2)), 8, 0)
    blocked = bit(SIGUSR1) | bit(SIGUSR2)
    w.task.signals.mask = blocked
    assert w.blocks("read", fd, bytearray(256), 256)
    send_to_task(w.task, SignalInfo(SIGUSR2, pid=7, uid=8))
    send_to_task(w.task, SignalInfo(SIGUSR1, value=5))
    entry = bytearray(struct.pack("<ihh", fd, POLLIN, 0))
    assert w.call("ppoll", entry, 1, None, None, 0) == 1
    buffer = bytearray(256)
    assert w.call("read", fd, buffer, 256) == 256
    assert struct.unpack_from("<IiiII", buffer, 128) == (SIGUSR2, 0, 0, 7, 8)
    assert struct.unpack_from("<I", buffer)[0] == SIGUSR1
    assert not w.pending_signals


@CASES("signalfd", host=False, isas=("x86_64", "i386", "arm"))
def signalfd_is_signalfd4_without_flags(w: GuestWorld) -> None:
    fd = w.call("signalfd", -1, struct.pack("<Q", bit(SIGUSR1)), 8)
    assert fd > 2
    assert w.call("read", fd, bytearray(1), 1) == -EINVAL


test_guest, test_host, test_proof = CASES.tests()
