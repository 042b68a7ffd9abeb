"""No bad pointer gets through any of the file calls: EFAULT, and nothing is left behind.

Made from the argument kinds of the table. What the calls do is in the other test_syscalls files; `test_bad_pointers`
does the same for all families, with more kinds of badness.
"""

from __future__ import annotations

import pytest

from sandbox.abi.errno import EFAULT, NAMES
from sandbox.abi.numbers import NUMBERS
from sandbox.kernel.row import Row
from sandbox.kernel.table import entries
from tests.syscall_worlds import BAD, Blocked, GuestWorld, Value, guest

FAMILIES = (
    "sys_descriptor sys_directory sys_epoll sys_event sys_file sys_inotify sys_lock sys_mode sys_mount sys_open "
    "sys_path sys_poll sys_splice sys_stat sys_transfer sys_tty sys_xattr"
).split()


def family(row: Row) -> str:
    return row.handler.__module__.rpartition(".")[2]


# What each kind of argument gets when another one is the bad pointer: as harmless and as valid as possible.
def harmless(w: GuestWorld, row: Row, kind: str, name: str) -> Value:
    if kind in ("path", "string", "path?", "string?"):
        return b"fresh" if name in ("new", "path") and row.name in CREATING else b"f"
    if kind in ("in", "out", "inout"):
        return w.memory(bytes(4096))
    if kind in ("fd", "dirfd"):
        return FILES.get(row.name, 3) if kind == "fd" else -100
    if kind == "size" or name in ("count", "size", "limit", "mask_size"):
        return 8
    return 0


CREATING = ("link", "linkat", "symlink", "symlinkat", "mkdir", "mkdirat", "mknod", "mknodat", "rename")
# Descriptors of `stage` by call, where a plain file would not do.
DIRECTORY, READER, WRITER, EPOLL, TIMER = 4, 5, 6, 7, 8
FILES = {
    "getdents": DIRECTORY, "getdents64": DIRECTORY, "fchdir": DIRECTORY, "epoll_ctl": EPOLL, "epoll_wait": EPOLL,
    "epoll_pwait": EPOLL, "epoll_pwait2": EPOLL, "timerfd_settime": TIMER, "timerfd_settime64": TIMER,
    "timerfd_gettime": TIMER, "timerfd_gettime64": TIMER,
}  # fmt: skip
# Pointers that are not looked at with the arguments above, each for a reason.
IGNORED = {
    ("ioctl", "argument"), ("fcntl", "argument"), ("fcntl64", "argument"),  # not pointers by kind
    ("epoll_wait", "events"), ("epoll_pwait", "events"), ("epoll_pwait2", "events"),  # nothing is ready
    ("name_to_handle_at", "handle"), ("name_to_handle_at", "mount"),  # refused before
    ("splice", "target_offset"),  # belongs to the pipe: ESPIPE
    ("getxattr", "value"), ("lgetxattr", "value"), ("fgetxattr", "value"), ("setxattr", "value"),
    ("lsetxattr", "value"), ("fsetxattr", "value"), ("listxattr", "list"), ("llistxattr", "list"),
    ("flistxattr", "list"), ("mount", "source"),
}  # fmt: skip


def stage(w: GuestWorld) -> None:
    """A file `f` (3), a directory (4), a pipe (5, 6), an epoll set (7), a timer (8)."""
    w.file(b"f", b"content!")
    assert w.open(b"f", 2) == 3
    assert w.open(b".") == DIRECTORY
    assert w.pipe() == (READER, WRITER)
    assert w.call("epoll_create1", 0) == EPOLL
    assert w.call("timerfd_create", 1, 0) == TIMER


POINTERS = ("in", "out", "inout", "path", "string", "path?", "string?")
BAD_CALLS = [
    (isa, entry.row, index)
    for isa in NUMBERS
    for _, entry in sorted(entries(isa).items())
    if family(entry.row) in FAMILIES
    for index, argument in enumerate(entry.row.parsed())
    if argument.kind in POINTERS and (entry.row.name, argument.name) not in IGNORED
]


@pytest.mark.parametrize(
    ("isa", "row", "index"), BAD_CALLS, ids=[f"{isa}-{row.name}-{row.parsed()[at].name}" for isa, row, at in BAD_CALLS]
)
def test_bad_pointers_fault(isa: str, row: Row, index: int) -> None:
    with guest(isa) as w:
        stage(w)
        arguments: list[Value] = [harmless(w, row, argument.kind, argument.name) for argument in row.parsed()]
        prepare(w, row, arguments)
        arguments[index] = BAD
        descriptors = w.task.files.numbers()
        try:
            result = w.call(row.name, *arguments)
        except Blocked:
            result = 0
        assert NAMES.get(-result, result) == NAMES[EFAULT]
        assert w.task.files.numbers() == descriptors, "nothing is left behind"
        assert w.machine.stats.bugs == 0


def prepare(w: GuestWorld, row: Row, arguments: list[Value]) -> None:
    """What a call needs so that it gets as far as its pointers."""
    name = row.name
    if name in ("preadv", "readv", "preadv2") or name in ("writev", "pwritev", "pwritev2"):
        arguments[1], arguments[2] = w.vector([(w.memory(bytes(8)), 8)]), 1
    elif name == "vmsplice":
        arguments[:3] = [WRITER, w.vector([(w.memory(bytes(8)), 8)]), 1]
    elif name == "splice":
        arguments[0], arguments[2], arguments[4] = 3, WRITER, 4
        arguments[3] = 0
    elif name == "copy_file_range":
        w.file(b"g")
        arguments[2] = w.open(b"g", 2)
    elif name in ("sendfile", "sendfile64"):
        arguments[0] = WRITER
    elif name == "epoll_ctl":
        arguments[1:3] = [1, READER]
    elif name in ("poll", "ppoll", "ppoll_time64"):
        arguments[1] = 1
    elif ("select" in name and name != "select") or (name == "select" and len(arguments) > 1):
        arguments[0] = 8
    elif name in ("statfs64", "fstatfs64"):
        arguments[1] = 84
    elif name in ("readlink", "readlinkat"):
        w.call("symlinkat", b"f", -100, b"link")
        arguments[-3] = b"link"
    elif name == "openat2":
        arguments[3] = 24
    elif name in ("getcwd",):
        arguments[1] = 4096
    elif name in ("getdents", "getdents64"):
        arguments[2] = 4096
    elif name == "mount":
        arguments[2] = b"tmpfs"
    elif name in ("timerfd_settime", "timerfd_settime64"):
        arguments[1] = 0
    elif name == "inotify_add_watch":
        arguments[0], arguments[2] = w.call("inotify_init1", 0), 1
    elif name == "futimesat":
        arguments[1] = b"f"
