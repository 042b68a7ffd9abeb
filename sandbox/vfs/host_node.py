"""The nodes of hostfs: what the guest may do with a file or a directory of the host.

A node knows where it was seen, (directory node, name), and which inode it was; `hostfs.HostFs` turns that into
descriptors. Each operation on the host names one single component next to a directory descriptor, and none follows
a symbolic link. See `hostfs` for what is shown and what is refused.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Hashable
from typing import TYPE_CHECKING

from sandbox.abi.errno import EEXIST, EINVAL, ENOENT, EOPNOTSUPP, EPERM, EROFS, EXDEV, Errno
from sandbox.abi.flags import (
    DT_DIR,
    DT_LNK,
    DT_REG,
    DT_UNKNOWN,
    O_ACCMODE,
    O_RDONLY,
    O_WRONLY,
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    S_ISGID,
)
from sandbox.vfs.host_descriptors import FILE, Key, host_error
from sandbox.vfs.node import Node, OpenFile, Stat

if TYPE_CHECKING:
    from sandbox.memory import PageSource
    from sandbox.vfs.hostfs import HostFs

MAX_LOCATIONS = 16  # names remembered of a file with many links
numbers = itertools.count(1)  # only tells filesystems and nodes apart in descriptor caches


class HostNode(Node):
    """`identity` is the host's (st_dev, st_ino), `locations` where it was seen: (directory, name), newest last."""

    __slots__ = ("identity", "locations", "number", "opens", "pins", "version")
    filesystem: HostFs

    def __init__(self, filesystem: HostFs, status: os.stat_result) -> None:
        super().__init__(filesystem, filesystem.inode_number(status.st_dev, status.st_ino), status.st_mode)
        self.identity = (status.st_dev, status.st_ino)
        self.locations: list[tuple[HostNode, bytes]] = []
        self.number = next(numbers)
        self.opens = 0
        self.version = 0  # counts writes through here: the host's time stamps are too coarse for the page cache
        self.pins: dict[bool, int] | None = None  # descriptors of an unlinked file, by "for writing"
        self.adopt(status)

    def __del__(self) -> None:
        if hasattr(self, "pins"):
            self.filesystem.forget_node(self)

    def key(self, writing: bool = False) -> Key:
        return (self.filesystem.number, self.number, writing)

    def adopt(self, status: os.stat_result) -> None:
        filesystem = self.filesystem
        self.mode = status.st_mode
        self.uid = 0 if status.st_uid == filesystem.operator[0] else status.st_uid
        self.gid = 0 if status.st_gid == filesystem.operator[1] else status.st_gid

    def seen(self, directory: HostNode, name: bytes) -> None:
        """It is known by that name now."""
        location = (directory, name)
        if self.locations and self.locations[-1] == location:
            return
        self.left(directory, name)
        self.locations.append(location)
        del self.locations[:-MAX_LOCATIONS]

    def left(self, directory: HostNode, name: bytes) -> None:
        self.locations = [location for location in self.locations if location != (directory, name)]

    @property
    def size(self) -> int:
        return self.filesystem.status(self).st_size

    @property
    def rdev(self) -> int:
        return self.filesystem.status(self).st_rdev

    def stat(self) -> Stat:
        status = self.filesystem.status(self)
        self.adopt(status)
        return Stat(
            self.filesystem.device, self.ino, status.st_mode, status.st_nlink, self.uid, self.gid, status.st_rdev,
            status.st_size, 4096, status.st_blocks, status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns,
        )  # fmt: skip

    def set_attributes(
        self,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        atime: int | None = None,
        mtime: int | None = None,
    ) -> None:
        self.require_writable()
        filesystem = self.filesystem
        directory, name = filesystem.locate(self)
        try:
            if uid is not None or gid is not None:
                owner = filesystem.to_host(uid, gid)
                os.chown(name, *owner, dir_fd=directory, follow_symlinks=False)
            if mode is not None:
                self._set_mode(mode, directory, name)
            if atime is not None or mtime is not None:
                status = filesystem.status(self)
                times = (status.st_atime_ns if atime is None else atime, status.st_mtime_ns if mtime is None else mtime)
                os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)
        except OSError as error:
            raise host_error(error) from None
        except OverflowError:
            raise Errno(EINVAL) from None
        self.adopt(filesystem.status(self))

    def _set_mode(self, mode: int, directory: int, name: bytes) -> None:
        if self.is_symlink:
            raise Errno(EOPNOTSUPP)
        mode &= 0o1777 | (S_ISGID if self.is_directory else 0)
        # An O_PATH descriptor works whatever the present mode is, and is known to be no symbolic link.
        descriptor = self.filesystem.open_at(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, directory)
        try:
            self.filesystem.check_identity(self, os.fstat(descriptor))
            os.chmod(f"/proc/self/fd/{descriptor}", mode)
        finally:
            os.close(descriptor)

    def require_writable(self) -> None:
        if self.filesystem.read_only:
            raise Errno(EROFS)

    def readlink(self) -> bytes:
        if not self.is_symlink:
            raise Errno(EINVAL)
        directory, name = self.filesystem.locate(self)
        try:
            return os.readlink(name, dir_fd=directory)
        except OSError as error:
            raise host_error(error) from None

    def sync(self) -> None:
        if self.filesystem.read_only or self.mode & S_IFMT == S_IFLNK:
            return
        try:
            if self.is_directory:
                descriptor = self.filesystem.open_at(b".", os.O_RDONLY | os.O_CLOEXEC, self.filesystem.directory(self))
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
            else:
                os.fsync(self.filesystem.file(self, writing=False))
        except OSError as error:
            raise host_error(error) from None


