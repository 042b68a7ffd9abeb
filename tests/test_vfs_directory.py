"""Reading directories: every name once, also when names come and go meanwhile (rm -r), without piling up memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.abi.errno import Errno
from sandbox.abi.flags import O_DIRECTORY, O_PATH, O_RDONLY, SEEK_CUR, SEEK_END, SEEK_SET
from sandbox.vfs.file import DirectoryFile
from tests.vfs_actors import GuestActor
from tests.vfs_filesystems import WRITABLE, tmpfs


def open_directory(actor: GuestActor, path: bytes = b".") -> DirectoryFile:
    file = actor.namespace.open(actor.start, path, O_RDONLY | O_DIRECTORY)
    assert isinstance(file, DirectoryFile)
    return file


def take(file: DirectoryFile, count: int) -> list[bytes]:
    """One getdents with room for `count` entries; the one too many is looked at and left."""
    taken: list[bytes] = []
    for entry in file.entries():
        if len(taken) == count:
            break
        taken.append(entry.name)
        file.consume(entry)
    return taken


def filled(name: str, directory: Path, count: int = 50) -> GuestActor:
    actor = GuestActor(WRITABLE[name](directory))
    actor.act(("mkdir", b"d"))
    for number in range(count):
        actor.act(("write", b"d/n%02d" % number, b""))
    return actor


NAMES = [b"n%02d" % number for number in range(50)]


@pytest.mark.parametrize("budget", [0, 100_000], ids=["listed anew", "listing kept"])
@pytest.mark.parametrize("name", WRITABLE)
def test_removing_while_reading(name: str, budget: int, tmp_path: Path) -> None:
    actor = filled(name, tmp_path)
    actor.filesystem.listing_budget = budget
    file = open_directory(actor, b"d")
    seen: list[bytes] = []
    while batch := take(file, 7):
        seen += batch
        for found in batch:
            if found not in (b".", b".."):
                assert actor.act(("unlink", b"d/" + found)) == "ok"
    assert seen == [b".", b"..", *NAMES]
    assert actor.act(("rmdir", b"d")) == "ok"
    file.release()
    assert actor.filesystem.listing_budget == budget
    actor.close()


@pytest.mark.parametrize("budget", [0, 100_000], ids=["listed anew", "listing kept"])
def test_creating_while_reading(budget: int, tmp_path: Path) -> None:
    """What was there all the time is seen exactly once; what is new may or may not be."""
    actor = filled("tmpfs", tmp_path)
    actor.filesystem.listing_budget = budget
    file = open_directory(actor, b"d")
    seen: list[bytes] = []
    number = 0
    while batch := take(file, 5):
        seen += batch
        actor.run([("write", b"d/a%d" % number, b""), ("write", b"d/n%02dx" % number, b"")])
        number += 4
    assert [found for found in seen if found in NAMES] == NAMES
    assert len(set(seen)) == len(seen)


def test_positions(tmp_path: Path) -> None:
    actor = filled("tmpfs", tmp_path, 10)
    file = open_directory(actor, b"d")
    entries = list(file.entries())
    assert [entry.name for entry in entries] == [b".", b"..", *NAMES[:10]]
    assert [entry.offset for entry in entries] == list(range(1, 13))
    for entry in entries:  # seekdir(telldir()) at every place
        assert file.seek(entry.offset, SEEK_SET) == entry.offset
        assert [later.name for later in file.entries()] == [
            later.name for later in entries if later.offset > entry.offset
        ]
    file.seek(0, SEEK_SET)
    actor.act(("write", b"d/new", b""))
    assert take(file, 100)[-2:] == [b"n09", b"new"]
    assert take(file, 100) == []
    actor.act(("write", b"d/zzz", b""))
    file.seek(0, SEEK_SET)  # rewinddir sees what is new
    assert take(file, 100)[-1] == b"zzz"
    assert file.seek(-1, SEEK_CUR) == file.position
    for offset, whence in ((-1, SEEK_SET), (0, SEEK_END), (1 << 64, SEEK_SET), (0, 77)):
        with pytest.raises(Errno, match="EINVAL"):
            file.seek(offset, whence)
    file.seek((1 << 63) - 1, SEEK_SET)
    assert take(file, 100) == []


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    actor = filled("tmpfs", tmp_path, 1)
    file = open_directory(actor, b"d")
    held = actor.namespace.open(actor.start, b"d", O_PATH)
    plain = actor.namespace.open(actor.start, b"d/n00", O_RDONLY)
    for call, expected in (
        (lambda: file.read(1), "EISDIR"),
        (lambda: file.write(b"1"), "EBADF"),
        (lambda: file.truncate(0), "EINVAL"),
        (lambda: list(held.entries()), "EBADF"),
        (lambda: held.seek(0, SEEK_SET), "EBADF"),
        (lambda: list(plain.entries()), "ENOTDIR"),
    ):
        with pytest.raises(Errno, match=expected):
            call()


def test_many_open_directories_hold_few_listings() -> None:
    actor = GuestActor(tmpfs())
    filesystem = actor.filesystem
    for number in range(1000):
        actor.act(("write", b"n%03d" % number, b""))
    filesystem.listing_budget = 3500
    files = [open_directory(actor) for _ in range(10)]
    for file in files:
        assert len(take(file, 500)) == 500
    assert filesystem.listing_budget == 500
    for file in files:
        assert len(take(file, 5000)) == 502
        assert take(file, 1) == []
    assert filesystem.listing_budget == 3500
    for file in files:
        file.release()
    assert filesystem.listing_budget == 3500
