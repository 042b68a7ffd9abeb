"""procfs: the formats are those of the host's own /proc, and what is behind the links is really there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from sandbox.abi.errno import EACCES, EFAULT, EPERM, Errno
from sandbox.abi.flags import O_RDONLY, O_RDWR, O_WRONLY
from sandbox.memory import Region
from sandbox.vfs.mount import Mounts, Place
from sandbox.vfs.node import OpenFile
from sandbox.vfs.pipe import PipeFs
from sandbox.vfs.proc_views import CapabilityFigures, MemoryFigures, SignalFigures, TimeFigures
from sandbox.vfs.procfs import ProcFs
from tests.vfs_actors import GuestActor
from tests.vfs_filesystems import tmpfs

UNLIMITED = (1 << 64) - 1


class FakeProcess:
    def __init__(self, system: FakeSystem, pid: int, tid: int) -> None:
        self.system, self.pid, self.tid = system, pid, tid
        self.parent, self.group, self.session, self.terminal = 0 if pid == 1 else 1, pid, 1, 0
        self.foreground = -1
        self.name = system.names[pid]
        self.state = "R" if pid == 1 else "Z" if pid == 9 else "S"
        self.threads: Sequence[int] = (pid, pid + 100)
        uid = system.uids.get(pid, 0)
        self.uids, self.gids = (uid, uid, uid, uid), (uid, uid, uid, uid)
        self.groups: Sequence[int] = (4, 20)
        self.umask, self.nice = 0o022, 0
        self.times = TimeFigures(10**9, 2 * 10**9, 10**9, 0, 0)
        self.faults, self.switches = (10, 2), (5, 6)
        self.signals = SignalFigures(0, 0, 1 << 13, 1 << 12, 1 << 16, 0)
        self.capabilities = CapabilityFigures(0, (1 << 41) - 1, (1 << 41) - 1, (1 << 41) - 1, 0)
        self.limits: Sequence[tuple[int, int]] = [(1024, 4096) if n == 7 else (UNLIMITED, UNLIMITED) for n in range(16)]
        self.resident, self.peak = 8 << 12, 9 << 12
        self.oom_adjustment = 0

    def rename(self, name: bytes) -> None:
        if self.system.now[0] != self.pid:
            raise Errno(EPERM)
        self.system.names[self.pid] = name.rstrip(b"\n")[:15]

    def adjust_oom(self, text: bytes) -> None:
        self.oom_adjustment = int(text)

    def read_memory(self, address: int, count: int) -> bytes:
        if address != 0x1000:
            raise Errno(EFAULT)
        return b"memory".ljust(count, b"\0")

    def check_memory(self) -> None:
        if self.system.uids.get(self.system.now[0], 0) not in (0, self.uids[0]):
            raise Errno(EACCES)

    def write_memory(self, address: int, data: bytes) -> None:
        raise Errno(EFAULT)

    def resident_in(self, region: Region) -> int:
        return region.length // 2

    def regions(self) -> Iterable[Region]:
        if self.state == "Z":
            return []
        node = self.system.program.node
        return [
            Region(0x400000, 0x402000, 5, name=b"/bin/prog", offset=0x1000, source=node.page_source()),
            Region(0x10000000, 0x10001000, 3, name=b"[heap]"),
            Region(0x20000000, 0x20001000, 3, shared=True, name=b"/dev/shm/a b\nc"),
            Region(0x7FFFFFFDE000, 0x7FFFFFFFF000, 3, name=b"[stack]", grows_down=True),
        ]

    def command_line(self) -> bytes:
        return b"" if self.state == "Z" else b"/bin/prog\0-x\0"

    def environment(self) -> bytes:
        return b"HOME=/\0"

    def auxiliary(self) -> bytes:
        return bytes(16)

    def executable(self) -> Place | None:
        return None if self.state == "Z" else self.system.program

    def cwd(self) -> Place | None:
        return None if self.state == "Z" else self.system.cwd

    def root(self) -> Place | None:
        return self.system.mounts.root

    def files(self) -> Iterable[tuple[int, OpenFile, bool]]:
        return self.system.files


class FakeSystem:
    def __init__(self, actor: GuestActor) -> None:
        self.isa, self.cpus, self.release, self.version, self.machine = "x86_64", 2, b"6.1.0", b"#1 SMP", b"x86_64"
        self.hostname, self.domain_name = b"box", b"(none)"
        self.mounts: Mounts = actor.mounts
        self.now = (7, 7)
        self.names = {1: b"init", 7: b"prog) R 1", 9: b"gone"}
        self.uids = {9: 1000}
        self.program = actor.namespace.find(actor.start, b"/bin/prog")
        self.cwd = actor.namespace.find(actor.start, b"/tmp")
        self.files: list[tuple[int, OpenFile, bool]] = []

    def current(self) -> tuple[int, int]:
        return self.now

    def pids(self) -> Iterable[int]:
        return sorted(self.names)

    def message_queues(self) -> list[tuple[int, ...]]:
        return [(-1, 32768, 0o640, 5, 1, 7, 0, 1000, 100, 0, 0, 11, 0, 10)]

    def semaphores(self) -> list[tuple[int, ...]]:
        return [(0x1234, 0, 0o600, 3, 0, 0, 0, 0, 12, 10)]

    def shared_memory(self) -> list[tuple[int, ...]]:
        return []

    def process(self, pid: int, tid: int = 0) -> FakeProcess | None:
        if pid not in self.names or tid not in (0, pid, pid + 100):
            return None
        return FakeProcess(self, pid, tid or pid)

    def uptime(self) -> int:
        return 12_345_678_901_234

    def boot_time(self) -> int:
        return 1_700_000_000 * 10**9

    def memory(self) -> MemoryFigures:
        return MemoryFigures(64 << 20, 32 << 20, 8 << 20, 1 << 20)

    def load(self) -> tuple[float, float, float]:
        return (0.5, 0.25, 0.125)

    def runnable(self) -> int:
        return 1

    def forks(self) -> int:
        return 3

    def switches(self) -> int:
        return 100

    def last_pid(self) -> int:
        return 9

    def highest_pid(self) -> int:
        return 32768

    def open_files(self) -> tuple[int, int]:
        return (6, 4096)

    def random(self, count: int) -> bytes:
        return bytes(range(count))


@pytest.fixture
def system() -> FakeSystem:
    actor = GuestActor(tmpfs())
    for name in (b"proc", b"bin", b"tmp", b"a b"):
        actor.act(("mkdir", name))
    actor.run([("write", b"bin/prog", b"\x7fELF" + bytes(9000)), ("write", b"tmp/f", b"contents")])
    actor.mounts.mount(b"/a b", tmpfs(), read_only=True, source=b"x y")
    system = FakeSystem(actor)
    actor.mounts.mount(b"/proc", ProcFs(system), source=b"proc")
    system.actor = actor  # type: ignore[attr-defined]
    return system


def read(system: FakeSystem, path: bytes) -> Any:
    return system.actor.act(("read", path))  # type: ignore[attr-defined]


def act(system: FakeSystem, *step: Any) -> Any:
    return system.actor.act(step)  # type: ignore[attr-defined]


# What a line (or the whole) must look like; the same patterns must fit the host's own files.
LINES: dict[str, str] = {
    "uptime": r"\d+\.\d\d \d+\.\d\d",
    "loadavg": r"\d+\.\d\d \d+\.\d\d \d+\.\d\d \d+/\d+ \d+",
    "meminfo": r"[\w()]+: +\d+( kB)?",
    "stat": r"(cpu\d* +(\d+ ?){10}|(intr|ctxt|btime|processes|procs_running|procs_blocked|softirq)[ \d]+)",
    "filesystems": r"(nodev)?\t\w+",
    "version": r"Linux version \S+ .*",
    "cpuinfo": r"[\w /-]+\t*: ?.*|",
    "self/stat": r"\d+ \(.*\) [A-Z]( -?\d+){49}",
    "self/statm": r"\d+( \d+){6}",
    "self/status": r"[\w-]+:\t.*",
    "self/maps": r"[0-9a-f]{8,}-[0-9a-f]{8,} [r-][w-][x-][ps] [0-9a-f]{8,} [0-9a-f]+:[0-9a-f]+ \d+( +.*)?",
    "self/limits": r"(Limit|Max [a-z ]+?) +(Soft Limit|unlimited|\d+) +(Hard Limit|unlimited|\d+) *(Units|\w+)? *",
    "self/mounts": r"\S+ \S+ \S+ \S+ 0 0",
    "self/mountinfo": r"\d+ \d+ \d+:\d+ \S+ \S+ \S+ (\S+ )?- \S+ \S+ \S+",
    "self/cgroup": r"\d+:.*:/.*",
    "self/io": r"\w+: \d+",
    "sys/kernel/random/uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    "sys/kernel/random/boot_id": r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    "sys/kernel/pid_max": r"\d+",
    "sys/kernel/osrelease": r"\d+\.\d+.*",
    "sys/fs/file-nr": r"\d+\t0\t\d+",
}


@pytest.mark.parametrize("path", LINES)
def test_formats(system: FakeSystem, path: str) -> None:
    ours = read(system, b"proc/" + path.encode()).decode()
    assert ours.endswith("\n")
    texts = [ours]
    host = Path("/proc") / path
    if host.is_file() and os.access(host, os.R_OK):
        texts.append(host.read_text(errors="replace"))
    for text in texts:
        for line in text.splitlines():
            assert re.fullmatch(LINES[path], line), line


@pytest.mark.parametrize(("path", "separator"), [("self/status", ":"), ("meminfo", ":"), ("self/limits", "  ")])
def test_no_label_is_invented(system: FakeSystem, path: str, separator: str) -> None:
    """And what the usual tools look for is there."""

    def labels(text: str) -> set[str]:
        return {line.split(separator)[0].strip() for line in text.splitlines()}

    ours = labels(read(system, b"proc/" + path.encode()).decode())
    wanted = {
        "self/status": {"Name", "State", "Tgid", "Pid", "PPid", "Uid", "Gid", "Threads", "VmSize", "VmRSS", "SigCgt"},
        "meminfo": {"MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "SwapTotal", "SwapFree", "Shmem"},
        "self/limits": {"Max open files", "Max stack size", "Max processes"},
    }[path]
    assert wanted <= ours
    theirs = labels((Path("/proc") / path).read_text())
    if len(theirs) > 20:  # a real Linux
        assert ours - theirs <= {"NStgid", "NSpid", "NSpgid", "NSsid", "Ngid", "SReclaimable", "VmPin"}


def test_texts(system: FakeSystem) -> None:
    assert read(system, b"proc/uptime").startswith(b"12345.67 ")
    assert read(system, b"proc/self/cmdline") == b"/bin/prog\0-x\0"
    assert read(system, b"proc/self/environ") == b"HOME=/\0"
    assert read(system, b"proc/sys/kernel/hostname") == b"box\n"
    assert read(system, b"proc/cpuinfo").count(b"processor\t") == 2
    assert b"MemTotal:          65536 kB\n" in read(system, b"proc/meminfo")
    assert b"/a\\040b tmpfs ro,relatime 0 0\n" in read(system, b"proc/mounts")
    assert b"x\\040y " in read(system, b"proc/mounts")
    maps = read(system, b"proc/self/maps").splitlines()
    ino = system.program.node.ino
    assert re.fullmatch(rb"00400000-00402000 r-xp 00001000 00:11 %d +/bin/prog" % ino, maps[0])
    assert maps[2].endswith(b"/dev/shm/a b\\012c")
    assert len(maps) == 4
    fields = read(system, b"proc/7/stat").rsplit(b")", 1)
    assert fields[0] == b"7 (prog) R 1"
    assert fields[1].split()[:3] == [b"S", b"1", b"7"]
    assert read(system, b"proc/9/maps") == b"" == read(system, b"proc/9/cmdline")
    assert b"Max open files            1024                 4096                 files" in read(
        system, b"proc/7/limits"
    )


def test_who_is_there(system: FakeSystem) -> None:
    listed = act(system, "list", b"proc")
    assert {b"1", b"7", b"9", b"self", b"cpuinfo", b"sys"} <= set(listed)
    assert act(system, "readlink", b"proc/self") == b"7"
    assert act(system, "readlink", b"proc/thread-self") == b"7/task/7"
    assert act(system, "list", b"proc/self/task") == [b"107", b"7"]
    assert read(system, b"proc/self/task/107/stat").startswith(b"107 (")
    for name in (b"2", b"07", b"-1", b"+7", b"99999999999999999999", b"7x", b"", b"seven"):
        if name:
            assert read(system, b"proc/" + name + b"/stat") == "ENOENT"
    assert read(system, b"proc/7/task/9/stat") == "ENOENT"
    act(system, "keep", "f", b"proc/7/stat", "r")
    act(system, "keep", "d", b"proc/7", "r", "dir")
    del system.names[7]
    assert act(system, "pread", "f", 10, 0) == "ESRCH"
    system.now = (0, 0)
    assert act(system, "readlink", b"proc/self") == "ENOENT"


def test_every_file_can_be_read_and_has_its_own_number(system: FakeSystem) -> None:
    seen: dict[int, bytes] = {}
    pending = [b"proc"]
    files = 0
    while pending:
        where = pending.pop()
        node = system.actor.namespace.find(system.actor.start, where).node  # type: ignore[attr-defined]
        for name, ino, _ in node.names():
            path = where + b"/" + name
            found = system.actor.namespace.stat(system.actor.start, path, follow=False)  # type: ignore[attr-defined]
            assert found.ino == ino
            assert seen.setdefault(ino, path) == path
            kind = act(system, "lstat", path).split()[0]
            if kind == "dir":
                pending.append(path)
            elif kind == "file":
                files += 1
                content = read(system, path)
                if name == b"mem":
                    assert content == "EIO", path  # nothing lies at its beginning
                else:
                    assert isinstance(content, bytes), path
            else:
                assert isinstance(act(system, "readlink", path), bytes) or b"/9/" in path, path
    assert files > 200


def test_descriptors(system: FakeSystem) -> None:
    namespace, start = system.actor.namespace, system.actor.start  # type: ignore[attr-defined]
    reader, writer = PipeFs().pipe()
    system.files = [
        (0, namespace.open(start, b"tmp/f", O_RDONLY), False),
        (1, writer, True),
        (5, namespace.open(start, b"tmp/f", O_RDWR), False),
        (6, namespace.open(start, b"tmp/f", O_WRONLY), False),
    ]
    assert act(system, "list", b"proc/self/fd") == [b"0", b"1", b"5", b"6"]
    assert act(system, "readlink", b"proc/self/fd/0") == b"/tmp/f"
    assert act(system, "readlink", b"proc/self/fd/1") == b"pipe:[1]"
    assert [act(system, "lstat", b"proc/self/fd/%d" % fd).split()[1] for fd in (0, 1, 5, 6)] == [
        "500",
        "300",
        "700",
        "300",
    ]
    assert read(system, b"proc/self/fd/0") == b"contents"
    assert read(system, b"proc/self/fd/6") == b"contents"  # the file is opened anew
    assert act(system, "write", b"proc/self/fd/1", b"through the link") == 16
    assert reader.read(100) == b"through the link"
    act(system, "unlink", b"tmp/f")
    assert act(system, "readlink", b"proc/self/fd/0") == b"/tmp/f (deleted)"
    assert read(system, b"proc/self/fd/0") == b"contents"
    system.files[0][1].seek(3, 0)
    info = read(system, b"proc/self/fdinfo/0").decode()
    assert re.match(r"pos:\t3\nflags:\t00\nmnt_id:\t1\nino:\t\d+\n", info)
    assert "flags:\t02000001\n" in read(system, b"proc/self/fdinfo/1").decode()
    for path in (b"proc/self/fd/3", b"proc/self/fd/x", b"proc/self/fdinfo/3"):
        assert read(system, path) == "ENOENT"
    assert act(system, "stat", b"proc/self/fd/1").startswith("fifo")


def test_magic_links(system: FakeSystem) -> None:
    assert act(system, "readlink", b"proc/self/exe") == b"/bin/prog"
    assert act(system, "readlink", b"proc/self/cwd") == b"/tmp"
    assert act(system, "readlink", b"proc/self/root") == b"/"
    assert read(system, b"proc/self/exe")[:4] == b"\x7fELF"
    assert read(system, b"proc/self/cwd/f") == b"contents"
    assert read(system, b"proc/self/root/tmp/f") == b"contents"
    act(system, "rename", b"tmp", b"elsewhere")
    assert act(system, "readlink", b"proc/self/cwd") == b"/elsewhere"
    assert read(system, b"proc/self/cwd/f") == b"contents"  # not what the text says, what it is
    assert act(system, "readlink", b"proc/9/exe") == "ENOENT"
    system.now = (9, 9)  # another user
    assert act(system, "readlink", b"proc/7/cwd") == "EACCES"
    assert read(system, b"proc/7/root/elsewhere/f") == "EACCES"
    assert act(system, "readlink", b"proc/9/root") == b"/"


def test_what_can_be_written(system: FakeSystem) -> None:
    assert act(system, "write", b"proc/self/comm", b"renamed by itself, at length\n") == 29
    assert read(system, b"proc/self/comm") == b"renamed by itse\n"
    assert act(system, "write", b"proc/1/comm", b"x") == "EPERM"
    assert act(system, "write", b"proc/sys/kernel/hostname", b"new\n") == 4
    assert system.hostname == b"new"
    assert act(system, "write", b"proc/sys/kernel/hostname", b"x" * 65) == "EINVAL"
    for path in (b"proc/uptime", b"proc/self/stat", b"proc/sys/kernel/osrelease"):
        assert act(system, "write", path, b"x") == "EACCES"
    for step in (
        ("mkdir", b"proc/new"), ("write", b"proc/new", b"x"), ("unlink", b"proc/uptime"), ("rmdir", b"proc/sys"),
        ("symlink", b"x", b"proc/new"), ("rename", b"proc/uptime", b"proc/x"), ("chmod", b"proc/uptime", 0o777),
        ("truncate", b"proc/uptime", 0), ("link", b"proc/uptime", b"proc/x"), ("mkfifo", b"proc/x"),
    ):  # fmt: skip
        assert act(system, *step) in ("ENOENT", "EPERM", "EACCES"), step


def test_a_text_is_of_one_piece(system: FakeSystem) -> None:
    act(system, "keep", "f", b"proc/self/status", "r")
    file = system.actor.files["f"]  # type: ignore[attr-defined]
    pieces = [file.read(10)]
    system.names[7] = b"changed-meanwhile"
    while piece := file.read(10):
        pieces.append(piece)
    assert b"".join(pieces).startswith(b"Name:\tprog) R 1\n")
    assert file.read(10, 6) == b"prog) R 1\n"
    file.seek(0, 0)
    assert b"changed" in file.read(100)


def test_ipc_is_shown_as_ipcs_reads_it(system: FakeSystem) -> None:
    queues, semaphores, segments = (
        read(system, b"proc/sysvipc/" + name).splitlines() for name in (b"msg", b"sem", b"shm")
    )
    assert [int(word, 8 if column == 2 else 10) for column, word in enumerate(queues[1].split())] == [
        -1, 32768, 0o640, 5, 1, 7, 0, 1000, 100, 0, 0, 11, 0, 10,
    ]  # fmt: skip
    assert semaphores[1].split() == b"4660 0 600 3 0 0 0 0 12 10".split()
    assert len(queues[0].split()) == 14 and len(semaphores[0].split()) == 10
    assert len(segments) == 1 and len(segments[0].split()) == 16
