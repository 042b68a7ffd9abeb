"""chmod, chown, umask, access and the calls that set times."""

from __future__ import annotations

import struct

from sandbox.abi.errno import (
    EACCES,
    EBADF,
    EFAULT,
    EINVAL,
    ENOENT,
    ENOTDIR,
    EOPNOTSUPP,
    EPERM,
)
from sandbox.abi.flags import (
    AT_EACCESS,
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_SYMLINK_NOFOLLOW,
    O_PATH,
    R_OK,
    S_IFREG,
    UTIME_NOW,
    UTIME_OMIT,
    W_OK,
    X_OK,
)
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD, GuestWorld

CASES = Cases()
UNCHANGED = 0xFFFFFFFF
SECOND = 1_000_000_000


# -- permission bits ---------------------------------------------------------------------------------------


@CASES("chmod", "fchmod")
def changing_the_mode(w: World) -> None:
    w.file(b"f", b"0123456789")
    assert w.call("symlinkat", b"f", AT_FDCWD, b"l") == 0
    assert w.call("chmod", b"l", 0o107751) == 0
    assert w.stat(b"f")["mode"] == S_IFREG | 0o7751
    fd = w.open(b"f")
    assert w.call("fchmod", fd, 0o600) == 0
    assert w.stat(b"f")["mode"] == S_IFREG | 0o600
    assert w.call("fchmod", w.open(b"f", O_PATH), 0o600) == -EBADF
    assert w.call("fchmod", 77, 0o600) == -EBADF
    assert w.call("chmod", b"none", 0o600) == -ENOENT
    assert w.call("chmod", BAD, 0o600) == -EFAULT


@CASES("fchmod")
def changing_the_mode_by_descriptor(w: World) -> None:
    w.file(b"f")
    assert w.call("fchmod", w.open(b"f"), 0o604) == 0
    assert w.stat(b"f")["mode"] == S_IFREG | 0o604


@CASES("fchmodat", "fchmodat2")
def changing_the_mode_at(w: World) -> None:
    w.file(b"f", b"0123456789")
    assert w.call("symlinkat", b"f", AT_FDCWD, b"l") == 0
    fd = w.open(b"f")
    assert w.call("fchmodat", AT_FDCWD, b"l", 0o604) == 0
    assert w.stat(b"f")["mode"] == S_IFREG | 0o604
    assert w.call("fchmodat2", AT_FDCWD, b"f", 0o606, AT_SYMLINK_NOFOLLOW) == 0
    assert w.call("fchmodat2", AT_FDCWD, b"l", 0o606, AT_SYMLINK_NOFOLLOW) == -EOPNOTSUPP
    assert w.call("fchmodat2", w.open(b"f", O_PATH), b"", 0o611, AT_EMPTY_PATH) == 0
    assert w.stat(b"f")["mode"] == S_IFREG | 0o611
    assert w.call("fchmodat2", fd, b"", 0o611, 0) == -ENOENT
    assert w.call("fchmodat2", fd, b"", 0o611, 1) == -EINVAL
    assert w.call("fchmodat", 77, b"f", 0o600) == -EBADF
    assert w.call("fchmodat", fd, b"f", 0o600) == -ENOTDIR


@CASES("fchmodat", "fchownat", root=True)
def only_owners_change_attributes(w: World) -> None:
    w.file(b"theirs", b"", 0o666)
    w.file(b"mine", b"", 0o600)
    w.file(b"set", b"", 0o600)
    assert w.call("fchownat", AT_FDCWD, b"mine", 1000, 2000, 0) == 0
    assert w.call("fchmodat", AT_FDCWD, b"set", 0o6755) == 0
    assert w.call("fchownat", AT_FDCWD, b"set", 1000, 1000, 0) == 0
    assert w.stat(b"set")["mode"] == S_IFREG | 0o755, "set-id bits go, even for the superuser"
    w.become(1000, 1000)
    assert w.call("fchmodat", AT_FDCWD, b"theirs", 0o600) == -EPERM
    assert w.call("fchownat", AT_FDCWD, b"theirs", 1000, UNCHANGED, 0) == -EPERM
    assert w.call("fchownat", AT_FDCWD, b"mine", 1001, UNCHANGED, 0) == -EPERM
    assert w.call("fchownat", AT_FDCWD, b"mine", UNCHANGED, 3000, 0) == -EPERM
    assert w.call("fchmodat", AT_FDCWD, b"mine", 0o2755) == 0
    assert w.stat(b"mine")["mode"] == S_IFREG | 0o755, "not in the file's group: no set-group-id"
    assert w.call("fchownat", AT_FDCWD, b"mine", 1000, 1000, 0) == 0
    assert w.call("fchmodat", AT_FDCWD, b"mine", 0o6755) == 0
    assert w.call("fchownat", AT_FDCWD, b"mine", UNCHANGED, UNCHANGED, 0) == 0
    assert w.stat(b"mine")["mode"] == S_IFREG | 0o755
    assert (w.stat(b"mine")["uid"], w.stat(b"mine")["gid"]) == (1000, 1000)


