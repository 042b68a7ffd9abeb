"""The whole tree of a VM: images, /dev, mounts, and the doors through which the host program reads and writes."""

from __future__ import annotations

import gc
import os
import tarfile
from pathlib import Path

import pytest

from sandbox.abi.errno import Errno
from sandbox.clock import SeededEntropy, VirtualClock
from sandbox.errors import ConfigurationError
from sandbox.vfs.hostfs import HostFs
from sandbox.vfs.mount import Mounts
from sandbox.vfs.node import Filesystem
from sandbox.vfs.root import (
    build_root,
    builtin_image,
    get_file,
    mount_at,
    mount_host,
    open_rootfs,
    put_file,
)
from sandbox.vfs.tarfs import TarFs
from tests.vfs_actors import GuestActor
from tests.vfs_filesystems import POOL, tmpfs


def build(image: Filesystem | None = None, seed: int = 1) -> Mounts:
    account = POOL.account(16 << 20)
    return build_root(image or builtin_image(b"box"), POOL, account, VirtualClock(), SeededEntropy(seed))


def actor_of(mounts: Mounts) -> GuestActor:
    actor = GuestActor(tmpfs())
    actor.mounts = mounts
    actor.start = mounts.root
    actor.namespace.mounts = mounts
    actor.namespace.root = mounts.root
    return actor


def test_the_built_in_root() -> None:
    mounts = build()
    actor = actor_of(mounts)
    for name in (b"bin", b"dev", b"etc", b"proc", b"root", b"tmp", b"usr"):
        assert actor.act(("stat", name)).startswith("dir")
    assert actor.act(("stat", b"tmp")) == "dir 1777"
    assert get_file(mounts, b"/etc/hostname") == b"box\n"
    assert get_file(mounts, b"/etc/passwd").startswith(b"root:x:0:0:")
    assert actor.act(("write", b"etc/passwd", b"changed")) == 7
    mounts.close()


DEVICES: dict[bytes, tuple[object, object]] = {  # what 4 bytes read give, what writing 4 bytes gives
    b"null": (b"", 4),
    b"zero": (b"\0\0\0\0", 4),
    b"full": (b"\0\0\0\0", "ENOSPC"),
}


@pytest.mark.parametrize("name", DEVICES)
def test_devices(name: bytes) -> None:
    actor = actor_of(build())
    actor.act(("keep", "d", b"dev/" + name, "rw"))
    file = actor.files["d"]
    assert file.read(4) == DEVICES[name][0]
    assert actor.act(("write", b"dev/" + name, b"1234")) == DEVICES[name][1]
    assert file.seek(100, 0) == 0
    assert len(file.read(1 << 40)) <= 1 << 20
    assert file.node.stat().rdev >> 8 == 1
    assert actor.act(("truncate", b"dev/" + name, 0)) == "EINVAL"
    actor.act(("open", b"dev/" + name, "w", "trunc"))


def test_randomness_comes_from_the_seed() -> None:
    def draw(seed: int) -> list[bytes]:
        actor = actor_of(build(seed=seed))
        for name in ("random", "urandom"):
            actor.act(("keep", name, b"dev/" + name.encode(), "rw"))
        return [actor.files[name].read(8) for name in ("random", "urandom", "random")]

    assert draw(1) == draw(1) != draw(2)
    assert len(set(draw(1))) == 3
    assert all(len(data) == 8 for data in draw(1))


def test_device_files_anywhere_are_the_same_devices() -> None:
    actor = actor_of(build())
    actor.namespace.mknod(actor.start, b"tmp/mynull", 0o020666, 0x103)
    actor.namespace.mknod(actor.start, b"tmp/disk", 0o060666, 0x800)
    assert actor.act(("write", b"tmp/mynull", b"x")) == 1
    assert actor.act(("read", b"tmp/mynull")) == b""
    assert actor.act(("open", b"tmp/disk", "r")) == "ENXIO"
    assert actor.act(("open", b"dev/tty", "rw")) == "ENXIO"  # without a terminal
    assert actor.act(("readlink", b"dev/stdin")) == b"/proc/self/fd/0"
    assert actor.act(("stat", b"dev/shm")) == "dir 1777"
    assert actor.act(("write", b"dev/shm/segment", b"shared")) == 6


