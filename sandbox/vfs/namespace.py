"""The tree as one task sees it: every operation on names, with all the checks that Linux makes around an inode.

A `Namespace` binds the mount table, the task's root directory and its credentials; `start` is the place a relative
path begins at (the working directory or a dirfd). Checks come in the order of fs/namei.c and fs/attr.c, because the
order decides which errno the guest sees. Nodes themselves know nothing of permissions and mounts.
Creation modes are given with the umask already applied. Neighbours: `walk`, `mount`, `opening` (open(2)).
"""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.abi.errno import (
    EBUSY,
    EEXIST,
    EINVAL,
    EISDIR,
    ENAMETOOLONG,
    ENOENT,
    ENOTDIR,
    ENOTEMPTY,
    EOPNOTSUPP,
    EPERM,
    EROFS,
    ETXTBSY,
    EXDEV,
    Errno,
)
from sandbox.abi.flags import (
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFIFO,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    S_IFSOCK,
    S_ISGID,
    S_ISUID,
    S_ISVTX,
    W_OK,
    X_OK,
)
from sandbox.vfs.mount import Mounts, Place
from sandbox.vfs.node import Identity, Node, OpenFile, Stat, check_access
from sandbox.vfs.opening import open_path, open_place
from sandbox.vfs.walk import PATH_MAX, walk

_SPECIAL = (b"", b".", b"..")