@CASES("umask")
def the_umask(w: World) -> None:
    assert w.call("umask", 0o107077) == 0o022
    assert w.call("umask", 0) == 0o077
    w.file(b"f", b"", 0o777)
    assert w.stat(b"f")["mode"] == S_IFREG | 0o777


# -- owners ------------------------------------------------------------------------------------------------


@CASES("chown", "lchown", "fchown", root=True)
def changing_the_owner(w: World) -> None:
    w.file(b"f", b"0123456789")
    assert w.call("symlinkat", b"f", AT_FDCWD, b"l") == 0
    fd = w.open(b"f")

    def owner(path: bytes) -> tuple[int, int]:
        found = w.stat(path, follow=False)
        return found["uid"], found["gid"]

    assert w.call("chown", b"l", 10, 20) == 0
    assert (owner(b"f"), owner(b"l")) == ((10, 20), (0, 0))
    assert w.call("lchown", b"l", 11, UNCHANGED) == 0
    assert (owner(b"f"), owner(b"l")) == ((10, 20), (11, 0))
    assert w.call("fchown", fd, UNCHANGED, 21) == 0
    assert owner(b"f") == (10, 21)
    assert w.call("fchown", w.open(b"f", O_PATH), 1, 1) == -EBADF
    assert w.call("fchown", 77, 1, 1) == -EBADF
    assert w.call("chown", b"none", 1, 1) == -ENOENT
    assert w.call("chown", BAD, 1, 1) == -EFAULT


@CASES("fchown", root=True)
def changing_the_owner_by_descriptor(w: World) -> None:
    w.file(b"f")
    assert w.call("fchown", w.open(b"f"), 5, 6) == 0
    assert (w.stat(b"f")["uid"], w.stat(b"f")["gid"]) == (5, 6)
    assert w.call("fchown", 77, 5, 6) == -EBADF


@CASES("chown", "chown32", "lchown32", "fchown32")
def ids_of_16_and_of_32_bits(w: World) -> None:
    w.file(b"f")
    assert w.call("symlinkat", b"f", AT_FDCWD, b"l") == 0
    assert w.call("chown32", b"l", 70000, 70001) == 0
    assert w.call("lchown32", b"l", 70002, 70003) == 0
    assert w.call("fchown32", w.open(b"f"), UNCHANGED, 70005) == 0
    assert (w.stat(b"f")["uid"], w.stat(b"f")["gid"]) == (70000, 70005)
    assert (w.stat(b"l", False)["uid"], w.stat(b"l", False)["gid"]) == (70002, 70003)
    assert w.call("chown", b"f", 0xFFFF, 7) == 0
    assert (w.stat(b"f")["uid"], w.stat(b"f")["gid"]) == (70000, 7)


@CASES("fchownat", root=True)
def changing_the_owner_at(w: World) -> None:
    w.file(b"f", b"0123456789")
    assert w.call("symlinkat", b"f", AT_FDCWD, b"l") == 0
    assert w.call("fchownat", AT_FDCWD, b"l", 5, 6, AT_SYMLINK_NOFOLLOW) == 0
    assert w.stat(b"l", follow=False)["uid"] == 5
    assert w.call("fchownat", w.open(b"f", O_PATH), b"", 7, 8, AT_EMPTY_PATH) == 0
    assert (w.stat(b"f")["uid"], w.stat(b"f")["gid"]) == (7, 8)
    assert w.call("fchownat", AT_FDCWD, b"f", 1, 1, 1) == -EINVAL
    assert w.call("fchownat", 77, b"f", 1, 1, 0) == -EBADF


# -- access ------------------------------------------------------------------------------------------------


