"""Path resolution (path_resolution(7)): from a path, a starting place and a root to a place.

The only interpreter of guest paths. It goes one name at a time from node to node, follows symbolic links itself and
never lets ".." climb above `root`; no filesystem ever sees more than a single name. Limits are Linux's: 4095 bytes
a path, 255 a name, 40 symbolic links. Neighbours: `mount` (places), `namespace`, `opening`.
"""

from __future__ import annotations

from typing import Literal, overload

from sandbox.abi.errno import ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, Errno
from sandbox.abi.flags import S_IFDIR, S_IFLNK, S_IFMT, X_OK
from sandbox.vfs.mount import NAME_MAX, Mounts, Place
from sandbox.vfs.node import Identity, check_access

PATH_MAX = 4096
MAX_LINKS = 40


@overload
def walk(
    mounts: Mounts,
    root: Place,
    start: Place,
    path: bytes,
    credentials: Identity,
    follow: bool = ...,
    want_parent: Literal[False] = ...,
) -> Place: ...


@overload
def walk(
    mounts: Mounts,
    root: Place,
    start: Place,
    path: bytes,
    credentials: Identity,
    follow: bool = ...,
    *,
    want_parent: Literal[True],
) -> tuple[Place, bytes]: ...


def walk(
    mounts: Mounts,
    root: Place,
    start: Place,
    path: bytes,
    credentials: Identity,
    follow: bool = True,
    want_parent: bool = False,
) -> Place | tuple[Place, bytes]:
    """The place of `path`. An absolute path starts at `root`, another at `start`. `follow` is about a symbolic link
    at the very end; a trailing slash always follows it and demands a directory.

    With `want_parent`: the directory that holds the last name, and that name, which need not exist and is not
    followed; it is b"." or b".." when the path ends so, and b"" for "/". Trailing slashes are not part of it.
    The search permission of every directory on the way is checked, the last one's included."""
    return _Walk(root, credentials).go(start, path, follow, want_parent)


class _Walk:
    """One resolution; `links` counts across all the symbolic links of it."""

    __slots__ = ("credentials", "links", "privileged", "root")

    def __init__(self, root: Place, credentials: Identity) -> None:
        self.root = root
        self.credentials = credentials
        self.privileged = credentials.fsuid == 0
        self.links = 0

    def go(self, start: Place, path: bytes, follow: bool, want_parent: bool) -> Place | tuple[Place, bytes]:
        if not path:
            raise Errno(ENOENT)
        if len(path) >= PATH_MAX:
            raise Errno(ENAMETOOLONG)
        place = self.root if path.startswith(b"/") else start
        last: bytes | None = None
        pending = _components(
            path
        )  # reversed: the next one is at the end; b"" at the very end of a path demands a directory
        if want_parent:
            if pending and pending[0] == b"":
                del pending[0]
            last = pending.pop(0) if pending else b""
        root = self.root
        while pending:
            name = pending.pop()
            node = place.node
            if node.mode & S_IFMT != S_IFDIR:
                raise Errno(ENOTDIR)
            if name == b"":
                continue
            if not self.privileged:
                check_access(node, self.credentials, X_OK)
            if name == b".":
                continue
            if name == b"..":
                place = place.above(root)
                continue
            child = place.child(name)
            if child.node.mode & S_IFMT == S_IFLNK and (pending or follow or want_parent):
                place = self._follow(place, child, pending)
            else:
                place = child
        if last is None:
            return place
        if place.node.mode & S_IFMT != S_IFDIR:
            raise Errno(ENOTDIR)
        if not self.privileged:
            check_access(place.node, self.credentials, X_OK)
        if len(last) > NAME_MAX:
            raise Errno(ENOENT if place.removed else ENAMETOOLONG)  # a removed directory is not asked
        return place, last

    def _follow(self, directory: Place, link: Place, pending: list[bytes]) -> Place:
        """Push the link's target before what is still to go; return where to continue."""
        self.links += 1
        if self.links > MAX_LINKS:
            raise Errno(ELOOP)
        destination = link.node.jump()
        if destination is not None:
            return destination
        target = link.node.readlink()
        if not target:
            raise Errno(ENOENT)
        pending.extend(_components(target))
        return self.root if target.startswith(b"/") else directory


def _components(path: bytes) -> list[bytes]:
    """The names of `path`, last first. A trailing slash is an empty name in front."""
    names = [name for name in path.split(b"/") if name]
    if path.endswith(b"/") and names:
        names.append(b"")
    names.reverse()
    return names
