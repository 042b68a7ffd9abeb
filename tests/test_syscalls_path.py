"""Names: mkdir, rmdir, link, unlink, symlink, readlink, rename, mknod."""

from __future__ import annotations

from sandbox.abi.errno import (
    EACCES,
    EBADF,
    EBUSY,
    EEXIST,
    EFAULT,
    EINVAL,
    EISDIR,
    ELOOP,
    ENAMETOOLONG,
    ENOENT,
    ENOTDIR,
    ENOTEMPTY,
    EPERM,
)
from sandbox.abi.flags import (
    AT_FDCWD,
    AT_REMOVEDIR,
    AT_SYMLINK_FOLLOW,
    O_DIRECTORY,
    O_NOFOLLOW,
    O_PATH,
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFIFO,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    S_IFSOCK,
)
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD, GuestWorld

CASES = Cases()


def kind(w: World, path: bytes) -> int:
    found = w.stat(path, follow=False)
    return found["error"] if "error" in found else found["mode"] & S_IFMT


# -- making and removing directories -----------------------------------------------------------------------


@CASES("mkdir", "rmdir")
def directories_by_path(w: World) -> None:
    assert w.call("mkdir", b"d", 0o7777) == 0
    assert w.stat(b"d")["mode"] == S_IFDIR | 0o1755
    assert w.stat(b"d")["nlink"] == 2
    assert w.call("mkdir", b"d/e/", 0o700) == 0
    assert w.stat(b"d")["nlink"] == 3
    assert w.call("mkdir", b"d", 0o700) == -EEXIST
    assert w.call("mkdir", b".", 0o700) == -EEXIST
    assert w.call("mkdir", b"d/.", 0o700) == -EEXIST
    assert w.call("mkdir", b"none/d", 0o700) == -ENOENT
    assert w.call("mkdir", b"", 0o700) == -ENOENT
    assert w.call("mkdir", BAD, 0o700) == -EFAULT
    assert w.call("mkdir", b"n" * 256, 0o700) == -ENAMETOOLONG
    assert w.call("rmdir", b"d") == -ENOTEMPTY
    assert w.call("rmdir", b"d/e/.") == -EINVAL
    assert w.call("rmdir", b"d/e/..") == -ENOTEMPTY
    assert w.call("rmdir", b"d/e/") == 0
    assert w.call("rmdir", b"d") == 0
    assert w.call("rmdir", b"d") == -ENOENT
    w.file(b"f")
    assert w.call("rmdir", b"f") == -ENOTDIR
    assert w.call("rmdir", b"f/") == -ENOTDIR
    assert w.call("rmdir", b"/") == -EBUSY
    assert w.call("rmdir", BAD) == -EFAULT


@CASES("mkdirat", "unlinkat")
def directories_at(w: World) -> None:
    assert w.call("mkdirat", AT_FDCWD, b"d", 0o700) == 0
    d = w.open(b"d", O_DIRECTORY)
    assert w.call("mkdirat", d, b"e", 0o700) == 0
    assert kind(w, b"d/e") == S_IFDIR
    assert w.call("mkdirat", 77, b"e", 0o700) == -EBADF
    w.file(b"f")
    assert w.call("mkdirat", w.open(b"f"), b"e", 0o700) == -ENOTDIR
    assert w.call("unlinkat", d, b"e", 0) == -EISDIR
    assert w.call("unlinkat", d, b"e", AT_REMOVEDIR | 1) == -EINVAL
    assert w.call("unlinkat", AT_FDCWD, b"f", AT_REMOVEDIR) == -ENOTDIR
    assert w.call("unlinkat", d, b"e", AT_REMOVEDIR) == 0
    assert w.call("unlinkat", AT_FDCWD, b"f", 0) == 0
    assert w.call("unlinkat", AT_FDCWD, b"f", 0) == -ENOENT
    assert w.call("unlinkat", 77, b"f", 0) == -EBADF
    assert w.call("unlinkat", AT_FDCWD, b"", 0) == -ENOENT
    assert w.call("unlinkat", AT_FDCWD, BAD, 0) == -EFAULT
    assert w.call("unlinkat", AT_FDCWD, b"d", AT_REMOVEDIR) == 0
    assert w.call("mkdirat", d, b"e", 0o700) == -ENOENT, "a removed directory takes nothing"