@CASES("access", root=True)
def access_by_the_real_user(w: World) -> None:
    w.file(b"plain", b"", 0o600)
    w.file(b"program", b"", 0o711)
    w.file(b"shown", b"", 0o644)
    assert w.call("access", b"plain", R_OK | W_OK) == 0
    assert w.call("access", b"plain", X_OK) == -EACCES, "not even the superuser executes what nobody may"
    assert w.call("access", b"program", X_OK) == 0
    assert w.call("access", b".", R_OK | W_OK | X_OK) == 0
    assert w.call("access", b"none", 0) == -ENOENT
    assert w.call("access", b"plain/x", 0) == -ENOTDIR
    assert w.call("access", b"plain", 8) == -EINVAL
    assert w.call("access", BAD, 0) == -EFAULT
    w.become(1000, 1000)
    assert w.call("access", b"plain", 0) == 0
    assert w.call("access", b"plain", R_OK) == -EACCES
    assert w.call("access", b"shown", R_OK) == 0
    assert w.call("access", b"shown", R_OK | W_OK) == -EACCES
    assert w.call("access", b"program", X_OK) == 0


@CASES("faccessat", "faccessat2", root=True)
def access_at_and_by_the_effective_user(w: World) -> None:
    w.directory(b"d")
    w.file(b"d/f", b"", 0o600)
    d = w.open(b"d", O_PATH)
    assert w.call("symlinkat", b"none", d, b"l") == 0
    assert w.call("faccessat", d, b"f", R_OK) == 0
    assert w.call("faccessat", 77, b"f", R_OK) == -EBADF
    assert w.call("faccessat", d, b"l", 0) == -ENOENT
    assert w.call("faccessat2", d, b"l", 0, AT_SYMLINK_NOFOLLOW) == 0
    assert w.call("faccessat2", w.open(b"d/f"), b"", R_OK, AT_EMPTY_PATH) == 0
    assert w.call("faccessat2", d, b"", R_OK, 0) == -ENOENT
    assert w.call("faccessat2", d, b"f", R_OK, 1) == -EINVAL
    if isinstance(w, GuestWorld):
        w.task.credentials.uid = w.task.credentials.gid = 1000
    else:
        assert w.call("setresuid", 1000, -1, -1) == 0
    assert w.call("faccessat", d, b"f", R_OK) == -EACCES
    assert w.call("faccessat2", d, b"f", R_OK, AT_EACCESS) == 0
    assert w.call("faccessat2", d, b"f", 0, 0) == 0


# -- times -------------------------------------------------------------------------------------------------


@CASES("utimensat", isas=("x86_64", "arm64", "riscv64"))
@CASES("utimensat_time64")
def times_in_nanoseconds(w: World) -> None:
    name = "utimensat" if w.word == 8 else "utimensat_time64"
    w.file(b"f")
    assert w.call("symlinkat", b"f", AT_FDCWD, b"l") == 0

    def times(*values: int) -> bytes:
        return struct.pack("<qqqq", *values)

    def both(path: bytes, follow: bool = True) -> tuple[int, int]:
        found = w.stat(path, follow)
        return found["atime"], found["mtime"]

    assert w.call(name, AT_FDCWD, b"l", times(1, 2, 5_000_000_000, 4), 0) == 0
    assert both(b"f") == (SECOND + 2, 5_000_000_000 * SECOND + 4)
    assert w.call(name, AT_FDCWD, b"f", times(9, UTIME_OMIT, 7, 0), 0) == 0
    assert both(b"f") == (SECOND + 2, 7 * SECOND)
    assert w.call(name, AT_FDCWD, b"f", times(9, UTIME_OMIT, 9, UTIME_NOW), 0) == 0
    assert both(b"f")[0] == SECOND + 2
    assert both(b"f")[1] > 1_000_000 * SECOND
    assert w.call(name, AT_FDCWD, b"l", times(3, 0, 4, 0), AT_SYMLINK_NOFOLLOW) == 0
    assert both(b"l", follow=False) == (3 * SECOND, 4 * SECOND)
    assert w.call(name, AT_FDCWD, b"none", times(0, UTIME_OMIT, 0, UTIME_OMIT), 0) == 0
    assert w.call(name, AT_FDCWD, b"none", times(0, 0, 0, 0), 0) == -ENOENT
    assert w.call(name, AT_FDCWD, b"f", times(0, SECOND, 0, 0), 0) == -EINVAL
    assert w.call(name, AT_FDCWD, b"f", times(0, 0, 0, 0), 1) == -EINVAL
    fd = w.open(b"f")
    assert w.call(name, fd, None, times(6, 0, 8, 0), 0) == 0
    assert both(b"f") == (6 * SECOND, 8 * SECOND)
    assert w.call(name, fd, None, times(6, 0, 8, 0), AT_SYMLINK_NOFOLLOW) == -EINVAL
    assert w.call(name, fd, b"", times(10, 0, 11, 0), AT_EMPTY_PATH) == 0
    assert both(b"f") == (10 * SECOND, 11 * SECOND)
    assert w.call(name, AT_FDCWD, None, None, 0) == -EFAULT
    assert w.call(name, 77, None, None, 0) == -EBADF
    assert w.call(name, 77, b"f", None, 0) == -EBADF
    assert w.call(name, AT_FDCWD, b"f", BAD, 0) == -EFAULT
    assert w.call(name, AT_FDCWD, b"f", None, 0) == 0
    assert min(both(b"f")) > 1_000_000 * SECOND


