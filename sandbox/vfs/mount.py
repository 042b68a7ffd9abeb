"""Places and mounts: where in the tree something is, as opposed to what it is (`node`).

A `Place` is a name in a directory of a mount, what Linux calls a dentry. Places are canonical: as long as anybody
holds one, looking up the same name gives the same object, so a rename can move it (and with it every working
directory below) and a mount can hang on it. They hold their parents, never their children.

`Mounts` is the mount table of a VM. Neighbours: `walk` (paths to places), `namespace` (checked operations).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakValueDictionary

from sandbox.abi.errno import EBUSY, EINVAL, ENAMETOOLONG, ENOENT, ENOTDIR, Errno
from sandbox.vfs.file import OpenFile
from sandbox.vfs.node import SUPERUSER, Filesystem, Node

NAME_MAX = 255
MAX_RECENT = 128


class Mount:
    """One filesystem in the tree. `point` is the place it covers; None for the root."""

    __slots__ = ("_recent", "filesystem", "number", "point", "read_only", "root", "source")

    def __init__(self, filesystem: Filesystem, root: Node, point: Place | None, read_only: bool, source: bytes) -> None:
        self.filesystem = filesystem
        self.point = point
        self.read_only = read_only
        self.source = source
        self.number = 0
        self._recent: dict[Place, None] = {}  # kept alive although nobody holds them: found again without a lookup
        self.root = Place(self, root, None, b"")

    def remember(self, place: Place) -> None:
        recent = self._recent
        if len(recent) >= MAX_RECENT:
            del recent[next(iter(recent))]
        recent[place] = None

    def forget(self, place: Place | None = None) -> None:
        """One that was removed (its file is freed as soon as nobody uses it), or all."""
        if place is None:
            self._recent.clear()
        else:
            self._recent.pop(place, None)

    @property
    def refuses_writes(self) -> bool:
        return self.read_only or self.filesystem.read_only


class Place:
    """`parent` is None at the root of a mount (and for what has no name, see `detached`)."""

    __slots__ = ("__weakref__", "_children", "mount", "mounted", "name", "node", "parent", "removed")

    def __init__(self, mount: Mount, node: Node, parent: Place | None, name: bytes) -> None:
        self.mount = mount
        self.node = node
        self.parent = parent
        self.name = name
        self.mounted: Mount | None = None  # the mount that covers this place
        self.removed = False  # unlinked, but still somebody's working directory or open file
        self._children: WeakValueDictionary[bytes, Place] | None = None

    def child(self, name: bytes) -> Place:
        """The place of one ordinary name below; crosses into a mount. Raises ENOENT, ENOTDIR ..."""
        if len(name) > NAME_MAX:
            raise Errno(ENAMETOOLONG)
        children = self._children
        known = None if children is None else children.get(name)
        if known is not None and known.mounted is not None:
            return known.top()
        node = self.node.lookup(name)
        if known is not None and known.node is node:
            return known
        place = Place(self.mount, node, self, name)
        if children is None:
            children = self._children = WeakValueDictionary()
        children[name] = place
        if self.mount.filesystem.lasting:
            self.mount.remember(place)
        return place

    def top(self) -> Place:
        """Through all mounts that cover this place."""
        place = self
        while place.mounted is not None:
            place = place.mounted.root
        return place

    def above(self, root: Place | None = None) -> Place:
        """ "..", which at `root` and at the very top is the place itself."""
        place = self
        while place is not root:
            if place.parent is not None:
                return place.parent.top() if place.parent.mounted is not None else place.parent
            if place.mount.point is None:
                break
            place = place.mount.point
        return place

    def is_mount_point(self, name: bytes) -> bool:
        known = self.known(name)
        return known is not None and known.mounted is not None

    def known(self, name: bytes) -> Place | None:
        """The place of `name` below, only if somebody holds it."""
        return None if self._children is None else self._children.get(name)

    def within(self, other: Place) -> bool:
        """Whether this place is `other` or somewhere below it."""
        place: Place | None = self
        while place is not None:
            if place is other:
                return True
            place = place.parent if place.parent is not None else place.mount.point
        return False

    def path(self, root: Place | None = None) -> bytes:
        """Absolute, as seen from `root`. What was removed ends in " (deleted)"; what lies outside `root` starts
        with "(unreachable)" (getcwd(2))."""
        names: list[bytes] = []
        place = self
        removed = False
        while place is not root:
            removed = removed or place.removed
            if place.parent is not None:
                names.append(place.name)
                place = place.parent
            elif place.mount.point is not None:
                place = place.mount.point
            else:
                break
        if place is self and place is not root and place.name:
            return place.name  # detached
        prefix = b"(unreachable)" if root is not None and place is not root else b""
        return prefix + b"/" + b"/".join(reversed(names)) + (b" (deleted)" if removed else b"")

    # -- kept right by `namespace` ----------------------------------------------------------------------

    def forget(self, name: bytes) -> None:
        """`name` was removed from this directory."""
        known = self.known(name)
        if known is not None:
            known.removed = True
            self.mount.forget(known)
            assert self._children is not None
            del self._children[name]

    def moved(self, old_name: bytes, new_parent: Place, new_name: bytes, exchanged: bool = False) -> None:
        """`old_name` became `new_name` in `new_parent`."""
        source, target = self.known(old_name), new_parent.known(new_name)
        if exchanged:
            self._adopt(old_name, target)
        else:
            new_parent.forget(new_name)
            if source is not None and self._children is not None:
                del self._children[old_name]
        new_parent._adopt(new_name, source)

    def _adopt(self, name: bytes, place: Place | None) -> None:
        if self._children is None:
            self._children = WeakValueDictionary()
        if place is None:
            self._children.pop(name, None)
            return
        place.parent = self
        place.name = name
        self._children[name] = place

    @classmethod
    def detached(cls, node: Node, label: bytes) -> Place:
        """A place for what is not in any tree: pipes, sockets, memfds."""
        # The mount's own root is a stand-in: a circle through `node` would keep its bytes after the last close.
        mount = Mount(node.filesystem, Node(node.filesystem, 0, 0), None, False, b"none")
        return cls(mount, node, None, label)


def place_of(file: OpenFile) -> Place:
    """Where `file` was opened; a detached place when it has no name."""
    if file.place is None:
        file.place = Place.detached(file.node, file.path)
    return file.place


@dataclass(frozen=True, slots=True)
class MountView:
    """A line of /proc/PID/mounts or mountinfo."""

    number: int
    parent: int
    place: Place  # its root
    filesystem: Filesystem
    read_only: bool
    source: bytes

    @property
    def path(self) -> bytes:
        return self.place.path()


DeviceOpener = Callable[[Node, int, "object | None"], OpenFile]


def nobody_executes(node: Node) -> bool:
    """While no machine runs on the tree."""
    return False


class Mounts:
    """The mount table. The first device number is given to the root filesystem, and so on: st_dev is repeatable.

    `devices` says what a device file opens, by (S_IFCHR or S_IFBLK, rdev), wherever in the tree it lies; a device
    without an entry gives ENXIO. `devfs.install_devices` fills it. `executing` says of a file whether a process runs
    it, which protects it from being written."""

    def __init__(self, root_filesystem: Filesystem, read_only: bool = False, source: bytes = b"rootfs") -> None:
        self.devices: dict[tuple[int, int], DeviceOpener] = {}
        self.executing: Callable[[Node], bool] = nobody_executes
        self._mounts: list[Mount] = []
        self._numbers = 0
        root = self._add(root_filesystem, None, read_only, source)
        self.root: Place = root.root

    def mount(
        self,
        path: bytes | Place,
        filesystem: Filesystem,
        read_only: bool = False,
        source: bytes = b"none",
        root: Node | None = None,
    ) -> Mount:
        """Cover the directory (or, when `root` is a file, the file) at `path`. `root` makes it a bind mount of a
        part of `filesystem`."""
        place = self._find(path)
        top = root if root is not None else filesystem.root
        if place.node.is_directory != top.is_directory:
            raise Errno(ENOTDIR)
        mount = self._add(filesystem, place, read_only, source, top)
        place.mounted = mount
        return mount

    def unmount(self, path: bytes | Place) -> Filesystem:
        """Uncover what the topmost mount at `path` covers. EINVAL when nothing is mounted there, EBUSY when
        something is mounted below it. Open files stay usable; the caller decides about `Filesystem.close`."""
        place = self._find(path)
        mount = place.mount
        if place is not mount.root or mount.point is None:
            raise Errno(EINVAL)
        if any(other.point is not None and other.point.mount is mount for other in self._mounts):
            raise Errno(EBUSY)
        mount.point.mounted = None
        mount.forget()
        self._mounts.remove(mount)
        return mount.filesystem

    def __len__(self) -> int:
        return len(self._mounts)

    def table(self) -> list[MountView]:
        """In the order in which they were mounted."""
        return [
            MountView(
                mount.number,
                mount.point.mount.number if mount.point is not None else mount.number,
                mount.root,
                mount.filesystem,
                mount.refuses_writes,
                mount.source,
            )
            for mount in self._mounts
        ]

    def filesystems(self) -> list[Filesystem]:
        """Each one once."""
        return list(dict.fromkeys(mount.filesystem for mount in self._mounts))

    def sync(self) -> None:
        for filesystem in self.filesystems():
            filesystem.sync()

    def close(self) -> None:
        """Close every filesystem, the last mounted first. Idempotent."""
        for mount in self._mounts:
            mount.forget()
        for filesystem in reversed(self.filesystems()):
            filesystem.close()

    def _find(self, path: bytes | Place) -> Place:
        if isinstance(path, Place):
            return path.top()
        from sandbox.vfs.walk import walk

        if not path.startswith(b"/"):
            raise Errno(ENOENT)
        return walk(self, self.root, self.root, path, SUPERUSER)

    def _add(
        self, filesystem: Filesystem, point: Place | None, read_only: bool, source: bytes, root: Node | None = None
    ) -> Mount:
        self._numbers += 1
        if filesystem.device == 0:
            filesystem.device = 0x10 + self._numbers  # major 0, as for all filesystems without a block device
        mount = Mount(filesystem, root if root is not None else filesystem.root, point, read_only, source)
        mount.number = self._numbers
        self._mounts.append(mount)
        return mount
