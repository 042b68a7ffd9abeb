"""Tasks, open files, mounts and the top of the tree of a Linux machine."""

from __future__ import annotations

import stat
from typing import Any

from sandbox.abi.errno import Errno
from sandbox.abi.numbers import NAMES
from sandbox.dashboard.portraits.memory import peek
from sandbox.dashboard.view import DescriptorView, EntryView, FilesView, MountView, TaskView
from sandbox.loader import Symbols, read_symbols
from sandbox.vfs.walk import walk

_TASKS = 500
_DESCRIPTORS = 300
_ENTRIES = 40  # of one directory
_MANY_FILES = 20_000  # a filesystem with more is not listed: that would take too long
_PROGRAM = 64 << 20  # bytes of a program that are read for its symbols
_KINDS = {
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
}


def task_views(machine: Any) -> tuple[TaskView, ...]:
    views = []
    for tid, task in sorted(machine.tasks.items())[:_TASKS]:
        process = task.process
        parent = process.parent
        views.append(
            TaskView(
                tid=tid,
                tgid=process.pid,
                parent=parent.pid if parent is not None else 0,
                name=task.name,
                state=task.state,
                waits_for=_waits_for(task),
                threads=len(process.threads),
                descriptors=len(task.files),
                command=_command(task),
            )
        )
    for pid, process in sorted(machine.processes.items()):
        if not process.threads:
            above = process.parent.pid if process.parent is not None else 0
            views.append(TaskView(pid, pid, above, process.executable.rsplit(b"/", 1)[-1][:15], "zombie", threads=0))
    return tuple(views[:_TASKS])


def _waits_for(task: Any) -> bytes:
    """The call that it sleeps in, with the descriptor or the time where there is one."""
    if task.state != "waiting" or task.call is None:
        return b""
    number, arguments = task.call
    name = NAMES[task.isa].get(number, f"syscall {number}")
    if name in ("read", "write", "readv", "writev", "recvfrom", "sendto", "accept", "accept4"):
        return f"{name} {arguments[0] & 0xFFFFFFFF}".encode()
    return name.encode()


def _command(task: Any) -> bytes:
    """The arguments as they stand in its memory; empty when they are not present."""
    start, end = task.process.arguments
    if not 0 < end - start <= 1 << 16:
        return b""
    return peek(task.space, start, min(end - start, 256)).rstrip(b"\0").replace(b"\0", b" ")


def files_view(machine: Any, console: Any, tree: tuple[EntryView, ...]) -> FilesView:
    mounts = []
    for mount in machine.mounts.table():
        used, size = _space(mount.filesystem)
        mounts.append(MountView(mount.path, getattr(mount.filesystem, "name", ""), mount.read_only, used, size))
    descriptors: list[DescriptorView] = []
    seen: set[int] = set()
    for tid, task in sorted(machine.tasks.items()):
        if id(task.files) in seen:
            continue
        seen.add(id(task.files))
        for number, file in task.files:
            if len(descriptors) >= _DESCRIPTORS:
                break
            descriptors.append(_descriptor(tid, number, file))
    return FilesView(
        tuple(mounts),
        tuple(descriptors),
        tree,
        console.total_input,
        console.total,
    )


def _descriptor(task: int, number: int, file: Any) -> DescriptorView:
    kind = _KINDS.get(stat.S_IFMT(file.node.mode), "file")
    access = ("r" if file.readable else "") + ("w" if file.writable else "")
    position = file.position if kind == "file" else None
    try:
        path = file.path
    except Errno:
        path = b"?"
    return DescriptorView(task, number, path, kind, access, position)


def _space(filesystem: Any) -> tuple[int | None, int | None]:
    try:
        found = filesystem.statfs()
    except (Errno, OSError):
        return None, None
    if not found.blocks:
        return None, None
    return (found.blocks - found.bfree) * found.bsize, found.blocks * found.bsize


def tree_view(machine: Any, depth: int = 2) -> tuple[EntryView, ...]:
    """The root and what is in its directories. Large filesystems are left alone."""
    entries: list[EntryView] = []
    _list(machine.mounts.root.top(), 0, depth, entries)
    return tuple(entries)


def _list(place: Any, level: int, depth: int, entries: list[EntryView]) -> None:
    try:
        found = place.node.filesystem.statfs()
        if found.files - found.ffree > _MANY_FILES and getattr(place.node.filesystem, "name", "") != "hostfs":
            entries.append(EntryView(level, b"(too many files to list)", "note"))
            return
        names = sorted(name for name, _, _ in place.node.names() if name not in (b".", b".."))
    except (Errno, OSError):
        return
    for name in names[:_ENTRIES]:
        try:
            child = place.child(name).top()
            mode, size = child.node.mode, child.node.size
        except (Errno, OSError):
            continue
        kind = _KINDS.get(stat.S_IFMT(mode), "file")
        entries.append(EntryView(level, name, kind, size if kind == "file" else None))
        if kind == "directory" and level + 1 < depth and child.node.filesystem is place.node.filesystem:
            _list(child, level + 1, depth, entries)
    if len(names) > _ENTRIES:
        entries.append(EntryView(level, b"(%d more)" % (len(names) - _ENTRIES), "note"))


def program_symbols(machine: Any, task: Any) -> Symbols:
    """Names in the program that the task runs, at the addresses where it stands."""
    path = task.process.executable
    try:
        root = machine.mounts.root.top()
        node = walk(machine.mounts, root, root, path, task.credentials).node
        if not node.is_regular or node.size > _PROGRAM:
            return Symbols({})
        data = node.read_at(0, node.size)
    except (Errno, OSError):
        return Symbols({})
    symbols = read_symbols(data)
    if data[16:18] != b"\x03\x00":  # not ET_DYN: it stands where it was linked
        return symbols
    starts = [region.start - region.offset for region in task.space.regions() if region.name == path]
    return Symbols({name: value + min(starts) for name, value in symbols.by_name.items()}) if starts else symbols
