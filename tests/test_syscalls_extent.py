"""lseek, truncate, fallocate: how long a file is, and where one is in it."""

from __future__ import annotations

import struct

from sandbox.abi.errno import (
    EBADF,
    EFAULT,
    EFBIG,
    EINVAL,
    EISDIR,
    ENODEV,
    ENOENT,
    ENOSPC,
    ENOTDIR,
    ENXIO,
    EOPNOTSUPP,
    EOVERFLOW,
    ESPIPE,
)
from sandbox.abi.flags import (
    AT_FDCWD,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    O_CREAT,
    O_LARGEFILE,
    O_PATH,
    O_RDWR,
    RLIMIT_FSIZE,
    SEEK_CUR,
    SEEK_DATA,
    SEEK_END,
    SEEK_HOLE,
    SEEK_SET,
)
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD, GuestWorld

CASES = Cases()


# -- the position ------------------------------------------------------------------------------------------


@CASES("lseek")
def seeking(w: World) -> None:
    w.file(b"f", b"0123456789")
    fd = w.open(b"f")
    table = [
        (4, SEEK_SET, 4),
        (2, SEEK_CUR, 6),
        (-6, SEEK_CUR, 0),
        (-1, SEEK_CUR, -EINVAL),
        (-3, SEEK_END, 7),
        (100, SEEK_END, 110),
        (-11, SEEK_END, -EINVAL),
        (-1, SEEK_SET, -EINVAL),
        (0, 5, -EINVAL),
        (0, -1, -EINVAL),
        (5, SEEK_DATA, 5),
        (5, SEEK_HOLE, 10),
        (10, SEEK_DATA, -ENXIO),
        (10, SEEK_HOLE, -ENXIO),
        (-1, SEEK_DATA, -ENXIO),
    ]
    for offset, whence, expected in table:
        assert w.call("lseek", fd, offset, whence) == expected, (offset, whence)
    reader, _ = w.pipe()
    assert w.call("lseek", reader, 0, SEEK_SET) == -ESPIPE
    assert w.call("lseek", 77, 0, 5) == -EBADF
    assert w.call("lseek", w.open(b"f", O_PATH), 0, SEEK_SET) == -EBADF


@CASES("lseek", isas=("i386", "arm"))
def positions_that_a_word_cannot_hold(w: World) -> None:
    fd = w.open(b"f", O_RDWR | O_CREAT | O_LARGEFILE)
    assert w.call("ftruncate64", fd, 1 << 33) == 0
    assert w.call("lseek", fd, 0, SEEK_END) == -EOVERFLOW
    assert w.call("lseek", fd, 0x7FFFFFFF, SEEK_SET) == 0x7FFFFFFF


@CASES("_llseek")
def llseek_has_64_bits(w: World) -> None:
    w.file(b"f", b"0123456789")
    fd = w.open(b"f")
    result = bytearray(8)
    assert w.call("_llseek", fd, 1, 5, result, SEEK_SET) == 0
    assert struct.unpack("<q", result)[0] == (1 << 32) + 5
    assert w.call("_llseek", fd, 0xFFFFFFFF, 0xFFFFFFFB, result, SEEK_END) == 0
    assert struct.unpack("<q", result)[0] == 5
    assert w.call("_llseek", fd, 0, 1, BAD, SEEK_SET) == -EFAULT
    assert w.call("_llseek", fd, 0, 1, result, 9) == -EINVAL
    assert w.call("_llseek", 77, 0, 1, result, SEEK_SET) == -EBADF


# -- the extent --------------------------------------------------------------------------------------------


@CASES("truncate", "ftruncate")
def truncating(w: World) -> None:
    w.file(b"f", b"0123456789")
    assert w.call("truncate", b"f", 4) == 0
    assert w.content(b"f") == b"0123"
    fd = w.open(b"f", O_RDWR)
    assert w.call("ftruncate", fd, 6) == 0
    assert w.content(b"f") == b"0123\0\0"
    assert w.call("ftruncate", fd, -1) == -EINVAL
    assert w.call("ftruncate", w.open(b"f"), 1) == -EINVAL
    assert w.call("ftruncate", w.open(b"."), 1) == -EINVAL
    assert w.call("ftruncate", w.open(b"f", O_PATH), 1) == -EBADF
    assert w.call("ftruncate", w.pipe()[1], 1) == -EINVAL
    assert w.call("ftruncate", 77, 1) == -EBADF
    assert w.call("truncate", b"f", -1) == -EINVAL
    assert w.call("truncate", b".", 1) == -EISDIR
    assert w.call("truncate", b"none", 1) == -ENOENT
    assert w.call("truncate", b"f/x", 1) == -ENOTDIR
    assert w.call("truncate", b"", 1) == -ENOENT
    assert w.call("truncate", BAD, 1) == -EFAULT


