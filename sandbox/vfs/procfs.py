"""procfs: /proc as libc, busybox and the usual tools read it.

Everything is made at the moment it is looked at, from a `SystemView` and its `ProcessView`s. To add a file: a line in
`proc_system.FILES`, in `proc_system.SETTINGS` (/proc/sys), or in `proc_process.FILES`. Source: proc(5) and fs/proc.
Neighbours: `proc_views` (what the kernel implements), `proc_node` (kinds of nodes), `proc_process`, `proc_system`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sandbox.abi.errno import EACCES, ENOENT, ESRCH, Errno
from sandbox.abi.flags import DT_DIR, DT_LNK, DT_REG, O_ACCMODE, O_RDONLY, O_RDWR
from sandbox.vfs import proc_process, proc_system
from sandbox.vfs.mount import Place, place_of
from sandbox.vfs.node import Node, OpenFile, StatFs
from sandbox.vfs.proc_node import (
    ComputedFilesystem,
    ProcDirectory,
    ProcLink,
    ProcList,
    ProcMemory,
    ProcNode,
    ProcText,
    decimal,
    inode_number,
)
from sandbox.vfs.proc_views import ProcessView, SystemView

Make = Callable[[bytes], ProcNode]


class ProcFs(ComputedFilesystem):
    name = "proc"
    magic = 0x9FA0

    def __init__(self, view: SystemView) -> None:
        super().__init__()
        self.view = view
        self._root = ProcRoot(self)

    @property
    def root(self) -> Node:
        return self._root

    def now(self) -> int:
        return self.view.boot_time() + self.view.uptime()

    def statfs(self) -> StatFs:
        return StatFs(self.magic)

    def process(self, pid: int, tid: int = 0) -> ProcessView:
        """Raises ESRCH: a file of /proc/PID was kept open beyond the process's end."""
        view = self.view.process(pid, tid)
        if view is None:
            raise Errno(ESRCH)
        return view


class ProcRoot(ProcDirectory):
    """The fixed files, and a directory for each process."""

    __slots__ = ()
    filesystem: ProcFs

    def __init__(self, filesystem: ProcFs) -> None:
        children: dict[bytes, Make] = {name: _system_file(filesystem, make) for name, make in proc_system.FILES.items()}
        children[b"self"] = lambda path: ProcLink(filesystem, inode_number(path), lambda: _self(filesystem))
        children[b"thread-self"] = lambda path: ProcLink(filesystem, inode_number(path), lambda: _thread(filesystem))
        children[b"mounts"] = lambda path: ProcLink(filesystem, inode_number(path), lambda: b"self/mounts")
        children[b"net"] = lambda path: ProcLink(filesystem, inode_number(path), lambda: b"self/net")
        children[b"sysvipc"] = lambda path: ProcDirectory(
            filesystem, path, {name: _system_file(filesystem, make) for name, make in proc_system.SYSVIPC.items()}
        )
        children[b"sys"] = lambda path: _settings(filesystem, path, proc_system.SETTINGS)
        super().__init__(filesystem, b"", children)

    def lookup(self, name: bytes) -> Node:
        pid = decimal(name)
        if pid is None:
            return super().lookup(name)
        return process_directory(self.filesystem, b"/" + name, pid, 0)

    def names(self) -> list[tuple[bytes, int, int]]:
        pids = [b"%d" % pid for pid in self.filesystem.view.pids()]
        return super().names() + [(name, inode_number(b"/" + name), DT_DIR) for name in pids]


def _system_file(filesystem: ProcFs, make: Callable[[SystemView], bytes]) -> Make:
    return lambda path: ProcText(filesystem, inode_number(path), lambda: make(filesystem.view))


def _settings(filesystem: ProcFs, path: bytes, table: proc_system.Settings) -> ProcDirectory:
    """/proc/sys: a dictionary is a directory, a pair a file that is read and perhaps written."""
    children: dict[bytes, Make] = {}
    for name, entry in table.items():
        children[name] = _setting(filesystem, entry)
    return ProcDirectory(filesystem, path, children)


def _setting(filesystem: ProcFs, entry: proc_system.Settings | proc_system.Setting) -> Make:
    if isinstance(entry, dict):
        return lambda path: _settings(filesystem, path, entry)
    view = filesystem.view
    write = entry.write

    def make(path: bytes) -> ProcNode:
        return ProcText(
            filesystem,
            inode_number(path),
            lambda: entry.read(view) + b"\n",
            None if write is None else lambda data: write(view, data),
        )

    return make


def _self(filesystem: ProcFs) -> bytes:
    pid = filesystem.view.current()[0]
    if not pid:
        raise Errno(ENOENT)
    return b"%d" % pid


def _thread(filesystem: ProcFs) -> bytes:
    pid, tid = filesystem.view.current()
    if not pid:
        raise Errno(ENOENT)
    return b"%d/task/%d" % (pid, tid)


# -- /proc/PID -----------------------------------------------------------------------------------------------


