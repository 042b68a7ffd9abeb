"""stat in all its forms, statx, statfs."""

from __future__ import annotations

import struct
from collections.abc import Callable

from sandbox.abi.errno import (
    EBADF,
    EFAULT,
    EINVAL,
    ENOENT,
    ENOTDIR,
    EOVERFLOW,
)
from sandbox.abi.flags import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_SYMLINK_NOFOLLOW,
    O_CREAT,
    O_PATH,
    O_RDWR,
    S_IFIFO,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
)
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD

CASES = Cases()
SECOND = 1_000_000_000


# -- stat: where the fields lie, written down by hand ---------------------------------------------------------

# (size, offset and format of mode, nlink, uid, gid, size, blksize, mtime seconds, mtime nanoseconds, ino)
Fields = tuple[int, dict[str, tuple[int, str]]]
_X86_64: Fields = (
    144,
    {
        "ino": (8, "Q"), "nlink": (16, "Q"), "mode": (24, "I"), "uid": (28, "I"), "gid": (32, "I"), "size": (48, "q"),
        "blksize": (56, "q"), "blocks": (64, "q"), "mtime": (88, "q"), "nano": (96, "Q"),
    },
)  # fmt: skip
_GENERIC: Fields = (
    128,
    {
        "ino": (8, "Q"), "mode": (16, "I"), "nlink": (20, "I"), "uid": (24, "I"), "gid": (28, "I"), "size": (48, "q"),
        "blksize": (56, "i"), "blocks": (64, "q"), "mtime": (88, "q"), "nano": (96, "Q"),
    },
)  # fmt: skip
_OLD_32: Fields = (
    64,
    {
        "ino": (4, "I"), "mode": (8, "H"), "nlink": (10, "H"), "uid": (12, "H"), "gid": (14, "H"), "size": (20, "I"),
        "blksize": (24, "I"), "blocks": (28, "I"), "mtime": (40, "I"), "nano": (44, "I"),
    },
)  # fmt: skip
_STAT64_I386: Fields = (
    96,
    {
        "ino": (88, "Q"), "mode": (16, "I"), "nlink": (20, "I"), "uid": (24, "I"), "gid": (28, "I"), "size": (44, "q"),
        "blksize": (52, "I"), "blocks": (56, "Q"), "mtime": (72, "I"), "nano": (76, "I"),
    },
)  # fmt: skip
_STAT64_ARM: Fields = (
    104,
    {
        "ino": (96, "Q"), "mode": (16, "I"), "nlink": (20, "I"), "uid": (24, "I"), "gid": (28, "I"), "size": (48, "q"),
        "blksize": (56, "I"), "blocks": (64, "Q"), "mtime": (80, "I"), "nano": (84, "I"),
    },
)  # fmt: skip


def layout(w: World, wide: bool) -> Fields:
    if wide:
        return _STAT64_ARM if w.isa == "arm" else _STAT64_I386
    if w.word == 4:
        return _OLD_32
    return _X86_64 if w.isa == "x86_64" else _GENERIC


def check_stat(w: World, wide: bool, call: Callable[[bytearray], int], expected: dict[str, int]) -> None:
    size, fields = layout(w, wide)
    buffer = bytearray(b"\xee" * (size + 8))
    assert call(buffer) == 0
    assert buffer[size:] == b"\xee" * 8, "nothing is written behind the structure"
    found = {name: struct.unpack_from("<" + code, buffer, offset)[0] for name, (offset, code) in fields.items()}
    assert {name: found[name] for name in expected} == expected


def prepare(w: World) -> dict[str, int]:
    w.file(b"f", b"0123456789")
    w.call("fchmodat", AT_FDCWD, b"f", 0o640)
    stamp = struct.pack("<qqqq", 1, 2, 1_600_000_000, 123_456_789)
    name = "utimensat" if w.word == 8 else "utimensat_time64"
    assert w.call(name, AT_FDCWD, b"f", stamp, 0) == 0
    assert w.call("symlinkat", b"f", AT_FDCWD, b"l") == 0
    return {
        "mode": S_IFREG | 0o640, "nlink": 1, "size": 10, "blksize": 4096, "blocks": 8, "mtime": 1_600_000_000,
        "nano": 123_456_789, "ino": w.stat(b"f")["ino"],
    }  # fmt: skip


