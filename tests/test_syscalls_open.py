"""open and its relatives, close, close_range."""

from __future__ import annotations

import struct

import pytest

from sandbox.abi.errno import (
    E2BIG,
    EACCES,
    EAGAIN,
    EBADF,
    EEXIST,
    EFAULT,
    EFBIG,
    EINVAL,
    EISDIR,
    ELOOP,
    EMFILE,
    ENAMETOOLONG,
    ENOENT,
    ENOEXEC,
    ENOTDIR,
    ENXIO,
    EOVERFLOW,
    EPERM,
    ETXTBSY,
    EXDEV,
)
from sandbox.abi.flags import (
    AT_FDCWD,
    CLOSE_RANGE_CLOEXEC,
    O_APPEND,
    O_CLOEXEC,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_LARGEFILE,
    O_NOATIME,
    O_NOFOLLOW,
    O_NONBLOCK,
    O_PATH,
    O_RDONLY,
    O_RDWR,
    O_TMPFILE,
    O_TRUNC,
    O_WRONLY,
    RLIMIT_NOFILE,
    S_IFIFO,
    open_flags,
)
from sandbox.abi.numbers import NUMBERS
from sandbox.kernel.lookup import namespace
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD, GuestWorld, guest

CASES = Cases()

F_GETFD, F_GETFL = 1, 3


def how(w: World, flags: int, mode: int = 0, resolve: int = 0) -> bytes:
    return struct.pack("<QQQ", open_flags(w.isa, flags), mode, resolve)


# -- open --------------------------------------------------------------------------------------------------


@CASES("open")
def open_creates_truncates_and_excludes(w: World) -> None:
    fd = w.call("open", b"f", O_RDWR | O_CREAT, 0o666)
    assert fd == 3
    assert w.stat(b"f")["mode"] == 0o100644
    assert w.call("write", fd, b"abc", 3) == 3
    assert w.call("open", b"f", O_RDWR | O_CREAT | O_EXCL, 0o666) == -EEXIST
    assert w.call("open", b"f", O_RDONLY, 0) == 4
    assert w.call("open", b"f", O_WRONLY | O_TRUNC, 0) == 5
    assert w.fstat(fd)["size"] == 0
    assert w.call("open", b"none", O_RDONLY, 0) == -ENOENT
    assert w.call("open", b"none/f", O_RDWR | O_CREAT, 0o666) == -ENOENT
    assert w.call("open", b"f/g", O_RDWR | O_CREAT, 0o666) == -ENOTDIR


@CASES("openat")
def openat_starts_at_its_directory(w: World) -> None:
    w.directory(b"d")
    w.file(b"d/f", b"abc")
    directory = w.open(b"d", O_DIRECTORY)
    file = w.call("openat", directory, b"f", O_RDONLY, 0)
    assert file == directory + 1
    assert w.call("read", file, bytearray(3), 3) == 3
    assert w.call("openat", file, b"f", O_RDONLY, 0) == -ENOTDIR
    assert w.call("openat", 77, b"f", O_RDONLY, 0) == -EBADF
    assert w.call("openat", 77, b"/", O_RDONLY, 0) > 0
    assert w.call("openat", 77, b"", O_RDONLY, 0) == -ENOENT
    assert w.call("openat", AT_FDCWD, b"", O_RDONLY, 0) == -ENOENT
    assert w.call("openat", AT_FDCWD, BAD, O_RDONLY, 0) == -EFAULT
    assert w.call("openat", AT_FDCWD, None, O_RDONLY, 0) == -EFAULT
    assert w.call("openat", AT_FDCWD, b"a" * 256, O_RDONLY, 0) == -ENAMETOOLONG
    assert w.call("openat", AT_FDCWD, b"./" * 2048 + b"d", O_RDONLY, 0) == -ENAMETOOLONG
    assert w.call("openat", AT_FDCWD, b"./" * 2040 + b"d", O_RDONLY, 0) > 0


