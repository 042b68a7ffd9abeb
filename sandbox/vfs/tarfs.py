"""A tar archive as a read-only filesystem: .tar, .tar.gz, .tar.bz2, .tar.xz, .tar.zst.

Opening reads the members' headers into a tree; file contents are read from the archive when they are asked for. A
compressed archive is unpacked once into an unnamed temporary file of the host. The archive is hostile input:

* absolute names and "." are taken relative to the root; a name with ".." in it is left out;
* a member below something that is no directory (a symbolic link, say) is left out: nothing is ever followed here;
* a hard link goes to a member already read that is no directory, else it is left out; so there are no loops;
* devices and FIFOs become nodes of the guest, which never reach the host's;
* a later member of the same name replaces the earlier one; two directories are one;
* members and bytes are limited (ConfigurationError), and so is what a compressed archive may grow to.

What was left out is in `TarFs.skipped`. Neighbours: `tree` (the mechanism), `overlay` (what makes it writable).
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tarfile
import tempfile
from collections.abc import Hashable
from typing import IO, Any, cast

from sandbox.abi.errno import EIO, Errno
from sandbox.abi.flags import S_IFBLK, S_IFCHR, S_IFIFO
from sandbox.clock import VirtualClock
from sandbox.errors import ConfigurationError
from sandbox.vfs.node import StatFs, device_number
from sandbox.vfs.tree import TreeDirectory, TreeFilesystem
from sandbox.vfs.tree_node import FixedContent, TreeFile, TreeLink, TreeNode, TreeSpecial

MAX_MEMBERS = 1_000_000
MAX_BYTES = 64 << 30
MAX_DEPTH = 512
MAX_HEADER = 1 << 20
CHUNK = 1 << 20

_COMPRESSED = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zst"}
_DEVICES = {tarfile.CHRTYPE: S_IFCHR, tarfile.BLKTYPE: S_IFBLK, tarfile.FIFOTYPE: S_IFIFO}


class ArchiveContent(FixedContent):
    """`length` bytes of the archive from `start` on."""

    __slots__ = ("_filesystem", "_start", "size")

    def __init__(self, filesystem: TarFs, start: int, size: int) -> None:
        self._filesystem = filesystem
        self._start = start
        self.size = size

    @property
    def blocks(self) -> int:
        return (self.size + 4095) >> 12

    def read(self, offset: int, count: int) -> bytes:
        count = min(count, self.size - offset)
        if count <= 0:
            return b""
        return self._filesystem.read_archive(self._start + offset, count)

    @property
    def identity(self) -> Hashable:
        return ("tar", self._filesystem.identity, self._start)

    def load(self, index: int) -> bytes:
        return self.read(index << 12, 4096)

    def shared_frame(self, index: int) -> int | None:
        return None


class SparseContent(FixedContent):
    """A member with holes (GNU and PAX sparse files): extents of (offset, length, place in the archive)."""

    __slots__ = ("_extents", "_filesystem", "size")

    def __init__(self, filesystem: TarFs, extents: list[tuple[int, int, int]], size: int) -> None:
        self._filesystem = filesystem
        self._extents = extents
        self.size = size

    @property
    def blocks(self) -> int:
        return sum((length + 4095) >> 12 for _, length, _ in self._extents)

    def read(self, offset: int, count: int) -> bytes:
        end = min(offset + count, self.size)
        if end <= offset:
            return b""
        result = bytearray(end - offset)
        for start, length, place in self._extents:
            first, last = max(start, offset), min(start + length, end)
            if first < last:
                data = self._filesystem.read_archive(place + first - start, last - first)
                result[first - offset : last - offset] = data
        return bytes(result)

    @property
    def identity(self) -> Hashable:
        return ("tar", self._filesystem.identity, self._extents[0][2] if self._extents else -1, self.size)

    def load(self, index: int) -> bytes:
        return self.read(index << 12, 4096)

    def shared_frame(self, index: int) -> int | None:
        return None


class _Header(tarfile.TarInfo):
    """Refuses what would make the standard library read backwards, and so for ever, or a header of gigabytes into
    memory. These methods are private there: `Any` because the stubs do not have them."""

    def _block(self, count: int) -> Any:
        if count < 0:
            raise tarfile.ReadError("a member has a negative size")
        return super()._block(count)  # type: ignore[misc]

    def _proc_pax(self, archive: tarfile.TarFile) -> Any:
        return super()._proc_pax(self._small(archive))  # type: ignore[misc]

    def _proc_gnulong(self, archive: tarfile.TarFile) -> Any:
        return super()._proc_gnulong(self._small(archive))  # type: ignore[misc]

    def _small(self, archive: tarfile.TarFile) -> tarfile.TarFile:
        if self.size > MAX_HEADER:
            raise tarfile.ReadError("a header is larger than a megabyte")
        return archive


class TarFs(TreeFilesystem):
    """`path` is the operator's. Raises ConfigurationError for what is no archive, or exceeds the limits."""

    name = "tarfs"

    def __init__(
        self, path: str | os.PathLike[str], max_members: int = MAX_MEMBERS, max_bytes: int = MAX_BYTES
    ) -> None:
        super().__init__(VirtualClock(0, 0), max_members)
        self.path = os.fspath(path)
        self.skipped: list[tuple[bytes, str]] = []
        self._archive = _plain(self.path, max_bytes)
        status = os.fstat(self._archive.fileno())
        self.identity: Hashable = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        self._size = status.st_size
        try:
            self._read_members(max_members, max_bytes)
        except BaseException:
            self._archive.close()
            raise
        self.read_only = True

    def read_archive(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes."""
        if self._archive.closed:
            raise Errno(EIO)
        try:
            data = os.pread(self._archive.fileno(), count, offset)
        except OSError:
            raise Errno(EIO) from None
        if len(data) < count:
            raise Errno(EIO)  # the archive was cut short behind our back
        return data

    def statfs(self) -> StatFs:
        return StatFs(self.magic, 4096, (self._size + 4095) >> 12, files=self.entries, flags=1)

    def close(self) -> None:
        super().close()
        self._archive.close()

    # -- reading the headers ----------------------------------------------------------------------------

    def _read_members(self, max_members: int, max_bytes: int) -> None:
        total = 0
        count = 0
        try:
            with tarfile.open(
                fileobj=self._archive, mode="r:", tarinfo=_Header, encoding="utf-8", errors="surrogateescape"
            ) as archive:
                while (member := archive.next()) is not None:
                    archive.members.clear()  # type: ignore[attr-defined]  # we keep what is needed ourselves
                    count += 1
                    total += 0 if getattr(member, "sparse", None) else member.size
                    if count > max_members or total > max_bytes:
                        raise ConfigurationError(f"{self.path} is too large an archive: {count} members, {total} bytes")
                    self._add_member(member)
                end = archive.offset
            if 0 < self._size - end < tarfile.BLOCKSIZE:
                raise ConfigurationError(f"{self.path} ends in the middle of a header")
        except (tarfile.TarError, ValueError, OverflowError, EOFError, IndexError, KeyError, RecursionError) as error:
            raise ConfigurationError(f"{self.path} is not a usable tar archive: {error}") from None
        except OSError as error:
            raise ConfigurationError(f"{self.path} cannot be read: {error.strerror}") from None

    def _add_member(self, member: tarfile.TarInfo) -> None:
        name = _bytes(member.name)
        names = [part for part in name.split(b"/") if part not in (b"", b".")]
        if b".." in names:
            return self._skip(name, "its name contains ..")
        if len(names) > MAX_DEPTH or any(len(part) > 255 or b"\0" in part for part in names):
            return self._skip(name, "its name is too long")
        if not names:
            if not member.isdir():
                return self._skip(name, "it has no name")
            self._describe(self._root, member)
            return None
        parent = self._directory_of(names[:-1])
        if parent is None:
            return self._skip(name, "it lies below something that is no directory")
        existing = parent.entries.get(names[-1])
        if member.isdir():
            if isinstance(existing, TreeDirectory):
                self._describe(existing, member)
                return None
        elif isinstance(existing, TreeDirectory) and existing.entries:
            return self._skip(name, "a directory of that name has members")
        node = self._node_of(member)
        if node is None:
            return self._skip(name, "it is of an unknown kind or links to nothing")
        if existing is not None and existing is not node:
            (parent.rmdir if isinstance(existing, TreeDirectory) else parent.unlink)(names[-1])
        if existing is not node:
            self._attach(parent, names[-1], node)
        return None

    def _directory_of(self, names: list[bytes]) -> TreeDirectory | None:
        """The directory of that name; missing ones are made. None when something else is in the way."""
        directory = self._root
        for name in names:
            node = directory.entries.get(name)
            if node is None:
                node = self.make_directory(0o755, 0, 0)
                self._attach(directory, name, node)
            if not isinstance(node, TreeDirectory):
                return None
            directory = node
        return directory

    def _attach(self, parent: TreeDirectory, name: bytes, node: TreeNode) -> None:
        parent.put(name, node)
        if isinstance(node, TreeDirectory):
            node.nlink = 2
            parent.nlink += 1
        else:
            node.nlink += 1

    def _node_of(self, member: tarfile.TarInfo) -> TreeNode | None:
        if member.islnk():
            target = self._find(_bytes(member.linkname))
            return None if target is None or target.is_directory else target
        node: TreeNode
        uid, gid = _number(member.uid), _number(member.gid)
        if member.isdir():
            node = self.make_directory(0o755, uid, gid)
        elif member.issym():
            target_path = _bytes(member.linkname)
            if not 0 < len(target_path) < 4096:
                return None
            node = TreeLink(self, self.number(), target_path, uid, gid)
        elif member.type in _DEVICES:
            rdev = device_number(member.devmajor & 0xFFF, member.devminor & 0xFFFFF)
            kind = _DEVICES[member.type]
            node = TreeSpecial(self, self.number(), kind | 0o600, rdev if kind != S_IFIFO else 0, uid, gid)
        elif member.isfile():
            content = self._content_of(member)
            if content is None:
                return None
            node = TreeFile(self, self.number(), 0o600, uid, gid, content)
        else:
            return None
        self._describe(node, member)
        return node

    def _content_of(self, member: tarfile.TarInfo) -> ArchiveContent | SparseContent | None:
        """None: it does not lie within the archive."""
        start, size = member.offset_data, member.size
        sparse = getattr(member, "sparse", None)
        if sparse is None:
            return ArchiveContent(self, start, size) if start >= 0 and 0 <= size <= self._size - start else None
        extents = []
        end = 0
        for offset, length in sparse:
            if length == 0:
                continue
            if offset < end or length < 0 or offset + length > size or start + length > self._size:
                return None
            extents.append((offset, length, start))
            start += length
            end = offset + length
        return SparseContent(self, extents, size) if size >= 0 else None

    def _find(self, name: bytes) -> TreeNode | None:
        node: TreeNode | None = self._root
        for part in name.split(b"/"):
            if part in (b"", b"."):
                continue
            if not isinstance(node, TreeDirectory):
                return None
            node = node.entries.get(part)
        return node

    @staticmethod
    def _describe(node: TreeNode, member: tarfile.TarInfo) -> None:
        if not node.is_symlink:
            node.mode = node.mode & ~0o7777 | member.mode & 0o7777
        node.uid, node.gid = _number(member.uid), _number(member.gid)
        seconds = member.mtime if -(1 << 40) < member.mtime < 1 << 40 else 0  # a float when it has a fraction
        node.atime = node.mtime = node.ctime = round(seconds * 1_000_000_000)

    def _skip(self, name: bytes, reason: str) -> None:
        if len(self.skipped) < 1000:
            self.skipped.append((name, reason))


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _number(value: int) -> int:
    """A uid or gid; what is out of range is nobody's."""
    return value if 0 <= value < 0xFFFFFFFF else 65534


def _plain(path: str, max_bytes: int) -> IO[bytes]:
    """The archive as an uncompressed, seekable file."""
    try:
        archive = open(path, "rb")  # noqa: SIM115  # it stays open
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be opened: {error.strerror}") from None
    try:
        head = archive.read(6)
        archive.seek(0)
        kind = next((kind for magic, kind in _COMPRESSED.items() if head.startswith(magic)), None)
        if kind is None:
            return archive
        unpacked = tempfile.TemporaryFile()  # noqa: SIM115  # it stays open
        try:
            _unpack(archive, kind, path, max_bytes, unpacked)
        except BaseException:
            unpacked.close()
            raise
    except BaseException:
        archive.close()
        raise
    archive.close()
    return cast("IO[bytes]", unpacked)


def _unpack(archive: IO[bytes], kind: str, path: str, max_bytes: int, unpacked: IO[bytes]) -> None:
    done = 0
    try:
        with _decompressor(archive, kind, path) as stream:
            while chunk := stream.read(CHUNK):
                done += len(chunk)
                if done > max_bytes:
                    raise ConfigurationError(f"{path} unpacks to more than {max_bytes} bytes")
                unpacked.write(chunk)
    except ConfigurationError:
        raise
    except Exception as error:  # each decompressor has its own: OSError, EOFError, zlib.error, LZMAError, ZstdError
        raise ConfigurationError(f"{path} cannot be unpacked: {error}") from None
    unpacked.seek(0)  # flushes, too


def _decompressor(archive: IO[bytes], kind: str, path: str) -> IO[bytes]:
    if kind == "gz":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=archive))
    if kind == "bz2":
        return cast("IO[bytes]", bz2.BZ2File(archive))
    if kind == "xz":
        return cast("IO[bytes]", lzma.LZMAFile(archive))
    try:
        import zstandard
    except ImportError:
        raise ConfigurationError(
            f"{path} is compressed with zstd: install the package zstandard, or unpack it first"
        ) from None
    # Several frames in a row are one archive, as for the zstd command.
    return cast("IO[bytes]", zstandard.ZstdDecompressor().stream_reader(archive, read_across_frames=True))
