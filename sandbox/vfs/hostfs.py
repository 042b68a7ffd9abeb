"""A directory of the host as a filesystem, read-only or writable, that nothing leads out of.

A node knows its directory and its name there, never a path; `host_descriptors` says how it is opened. Symbolic links
are only read: the guest's own walk interprets them, inside the guest's tree. Devices, FIFOs and sockets of the host
are visible, but never opened there: the guest gets its own device of that number, or ENXIO.

* Mode bits are shown as they are; the operator's own uid and gid are shown as 0, all others as they are.
* Set-uid and set-gid bits are never set on host files, devices and FIFOs never made: they would act on the host.
* The host may change anything at any time. Then a file may be gone (ENOENT, ESTALE), never another one.
* What a guest has unlinked but still has open keeps a descriptor of its own; beyond `MAX_PINS` of them: ENFILE.
"""

from __future__ import annotations

import contextlib
import os
from weakref import WeakValueDictionary

from sandbox.abi.errno import EACCES, EINVAL, EIO, ENFILE, ENOENT, ESTALE, Errno
from sandbox.abi.flags import S_IFDIR, S_IFMT, S_IFREG
from sandbox.errors import ConfigurationError
from sandbox.vfs.host_descriptors import (
    DIRECTORY,
    FILE,
    KERNEL_FILESYSTEMS,
    DescriptorCache,
    filesystem_kind,
    host_error,
)
from sandbox.vfs.host_node import HostDirectory, HostFile, HostNode, numbers
from sandbox.vfs.node import Filesystem, StatFs

MAX_PINS = 64
MAX_DEPTH = 4096


