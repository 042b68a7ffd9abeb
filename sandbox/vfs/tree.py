"""Inodes in memory: the tree that tmpfs, overlay, tar images and volumes have in common.

The tree keeps names, attributes and link counts; where the bytes of a regular file are is up to a `Content`, which
the filesystem makes. Directories hold their children, never the other way round, so what is neither named nor open
is freed at once. Hooks on `TreeFilesystem` (`changed`, `entry_changed`, `unlinked`) tell a filesystem that keeps a
journal what to write. Neighbours: `node` (the contract), `tmpfs`, `overlay`, `tarfs`, `volume`.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Protocol

from sandbox.abi.errno import (
    EEXIST,
    EFBIG,
    EINVAL,
    EIO,
    EISDIR,
    EMLINK,
    ENOENT,
    ENOSPC,
    ENOTDIR,
    ENOTEMPTY,
    EPERM,
    EROFS,
    EXDEV,
    Errno,
)
from sandbox.abi.flags import (
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    S_IFDIR,
    S_IFIFO,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    S_ISGID,
)
from sandbox.clock import Clock
from sandbox.vfs.file import MAX_OFFSET, OpenFile
from sandbox.vfs.node import Filesystem, Node, Stat
from sandbox.vfs.pipe import Pipe

if TYPE_CHECKING:
    from sandbox.memory import PageSource

MAX_LINKS = 65000


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
    __slots__ = ("content",)

    def __init__(self, filesystem: TreeFilesystem, ino: int, mode: int, uid: int, gid: int, content: Content) -> None:
        super().__init__(filesystem, ino, S_IFREG | mode & 0o7777, uid, gid)
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


class PagedContent(Content, Protocol):
    """A content that can be mapped: the methods of `memory.PageSource`."""

    @property
    def identity(self) -> Hashable: ...
    def load(self, index: int) -> bytes: ...
    def shared_frame(self, index: int) -> int | None: ...


class MappedFile:
    """The pages of a file for mmap. Holds the node, so that its content stays for as long as it is mapped."""

    __slots__ = ("_content", "_node")

    def __init__(self, node: TreeFile, content: PagedContent) -> None:
        self._node = node
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


class TreeDirectory(TreeNode):
    """`entries` maps names to nodes; None is a whiteout (overlay only)."""

    __slots__ = ("entries",)

    def __init__(self, filesystem: TreeFilesystem, ino: int, mode: int, uid: int, gid: int) -> None:
        super().__init__(filesystem, ino, S_IFDIR | mode & 0o7777, uid, gid)
        self.entries: dict[bytes, TreeNode | None] = {}

    @property
    def size(self) -> int:
        return 4096

    # -- what an overlay changes ------------------------------------------------------------------------

    def find(self, name: bytes) -> TreeNode | None:
        return self.entries.get(name)

    def put(self, name: bytes, node: TreeNode, force: bool = True) -> None:
        """Set an entry. `force`: even beyond the limit of entries (a rename does not fail for want of room)."""
        if name not in self.entries:
            self.filesystem.charge(1, force)
        self.entries[name] = node
        self.filesystem.entry_changed(self, name)

    def drop(self, name: bytes) -> None:
        del self.entries[name]
        self.filesystem.charge(-1)
        self.filesystem.entry_changed(self, name)

    def is_empty(self) -> bool:
        return not self.entries

    def names(self) -> list[tuple[bytes, int, int]]:
        return [(name, node.ino, node.mode >> 12) for name, node in self.entries.items() if node is not None]

    # -- creating ---------------------------------------------------------------------------------------

    def lookup(self, name: bytes) -> TreeNode:
        node = self.find(name)
        if node is None:
            raise Errno(ENOENT)
        return node

    def create(self, name: bytes, mode: int, uid: int, gid: int) -> TreeNode:
        self._require_free(name)
        return self._add(name, self.filesystem.make_file(mode, uid, self._group(gid)))

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> TreeNode:
        self._require_free(name)
        if self.nlink >= MAX_LINKS:
            raise Errno(EMLINK)
        mode |= self.mode & S_ISGID
        return self._add(name, self.filesystem.make_directory(mode, uid, self._group(gid)))

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> TreeNode:
        self._require_free(name)
        filesystem = self.filesystem
        return self._add(name, TreeLink(filesystem, filesystem.number(), target, uid, self._group(gid)))

    def mknod(self, name: bytes, mode: int, rdev: int, uid: int, gid: int) -> TreeNode:
        if mode & S_IFMT == S_IFREG:
            return self.create(name, mode, uid, gid)
        self._require_free(name)
        filesystem = self.filesystem
        return self._add(name, TreeSpecial(filesystem, filesystem.number(), mode, rdev, uid, self._group(gid)))

    def temporary(self, mode: int, uid: int, gid: int) -> TreeNode:
        self.require_writable()
        return self.filesystem.make_file(mode, uid, self._group(gid))

    def link(self, name: bytes, node: Node) -> None:
        if not isinstance(node, TreeNode) or node.filesystem is not self.filesystem:
            raise Errno(EXDEV)
        if node.is_directory:
            raise Errno(EPERM)
        self._require_free(name)
        if node.nlink >= MAX_LINKS:
            raise Errno(EMLINK)
        self.put(name, node, force=False)
        node.nlink += 1
        node.touch(modified=False)
        self.touch()

    def _group(self, gid: int) -> int:
        return self.gid if self.mode & S_ISGID else gid

    def _require_free(self, name: bytes) -> None:
        self.require_writable()
        if self.nlink == 0:
            raise Errno(ENOENT)  # removed, but still somebody's working directory
        if self.find(name) is not None:
            raise Errno(EEXIST)

    def _add(self, name: bytes, node: TreeNode) -> TreeNode:
        self.put(name, node, force=False)
        node.nlink = 1
        if isinstance(node, TreeDirectory):
            node.nlink = 2
            self.nlink += 1
        self.filesystem.changed(node)
        self.touch()
        return node

    # -- removing and renaming --------------------------------------------------------------------------

    def unlink(self, name: bytes) -> None:
        self.require_writable()
        node = self.lookup(name)
        if node.is_directory:
            raise Errno(EISDIR)
        self.drop(name)
        self._unlinked(node)
        self.touch()

    def rmdir(self, name: bytes) -> None:
        self.require_writable()
        node = self.lookup(name)
        if not isinstance(node, TreeDirectory):
            raise Errno(ENOTDIR)
        if not node.is_empty():
            raise Errno(ENOTEMPTY)
        self.drop(name)
        self._unlinked(node)
        self.touch()

    def _unlinked(self, node: TreeNode) -> None:
        """`node` has lost its name in this directory."""
        if isinstance(node, TreeDirectory):
            node.nlink = 0
            self.nlink -= 1
        else:
            node.nlink -= 1
        node.touch(modified=False)
        if node.nlink == 0:
            self.filesystem.unlinked(node)

    def rename(self, old_name: bytes, new_parent: Node, new_name: bytes, flags: int = 0) -> None:
        self.require_writable()
        if not isinstance(new_parent, TreeDirectory) or new_parent.filesystem is not self.filesystem:
            raise Errno(EXDEV)
        node = self.lookup(old_name)
        target = new_parent.find(new_name)
        if new_parent.nlink == 0:
            raise Errno(ENOENT)
        if flags & RENAME_NOREPLACE and target is not None:
            raise Errno(EEXIST)
        if flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE):
            raise Errno(EINVAL)
        if target is node:
            return
        if flags & RENAME_EXCHANGE:
            if target is None:
                raise Errno(ENOENT)
            self._exchange(old_name, node, new_parent, new_name, target)
            return
        if target is not None:
            self._check_replaceable(node, target)
        new_parent.put(new_name, node)
        self.drop(old_name)
        if node.is_directory:
            self.nlink -= 1
            new_parent.nlink += 1
        if target is not None:
            new_parent._unlinked(target)
        self._renamed(new_parent, node)

    @staticmethod
    def _check_replaceable(node: TreeNode, target: TreeNode) -> None:
        if isinstance(target, TreeDirectory):
            if not node.is_directory:
                raise Errno(EISDIR)
            if not target.is_empty():
                raise Errno(ENOTEMPTY)
        elif node.is_directory:
            raise Errno(ENOTDIR)

    def _exchange(
        self, old_name: bytes, node: TreeNode, new_parent: TreeDirectory, new_name: bytes, target: TreeNode
    ) -> None:
        self.put(old_name, target)
        new_parent.put(new_name, node)
        moved = node.is_directory - target.is_directory
        self.nlink -= moved
        new_parent.nlink += moved
        target.touch(modified=False)
        self._renamed(new_parent, node)

    def _renamed(self, new_parent: TreeDirectory, node: TreeNode) -> None:
        node.touch(modified=False)
        self.touch()
        if new_parent is not self:
            new_parent.touch()


class TreeFilesystem(Filesystem):
    """`max_entries` bounds the names (and with them the inodes): they cost memory of the host."""

    def __init__(self, clock: Clock, max_entries: int = 1 << 16, root_mode: int = 0o755) -> None:
        super().__init__()
        self.clock = clock
        self.max_entries = max_entries
        self.entries = 0
        self._last_ino = 0
        self._root = self.make_root(root_mode)
        self._root.nlink = 2

    @property
    def root(self) -> TreeDirectory:
        return self._root

    def now(self) -> int:
        return self.clock.realtime()

    def number(self) -> int:
        """The inode number of the next node."""
        self._last_ino += 1
        return self._last_ino

    def charge(self, entries: int, force: bool = True) -> None:
        if not force and self.entries + entries > self.max_entries:
            raise Errno(ENOSPC)
        self.entries += entries

    # -- what a filesystem fills in ---------------------------------------------------------------------

    def new_content(self) -> Content:
        raise Errno(EROFS)

    def make_root(self, mode: int) -> TreeDirectory:
        return self.make_directory(mode, 0, 0)

    def make_directory(self, mode: int, uid: int, gid: int) -> TreeDirectory:
        return TreeDirectory(self, self.number(), mode, uid, gid)

    def make_file(self, mode: int, uid: int, gid: int) -> TreeFile:
        return TreeFile(self, self.number(), mode, uid, gid, self.new_content())

    def changed(self, node: TreeNode) -> None:
        """Attributes or contents of `node` have changed."""

    def accessed(self, node: TreeNode) -> None:
        """The access time of `node` has changed, and nothing else."""

    def entry_changed(self, directory: TreeDirectory, name: bytes) -> None:
        """The entry `name` was added, removed or replaced."""

    def unlinked(self, node: TreeNode) -> None:
        """`node` has lost its last name; it may still be open."""

    def close(self) -> None:
        pending: list[TreeDirectory] = [self._root]
        while pending:
            directory = pending.pop()
            for node in directory.entries.values():
                if isinstance(node, TreeFile):
                    node.drop_content()
                elif isinstance(node, TreeDirectory):
                    pending.append(node)
            directory.entries.clear()
