"""Opening and closing descriptors: open and its relatives, close, close_range.

What open(2) does to the tree is `sandbox.vfs.opening`; here are the descriptor, the umask, the flags of openat2 and
the order in which Linux fails: a full descriptor table comes before anything happens to the file system.
Source: open(2), openat2(2), close_range(2); fs/open.c (`build_open_flags`).
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from sandbox.abi.errno import (
    E2BIG,
    EAGAIN,
    EINVAL,
    ELOOP,
    ENOENT,
    EOVERFLOW,
    EXDEV,
    Errno,
)
from sandbox.abi.flags import (
    AT_FDCWD,
    CLOSE_RANGE_CLOEXEC,
    CLOSE_RANGE_UNSHARE,
    O_ACCMODE,
    O_APPEND,
    O_ASYNC,
    O_CLOEXEC,
    O_CREAT,
    O_DIRECT,
    O_DIRECTORY,
    O_EXCL,
    O_LARGEFILE,
    O_NOATIME,
    O_NOCTTY,
    O_NOFOLLOW,
    O_NONBLOCK,
    O_PATH,
    O_RDONLY,
    O_SYNC,
    O_TMPFILE,
    O_TRUNC,
    O_WRONLY,
    S_ISGID,
    S_ISUID,
    open_flags,
)
from sandbox.kernel import job_control, watching
from sandbox.kernel.lookup import install, namespace, start_of
from sandbox.kernel.row import FULL, PARTIAL, Row
from sandbox.kernel.transfer import SMALL_FILE_MAX, drop_privileges
from sandbox.vfs.mount import Place
from sandbox.vfs.namespace import Namespace
from sandbox.vfs.terminal import TerminalFile

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

_VALID = (
    O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC | O_ASYNC | O_DIRECT
    | O_LARGEFILE | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC | O_PATH | O_TMPFILE
)  # fmt: skip
_PATH_FLAGS = O_DIRECTORY | O_NOFOLLOW | O_PATH | O_CLOEXEC
_UNNAMED = O_TMPFILE & ~O_DIRECTORY

_OPEN_HOW = Struct("<QQQ")
RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS = 1, 2, 4
RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_CACHED = 8, 0x10, 0x20
_RESOLVE_ALL = 0x3F


def open_(task: Task, path: bytes, flags: int, mode: int) -> int:
    return openat(task, AT_FDCWD, path, flags, mode)


def creat(task: Task, path: bytes, mode: int) -> int:
    return openat(task, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode)


def openat(task: Task, dirfd: int, path: bytes, flags: int, mode: int) -> int:
    # Unknown bits are ignored, and so is whatever makes no sense beside O_PATH (openat2 refuses both).
    flags &= _PATH_FLAGS if flags & O_PATH else _VALID
    _check_flags(flags)
    if not path:
        raise Errno(ENOENT)
    task.files.expect_room()
    return _open(task, namespace(task), start_of(task, dirfd, path), path, flags, mode & 0o7777)


def _check_flags(flags: int) -> None:
    """Combinations that make no sense, whatever the path (`build_open_flags`)."""
    if flags & _UNNAMED:
        if not flags & O_DIRECTORY or flags & O_CREAT or flags & O_ACCMODE == O_RDONLY:
            raise Errno(EINVAL)
    elif flags & O_CREAT and flags & O_DIRECTORY:
        raise Errno(EINVAL)


def _open(task: Task, tree: Namespace, start: Place, path: bytes, flags: int, mode: int) -> int:
    if task.word == 8 and not flags & O_PATH:
        flags |= O_LARGEFILE  # force_o_largefile(): fcntl(F_GETFL) shows it
    told = watching.watched(task)
    known = told and (not flags & O_CREAT or watching.exists(task, start, path) is not None)
    created = flags & O_CREAT and mode & (S_ISUID | S_ISGID) and watching.exists(task, start, path) is None
    file = tree.open(start, path, flags, mode & ~task.fs.umask, task)
    if not flags & (O_LARGEFILE | O_PATH) and file.node.is_regular and file.node.size > SMALL_FILE_MAX:
        file.release()
        raise Errno(EOVERFLOW)
    if flags & _UNNAMED:
        file.flags |= _UNNAMED  # fcntl(F_GETFL) shows it
    if flags & O_TRUNC and not created:
        drop_privileges(task, file.node)
    if isinstance(file, TerminalFile) and not flags & O_NOCTTY:
        job_control.acquire_on_open(task, file.terminal)
    fd = install(task, file, bool(flags & O_CLOEXEC))
    if told and not flags & O_PATH:
        if not known:
            watching.tell_created(task, start, path)
        watching.tell_opened(file)
        if known and flags & O_TRUNC:
            watching.tell_written(file)
    return fd


# -- openat2 -----------------------------------------------------------------------------------------------


def openat2(task: Task, dirfd: int, path: bytes, how: int, size: int) -> int:
    flags, mode, resolve = _read_how(task, how, size)
    if not path:
        raise Errno(ENOENT)
    task.files.expect_room()
    tree = namespace(task)
    if resolve & RESOLVE_CACHED:
        raise Errno(EAGAIN)  # "cannot be done without waiting" is always a right answer
    if resolve & RESOLVE_IN_ROOT:
        start = tree.root = start_of(task, dirfd, b".")
    elif path.startswith(b"/"):
        if resolve & RESOLVE_BENEATH:
            raise Errno(EXDEV)
        start = tree.root
    else:
        start = start_of(task, dirfd, path)
    if resolve & ~RESOLVE_IN_ROOT:
        _check_resolution(tree, start, path, flags, resolve)
    return _open(task, tree, start, path, flags, mode)


def _read_how(task: Task, how: int, size: int) -> tuple[int, int, int]:
    if size < _OPEN_HOW.size:
        raise Errno(EINVAL)
    if size > 4096:
        raise Errno(E2BIG)
    data = task.space.copy_in(how, size)
    if any(data[_OPEN_HOW.size :]):
        raise Errno(E2BIG)
    flags, mode, resolve = _OPEN_HOW.unpack_from(data)
    if flags >> 32:
        raise Errno(EINVAL)
    flags = open_flags(task.isa, flags)
    if flags & ~_VALID or resolve & ~_RESOLVE_ALL:
        raise Errno(EINVAL)
    if resolve & RESOLVE_BENEATH and resolve & RESOLVE_IN_ROOT:
        raise Errno(EINVAL)
    creates = flags & O_CREAT or flags & O_TMPFILE == O_TMPFILE
    if mode & ~0o7777 or (mode and not creates):
        raise Errno(EINVAL)
    if flags & O_PATH and flags & ~_PATH_FLAGS:
        raise Errno(EINVAL)
    _check_flags(flags)
    if resolve & RESOLVE_CACHED and flags & (O_TRUNC | O_CREAT | _UNNAMED):
        raise Errno(EAGAIN)
    return flags, mode, resolve


def _check_resolution(tree: Namespace, start: Place, path: bytes, flags: int, resolve: int) -> None:
    """Walk `path` a name at a time and refuse what RESOLVE_* forbids. Links are only followed when they are allowed
    and stay inside, so nothing changes between this walk and the one that opens: tasks of a VM do not run meanwhile."""
    place = start
    pending = _names(path)
    links = 0
    while pending:
        name = pending.pop()
        if pending == [b""] and flags & O_CREAT:
            return  # nothing of that name can be created, whatever it is
        if name == b"..":
            if resolve & RESOLVE_BENEATH and place is start:
                raise Errno(EXDEV)
            above = place.above(tree.root)
        elif name in (b".", b""):
            continue
        else:
            try:
                above = tree.find(place, name, follow=False)
            except Errno:
                return  # the real walk says what is wrong, or creates the file
        if resolve & RESOLVE_NO_XDEV and above.mount is not place.mount:
            raise Errno(EXDEV)
        if not above.node.is_symlink or (not pending and not _follows_last(flags)):
            place = above
            continue
        links += 1
        if resolve & RESOLVE_NO_SYMLINKS or links > 40:
            raise Errno(ELOOP)
        destination = above.node.jump()
        if destination is not None:
            if resolve & RESOLVE_NO_MAGICLINKS:
                raise Errno(ELOOP)
            if resolve & RESOLVE_BENEATH or resolve & RESOLVE_IN_ROOT:
                raise Errno(EXDEV)
            place = destination
            continue
        target = above.node.readlink()
        if target.startswith(b"/"):
            if resolve & RESOLVE_BENEATH:
                raise Errno(EXDEV)
            place = tree.root
        pending.extend(_names(target))


def _follows_last(flags: int) -> bool:
    return not flags & O_NOFOLLOW and flags & (O_CREAT | O_EXCL) != O_CREAT | O_EXCL


def _names(path: bytes) -> list[bytes]:
    """Last first; a trailing slash is an empty name in front, and has a link before it followed."""
    return [b""] * path.endswith(b"/") + [name for name in reversed(path.split(b"/")) if name]


# -- closing -----------------------------------------------------------------------------------------------


def close(task: Task, fd: int) -> int:
    task.files.close(fd)
    return 0


def close_range(task: Task, first: int, last: int, flags: int) -> int:
    if flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) or first > last:
        raise Errno(EINVAL)
    if flags & CLOSE_RANGE_UNSHARE and task.files.shared:
        files = task.files.duplicate()
        task.files.release()
        task.files = files
    for fd in task.files.numbers():
        if first <= fd <= last:
            if flags & CLOSE_RANGE_CLOEXEC:
                task.files.set_close_on_exec(fd, True)
            else:
                task.files.close(fd)
    return 0


_HOW = "RESOLVE_CACHED always gives EAGAIN"

ROWS = [
    Row("open", open_, "path:path flags:flags:open mode:mode", FULL),
    Row("openat", openat, "dirfd:dirfd path:path flags:flags:open mode:mode", FULL),
    Row("openat2", openat2, "dirfd:dirfd path:path how:in size:size", PARTIAL, _HOW),
    Row("creat", creat, "path:path mode:mode", FULL),
    Row("close", close, "fd:fd", FULL),
    Row("close_range", close_range, "first:uint last:uint flags:flags:close_range", FULL),
]