class HostFile(HostNode):
    """A regular file."""

    __slots__ = ()

    def open(self, flags: int, task_context: object | None = None) -> OpenFile:
        access = flags & O_ACCMODE
        if access != O_WRONLY:
            self.filesystem.file(self, writing=False)  # the host may refuse: now is the time to say so
        if access != O_RDONLY:
            self.require_writable()
            self.filesystem.file(self, writing=True)
        return HostOpenFile(self, flags)

    def closed(self) -> None:
        self.opens -= 1
        if self.opens == 0:
            self.filesystem.unpin(self)

    def read_at(self, offset: int, count: int) -> bytes:
        try:
            return os.pread(self.filesystem.file(self, writing=False), count, offset)
        except OSError as error:
            raise host_error(error) from None

    def write_at(self, offset: int, data: bytes) -> int:
        self.require_writable()
        self.version += 1
        try:
            return os.pwrite(self.filesystem.file(self, writing=True), data, offset)
        except OSError as error:
            raise host_error(error) from None

    def append(self, data: bytes) -> int:
        """At the end as the host sees it: others may append, too."""
        self.require_writable()
        self.version += 1
        descriptor = self.filesystem.file(self, writing=True)
        try:
            return os.pwritev(descriptor, [data], 0, os.RWF_APPEND)
        except OSError as error:
            if error.errno != EOPNOTSUPP:
                raise host_error(error) from None
        return self.write_at(self.size, data)

    def truncate(self, size: int) -> None:
        self.require_writable()
        self.version += 1
        try:
            os.ftruncate(self.filesystem.file(self, writing=True), size)
        except OSError as error:
            raise host_error(error) from None

    def allocate(self, offset: int, length: int, keep_size: bool = False) -> None:
        self.require_writable()
        if keep_size:
            raise Errno(EOPNOTSUPP)
        try:
            os.posix_fallocate(self.filesystem.file(self, writing=True), offset, length)
        except OSError as error:
            raise host_error(error) from None

    def page_source(self) -> PageSource:
        return HostPages(self)


class HostOpenFile(OpenFile):
    __slots__ = ()
    node: HostFile

    def __init__(self, node: HostFile, flags: int) -> None:
        super().__init__(node, flags)
        node.opens += 1

    def close(self) -> None:
        self.node.closed()


class HostPages:
    """The pages of a host file, for private mappings. The identity names the file's state when it was mapped."""

    __slots__ = ("identity", "node", "size")

    def __init__(self, node: HostFile) -> None:
        status = node.filesystem.status(node)
        self.node = node
        self.size = status.st_size
        self.identity: Hashable = (
            "host", node.identity, status.st_size, status.st_mtime_ns, status.st_ctime_ns, node.version,
            node.filesystem.number if node.version else 0,
        )  # fmt: skip
        node.opens += 1

    def __del__(self) -> None:
        if hasattr(self, "identity"):
            self.node.closed()

    def load(self, index: int) -> bytes:
        return self.node.read_at(index << 12, 4096)

    def shared_frame(self, index: int) -> int | None:
        return None


