"""inotify_init1, inotify_add_watch, inotify_rm_watch. Watches and events are `sandbox.vfs.inotify`.

Source: inotify(7), inotify_add_watch(2); fs/notify/inotify/inotify_user.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi.errno import EINVAL, EMFILE, ENOTDIR, Errno
from sandbox.abi.flags import AT_FDCWD, O_CLOEXEC, O_NONBLOCK, R_OK
from sandbox.kernel.lookup import find, install, namespace, opened
from sandbox.kernel.row import PARTIAL, Row
from sandbox.vfs.inotify import (
    IN_ALL_EVENTS,
    IN_DONT_FOLLOW,
    IN_EXCL_UNLINK,
    IN_MASK_ADD,
    IN_MASK_CREATE,
    IN_ONESHOT,
    IN_ONLYDIR,
    MAX_INSTANCES,
    InotifyFile,
)

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

_VALID = (
    IN_ALL_EVENTS | 0xE000 | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK | IN_MASK_CREATE | IN_MASK_ADD | IN_ONESHOT
    | 0x40000000
)  # fmt: skip


def inotify_init(task: Task) -> int:
    return inotify_init1(task, 0)


def inotify_init1(task: Task, flags: int) -> int:
    if flags & ~(O_CLOEXEC | O_NONBLOCK):
        raise Errno(EINVAL)
    task.files.expect_room()
    if task.kernel.nameless.anonymous.watchers >= MAX_INSTANCES:
        raise Errno(EMFILE)
    file = InotifyFile(task.kernel.nameless.anonymous, flags & O_NONBLOCK)
    return install(task, file, bool(flags & O_CLOEXEC))


def inotify_add_watch(task: Task, fd: int, path: bytes, mask: int) -> int:
    if not mask & _VALID:
        raise Errno(EINVAL)
    file = opened(task, fd)
    if mask & IN_MASK_ADD and mask & IN_MASK_CREATE:
        raise Errno(EINVAL)
    if not isinstance(file, InotifyFile):
        raise Errno(EINVAL)
    place = find(task, AT_FDCWD, path, follow=not mask & IN_DONT_FOLLOW)
    if mask & IN_ONLYDIR and not place.node.is_directory:
        raise Errno(ENOTDIR)
    namespace(task).check(place, R_OK)
    return file.watch(place.node, mask)


def inotify_rm_watch(task: Task, fd: int, number: int) -> int:
    file = opened(task, fd)
    if not isinstance(file, InotifyFile):
        raise Errno(EINVAL)
    file.remove(number)
    return 0


_MISSING = "no events of memory mappings, execve, unmounting, or changes made by the host"

ROWS = [
    Row("inotify_init", inotify_init, "", PARTIAL, _MISSING),
    Row("inotify_init1", inotify_init1, "flags:flags:open", PARTIAL, _MISSING),
    Row("inotify_add_watch", inotify_add_watch, "fd:fd path:path mask:uint", PARTIAL, _MISSING),
    Row("inotify_rm_watch", inotify_rm_watch, "fd:fd watch:int", PARTIAL, _MISSING),
]
