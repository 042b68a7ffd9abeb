"""The nodes of a tree in memory, except directories: files, symbolic links, devices, FIFOs and sockets.

A `TreeFile` keeps attributes; its bytes are a `Content`, which the filesystem makes. What is neither named nor open
nor mapped is freed at once. Neighbours: `tree` (directories and the filesystem), `tmpfs` (contents in frames).
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Protocol

from sandbox.abi.errno import EFBIG, EIO, EROFS, Errno
from sandbox.abi.flags import S_IFIFO, S_IFLNK, S_IFMT, S_IFREG
from sandbox.vfs.file import MAX_OFFSET, OpenFile
from sandbox.vfs.node import Node, Stat
from sandbox.vfs.pipe import Pipe

if TYPE_CHECKING:
    from sandbox.memory import PageSource
    from sandbox.vfs.tree import TreeFilesystem


class Content(Protocol):
    """The bytes of one regular file. `blocks` counts 4 KiB; offsets and sizes are never negative."""

    @property
    def size(self) -> int: ...
    @property
    def blocks(self) -> int: ...
    def read(self, offset: int, count: int) -> bytes: ...
    def write(self, offset: int, data: bytes) -> int: ...
    def truncate(self, size: int) -> None: ...
    def allocate(self, offset: int, length: int) -> None:
        """Take the room for a range, without changing the size."""

    def punch(self, offset: int, length: int) -> None:
        """Zeros instead of what is there; the size stays."""

    def release(self) -> None: ...


class FixedContent:
    """What a content that never changes refuses."""

    __slots__ = ()

    def write(self, offset: int, data: bytes) -> int:
        raise Errno(EROFS)

    def truncate(self, size: int) -> None:
        raise Errno(EROFS)

    def allocate(self, offset: int, length: int) -> None:
        raise Errno(EROFS)

    def punch(self, offset: int, length: int) -> None:
        raise Errno(EROFS)

    def release(self) -> None:
        pass


class TreeNode(Node):
    __slots__ = ("atime", "ctime", "mtime", "nlink")
    filesystem: TreeFilesystem

    def __init__(self, filesystem: TreeFilesystem, ino: int, mode: int, uid: int, gid: int) -> None:
        super().__init__(filesystem, ino, mode, uid, gid)
        self.nlink = 0
        self.atime = self.mtime = self.ctime = filesystem.now()

    def stat(self) -> Stat:
        return Stat(
            self.filesystem.device, self.ino, self.mode, self.nlink, self.uid, self.gid, self.rdev, self.size,
            4096, self.blocks * 8, self.atime, self.mtime, self.ctime,
        )  # fmt: skip

    @property
    def size(self) -> int:
        return 0

    @property
    def blocks(self) -> int:
        return 0

    def set_attributes(
        self,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        atime: int | None = None,
        mtime: int | None = None,
    ) -> None:
        self.require_writable()
        if mode is not None:
            self.mode = self.mode & S_IFMT | mode & 0o7777
        if uid is not None:
            self.uid = uid
        if gid is not None:
            self.gid = gid
        if atime is not None:
            self.atime = atime
        if mtime is not None:
            self.mtime = mtime
        self.touch(modified=False)

    def require_writable(self) -> None:
        if self.filesystem.read_only:
            raise Errno(EROFS)

    def touch(self, modified: bool = True) -> None:
        """The node was changed now; `modified`: its contents, too."""
        self.ctime = self.filesystem.now()
        if modified:
            self.mtime = self.ctime
        self.filesystem.changed(self)

    def sync(self) -> None:
        self.filesystem.sync()


class TreeFile(TreeNode):
    __slots__ = ("content", "linkable")

    def __init__(self, filesystem: TreeFilesystem, ino: int, mode: int, uid: int, gid: int, content: Content) -> None:
        super().__init__(filesystem, ino, S_IFREG | mode & 0o7777, uid, gid)
        self.linkable = False  # may get a name although it has none (O_TMPFILE)
        self.content: Content | None = content

    def __del__(self) -> None:
        # Neither named, open nor mapped any more (`MappedFile` holds the node, too).
        self.drop_content()

    def drop_content(self) -> None:
        content = getattr(self, "content", None)
        if content is not None:
            self.content = None
            content.release()

    def label(self) -> bytes:
        return b"/#%d (deleted)" % self.ino

    @property
    def size(self) -> int:
        return self.content.size if self.content is not None else 0

    @property
    def blocks(self) -> int:
        return self.content.blocks if self.content is not None else 0

    def _present(self) -> Content:
        if self.content is None:
            raise Errno(EIO)  # the filesystem was closed
        return self.content

    def _own(self, keep: int) -> Content:
        """The content to write to. An overlay copies the first `keep` bytes up here."""
        return self._present()

    def read_at(self, offset: int, count: int) -> bytes:
        content = self.content
        if content is None:
            raise Errno(EIO)
        data = content.read(offset, count)
        if self.atime <= self.mtime and not self.filesystem.read_only:  # as mount option relatime
            self.atime = self.filesystem.now()
            self.filesystem.accessed(self)
        return data

    def write_at(self, offset: int, data: bytes) -> int:
        self.require_writable()
        if not data:
            return 0
        if offset + len(data) > MAX_OFFSET:
            if offset >= MAX_OFFSET:
                raise Errno(EFBIG)
            data = data[: MAX_OFFSET - offset]
        written = self._own(MAX_OFFSET).write(offset, data)
        self.touch()
        return written

    def append(self, data: bytes) -> int:
        return self.write_at(self.size, data)

    def truncate(self, size: int) -> None:
        self.require_writable()
        if size > MAX_OFFSET:
            raise Errno(EFBIG)
        self._own(size).truncate(size)
        self.touch()

    def allocate(self, offset: int, length: int, keep_size: bool = False) -> None:
        self.require_writable()
        if offset + length > MAX_OFFSET:
            raise Errno(EFBIG)
        content = self._own(MAX_OFFSET)
        content.allocate(offset, length)
        if not keep_size and offset + length > content.size:
            content.truncate(offset + length)
        self.touch()

    def punch(self, offset: int, length: int) -> None:
        self.require_writable()
        self._own(MAX_OFFSET).punch(offset, length)
        self.touch()

    def page_source(self) -> PageSource | None:
        content = self._present()
        return MappedFile(self, content) if hasattr(content, "load") else None  # type: ignore[arg-type]


class MappedFile:
    """The pages of a file for mmap. Holds the node, so that its content stays for as long as it is mapped."""

    __slots__ = ("_content", "node")

    def __init__(self, node: TreeFile, content: PageSource) -> None:
        self.node = node  # /proc/PID/maps shows its number
        self._content = content

    @property
    def identity(self) -> Hashable:
        return self._content.identity

    @property
    def size(self) -> int:
        return self._content.size

    def load(self, index: int) -> bytes:
        return self._content.load(index)

    def shared_frame(self, index: int) -> int | None:
        return self._content.shared_frame(index)

    def touched(self) -> None:
        """Somebody stores to a page of it that is shared."""
        self.node.touch()


class TreeLink(TreeNode):
    __slots__ = ("target",)

    def __init__(self, filesystem: TreeFilesystem, ino: int, target: bytes, uid: int, gid: int) -> None:
        super().__init__(filesystem, ino, S_IFLNK | 0o777, uid, gid)
        self.target = target

    @property
    def size(self) -> int:
        return len(self.target)

    def readlink(self) -> bytes:
        return self.target


class TreeSpecial(TreeNode):
    """A device, a FIFO or a socket. `endpoint` is for whoever binds a socket here."""

    __slots__ = ("_rdev", "endpoint", "pipe")

    def __init__(self, filesystem: TreeFilesystem, ino: int, mode: int, rdev: int, uid: int, gid: int) -> None:
        super().__init__(filesystem, ino, mode, uid, gid)
        self._rdev = rdev
        self.pipe: Pipe | None = None
        self.endpoint: object | None = None

    @property
    def rdev(self) -> int:
        return self._rdev

    def open(self, flags: int, task_context: object | None = None) -> OpenFile:
        if self.mode & S_IFMT != S_IFIFO:
            return super().open(flags, task_context)
        if self.pipe is None:
            self.pipe = Pipe()
        return self.pipe.open_fifo(self, flags, task_context)
