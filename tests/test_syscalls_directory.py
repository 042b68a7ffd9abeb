"""getdents, getcwd, chdir, chroot."""

from __future__ import annotations

import struct

from sandbox.abi.errno import (
    EACCES,
    EBADF,
    EFAULT,
    EINVAL,
    ENOENT,
    ENOTDIR,
    EPERM,
    ERANGE,
)
from sandbox.abi.flags import (
    AT_FDCWD,
    AT_REMOVEDIR,
    DT_DIR,
    DT_FIFO,
    DT_LNK,
    DT_REG,
    O_CREAT,
    O_DIRECTORY,
    O_PATH,
    O_RDONLY,
    O_RDWR,
    S_IFIFO,
    SEEK_SET,
)
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD

CASES = Cases()


# -- reading directories -----------------------------------------------------------------------------------


def names64(data: bytes) -> list[tuple[bytes, int]]:
    result = []
    while data:
        _, _, length, dtype = struct.unpack_from("<QqHB", data)
        result.append((data[19:length].split(b"\0")[0], dtype))
        data = data[length:]
    return result


@CASES("getdents64")
def a_directory_lists_all_it_has_once(w: World) -> None:
    w.directory(b"d")
    for number in range(30):
        w.file(b"d/file%d" % number)
    w.directory(b"d/sub")
    assert w.call("symlinkat", b"x", AT_FDCWD, b"d/link") == 0
    assert w.call("mknodat", AT_FDCWD, b"d/fifo", S_IFIFO | 0o600, 0) == 0
    fd = w.open(b"d", O_DIRECTORY)
    found = []
    while True:
        buffer = bytearray(100)
        count = w.call("getdents64", fd, buffer, 100)
        assert 0 <= count <= 100
        if not count:
            break
        found += names64(bytes(buffer[:count]))
    expected = {b"file%d" % number: DT_REG for number in range(30)}
    expected |= {b".": DT_DIR, b"..": DT_DIR, b"sub": DT_DIR, b"link": DT_LNK, b"fifo": DT_FIFO}
    assert dict(found) == expected
    assert len(found) == len(expected)
    assert w.call("lseek", fd, 0, SEEK_SET) == 0
    assert w.call("getdents64", fd, bytearray(32768), 32768) > 35 * 24


@CASES("getdents64")
def getdents_refuses(w: World) -> None:
    w.file(b"f")
    fd = w.open(b".")
    assert w.call("getdents64", fd, bytearray(10), 10) == -EINVAL
    assert w.call("getdents64", fd, BAD, 100) == -EFAULT
    assert w.call("getdents64", w.open(b"f"), bytearray(100), 100) == -ENOTDIR
    assert w.call("getdents64", w.open(b".", O_PATH), bytearray(100), 100) == -EBADF
    assert w.call("getdents64", 77, bytearray(100), 100) == -EBADF
    assert len(names64(bytes(buffer_of(w, fd)))) == 3, "what failed has not moved the position"
    w.directory(b"d")
    gone = w.open(b"d")
    assert w.call("unlinkat", AT_FDCWD, b"d", AT_REMOVEDIR) == 0
    assert w.call("getdents64", gone, bytearray(100), 100) == -ENOENT


def buffer_of(w: World, fd: int) -> bytearray:
    buffer = bytearray(4096)
    count = w.call("getdents64", fd, buffer, 4096)
    return buffer[:count]


@CASES("getdents64")
def removing_while_reading_skips_nothing(w: World) -> None:
    w.directory(b"d")
    for number in range(50):
        w.file(b"d/%d" % number)
    fd = w.open(b"d")
    seen = []
    while True:
        buffer = bytearray(200)
        count = w.call("getdents64", fd, buffer, 200)
        if count <= 0:
            break
        for name, _ in names64(bytes(buffer[:count])):
            if name not in (b".", b".."):
                seen.append(name)
                assert w.call("unlinkat", fd, name, 0) == 0
    assert len(seen) == 50
    assert w.call("unlinkat", AT_FDCWD, b"d", AT_REMOVEDIR) == 0