@CASES("unlink")
def unlinking(w: World) -> None:
    w.file(b"f", b"abc")
    fd = w.open(b"f")
    assert w.call("unlink", b"f") == 0
    assert w.stat(b"f") == {"error": -ENOENT}
    assert w.fstat(fd)["nlink"] == 0
    assert w.call("read", fd, bytearray(3), 3) == 3
    w.directory(b"d")
    w.file(b"g")
    assert w.call("unlink", b"d") == -EISDIR
    assert w.call("unlink", b"d/") == -EISDIR
    assert w.call("unlink", b"g/") == -ENOTDIR
    assert w.call("unlink", b"none/") == -ENOENT
    assert w.call("unlink", b".") == -EISDIR
    assert w.call("unlink", b"g/x") == -ENOTDIR
    assert w.call("unlink", BAD) == -EFAULT


@CASES("unlinkat", "mkdirat", root=True)
def directories_guard_their_names(w: World) -> None:
    w.directory(b"closed", 0o755)
    w.file(b"closed/f", b"", 0o666)
    w.directory(b"sticky")
    assert w.call("fchmodat", AT_FDCWD, b"sticky", 0o1777) == 0
    w.file(b"sticky/f", b"", 0o666)
    w.become(1000, 1000)
    assert w.call("unlinkat", AT_FDCWD, b"closed/f", 0) == -EACCES
    assert w.call("unlinkat", AT_FDCWD, b"sticky/f", 0) == -EPERM
    assert w.call("renameat2", AT_FDCWD, b"sticky/f", AT_FDCWD, b"sticky/g", 0) == -EPERM
    assert w.call("mkdirat", AT_FDCWD, b"closed/d", 0o755) == -EACCES
    assert w.call("mkdirat", AT_FDCWD, b"sticky/d", 0o755) == 0
    assert w.stat(b"sticky/d")["uid"] == 1000
    assert w.call("unlinkat", AT_FDCWD, b"sticky/d", AT_REMOVEDIR) == 0


# -- links -------------------------------------------------------------------------------------------------


@CASES("link")
def hard_links(w: World) -> None:
    w.file(b"f", b"abc")
    assert w.call("link", b"f", b"g") == 0
    assert w.stat(b"g")["ino"] == w.stat(b"f")["ino"]
    assert w.stat(b"f")["nlink"] == 2
    w.directory(b"d")
    assert w.call("link", b"f", b"g") == -EEXIST
    assert w.call("link", b"d", b"e") == -EPERM
    assert w.call("link", b"none", b"g") == -ENOENT
    assert w.call("link", b"none", b"h") == -ENOENT
    assert w.call("link", b"f", b"h/") == -ENOENT
    assert w.call("link", b"f/", b"h") == -ENOTDIR
    assert w.call("link", b"f", b"") == -ENOENT
    assert w.call("link", b"f", BAD) == -EFAULT
    assert w.call("link", BAD, b"h") == -EFAULT


@CASES("linkat")
def hard_links_at(w: World) -> None:
    w.directory(b"d")
    w.file(b"d/f", b"abc")
    d = w.open(b"d", O_PATH)
    assert w.call("symlinkat", b"f", d, b"l") == 0
    assert w.call("linkat", d, b"f", AT_FDCWD, b"g", 0) == 0
    assert w.call("linkat", d, b"l", d, b"m", 0) == 0
    assert kind(w, b"d/m") == S_IFLNK
    assert w.call("linkat", d, b"l", d, b"n", AT_SYMLINK_FOLLOW) == 0
    assert kind(w, b"d/n") == S_IFREG
    assert w.call("linkat", d, b"f", d, b"x", 1) == -EINVAL
    assert w.call("linkat", 77, b"f", d, b"x", 0) == -EBADF
    assert w.call("linkat", d, b"f", 77, b"x", 0) == -EBADF
    assert w.call("linkat", d, b"", d, b"x", 0) == -ENOENT