@CASES("stat", "lstat")
def stat_by_path(w: World) -> None:
    expected = prepare(w)
    check_stat(w, False, lambda buffer: w.call("stat", b"f", buffer), expected)
    check_stat(w, False, lambda buffer: w.call("stat", b"l", buffer), expected)
    check_stat(w, False, lambda buffer: w.call("lstat", b"l", buffer), {"mode": S_IFLNK | 0o777, "size": 1})
    check_stat(w, False, lambda buffer: w.call("lstat", b"f", buffer), expected)
    for name in ("stat", "lstat"):
        assert w.call(name, b"none", bytearray(200)) == -ENOENT
        assert w.call(name, b"", bytearray(200)) == -ENOENT
        assert w.call(name, b"f/", bytearray(200)) == -ENOTDIR
        assert w.call(name, BAD, bytearray(200)) == -EFAULT
        assert w.call(name, b"f", BAD) == -EFAULT


@CASES("fstat")
def stat_by_descriptor(w: World) -> None:
    expected = prepare(w)
    fd, path = w.open(b"f"), w.open(b"l", O_PATH | 0o400000)
    check_stat(w, False, lambda buffer: w.call("fstat", fd, buffer), expected)
    check_stat(w, False, lambda buffer: w.call("fstat", path, buffer), {"mode": S_IFLNK | 0o777})
    check_stat(w, False, lambda buffer: w.call("fstat", w.pipe()[0], buffer), {"mode": S_IFIFO | 0o600, "nlink": 1})
    assert w.call("fstat", 77, bytearray(200)) == -EBADF
    assert w.call("fstat", fd, BAD) == -EFAULT


@CASES("newfstatat")
def stat_at(w: World) -> None:
    expected = prepare(w)
    w.directory(b"d")
    d, fd = w.open(b"d", O_PATH), w.open(b"f")
    check_stat(w, False, lambda buffer: w.call("newfstatat", d, b"../l", buffer, 0), expected)
    check_stat(w, False, lambda buffer: w.call("newfstatat", fd, b"", buffer, AT_EMPTY_PATH), expected)
    nofollow = AT_SYMLINK_NOFOLLOW | 0x800
    check_stat(w, False, lambda buffer: w.call("newfstatat", d, b"../l", buffer, nofollow), {"mode": S_IFLNK | 0o777})
    buffer = bytearray(200)
    assert w.call("newfstatat", fd, b"", buffer, 0) == -ENOENT
    assert w.call("newfstatat", fd, b"x", buffer, 0) == -ENOTDIR
    assert w.call("newfstatat", fd, b"x", buffer, 0x10000) == -EINVAL
    assert w.call("newfstatat", 77, b"", buffer, AT_EMPTY_PATH) == -EBADF
    assert w.call("newfstatat", AT_FDCWD, b"", buffer, AT_EMPTY_PATH) == 0
    assert w.call("newfstatat", AT_FDCWD, BAD, buffer, 0) == -EFAULT
    assert w.call("newfstatat", AT_FDCWD, b"f", BAD, 0) == -EFAULT


@CASES("stat64", "lstat64", "fstat64", "fstatat64")
def stat64_of_32_bit_programs(w: World) -> None:
    expected = prepare(w)
    link = {"mode": S_IFLNK | 0o777, "size": 1}
    fd = w.open(b"f")
    check_stat(w, True, lambda buffer: w.call("stat64", b"l", buffer), expected)
    check_stat(w, True, lambda buffer: w.call("lstat64", b"f", buffer), expected)
    check_stat(w, True, lambda buffer: w.call("lstat64", b"l", buffer), link)
    check_stat(w, True, lambda buffer: w.call("fstat64", fd, buffer), expected)
    check_stat(w, True, lambda buffer: w.call("fstatat64", AT_FDCWD, b"f", buffer, 0), expected)
    check_stat(w, True, lambda buffer: w.call("fstatat64", fd, b"", buffer, AT_EMPTY_PATH), expected)
    check_stat(w, True, lambda buffer: w.call("fstatat64", AT_FDCWD, b"l", buffer, AT_SYMLINK_NOFOLLOW), link)
    assert w.call("fstatat64", AT_FDCWD, b"f", bytearray(200), 0x10000) == -EINVAL
    assert w.call("fstat64", 77, bytearray(200)) == -EBADF


