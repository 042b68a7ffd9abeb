"""mount and umount2 inside a machine; extended attributes and file handles, which are refused."""

from __future__ import annotations

from sandbox.abi.errno import (
    EBADF,
    EBUSY,
    EFAULT,
    EINVAL,
    ENODEV,
    ENOENT,
    ENOSPC,
    ENOTDIR,
    EOPNOTSUPP,
    EPERM,
    ERANGE,
    EROFS,
)
from sandbox.abi.flags import AT_FDCWD, MS_BIND, MS_RDONLY, MS_REMOUNT, O_CREAT, O_PATH, O_RDWR
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD, GuestWorld

CASES = Cases()


@CASES("mount", "umount2", host=False)
def a_tmpfs_comes_and_goes(w: GuestWorld) -> None:
    w.directory(b"d")
    w.file(b"d/below", b"x")
    used = w.machine.account.used
    assert w.call("mount", b"none", b"d", b"tmpfs", 0, b"size=1m,mode=0750") == 0
    assert w.stat(b"d")["mode"] & 0o7777 == 0o750
    assert w.stat(b"d/below") == {"error": -ENOENT}
    w.file(b"d/f", b"a" * 100000)
    fd = w.open(b"d/big", O_RDWR | O_CREAT)
    data = w.memory(bytes(1 << 20))
    assert w.call("write", fd, data, 1 << 20) < 1 << 20
    assert w.call("write", fd, data, 1 << 20) == -ENOSPC
    assert w.call("umount2", b"d", 0) == -EBUSY
    assert w.call("close", fd) == 0
    assert w.call("umount2", b"d", 0) == 0
    assert w.content(b"d/below") == b"x"
    assert w.machine.account.used <= used + 300
    assert w.call("umount2", b"d", 0) == -EINVAL


@CASES("mount", host=False)
def binds_and_remounts(w: GuestWorld) -> None:
    w.directory(b"a")
    w.directory(b"b")
    w.file(b"a/f", b"abc")
    assert w.call("mount", b"a", b"b", None, MS_BIND, None) == 0
    assert w.content(b"b/f") == b"abc"
    assert w.call("mount", None, b"b", None, MS_REMOUNT | MS_BIND | MS_RDONLY, None) == 0
    assert w.open(b"b/f", O_RDWR) == -EROFS
    assert w.open(b"a/f", O_RDWR) > 0
    assert w.call("mkdirat", AT_FDCWD, b"b/d", 0o755) == -EROFS
    assert w.call("mount", None, b"b", None, MS_REMOUNT | MS_BIND, None) == 0
    assert w.open(b"b/f", O_RDWR) > 0
    assert w.call("mount", None, b"a", None, MS_REMOUNT, None) == -EINVAL
    assert w.call("unlinkat", AT_FDCWD, b"b", 0x200) == -EBUSY
    w.file(b"target")
    assert w.call("mount", b"a/f", b"target", None, MS_BIND, None) == 0
    assert w.content(b"target") == b"abc"
    assert w.call("mount", b"a", b"target", None, MS_BIND, None) == -ENOTDIR


@CASES("mount", "umount2", host=False)
def mount_refuses(w: GuestWorld) -> None:
    w.directory(b"d")
    w.file(b"f")
    assert w.call("mount", b"none", b"d", b"ext4", 0, None) == -ENODEV
    assert w.call("mount", b"none", b"d", None, 0, None) == -EINVAL
    assert w.call("mount", b"none", b"f", b"tmpfs", 0, None) == -ENOTDIR
    assert w.call("mount", b"none", b"none", b"tmpfs", 0, None) == -ENOENT
    assert w.call("mount", b"none", b"d", b"tmpfs", 0, b"size=x") == -EINVAL
    assert w.call("mount", b"none", b"d", b"tmpfs", 0, b"what=1") == -EINVAL
    assert w.call("mount", b"none", b"d", b"tmpfs", 0, BAD) == -EFAULT
    assert w.call("mount", b"none", BAD, b"tmpfs", 0, None) == -EFAULT
    assert w.call("mount", b"x", b"d", b"devtmpfs", 0, None) == 0
    assert w.open(b"d/null", O_RDWR) > 0
    assert w.call("umount2", b"d", 0x10) == -EINVAL
    assert w.call("umount2", BAD, 0) == -EFAULT
    w.become(1000, 1000)
    assert w.call("mount", b"none", b"d", b"tmpfs", 0, None) == -EPERM
    assert w.call("umount2", b"d", 0) == -EPERM


@CASES("umount", host=False)
def the_first_umount(w: GuestWorld) -> None:
    w.directory(b"d")
    assert w.call("mount", b"none", b"d", b"tmpfs", 0, None) == 0
    w.file(b"d/f")
    assert w.call("umount", b"d") == 0
    assert w.stat(b"d/f") == {"error": -ENOENT}


@CASES("mount", host=False)
def mounts_are_bounded(w: GuestWorld) -> None:
    w.directory(b"d")
    for _ in range(2000):
        result = w.call("mount", b".", b"d", None, MS_BIND, None)
        if result:
            break
    assert result == -ENOSPC


@CASES("getxattr", "setxattr", "listxattr", "removexattr", host=False)
def no_attributes_by_path(w: World) -> None:
    w.file(b"f")
    assert w.call("symlinkat", b"none", AT_FDCWD, b"l") == 0
    buffer = bytearray(8)
    assert w.call("getxattr", b"f", b"user.x", buffer, 8) == -EOPNOTSUPP
    assert w.call("getxattr", b"l", b"user.x", buffer, 8) == -ENOENT
    assert w.call("lgetxattr", b"l", b"user.x", buffer, 8) == -EOPNOTSUPP
    assert w.call("getxattr", b"f", b"", buffer, 8) == -ERANGE
    assert w.call("getxattr", b"f", BAD, buffer, 8) == -EFAULT
    assert w.call("setxattr", b"f", b"user.x", b"v", 1, 0) == -EOPNOTSUPP
    assert w.call("lsetxattr", b"none", b"user.x", b"v", 1, 0) == -ENOENT
    assert w.call("listxattr", b"f", buffer, 8) == -EOPNOTSUPP
    assert w.call("llistxattr", b"none", buffer, 8) == -ENOENT
    assert w.call("removexattr", b"f", b"user.x") == -EOPNOTSUPP
    assert w.call("lremovexattr", b"none", b"user.x") == -ENOENT


@CASES("fgetxattr", "fsetxattr", "flistxattr", "fremovexattr", host=False)
def no_attributes_by_descriptor(w: World) -> None:
    w.file(b"f")
    fd, path = w.open(b"f"), w.open(b"f", O_PATH)
    buffer = bytearray(8)
    for number, expected in ((fd, -EOPNOTSUPP), (path, -EBADF), (77, -EBADF)):
        assert w.call("fgetxattr", number, b"user.x", buffer, 8) == expected
        assert w.call("fsetxattr", number, b"user.x", b"v", 1, 0) == expected
        assert w.call("flistxattr", number, buffer, 8) == expected
        assert w.call("fremovexattr", number, b"user.x") == expected


@CASES("name_to_handle_at", host=False)
def no_handles(w: World) -> None:
    w.file(b"f")
    handle, mount = bytearray(16), bytearray(4)
    assert w.call("name_to_handle_at", AT_FDCWD, b"f", handle, mount, 0) == -EOPNOTSUPP
    assert w.call("name_to_handle_at", AT_FDCWD, b"none", handle, mount, 0) == -ENOENT
    assert w.call("name_to_handle_at", AT_FDCWD, b"f", handle, mount, 1) == -EINVAL


test_guest, _, test_proof = CASES.tests()