@CASES("symlink", "readlink")
def symbolic_links(w: World) -> None:
    assert w.call("symlink", b"where/ever", b"l") == 0
    buffer = bytearray(b"." * 12)
    assert w.call("readlink", b"l", buffer, 12) == 10
    assert buffer == b"where/ever.."
    assert w.call("readlink", b"l", buffer, 3) == 3
    assert w.stat(b"l", follow=False)["size"] == 10
    assert w.call("readlink", b"l", buffer, 0) == -EINVAL
    assert w.call("readlink", b"l", buffer, -1) == -EINVAL
    assert w.call("readlink", b".", buffer, 12) == -EINVAL
    assert w.call("readlink", b"none", buffer, 12) == -ENOENT
    assert w.call("readlink", b"l", BAD, 12) == -EFAULT
    assert w.call("symlink", b"x", b"l") == -EEXIST
    assert w.call("symlink", b"", b"m") == -ENOENT
    assert w.call("symlink", b"x", b"") == -ENOENT
    assert w.call("symlink", b"x" * 4096, b"m") == -ENAMETOOLONG
    assert w.call("symlink", BAD, b"m") == -EFAULT
    assert w.call("symlink", b"x", b"m/") == -ENOENT


@CASES("symlinkat", "readlinkat")
def symbolic_links_at(w: World) -> None:
    w.directory(b"d")
    d = w.open(b"d", O_PATH)
    assert w.call("symlinkat", b"abc", d, b"l") == 0
    buffer = bytearray(4)
    assert w.call("readlinkat", d, b"l", buffer, 4) == 3
    assert buffer == b"abc\0"
    link = w.open(b"d/l", O_PATH | O_NOFOLLOW)
    assert w.call("readlinkat", link, b"", buffer, 4) == 3
    assert w.call("readlinkat", d, b"", buffer, 4) == -ENOENT
    assert w.call("readlinkat", 77, b"", buffer, 4) == -EBADF
    assert w.call("readlinkat", 77, b"l", buffer, 4) == -EBADF
    assert w.call("symlinkat", b"abc", 77, b"l") == -EBADF
    assert w.call("readlinkat", link, b"x", buffer, 4) == -ENOTDIR


@CASES("readlinkat", host=False)
def forty_links_and_no_more(w: GuestWorld) -> None:
    w.file(b"l0", b"abc")
    for number in range(1, 42):
        assert w.call("symlinkat", b"l%d" % (number - 1), AT_FDCWD, b"l%d" % number) == 0
    assert w.open(b"l40") > 0
    assert w.open(b"l41") == -ELOOP
    assert w.call("readlinkat", AT_FDCWD, b"l41", bytearray(9), 9) == 3


# -- renaming ----------------------------------------------------------------------------------------------


@CASES("rename")
def renaming(w: World) -> None:
    w.file(b"f", b"abc")
    w.file(b"g", b"xyz")
    w.directory(b"d")
    w.directory(b"e")
    w.directory(b"e/full")
    assert w.call("rename", b"f", b"g") == 0
    assert w.content(b"g") == b"abc"
    assert kind(w, b"f") == -ENOENT
    table = [
        (b"none", b"x", -ENOENT),
        (b"g", b"d", -EISDIR),
        (b"d", b"g", -ENOTDIR),
        (b"d", b"e", -ENOTEMPTY),
        (b"e", b"e/full/x", -EINVAL),
        (b"e", b"e", 0),
        (b"e/full", b"e", -ENOTEMPTY),
        (b"g", b"x/", -ENOTDIR),
        (b"g/", b"x", -ENOTDIR),
        (b"d", b"x/", 0),
        (b"x", b"d", 0),
        (b".", b"x", -EBUSY),
        (b"d", b".", -EBUSY),
        (b"d/.", b"x", -EBUSY),
        (b"", b"x", -ENOENT),
        (b"g", b"", -ENOENT),
        (b"g", b"none/x", -ENOENT),
        (b"e", b"d", 0),
    ]
    for old, new, expected in table:
        assert w.call("rename", old, new) == expected, (old, new)
    assert kind(w, b"d/full") == S_IFDIR
    assert w.call("rename", b"g", BAD) == -EFAULT
    assert w.call("link" if w.has("link") else "rename", b"g", b"h") == 0
    assert w.call("rename", b"g", b"h") == 0
    assert kind(w, b"g") == S_IFREG, "two names of one file: nothing happens"


@CASES("renameat")
def renaming_at(w: World) -> None:
    w.directory(b"d")
    w.file(b"f", b"abc")
    d = w.open(b"d", O_PATH)
    assert w.call("renameat", AT_FDCWD, b"f", d, b"g") == 0
    assert w.content(b"d/g") == b"abc"
    assert w.call("renameat", 77, b"f", d, b"g") == -EBADF
    assert w.call("renameat", d, b"g", 77, b"g") == -EBADF