@CASES("openat")
def what_may_be_opened_how(w: World) -> None:
    w.directory(b"d")
    w.file(b"f", b"abc")
    assert w.call("symlinkat", b"f", AT_FDCWD, b"l") == 0
    assert w.call("symlinkat", b"loop", AT_FDCWD, b"loop") == 0
    table = [
        (b"d", O_WRONLY, -EISDIR),
        (b"d", O_RDWR, -EISDIR),
        (b"d", O_RDONLY | O_CREAT, -EISDIR),
        (b"d", O_RDONLY | O_CREAT | O_EXCL, -EEXIST),
        (b"new/", O_RDWR | O_CREAT, -EISDIR),
        (b"f/", O_RDONLY, -ENOTDIR),
        (b"f", O_RDONLY | O_DIRECTORY, -ENOTDIR),
        (b"d", O_CREAT | O_DIRECTORY, -EINVAL),
        (b"l", O_RDONLY | O_NOFOLLOW, -ELOOP),
        (b"l", O_RDONLY | O_DIRECTORY, -ENOTDIR),
        (b"l", O_RDWR | O_CREAT | O_EXCL, -EEXIST),
        (b"loop", O_RDONLY, -ELOOP),
        (b"loop", O_RDONLY | O_CREAT, -ELOOP),
        (b"none", O_RDONLY | O_TRUNC, -ENOENT),
    ]
    for path, flags, expected in table:
        assert w.open(path, flags) == expected, (path, flags)
    for path, flags in [
        (b"d", O_RDONLY),
        (b"d/", O_RDONLY),
        (b"l", O_RDWR),
        (b"l", O_PATH | O_NOFOLLOW),
        (b".", O_PATH),
    ]:
        fd = w.open(path, flags)
        assert fd == 3, (path, flags)
        assert w.call("close", fd) == 0


@CASES("openat")
def a_dangling_link_creates_its_target(w: World) -> None:
    assert w.call("symlinkat", b"target", AT_FDCWD, b"l") == 0
    assert w.open(b"l") == -ENOENT
    assert w.open(b"l", O_RDWR | O_CREAT) == 3
    assert w.stat(b"target", follow=False)["mode"] == 0o100644


@CASES("openat")
def a_full_table_fails_before_anything_is_made(w: World) -> None:
    assert w.call("prlimit64", 0, RLIMIT_NOFILE, struct.pack("<QQ", 5, 5), None) == 0
    assert w.open(b".") == 3
    assert w.open(b".") == 4
    assert w.open(b"f", O_RDWR | O_CREAT) == -EMFILE
    assert w.open(b"none") == -EMFILE
    assert w.open(b"") == -ENOENT
    assert w.stat(b"f") == {"error": -ENOENT}
    assert w.call("pipe2", bytearray(8), 0) == -EMFILE
    assert w.call("close", 4) == 0
    assert w.call("pipe2", bytearray(8), 0) == -EMFILE
    assert w.open(b".") == 4, "a pipe that did not fit leaves no end behind"


@CASES("openat")
def the_umask_and_the_mode(w: World) -> None:
    assert w.call("umask", 0o027) == 0o022
    assert w.open(b"a", O_RDWR | O_CREAT, 0o777) == 3
    assert w.stat(b"a")["mode"] == 0o100750
    assert w.open(b"b", O_RDWR | O_CREAT, 0o107666) == 4
    assert w.stat(b"b")["mode"] == 0o107640
    assert w.open(b"a", O_RDWR | O_CREAT, 0o000) == 5
    assert w.stat(b"a")["mode"] == 0o100750


