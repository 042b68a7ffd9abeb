"""/dev: the devices that programs expect, as a table, and the tmpfs that holds their nodes.

A device node only carries a number; what opening it gives is in `Mounts.devices`, filled by `install_devices`. So a
node of that number works wherever it lies, and a host's device is never touched. Terminals are not made here: who
has them registers openers for TTY, CONSOLE and PTMX; until then /dev/tty gives ENXIO, as without a terminal.
Source: null(4), full(4), random(4), Documentation/admin-guide/devices.txt. Neighbours: `mount`, `root`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.abi.errno import EBADF, ENOSPC, Errno
from sandbox.abi.flags import S_IFCHR
from sandbox.clock import Entropy
from sandbox.vfs.file import OpenFile
from sandbox.vfs.mount import DeviceOpener, Mounts
from sandbox.vfs.node import Node, device_number
from sandbox.vfs.tmpfs import Tmpfs
from sandbox.vfs.tree import TreeDirectory

if TYPE_CHECKING:
    from sandbox.memory import AddressSpace

NULL = device_number(1, 3)
ZERO = device_number(1, 5)
FULL = device_number(1, 7)
RANDOM = device_number(1, 8)
URANDOM = device_number(1, 9)
TTY = device_number(5, 0)
CONSOLE = device_number(5, 1)
PTMX = device_number(5, 2)

RNDGETENTCNT = 0x80045200

MOST_AT_ONCE = 1 << 20  # bytes of one read of an endless device

# name, device number, mode
NODES: tuple[tuple[bytes, int, int], ...] = (
    (b"null", NULL, 0o666),
    (b"zero", ZERO, 0o666),
    (b"full", FULL, 0o666),
    (b"random", RANDOM, 0o666),
    (b"urandom", URANDOM, 0o666),
    (b"tty", TTY, 0o666),
    (b"console", CONSOLE, 0o600),
)
LINKS: tuple[tuple[bytes, bytes], ...] = (
    (b"fd", b"/proc/self/fd"),
    (b"stdin", b"/proc/self/fd/0"),
    (b"stdout", b"/proc/self/fd/1"),
    (b"stderr", b"/proc/self/fd/2"),
    (b"ptmx", b"pts/ptmx"),
    (b"core", b"/proc/kcore"),
)
DIRECTORIES: tuple[tuple[bytes, int], ...] = ((b"shm", 0o1777), (b"pts", 0o755))


class DevFs(Tmpfs):
    """A tmpfs that shows its own name."""

    name = "devtmpfs"


def populate_dev(filesystem: Tmpfs) -> None:
    """The nodes, links and directories of /dev in the root of `filesystem`."""
    root = filesystem.root
    for name, rdev, mode in NODES:
        root.mknod(name, S_IFCHR | mode, rdev, 0, 0)
    for name, target in LINKS:
        root.symlink(name, target, 0, 0)
    for name, mode in DIRECTORIES:
        root.mkdir(name, mode, 0, 0)
    pts = root.lookup(b"pts")
    assert isinstance(pts, TreeDirectory)
    pts.mknod(b"ptmx", S_IFCHR | 0o666, PTMX, 0, 0)


def install_devices(mounts: Mounts, entropy: Entropy) -> None:
    """What the device numbers open."""

    def random(node: Node, flags: int, task_context: object | None) -> OpenFile:
        return RandomFile(node, flags, entropy)

    openers: tuple[tuple[int, DeviceOpener], ...] = (
        (NULL, _opener(NullFile)),
        (ZERO, _opener(ZeroFile)),
        (FULL, _opener(FullFile)),
        (RANDOM, random),
        (URANDOM, random),
    )
    for rdev, opener in openers:
        mounts.devices[S_IFCHR, rdev] = opener


def _opener(kind: Callable[[Node, int], OpenFile]) -> DeviceOpener:
    return lambda node, flags, task_context: kind(node, flags)


class DeviceFile(OpenFile):
    """A character device without a position: reads and writes start nowhere."""

    __slots__ = ()

    def _check_read(self) -> None:
        if not self.readable:
            raise Errno(EBADF)

    def _check_write(self) -> None:
        if not self.writable:
            raise Errno(EBADF)

    def seek(self, offset: int, whence: int) -> int:
        self.position = 0  # the memory devices accept any position and ignore it
        return 0


class NullFile(DeviceFile):
    __slots__ = ()

    def read(self, count: int, offset: int | None = None) -> bytes:
        self._check_read()
        return b""

    def write(self, data: bytes, offset: int | None = None) -> int:
        self._check_write()
        return len(data)


class ZeroFile(DeviceFile):
    __slots__ = ()

    def read(self, count: int, offset: int | None = None) -> bytes:
        self._check_read()
        return bytes(min(count, MOST_AT_ONCE))

    def write(self, data: bytes, offset: int | None = None) -> int:
        self._check_write()
        return len(data)


class FullFile(ZeroFile):
    __slots__ = ()

    def write(self, data: bytes, offset: int | None = None) -> int:
        self._check_write()
        if not data:
            return 0
        raise Errno(ENOSPC)


class RandomFile(DeviceFile):
    __slots__ = ("_entropy",)

    def __init__(self, node: Node, flags: int, entropy: Entropy) -> None:
        super().__init__(node, flags)
        self._entropy = entropy

    def read(self, count: int, offset: int | None = None) -> bytes:
        self._check_read()
        return self._entropy.bytes(min(count, MOST_AT_ONCE)) if count else b""

    def ioctl(self, request: int, argument: int, space: AddressSpace) -> int:
        if request == RNDGETENTCNT:
            space.copy_out(argument, (256).to_bytes(4, "little"))  # bits, as every Linux since 5.18
            return 0
        return super().ioctl(request, argument, space)

    def write(self, data: bytes, offset: int | None = None) -> int:
        """Stirred in, that is to say dropped: randomness comes from the VM's entropy alone."""
        self._check_write()
        return len(data)