@CASES("renameat2")
def renaming_with_flags(w: World) -> None:
    w.file(b"f", b"abc")
    w.file(b"g", b"xyz")
    w.directory(b"d")
    rename = "renameat2"
    assert w.call(rename, AT_FDCWD, b"f", AT_FDCWD, b"g", RENAME_NOREPLACE) == -EEXIST
    assert w.call(rename, AT_FDCWD, b"f", AT_FDCWD, b"h", RENAME_NOREPLACE) == 0
    assert w.call(rename, AT_FDCWD, b"h", AT_FDCWD, b"g", RENAME_EXCHANGE) == 0
    assert (w.content(b"g"), w.content(b"h")) == (b"abc", b"xyz")
    assert w.call(rename, AT_FDCWD, b"h", AT_FDCWD, b"d", RENAME_EXCHANGE) == 0
    assert (kind(w, b"h"), kind(w, b"d")) == (S_IFDIR, S_IFREG)
    assert w.call(rename, AT_FDCWD, b"h", AT_FDCWD, b"none", RENAME_EXCHANGE) == -ENOENT
    assert w.call(rename, AT_FDCWD, b"h", AT_FDCWD, b"g", 3) == -EINVAL
    assert w.call(rename, AT_FDCWD, b"h", AT_FDCWD, b"g", 8) == -EINVAL
    assert w.call(rename, AT_FDCWD, b"h", AT_FDCWD, b".", RENAME_NOREPLACE) == -EEXIST


@CASES("renameat2", "getcwd")
def a_renamed_directory_takes_its_inhabitants_along(w: World) -> None:
    w.directory(b"d")
    w.directory(b"d/e")
    start = bytearray(4096)
    length = w.call("getcwd", start, 4096)
    home = bytes(start[: length - 1])
    assert w.call("chdir", b"d/e") == 0
    assert w.call("renameat2", AT_FDCWD, b"../../d", AT_FDCWD, b"../../n", 0) == 0
    here = bytearray(4096)
    length = w.call("getcwd", here, 4096)
    assert here[:length] == home + b"/n/e\0"


# -- mknod -------------------------------------------------------------------------------------------------


@CASES("mknod", "mknodat", root=True)
def special_files(w: World) -> None:
    device = 0x12345
    for name, mode, expected in [
        (b"fifo", S_IFIFO | 0o666, S_IFIFO | 0o644),
        (b"char", S_IFCHR | 0o600, S_IFCHR | 0o600),
        (b"block", S_IFBLK | 0o600, S_IFBLK | 0o600),
        (b"socket", S_IFSOCK | 0o600, S_IFSOCK | 0o600),
        (b"file", S_IFREG | 0o600, S_IFREG | 0o600),
        (b"plain", 0o600, S_IFREG | 0o600),
    ]:
        assert w.call("mknod", name, mode, device) == 0, name
        assert w.stat(name)["mode"] == expected
        assert w.call("mknodat", AT_FDCWD, name, mode, device) == -EEXIST
        assert w.call("mknodat", AT_FDCWD, b"at-" + name, mode, device) == 0
    assert (w.stat(b"char")["rdev_major"], w.stat(b"char")["rdev_minor"]) == (0x123, 0x45)
    assert w.stat(b"fifo")["rdev_minor"] == 0
    assert w.call("mknod", b"d", S_IFDIR | 0o755, 0) == -EPERM
    assert w.call("mknod", b"l", S_IFLNK | 0o755, 0) == -EINVAL
    assert w.call("mknodat", 77, b"x", S_IFIFO, 0) == -EBADF
    assert w.call("mknodat", AT_FDCWD, BAD, S_IFIFO, 0) == -EFAULT
    assert w.call("fchmodat", AT_FDCWD, b".", 0o777) == 0
    w.become(1000, 1000)
    assert w.call("mknodat", AT_FDCWD, b"mine", S_IFCHR | 0o600, device) == -EPERM
    assert w.call("mknodat", AT_FDCWD, b"mine", S_IFIFO | 0o600, 0) == 0


@CASES("mknodat")
def a_fifo_by_directory(w: World) -> None:
    w.directory(b"d")
    assert w.call("mknodat", w.open(b"d", O_PATH), b"fifo", S_IFIFO | 0o666, 0) == 0
    assert w.stat(b"d/fifo")["mode"] == S_IFIFO | 0o644


test_guest, test_host, test_proof = CASES.tests()