@CASES("openat", root=True)
def permissions_count_for_ordinary_users(w: World) -> None:
    w.directory(b"closed", 0o700)
    w.directory(b"open", 0o777)
    w.file(b"closed/f", b"x", 0o666)
    w.file(b"secret", b"x", 0o600)
    w.file(b"readable", b"x", 0o644)
    assert w.call("fchmodat", AT_FDCWD, b"open", 0o777) == 0
    w.become(1000, 1000)
    assert w.open(b"closed/f") == -EACCES
    assert w.open(b"closed/none") == -EACCES
    assert w.open(b"secret") == -EACCES
    assert w.open(b"secret", O_PATH) > 0
    assert w.open(b"readable") > 0
    assert w.open(b"readable", O_WRONLY) == -EACCES
    assert w.open(b"readable", O_RDONLY | O_TRUNC) == -EACCES
    assert w.open(b"readable", O_RDONLY | O_NOATIME) == -EPERM
    assert w.open(b"new", O_RDWR | O_CREAT) == -EACCES
    fd = w.open(b"open/new", O_RDWR | O_CREAT, 0o400)
    assert fd > 0
    assert (w.fstat(fd)["uid"], w.fstat(fd)["gid"]) == (1000, 1000)
    assert w.open(b"open/new", O_RDWR) == -EACCES


@CASES("openat")
def files_without_a_name(w: World) -> None:
    fd = w.open(b".", O_TMPFILE | O_RDWR, 0o600)
    assert fd == 3
    assert w.call("write", fd, b"abc", 3) == 3
    assert w.fstat(fd)["nlink"] == 0
    assert w.open(b".", O_TMPFILE | O_RDONLY) == -EINVAL
    assert w.open(b".", (O_TMPFILE & ~O_DIRECTORY) | O_RDWR) == -EINVAL
    w.file(b"f")
    assert w.open(b"f", O_TMPFILE | O_RDWR) == -ENOTDIR
    assert w.call("symlinkat", b"none", AT_FDCWD, b"l") == 0
    assert w.open(b"l", O_TMPFILE | O_RDWR) == -ENOENT
    assert w.open(b"l", O_TMPFILE | O_RDWR | O_NOFOLLOW) == -ENOTDIR
    assert w.call("linkat", fd, b"", AT_FDCWD, b"named", 0x1000) == 0
    assert w.content(b"named") == b"abc"


@CASES("openat")
def flags_are_remembered(w: World) -> None:
    large = O_LARGEFILE if w.word == 8 else 0
    fd = w.open(b"f", O_RDWR | O_CREAT | O_EXCL | O_TRUNC | O_APPEND | O_NONBLOCK | O_CLOEXEC)
    assert w.call("fcntl", fd, F_GETFL, 0) == open_flags(w.isa, O_RDWR | O_APPEND | O_NONBLOCK | large)
    assert w.call("fcntl", fd, F_GETFD, 0) == 1
    fd = w.open(b"f")
    assert w.call("fcntl", fd, F_GETFL, 0) == open_flags(w.isa, large)
    assert w.call("fcntl", fd, F_GETFD, 0) == 0
    fd = w.open(b".", O_PATH | O_DIRECTORY | O_RDWR | O_CLOEXEC)
    assert w.call("fcntl", fd, F_GETFL, 0) & ~open_flags(w.isa, O_DIRECTORY) == O_PATH


@CASES("openat", isas=("i386", "arm"))
def small_programs_do_not_open_large_files(w: World) -> None:
    fd = w.open(b"f", O_RDWR | O_CREAT | O_LARGEFILE)
    assert w.call("ftruncate64", fd, 1 << 31) == 0
    assert w.open(b"f") == -EOVERFLOW
    assert w.open(b"f", O_LARGEFILE) == fd + 1
    assert w.call("ftruncate64", fd, (1 << 31) - 1) == 0
    small = w.open(b"f", O_RDWR)
    assert small == fd + 2
    assert w.call("pwrite64", small, b"ab", 2, (1 << 31) - 2) == 1
    assert w.call("pwrite64", small, b"ab", 2, (1 << 31) - 1) == -EFBIG