def process_directory(filesystem: ProcFs, path: bytes, pid: int, tid: int) -> ProcDirectory:
    """Of a process, or of one of its threads when `tid` is not 0. Raises ENOENT when there is none."""
    view = filesystem.view.process(pid, tid)
    if view is None:
        raise Errno(ENOENT)
    uid, gid = view.uids[1], view.gids[1]

    def process() -> ProcessView:
        return filesystem.process(pid, tid)

    def text(
        make: Callable[[ProcessView], bytes], mode: int = 0o444, write: Callable[[bytes], None] | None = None
    ) -> Make:
        return lambda path: ProcText(
            filesystem, inode_number(path), lambda: make(process()), write, mode, uid, gid
        )  # fmt: skip

    def magic(find: Callable[[ProcessView], Place | None]) -> Make:
        def jump() -> Place | None:
            view = process()
            _check_inspection(filesystem, view)
            return find(view)

        def target() -> bytes:
            place = jump()
            if place is None:
                raise Errno(ENOENT)
            return place.path(_root_of_caller(filesystem))

        return lambda path: ProcLink(
            filesystem, inode_number(path), target, jump, 0o777, uid, gid
        )  # fmt: skip

    def names_of_files() -> Iterable[int]:
        return [number for number, _, _ in process().files()]

    def file_link(number: int, path: bytes) -> ProcNode:
        return _file_link(filesystem, path, process, number)

    def file_info(number: int, path: bytes) -> ProcNode:
        _open_file(process(), number)
        return ProcText(
            filesystem, inode_number(path), lambda: proc_process.fdinfo(*_open_file(process(), number)), None,
            0o400, uid, gid,
        )  # fmt: skip

    children: dict[bytes, Make] = {name: text(make, mode) for name, (mode, make) in proc_process.FILES.items()}
    children |= {name: magic(find) for name, find in proc_process.LINKS.items()}
    children[b"comm"] = text(lambda view: view.name + b"\n", 0o644, lambda data: process().rename(data))
    children[b"oom_score_adj"] = text(
        lambda view: b"%d\n" % view.oom_adjustment, 0o644, lambda data: process().adjust_oom(data)
    )
    children[b"mem"] = lambda path: ProcMemory(
        filesystem, inode_number(path), lambda: process().check_memory(),
        lambda address, count: process().read_memory(address, count),
        lambda address, data: process().write_memory(address, data), uid, gid,
    )  # fmt: skip
    children[b"mounts"] = text(lambda view: proc_process.mounts(filesystem.view.mounts, view))
    children[b"mountinfo"] = text(lambda view: proc_process.mountinfo(filesystem.view.mounts, view))
    children[b"fd"] = lambda path: ProcList(
        filesystem, path, names_of_files, file_link, DT_LNK, 0o500, uid, gid
    )  # fmt: skip
    children[b"fdinfo"] = lambda path: ProcList(
        filesystem, path, names_of_files, file_info, DT_REG, 0o500, uid, gid
    )  # fmt: skip
    children[b"net"] = lambda path: ProcDirectory(
        filesystem, path, {name: _system_file(filesystem, make) for name, make in proc_system.NETWORK.items()}
    )
    if not tid:
        children[b"task"] = lambda path: ProcList(
            filesystem, path, lambda: process().threads, lambda number, path: process_directory(
                filesystem, path, view.pid, number
            ), DT_DIR, 0o555, uid, gid,
        )  # fmt: skip
    return ProcDirectory(filesystem, path, children, 0o555, uid, gid)


def _check_inspection(filesystem: ProcFs, view: ProcessView) -> None:
    """Where a process is and what it runs is for its user and the superuser (ptrace(2), PTRACE_MODE_READ)."""
    pid, tid = filesystem.view.current()
    caller = filesystem.view.process(pid, tid) if pid else None
    if caller is not None and caller.uids[3] not in (0, view.uids[1]):
        raise Errno(EACCES)


def _root_of_caller(filesystem: ProcFs) -> Place | None:
    pid, tid = filesystem.view.current()
    view = filesystem.view.process(pid, tid) if pid else None
    return view.root() if view is not None else None


def _open_file(view: ProcessView, number: int) -> tuple[OpenFile, bool]:
    found = proc_process.find_file(view, number)
    if found is None:
        raise Errno(ENOENT)
    return found


def _file_link(filesystem: ProcFs, path: bytes, process: Callable[[], ProcessView], number: int) -> ProcLink:
    """/proc/PID/fd/N: following it opens what the descriptor refers to, whether it has a name or not."""
    view = process()
    file = _open_file(view, number)[0]
    access = file.flags & O_ACCMODE
    mode = 0o100 | (0o400 if access in (O_RDONLY, O_RDWR) else 0) | (0o200 if access != O_RDONLY else 0)

    def target() -> bytes:
        file = _open_file(process(), number)[0]
        return file.place.path(_root_of_caller(filesystem)) if file.place is not None else file.path

    return ProcLink(
        filesystem, inode_number(path), target, lambda: place_of(_open_file(process(), number)[0]), mode,
        view.uids[1], view.gids[1],
    )  # fmt: skip
