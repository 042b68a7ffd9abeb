"""inotify: what the file calls tell, compared with what the host's kernel tells."""

from __future__ import annotations

import struct

from sandbox.abi.errno import EACCES, EAGAIN, EBADF, EEXIST, EFAULT, EINVAL, ENOENT, ENOTDIR
from sandbox.abi.flags import (
    AT_FDCWD,
    AT_REMOVEDIR,
    F_GETFD,
    O_CLOEXEC,
    O_CREAT,
    O_NONBLOCK,
    O_RDONLY,
    O_RDWR,
    O_TMPFILE,
    RENAME_EXCHANGE,
)
from sandbox.vfs import inotify
from sandbox.vfs.inotify import (
    IN_ALL_EVENTS,
    IN_ATTRIB,
    IN_CREATE,
    IN_DONT_FOLLOW,
    IN_EXCL_UNLINK,
    IN_ISDIR,
    IN_MASK_ADD,
    IN_MASK_CREATE,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    IN_ONESHOT,
    IN_ONLYDIR,
    IN_OPEN,
    IN_Q_OVERFLOW,
)
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD, GuestWorld

CASES = Cases()
NAMES = {value: name[3:].lower() for name, value in vars(inotify).items() if name.startswith("IN_") and value & 0xFFFF}
NAMES.pop(IN_ALL_EVENTS)


def watcher(w: World, path: bytes, mask: int = IN_ALL_EVENTS) -> int:
    fd = w.call("inotify_init1", O_NONBLOCK)
    assert w.call("inotify_add_watch", fd, path, mask) == 1
    return fd


@CASES("inotify_add_watch")
def a_directory_is_told_of_what_was_its_file(w: World) -> None:
    w.directory(b"d")
    all_of_it, named = watcher(w, b"d"), watcher(w, b"d", IN_ALL_EVENTS | IN_EXCL_UNLINK)
    fd = w.open(b"d/f", O_RDWR | O_CREAT)
    w.call("unlinkat", AT_FDCWD, b"d/f", 0)
    assert events(w, all_of_it) == events(w, named) == ["create f", "open f", "delete f"]
    assert w.call("write", fd, b"x", 1) == 1
    w.call("close", fd)
    assert events(w, all_of_it) == ["modify f", "close_write f"]
    assert events(w, named) == []
    if w.host:
        return  # a stacked filesystem shows another inode number than its file has
    fd = w.open(b"d", O_RDWR | O_TMPFILE)
    name = f"#{w.fstat(fd)['ino']}"
    w.call("close", fd)
    assert events(w, all_of_it) == [f"open {name}", f"close_write {name}"]
    assert events(w, named) == []


def events(w: World, fd: int) -> list[str]:
    """Like `create d` or `open/ name`, a slash for a directory."""
    result = []
    buffer = bytearray(8192)
    count = w.call("read", fd, buffer, len(buffer))
    if count == -EAGAIN:
        return []
    assert count > 0, count
    data = bytes(buffer[:count])
    cookies = []
    while data:
        _, mask, cookie, length = struct.unpack_from("<iIII", data)
        name = data[16 : 16 + length].rstrip(b"\0").decode()
        data = data[16 + length :]
        kinds = [text for bit, text in NAMES.items() if mask & bit]
        result.append("+".join(kinds) + ("/" if mask & IN_ISDIR else "") + (f" {name}" if name else ""))
        if cookie:
            cookies.append(cookie)
    assert all(cookies.count(cookie) <= 2 for cookie in cookies)
    return result


@CASES("inotify_init1", "inotify_add_watch")
def files_in_a_directory(w: World) -> None:
    w.directory(b"d")
    fd = watcher(w, b"d")
    w.file(b"d/f", b"abc")
    assert events(w, fd) == ["create f", "open f", "modify f", "close_write f"]
    file = w.open(b"d/f", O_RDWR)
    assert w.call("read", file, bytearray(3), 3) == 3
    assert w.call("read", file, bytearray(3), 3) == 0
    assert w.call("pwrite64", file, b"x", 1, 0) == 1
    assert w.call("pwrite64", file, b"x", 1, 0) == 1
    assert w.call("ftruncate", file, 0) == 0
    assert events(w, fd) == ["open f", "access f", "modify f"]
    assert w.call("close", file) == 0
    file = w.open(b"d/f", O_RDONLY)
    assert w.call("close", w.call("dup", file)) == 0
    assert w.call("close", file) == 0
    assert events(w, fd) == ["close_write f", "open f", "close_nowrite f"]
    w.file(b"d/f", b"")
    assert events(w, fd) == ["open f", "modify f", "close_write f"]
    assert w.call("truncate", b"d/f", 5) == 0
    w.call("fchmodat", AT_FDCWD, b"d/f", 0o600)
    w.call("fchownat", AT_FDCWD, b"d/f", 0, 0, 0)
    assert events(w, fd) == ["modify f", "attrib f"]