@CASES("openat", host=False)
def opening_a_fifo_waits_for_the_other_side(w: GuestWorld) -> None:
    assert w.call("mknodat", AT_FDCWD, b"p", S_IFIFO | 0o600, 0) == 0
    assert w.open(b"p", O_WRONLY | O_NONBLOCK) == -ENXIO
    other = w.other()
    assert w.blocks("openat", AT_FDCWD, b"p", O_RDONLY, 0)
    writer = other.open(b"p", O_WRONLY)
    assert writer == 3
    assert w.again() == 3
    assert other.call("write", writer, b"abc", 3) == 3
    assert w.call("read", 3, bytearray(3), 3) == 3


@CASES("creat")
def creat_truncates(w: World) -> None:
    w.file(b"f", b"abc")
    fd = w.call("creat", b"f", 0o600)
    assert fd == 3
    assert w.fstat(fd)["size"] == 0
    assert w.call("read", fd, bytearray(1), 1) == -EBADF
    assert w.call("creat", b".", 0o600) == -EISDIR
    assert w.call("creat", BAD, 0o600) == -EFAULT


# -- openat2 -----------------------------------------------------------------------------------------------


@CASES("openat2")
def openat2_checks_everything(w: World) -> None:
    w.file(b"f", b"abc")
    assert w.call("openat2", AT_FDCWD, b"f", how(w, O_RDONLY), 24) == 3
    assert w.call("openat2", AT_FDCWD, b"g", how(w, O_RDWR | O_CREAT, 0o600), 24) == 4
    table = [
        (how(w, O_RDONLY), 23, -EINVAL),
        (how(w, O_RDONLY) + bytes(8), 32, 5),
        (how(w, O_RDONLY) + b"\1" + bytes(7), 32, -E2BIG),
        (how(w, O_RDONLY), 4097, -E2BIG),
        (how(w, 1 << 30), 24, -EINVAL),
        (how(w, O_RDONLY, 0o600), 24, -EINVAL),
        (how(w, O_RDWR | O_CREAT, 0o10000), 24, -EINVAL),
        (how(w, O_RDONLY, 0, 0x40), 24, -EINVAL),
        (how(w, O_PATH | O_RDWR), 24, -EINVAL),
        (struct.pack("<QQQ", 1 << 40, 0, 0), 24, -EINVAL),
        (how(w, O_RDONLY, 0, 0x18), 24, -EINVAL),
    ]
    for data, size, expected in table:
        assert w.call("openat2", AT_FDCWD, b"f", data, size) == expected, (data, size)
    assert w.call("openat2", AT_FDCWD, b"f", BAD, 24) == -EFAULT
    assert w.call("openat2", 77, b"f", how(w, O_RDONLY), 24) == -EBADF


@CASES("openat2")
def openat2_restricts_the_walk(w: World) -> None:
    beneath, in_root, no_links, no_magic = 8, 0x10, 4, 2
    w.directory(b"d")
    w.directory(b"d/e")
    w.file(b"outside", b"o")
    w.file(b"d/f", b"abc")
    for target, name in [(b"f", b"d/l"), (b"../outside", b"d/out"), (b"/f", b"d/abs"), (b"e/../f", b"d/round")]:
        assert w.call("symlinkat", target, AT_FDCWD, name) == 0
    directory = w.open(b"d", O_PATH)
    table = [
        (b"f", beneath, 0),
        (b"e/../f", beneath, 0),
        (b"round", beneath, 0),
        (b"../outside", beneath, -EXDEV),
        (b"out", beneath, -EXDEV),
        (b"abs", beneath, -EXDEV),
        (b"/", beneath, -EXDEV),
        (b"none", beneath, -ENOENT),
        (b"l", no_links, -ELOOP),
        (b"f", no_links, 0),
        (b"abs", in_root, 0),
        (b"/f", in_root, 0),
        (b"../../f", in_root, 0),
        (b"out", in_root, -ENOENT),
        (b"l", no_magic, 0),
        (b"f", 1, 0),
    ]
    for path, resolve, expected in table:
        fd = w.call("openat2", directory, path, how(w, O_RDONLY, 0, resolve), 24)
        assert min(fd, 0) == expected, (path, resolve, fd)
        if fd > 0:
            w.call("close", fd)


