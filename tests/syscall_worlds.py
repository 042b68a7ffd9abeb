"""Two worlds in which the same syscall test can run: a guest task of any ISA, and the host's own kernel.

A case is a function of a `World`; it makes calls by name and asserts on results, -errno on failure, exactly as the
kernel returns them. Arguments: int; bytes (a C string or input, placed in memory with a NUL behind it); bytearray (a
buffer, holding afterwards what the call left there); None (NULL). Paths are relative to an empty directory.

`GuestWorld` goes through the table: number, register placement, conversion, handler. `HostWorld` calls syscall(2) and
must run in a child process of its own (`on_host`), because it changes directories, descriptors and limits.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import signal
import struct
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from sandbox.abi.errno import Errno
from sandbox.abi.flags import AT_FDCWD, O_CREAT, O_RDONLY, O_TRUNC, O_WRONLY
from sandbox.abi.numbers import NUMBERS
from sandbox.abi.structs import BITS
from sandbox.clock import SeededEntropy, VirtualClock
from sandbox.engine import Context, isa_named
from sandbox.kernel.calling import places
from sandbox.kernel.fdtable import FdTable
from sandbox.kernel.linux import LinuxMachine
from sandbox.kernel.process import Process
from sandbox.kernel.row import WIDE
from sandbox.kernel.table import entries
from sandbox.kernel.task import Credentials, FsContext, Task
from sandbox.memory import AddressSpace, FramePool
from sandbox.vfs.devfs import DevFs, install_devices, populate_dev
from sandbox.vfs.mount import Mounts
from sandbox.vfs.tmpfs import Tmpfs
from sandbox.wait import Block

BAD = 0x10  # in the first page, which nobody has
SCRATCH = 0x10000
SCRATCH_SIZE = 1 << 22

Value = int | bytes | bytearray | None


class Blocked(Exception):
    """The call would sleep; `GuestWorld.again` makes it once more."""


class World:
    isa: str
    word: int
    host = False

    def call(self, name: str, *arguments: Value) -> int:
        raise NotImplementedError

    def memory(self, data: bytes) -> int:
        """The address of a copy that stays."""
        raise NotImplementedError

    def peek(self, address: int, size: int) -> bytes:
        raise NotImplementedError

    def become(self, uid: int, gid: int) -> None:
        """Another user, for good."""
        raise NotImplementedError

    def has(self, name: str) -> bool:
        return name in NUMBERS[self.isa]

    # -- what most cases need; none of it is under test there -------------------------------------------

    def open(self, path: bytes, flags: int = O_RDONLY, mode: int = 0o644) -> int:
        return self.call("openat", AT_FDCWD, path, flags, mode)

    def file(self, path: bytes, data: bytes = b"", mode: int = 0o644) -> None:
        fd = self.open(path, O_WRONLY | O_CREAT | O_TRUNC, mode)
        assert fd >= 0, (path, fd)
        if data:
            assert self.call("write", fd, data, len(data)) == len(data)
        self.call("close", fd)

    def content(self, path: bytes, limit: int = 1 << 16) -> bytes:
        fd = self.open(path)
        assert fd >= 0, (path, fd)
        buffer = bytearray(limit)
        count = self.call("read", fd, buffer, limit)
        self.call("close", fd)
        return bytes(buffer[:count])

    def directory(self, path: bytes, mode: int = 0o755) -> None:
        assert self.call("mkdirat", AT_FDCWD, path, mode) == 0

    def pipe(self, flags: int = 0) -> tuple[int, int]:
        ends = bytearray(8)
        assert self.call("pipe2", ends, flags) == 0
        reader, writer = struct.unpack("<ii", ends)
        return reader, writer

    def stat(self, path: bytes, follow: bool = True) -> dict[str, int]:
        """By statx, which is the same on every ISA."""
        buffer = bytearray(256)
        result = self.call("statx", AT_FDCWD, path, 0 if follow else 0x100, 0x7FF, buffer)
        return {"error": result} if result else statx_fields(buffer)

    def fstat(self, fd: int) -> dict[str, int]:
        buffer = bytearray(256)
        result = self.call("statx", fd, b"", 0x1000, 0x7FF, buffer)
        return {"error": result} if result else statx_fields(buffer)

    def vector(self, parts: Sequence[tuple[int, int]]) -> int:
        """An iovec array of (address, length)."""
        return self.memory(b"".join(self.words(*part) for part in parts) + b"\0")

    def words(self, *values: int) -> bytes:
        mask = (1 << 8 * self.word) - 1
        return b"".join((value & mask).to_bytes(self.word, "little") for value in values)


def statx_fields(data: bytearray) -> dict[str, int]:
    names = "mask blksize attributes nlink uid gid mode ino size blocks attributes_mask".split()
    result = dict(zip(names, struct.unpack_from("<IIQIIIHxxQQQQ", data), strict=True))
    for name, offset in (("atime", 64), ("btime", 80), ("ctime", 96), ("mtime", 112)):
        seconds, nano = struct.unpack_from("<qI", data, offset)
        result[name] = seconds * 1_000_000_000 + nano
    result["rdev_major"], result["rdev_minor"] = struct.unpack_from("<II", data, 128)
    return result


# -- the guest ---------------------------------------------------------------------------------------------


class GuestWorld(World):
    """A task of a fresh machine with a tmpfs as root and a /dev. `absent` names a call that does nothing and returns
    0: a case that cannot tell proves nothing."""

    def __init__(self, isa: str, machine: LinuxMachine, task: Task, absent: str = "") -> None:
        self.isa = isa
        self.word = BITS[isa] // 8
        self.machine = machine
        self.task = task
        self.absent = absent
        self.next_free = SCRATCH
        self.pending: tuple[str, tuple[Value, ...]] | None = None
        self.number = NUMBERS[isa]
        self.entries = entries(isa)

    def memory(self, data: bytes) -> int:
        address = self.next_free
        self.next_free += len(data) + 15 & ~15
        assert self.next_free <= SCRATCH + SCRATCH_SIZE
        self.task.space.copy_out(address, data)
        return address

    def peek(self, address: int, size: int) -> bytes:
        return self.task.space.copy_in(address, size)

    def call(self, name: str, *arguments: Value) -> int:
        if name == self.absent:
            return 0
        before = self.next_free
        self.task.restart.clear()
        self.task.call = None
        try:
            return self._call(name, arguments)
        except Blocked:
            self.pending = (name, arguments)
            raise
        finally:
            self.next_free = before

    def again(self) -> int:
        """The call that slept, run again as the kernel does after a wake."""
        assert self.pending is not None
        self.machine.timers.expire(self.machine.clock.monotonic())
        result = self._call(*self.pending)
        self.pending = None
        self.task.restart.clear()
        self.task.call = None
        return result

    def blocks(self, name: str, *arguments: Value) -> bool:
        try:
            self.call(name, *arguments)
        except Blocked:
            return True
        return False

    def _call(self, name: str, arguments: tuple[Value, ...]) -> int:
        registers = [0] * 6
        entry = self.entries[self.number[name]]
        kinds = entry.row.parsed()
        assert len(arguments) == len(kinds), (name, len(kinds))
        mask = (1 << BITS[self.isa]) - 1
        buffers: list[tuple[int, bytearray]] = []
        for argument, value, register in zip(kinds, arguments, places(self.isa, kinds), strict=True):
            if isinstance(value, bytes | bytearray):
                address = self.memory(bytes(value) + b"\0")
                if isinstance(value, bytearray):
                    buffers.append((address, value))
                value = address
            number = value or 0
            if argument.kind == "flags" and argument.words == "open":
                number = open_flags_of(self.isa, number)
            registers[register] = number & mask
            if argument.kind in WIDE and self.word == 4:
                registers[register + 1] = number >> 32 & mask
        return self.raw(self.number[name], registers, buffers)

    def raw(self, number: int, registers: list[int], buffers: Sequence[tuple[int, bytearray]] = ()) -> int:
        """One call by number and registers."""
        try:
            result = self.entries[number].call(self.task, tuple(registers))
        except Errno as error:
            result = -error.number
        except Block as block:
            self.task.call = (number, tuple(registers))
            if block.deadline is not None:
                self.machine.timers.add(block.deadline, _Nobody())
            raise Blocked from None
        for address, buffer in buffers:
            buffer[:] = self.task.space.copy_in(address, len(buffer))
        assert result is not None
        return result

    def become(self, uid: int, gid: int) -> None:
        self.task.credentials = Credentials(uid, gid)

    def advance(self, nanoseconds: int) -> None:
        clock = self.machine.clock
        assert isinstance(clock, VirtualClock)
        clock.advance(nanoseconds)

    def other(self, share_files: bool = False) -> GuestWorld:
        """A task of another process of the same machine, with copies of the descriptors (fork)."""
        mine = self.task
        process = Process(self.machine, max(self.machine.processes) + 1, mine.process)
        task = _task(
            self.machine, process, mine.files.share() if share_files else mine.files.duplicate(), mine.fs.copy()
        )
        return GuestWorld(self.isa, self.machine, task)

    @property
    def pending_signals(self) -> int:
        return self.task.signals.pending.bits | self.task.process.pending.bits


class _Nobody:
    def expire(self, entry: list[object]) -> None:
        pass


def open_flags_of(isa: str, value: int) -> int:
    from sandbox.abi.flags import open_flags

    return open_flags(isa, value)


def _task(machine: LinuxMachine, process: Process, files: FdTable, fs: FsContext) -> Task:
    space = AddressSpace(machine.pool, machine.account, machine.isa.bits)
    space.map(SCRATCH, SCRATCH_SIZE, 3, fixed=True)
    task = Task(
        machine,
        process,
        process.pid,
        context=Context(machine.isa),
        space=space,
        files=files,
        fs=fs,
        credentials=Credentials(),
    )
    machine.processes[process.pid] = process
    machine.add_task(task)
    return task


@contextmanager
def guest(isa: str, absent: str = "") -> Iterator[GuestWorld]:
    pool = FramePool(32 << 20)
    account = pool.account(24 << 20)
    clock = VirtualClock()
    mounts = Mounts(Tmpfs(pool, account, clock, limit=8 << 20))
    machine = LinuxMachine(isa_named(isa), pool, account, mounts, clock=clock, entropy=SeededEntropy(1))
    root = mounts.root
    root.node.mkdir(b"work", 0o755, 0, 0)
    root.node.mkdir(b"dev", 0o755, 0, 0)
    devices = DevFs(pool, account, clock)
    populate_dev(devices)
    mounts.mount(b"/dev", devices)
    install_devices(mounts, SeededEntropy(2))
    fs = FsContext(root, root.child(b"work"))
    process = Process(machine, 1, None)
    world = GuestWorld(isa, machine, _task(machine, process, FdTable(256, machine.file_budget), fs), absent)
    for _ in range(3):
        null = root.child(b"work").node.temporary(0o600, 0, 0).open(2)
        world.task.files.allocate(null)
    try:
        yield world
    finally:
        machine.release()
        pool.close()


# -- the host ----------------------------------------------------------------------------------------------


class HostWorld(World):
    isa = "x86_64"
    word = 8
    host = True

    def __init__(self) -> None:
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall
        self._syscall.restype = ctypes.c_long
        self._kept: list[ctypes.Array[ctypes.c_char]] = []

    def memory(self, data: bytes) -> int:
        copy = ctypes.create_string_buffer(data, len(data))
        self._kept.append(copy)
        return ctypes.addressof(copy)

    def peek(self, address: int, size: int) -> bytes:
        return ctypes.string_at(address, size)

    def become(self, uid: int, gid: int) -> None:
        assert self.call("setgroups", 0, None) == 0
        assert self.call("setresgid", gid, gid, gid) == 0
        assert self.call("setresuid", uid, uid, uid) == 0

    def call(self, name: str, *arguments: Value) -> int:
        raw: list[ctypes.c_long] = []
        buffers: list[tuple[bytearray, ctypes.Array[ctypes.c_char]]] = []
        for value in arguments:
            if isinstance(value, bytes | bytearray):
                copy = ctypes.create_string_buffer(bytes(value), len(value) + 1)
                if isinstance(value, bytearray):
                    buffers.append((value, copy))
                else:
                    self._kept.append(copy)
                value = ctypes.addressof(copy)
            raw.append(ctypes.c_long(value or 0))
        result = int(self._syscall(ctypes.c_long(NUMBERS["x86_64"][name]), *raw))
        if result == -1:
            return -ctypes.get_errno()
        for buffer, copy in buffers:
            buffer[:] = copy.raw[: len(buffer)]
        return result


def on_host(case: Callable[[HostWorld], None]) -> str:
    """Run `case` on the host kernel in a child process and an empty directory of a tmpfs; its failure as a text."""
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    directory = tempfile.mkdtemp(dir=shared)
    report = mmap.mmap(-1, 1 << 16)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.chmod(directory, 0o755)
            os.chdir(directory)
            os.umask(0o022)
            os.closerange(3, 1024)
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            case(HostWorld())
            status = 0
        except BaseException:
            lines = traceback.format_exc().encode()[-60000:]
            report[: len(lines)] = lines
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    shutil.rmtree(directory, ignore_errors=True)
    text = bytes(report).rstrip(b"\0").decode()
    report.close()
    return text or ("" if status == 0 else f"the child ended with status {status:#x}")
