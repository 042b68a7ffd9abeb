"""A volume: a writable filesystem of limited size that lasts, in one file of the host.

Names and attributes are a tree in memory, contents are blocks (`volume_content`) in the journal (`volume_journal`).
Changes are collected and written as one transaction: at fsync, when a file that was written is closed, when many have
piled up, and when the volume is closed. What was written so survives the end of the host process; after fsync, that of
the host, too. Transactions are in the order of the changes, so after a crash the guest finds a state that once was.

Superseded records are garbage; when there is more of it than of live data, the file is written anew and renamed over
the old one. `size` limits the live data (ENOSPC); the file takes at most about twice as much, and as much again while
it is rewritten. Neighbours: `tree` (the mechanism), `volume_store` (names, locks).
"""

from __future__ import annotations

import contextlib
import os
from weakref import WeakSet

from sandbox.abi.errno import EIO, ENOSPC, Errno
from sandbox.abi.flags import O_ACCMODE, O_RDONLY, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG
from sandbox.clock import Clock
from sandbox.errors import StateError
from sandbox.vfs import volume_journal as journal_format
from sandbox.vfs.file import OpenFile
from sandbox.vfs.node import StatFs
from sandbox.vfs.tree import TreeDirectory, TreeFilesystem
from sandbox.vfs.tree_node import Content, TreeFile, TreeLink, TreeNode, TreeSpecial
from sandbox.vfs.volume_content import BlockContent
from sandbox.vfs.volume_journal import BLOCK_OVERHEAD, BLOCK_SIZE, Inode, Journal, Record, State

MAX_DIRTY = 1024  # blocks that may wait for being written
MAX_RECORDS = 4096  # and other records
MIN_GARBAGE = 1 << 20
INODE_COST = 128  # bytes that count against the size, for an inode and for a name
ENTRY_COST = 64
_LAST_TIME = (1 << 63) - 1


class VolumeFile(TreeFile):
    __slots__ = ()
    filesystem: VolumeFs

    def open(self, flags: int, task_context: object | None = None) -> OpenFile:
        return OpenFile(self, flags) if flags & O_ACCMODE == O_RDONLY else _WrittenFile(self, flags)


class _WrittenFile(OpenFile):
    __slots__ = ()

    def close(self) -> None:
        filesystem = self.node.filesystem
        assert isinstance(filesystem, VolumeFs)
        filesystem.flush_quietly()