class HostDirectory(HostNode):
    __slots__ = ()

    def lookup(self, name: bytes) -> HostNode:
        filesystem = self.filesystem
        _check_name(name)
        try:
            status = os.stat(name, dir_fd=filesystem.directory(self), follow_symlinks=False)
        except OSError as error:
            raise host_error(error) from None
        return filesystem.node(status, self, name)

    def names(self) -> list[tuple[bytes, int, int]]:
        filesystem = self.filesystem
        try:
            descriptor = filesystem.open_at(
                b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, filesystem.directory(self)
            )
            try:
                with os.scandir(descriptor) as listing:
                    device = self.identity[0]
                    number = filesystem.inode_number
                    return [(os.fsencode(entry.name), number(device, entry.inode()), _kind(entry)) for entry in listing]
            finally:
                os.close(descriptor)
        except OSError as error:
            raise host_error(error) from None

    def create(self, name: bytes, mode: int, uid: int, gid: int) -> HostNode:
        directory = self._writable(name)
        filesystem = self.filesystem
        try:
            descriptor = filesystem.open_at(name, FILE | os.O_CREAT | os.O_EXCL | os.O_RDWR, directory)
        except OSError as error:
            raise host_error(error) from None
        try:
            os.fchmod(descriptor, mode & 0o1777)
            filesystem.give_to(descriptor, uid, -1 if self.mode & S_ISGID else gid)
            node = filesystem.node(os.fstat(descriptor), self, name)
        except OSError as error:
            raise host_error(error) from None
        finally:
            os.close(descriptor)
        return node

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> HostNode:
        directory = self._writable(name)
        filesystem = self.filesystem
        try:
            os.mkdir(name, 0o700, dir_fd=directory)
            descriptor = filesystem.open_at(
                name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, directory
            )
            try:
                os.fchmod(descriptor, mode & 0o1777 | self.mode & S_ISGID)
                filesystem.give_to(descriptor, uid, -1 if self.mode & S_ISGID else gid)
                return filesystem.node(os.fstat(descriptor), self, name)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise host_error(error) from None

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> HostNode:
        directory = self._writable(name)
        try:
            os.symlink(target, name, dir_fd=directory)
        except OSError as error:
            raise host_error(error) from None
        return self.lookup(name)

    def mknod(self, name: bytes, mode: int, rdev: int, uid: int, gid: int) -> HostNode:
        if mode & S_IFMT == S_IFREG:
            return self.create(name, mode, uid, gid)
        raise Errno(EPERM)

    def link(self, name: bytes, node: Node) -> None:
        directory = self._writable(name)
        filesystem = self.filesystem
        if not isinstance(node, HostNode) or node.filesystem is not filesystem:
            raise Errno(EXDEV)
        if node.is_directory:
            raise Errno(EPERM)
        source, source_name = filesystem.locate(node)
        try:
            os.link(source_name, name, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)
        except OSError as error:
            raise host_error(error) from None
        self.lookup(name)

    def unlink(self, name: bytes) -> None:
        self._writable(name)
        node = self.lookup(name)
        self.filesystem.pin(node)
        try:
            os.unlink(name, dir_fd=self.filesystem.directory(self))
        except OSError as error:
            raise host_error(error) from None
        node.left(self, name)

    def rmdir(self, name: bytes) -> None:
        directory = self._writable(name)
        node = self.lookup(name)
        try:
            os.rmdir(name, dir_fd=directory)
        except OSError as error:
            raise host_error(error) from None
        node.left(self, name)

    def rename(self, old_name: bytes, new_parent: Node, new_name: bytes, flags: int = 0) -> None:
        filesystem = self.filesystem
        if not isinstance(new_parent, HostDirectory) or new_parent.filesystem is not filesystem:
            raise Errno(EXDEV)
        if flags & ~RENAME_NOREPLACE or flags & RENAME_EXCHANGE:
            raise Errno(EINVAL)
        node = self.lookup(old_name)
        _check_name(new_name)
        try:
            target: HostNode | None = new_parent.lookup(new_name)
        except Errno as error:
            if error.number != ENOENT:
                raise
            target = None
        if target is not None:
            if flags & RENAME_NOREPLACE:
                raise Errno(EEXIST)
            if target is node:
                return
            filesystem.pin(target)
        new_directory = new_parent._writable(new_name)
        old_directory = self._writable(old_name)
        try:
            os.rename(old_name, new_name, src_dir_fd=old_directory, dst_dir_fd=new_directory)
        except OSError as error:
            raise host_error(error) from None
        if target is not None:
            target.left(new_parent, new_name)
        node.left(self, old_name)
        node.seen(new_parent, new_name)

    def _writable(self, name: bytes) -> int:
        """The directory's descriptor, for an operation on `name` in it."""
        self.require_writable()
        _check_name(name)
        return self.filesystem.directory(self)


def _check_name(name: bytes) -> None:
    """The walk gives single names only; a slash here would be a way out, so it is checked once more."""
    if not name or name in (b".", b"..") or b"/" in name or b"\0" in name:
        raise Errno(EINVAL)


def _kind(entry: os.DirEntry[str]) -> int:
    if entry.is_symlink():
        return DT_LNK
    if entry.is_dir(follow_symlinks=False):
        return DT_DIR
    return DT_REG if entry.is_file(follow_symlinks=False) else DT_UNKNOWN
