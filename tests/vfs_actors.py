"""Who carries out file operations in the filesystem tests: the guest's tree, or the host kernel as the oracle.

Both speak the same little language, `act(step)`: a step is a tuple of a name and arguments, the answer a short value
that can be compared: "ok", the name of an errno, bytes, a number, a list. Paths are relative to a directory of the
actor's own, so the same steps run anywhere.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

from sandbox.abi import flags as f
from sandbox.abi.errno import Errno
from sandbox.vfs.mount import Mounts, Place
from sandbox.vfs.namespace import Namespace
from sandbox.vfs.node import SUPERUSER, Filesystem, Identity, OpenFile, Stat

Step = tuple[Any, ...]

OPEN_FLAGS = {
    "r": f.O_RDONLY,
    "w": f.O_WRONLY,
    "rw": f.O_RDWR,
    "creat": f.O_CREAT,
    "excl": f.O_EXCL,
    "trunc": f.O_TRUNC,
    "append": f.O_APPEND,
    "dir": f.O_DIRECTORY,
    "nofollow": f.O_NOFOLLOW,
    "path": f.O_PATH,
}
HOST_FLAGS = {
    "r": os.O_RDONLY,
    "w": os.O_WRONLY,
    "rw": os.O_RDWR,
    "creat": os.O_CREAT,
    "excl": os.O_EXCL,
    "trunc": os.O_TRUNC,
    "append": os.O_APPEND,
    "dir": os.O_DIRECTORY,
    "nofollow": os.O_NOFOLLOW,
    "path": os.O_PATH,
}


def describe(mode: int, nlink: int, size: int) -> str:
    """Type, permissions, links (not of directories: filesystems differ) and size (of files and links)."""
    kind = {f.S_IFREG: "file", f.S_IFDIR: "dir", f.S_IFLNK: "link", f.S_IFIFO: "fifo", f.S_IFSOCK: "sock"}.get(
        mode & f.S_IFMT, "other"
    )
    if kind == "dir":
        return f"dir {mode & 0o7777:o}"
    return f"{kind} {mode & 0o7777:o} {nlink} {size}"


class Actor:
    def act(self, step: Step) -> Any:
        try:
            result = getattr(self, step[0])(*step[1:])
        except Errno as error:
            return str(error)
        except OSError as error:
            return errno.errorcode[error.errno or 0].replace("ENOTSUP", "EOPNOTSUPP")
        return "ok" if result is None else result

    def run(self, steps: list[Step]) -> list[Any]:
        return [self.act(step) for step in steps]

    def close(self) -> None:
        pass


class GuestActor(Actor):
    """Through `Namespace`, as the syscalls do it. `base` is the directory where it works."""

    def __init__(self, filesystem: Filesystem, base: bytes = b"/", credentials: Identity = SUPERUSER) -> None:
        self.filesystem = filesystem
        self.mounts = Mounts(filesystem)
        self.namespace = Namespace(self.mounts, self.mounts.root, credentials)
        self.start: Place = self.namespace.find(self.mounts.root, base)
        self.files: dict[str, OpenFile] = {}

    def close(self) -> None:
        for file in self.files.values():
            file.release()
        self.mounts.close()

    def mkdir(self, path: bytes, mode: int = 0o755) -> None:
        self.namespace.mkdir(self.start, path, mode)

    def rmdir(self, path: bytes) -> None:
        self.namespace.rmdir(self.start, path)

    def unlink(self, path: bytes) -> None:
        self.namespace.unlink(self.start, path)

    def symlink(self, target: bytes, path: bytes) -> None:
        self.namespace.symlink(target, self.start, path)

    def readlink(self, path: bytes) -> bytes:
        return self.namespace.readlink(self.start, path)

    def link(self, old: bytes, new: bytes) -> None:
        self.namespace.link(self.namespace.find(self.start, old, follow=False), self.start, new)

    def rename(self, old: bytes, new: bytes) -> None:
        self.namespace.rename(self.start, old, self.start, new)

    def chmod(self, path: bytes, mode: int) -> None:
        self.namespace.chmod(self.namespace.find(self.start, path), mode)

    def utime(self, path: bytes, atime: int, mtime: int) -> None:
        self.namespace.change_times(self.namespace.find(self.start, path), atime, mtime, explicit=True)

    def times(self, path: bytes) -> tuple[int, int]:
        found = self._stat(path)
        return found.atime, found.mtime

    def truncate(self, path: bytes, size: int) -> None:
        self.namespace.truncate(self.start, path, size)

    def mkfifo(self, path: bytes, mode: int = 0o644) -> None:
        self.namespace.mknod(self.start, path, f.S_IFIFO | mode)

    def write(self, path: bytes, data: bytes, *words: str) -> int:
        file = self._open(path, ("w", "creat", *words))
        try:
            return file.write(data)
        finally:
            file.release()

    def read(self, path: bytes) -> bytes:
        file = self._open(path, ("r",))
        try:
            pieces = []
            while piece := file.read(65536):
                pieces.append(piece)
            return b"".join(pieces)
        finally:
            file.release()

    def open(self, path: bytes, *words: str) -> None:
        self._open(path, words).release()

    def keep(self, name: str, path: bytes, *words: str) -> None:
        """Open under a name, for `pread`, `pwrite`, `fstat`, `drop`."""
        self.files[name] = self._open(path, words)

    def drop(self, name: str) -> None:
        self.files.pop(name).release()

    def pread(self, name: str, count: int, offset: int) -> bytes:
        return self.files[name].read(count, offset)

    def pwrite(self, name: str, data: bytes, offset: int) -> int:
        return self.files[name].write(data, offset)

    def fstat(self, name: str) -> str:
        found = self.files[name].node.stat()
        return describe(found.mode, found.nlink, found.size)

    def ftruncate(self, name: str, size: int) -> None:
        self.files[name].truncate(size)

    def fsync(self, name: str) -> None:
        self.files[name].sync()

    def stat(self, path: bytes) -> str:
        found = self._stat(path)
        return describe(found.mode, found.nlink, found.size)

    def lstat(self, path: bytes) -> str:
        found = self._stat(path, follow=False)
        return describe(found.mode, found.nlink, found.size)

    def same(self, one: bytes, other: bytes) -> bool:
        """Whether two names are one inode, by device and number."""
        a, b = self._stat(one, follow=False), self._stat(other, follow=False)
        return (a.dev, a.ino) == (b.dev, b.ino)

    def list(self, path: bytes) -> list[bytes]:
        file = self._open(path, ("r", "dir"))
        try:
            return [entry.name for entry in file.entries() if entry.name not in (b".", b"..")]
        finally:
            file.release()

    def _stat(self, path: bytes, follow: bool = True) -> Stat:
        return self.namespace.stat(self.start, path, follow)

    def _open(self, path: bytes, words: tuple[str, ...]) -> OpenFile:
        bits = 0
        for word in words:
            bits |= OPEN_FLAGS[word]
        return self.namespace.open(self.start, path, bits, 0o644)


class HostActor(Actor):
    """The same on the host kernel, in `base`."""

    def __init__(self, base: Path) -> None:
        self.base = os.fsencode(base)
        self.files: dict[str, int] = {}

    def close(self) -> None:
        for descriptor in self.files.values():
            os.close(descriptor)

    def _path(self, path: bytes) -> bytes:
        return self.base + b"/" + path if path else b""

    def mkdir(self, path: bytes, mode: int = 0o755) -> None:
        os.mkdir(self._path(path), mode)

    def rmdir(self, path: bytes) -> None:
        os.rmdir(self._path(path))

    def unlink(self, path: bytes) -> None:
        os.unlink(self._path(path))

    def symlink(self, target: bytes, path: bytes) -> None:
        os.symlink(target, self._path(path))

    def readlink(self, path: bytes) -> bytes:
        return os.readlink(self._path(path))

    def link(self, old: bytes, new: bytes) -> None:
        os.link(self._path(old), self._path(new), follow_symlinks=False)

    def rename(self, old: bytes, new: bytes) -> None:
        os.rename(self._path(old), self._path(new))

    def chmod(self, path: bytes, mode: int) -> None:
        os.chmod(self._path(path), mode)

    def utime(self, path: bytes, atime: int, mtime: int) -> None:
        os.utime(self._path(path), ns=(atime, mtime))

    def times(self, path: bytes) -> tuple[int, int]:
        found = os.stat(self._path(path))
        return found.st_atime_ns, found.st_mtime_ns

    def truncate(self, path: bytes, size: int) -> None:
        os.truncate(self._path(path), size)

    def mkfifo(self, path: bytes, mode: int = 0o644) -> None:
        os.mknod(self._path(path), stat.S_IFIFO | mode)

    def write(self, path: bytes, data: bytes, *words: str) -> int:
        descriptor = self._open(path, ("w", "creat", *words))
        try:
            return os.write(descriptor, data)
        finally:
            os.close(descriptor)

    def read(self, path: bytes) -> bytes:
        descriptor = self._open(path, ("r",))
        try:
            pieces = []
            while piece := os.read(descriptor, 65536):
                pieces.append(piece)
            return b"".join(pieces)
        finally:
            os.close(descriptor)

    def open(self, path: bytes, *words: str) -> None:
        os.close(self._open(path, words))

    def keep(self, name: str, path: bytes, *words: str) -> None:
        self.files[name] = self._open(path, words)

    def drop(self, name: str) -> None:
        os.close(self.files.pop(name))

    def pread(self, name: str, count: int, offset: int) -> bytes:
        return os.pread(self.files[name], count, offset)

    def pwrite(self, name: str, data: bytes, offset: int) -> int:
        return os.pwrite(self.files[name], data, offset)

    def fstat(self, name: str) -> str:
        found = os.fstat(self.files[name])
        return describe(found.st_mode, found.st_nlink, found.st_size)

    def ftruncate(self, name: str, size: int) -> None:
        os.ftruncate(self.files[name], size)

    def stat(self, path: bytes) -> str:
        found = os.stat(self._path(path))
        return describe(found.st_mode, found.st_nlink, found.st_size)

    def lstat(self, path: bytes) -> str:
        found = os.lstat(self._path(path))
        return describe(found.st_mode, found.st_nlink, found.st_size)

    def same(self, one: bytes, other: bytes) -> bool:
        a, b = os.lstat(self._path(one)), os.lstat(self._path(other))
        return (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)

    def list(self, path: bytes) -> list[bytes]:
        descriptor = self._open(path, ("r", "dir"))
        try:
            return sorted(os.fsencode(name) for name in os.listdir(descriptor))
        finally:
            os.close(descriptor)

    def _open(self, path: bytes, words: tuple[str, ...]) -> int:
        bits = 0
        for word in words:
            bits |= HOST_FLAGS[word]
        return os.open(self._path(path), bits, 0o644)