@dataclass(slots=True)
class Namespace:
    mounts: Mounts
    root: Place
    credentials: Identity

    # -- finding ----------------------------------------------------------------------------------------

    def find(self, start: Place, path: bytes, follow: bool = True) -> Place:
        return walk(self.mounts, self.root, start, path, self.credentials, follow)

    def parent(self, start: Place, path: bytes) -> tuple[Place, bytes]:
        return walk(self.mounts, self.root, start, path, self.credentials, want_parent=True)

    def stat(self, start: Place, path: bytes, follow: bool = True) -> Stat:
        return self.find(start, path, follow).node.stat()

    def readlink(self, start: Place, path: bytes) -> bytes:
        return self.find(start, path, follow=False).node.readlink()

    def check(self, place: Place, wanted: int) -> None:
        """EROFS or EACCES unless `wanted` (R_OK | W_OK | X_OK) is granted there."""
        node = place.node
        if wanted & W_OK and place.mount.refuses_writes and node.mode & S_IFMT in (S_IFREG, S_IFDIR, S_IFLNK):
            raise Errno(EROFS)
        check_access(node, self.credentials, wanted)

    # -- opening ----------------------------------------------------------------------------------------

    def open(
        self, start: Place, path: bytes, flags: int, mode: int = 0o666, task_context: object | None = None
    ) -> OpenFile:
        """open(2), all of it: O_CREAT, O_EXCL, O_TRUNC, O_DIRECTORY, O_NOFOLLOW, O_PATH, O_TMPFILE."""
        return open_path(self.mounts, self.root, start, path, self.credentials, flags, mode, task_context)

    def open_place(self, place: Place, flags: int, task_context: object | None = None) -> OpenFile:
        """What exists already, without a walk."""
        return open_place(self.mounts, place, self.credentials, flags, task_context)

    # -- creating ---------------------------------------------------------------------------------------

    def mkdir(self, start: Place, path: bytes, mode: int) -> Place:
        parent, name = self._new_name(start, path, directory=True)
        who = self.credentials
        parent.node.mkdir(name, mode & (0o777 | S_ISVTX), who.fsuid, who.fsgid)
        return parent.child(name)

    def mknod(self, start: Place, path: bytes, mode: int, rdev: int = 0) -> Place:
        kind = mode & S_IFMT or S_IFREG
        if kind == S_IFDIR:
            raise Errno(EPERM)
        if kind not in (S_IFREG, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK):
            raise Errno(EINVAL)
        parent, name = self._new_name(start, path)
        who = self.credentials
        if kind in (S_IFCHR, S_IFBLK) and who.fsuid != 0:
            raise Errno(EPERM)
        mode &= 0o7777
        if kind == S_IFREG:
            parent.node.create(name, mode, who.fsuid, who.fsgid)
        else:
            parent.node.mknod(name, kind | mode, rdev, who.fsuid, who.fsgid)
        return parent.child(name)

    def expect_absent(self, start: Place, path: bytes) -> None:
        """Raises what making a file there would."""
        self._new_name(start, path)

    def symlink(self, target: bytes, start: Place, path: bytes) -> None:
        if not target:
            raise Errno(ENOENT)
        if len(target) >= PATH_MAX:
            raise Errno(ENAMETOOLONG)
        parent, name = self._new_name(start, path)
        parent.node.symlink(name, target, self.credentials.fsuid, self.credentials.fsgid)

    def link(self, place: Place, start: Place, path: bytes) -> None:
        """One more name for what is at `place`."""
        if place.parent is None and not place.name and place.node.is_directory:
            raise Errno(EPERM)
        parent, name = self._new_name(start, path, same_mount_as=place)
        if place.node.is_directory:
            raise Errno(EPERM)
        parent.node.link(name, place.node)

    def _new_name(
        self, start: Place, path: bytes, directory: bool = False, same_mount_as: Place | None = None
    ) -> tuple[Place, bytes]:
        """Where something new shall be: it does not exist and may be created."""
        parent, name = self.parent(start, path)
        if name in _SPECIAL:
            raise Errno(EEXIST)
        if _exists(parent, name) is not None:
            raise Errno(EEXIST)
        if path.endswith(b"/") and not directory:
            raise Errno(ENOENT)
        if same_mount_as is not None and same_mount_as.mount is not parent.mount:
            raise Errno(EXDEV)
        self._may_create(parent)
        return parent, name

    def _may_create(self, parent: Place) -> None:
        if parent.mount.refuses_writes:
            raise Errno(EROFS)
        if parent.removed:
            raise Errno(ENOENT)
        check_access(parent.node, self.credentials, W_OK | X_OK)

    # -- removing and renaming --------------------------------------------------------------------------

    def unlink(self, start: Place, path: bytes) -> None:
        parent, name = self.parent(start, path)
        if name in _SPECIAL:
            raise Errno(EISDIR)
        if parent.mount.refuses_writes:
            raise Errno(EROFS)
        node = parent.child(name).node if parent.is_mount_point(name) else parent.node.lookup(name)
        if path.endswith(b"/"):
            raise Errno(EISDIR if node.is_directory else ENOTDIR)
        self._may_delete(parent, node)
        if node.is_directory:
            raise Errno(EISDIR)
        if parent.is_mount_point(name):
            raise Errno(EBUSY)
        parent.node.unlink(name)
        parent.forget(name)

    def rmdir(self, start: Place, path: bytes) -> None:
        parent, name = self.parent(start, path)
        if name in _SPECIAL:
            raise Errno({b"": EBUSY, b".": EINVAL, b"..": ENOTEMPTY}[name])
        if parent.mount.refuses_writes:
            raise Errno(EROFS)
        child = parent.child(name)
        self._may_delete(parent, child.node)
        if not child.node.is_directory:
            raise Errno(ENOTDIR)
        if parent.is_mount_point(name) or child is self.root:
            raise Errno(EBUSY)
        parent.node.rmdir(name)
        parent.forget(name)

    def rename(self, old_start: Place, old: bytes, new_start: Place, new: bytes, flags: int = 0) -> None:
        if flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE) or flags == RENAME_NOREPLACE | RENAME_EXCHANGE:
            raise Errno(EINVAL)
        old_parent, old_name = self.parent(old_start, old)
        new_parent, new_name = self.parent(new_start, new)
        if old_parent.mount is not new_parent.mount:
            raise Errno(EXDEV)
        if old_name in _SPECIAL:
            raise Errno(EBUSY)
        if new_name in _SPECIAL:
            raise Errno(EEXIST if flags & RENAME_NOREPLACE else EBUSY)
        if old_parent.mount.refuses_writes:
            raise Errno(EROFS)
        source = old_parent.child(old_name)
        target = _exists(new_parent, new_name)
        exchange = bool(flags & RENAME_EXCHANGE)
        if flags & RENAME_NOREPLACE and target is not None:
            raise Errno(EEXIST)
        if exchange and target is None:
            raise Errno(ENOENT)
        moves_directory = source.node.is_directory
        if exchange and target is not None and not target.node.is_directory and new.endswith(b"/"):
            raise Errno(ENOTDIR)
        if not moves_directory and (old.endswith(b"/") or (not exchange and new.endswith(b"/"))):
            raise Errno(ENOTDIR)
        if new_parent.within(source):
            raise Errno(EINVAL)
        if target is not None and old_parent.within(target):
            raise Errno(EINVAL if exchange else ENOTEMPTY)
        if target is not None and target.node is source.node:
            return
        self._may_rename(old_parent, source.node, new_parent, target, exchange)
        if old_parent.is_mount_point(old_name) or new_parent.is_mount_point(new_name):
            raise Errno(EBUSY)
        old_parent.node.rename(old_name, new_parent.node, new_name, flags)
        old_parent.moved(old_name, new_parent, new_name, exchange)

    def _may_rename(
        self, old_parent: Place, source: Node, new_parent: Place, target: Place | None, exchange: bool
    ) -> None:
        self._may_delete(old_parent, source)
        if target is None:
            self._may_create(new_parent)
        else:
            self._may_delete(new_parent, target.node)
            if not exchange and source.is_directory != target.node.is_directory:
                raise Errno(ENOTDIR if source.is_directory else EISDIR)
        if new_parent is old_parent:
            return
        # A directory that gets another ".." is written to.
        if source.is_directory:
            check_access(source, self.credentials, W_OK)
        if exchange and target is not None and target.node.is_directory:
            check_access(target.node, self.credentials, W_OK)

    def _may_delete(self, parent: Place, node: Node) -> None:
        check_access(parent.node, self.credentials, W_OK | X_OK)
        who = self.credentials.fsuid
        if parent.node.mode & S_ISVTX and who not in (0, node.uid, parent.node.uid):
            raise Errno(EPERM)

    # -- attributes -------------------------------------------------------------------------------------

    def truncate(self, start: Place, path: bytes, size: int) -> None:
        if size < 0:
            raise Errno(EINVAL)
        place = self.find(start, path)
        if not place.node.is_regular:
            raise Errno(EISDIR if place.node.is_directory else EINVAL)
        self.check(place, W_OK)
        if self.mounts.executing(place.node):
            raise Errno(ETXTBSY)
        place.node.truncate(size)

    def chmod(self, place: Place, mode: int) -> None:
        if place.node.is_symlink:
            self._writable_mount(place)
            raise Errno(EOPNOTSUPP)
        node = self._owned(place)
        mode &= 0o7777
        if mode & S_ISGID and self.credentials.fsuid != 0 and not self._in_group(node.gid):
            mode &= ~S_ISGID
        node.set_attributes(mode=mode)

    def chown(self, place: Place, uid: int | None, gid: int | None) -> None:
        """None: unchanged. Set-id bits of anything but a directory are dropped, whoever asks (fs/open.c)."""
        self._writable_mount(place)
        node = place.node
        who = self.credentials.fsuid
        if who != 0:
            if uid is not None and (who != node.uid or uid != node.uid):
                raise Errno(EPERM)
            if gid is not None and (who != node.uid or not (gid == node.gid or self._in_group(gid))):
                raise Errno(EPERM)
        mode = node.mode & 0o7777
        dropped = S_ISUID | (S_ISGID if mode & 0o010 else 0)
        if node.mode & S_IFMT in (S_IFDIR, S_IFLNK) or not mode & dropped:
            node.set_attributes(uid=uid, gid=gid)
        else:
            node.set_attributes(mode=mode & ~dropped, uid=uid, gid=gid)

    def change_times(self, place: Place, atime: int | None, mtime: int | None, explicit: bool) -> None:
        """None: unchanged. `explicit` is False when both are simply "now": then write permission suffices."""
        if explicit:
            node = self._owned(place)
        else:
            self._writable_mount(place)
            node = place.node
            if self.credentials.fsuid != node.uid:
                check_access(node, self.credentials, W_OK)
        node.set_attributes(atime=atime, mtime=mtime)

    def _writable_mount(self, place: Place) -> None:
        if place.mount.refuses_writes:
            raise Errno(EROFS)

    def _owned(self, place: Place) -> Node:
        self._writable_mount(place)
        if self.credentials.fsuid not in (0, place.node.uid):
            raise Errno(EPERM)
        return place.node

    def _in_group(self, gid: int) -> bool:
        return gid == self.credentials.fsgid or gid in self.credentials.groups


def _exists(parent: Place, name: bytes) -> Place | None:
    try:
        return parent.child(name)
    except Errno as error:
        if error.number != ENOENT:
            raise
        return None