class HostFs(Filesystem):
    """`path` is the operator's: it must be a directory (ConfigurationError). Opened at first use. `descriptors` may be
    shared with other filesystems; `operator` is the host uid and gid that the guest sees as 0."""

    name = "hostfs"

    def __init__(
        self,
        path: str | os.PathLike[str],
        read_only: bool = True,
        descriptors: DescriptorCache | None = None,
        operator: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.path = os.path.abspath(os.fspath(path))
        self.read_only = read_only
        self.number = next(numbers)
        self.operator = operator if operator is not None else (os.geteuid(), os.getegid())
        self.descriptors = descriptors if descriptors is not None else DescriptorCache()
        self._nodes: WeakValueDictionary[tuple[int, int], HostNode] = WeakValueDictionary()
        self._pins = 0
        self._closed = False
        status = self._inspect()
        self._device = status.st_dev
        self._devices: dict[int, int] = {status.st_dev: 0}  # st_dev -> what its inode numbers are offset by
        self._refused: dict[int, bool] = {}
        self._root = HostDirectory(self, status)
        self._nodes[self._root.identity] = self._root

    def _inspect(self) -> os.stat_result:
        try:
            descriptor = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise ConfigurationError(f"{self.path} cannot be used as a directory for a guest: {reason}") from None
        try:
            kind = KERNEL_FILESYSTEMS.get(filesystem_kind(descriptor))
            if kind is not None:
                raise ConfigurationError(
                    f"{self.path} is a {kind} of the host: choose a directory that holds ordinary files"
                )
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)

    @property
    def root(self) -> HostDirectory:
        return self._root

    def statfs(self) -> StatFs:
        try:
            descriptor = self.directory(self._root)
            status = os.fstatvfs(descriptor)
        except OSError as error:
            raise host_error(error) from None
        return StatFs(
            filesystem_kind(descriptor), status.f_bsize, status.f_blocks, status.f_bfree, status.f_bavail,
            status.f_files, status.f_ffree, status.f_namemax, int(self.read_only),
        )  # fmt: skip

    def close(self) -> None:
        self._closed = True
        for node in list(self._nodes.values()):
            self.unpin(node)
        self.descriptors.drop_filesystem(self.number)

    # -- nodes ------------------------------------------------------------------------------------------

    def node(self, status: os.stat_result, directory: HostNode, name: bytes) -> HostNode:
        """The node of what was found as `name`, the same one as before when it is the same inode."""
        node = self._nodes.get((status.st_dev, status.st_ino))
        if node is None or (node.mode ^ status.st_mode) & S_IFMT:
            kind = status.st_mode & S_IFMT
            factory = HostDirectory if kind == S_IFDIR else HostFile if kind == S_IFREG else HostNode
            node = factory(self, status)
            self._nodes[node.identity] = node
        else:
            node.adopt(status)
        if node is not self._root:
            node.seen(directory, name)
        return node

    def inode_number(self, device: int, ino: int) -> int:
        """The host's own; what is mounted below the directory is kept apart in the upper bits."""
        offset = self._devices.setdefault(device, len(self._devices) << 56)
        return (ino + offset) & ((1 << 63) - 1)

    def forget_node(self, node: HostNode) -> None:
        self.unpin(node)
        self.descriptors.drop(node.key(False))
        self.descriptors.drop(node.key(True))

    def to_host(self, uid: int | None, gid: int | None) -> tuple[int, int]:
        def mapped(value: int | None, operator: int) -> int:
            return -1 if value is None else operator if value == 0 else value

        return mapped(uid, self.operator[0]), mapped(gid, self.operator[1])

    def give_to(self, descriptor: int, uid: int, gid: int) -> None:
        """A new file belongs to who made it, as far as the operator may give files away."""
        owner = self.to_host(uid, gid)
        if owner != self.operator:
            with contextlib.suppress(PermissionError):
                os.fchown(descriptor, *owner)

    # -- descriptors: valid until the next but two are asked for ------------------------------------------

    def open_at(self, name: bytes, flags: int, directory: int) -> int:
        """Not cached: the caller closes it. Raises OSError."""
        return self.descriptors.open_at(name, flags, directory)

    def check_identity(self, node: HostNode, status: os.stat_result) -> None:
        if (status.st_dev, status.st_ino) != node.identity or (status.st_mode ^ node.mode) & S_IFMT:
            raise Errno(ESTALE)

    def locate(self, node: HostNode) -> tuple[int, bytes]:
        """A directory descriptor and a name in it that is (or just was) this node."""
        if node is self._root:
            return self.directory(node), b"."
        descriptor, name, _ = self._find(node)
        return descriptor, name

    def _find(self, node: HostNode) -> tuple[int, bytes, os.stat_result]:
        failure = Errno(ENOENT)
        for directory, name in reversed(node.locations):
            try:
                descriptor = self.directory(directory)
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                self.check_identity(node, status)
            except Errno as error:
                failure = error
            except OSError as error:
                failure = host_error(error)
            else:
                return descriptor, name, status
        raise failure

    def status(self, node: HostNode) -> os.stat_result:
        """Of the very inode, open or not."""
        if node.pins:
            descriptor: int | None = next(iter(node.pins.values()))
        elif node is self._root:
            descriptor = self.directory(node)
        else:
            descriptor = self.descriptors.get(node.key()) or self.descriptors.get(node.key(True))
        if descriptor is None:
            return self._find(node)[2]
        try:
            return os.fstat(descriptor)
        except OSError as error:
            raise host_error(error) from None

    def directory(self, node: HostNode) -> int:
        """An O_PATH descriptor. At most one enters the cache by a call, so the ones given before stay valid."""
        descriptor = self.descriptors.get(node.key())
        if descriptor is not None:
            return descriptor
        if self._closed:
            raise Errno(EIO)
        steps: list[HostNode] = []
        current = node
        while descriptor is None and current is not self._root:
            if not current.locations:
                raise Errno(ENOENT)  # removed
            if len(steps) > MAX_DEPTH:
                raise Errno(ESTALE)  # the host has moved directories into each other
            steps.append(current)
            current = current.locations[-1][0]
            descriptor = self.descriptors.get(current.key())
        kept = descriptor is not None
        if descriptor is None:
            descriptor = self._open_root()
        for step in reversed(steps):
            try:
                below = self._step(descriptor, step)
            finally:
                if not kept:
                    os.close(descriptor)
            descriptor, kept = below, False
        self.descriptors.put(node.key(), descriptor)
        return descriptor

    def _open_root(self) -> int:
        try:
            descriptor = self.descriptors.open_at(os.fsencode(self.path), DIRECTORY & ~os.O_NOFOLLOW, None)
        except OSError as error:
            raise host_error(error) from None
        return self._verified(descriptor, self._root)

    def _step(self, directory: int, node: HostNode) -> int:
        try:
            descriptor = self.descriptors.open_at(node.locations[-1][1], DIRECTORY, directory)
        except OSError as error:
            raise host_error(error) from None
        return self._verified(descriptor, node)

    def _verified(self, descriptor: int, node: HostNode) -> int:
        """The descriptor if it is the node and may be used; else it is closed."""
        try:
            status = os.fstat(descriptor)
            self.check_identity(node, status)
            if status.st_dev != self._device:
                refused = self._refused.get(status.st_dev)
                if refused is None:
                    refused = self._refused[status.st_dev] = filesystem_kind(descriptor) in KERNEL_FILESYSTEMS
                if refused:
                    raise Errno(EACCES)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def file(self, node: HostNode, writing: bool) -> int:
        """A descriptor of a regular file."""
        if node.pins is not None:
            descriptor = node.pins.get(writing)
            if descriptor is None:
                raise Errno(EACCES)
            return descriptor
        key = node.key(writing)
        descriptor = self.descriptors.get(key)
        if descriptor is not None:
            return descriptor
        if node.mode & S_IFMT != S_IFREG:
            raise Errno(EINVAL)
        failure = Errno(ESTALE)
        for directory, name in reversed(node.locations):
            flags = FILE | (os.O_WRONLY if writing else os.O_RDONLY)
            try:
                opened = self._verified(self.descriptors.open_at(name, flags, self.directory(directory)), node)
            except Errno as error:
                failure = error
            except OSError as error:
                failure = host_error(error)
            else:
                self.descriptors.put(key, opened)
                return opened
        raise failure

    def pin(self, node: HostNode) -> None:
        """The file is about to lose a name: if it is open, keep it reachable."""
        if not node.opens or node.pins is not None or not isinstance(node, HostFile):
            return
        if self._pins >= MAX_PINS:
            raise Errno(ENFILE)
        pins = {}
        for writing in (False, True):
            try:
                self.file(node, writing)
            except Errno:
                continue
            descriptor = self.descriptors.take(node.key(writing))
            if descriptor is not None:
                pins[writing] = descriptor
        node.pins = pins
        self._pins += 1

    def unpin(self, node: HostNode) -> None:
        if node.pins is not None:
            for descriptor in node.pins.values():
                os.close(descriptor)
            node.pins = None
            self._pins -= 1
