"""Telling inotify what the calls did. Cheap while nobody watches: `watched` is one look at a counter.

A handler calls `watched` first, does its work, and tells afterwards; only what succeeded is told. Closing is told by
`OpenFile.release`, so that exits count. Neighbour: `sandbox.vfs.inotify` (watches and queues).
Source: include/linux/fsnotify.h, fs/namei.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi.errno import Errno
from sandbox.kernel.lookup import namespace
from sandbox.vfs.inotify import (
    IN_ACCESS,
    IN_ATTRIB,
    IN_CREATE,
    IN_DELETE,
    IN_ISDIR,
    IN_MODIFY,
    IN_MOVE_SELF,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    IN_OPEN,
    deleted,
    notify,
    notify_place,
)

if TYPE_CHECKING:
    from sandbox.kernel.task import Task
    from sandbox.vfs.file import OpenFile
    from sandbox.vfs.mount import Place
    from sandbox.vfs.node import Node


def watched(task: Task) -> bool:
    """Whether anybody has an inotify descriptor at all."""
    return task.kernel.nameless.anonymous.watchers > 0


def _directory_bit(node: Node) -> int:
    return IN_ISDIR if node.is_directory else 0


def exists(task: Task, start: Place, path: bytes) -> Place | None:
    """What has the name now; None when nothing has."""
    try:
        return namespace(task).find(start, path, follow=False)
    except Errno:
        return None


def tell_created(task: Task, start: Place, path: bytes) -> None:
    place = exists(task, start, path)
    if place is not None and place.parent is not None:
        notify(place.parent.node, IN_CREATE | _directory_bit(place.node), place.name)


def tell_linked(task: Task, start: Place, path: bytes) -> None:
    place = exists(task, start, path)
    if place is not None:
        notify(place.node, IN_ATTRIB)
    tell_created(task, start, path)


def tell_removed(task: Task, parent: Node | None, name: bytes, node: Node) -> None:
    """`name` of `parent` was a name of `node`."""
    if not node.is_directory:
        notify(node, IN_ATTRIB)
    if parent is not None:
        notify(parent, IN_DELETE | _directory_bit(node), name)
    _forget_if_gone(task, node)


def _forget_if_gone(task: Task, node: Node) -> None:
    """Watches end with the last name, or later with the last descriptor (`OpenFile.release`)."""
    if node.watches is None or (not node.is_directory and node.stat().nlink):
        return
    if not any(file.node is node for other in task.kernel.tasks.values() for _, file in other.files):
        deleted(node)


def tell_renamed(
    task: Task, old_parent: Node, old_name: bytes, new_parent: Node, new_name: bytes, node: Node, replaced: Node | None
) -> None:
    task.kernel.nameless.anonymous.cookie += 1
    cookie = task.kernel.nameless.anonymous.cookie
    kind = _directory_bit(node)
    notify(old_parent, IN_MOVED_FROM | kind, old_name, cookie)
    notify(new_parent, IN_MOVED_TO | kind, new_name, cookie)
    if replaced is not None and replaced is not node:
        if not replaced.is_directory:
            notify(replaced, IN_ATTRIB)
        _forget_if_gone(task, replaced)
    notify(node, IN_MOVE_SELF)


def tell(place: Place | None, mask: int) -> None:
    """An event of the file at `place`, if anybody of its filesystem watches."""
    if place is not None and place.node.filesystem.watched:
        notify_place(place, mask)


def tell_opened(file: OpenFile) -> None:
    tell(file.place, IN_OPEN)


def tell_read(file: OpenFile) -> None:
    tell(file.place, IN_ACCESS)


def tell_written(file: OpenFile) -> None:
    tell(file.place, IN_MODIFY)


def tell_changed(place: Place) -> None:
    tell(place, IN_ATTRIB)


def tell_times(place: Place, stamps: tuple[int | None, int | None] | None) -> None:
    """One time alone looks like what sets it by itself (`fsnotify_change`)."""
    if stamps is None or None not in stamps:
        tell(place, IN_ATTRIB)
    elif stamps != (None, None):
        tell(place, IN_MODIFY if stamps[0] is None else IN_ACCESS)