@CASES("utimensat", isas=("i386", "arm"))
def times_in_32_bits(w: World) -> None:
    w.file(b"f")
    assert w.call("utimensat", AT_FDCWD, b"f", struct.pack("<iiii", -5, 2, 3, 4), 0) == 0
    found = w.stat(b"f")
    assert (found["atime"], found["mtime"]) == (-5 * SECOND + 2, 3 * SECOND + 4)


@CASES("utimensat_time64", isas=("i386", "arm"))
def the_upper_half_of_nanoseconds_is_padding(w: World) -> None:
    w.file(b"f")
    assert w.call("utimensat_time64", AT_FDCWD, b"f", struct.pack("<qqqq", 5, 2 | 7 << 32, 3, 4), 0) == 0
    assert w.stat(b"f")["atime"] == 5 * SECOND + 2


@CASES("utimes", "utime")
def times_in_microseconds_and_seconds(w: World) -> None:
    w.file(b"f")
    assert w.call("utimes", b"f", w.words(1, 2, 3, 999_999)) == 0
    found = w.stat(b"f")
    assert (found["atime"], found["mtime"]) == (SECOND + 2000, 3 * SECOND + 999_999_000)
    assert w.call("utimes", b"f", w.words(1, 1_000_000, 3, 4)) == -EINVAL
    assert w.call("utimes", b"f", w.words(1, -1, 3, 4)) == -EINVAL
    assert w.call("utimes", b"none", w.words(1, 0, 3, 4)) == -ENOENT
    assert w.call("utimes", b"f", BAD) == -EFAULT
    assert w.call("utime", b"f", w.words(11, 12)) == 0
    found = w.stat(b"f")
    assert (found["atime"], found["mtime"]) == (11 * SECOND, 12 * SECOND)
    assert w.call("utime", b"f", None) == 0
    assert w.stat(b"f")["mtime"] > 1_000_000 * SECOND
    assert w.call("utime", b"none", None) == -ENOENT
    assert w.call("utime", b"f", BAD) == -EFAULT


@CASES("utimes", "futimesat", isas=("x86_64", "i386", "arm"))
def times_at_in_microseconds(w: World) -> None:
    w.directory(b"d")
    w.file(b"d/f")
    d, fd = w.open(b"d", O_PATH), w.open(b"d/f")
    assert w.call("futimesat", d, b"f", w.words(1, 0, 2, 0)) == 0
    assert w.stat(b"d/f")["mtime"] == 2 * SECOND
    assert w.call("futimesat", fd, None, w.words(3, 0, 4, 0)) == 0
    assert w.stat(b"d/f")["mtime"] == 4 * SECOND
    assert w.call("futimesat", 77, b"f", None) == -EBADF
    assert w.call("utimes", b"d/f", w.words(5, 0, 6, 0)) == 0
    assert w.stat(b"d/f")["mtime"] == 6 * SECOND


@CASES("utimensat", root=True)
def times_need_ownership_or_write_permission(w: World) -> None:
    w.file(b"writable")
    w.file(b"readable", b"", 0o644)
    assert w.call("fchmodat", AT_FDCWD, b"writable", 0o666) == 0
    w.become(1000, 1000)
    stamp = w.words(1, 0, 2, 0)
    now = w.words(0, UTIME_NOW, 0, UTIME_NOW)
    partly = w.words(0, UTIME_NOW, 0, UTIME_OMIT)
    assert w.call("utimensat", AT_FDCWD, b"writable", None, 0) == 0
    assert w.call("utimensat", AT_FDCWD, b"writable", now, 0) == 0
    assert w.call("utimensat", AT_FDCWD, b"writable", partly, 0) == -EPERM
    assert w.call("utimensat", AT_FDCWD, b"writable", stamp, 0) == -EPERM
    assert w.call("utimensat", AT_FDCWD, b"readable", None, 0) == -EACCES
    assert w.call("utimensat", AT_FDCWD, b"readable", stamp, 0) == -EPERM


test_guest, test_host, test_proof = CASES.tests()
