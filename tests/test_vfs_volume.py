"""Volumes: they last, they keep within their size, and a write interrupted anywhere leaves the old or the new state."""

from __future__ import annotations

import random
import shutil
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.clock import VirtualClock
from sandbox.errors import ConfigurationError, SandboxError, StateError
from sandbox.vfs import volume_journal as journal
from sandbox.vfs.archive import write_tar
from sandbox.vfs.node import Filesystem
from sandbox.vfs.tarfs import TarFs
from sandbox.vfs.volume import VolumeFs
from sandbox.vfs.volume_journal import Inode, Journal
from sandbox.vfs.volume_store import VolumeStore
from tests.test_vfs_filesystems import STEPS
from tests.vfs_actors import GuestActor, Step

SIZE = 4 << 20


@pytest.fixture
def store(tmp_path: Path) -> VolumeStore:
    store = VolumeStore(tmp_path / "store")
    store.create("v", SIZE)
    return store


def opened(store: VolumeStore, read_only: bool = False) -> VolumeFs:
    return store.open("v", VirtualClock(), read_only)


def picture(filesystem: Filesystem) -> dict[bytes, Any]:
    """Everything a guest can see, by path; hard links show by their common number."""
    result: dict[bytes, Any] = {}
    pending = [(b"", filesystem.root)]
    while pending:
        path, node = pending.pop()
        stat = node.stat()
        content: Any = None
        if node.is_directory:
            pending += [(path + b"/" + name, node.lookup(name)) for name, _, _ in node.names()]
        elif node.is_symlink:
            content = node.readlink()
        elif node.is_regular:
            content = node.read_at(0, stat.size)
        result[path] = (stat.ino, stat.mode, stat.nlink, stat.uid, stat.gid, stat.rdev, stat.size, stat.mtime, content)
    return result


HISTORY: list[Step] = [
    ("mkdir", b"d", 0o700),
    ("write", b"d/a", b"hello"),
    ("write", b"big", bytes(range(256)) * 100),
    ("link", b"big", b"d/big2"),
    ("symlink", b"../big", b"d/s"),
    ("mkfifo", b"fifo"),
    ("truncate", b"big", 5000),
    ("write", b"d/a", b"HELLO WORLD", "append"),
    ("rename", b"d", b"e"),
    ("chmod", b"e", 0o1777),
    ("write", b"big", b"x" * 9000, "append"),
    ("unlink", b"big"),
    ("truncate", b"e/a", 100_000),
    ("write", b"e/a", b"end", "append"),
    ("mkdir", b"e/f"),
    ("rename", b"e/f", b"f"),
    ("rmdir", b"f"),
    ("write", b"new", b"n" * 4096),
    ("truncate", b"e/a", 3),
    ("write", b"new", b"", "trunc"),
]


def test_it_lasts(store: VolumeStore) -> None:
    volume = opened(store)
    assert GuestActor(volume).run(HISTORY)[0] == "ok"
    before, used = picture(volume), volume.used
    volume.close()
    volume.close()
    again = opened(store)
    assert picture(again) == before
    assert again.used == used
    assert GuestActor(again).act(("write", b"more", b"1")) == 1
    assert again.root.lookup(b"more").ino not in {entry[0] for entry in before.values()}
    again.close()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(rounds=st.lists(st.lists(STEPS, min_size=1, max_size=15), min_size=1, max_size=4), compact=st.booleans())