@CASES("inotify_add_watch")
def names_in_a_directory(w: World) -> None:
    w.directory(b"d")
    w.file(b"outside")
    fd = watcher(w, b"d")
    w.directory(b"d/sub")
    assert w.call("symlinkat", b"x", AT_FDCWD, b"d/link") == 0
    assert w.call("mknodat", AT_FDCWD, b"d/fifo", 0o010600, 0) == 0
    assert w.call("linkat", AT_FDCWD, b"outside", AT_FDCWD, b"d/hard", 0) == 0
    assert events(w, fd) == ["create/ sub", "create link", "create fifo", "create hard"]
    assert w.call("renameat2", AT_FDCWD, b"d/hard", AT_FDCWD, b"d/new", 0) == 0
    assert w.call("renameat2", AT_FDCWD, b"d/new", AT_FDCWD, b"away", 0) == 0
    assert w.call("linkat", AT_FDCWD, b"away", AT_FDCWD, b"other", 0) == 0
    assert w.call("renameat2", AT_FDCWD, b"away", AT_FDCWD, b"d/back", 0) == 0
    assert w.call("renameat2", AT_FDCWD, b"d/sub", AT_FDCWD, b"d/dir", 0) == 0
    assert events(w, fd) == [
        "moved_from hard",
        "moved_to new",
        "moved_from new",
        "moved_to back",
        "moved_from/ sub",
        "moved_to/ dir",
    ]
    assert w.call("unlinkat", AT_FDCWD, b"d/link", 0) == 0
    assert w.call("unlinkat", AT_FDCWD, b"d/dir", AT_REMOVEDIR) == 0
    assert w.call("unlinkat", AT_FDCWD, b"d/none", 0) == -ENOENT
    assert w.call("mkdirat", AT_FDCWD, b"d/fifo", 0o755) == -EEXIST
    assert events(w, fd) == ["delete link", "delete/ dir"]


@CASES("inotify_add_watch")
def the_file_itself(w: World) -> None:
    w.file(b"f")
    w.file(b"g")
    fd = watcher(w, b"f")
    assert w.call("linkat", AT_FDCWD, b"f", AT_FDCWD, b"h", 0) == 0
    assert w.call("renameat2", AT_FDCWD, b"f", AT_FDCWD, b"e", 0) == 0
    assert w.call("unlinkat", AT_FDCWD, b"h", 0) == 0
    assert events(w, fd) == ["attrib", "move_self", "attrib"]
    file = w.open(b"e")
    assert w.call("unlinkat", AT_FDCWD, b"e", 0) == 0
    assert events(w, fd) == ["open", "attrib"]
    assert w.call("close", file) == 0
    assert events(w, fd) == ["close_nowrite", "delete_self", "ignored"]
    assert w.call("inotify_rm_watch", fd, 1) == -EINVAL
    replaced = watcher(w, b"g")
    w.file(b"i")
    assert w.call("renameat2", AT_FDCWD, b"i", AT_FDCWD, b"g", 0) == 0
    assert events(w, replaced) == ["attrib", "delete_self", "ignored"]


@CASES("inotify_add_watch")
def the_directory_itself(w: World) -> None:
    w.directory(b"d")
    fd = watcher(w, b"d")
    directory = w.open(b"d")
    assert w.call("getdents64", directory, bytearray(4096), 4096) > 0
    assert w.call("close", directory) == 0
    assert w.call("fchmodat", AT_FDCWD, b"d", 0o700) == 0
    assert w.call("unlinkat", AT_FDCWD, b"d", AT_REMOVEDIR) == 0
    assert events(w, fd) == ["open/", "access/", "close_nowrite/", "attrib/", "delete_self", "ignored"]


@CASES("inotify_add_watch", "inotify_rm_watch")
def watches_are_changed_and_removed(w: World) -> None:
    w.file(b"f")
    w.directory(b"d")
    fd = watcher(w, b"f", IN_OPEN)
    assert w.call("inotify_add_watch", fd, b"./f", IN_ATTRIB) == 1
    w.call("close", w.open(b"f"))
    assert events(w, fd) == []
    assert w.call("inotify_add_watch", fd, b"f", IN_OPEN | IN_MASK_ADD) == 1
    w.call("close", w.open(b"f"))
    w.call("fchmodat", AT_FDCWD, b"f", 0o600)
    assert events(w, fd) == ["open", "attrib"]
    assert w.call("inotify_add_watch", fd, b"f", IN_OPEN | IN_MASK_CREATE) == -EEXIST
    assert w.call("inotify_add_watch", fd, b"d", IN_OPEN) == 2
    assert w.call("inotify_rm_watch", fd, 2) == 0
    assert events(w, fd) == ["ignored"]
    assert w.call("inotify_add_watch", fd, b"d", IN_OPEN | IN_ONESHOT) == 3
    for _ in range(2):
        w.call("close", w.open(b"d"))
    assert events(w, fd) == ["open/", "ignored"]


