"""Inodes in memory: the tree that tmpfs, overlay, tar images and volumes have in common.

The tree keeps names, attributes and link counts (the nodes are in `tree_node`). Directories hold their children,
never the other way round, so what is neither named nor open is freed at once. Hooks on `TreeFilesystem` (`changed`,
`entry_changed`, `unlinked`) tell a filesystem that keeps a journal what to write.
Neighbours: `node` (the contract), `tmpfs`, `overlay`, `tarfs`, `volume`.
"""

from __future__ import annotations

from sandbox.abi.errno import (
    EEXIST,
    EINVAL,
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
from sandbox.abi.flags import RENAME_EXCHANGE, RENAME_NOREPLACE, S_IFDIR, S_IFMT, S_IFREG, S_ISGID
from sandbox.clock import Clock
from sandbox.vfs.node import Filesystem, Node
from sandbox.vfs.tree_node import Content, TreeFile, TreeLink, TreeNode, TreeSpecial

MAX_LINKS = 65000


def weight(name: bytes, node: TreeNode | None) -> int:
    """How many entries one counts for: what a long name or target takes is the host's memory, or a volume's room."""
    return 1 + (len(name) + (len(node.target) if isinstance(node, TreeLink) else 0) >> 6)


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

    def put(self, name: bytes, node: TreeNode | None, force: bool = True) -> None:
        """Set an entry. `force`: even beyond the limit of entries (a rename does not fail for want of room)."""
        more = weight(name, node) - (weight(name, self.entries[name]) if name in self.entries else 0)
        if more:
            self.filesystem.charge(more, force)
        self.entries[name] = node
        self.filesystem.entry_changed(self, name)

    def drop(self, name: bytes) -> None:
        self.filesystem.charge(-weight(name, self.entries.pop(name)))
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
        node = self.filesystem.make_file(mode, uid, self._group(gid))
        node.linkable = True
        return node

    def link(self, name: bytes, node: Node) -> None:
        if not isinstance(node, TreeNode) or node.filesystem is not self.filesystem:
            raise Errno(EXDEV)
        if node.is_directory:
            raise Errno(EPERM)
        self._require_free(name)
        if node.nlink == 0 and not (isinstance(node, TreeFile) and node.linkable):
            raise Errno(ENOENT)  # once unlinked, always unlinked
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
            self._count_directories(1)
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

    def _count_directories(self, more: int) -> None:
        """Each subdirectory's ".." is a link. Never down to 0: that means removed."""
        self.nlink = max(2, self.nlink + more)

    def _unlinked(self, node: TreeNode) -> None:
        """`node` has lost its name in this directory."""
        if isinstance(node, TreeDirectory):
            node.nlink = 0
            self._count_directories(-1)
        else:
            node.nlink -= 1
        node.touch(modified=False)
        if node.nlink == 0:
            if isinstance(node, TreeFile):
                node.linkable = False
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
            self._count_directories(-1)
            new_parent._count_directories(1)
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
        self._count_directories(-moved)
        new_parent._count_directories(moved)
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
        self._root.nlink = max(2, self._root.nlink)

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