def test_random_changes_last(rounds: list[list[Step]], compact: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    store = VolumeStore(tmp_path_factory.mktemp("store"))
    store.create("v", SIZE)
    expected: Any = None
    for steps in rounds:
        volume = opened(store)
        assert expected is None or (picture(volume), volume.used) == expected
        GuestActor(volume).run(steps)
        if compact:
            volume.flush()
            volume._compact()
        expected = (picture(volume), volume.used)
        volume.close()
    volume = opened(store, read_only=True)
    assert (picture(volume), volume.used) == expected
    volume.close()


def test_any_interruption_leaves_a_state_that_was_there(store: VolumeStore, tmp_path: Path) -> None:
    volume = opened(store)
    image = Path(volume.path)
    states = []
    actor = GuestActor(volume)
    volume.flush()
    for step in [("stat", b"."), *HISTORY]:
        actor.act(step)
        volume.flush()
        states.append((volume._journal.end, picture(volume)))
    data = image.read_bytes()
    generator = random.Random(1)
    cuts = {end + delta for end, _ in states for delta in (-1, 0, 1, 11, 40)} | {
        generator.randrange(states[0][0], len(data)) for _ in range(150)
    }
    copy = VolumeStore(tmp_path / "copies")
    copy.create("v", SIZE)
    place = copy.directory / "v" / "image"
    for number, cut in enumerate(sorted(cut for cut in cuts if states[0][0] <= cut <= len(data))):
        tail = data[cut : cut + 4000]
        # What the disk holds there instead: nothing, zeros, noise, or the right bytes with one bit wrong.
        garbage = [
            b"",
            bytes(len(tail)),
            generator.randbytes(len(tail)),
            bytes(byte ^ 1 for byte in tail[:1]) + tail[1:],
        ]
        torn = data[:cut] + garbage[number % 4]
        place.write_bytes(torn)
        right = next(
            (place for place, pair in enumerate(zip(torn, data, strict=False)) if pair[0] != pair[1]), len(torn)
        )
        expected = [state for end, state in states if end <= right][-1]
        again = opened(copy)
        assert picture(again) == expected, cut
        again.close()


def test_damage_is_told_from_interruption(store: VolumeStore) -> None:
    """A broken transaction that was synced before a later one was written: that is no interrupted write."""
    volume = opened(store)
    actor = GuestActor(volume)
    actor.act(("write", b"a", b"first"))
    unsynced = volume._journal.end
    actor.act(("write", b"b", b"second"))
    interrupted = picture(volume)
    volume.flush()
    whole = volume._journal.end
    volume.sync()
    actor.act(("write", b"c", b"third"))
    volume.close()
    image = store.directory / "v" / "image"
    good = image.read_bytes()
    # Pages of transactions that were not synced may have reached the disk in any order.
    image.write_bytes(good[:unsynced] + bytes(64) + good[unsynced + 64 : whole])
    volume = opened(store)
    assert GuestActor(volume).run([("list", b"."), ("read", b"a")]) == [[b"a"], b"first"]
    assert picture(volume) != interrupted
    volume.close()
    image.write_bytes(good[:unsynced] + bytes(64) + good[unsynced + 64 :])
    with pytest.raises(StateError, match="damaged"):
        opened(store)


def test_a_damaged_block_gives_eio(store: VolumeStore) -> None:
    volume = opened(store)
    actor = GuestActor(volume)
    actor.act(("write", b"a", b"precious" * 1000))
    volume.sync()
    image = Path(volume.path)
    data = image.read_bytes()
    image.write_bytes(data.replace(b"preciousprecious", b"preciousprecioux", 1))
    assert actor.act(("read", b"a")) == "EIO"
    assert actor.act(("write", b"b", b"fine")) == 4
    volume.close()


def test_a_guest_cannot_forge_records(store: VolumeStore) -> None:
    """A file that holds a copy of the journal, commits and all, then an interrupted write."""
    volume = opened(store)
    actor = GuestActor(volume)
    actor.run(HISTORY)
    volume.sync()
    image = Path(volume.path)
    expected = picture(volume)
    actor.act(("write", b"copy", image.read_bytes()))
    volume.sync()
    volume.close()
    data = image.read_bytes()
    image.write_bytes(data[:-10])
    again = opened(store)
    assert picture(again) == expected
    again.close()


def test_full_means_enospc_and_room_comes_back(store: VolumeStore) -> None:
    volume = opened(store)
    actor = GuestActor(volume)
    chunk = b"x" * 65536
    written = 0
    while (answer := actor.act(("write", b"a", chunk, "append"))) == len(chunk):
        written += answer
    assert answer == "ENOSPC" or 0 < answer < len(chunk)
    assert actor.act(("write", b"a", chunk, "append")) == "ENOSPC"
    assert SIZE * 0.9 < written < SIZE
    assert volume.statfs().bfree == 0
    assert actor.act(("stat", b"a")).startswith("file")
    assert Path(volume.path).stat().st_size < 2.5 * SIZE
    actor.act(("unlink", b"a"))
    assert volume.used == 0
    assert actor.act(("write", b"b", chunk)) == len(chunk)
    names = 0
    while actor.act(("write", b"n%d" % names, b"")) == 0:
        names += 1
    assert 1000 < names < SIZE // 64
    volume.close()
    again = opened(store)
    assert len(again.root.names()) == names + 1
    again.close()


@pytest.mark.parametrize(
    ("offset", "length", "kept"),
    [
        (4097, 1 << 61, [(0, 4097)]),
        (10, 4096, [(0, 10), (4106, 12288)]),
        (4096, 4096, [(0, 4096), (8192, 12288)]),
        (1 << 59, 1 << 59, [(0, 12288)]),
        (12288, 5, [(0, 12288)]),
        ((1 << 60) + 5, 9, [(0, 12288)]),
    ],
)
def test_holes_of_any_size_are_punched_and_last(
    store: VolumeStore, offset: int, length: int, kept: list[tuple[int, int]]
) -> None:
    """What is there is looked at, not every block of the range."""
    expected = bytearray(16384)
    for first, last in kept:
        expected[first:last] = b"x" * (last - first)
    volume = opened(store)
    node = volume.root.create(b"a", 0o600, 0, 0)
    node.write_at(0, b"x" * 8192)
    volume.sync()  # two blocks in the image, one not yet
    node.write_at(8192, b"x" * 4096)
    node.truncate(1 << 60)
    for _ in range(2):
        node.punch(offset, length)
        assert node.read_at(0, 16384) == expected and node.size == 1 << 60
    volume.close()
    again = opened(store)
    assert again.root.lookup(b"a").read_at(0, 16384) == expected
    again.close()


def test_garbage_is_collected(store: VolumeStore) -> None:
    volume = opened(store)
    actor = GuestActor(volume)
    actor.act(("keep", "f", b"orphan", "rw", "creat"))
    actor.act(("pwrite", "f", b"still here" * 1000, 0))
    volume.flush()
    actor.act(("unlink", b"orphan"))
    actor.act(("write", b"kept", b"kept" * 3000))
    for round in range(300):
        assert actor.act(("write", b"a", bytes([round % 256]) * 30000, "trunc")) == 30000
    assert Path(volume.path).stat().st_size < 2 * SIZE
    assert actor.act(("pread", "f", 20, 9990)) == b"still here"
    assert actor.act(("pwrite", "f", b"STILL", 0)) == 5
    assert actor.act(("pread", "f", 10, 0)) == b"STILL here"
    actor.act(("drop", "f"))
    before = picture(volume)
    volume.close()
    (store.directory / "v" / "image.new").write_bytes(b"of an interrupted rewriting")
    again = opened(store)
    assert picture(again) == before
    again._compact()
    assert picture(again) == before
    again.close()


def test_changes_reach_the_file_when_a_written_file_is_closed(store: VolumeStore, tmp_path: Path) -> None:
    volume = opened(store)
    GuestActor(volume).act(("write", b"a", b"hello"))
    shutil.copytree(store.directory, tmp_path / "as if killed")
    survivor = opened(VolumeStore(tmp_path / "as if killed"))
    assert GuestActor(survivor).act(("read", b"a")) == b"hello"
    survivor.close()
    volume.close()


def test_one_writer_or_many_readers(store: VolumeStore) -> None:
    volume = opened(store)
    for read_only in (False, True):
        with pytest.raises(StateError, match="in use"):
            opened(store, read_only)
    with pytest.raises(StateError, match="in use"):
        store.remove("v")
    assert store.list()[0].in_use
    GuestActor(volume).act(("write", b"a", b"1"))
    volume.close()
    readers = [opened(store, read_only=True) for _ in range(2)]
    with pytest.raises(StateError, match="in use"):
        opened(store)
    actor = GuestActor(readers[0])
    assert actor.act(("read", b"a")) == b"1"
    steps: list[Step] = [
        ("write", b"a", b"2"),
        ("unlink", b"a"),
        ("mkdir", b"d"),
        ("chmod", b"a", 0),
        ("truncate", b"a", 0),
    ]
    assert set(actor.run(steps)) == {"EROFS"}
    for reader in readers:
        reader.close()
    assert not store.list()[0].in_use


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "-rf", ".hidden", "a" * 65, "a\n", "é", "a b", "../v"])
def test_names_are_checked(store: VolumeStore, name: str) -> None:
    actions: list[Callable[[], Any]] = [
        lambda: store.create(name, SIZE),
        lambda: store.open(name, VirtualClock()),
        lambda: store.remove(name),
    ]
    for action in actions:
        with pytest.raises(ConfigurationError):
            action()


