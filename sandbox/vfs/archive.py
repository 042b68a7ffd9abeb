"""Write a filesystem of a guest as a tar archive: `sandbox volume export`. Neighbours: `tarfs` reads them."""

from __future__ import annotations

import io
import tarfile
from typing import IO

from sandbox.abi.errno import Errno
from sandbox.abi.flags import S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG
from sandbox.errors import StateError
from sandbox.vfs.node import Filesystem, Node, Stat

_TYPES = {
    S_IFREG: tarfile.REGTYPE,
    S_IFDIR: tarfile.DIRTYPE,
    S_IFLNK: tarfile.SYMTYPE,
    S_IFCHR: tarfile.CHRTYPE,
    S_IFBLK: tarfile.BLKTYPE,
    S_IFIFO: tarfile.FIFOTYPE,
}


def write_tar(filesystem: Filesystem, out: IO[bytes]) -> None:
    """Everything below the root, sorted by name, hard links as such; sockets are left out. The names are those of the
    guest: whoever unpacks the archive outside must treat it as hostile. Raises
    StateError when a file cannot be read."""
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT, encoding="utf-8") as archive:
        first_names: dict[int, str] = {}
        pending: list[tuple[bytes, Node]] = [(b"", filesystem.root)]
        while pending:
            path, directory = pending.pop()
            below = []
            for name, _, _ in sorted(directory.names()):
                node = directory.lookup(name)
                member_path = path + name
                _write_member(archive, member_path, node, first_names)
                if node.is_directory:
                    below.append((member_path + b"/", node))
            pending.extend(reversed(below))


def _write_member(archive: tarfile.TarFile, path: bytes, node: Node, first_names: dict[int, str]) -> None:
    stat = node.stat()
    kind = _TYPES.get(stat.mode & S_IFMT)
    if kind is None:
        return
    member = tarfile.TarInfo(_text(path))
    member.type = kind
    member.mode = stat.mode & 0o7777
    member.uid, member.gid = stat.uid, stat.gid
    member.mtime = stat.mtime // 1_000_000_000
    if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        member.devmajor, member.devminor = stat.rdev >> 8 & 0xFFF, stat.rdev & 0xFF | stat.rdev >> 12 & 0xFFF00
    if node.is_symlink:
        member.linkname = _text(node.readlink())
    if stat.nlink > 1 and not node.is_directory:
        first = first_names.setdefault(stat.ino, member.name)
        if first != member.name:
            member.type = tarfile.LNKTYPE
            member.linkname = first
    if member.type != tarfile.REGTYPE:
        archive.addfile(member)
        return
    member.size = stat.size
    try:
        archive.addfile(member, _Contents(node, stat))
    except (Errno, OSError) as error:
        raise StateError(f"{member.name!r} cannot be read: {error}") from None


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


class _Contents(io.RawIOBase):
    """A node as a file object, exactly `size` bytes long."""

    def __init__(self, node: Node, stat: Stat) -> None:
        self._node = node
        self._left = stat.size
        self._position = 0

    def read(self, count: int = -1) -> bytes:
        count = self._left if count < 0 else min(count, self._left)
        pieces = []
        while count:
            data = self._node.read_at(self._position, count) or bytes(count)  # it may have become shorter
            pieces.append(data)
            self._position += len(data)
            self._left -= len(data)
            count -= len(data)
        return b"".join(pieces)