@CASES("truncate64", "ftruncate64")
def truncating_far_away(w: World) -> None:
    w.file(b"f", b"0123456789")
    assert w.call("truncate64", b"f", (1 << 32) + 5) == 0
    assert w.stat(b"f")["size"] == (1 << 32) + 5
    fd = w.open(b"f", O_RDWR | O_LARGEFILE)
    assert w.call("ftruncate64", fd, (2 << 32) + 6) == 0
    assert w.fstat(fd)["size"] == (2 << 32) + 6
    assert w.call("ftruncate64", fd, -1) == -EINVAL
    assert w.call("truncate64", b"f", -1) == -EINVAL


@CASES("truncate", "ftruncate", "fallocate")
def the_file_size_limit(w: World) -> None:
    w.file(b"f", b"0123456789")
    fd = w.open(b"f", O_RDWR)
    assert w.call("prlimit64", 0, RLIMIT_FSIZE, struct.pack("<QQ", 100, 100), None) == 0
    assert w.call("truncate", b"f", 101) == -EFBIG
    assert w.call("ftruncate", fd, 101) == -EFBIG
    assert w.call("fallocate", fd, 0, 50, 51) == -EFBIG
    assert w.call("ftruncate", fd, 100) == 0
    assert w.call("truncate", b"f", 99) == 0
    assert w.fstat(fd)["size"] == 99


@CASES("fallocate")
def allocating_and_punching(w: World) -> None:
    w.file(b"f", b"0123456789" * 1000)
    fd = w.open(b"f", O_RDWR)
    assert w.call("fallocate", fd, FALLOC_FL_KEEP_SIZE, 0, 50000) == 0
    assert w.fstat(fd)["size"] == 10000
    assert w.fstat(fd)["blocks"] >= 96
    assert w.call("fallocate", fd, 0, 0, 20000) == 0
    assert w.fstat(fd)["size"] == 20000
    assert w.call("fallocate", fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 2, 4096) == 0
    buffer = bytearray(4100)
    assert w.call("pread64", fd, buffer, 4100, 0) == 4100
    assert buffer == b"01" + bytes(4096) + b"89"
    assert w.fstat(fd)["size"] == 20000


@CASES("fallocate", root=True)
def fallocate_takes_set_id_bits_away(w: World) -> None:
    for mode in (0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE):
        w.file(b"f%d" % mode, b"abc")
        assert w.call("fchmodat", AT_FDCWD, b"f%d" % mode, 0o6777) == 0
    files = {mode: w.open(b"f%d" % mode, O_RDWR) for mode in (0, 1, 3)}
    w.become(1000, 1000)
    for mode, fd in files.items():
        assert w.call("fallocate", fd, mode, 0, 2) == 0
        assert w.fstat(fd)["mode"] & 0o7777 == 0o777, mode


@CASES("fallocate")
def fallocate_refuses(w: World) -> None:
    w.file(b"f")
    fd = w.open(b"f", O_RDWR)
    assert w.call("fallocate", fd, 0, -1, 1) == -EINVAL
    assert w.call("fallocate", fd, 0, 0, 0) == -EINVAL
    assert w.call("fallocate", fd, FALLOC_FL_PUNCH_HOLE, 0, 1) == -EOPNOTSUPP
    assert w.call("fallocate", fd, 0x1000, 0, 1) == -EOPNOTSUPP
    assert w.call("fallocate", w.open(b"f"), 0, 0, 1) == -EBADF
    assert w.call("fallocate", w.pipe()[1], 0, 0, 1) == -ESPIPE
    assert w.call("fallocate", fd, 0, (1 << 63) - 2, 5) == -EFBIG
    assert w.call("fallocate", 77, 0, 0, 1) == -EBADF


@CASES("fallocate", host=False)
def fallocate_does_not_fill_the_machine_in_vain(w: GuestWorld) -> None:
    w.file(b"f")
    fd = w.open(b"f", O_RDWR)
    used = w.machine.account.used
    assert w.call("fallocate", fd, 0, 0, 1 << 60) == -ENOSPC
    assert w.call("fallocate", fd, 0, 0, 9 << 20) == -ENOSPC
    assert w.machine.account.used == used
    assert w.call("fallocate", fd, FALLOC_FL_KEEP_SIZE, 0, 8192) == 0
    device = w.call("eventfd2", 0, 0)
    assert w.call("fallocate", device, 0, 0, 1) == -ENODEV


test_guest, test_host, test_proof = CASES.tests()