def test_the_store(store: VolumeStore) -> None:
    with pytest.raises(ConfigurationError, match="already"):
        store.create("v", SIZE)
    with pytest.raises(ConfigurationError, match="bytes"):
        store.create("w", 10)
    with pytest.raises(ConfigurationError, match="no volume"):
        store.open("w", VirtualClock())
    store.create("w", SIZE * 2)
    (store.directory / "rubbish").mkdir()
    assert [(info.name, info.size) for info in store.list()] == [("v", SIZE), ("w", SIZE * 2)]
    store.remove("v")
    assert [info.name for info in store.list()] == ["w"]
    assert VolumeStore(store.directory / "nowhere").list() == []


def test_export(store: VolumeStore, tmp_path: Path) -> None:
    volume = opened(store)
    GuestActor(volume).run(HISTORY[:-5])
    archive = tmp_path / "v.tar"
    with archive.open("wb") as out:
        write_tar(volume, out)
    read_back = TarFs(archive)
    assert read_back.skipped == []

    def shape(filesystem: Filesystem) -> dict[bytes, Any]:
        """Without inode numbers, the root, and fractions of a second."""
        seen = picture(filesystem).items()
        return {path: (*entry[1:7], entry[7] // 10**9, entry[8]) for path, entry in seen if path}

    assert shape(read_back) == shape(volume)
    with tarfile.open(archive) as found:
        assert sum(member.islnk() for member in found) == 0  # "big" is gone: its other name is a plain file
    read_back.close()
    volume.close()


def write_image(store: VolumeStore, records: list[journal.Record]) -> None:
    image = store.directory / "v" / "image"
    image.unlink()
    written = Journal.create(str(image), SIZE, b"i" * 16)
    written.append(records)
    written.close()


def inode(ino: int, mode: int) -> journal.Record:
    return Inode(ino, mode, 0, 0, 0, 0, 0, 0, 0).record()


ROOT, DIRECTORY, FILE = inode(1, 0o040755), inode(2, 0o040755), inode(3, 0o100644)
HOSTILE: dict[str, list[journal.Record]] = {
    "an entry that leads nowhere": [ROOT, journal.entry_record(1, b"a", 9)],
    "a directory with two names": [
        ROOT, DIRECTORY, journal.entry_record(1, b"a", 2), journal.entry_record(1, b"b", 2),
    ],
    "a directory in itself": [ROOT, DIRECTORY, journal.entry_record(1, b"a", 2), journal.entry_record(2, b"b", 2)],
    "the root in itself": [ROOT, journal.entry_record(1, b"a", 1)],
    "a name with a slash": [ROOT, FILE, journal.entry_record(1, b"../../etc/passwd", 3)],
    "a name that is dots": [ROOT, FILE, journal.entry_record(1, b"..", 3)],
    "an empty name": [ROOT, FILE, journal.entry_record(1, b"", 3)],
    "a short inode": [(journal.KIND_INODE, b"short")],
    "a short entry": [(journal.KIND_ENTRY, b"")],
    "a short drop": [(journal.KIND_DROP, b"1234")],
    "a long cut": [(journal.KIND_CUT, bytes(100))],
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_images(store: VolumeStore, case: str) -> None:
    write_image(store, HOSTILE[case])
    with pytest.raises(StateError, match=r"damaged|malformed"):
        opened(store)
    assert not store.list()[0].in_use


def test_unreachable_and_senseless_records_do_no_harm(store: VolumeStore) -> None:
    write_image(
        store,
        [
            ROOT,
            FILE,
            journal.entry_record(1, b"f", 3),
            journal.entry_record(77, b"x", 3),
            journal.block_record(88, 5, b"nobody's"),
            journal.block_record(3, 1 << 60, b"far beyond the end"),
            journal.holes_record(3, 0, (1 << 64) - 1),
            journal.drop_record(99),
        ],
    )
    volume = opened(store)
    actor = GuestActor(volume)
    assert actor.act(("list", b".")) == [b"f"]
    assert actor.act(("read", b"f")) == b""
    assert actor.act(("write", b"f", b"works")) == 5
    volume.close()


@pytest.mark.parametrize(
    "data",
    [b"", b"short", bytes(64), b"SANDBOXV" + bytes(56), struct.pack("<8sIIQ16s", b"SANDBOXV", 9, 0, SIZE, b"i" * 16)],
)
def test_what_is_no_volume(store: VolumeStore, data: bytes) -> None:
    (store.directory / "v" / "image").write_bytes(data.ljust(64, b"\0") if len(data) > 8 else data)
    with pytest.raises(SandboxError):
        opened(store)
    assert store.list()[0].size == 0


def test_random_bytes_in_an_image(store: VolumeStore) -> None:
    """Opened, or refused with a sentence; never anything else."""
    volume = opened(store)
    GuestActor(volume).run(HISTORY)
    volume.close()
    image = store.directory / "v" / "image"
    good = image.read_bytes()
    generator = random.Random(2)
    outcomes = set()
    for _ in range(300):
        data = bytearray(good)
        for _ in range(generator.choice((1, 1, 3, 50))):
            data[generator.randrange(len(data))] = generator.randrange(256)
        image.write_bytes(data)
        try:
            volume = opened(store, read_only=True)
        except SandboxError:
            outcomes.add("refused")
            continue
        GuestActor(volume).run([("list", b"."), ("read", b"e/a"), ("read", b"new")])
        outcomes.add("opened")
        volume.close()
    assert "refused" in outcomes


def test_a_failing_disk_loses_nothing_in_memory(store: VolumeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = opened(store)
    actor = GuestActor(volume)
    actor.act(("write", b"a", b"before"))

    def fail(*arguments: object) -> None:
        raise OSError(5, "the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(journal, "_write_all", fail)
        assert actor.act(("write", b"a", b"after!")) == 6  # close tells nothing
        actor.act(("keep", "f", b"a", "rw"))
        assert actor.act(("fsync", "f")) == "EIO"
        assert actor.act(("read", b"a")) == b"after!"
    assert actor.act(("fsync", "f")) == "ok"
    actor.act(("drop", "f"))
    volume.close()
    again = opened(store)
    assert GuestActor(again).act(("read", b"a")) == b"after!"
    again.close()
