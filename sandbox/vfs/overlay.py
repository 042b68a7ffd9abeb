"""A writable layer over a read-only filesystem: what `--rootfs` gives, so that the directory is never written.

Unlike the union of two trees in Linux, this is one tree whose nodes stand for those of the lower filesystem until
they change. A node that changes (attributes, contents, entries) is kept in `changed` by its lower inode number; one
that does not is forgotten when nobody uses it. So a file keeps its inode number when it is written, open files see
the change, hard links of the lower layer stay together, and a directory of the lower layer can be renamed as it is.

* copy up: a file's bytes are copied to the upper Tmpfs's frames at the first write.
* whiteout: an entry None hides the lower name.   * opaque: a directory made here simply has no lower one.

The lower filesystem must not change meanwhile; lookups in it are remembered. Nothing is ever written to it.
Inode numbers: the lower ones as they are as long as they fit in 31 bits, else replaced; new nodes count from 2^31.
Neighbours: `tree` (the mechanism), `tmpfs` (room and frames), `hostfs` and `tarfs` (lower layers).
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from sandbox.abi.errno import EIO, ENOENT, Errno
from sandbox.abi.flags import O_ACCMODE, O_RDONLY, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG
from sandbox.vfs.file import OpenFile
from sandbox.vfs.node import Filesystem, Node, StatFs
from sandbox.vfs.tmpfs import Tmpfs
from sandbox.vfs.tree import TreeDirectory, TreeFilesystem
from sandbox.vfs.tree_node import Content, FixedContent, MappedFile, TreeFile, TreeLink, TreeNode, TreeSpecial

if TYPE_CHECKING:
    from sandbox.memory import PageSource

FIRST_NEW_INO = 1 << 31
COPY_CHUNK = 1 << 20
REMEMBERED_LOOKUPS = 1024


class LowerContent(FixedContent):
    """The bytes of a file of the lower layer; released by nobody."""

    __slots__ = ("blocks", "node", "size")

    def __init__(self, node: Node, size: int, blocks: int) -> None:
        self.node = node
        self.size = size
        self.blocks = blocks

    def read(self, offset: int, count: int) -> bytes:
        return self.node.read_at(offset, count)


class OverlayFile(TreeFile):
    __slots__ = ("opened_for_writing",)
    filesystem: Overlay

    def __init__(self, filesystem: Overlay, ino: int, mode: int, uid: int, gid: int, content: Content) -> None:
        super().__init__(filesystem, ino, mode, uid, gid, content)
        self.opened_for_writing = False

    def open(self, flags: int, task_context: object | None = None) -> OpenFile:
        if flags & O_ACCMODE != O_RDONLY:
            self.opened_for_writing = True
        return super().open(flags, task_context)

    def _own(self, keep: int) -> Content:
        """Copy up, all or nothing."""
        content = self._present()
        if not isinstance(content, LowerContent):
            return content
        copy = self.filesystem.new_content()
        keep = min(keep, content.size)
        try:
            done = 0
            while done < keep:
                data = content.read(done, min(COPY_CHUNK, keep - done))
                if not data:
                    raise Errno(EIO)  # the lower file has become shorter
                written = 0
                while written < len(data):
                    written += copy.write(done + written, data[written:])
                done += len(data)
        except Errno:
            copy.release()
            raise
        self.content = copy
        self.filesystem.changed(self)
        return copy

    def page_source(self) -> PageSource | None:
        content = self._present()
        if isinstance(content, LowerContent):
            if not self.opened_for_writing:
                source = content.node.page_source()  # the same pages for every VM over this lower layer
                return None if source is None else MappedFile(self, source)
            self._own(content.size)  # a shared mapping may be written
        return super().page_source()


class OverlayDirectory(TreeDirectory):
    """`entries` holds only what differs from `lower`."""

    __slots__ = ("lower",)
    filesystem: Overlay

    def __init__(self, filesystem: Overlay, ino: int, mode: int, uid: int, gid: int, lower: Node | None = None) -> None:
        super().__init__(filesystem, ino, mode, uid, gid)
        self.lower = lower

    def find(self, name: bytes) -> TreeNode | None:
        try:
            return self.entries[name]
        except KeyError:
            return None if self.lower is None else self.filesystem.from_lower(self.lower, name)

    def drop(self, name: bytes) -> None:
        if self.lower is None or self.filesystem.lower_lookup(self.lower, name) is None:
            super().drop(name)
            return
        self.put(name, None)

    def is_empty(self) -> bool:
        return not self.names()

    def names(self) -> list[tuple[bytes, int, int]]:
        upper = super().names()
        if self.lower is None:
            return upper
        entries = self.entries
        number = self.filesystem.ino_of
        below = [(name, number(ino), kind) for name, ino, kind in self.lower.names() if name not in entries]
        return upper + below


class Overlay(TreeFilesystem):
    """`upper` gives room, frames and clock; it must not be used otherwise. Closing the overlay closes both."""

    name = "overlay"
    magic = 0x794C7630

    def __init__(self, lower: Filesystem, upper: Tmpfs, close_lower: bool = True) -> None:
        self.lower = lower
        self.upper = upper
        self._close_lower = close_lower
        self._changed: dict[int, TreeNode] = {}  # by lower inode number, strongly: it differs from the lower one
        self._known: WeakValueDictionary[int, TreeNode] = WeakValueDictionary()  # by lower inode number
        self._replaced: dict[int, int] = {}  # large lower inode numbers -> ours
        self._originals: dict[int, int] = {}  # and back
        self._lookups: dict[tuple[int, bytes], Node | None] = {}
        super().__init__(upper.clock, upper.max_entries)

    # -- the lower layer --------------------------------------------------------------------------------

    def ino_of(self, lower_ino: int) -> int:
        if lower_ino < FIRST_NEW_INO:
            return lower_ino
        known = self._replaced.get(lower_ino)
        if known is None:
            known = self._replaced[lower_ino] = self.number()
            self._originals[known] = lower_ino
        return known

    def _lower_ino(self, node: TreeNode) -> int | None:
        """None: it was made here."""
        return node.ino if node.ino < FIRST_NEW_INO else self._originals.get(node.ino)

    def lower_lookup(self, directory: Node, name: bytes) -> Node | None:
        key = (directory.ino, name)
        lookups = self._lookups
        try:
            return lookups[key]
        except KeyError:
            pass
        try:
            node: Node | None = directory.lookup(name)
        except Errno as error:
            if error.number != ENOENT:
                raise
            node = None
        if len(lookups) >= REMEMBERED_LOOKUPS:
            lookups.clear()
        lookups[key] = node
        return node

    def from_lower(self, directory: Node, name: bytes) -> TreeNode | None:
        lower = self.lower_lookup(directory, name)
        return None if lower is None else self._adopt(lower)

    def _adopt(self, lower: Node) -> TreeNode:
        """Our node for a lower one, the same for as long as it is used or differs."""
        node = self._changed.get(lower.ino) or self._known.get(lower.ino)
        if node is not None:
            return node
        stat = lower.stat()
        kind = stat.mode & S_IFMT
        ino = self.ino_of(lower.ino)
        if kind == S_IFDIR:
            node = OverlayDirectory(self, ino, stat.mode, stat.uid, stat.gid, lower)
        elif kind == S_IFREG:
            content = LowerContent(lower, stat.size, stat.blocks >> 3)
            node = OverlayFile(self, ino, stat.mode, stat.uid, stat.gid, content)
        elif kind == S_IFLNK:
            node = TreeLink(self, ino, lower.readlink(), stat.uid, stat.gid)
        else:
            node = TreeSpecial(self, ino, stat.mode, stat.rdev, stat.uid, stat.gid)
        node.nlink = stat.nlink if kind != S_IFDIR else max(2, stat.nlink)  # some host filesystems say 1
        node.atime, node.mtime, node.ctime = stat.atime, stat.mtime, stat.ctime
        self._known[lower.ino] = node
        return node

    # -- TreeFilesystem ---------------------------------------------------------------------------------

    def new_content(self) -> Content:
        return self.upper.new_content()

    def make_root(self, mode: int) -> TreeDirectory:
        self._last_ino = FIRST_NEW_INO
        root = self._adopt(self.lower.root)
        assert isinstance(root, OverlayDirectory)
        self._changed[self.lower.root.ino] = root
        return root

    def make_directory(self, mode: int, uid: int, gid: int) -> TreeDirectory:
        return OverlayDirectory(self, self.number(), mode, uid, gid)

    def make_file(self, mode: int, uid: int, gid: int) -> TreeFile:
        return OverlayFile(self, self.number(), mode, uid, gid, self.new_content())

    def changed(self, node: TreeNode) -> None:
        """From now on it differs from the lower one, and is kept."""
        lower_ino = self._lower_ino(node)
        if lower_ino is not None and node.nlink:
            self._changed[lower_ino] = node

    def unlinked(self, node: TreeNode) -> None:
        lower_ino = self._lower_ino(node)
        if lower_ino is not None:
            self._changed.pop(lower_ino, None)

    def statfs(self) -> StatFs:
        result = self.upper.statfs()
        result.kind = self.magic
        result.files, result.ffree = self.max_entries, max(0, self.max_entries - self.entries)
        return result

    def close(self) -> None:
        super().close()
        for node in self._changed.values():
            if isinstance(node, TreeFile):
                node.drop_content()
        self._changed.clear()
        self._lookups.clear()
        self.upper.close()
        if self._close_lower:
            self.lower.close()