@CASES("inotify_init1", "inotify_add_watch", "inotify_rm_watch")
def inotify_refuses(w: World) -> None:
    w.file(b"f")
    assert w.call("symlinkat", b"none", AT_FDCWD, b"l") == 0
    fd = w.call("inotify_init1", O_CLOEXEC)
    assert w.call("fcntl", fd, F_GETFD, 0) == 1
    assert w.call("inotify_init1", 1) == -EINVAL
    assert w.call("inotify_add_watch", fd, b"none", IN_OPEN) == -ENOENT
    assert w.call("inotify_add_watch", fd, b"l", IN_OPEN) == -ENOENT
    assert w.call("inotify_add_watch", fd, b"l", IN_OPEN | IN_DONT_FOLLOW) == 1
    assert w.call("inotify_add_watch", fd, b"f", IN_OPEN | IN_ONLYDIR) == -ENOTDIR
    assert w.call("inotify_add_watch", fd, b"f", 0) == -EINVAL
    assert w.call("inotify_add_watch", fd, b"f", IN_OPEN | IN_MASK_ADD | IN_MASK_CREATE) == -EINVAL
    assert w.call("inotify_add_watch", fd, BAD, IN_OPEN) == -EFAULT
    assert w.call("inotify_add_watch", 77, b"f", IN_OPEN) == -EBADF
    assert w.call("inotify_add_watch", w.pipe()[0], b"f", IN_OPEN) == -EINVAL
    assert w.call("inotify_rm_watch", fd, 9) == -EINVAL
    assert w.call("inotify_rm_watch", 77, 1) == -EBADF
    assert w.call("inotify_rm_watch", w.pipe()[0], 1) == -EINVAL
    full = watcher(w, b"f")
    w.call("close", w.open(b"f"))
    assert w.call("read", full, bytearray(15), 15) == -EINVAL
    waiting = bytearray(4)
    address = w.memory(bytes(waiting))
    assert w.call("ioctl", full, 0x541B, address) == 0
    assert w.peek(address, 4) == struct.pack("<i", 32)
    assert w.call("write", full, b"x", 1) in (-EBADF, -EINVAL)


@CASES("inotify_init", isas=("x86_64", "i386", "arm"))
def the_first_inotify(w: World) -> None:
    fd = w.call("inotify_init")
    assert fd == 3
    assert w.call("inotify_add_watch", fd, b".", IN_CREATE) == 1
    w.file(b"f")
    assert events(w, fd) == ["create f"]


@CASES("inotify_add_watch", root=True)
def only_what_can_be_read_is_watched(w: World) -> None:
    w.file(b"secret", b"", 0o600)
    fd = w.call("inotify_init1", 0)
    if isinstance(w, GuestWorld):
        w.become(1000, 1000)
    else:
        assert w.call("setresuid", 1000, 1000, 1000) == 0
    assert w.call("inotify_add_watch", fd, b"secret", IN_OPEN) == -EACCES


@CASES("inotify_add_watch", host=False)
def the_queue_and_the_watches_are_bounded(w: GuestWorld) -> None:
    w.file(b"f")
    fd = watcher(w, b"f", IN_OPEN | IN_ATTRIB)
    file = w.open(b"f")
    most = inotify.MAX_QUEUED
    inotify.MAX_QUEUED = 100
    try:
        for _ in range(100):
            w.call("fchmod", file, 0o600)
            w.call("close", w.open(b"f"))
    finally:
        inotify.MAX_QUEUED = most
    got = []
    while more := events(w, fd):
        got += more
    assert len(got) == 101
    assert got[-1] == "q_overflow"
    assert NAMES[IN_Q_OVERFLOW] == "q_overflow"
    assert w.blocks("read", w.call("inotify_init1", 0), bytearray(64), 64)


@CASES("inotify_add_watch", host=False)
def exchanging_tells_both(w: GuestWorld) -> None:
    w.directory(b"d")
    w.file(b"d/a")
    w.file(b"d/b")
    fd = watcher(w, b"d", IN_MOVED_FROM | IN_MOVED_TO)
    assert w.call("renameat2", AT_FDCWD, b"d/a", AT_FDCWD, b"d/b", RENAME_EXCHANGE) == 0
    assert events(w, fd) == ["moved_from a", "moved_to b", "moved_from b", "moved_to a"]


@CASES("inotify_add_watch", host=False)
def nobody_is_told_after_the_descriptor_is_closed(w: GuestWorld) -> None:
    w.directory(b"d")
    fd = watcher(w, b"d")
    filesystem = w.task.fs.cwd.node.filesystem
    assert (filesystem.watched, w.machine.nameless.anonymous.watchers) == (1, 1)
    assert w.call("close", fd) == 0
    assert (filesystem.watched, w.machine.nameless.anonymous.watchers) == (0, 0)
    w.file(b"d/f")


test_guest, test_host, test_proof = CASES.tests()