@CASES("stat", "fstat", isas=("i386", "arm"))
def what_the_small_structure_cannot_hold(w: World) -> None:
    fd = w.open(b"f", O_RDWR | O_CREAT | 0o100000)
    assert w.call("ftruncate64", fd, 1 << 31) == 0
    assert w.call("stat", b"f", bytearray(200)) == -EOVERFLOW
    assert w.call("fstat", fd, bytearray(200)) == -EOVERFLOW
    check_stat(w, True, lambda buffer: w.call("stat64", b"f", buffer), {"size": 1 << 31})
    assert w.call("fchownat", AT_FDCWD, b"f", 70000, 70001, 0) == 0
    assert w.call("ftruncate64", fd, 0) == 0
    check_stat(w, False, lambda buffer: w.call("stat", b"f", buffer), {"uid": 65534, "gid": 65534})
    check_stat(w, True, lambda buffer: w.call("stat64", b"f", buffer), {"uid": 70000, "gid": 70001})


@CASES("statx")
def statx_fields_and_flags(w: World) -> None:
    prepare(w)
    found = w.stat(b"l")
    assert found["mask"] & 0x7FF == 0x7FF
    assert (found["mode"], found["size"], found["mtime"]) == (S_IFREG | 0o640, 10, 1_600_000_000_123_456_789)
    assert found["atime"] == SECOND + 2
    assert w.stat(b"l", follow=False)["mode"] & S_IFMT == S_IFLNK
    buffer = bytearray(256)
    assert w.call("statx", AT_FDCWD, b"f", 0x6000, 0x7FF, buffer) == -EINVAL
    assert w.call("statx", AT_FDCWD, b"f", 0x10000, 0x7FF, buffer) == -EINVAL
    assert w.call("statx", AT_FDCWD, b"f", 0, 0x80000000, buffer) == -EINVAL
    assert w.call("statx", AT_FDCWD, b"f", 0x4000, 0, buffer) == 0
    assert w.call("statx", 77, b"", AT_EMPTY_PATH, 0x7FF, buffer) == -EBADF
    assert w.call("statx", 77, b"f", 0, 0x7FF, buffer) == -EBADF
    assert w.call("statx", AT_FDCWD, b"none", 0, 0x7FF, buffer) == -ENOENT
    assert w.call("statx", AT_FDCWD, b"f", 0, 0x7FF, BAD) == -EFAULT
    assert w.call("statx", AT_FDCWD, BAD, 0, 0x7FF, buffer) == -EFAULT


# -- filesystems -------------------------------------------------------------------------------------------

TMPFS = 0x01021994


@CASES("statfs", "fstatfs")
def filesystems(w: World) -> None:
    size = 120 if w.word == 8 else 64
    w.file(b"f")
    first, second = bytearray(size + 8), bytearray(size + 8)
    assert w.call("statfs", b"f", first) == 0
    assert w.call("fstatfs", w.open(b"f", O_PATH), second) == 0
    assert first == second
    kind, block = struct.unpack_from("<qq" if w.word == 8 else "<II", first)
    assert (kind, block) == (TMPFS, 4096)
    names = struct.unpack_from("<q" if w.word == 8 else "<I", first, 64 if w.word == 8 else 36)[0]
    assert names == 255
    assert first[size:] == bytes(8)
    assert w.call("statfs", b"none", first) == -ENOENT
    assert w.call("statfs", b"f", BAD) == -EFAULT
    assert w.call("fstatfs", 77, first) == -EBADF


@CASES("statfs64", "fstatfs64", isas=("i386", "arm"))
def filesystems_with_wide_counts(w: World) -> None:
    buffer = bytearray(92)
    assert w.call("statfs64", b".", 84, buffer) == 0
    assert struct.unpack_from("<II", buffer) == (TMPFS, 4096)
    assert struct.unpack_from("<II", buffer, 56) == (255, 4096)
    assert w.call("statfs64", b".", 83, buffer) == -EINVAL
    assert w.call("statfs64", b".", 88, buffer) == (0 if w.isa == "arm" else -EINVAL)
    assert w.call("fstatfs64", w.open(b"."), 84, buffer) == 0
    assert struct.unpack_from("<II", buffer) == (TMPFS, 4096)
    assert w.call("fstatfs64", w.open(b"."), 0, buffer) == -EINVAL
    assert w.call("fstatfs64", 77, 84, buffer) == -EBADF


test_guest, test_host, test_proof = CASES.tests()
