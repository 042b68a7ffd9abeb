"""open(2): from a path and flags to an open file description.

The checks come in the order of fs/namei.c (`path_openat`, `do_open`, `may_open`), so that the guest sees the same
errno. Device files are opened through the mount table's `devices`, whatever filesystem they lie in: a device node in
a host directory or an image never reaches the host's device. Called through `namespace.Namespace.open`.
"""

from __future__ import annotations

from sandbox.abi.errno import (
    EEXIST,
    EINVAL,
    EISDIR,
    ELOOP,
    ENOENT,
    ENOTDIR,
    ENXIO,
    EPERM,
    EROFS,
    ETXTBSY,
    Errno,
)
from sandbox.abi.flags import (
    O_ACCMODE,
    O_CLOEXEC,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOATIME,
    O_NOCTTY,
    O_NOFOLLOW,
    O_PATH,
    O_RDONLY,
    O_RDWR,
    O_TMPFILE,
    O_TRUNC,
    O_WRONLY,
    R_OK,
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    W_OK,
    X_OK,
)
from sandbox.vfs.mount import Mounts, Place
from sandbox.vfs.node import Identity, Node, OpenFile, check_access
from sandbox.vfs.walk import MAX_LINKS, walk

_NEEDS = {O_RDONLY: R_OK, O_WRONLY: W_OK, O_RDWR: R_OK | W_OK, O_ACCMODE: R_OK | W_OK}
# Flags that only matter while opening; fcntl(F_GETFL) does not show them.
_OPENING_FLAGS = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC


def open_path(
    mounts: Mounts,
    root: Place,
    start: Place,
    path: bytes,
    credentials: Identity,
    flags: int,
    mode: int,
    task_context: object | None,
) -> OpenFile:
    """`mode` (umask applied) is used when a file is created."""
    if flags & O_PATH:
        flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
    elif flags & O_TMPFILE == O_TMPFILE:
        if flags & O_ACCMODE == O_RDONLY or flags & O_CREAT:
            raise Errno(EINVAL)
        place = walk(mounts, root, start, path, credentials, follow=not flags & O_NOFOLLOW)
        return _open_temporary(mounts, place, credentials, flags, mode)
    elif flags & O_CREAT and flags & O_DIRECTORY:
        raise Errno(EINVAL)
    if not flags & O_CREAT:
        place = walk(mounts, root, start, path, credentials, follow=not flags & O_NOFOLLOW)
        return open_place(mounts, place, credentials, flags, task_context)
    place, created = _find_or_create(mounts, root, start, path, credentials, flags, mode)
    if created:
        return _finish(place, place.node.open(flags & ~_OPENING_FLAGS, task_context))
    if place.node.is_directory:
        raise Errno(EISDIR)
    return open_place(mounts, place, credentials, flags, task_context)


def open_place(
    mounts: Mounts, place: Place, credentials: Identity, flags: int, task_context: object | None = None
) -> OpenFile:
    """Open what exists at `place`."""
    node = place.node
    kind = node.mode & S_IFMT
    if flags & O_DIRECTORY and kind != S_IFDIR:
        raise Errno(ENOTDIR)
    if flags & O_PATH:
        return _finish(place, OpenFile(node, flags & ~_OPENING_FLAGS))
    wanted = _NEEDS[flags & O_ACCMODE]
    if flags & O_TRUNC:
        wanted |= W_OK
    if kind == S_IFLNK:
        raise Errno(ELOOP)
    if kind == S_IFDIR and wanted & W_OK:
        raise Errno(EISDIR)
    if wanted & W_OK and kind == S_IFREG and place.mount.refuses_writes:
        raise Errno(EROFS)
    check_access(node, credentials, wanted)
    if flags & O_NOATIME and credentials.fsuid not in (0, node.uid):
        raise Errno(EPERM)
    if kind in (S_IFCHR, S_IFBLK):
        opener = mounts.devices.get((kind, node.rdev))
        if opener is None:
            raise Errno(ENXIO)
        return _finish(place, opener(node, flags & ~_OPENING_FLAGS, task_context))
    if wanted & W_OK and kind == S_IFREG and mounts.executing(node):
        raise Errno(ETXTBSY)
    file = node.open(flags & ~_OPENING_FLAGS, task_context)
    if flags & O_TRUNC and kind == S_IFREG:
        try:
            node.truncate(0)
        except Errno:
            file.release()
            raise
    return _finish(place, file)


def _finish(place: Place, file: OpenFile) -> OpenFile:
    # An opener may have given the file a place of its own (a pseudo terminal behind /dev/ptmx).
    if file.place is None:
        file.place = place
        file.count_writer()
    return file


def _find_or_create(
    mounts: Mounts, root: Place, start: Place, path: bytes, credentials: Identity, flags: int, mode: int
) -> tuple[Place, bool]:
    """The place, and whether the file is new. A dangling symbolic link creates what it points to."""
    for _ in range(MAX_LINKS + 1):
        parent, name = walk(mounts, root, start, path, credentials, want_parent=True)
        if name in (b"", b".", b".."):
            raise Errno(EEXIST if flags & O_EXCL else EISDIR)
        if path.endswith(b"/"):
            raise Errno(EISDIR)
        try:
            place = parent.child(name)
        except Errno as error:
            if error.number != ENOENT:
                raise
            return _create(parent, name, credentials, mode), True
        if flags & O_EXCL:
            raise Errno(EEXIST)
        if not place.node.is_symlink:
            return place, False
        if flags & O_NOFOLLOW:
            raise Errno(ELOOP)
        destination = place.node.jump()
        if destination is not None:
            return destination, False
        start, path = parent, place.node.readlink()
    raise Errno(ELOOP)


def _create(parent: Place, name: bytes, credentials: Identity, mode: int) -> Place:
    if parent.mount.refuses_writes:
        raise Errno(EROFS)
    if parent.removed:
        raise Errno(ENOENT)
    check_access(parent.node, credentials, W_OK | X_OK)
    parent.node.create(name, mode & 0o7777, credentials.fsuid, credentials.fsgid)
    return parent.child(name)


def _open_temporary(mounts: Mounts, place: Place, credentials: Identity, flags: int, mode: int) -> OpenFile:
    directory: Node = place.node
    if not directory.is_directory:
        raise Errno(ENOTDIR)
    if place.mount.refuses_writes:
        raise Errno(EROFS)
    check_access(directory, credentials, W_OK | X_OK)
    node = directory.temporary(mode & 0o7777, credentials.fsuid, credentials.fsgid)
    file = node.open(flags & ~_OPENING_FLAGS & ~(O_TMPFILE & ~O_DIRECTORY))
    unnamed = Place(place.mount, node, place, b"#%d" % node.ino)
    unnamed.removed = True
    return _finish(unnamed, file)
