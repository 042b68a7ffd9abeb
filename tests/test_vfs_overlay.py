"""The overlay: the lower layer is never written, and nothing shows that there are two."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from sandbox.abi.errno import ENOSPC, Errno
from sandbox.vfs.hostfs import HostFs
from sandbox.vfs.node import Filesystem
from sandbox.vfs.overlay import FIRST_NEW_INO, Overlay
from tests.test_hostfs import state
from tests.vfs_actors import GuestActor, Step
from tests.vfs_filesystems import LargeNumbers, tmpfs


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    base = tmp_path / "lower"
    (base / "d" / "e").mkdir(parents=True)
    (base / "empty").mkdir()
    (base / "f").write_bytes(b"lower f")
    (base / "d" / "g").write_bytes(b"g" * 10_000)
    (base / "d" / "e" / "deep").write_bytes(b"deep")
    os.link(base / "f", base / "d" / "hard")
    os.symlink("d/g", base / "s")
    return base


def overlay(lower: Path, kind: type[HostFs] = HostFs, memory: int = 64 << 20, limit: int | None = None) -> Overlay:
    return Overlay(kind(lower), tmpfs(limit, memory))


CHANGES: list[tuple[Step, Any]] = [
    (("write", b"f", b"upper"), 5),
    (("read", b"d/hard"), b"upperr f"[:5] + b" f"),
    (("chmod", b"d/g", 0o600), "ok"),
    (("unlink", b"d/e/deep"), "ok"),
    (("list", b"d/e"), []),
    (("rmdir", b"d/e"), "ok"),
    (("mkdir", b"d/e"), "ok"),
    (("list", b"d/e"), []),  # opaque: what was below before does not come back
    (("write", b"d/e/new", b"new"), 3),
    (("rename", b"d", b"empty/d"), "ok"),
    (("list", b"empty/d"), [b"e", b"g", b"hard"]),
    (("read", b"s"), "ENOENT"),
    (("list", b"."), [b"empty", b"f", b"s"]),
    (("rename", b"empty/d/g", b"g"), "ok"),
    (("read", b"g"), b"g" * 10_000),
    (("truncate", b"g", 3), "ok"),
    (("read", b"g"), b"ggg"),
    (("link", b"g", b"empty/g2"), "ok"),
    (("same", b"g", b"empty/g2"), True),
    (("unlink", b"f"), "ok"),
    (("lstat", b"empty/d/hard"), "file 644 1 7"),
    (("utime", b"empty", 1, 2), "ok"),
    (("times", b"empty"), (1, 2)),
    (("write", b"f", b"again"), 5),
    (("same", b"f", b"empty/d/hard"), False),
    (("unlink", b"s"), "ok"),
    (("symlink", b"x", b"s"), "ok"),
    (("readlink", b"s"), b"x"),
    (("rename", b"empty", b"d"), "ok"),
    (("list", b"."), [b"d", b"f", b"g", b"s"]),
]


@pytest.mark.parametrize("kind", [HostFs, LargeNumbers])
def test_the_lower_layer_is_never_written(lower: Path, kind: type[HostFs]) -> None:
    before = state(lower)
    filesystem = overlay(lower, kind)
    actor = GuestActor(filesystem)
    for number, (step, expected) in enumerate(CHANGES):
        assert actor.act(step) == expected, f"step {number}: {step}"
    actor.close()
    assert state(lower) == before
    assert filesystem.upper.account.used == 0


def test_what_nobody_changed_is_forgotten(lower: Path) -> None:
    for number in range(100):
        (lower / f"n{number}").write_bytes(b"x")
    filesystem = overlay(lower)
    actor = GuestActor(filesystem)
    for number in range(100):
        actor.act(("read", b"n%d" % number))
    for mount in actor.mounts._mounts:
        mount.forget()
    filesystem._lookups.clear()
    assert len(filesystem._known) <= 1
    assert len(filesystem._changed) == 1  # the root
    assert filesystem.upper.account.used == 0
    for number in range(100):
        actor.act(("chmod", b"n%d" % number, 0o600))
    assert len(filesystem._changed) == 101
    for number in range(100):
        actor.act(("unlink", b"n%d" % number))
    assert len(filesystem._changed) == 1


@pytest.mark.parametrize("kind", [HostFs, LargeNumbers])
def test_inode_numbers_stay(lower: Path, kind: type[HostFs]) -> None:
    actor = GuestActor(overlay(lower, kind))

    paths = (b"f", b"d", b"d/g", b"s", b"d/hard")

    def numbers() -> dict[bytes, int]:
        return {path: actor.namespace.stat(actor.start, path, follow=False).ino for path in paths}

    def listed(path: bytes) -> dict[bytes, int]:
        return {name: ino for name, ino, _ in actor.namespace.find(actor.start, path).node.names()}

    before = numbers()
    assert listed(b".")[b"f"] == before[b"f"] == before[b"d/hard"] == listed(b"d")[b"hard"]
    actor.run([("write", b"f", b"changed"), ("chmod", b"d", 0o700), ("truncate", b"d/g", 1), ("write", b"new", b"")])
    assert numbers() == before
    assert listed(b".")[b"f"] == before[b"f"]
    actor.run([("rename", b"d", b"moved"), ("rename", b"moved", b"d")])
    assert numbers() == before
    new = actor.namespace.stat(actor.start, b"new").ino
    assert new not in before.values()
    assert all(ino < 1 << 32 for ino in [*before.values(), new])
    assert new > FIRST_NEW_INO


def test_open_files_see_the_copy(lower: Path) -> None:
    actor = GuestActor(overlay(lower))
    actor.act(("keep", "before", b"f", "r"))
    actor.act(("write", b"f", b"upper"))
    assert actor.act(("pread", "before", 10, 0)) == b"upper f"
    actor.act(("unlink", b"f"))
    assert actor.act(("pread", "before", 10, 0)) == b"upper f"
    assert actor.act(("read", b"d/hard")) == b"upper f"


def test_copying_up_takes_room_only_for_what_is_kept(lower: Path) -> None:
    (lower / "big").write_bytes(bytes(1 << 20))
    filesystem = overlay(lower, limit=512 << 10)
    actor = GuestActor(filesystem)
    assert actor.act(("chmod", b"big", 0o600)) == "ok"
    assert filesystem.upper.pages == 0
    assert actor.act(("write", b"big", b"x", "append")) == "ENOSPC"
    assert filesystem.upper.pages == 0  # nothing of the attempt is left
    assert actor.act(("lstat", b"big")) == f"file 600 1 {1 << 20}"
    assert actor.act(("truncate", b"big", 5000)) == "ok"
    assert filesystem.upper.pages == 2
    assert actor.act(("write", b"big", b"x", "trunc")) == 1
    assert filesystem.upper.pages == 1
    assert actor.act(("unlink", b"big")) == "ok"
    assert filesystem.upper.pages == 0


def test_pages_are_shared_until_written(lower: Path) -> None:
    one, other = GuestActor(overlay(lower)), GuestActor(overlay(lower))

    def source(actor: GuestActor) -> Any:
        return actor.namespace.find(actor.start, b"d/g").node.page_source()

    assert source(one).identity == source(other).identity
    mapped = source(one)
    one.act(("write", b"d/g", b"changed"))
    assert source(one).identity != source(other).identity
    assert source(one).load(0).startswith(b"changed")
    assert mapped.load(0).startswith(b"ggg")
    assert source(other).load(2) == b"g" * (10_000 - 8192)
    # A file that is open for writing may be mapped shared: then its frames must be our own.
    other.act(("keep", "f", b"d/g", "rw"))
    frame = source(other).shared_frame(0)
    assert isinstance(frame, int)
    filesystem = other.filesystem
    assert isinstance(filesystem, Overlay)
    filesystem.upper.pool.release(frame)
    one.close()
    other.close()


def test_a_special_file_of_the_lower_layer_is_the_guests_own(lower: Path) -> None:
    os.mkfifo(lower / "fifo")
    before = state(lower)
    actor = GuestActor(overlay(lower))
    actor.act(("keep", "both", b"fifo", "rw"))
    assert actor.files["both"].write(b"through the guest") == 17
    assert actor.files["both"].read(100) == b"through the guest"
    actor.close()
    assert state(lower) == before


def test_a_lower_file_that_became_shorter(lower: Path) -> None:
    """Against the rules, but no reason to do worse than EIO."""
    actor = GuestActor(overlay(lower))
    actor.act(("stat", b"d/g"))
    (lower / "d" / "g").write_bytes(b"short")
    assert actor.act(("write", b"d/g", b"x", "append")) in ("EIO", 1)
    actor.close()


def test_names_are_limited(lower: Path) -> None:
    filesystem = overlay(lower)
    filesystem.max_entries = 10
    actor = GuestActor(filesystem)
    answers = [actor.act(("mkdir", b"n%d" % number)) for number in range(12)]
    assert answers == ["ok"] * 10 + ["ENOSPC"] * 2
    assert actor.act(("rename", b"n0", b"renamed")) == "ok"
    assert actor.act(("link", b"f", b"another")) == "ENOSPC"
    assert actor.act(("unlink", b"f")) == "ok"  # takes a whiteout, but must not fail
    assert actor.act(("rmdir", b"n1")) == "ok"
    for _ in range(30):  # making and removing the same name over a whiteout costs nothing in the end
        actor.run([("rmdir", b"n2"), ("mkdir", b"n2")])
    entries = filesystem.entries
    actor.run([("write", b"f", b""), ("unlink", b"f")] * 5)
    assert filesystem.entries == entries


def test_tmpfs_limits() -> None:
    filesystem: Filesystem = tmpfs(limit=8 * 4096)
    actor = GuestActor(filesystem)
    assert actor.act(("write", b"a", bytes(6 * 4096))) == 6 * 4096
    assert actor.act(("write", b"b", bytes(6 * 4096))) == 2 * 4096
    assert actor.act(("write", b"b", b"x", "append")) == "ENOSPC"
    assert actor.act(("write", b"a", b"overwriting takes no room")) == 25
    assert filesystem.statfs().bfree == 0
    node = actor.namespace.find(actor.start, b"a").node
    with pytest.raises(Errno) as raised:
        node.allocate(0, 1 << 40)
    assert raised.value.number == ENOSPC
    node.punch(0, 3 * 4096 + 5)
    assert filesystem.statfs().bfree == 3
    assert node.read_at(0, 8) == b"\0" * 8
    node.allocate(0, 100, keep_size=True)
    assert filesystem.statfs().bfree == 2
    node.truncate(1 << 62)  # sparse
    assert node.stat().blocks == 4 * 8
    assert node.read_at((1 << 62) - 4, 100) == b"\0" * 4
    for size in ((1 << 63) - 1, 0):
        node.truncate(size)
    with pytest.raises(Errno, match="EFBIG"):
        node.write_at((1 << 63) - 1, b"xx")
    actor.close()
    small = tmpfs(memory=16 * 4096)  # the account is the smaller limit
    assert GuestActor(small).act(("write", b"a", bytes(20 * 4096))) == 16 * 4096
