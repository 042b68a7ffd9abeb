"""Paths, places and mounts: what the walk finds, under which root, through which mounts, for whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from sandbox.abi.errno import Errno
from sandbox.abi.flags import O_CREAT, O_DIRECTORY, O_PATH, O_RDONLY, O_RDWR, O_TMPFILE, O_WRONLY, R_OK, W_OK, X_OK
from sandbox.vfs.mount import Mounts, Place, place_of
from sandbox.vfs.namespace import Namespace
from sandbox.vfs.node import SUPERUSER
from sandbox.vfs.walk import walk
from tests.vfs_actors import GuestActor
from tests.vfs_filesystems import tmpfs


@dataclass(frozen=True)
class User:
    fsuid: int
    fsgid: int
    groups: tuple[int, ...] = ()


def tree(*steps: tuple[Any, ...]) -> GuestActor:
    actor = GuestActor(tmpfs())
    for step in steps:
        assert actor.act(step) in ("ok", *range(100)), step
    return actor


def error(call: Any, *arguments: Any, **keywords: Any) -> str:
    try:
        call(*arguments, **keywords)
    except Errno as raised:
        return str(raised)
    return "ok"


# -- roots -----------------------------------------------------------------------------------------------------

CHROOT: list[tuple[bytes, bytes | str]] = [
    (b"/", b"/jail"),
    (b"/..", b"/jail"),
    (b"/../..", b"/jail"),
    (b"..", b"/jail"),
    (b"../../d/..", b"/jail"),
    (b"/d/../..", b"/jail"),
    (b"/d/up", b"/jail"),
    (b"/d/up/up", "ENOENT"),
    (b"/abs", b"/jail/d"),
    (b"/abs/../d", b"/jail/d"),
    (b"/outside", "ENOENT"),
    (b"/secret", "ENOENT"),
    (b"/../secret", "ENOENT"),
]


@pytest.mark.parametrize(("path", "expected"), CHROOT, ids=lambda value: repr(value))
def test_nothing_leads_above_the_root(path: bytes, expected: bytes | str) -> None:
    actor = tree(
        ("mkdir", b"jail"), ("mkdir", b"jail/d"), ("write", b"secret", b"1"),
        ("symlink", b"../../../..", b"jail/d/up"), ("symlink", b"/d", b"jail/abs"),
        ("symlink", b"/secret", b"jail/outside"),
    )  # fmt: skip
    jail = actor.namespace.find(actor.start, b"/jail")
    inside = jail.child(b"d")
    try:
        found: bytes | str = walk(actor.mounts, jail, inside, path, SUPERUSER).path()
    except Errno as raised:
        found = str(raised)
    assert found == expected


def test_paths_as_seen_from_a_root() -> None:
    actor = tree(("mkdir", b"jail"), ("mkdir", b"jail/d"), ("mkdir", b"e"))
    jail = actor.namespace.find(actor.start, b"/jail")
    assert jail.child(b"d").path(jail) == b"/d"
    assert jail.path(jail) == b"/"
    assert actor.namespace.find(actor.start, b"/e").path(jail) == b"(unreachable)/e"


def test_the_parent_of_a_name() -> None:
    actor = tree(("mkdir", b"d"), ("write", b"f", b"1"), ("symlink", b"d", b"s"), ("symlink", b"nowhere", b"n"))
    cases: list[tuple[bytes, tuple[bytes, bytes] | str]] = [
        (b"x", (b"/", b"x")),
        (b"/x///", (b"/", b"x")),
        (b"d/x", (b"/d", b"x")),
        (b"s/x", (b"/d", b"x")),
        (b"s", (b"/", b"s")),
        (b"d/.", (b"/d", b".")),
        (b"d/..", (b"/d", b"..")),
        (b"/", (b"/", b"")),
        (b"f/x", "ENOTDIR"),
        (b"n/x", "ENOENT"),
        (b"d/" + b"x" * 256, "ENAMETOOLONG"),
    ]
    for path, expected in cases:
        try:
            place, name = walk(actor.mounts, actor.start, actor.start, path, SUPERUSER, want_parent=True)
            assert (place.path(), name) == expected, path
        except Errno as raised:
            assert str(raised) == expected, path


# -- places follow what happens ----------------------------------------------------------------------------------


def test_a_working_directory_moves_with_its_directory() -> None:
    actor = tree(("mkdir", b"a"), ("mkdir", b"a/b"), ("mkdir", b"c"))
    cwd = actor.namespace.find(actor.start, b"a/b")
    actor.act(("rename", b"a", b"c/renamed"))
    assert cwd.path() == b"/c/renamed/b"
    assert actor.namespace.find(cwd, b"../..").path() == b"/c"
    actor.act(("mkdir", b"a"))
    assert actor.namespace.find(actor.start, b"a").path() == b"/a"


def test_a_removed_working_directory() -> None:
    actor = tree(("mkdir", b"a"), ("mkdir", b"a/b"))
    cwd = actor.namespace.find(actor.start, b"a/b")
    actor.act(("rmdir", b"a/b"))
    assert cwd.path() == b"/a/b (deleted)"
    assert cwd.removed
    actor.act(("mkdir", b"a/b"))
    assert actor.namespace.find(actor.start, b"a/b") is not cwd
    namespace = actor.namespace
    assert error(namespace.mkdir, cwd, b"x", 0o755) == "ENOENT"
    assert error(namespace.open, cwd, b"x", O_WRONLY | O_CREAT) == "ENOENT"
    assert namespace.find(cwd, b"..").path() == b"/a"
    assert [entry.name for entry in namespace.open(cwd, b".", O_RDONLY).entries()] == [b".", b".."]


def test_exchange() -> None:
    actor = tree(("mkdir", b"a"), ("write", b"a/f", b"1"), ("write", b"b", b"22"), ("mkdir", b"d"))
    inside = actor.namespace.find(actor.start, b"a/f")
    actor.namespace.rename(actor.start, b"a", actor.start, b"b", 2)
    assert actor.run([("read", b"a"), ("read", b"b/f")]) == [b"22", b"1"]
    assert inside.path() == b"/b/f"
    actor.namespace.rename(actor.start, b"b", actor.start, b"d", 2)
    assert inside.path() == b"/d/f"
    cases = [
        (b"d", b"nothing", 2, "ENOENT"), (b"d", b"a", 1, "EEXIST"), (b"d", b"a", 3, "EINVAL"),
        (b"d", b"x", 8, "EINVAL"), (b"d", b"d/f", 2, "EINVAL"), (b"a", b"new", 1, "ok"),
    ]  # fmt: skip
    for old, new, flags, expected in cases:
        assert error(actor.namespace.rename, actor.start, old, actor.start, new, flags) == expected


def test_what_was_unlinked_is_freed_at_once() -> None:
    filesystem = tmpfs()
    actor = GuestActor(filesystem)
    actor.act(("write", b"f", b"x" * 100_000))
    assert filesystem.pages == 25
    actor.act(("read", b"f"))
    actor.act(("unlink", b"f"))
    assert filesystem.pages == 0
    actor.act(("write", b"f", b"x" * 100_000))
    actor.act(("write", b"g", b"x"))
    actor.act(("rename", b"g", b"f"))
    assert filesystem.pages == 1
    actor.close()
    assert filesystem.account.used == 0


# -- mounts ------------------------------------------------------------------------------------------------------


def mounted() -> tuple[GuestActor, Mounts]:
    actor = tree(("mkdir", b"mnt"), ("mkdir", b"mnt/hidden"), ("mkdir", b"d"), ("symlink", b"/mnt", b"s"))
    other = GuestActor(tmpfs())
    other.run([("mkdir", b"in"), ("write", b"in/f", b"mounted"), ("symlink", b"/d", b"to_d")])
    other.filesystem.device = 0  # as if it had not been mounted before
    actor.mounts.mount(b"/mnt", other.filesystem, source=b"here")
    return actor, actor.mounts


def test_mounts_are_crossed_both_ways() -> None:
    actor, mounts = mounted()
    assert actor.act(("list", b"mnt")) == [b"in", b"to_d"]
    assert actor.act(("read", b"s/in/f")) == b"mounted"
    assert actor.act(("list", b"mnt/in/../../mnt/..")) == [b"d", b"mnt", b"s"]
    assert actor.namespace.find(actor.start, b"mnt/to_d").path() == b"/d"
    inside = actor.namespace.find(actor.start, b"mnt/in")
    assert inside.path() == b"/mnt/in"
    assert inside.node.stat().dev != actor.start.node.stat().dev
    names = [(view.path, view.filesystem.name, view.source) for view in mounts.table()]
    assert names == [(b"/", "tmpfs", b"rootfs"), (b"/mnt", "tmpfs", b"here")]
    # ".." in a listing is the directory above, across the mount.
    file = actor.namespace.open(actor.start, b"mnt", O_RDONLY | O_DIRECTORY)
    assert [entry.ino for entry in file.entries() if entry.name == b".."] == [actor.start.node.ino]


def test_what_mounts_forbid() -> None:
    actor, mounts = mounted()
    namespace, start = actor.namespace, actor.start
    actor.act(("write", b"f", b"1"))
    assert actor.act(("rename", b"f", b"mnt/f")) == "EXDEV"
    assert actor.act(("rename", b"mnt/in", b"in")) == "EXDEV"
    assert actor.act(("link", b"f", b"mnt/f")) == "EXDEV"
    assert actor.act(("rmdir", b"mnt")) == "EBUSY"
    assert actor.act(("rename", b"mnt", b"x")) in ("EBUSY", "EXDEV")
    assert actor.act(("unlink", b"mnt")) == "EISDIR"
    assert actor.act(("mkdir", b"mnt")) == "EEXIST"
    assert error(mounts.mount, b"/f", tmpfs()) == "ENOTDIR"
    assert error(mounts.mount, b"/nowhere", tmpfs()) == "ENOENT"
    assert error(mounts.unmount, b"/d") == "EINVAL"
    assert error(mounts.unmount, b"/") == "EINVAL"
    mounts.mount(b"/mnt/in", tmpfs())
    assert error(mounts.unmount, b"/mnt") == "EBUSY"
    mounts.unmount(b"/mnt/in")
    mounts.unmount(b"/mnt")
    assert actor.act(("list", b"mnt")) == [b"hidden"]
    assert namespace.find(start, b"mnt/hidden/..").path() == b"/mnt"


def test_mounts_over_mounts_and_single_files() -> None:
    actor, mounts = mounted()
    above = GuestActor(tmpfs())
    above.run([("write", b"single", b"one file"), ("write", b"other", b"")])
    mounts.mount(b"/mnt", above.filesystem)
    assert actor.act(("list", b"mnt")) == [b"other", b"single"]
    actor.act(("write", b"file", b"covered"))
    node = above.filesystem.root.lookup(b"single")
    mounts.mount(b"/file", above.filesystem, root=node)
    assert actor.act(("read", b"file")) == b"one file"
    assert actor.act(("unlink", b"file")) == "EBUSY"
    mounts.unmount(b"/file")
    assert actor.act(("read", b"file")) == b"covered"
    mounts.unmount(b"/mnt")
    assert actor.act(("list", b"mnt")) == [b"in", b"to_d"]


def test_a_read_only_mount() -> None:
    actor = tree(("mkdir", b"mnt"), ("write", b"f", b"1"))
    other = GuestActor(tmpfs())
    other.run([("write", b"f", b"1"), ("mkdir", b"d"), ("mkfifo", b"fifo")])
    actor.mounts.mount(b"/mnt", other.filesystem, read_only=True)
    steps: list[tuple[tuple[Any, ...], str]] = [
        (("write", b"mnt/f", b"x"), "EROFS"),
        (("open", b"mnt/f", "r", "trunc"), "EROFS"),
        (("open", b"mnt/new", "w", "creat"), "EROFS"),
        (("open", b"mnt/f", "r", "creat"), "ok"),
        (("open", b"mnt/f", "r", "creat", "excl"), "EEXIST"),
        (("mkdir", b"mnt/new"), "EROFS"),
        (("mkdir", b"mnt/d"), "EEXIST"),
        (("rmdir", b"mnt/d"), "EROFS"),
        (("unlink", b"mnt/nothing"), "EROFS"),
        (("rename", b"mnt/f", b"mnt/g"), "EROFS"),
        (("symlink", b"x", b"mnt/s"), "EROFS"),
        (("link", b"mnt/f", b"mnt/g"), "EROFS"),
        (("chmod", b"mnt/f", 0), "EROFS"),
        (("truncate", b"mnt/f", 0), "EROFS"),
        (("utime", b"mnt/f", 1, 1), "EROFS"),
        (("open", b"mnt/fifo", "rw"), "ok"),  # what goes through a FIFO is not written to the filesystem
        (("read", b"mnt/f"), b"1"),  # type: ignore[list-item]
    ]
    for step, expected in steps:
        assert actor.act(step) == expected, step


# -- permissions -------------------------------------------------------------------------------------------------

OWNER, GROUP, OTHER, MEMBER = User(1000, 1000), User(2000, 1000), User(3000, 3000), User(4000, 4000, (5, 1000))


@pytest.mark.parametrize(
    ("mode", "user", "wanted", "expected"),
    [
        (0o400, OWNER, R_OK, "ok"),
        (0o400, OWNER, W_OK, "EACCES"),
        (0o077, OWNER, R_OK, "EACCES"),  # the owner's bits alone count for the owner
        (0o040, GROUP, R_OK, "ok"),
        (0o707, GROUP, R_OK, "EACCES"),
        (0o040, MEMBER, R_OK, "ok"),
        (0o704, MEMBER, R_OK, "EACCES"),
        (0o004, OTHER, R_OK, "ok"),
        (0o770, OTHER, R_OK, "EACCES"),
        (0o006, OTHER, R_OK | W_OK, "ok"),
        (0o004, OTHER, R_OK | W_OK, "EACCES"),
        (0o000, SUPERUSER, R_OK | W_OK, "ok"),
        (0o666, SUPERUSER, X_OK, "EACCES"),
        (0o001, SUPERUSER, X_OK, "ok"),
        (0o000, OTHER, 0, "ok"),
    ],
)
def test_permission_bits(mode: int, user: Any, wanted: int, expected: str) -> None:
    actor = tree(("write", b"f", b"1"))
    place = actor.namespace.find(actor.start, b"f")
    place.node.set_attributes(mode=mode, uid=1000, gid=1000)
    assert error(Namespace(actor.mounts, actor.start, user).check, place, wanted) == expected


def test_what_an_ordinary_user_may_do() -> None:
    actor = tree(
        ("mkdir", b"closed", 0o700), ("write", b"closed/f", b"1"), ("mkdir", b"tmp", 0o1777), ("chmod", b"tmp", 0o1777),
        ("write", b"tmp/roots", b"1"), ("write", b"readable", b"1"), ("mkdir", b"lookonly", 0o755),
    )  # fmt: skip
    actor.mounts.root.node.set_attributes(mode=0o755)
    user = GuestActor.__new__(GuestActor)
    user.__dict__.update(actor.__dict__)
    user.namespace = Namespace(actor.mounts, actor.start, OWNER)
    cases: list[tuple[tuple[Any, ...], Any]] = [
        (("read", b"closed/f"), "EACCES"),
        (("stat", b"closed/f"), "EACCES"),
        (("list", b"closed"), "EACCES"),
        (("stat", b"closed"), "dir 700"),
        (("read", b"readable"), b"1"),
        (("write", b"readable", b"2"), "EACCES"),
        (("open", b"readable", "r", "trunc"), "EACCES"),
        (("write", b"new", b"1"), "EACCES"),
        (("mkdir", b"new"), "EACCES"),
        (("unlink", b"readable"), "EACCES"),
        (("rename", b"readable", b"x"), "EACCES"),
        (("rename", b"readable", b"tmp/x"), "EACCES"),
        (("write", b"tmp/mine", b"1"), 1),
        (("unlink", b"tmp/roots"), "EPERM"),
        (("rename", b"tmp/roots", b"tmp/x"), "EPERM"),
        (("rename", b"tmp/mine", b"tmp/roots"), "EPERM"),
        (("chmod", b"readable", 0o777), "EPERM"),
        (("chmod", b"tmp/mine", 0o600), "ok"),
        (("utime", b"readable", 1, 1), "EPERM"),
        (("truncate", b"readable", 0), "EACCES"),
        (("mkfifo", b"tmp/fifo"), "ok"),
        (("unlink", b"tmp/mine"), "ok"),
        (("list", b"lookonly"), []),
    ]
    for step, expected in cases:
        assert user.act(step) == expected, step
    namespace = user.namespace
    fifo = namespace.find(actor.start, b"tmp/fifo")
    assert (fifo.node.uid, fifo.node.gid) == (1000, 1000)
    readable = namespace.find(actor.start, b"readable")
    assert error(namespace.mknod, actor.start, b"tmp/null", 0o020666, 0x103) == "EPERM"
    assert error(namespace.chown, readable, 1000, None) == "EPERM"
    assert error(namespace.chown, fifo, 1001, None) == "EPERM"
    assert error(namespace.chown, fifo, None, 1000) == "ok"
    assert error(namespace.chown, fifo, None, 7) == "EPERM"
    assert error(namespace.change_times, readable, 1, 1, explicit=False) == "EACCES"


def test_set_id_bits() -> None:
    actor = tree(("mkdir", b"shared"), ("write", b"prog", b"1"))
    namespace, start = actor.namespace, actor.start
    shared = namespace.find(start, b"shared")
    shared.node.set_attributes(mode=0o2777, gid=77)
    below = namespace.mkdir(start, b"shared/d", 0o755)
    assert (below.node.gid, below.node.mode & 0o7777) == (77, 0o2755)
    assert namespace.mknod(start, b"shared/f", 0o644).node.gid == 77
    prog = namespace.find(start, b"prog")
    namespace.chmod(prog, 0o6755)
    namespace.chown(prog, 5, 5)
    assert prog.node.mode & 0o7777 == 0o755
    Namespace(actor.mounts, start, User(5, 6)).chmod(prog, 0o2755)  # not in the file's group
    assert prog.node.mode & 0o7777 == 0o755


# -- files without names -----------------------------------------------------------------------------------------


def test_temporary_files() -> None:
    actor = tree(("mkdir", b"d"))
    namespace, start = actor.namespace, actor.start
    file = namespace.open(start, b"d", O_TMPFILE | O_RDWR, 0o600)
    assert file.write(b"unnamed") == 7
    assert actor.act(("list", b"d")) == []
    assert file.path.endswith(b" (deleted)")
    place = place_of(file)
    namespace.link(place, start, b"d/named")
    assert actor.act(("read", b"d/named")) == b"unnamed"
    actor.act(("unlink", b"d/named"))
    assert error(namespace.link, place, start, b"d/again") == "ENOENT"
    assert error(namespace.open, start, b"d", O_TMPFILE | O_RDONLY) == "EINVAL"
    assert error(namespace.open, start, b"d/x", O_TMPFILE | O_RDWR) == "ENOENT"


def test_opening_by_place_and_detached_places() -> None:
    actor = tree(("write", b"f", b"1"), ("symlink", b"f", b"s"))
    namespace = actor.namespace
    link = namespace.find(actor.start, b"s", follow=False)
    assert error(namespace.open_place, link, O_RDONLY) == "ELOOP"
    held = namespace.open_place(link, O_PATH)
    assert held.node.readlink() == b"f"
    assert held.path == b"/s"
    detached = Place.detached(held.node, b"pipe:[7]")
    assert detached.path() == b"pipe:[7]"
    assert detached.above() is detached


def test_deep_recursion_is_none() -> None:
    """A path of 4,095 bytes, a tree of 3,000 levels, 40 links that each go through all of it."""
    actor = GuestActor(tmpfs())
    namespace, place = actor.namespace, actor.start
    for _ in range(3000):
        place = namespace.mkdir(place, b"d", 0o755)
    assert place.path() == b"/d" * 3000
    assert actor.namespace.find(place, b"../" * 1300).path() == b"/d" * 1700
    for number in range(40):
        actor.act(("symlink", b"d/" * 1000 + b"../" * 1000 + (b"s%d" % (number + 1)), b"s%d" % number))
    assert actor.act(("stat", b"s0")) == "ENOENT"
    assert len(b"d/" * 2047) < 4096
    assert actor.act(("stat", b"d/" * 2047)) == "dir 755"
    assert actor.act(("stat", b"d/" * 2048)) == "ENAMETOOLONG"
    actor.close()