class VolumeFs(TreeFilesystem):
    """Opened by `volume_store.VolumeStore`. `on_close` gives the lock back."""

    name = "volumefs"
    magic = 0x564F4C31

    def __init__(self, path: str, clock: Clock, read_only: bool = False) -> None:
        self.path = path
        self.dirty_blocks = 0
        self.used = 0  # bytes of live data
        self._dirty_nodes: dict[int, TreeNode] = {}
        self._dirty_entries: dict[tuple[int, bytes], TreeDirectory] = {}
        self._recorded: set[int] = set()  # inode numbers that the journal knows
        self._dropped: set[int] = set()  # and shall forget
        self._orphans: WeakSet[TreeFile] = WeakSet()  # without a name, but open
        self._loading = True
        self._journal, state = Journal.open(path, read_only)
        self.identity = self._journal.identity
        try:
            super().__init__(clock, max(64, self._journal.size // (INODE_COST + ENTRY_COST)))
            self._load(state)
        except BaseException:
            self._journal.close()
            raise
        self.read_only = read_only
        self._loading = False
        if not read_only and self._is_wasteful():
            self._compact()

    @property
    def size_limit(self) -> int:
        return self._journal.size

    # -- room -------------------------------------------------------------------------------------------

    def take_block(self) -> None:
        if self.used + BLOCK_SIZE + BLOCK_OVERHEAD > self._journal.size:
            raise Errno(ENOSPC)
        self.used += BLOCK_SIZE + BLOCK_OVERHEAD

    def give_block(self, count: int = 1) -> None:
        self.used -= count * (BLOCK_SIZE + BLOCK_OVERHEAD)

    @property
    def free_blocks(self) -> int:
        return max(0, self._journal.size - self.used) // (BLOCK_SIZE + BLOCK_OVERHEAD)

    def charge(self, entries: int, force: bool = True) -> None:
        cost = entries * (INODE_COST + ENTRY_COST)
        if not force and self.used + cost > self._journal.size:
            raise Errno(ENOSPC)
        super().charge(entries, force)
        self.used += cost

    def statfs(self) -> StatFs:
        free = self.free_blocks
        total = self._journal.size // BLOCK_SIZE
        files = max(0, self.max_entries - self.entries)
        return StatFs(
            self.magic, BLOCK_SIZE, total, free, free, self.max_entries, min(files, free * 16), 255, int(self.read_only)
        )

    # -- what has changed -------------------------------------------------------------------------------

    def new_content(self) -> Content:
        raise Errno(EIO)  # contents know their inode: see make_file

    def make_file(self, mode: int, uid: int, gid: int) -> TreeFile:
        ino = self.number()
        node = VolumeFile(self, ino, mode, uid, gid, BlockContent(self, ino))
        self._orphans.add(node)
        return node

    def changed(self, node: TreeNode) -> None:
        if self._loading:
            return
        full = self.dirty_blocks > MAX_DIRTY
        if node.nlink or full:
            self._dirty_nodes[node.ino] = node
        if full or len(self._dirty_nodes) > MAX_RECORDS:
            self.flush()

    def accessed(self, node: TreeNode) -> None:
        if node.nlink:
            self._dirty_nodes[node.ino] = node

    def entry_changed(self, directory: TreeDirectory, name: bytes) -> None:
        if not self._loading:
            self._dirty_entries[directory.ino, name] = directory
            node = directory.entries.get(name)
            if isinstance(node, TreeFile):
                self._orphans.discard(node)

    def unlinked(self, node: TreeNode) -> None:
        """Nothing of it need be written any more, unless it is open and too large to wait in memory."""
        self._dirty_nodes.pop(node.ino, None)
        if node.ino in self._recorded:
            self._recorded.discard(node.ino)
            self._dropped.add(node.ino)
        if isinstance(node, TreeFile):
            self._orphans.add(node)

    # -- writing ----------------------------------------------------------------------------------------

    def flush(self) -> None:
        """One transaction of all that has changed. Raises Errno(EIO, ENOSPC); then it is tried again next time."""
        if not (self._dirty_nodes or self._dirty_entries or self._dropped) or self._journal.descriptor < 0:
            return
        records: list[tuple[Record, BlockContent | None, int | None]] = []
        for ino in self._dropped:
            records.append((journal_format.drop_record(ino), None, None))
        for node in self._dirty_nodes.values():
            if node.nlink:
                records.append((_inode_of(node).record(), None, None))
            content = node.content if isinstance(node, TreeFile) else None
            if isinstance(content, BlockContent):
                records.extend((record, content, index) for record, index in content.records())
        for (ino, name), directory in self._dirty_entries.items():
            if directory.nlink:
                child = directory.entries.get(name)
                entry = journal_format.entry_record(ino, name, child.ino if child is not None else 0)
                records.append((entry, None, None))
        self._commit(records)
        self._recorded.update(ino for ino, node in self._dirty_nodes.items() if node.nlink)
        self._dropped.clear()
        self._dirty_nodes.clear()
        self._dirty_entries.clear()
        if self._is_wasteful():
            self._compact()

    def flush_quietly(self) -> None:
        """close(2) of a guest does not fail for the host's disk; the next fsync will say so."""
        with contextlib.suppress(Errno):
            self.flush()

    def _commit(self, records: list[tuple[Record, BlockContent | None, int | None]]) -> None:
        try:
            positions = self._journal.append([record for record, _, _ in records])
        except OSError as error:
            raise Errno(ENOSPC if error.errno == ENOSPC else EIO) from None
        written: dict[BlockContent, dict[int, int]] = {}
        for position, (_, content, index) in zip(positions, records, strict=True):
            if content is not None:
                found = written.setdefault(content, {})
                if index is not None:
                    found[index] = position
        for content, found in written.items():
            content.written(found)

    def sync(self) -> None:
        if self.read_only:
            return
        self.flush()
        try:
            self._journal.sync()
        except OSError:
            raise Errno(EIO) from None

    def read_blocks(self, position: int, count: int) -> bytes:
        try:
            return self._journal.read_blocks(position, count)
        except OSError:
            raise Errno(EIO) from None

    def close(self) -> None:
        if self._journal.descriptor < 0:
            return
        try:
            if not self.read_only:
                self.sync()
        finally:
            super().close()
            self._journal.close()

    # -- rewriting --------------------------------------------------------------------------------------

    def _is_wasteful(self) -> bool:
        return self._journal.end > 2 * max(0, self.used) + MIN_GARBAGE

    def _compact(self) -> None:
        """Only what is alive, in a new file. The old one stands until the new one is complete."""
        old, path = self._journal, self.path + ".new"
        try:
            if os.path.lexists(path):
                os.unlink(path)  # of an interrupted attempt
            new = Journal.create(path, old.size, old.identity)
        except OSError:
            return  # the garbage stays, nothing is lost
        moved: list[tuple[BlockContent, dict[int, int]]] = []
        try:
            for node in self._all_nodes():
                self._copy_node(node, new, moved)
            new.sync()
            os.rename(path, self.path)
        except OSError:
            new.close()
            with contextlib.suppress(OSError):
                os.unlink(path)
            return
        with contextlib.suppress(OSError):
            _sync_directory(os.path.dirname(self.path))
        for content, stored in moved:
            content.stored = stored
        self._journal = new
        old.close()

    def _all_nodes(self) -> list[TreeNode]:
        """Each once: those with a name from the root down, then those that are only open."""
        nodes: dict[int, TreeNode] = {self._root.ino: self._root}
        pending: list[TreeDirectory] = [self._root]
        while pending:
            for node in pending.pop().entries.values():
                if node is not None and node.ino not in nodes:
                    nodes[node.ino] = node
                    if isinstance(node, TreeDirectory):
                        pending.append(node)
        for orphan in self._orphans:
            nodes.setdefault(orphan.ino, orphan)
        return list(nodes.values())

    def _copy_node(self, node: TreeNode, new: Journal, moved: list[tuple[BlockContent, dict[int, int]]]) -> None:
        records: list[Record] = [_inode_of(node).record()] if node.nlink else []
        if isinstance(node, TreeDirectory):
            for name, child in node.entries.items():
                if child is not None:
                    records.append(journal_format.entry_record(node.ino, name, child.ino))
        for start in range(0, len(records), 1024):
            new.append(records[start : start + 1024])
        content = node.content if isinstance(node, TreeFile) else None
        if not isinstance(content, BlockContent):
            return
        stored: dict[int, int] = {}
        indices = sorted(content.stored)
        for start in range(0, len(indices), 256):
            part = indices[start : start + 256]
            copies = [
                journal_format.block_record(node.ino, index, self._journal.read_blocks(content.stored[index], 1))
                for index in part
            ]
            stored.update(zip(part, new.append(copies), strict=True))
        moved.append((content, stored))

    # -- reading ----------------------------------------------------------------------------------------

    def _load(self, state: State) -> None:
        """Build the tree. Link counts are counted, not believed; what no name leads to is left out."""
        root = state.inodes.get(self._root.ino)
        self._recorded = set(state.inodes)
        if root is None:
            self._dirty_nodes[self._root.ino] = self._root  # a new volume
        else:
            self._describe(self._root, root)
        self._last_ino = max(self._last_ino, state.highest)
        nodes: dict[int, TreeNode] = {self._root.ino: self._root}
        pending: list[TreeDirectory] = [self._root]
        while pending:
            directory = pending.pop()
            for name, ino in state.entries.get(directory.ino, {}).items():
                inode = state.inodes.get(ino)
                if inode is None or not _is_name(name):
                    raise StateError(f"the volume {self.path} is damaged: an entry leads nowhere")
                node = nodes.get(ino)
                if node is None:
                    node = nodes[ino] = self._make(inode, state.blocks.get(ino, {}))
                    if isinstance(node, TreeDirectory):
                        pending.append(node)
                elif isinstance(node, TreeDirectory):
                    raise StateError(f"the volume {self.path} is damaged: a directory has two names")
                directory.put(name, node)
                if isinstance(node, TreeDirectory):
                    node.nlink = 2
                    directory.nlink += 1
                else:
                    node.nlink += 1

    def _make(self, inode: Inode, blocks: dict[int, int]) -> TreeNode:
        kind = inode.mode & S_IFMT
        node: TreeNode
        if kind == S_IFDIR:
            node = TreeDirectory(self, inode.ino, inode.mode, inode.uid, inode.gid)
        elif kind == S_IFREG:
            self.used += len(blocks) * (BLOCK_SIZE + BLOCK_OVERHEAD)
            content = BlockContent(self, inode.ino, inode.size, blocks)
            node = VolumeFile(self, inode.ino, inode.mode, inode.uid, inode.gid, content)
        elif kind == S_IFLNK:
            node = TreeLink(self, inode.ino, inode.target, inode.uid, inode.gid)
        else:
            node = TreeSpecial(self, inode.ino, inode.mode, inode.rdev, inode.uid, inode.gid)
        self._describe(node, inode)
        return node

    @staticmethod
    def _describe(node: TreeNode, inode: Inode) -> None:
        node.mode, node.uid, node.gid = inode.mode, inode.uid, inode.gid
        node.atime, node.mtime, node.ctime = inode.atime, inode.mtime, inode.ctime


def _inode_of(node: TreeNode) -> Inode:
    target = node.target if isinstance(node, TreeLink) else b""
    atime, mtime, ctime = (max(-_LAST_TIME, min(time, _LAST_TIME)) for time in (node.atime, node.mtime, node.ctime))
    return Inode(node.ino, node.mode, node.uid, node.gid, node.rdev, node.size, atime, mtime, ctime, target)


def _is_name(name: bytes) -> bool:
    return 0 < len(name) <= 255 and b"/" not in name and b"\0" not in name and name not in (b".", b"..")


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