def test_rootfs_is_a_directory_or_an_archive(tmp_path: Path) -> None:
    (tmp_path / "root" / "bin").mkdir(parents=True)
    (tmp_path / "root" / "bin" / "tool").write_bytes(b"tool")
    with tarfile.open(tmp_path / "root.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "root", ".")
    for path, kind in ((tmp_path / "root", HostFs), (tmp_path / "root.tar.gz", TarFs)):
        image = open_rootfs(path)
        assert isinstance(image, kind)
        mounts = build(image)
        assert get_file(mounts, b"/bin/tool") == b"tool"
        put_file(mounts, b"/bin/tool", b"changed")
        assert actor_of(mounts).act(("list", b".")) == [b"bin", b"dev", b"proc", b"tmp"]
        mounts.close()
    assert (tmp_path / "root" / "bin" / "tool").read_bytes() == b"tool"
    assert sorted(os.listdir(tmp_path / "root")) == ["bin"]
    for wrong in (tmp_path / "nothing", tmp_path / "root" / "bin" / "tool"):
        with pytest.raises(ConfigurationError):
            open_rootfs(wrong)


def test_an_image_that_wants_the_mount_points_elsewhere(tmp_path: Path) -> None:
    base = tmp_path / "root"
    (base / "etc").mkdir(parents=True)
    (base / "etc" / "secret").write_bytes(b"of the image")
    (base / "dev").symlink_to("/nowhere")
    (base / "proc").write_bytes(b"a file")
    (base / "tmp").symlink_to("tmp")
    mounts = build(open_rootfs(base))
    actor = actor_of(mounts)
    assert actor.act(("write", b"dev/null", b"x")) == 1
    assert [actor.act(("lstat", name)).split()[0] for name in (b"dev", b"proc", b"tmp")] == ["dir"] * 3
    assert actor.act(("read", b"etc/secret")) == b"of the image"


def test_programs_of_the_host_share_their_pages(tmp_path: Path) -> None:
    (tmp_path / "program").write_bytes(b"\x7fELF" + bytes(10_000))
    (tmp_path / "link").symlink_to("program")
    sources = []
    for name in ("program", "link"):
        image = builtin_image()
        image.add_host_file(b"/bin/program", tmp_path / name)
        mounts = build(image)
        actor = actor_of(mounts)
        assert actor.act(("stat", b"bin/program")) == "file 755 1 10004"
        node = actor.namespace.find(actor.start, b"/bin/program").node
        sources.append(node.page_source())
        assert actor.act(("write", b"bin/program", b"overwritten")) == 11
    first, second = sources
    assert first is not None and second is not None
    assert first.identity == second.identity
    assert first.load(0)[:4] == b"\x7fELF"
    assert (tmp_path / "program").read_bytes()[:4] == b"\x7fELF"
    image = builtin_image()
    for wrong in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ConfigurationError):
            image.add_host_file(b"/bin/x", wrong)
    with pytest.raises(Errno, match="EEXIST"):
        image.add_file(b"/etc/passwd", b"")


def test_mounting_of_the_host(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "f").write_bytes(b"data")
    (tmp_path / "single").write_bytes(b"single")
    (tmp_path / "other").write_bytes(b"other")
    mounts = build()
    actor = actor_of(mounts)
    mount_host(mounts, b"/mnt/deep/data", tmp_path / "data", read_only=False)
    mount_host(mounts, b"/mnt/ro", tmp_path / "data")
    mount_host(mounts, b"/etc/single.conf", tmp_path / "single")
    mount_at(mounts, b"/scratch", tmpfs())
    assert actor.act(("write", b"mnt/deep/data/new", b"x")) == 1
    assert (tmp_path / "data" / "new").read_bytes() == b"x"
    assert actor.act(("write", b"mnt/ro/new", b"x")) == "EROFS"
    assert actor.act(("read", b"etc/single.conf")) == b"single"
    assert actor.act(("write", b"etc/single.conf", b"x")) == "EROFS"
    assert actor.act(("write", b"scratch/f", b"x")) == 1
    assert b"other" not in actor.act(("list", b"etc"))
    table = [(view.path, view.filesystem.name, view.read_only) for view in mounts.table()]
    assert table[2:] == [
        (b"/mnt/deep/data", "hostfs", False), (b"/mnt/ro", "hostfs", True), (b"/etc/single.conf", "hostfs", True),
        (b"/scratch", "tmpfs", False),
    ]  # fmt: skip
    for wrong in (tmp_path / "nothing", Path("/proc")):
        with pytest.raises(ConfigurationError):
            mount_host(mounts, b"/x", wrong)
    for where in (b"/etc/passwd/x", b"/etc/passwd"):
        with pytest.raises(ConfigurationError, match="nothing can be mounted"):
            mount_at(mounts, where, tmpfs())
    mounts.close()


def test_reading_and_writing_from_outside() -> None:
    mounts = build()
    put_file(mounts, b"/new/dir/f", b"x" * 200_000, 0o600)
    assert get_file(mounts, b"/new/dir/f") == b"x" * 200_000
    assert get_file(mounts, b"/new/dir/f", limit=10) == b"x" * 10
    cases = {b"/new": "EISDIR", b"/dev/zero": "EINVAL", b"/nothing": "ENOENT", b"/tmp/fifo": "EINVAL"}
    actor_of(mounts).act(("mkfifo", b"tmp/fifo"))
    for path, expected in cases.items():
        with pytest.raises(Errno, match=expected):
            get_file(mounts, path)


def test_nothing_is_left_when_it_is_closed(tmp_path: Path) -> None:
    gc.collect()  # what other tests left open
    before = len(os.listdir("/proc/self/fd"))
    account = POOL.account(16 << 20)
    mounts = build_root(open_rootfs(tmp_path), POOL, account, VirtualClock(), SeededEntropy(1))
    put_file(mounts, b"/f", bytes(100_000))
    put_file(mounts, b"/dev/shm/f", bytes(100_000))
    assert account.used == 50
    mounts.close()
    mounts.close()
    assert account.used == 0
    assert len(os.listdir("/proc/self/fd")) == before