@CASES("openat2", host=False)
def openat2_from_the_cache_always_says_try_again(w: GuestWorld) -> None:
    w.file(b"f", b"abc")
    assert w.call("openat2", AT_FDCWD, b"f", how(w, O_RDONLY, 0, 0x20), 24) == -EAGAIN


# -- close -------------------------------------------------------------------------------------------------


@CASES("close")
def closing_frees_the_lowest_number(w: World) -> None:
    a, b = w.open(b"."), w.open(b".")
    assert (a, b) == (3, 4)
    assert w.call("close", a) == 0
    assert w.call("close", a) == -EBADF
    assert w.call("close", -1) == -EBADF
    assert w.open(b".") == a
    reader, writer = w.pipe()
    assert w.call("close", writer) == 0
    assert w.call("read", reader, bytearray(1), 1) == 0


@CASES("openat", "truncate", host=False)
def a_program_that_runs_is_not_written(w: GuestWorld) -> None:
    w.file(b"program", b"code", 0o755)
    w.task.process.executable_place = namespace(w.task).find(w.task.fs.cwd, b"program")
    for flags in (O_WRONLY, O_RDWR, O_WRONLY | O_TRUNC, O_RDONLY | O_TRUNC):
        assert w.open(b"program", flags) == -ETXTBSY
    assert w.call("truncate", b"program", 0) == -ETXTBSY
    assert w.stat(b"program")["size"] == 4
    assert w.open(b"program", O_RDONLY) >= 0
    w.task.process.executable_place = None
    assert w.open(b"program", O_WRONLY) >= 0


@CASES("execve", host=False)
def what_is_being_written_does_not_run(w: GuestWorld) -> None:
    w.file(b"program", b"code", 0o755)
    fd = w.open(b"program", O_WRONLY)
    other = w.call("dup", fd)
    nothing = w.words(0)
    for last in (fd, other):
        assert w.call("execve", b"program", nothing, nothing) == -ETXTBSY
        w.call("close", last)
    assert w.call("execve", b"program", nothing, nothing) == -ENOEXEC
    fd = w.open(b"program", O_RDONLY)
    assert w.call("execve", b"program", nothing, nothing) == -ENOEXEC


@CASES("close_range")
def close_range_closes_or_marks(w: World) -> None:
    assert [w.open(b".") for _ in range(5)] == [3, 4, 5, 6, 7]
    assert w.call("close_range", 4, 5, 0) == 0
    assert w.call("close_range", 6, 0xFFFFFFFF, CLOSE_RANGE_CLOEXEC) == 0
    assert [w.call("fcntl", fd, F_GETFD, 0) for fd in range(3, 8)] == [0, -EBADF, -EBADF, 1, 1]
    assert w.call("close_range", 5, 4, 0) == -EINVAL
    assert w.call("close_range", 4, 5, 1) == -EINVAL
    assert w.call("close_range", 3, 0xFFFFFFFF, 0) == 0
    assert w.open(b".") == 3


@CASES("close_range", host=False)
def close_range_can_take_the_table_for_itself(w: GuestWorld) -> None:
    thread = w.other(share_files=True)
    assert w.open(b".") == 3
    assert thread.call("fcntl", 3, F_GETFD, 0) == 0
    assert w.call("close_range", 3, 3, 2) == 0
    assert w.call("fcntl", 3, F_GETFD, 0) == -EBADF
    assert thread.call("fcntl", 3, F_GETFD, 0) == 0


test_guest, test_host, test_proof = CASES.tests()


@pytest.mark.parametrize("isa", list(NUMBERS))
def test_a_failing_copy_leaves_no_descriptor(isa: str) -> None:
    with guest(isa) as w:
        assert w.call("pipe2", BAD, 0) == -EFAULT
        assert w.open(b".") == 3
        assert w.machine.file_budget.used == 4
