"""A read-only tree made by the host program: the built-in root, and programs of the host put into a guest.

It is the lower layer of an overlay like any other. Files are bytes given by the caller, or a file of the host that is
read when it is wanted, so that many VMs that run the same program share its pages. Neighbours: `root`, `overlay`.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Hashable

from sandbox.abi.errno import EEXIST, Errno
from sandbox.clock import VirtualClock
from sandbox.errors import ConfigurationError
from sandbox.vfs.host_descriptors import DescriptorCache
from sandbox.vfs.host_node import HostFile, HostPages
from sandbox.vfs.hostfs import HostFs
from sandbox.vfs.tree import TreeDirectory, TreeFilesystem
from sandbox.vfs.tree_node import Content, FixedContent, TreeFile, TreeLink, TreeNode

_identities = itertools.count(1)


class BytesContent(FixedContent):
    __slots__ = ("_data", "identity")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.identity: Hashable = ("bytes", next(_identities))

    @property
    def size(self) -> int:
        return len(self._data)

    @property
    def blocks(self) -> int:
        return (len(self._data) + 4095) >> 12

    def read(self, offset: int, count: int) -> bytes:
        return self._data[offset : offset + count]

    def load(self, index: int) -> bytes:
        return self._data[index << 12 : (index + 1) << 12]

    def shared_frame(self, index: int) -> int | None:
        return None


class HostContent(FixedContent):
    """A file of the host, as it was when it was put here."""

    __slots__ = ("_node", "_pages")

    def __init__(self, node: HostFile) -> None:
        self._node = node
        self._pages = HostPages(node)

    @property
    def size(self) -> int:
        return self._pages.size

    @property
    def blocks(self) -> int:
        return (self.size + 4095) >> 12

    def read(self, offset: int, count: int) -> bytes:
        return self._node.read_at(offset, max(0, min(count, self.size - offset)))

    @property
    def identity(self) -> Hashable:
        return self._pages.identity

    def load(self, index: int) -> bytes:
        return self._pages.load(index)

    def shared_frame(self, index: int) -> int | None:
        return None


class Image(TreeFilesystem):
    """Filled by the methods below, then used as the lower layer of an `Overlay`; nothing is written to it there."""

    name = "image"

    def __init__(self, descriptors: DescriptorCache | None = None) -> None:
        super().__init__(VirtualClock(0, 0), 1 << 20)
        self._descriptors = descriptors if descriptors is not None else DescriptorCache()
        self._hosts: list[HostFs] = []

    def add_directory(self, path: bytes, mode: int = 0o755) -> TreeDirectory:
        """With its parents. An existing one gets the mode."""
        directory = self.root
        for name in _names(path):
            node = directory.find(name)
            if node is None:
                node = directory.mkdir(name, 0o755, 0, 0)
            if not isinstance(node, TreeDirectory):
                raise Errno(EEXIST)
            directory = node
        directory.set_attributes(mode=mode)
        return directory

    def add_file(self, path: bytes, data: bytes, mode: int = 0o644) -> TreeNode:
        return self._add(path, TreeFile(self, self.number(), mode, 0, 0, BytesContent(data)))

    def add_link(self, path: bytes, target: bytes) -> TreeNode:
        return self._add(path, TreeLink(self, self.number(), target, 0, 0))

    def add_host_file(self, path: bytes, host_path: str | os.PathLike[str], mode: int = 0o755) -> TreeNode:
        """A file of the operator's; symbolic links of the host are followed to it."""
        return self._add(path, TreeFile(self, self.number(), mode, 0, 0, self._host_content(host_path)))

    def _host_content(self, host_path: str | os.PathLike[str]) -> Content:
        real = os.path.realpath(os.fspath(host_path))
        host = HostFs(os.path.dirname(real), descriptors=self._descriptors)
        try:
            node = host.root.lookup(os.fsencode(os.path.basename(real)))
            if not isinstance(node, HostFile):
                raise ConfigurationError(f"{os.fspath(host_path)} is not a regular file")
            content = HostContent(node)
        except Errno as error:
            host.close()
            reason = os.strerror(error.number).lower()
            raise ConfigurationError(f"{os.fspath(host_path)} cannot be read: {reason}") from None
        self._hosts.append(host)
        return content

    def _add(self, path: bytes, node: TreeNode) -> TreeNode:
        names = _names(path)
        directory = self.root
        for name in names[:-1]:
            below = directory.find(name)
            if below is None:
                below = directory.mkdir(name, 0o755, 0, 0)
            if not isinstance(below, TreeDirectory):
                raise Errno(EEXIST)
            directory = below
        if not names or directory.find(names[-1]) is not None:
            raise Errno(EEXIST)
        directory.put(names[-1], node)
        node.nlink = 1
        return node

    def close(self) -> None:
        super().close()
        for host in self._hosts:
            host.close()
        self._hosts.clear()


def _names(path: bytes) -> list[bytes]:
    return [name for name in path.split(b"/") if name]