@CASES("getdents")
def the_old_getdents(w: World) -> None:
    w.directory(b"d")
    w.file(b"d/name")
    w.directory(b"d/other")
    fd = w.open(b"d")
    buffer = bytearray(4096)
    count = w.call("getdents", fd, buffer, 4096)
    data = bytes(buffer[:count])
    found = {}
    while data:
        length = struct.unpack_from("<H", data, 2 * w.word)[0]
        found[data[2 * w.word + 2 : length].split(b"\0")[0]] = data[length - 1]
        data = data[length:]
    assert found == {b".": DT_DIR, b"..": DT_DIR, b"name": DT_REG, b"other": DT_DIR}
    assert w.call("getdents", fd, buffer, 4096) == 0
    assert w.call("lseek", fd, 0, SEEK_SET) == 0
    assert w.call("getdents", fd, buffer, 3) == -EINVAL
    assert w.call("getdents", 77, buffer, 4096) == -EBADF


# -- where one is ------------------------------------------------------------------------------------------


@CASES("chdir", "fchdir", "getcwd")
def going_and_knowing_where(w: World) -> None:
    w.directory(b"d")
    w.file(b"f")
    start = bytearray(4096)
    length = w.call("getcwd", start, 4096)
    home = w.open(b".")
    assert w.call("chdir", b"d") == 0
    here = bytearray(4096)
    assert w.call("getcwd", here, 4096) == length + 2
    assert here[: length + 2] == start[: length - 1] + b"/d\0"
    assert w.call("getcwd", here, length + 2) == length + 2
    assert w.call("getcwd", here, length + 1) == -ERANGE
    assert w.call("getcwd", here, 0) == -ERANGE
    assert w.call("getcwd", BAD, 4096) == -EFAULT
    assert w.call("fchdir", home) == 0
    assert w.call("getcwd", here, 4096) == length
    assert w.call("chdir", b"f") == -ENOTDIR
    assert w.call("chdir", b"none") == -ENOENT
    assert w.call("chdir", b"") == -ENOENT
    assert w.call("chdir", BAD) == -EFAULT
    assert w.call("fchdir", w.open(b"f")) == -ENOTDIR
    assert w.call("fchdir", 77) == -EBADF
    assert w.call("fchdir", w.open(b"d", O_PATH)) == 0
    assert w.call("unlinkat", home, b"d", AT_REMOVEDIR) == 0
    assert w.call("getcwd", here, 4096) == -ENOENT
    assert w.open(b"x", O_RDWR | O_CREAT) == -ENOENT
    assert w.call("chdir", b"..") == 0
    assert w.call("getcwd", here, 4096) == length


@CASES("chdir", "fchdir", root=True)
def directories_must_be_searchable(w: World) -> None:
    w.directory(b"closed", 0o600)
    fd = w.open(b"closed", O_PATH)
    w.become(1000, 1000)
    assert w.call("chdir", b"closed") == -EACCES
    assert w.call("fchdir", fd) == -EACCES
    assert w.call("chdir", b".") == 0


@CASES("chroot", root=True)
def another_root(w: World) -> None:
    w.directory(b"d")
    w.directory(b"d/e")
    w.file(b"d/f", b"abc")
    assert w.call("chroot", b"d/f") == -ENOTDIR
    assert w.call("chroot", b"none") == -ENOENT
    assert w.call("chroot", BAD) == -EFAULT
    assert w.call("chroot", b"d") == 0
    assert w.content(b"/f") == b"abc"
    here = bytearray(4096)
    length = w.call("getcwd", here, 4096)
    assert here[:length].startswith(b"(unreachable)/")
    assert w.call("chdir", b"/") == 0
    assert w.call("getcwd", here, 4096) == 2
    assert w.open(b"../../../f", O_RDONLY) > 0
    assert w.open(b"../d") == -ENOENT
    w.become(1000, 1000)
    assert w.call("chroot", b"e") == -EPERM


test_guest, test_host, test_proof = CASES.tests()
