"""Tar images: what is in them, in every compression; and archives made to do harm."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import struct
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox.errors import ConfigurationError
from sandbox.vfs.hostfs import HostFs
from sandbox.vfs.overlay import Overlay
from sandbox.vfs.tarfs import TarFs
from tests.vfs_actors import GuestActor, Step
from tests.vfs_filesystems import tmpfs

Member = tuple[str, dict[str, Any], bytes]


def member(name: str, data: bytes = b"", **fields: Any) -> Member:
    return name, fields, data


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> Member:
    return name, {"type": kind, "linkname": target}, b""


def directory(name: str, **fields: Any) -> Member:
    return name, {"type": tarfile.DIRTYPE, "mode": 0o755, **fields}, b""


def archive(*members: Member, form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as written:
        for name, fields, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mode = 0o644
            info.mtime = 1_600_000_000
            for field, value in fields.items():
                setattr(info, field, value)
            written.addfile(info, io.BytesIO(data))
    return out.getvalue()


def opened(path: Path, data: bytes, **limits: int) -> TarFs:
    path.write_bytes(data)
    return TarFs(path, **limits)


GOOD = archive(
    directory("./", mode=0o711),
    directory("etc"),
    member("etc/passwd", b"root:x:0:0\n", uid=3, gid=4, mode=0o640),
    member("/abs/olute", b"taken as relative"),
    member("./usr/bin/tool", b"#!" + b"x" * 70_000, mode=0o4755),
    link("bin", "usr/bin"),
    link("usr/bin/hard", "usr/bin/tool", tarfile.LNKTYPE),
    member("etc/passwd", b"later wins\n", mode=0o600),
    member("fifo", type=tarfile.FIFOTYPE),
    member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    directory("usr", mode=0o700),
    member("n" * 200 + "/" + "m" * 200, b"long"),
    member("umläut/☃", b"utf-8"),
    member("big", bytes(100_000)),
)
SEEN: list[tuple[Step, Any]] = [
    (("read", b"etc/passwd"), b"later wins\n"),
    (("lstat", b"etc/passwd"), "file 600 1 11"),
    (("read", b"abs/olute"), b"taken as relative"),
    (("read", b"bin/tool"), b"#!" + b"x" * 70_000),
    (("lstat", b"usr/bin/tool"), "file 4755 2 70002"),
    (("same", b"usr/bin/tool", b"usr/bin/hard"), True),
    (("readlink", b"bin"), b"usr/bin"),
    (("list", b"bin"), [b"hard", b"tool"]),
    (("lstat", b"."), "dir 711"),
    (("lstat", b"usr"), "dir 700"),
    (("lstat", b"fifo"), "fifo 644 1 0"),
    (("open", b"null", "r"), "ENXIO"),
    (("read", b"n" * 200 + b"/" + b"m" * 200), b"long"),
    (("read", "umläut/☃".encode()), b"utf-8"),
    (("times", b"etc/passwd"), (1_600_000_000 * 10**9, 1_600_000_000 * 10**9)),
    (("write", b"etc/passwd", b"x"), "EROFS"),
    (("write", b"new", b"x"), "EROFS"),
    (("unlink", b"fifo"), "EROFS"),
    (("mkdir", b"new"), "EROFS"),
    (("chmod", b"etc", 0), "EROFS"),
    (("rename", b"etc", b"etc2"), "EROFS"),
]


def zstd(data: bytes) -> bytes:
    zstandard = pytest.importorskip("zstandard")
    compressor = zstandard.ZstdCompressor()
    return bytes(compressor.compress(data[:5000]) + compressor.compress(data[5000:]))  # two frames


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "none": lambda data: data, "gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "zstd": zstd,
}  # fmt: skip


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_what_is_in_it(compression: str, tmp_path: Path) -> None:
    filesystem = opened(tmp_path / "image", COMPRESSIONS[compression](GOOD))
    actor = GuestActor(filesystem)
    for step, expected in SEEN:
        assert actor.act(step) == expected, step
    assert filesystem.skipped == []
    source = actor.namespace.find(actor.start, b"bin/tool").node.page_source()
    assert source is not None
    assert (source.load(0)[:3], len(source.load(17)), source.shared_frame(0)) == (b"#!x", 70_002 % 4096, None)
    actor.close()
    assert actor.act(("read", b"bin/tool")) in ("EIO", "ENOENT")


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_formats(form: int, tmp_path: Path) -> None:
    data = archive(member("d/" + "f" * 90, b"1", uid=70000, mtime=1.5 if form == tarfile.PAX_FORMAT else 1), form=form)
    actor = GuestActor(opened(tmp_path / "image", data))
    assert actor.act(("read", b"d/" + b"f" * 90)) == b"1"
    assert actor.namespace.stat(actor.start, b"d/" + b"f" * 90).uid == 70000


def test_an_image_under_an_overlay(tmp_path: Path) -> None:
    actor = GuestActor(Overlay(opened(tmp_path / "image", GOOD), tmpfs()))
    steps: list[tuple[Step, Any]] = [
        (("write", b"etc/passwd", b"mine", "trunc"), 4),
        (("read", b"etc/passwd"), b"mine"),
        (("write", b"usr/bin/hard", b"??"), 2),
        (("read", b"bin/tool"), b"??" + b"x" * 70_000),
        (("rename", b"usr", b"local"), "ok"),
        (("list", b"local/bin"), [b"hard", b"tool"]),
        (("unlink", b"local/bin/tool"), "ok"),
        (("lstat", b"local/bin/hard"), "file 4755 1 70002"),
    ]
    for step, expected in steps:
        assert actor.act(step) == expected, step
    actor.close()


def test_sparse_members(tmp_path: Path) -> None:
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.write(b"start")
        file.seek(1 << 20)
        file.write(b"middle")
        file.truncate(3 << 20)
    for name, form in (("gnu.tar", "gnu"), ("pax.tar", "posix")):
        command = ["tar", "-C", str(tmp_path), f"--format={form}", "-cSf", str(tmp_path / name), "sparse"]
        if subprocess.run(command, stderr=subprocess.DEVNULL).returncode:
            pytest.skip("there is no tar here that knows sparse files")
    for name in ("gnu.tar", "pax.tar"):
        assert (tmp_path / name).stat().st_size < 1 << 20
        actor = GuestActor(TarFs(tmp_path / name))
        assert actor.act(("read", b"sparse")) == sparse.read_bytes()
        actor.close()


# Each archive also holds "ok", which must be there; and a name that is left out.
HOSTILE: dict[str, list[Member]] = {
    "../": [member("../escape", b"x")],
    "far up": [member("a/../../../../etc/escape", b"x")],
    "dots at the end": [directory("a/..")],
    "a link, then below it": [link("l", "/etc"), member("l/escape", b"x")],
    "a relative link, then below it": [link("l", "../../.."), member("l/escape", b"x")],
    "a link to a directory of the image, then below it": [directory("d"), link("l", "d"), member("l/escape", b"x")],
    "below a file": [member("f", b"x"), member("f/escape", b"x")],
    "hard link to nothing": [link("escape", "nothing", tarfile.LNKTYPE)],
    "hard link to itself": [link("escape", "escape", tarfile.LNKTYPE)],
    "hard link outwards": [link("escape", "../../etc/passwd", tarfile.LNKTYPE)],
    "hard link to the host": [link("escape", "/etc/passwd", tarfile.LNKTYPE)],
    "hard link to a directory": [directory("d"), link("d/escape", "d", tarfile.LNKTYPE)],
    "hard link through a link": [link("l", "/etc"), link("escape", "l/passwd", tarfile.LNKTYPE)],
    "an unknown kind": [("escape", {"type": b"Z"}, b"")],
    "an empty link": [link("escape", "")],
    "a long link": [link("escape", "x" * 5000)],
    "a long name": [member("d/" + "x" * 256, b"x")],
    "a deep name": [member("d/" * 600 + "x", b"x")],
    "a file over a full directory": [member("d/x", b"1"), member("d", b"escape")],
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_members_are_left_out(case: str, tmp_path: Path) -> None:
    filesystem = opened(tmp_path / "image", archive(*HOSTILE[case], member("ok", b"fine")))
    actor = GuestActor(filesystem)
    assert actor.act(("read", b"ok")) == b"fine"
    assert len(filesystem.skipped) == 1 or case == "an unknown kind"
    assert actor.act(("stat", b"escape")) == "ENOENT" or case == "an unknown kind"
    seen = [name for name, _, _ in filesystem.root.names()]
    assert not {b"..", b".", b""} & set(seen)
    actor.close()


def test_replacing(tmp_path: Path) -> None:
    data = archive(
        member("a", b"file"), directory("a"), member("a/x", b"now a directory"), directory("b"), link("b", "a"),
        link("c", "nowhere"), member("c", b"now a file"), member("h", b"h"), link("i", "h", tarfile.LNKTYPE),
        member("h", b"new"),
    )  # fmt: skip
    actor = GuestActor(opened(tmp_path / "image", data))
    steps: list[tuple[Step, Any]] = [
        (("read", b"a/x"), b"now a directory"),
        (("read", b"b/x"), b"now a directory"),
        (("read", b"c"), b"now a file"),
        (("read", b"h"), b"new"),
        (("read", b"i"), b"h"),
        (("lstat", b"i"), "file 644 1 1"),
    ]
    for step, expected in steps:
        assert actor.act(step) == expected, step


def _checksummed(header: bytearray) -> bytes:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def _negative_size() -> bytes:
    header = bytearray(archive(member("x", b"1"))[:512])
    header[124:136] = b"\xff" * 12  # base 256, negative
    return _checksummed(header) + bytes(1024)


def _huge_header() -> bytes:
    header = bytearray(archive(member("x", b"1"))[:512])
    header[156:157] = b"x"
    header[124:136] = b"%011o\0" % (1 << 32)
    return _checksummed(header) + bytes(1024)


def _wrong_pax() -> bytes:
    header = bytearray(archive(member("x", b"12345678"))[:512])
    header[156:157] = b"x"
    return _checksummed(header) + b"0 path=y\n".ljust(512, b"\0") + archive(member("y", b"1"))


BROKEN: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "text": lambda: b"this is no archive\n" * 100,
    "cut in a header": lambda: GOOD[:700],
    "cut in a file": lambda: GOOD[: GOOD.index(b"x" * 5000) + 100],
    "a negative size": _negative_size,
    "a header of gigabytes": _huge_header,
    "a senseless pax header": _wrong_pax,
    "cut gzip": lambda: gzip.compress(GOOD)[:-100],
    "broken gzip": lambda: gzip.compress(GOOD)[:50] + b"rubbish" * 100,
    "cut xz": lambda: lzma.compress(GOOD)[:-100],
    "broken bzip2": lambda: bz2.compress(GOOD)[:50] + b"rubbish" * 100,
    "broken zstd": lambda: zstd(GOOD)[:50] + b"rubbish" * 100,
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_archives_are_refused(case: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        opened(tmp_path / "image", BROKEN[case]()).close()
    assert str(tmp_path) in str(raised.value)


def test_limits(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="too large"):
        opened(tmp_path / "many", archive(*(member(f"n{number}") for number in range(50))), max_members=40)
    with pytest.raises(ConfigurationError, match="too large"):
        opened(tmp_path / "big", archive(member("x", bytes(100_000))), max_bytes=50_000)
    with pytest.raises(ConfigurationError, match="unpacks to more"):
        opened(tmp_path / "bomb", gzip.compress(bytes(10_000_000)), max_bytes=1_000_000)
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        TarFs(tmp_path / "nothing")


def test_random_damage(tmp_path: Path) -> None:
    """Read, in part, or refused with a sentence; never anything else."""
    generator = random.Random(3)
    outcomes = set()
    for number in range(400):
        data = bytearray(GOOD)
        for _ in range(generator.choice((1, 4, 40))):
            header = generator.randrange(len(data) // 512) * 512
            data[header + generator.choice((0, 100, 108, 124, 136, 148, 156, 157, 257, 329, 345))] = (
                generator.randrange(256)
            )
            if generator.random() < 0.7:  # a right checksum lets the damage in
                data[header : header + 512] = _checksummed(data[header : header + 512])
        path = tmp_path / f"{number}"
        try:
            filesystem = opened(path, bytes(data))
        except ConfigurationError:
            outcomes.add("refused")
            continue
        outcomes.add("read")
        actor = GuestActor(filesystem)
        pending = [b"."]
        while pending:
            where = pending.pop()
            for name in actor.act(("list", where)):
                assert name not in (b".", b"..") and b"/" not in name
                kind = actor.act(("lstat", where + b"/" + name))
                if kind.startswith("dir"):
                    pending.append(where + b"/" + name)
                elif kind.startswith("file") and int(kind.split()[3]) < 1 << 20:
                    actor.act(("read", where + b"/" + name))
        actor.close()
    assert outcomes == {"refused", "read"}


def test_the_same_as_a_directory(tmp_path: Path) -> None:
    """A tree packed by tar and the tree itself look alike."""
    base = tmp_path / "tree"
    (base / "a" / "b").mkdir(parents=True)
    (base / "a" / "f").write_bytes(struct.pack("<1000I", *range(1000)))
    (base / "a" / "f").chmod(0o751)
    os.symlink("a/f", base / "s")
    os.link(base / "a" / "f", base / "h")
    with tarfile.open(tmp_path / "tree.tar", "w") as written:
        written.add(base, ".")
    actors = [GuestActor(HostFs(base)), GuestActor(TarFs(tmp_path / "tree.tar"))]
    for path in (b".", b"a", b"a/b", b"a/f", b"s", b"h"):
        steps: tuple[tuple[str, bytes], ...] = (
            ("lstat", path),
            ("stat", path),
            ("list", path),
            ("read", path),
            ("readlink", path),
            ("times", path),
        )
        for step in steps:
            answers = [actor.act(step) for actor in actors]
            if step[0] == "times" and isinstance(answers[0], tuple):
                answers = [
                    answer[1] // 10**9 for answer in answers
                ]  # the archive has whole seconds, and no access time
            assert answers[0] == answers[1], step
    for actor in actors:
        actor.close()
