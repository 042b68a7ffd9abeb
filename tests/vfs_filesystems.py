"""The filesystems that the shared suites run on. To put a new one under test, add a function and a line to WRITABLE."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sandbox.clock import VirtualClock
from sandbox.memory import FramePool
from sandbox.vfs.hostfs import HostFs
from sandbox.vfs.node import Filesystem
from sandbox.vfs.overlay import Overlay
from sandbox.vfs.tmpfs import Tmpfs
from sandbox.vfs.volume_store import VolumeStore
from tests.vfs_actors import Actor, GuestActor, HostActor

POOL = FramePool(256 << 20)


def tmpfs(limit: int | None = None, memory: int = 64 << 20) -> Tmpfs:
    return Tmpfs(POOL, POOL.account(memory), VirtualClock(), limit)


def _tmpfs(directory: Path) -> Filesystem:
    return tmpfs()


def _hostfs(directory: Path) -> Filesystem:
    return HostFs(directory, read_only=False)


def _overlay(directory: Path) -> Filesystem:
    return Overlay(HostFs(directory), tmpfs())


class LargeNumbers(HostFs):
    """Inode numbers beyond 32 bits, as some host filesystems have them."""

    def inode_number(self, device: int, ino: int) -> int:
        return super().inode_number(device, ino) + (1 << 40)


def _overlay_large(directory: Path) -> Filesystem:
    return Overlay(LargeNumbers(directory), tmpfs())


def _volume(directory: Path) -> Filesystem:
    store = VolumeStore(directory / "volumes")
    store.create("v", 64 << 20)
    return store.open("v", VirtualClock())


WRITABLE: dict[str, Callable[[Path], Filesystem]] = {
    "tmpfs": _tmpfs,
    "hostfs": _hostfs,
    "overlay": _overlay,
    "overlay-large-inos": _overlay_large,
    "volume": _volume,
}


def writable_actor(name: str, directory: Path) -> Actor:
    """An actor in an empty directory; "native" is the host kernel."""
    if name == "native":
        return HostActor(directory)
    return GuestActor(WRITABLE[name](directory))
