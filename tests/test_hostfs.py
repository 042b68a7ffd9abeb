"""hostfs: nothing leads out of the directory, whatever the guest asks for and whatever the host does meanwhile.

Every case works in `jail/`, next to a `secret/` of which nothing may be learnt and nothing changed: its complete state
is compared before and after. What the guest may do inside is in `test_vfs_filesystems.py`.
"""

from __future__ import annotations

import gc
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sandbox.abi.errno import Errno
from sandbox.abi.flags import S_IFBLK, S_IFCHR, S_IFIFO, S_IFSOCK
from sandbox.errors import ConfigurationError
from sandbox.vfs.host_descriptors import DescriptorCache
from sandbox.vfs.hostfs import MAX_PINS, HostFs
from sandbox.vfs.mount import Mounts
from sandbox.vfs.namespace import Namespace
from sandbox.vfs.node import SUPERUSER
from tests.vfs_actors import GuestActor
from tests.vfs_filesystems import tmpfs

SECRET = b"SECRET of the host"
REFUSALS = {"ENOENT", "ENOTDIR", "ELOOP", "EINVAL", "EACCES", "EISDIR", "EEXIST", "ENOTEMPTY", "EBUSY", "EPERM",
            "EXDEV", "ENXIO", "ESTALE", "ENAMETOOLONG"}  # fmt: skip


def state(directory: Path) -> list[Any]:
    """All that can be told about a tree, without following anything."""
    found: list[Any] = []
    for path in sorted([directory, *directory.rglob("*")]):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
        found.append((str(path), status.st_mode, status.st_uid, status.st_nlink, status.st_mtime_ns, content))
    return found


class Area:
    def __init__(self, base: Path) -> None:
        self.base = base
        self.secret = base / "secret"
        self.jail = base / "jail"
        (self.secret / "inner").mkdir(parents=True)
        (self.secret / "secret.txt").write_bytes(SECRET)
        (self.secret / "inner" / "deep.txt").write_bytes(SECRET)
        (self.jail / "dir" / "sub").mkdir(parents=True)
        (self.jail / "file").write_bytes(b"inside")
        (self.jail / "dir" / "file").write_bytes(b"inside")
        self.before = state(self.secret)

    def check(self) -> None:
        assert state(self.secret) == self.before
        assert sorted(path.name for path in self.base.iterdir()) == ["jail", "secret"]


@pytest.fixture
def area(tmp_path: Path) -> Iterator[Area]:
    area = Area(tmp_path)
    yield area
    area.check()


def host_actor(area: Area, mounted: bool, limit: int = 64) -> GuestActor:
    """The jail as the root of a guest, or at /mnt of one whose root is a tmpfs."""
    filesystem = HostFs(area.jail, read_only=False, descriptors=DescriptorCache(limit))
    if not mounted:
        return GuestActor(filesystem)
    actor = GuestActor(tmpfs())
    actor.run([("mkdir", b"mnt"), ("mkdir", b"etc"), ("write", b"etc/passwd", b"of the guest")])
    actor.mounts.mount(b"/mnt", filesystem)
    actor.start = actor.namespace.find(actor.mounts.root, b"/mnt")
    return actor


# -- links that point out --------------------------------------------------------------------------------------

# What the host (or an earlier guest) has put into jail/link. {base} is where jail and secret are.
TARGETS = {
    "up": "..",
    "up to the secret": "../secret",
    "up to the file": "../secret/secret.txt",
    "up through a directory": "dir/../../secret/secret.txt",
    "up from far below": "dir/sub/../../../secret/secret.txt",
    "up further than there is": "../../../../../../../../../../../../etc/passwd",
    "absolute": "{base}/secret/secret.txt",
    "absolute directory": "{base}/secret",
    "absolute, twisted": "{base}/jail/../secret/./secret.txt",
    "of the host's system": "/etc/passwd",
    "the host's root": "/",
    "the root of the host process": "/proc/self/root",
    "a file below the root of the host process": "/proc/self/root/etc/passwd",
    "the directory of the host process": "/proc/self/cwd",
    "a descriptor of the host process": "/proc/self/fd/0",
    "slashes": "////{base}////secret////secret.txt",
    "through itself": "link/../../secret",
    "a link to a link": "second",
}
# What the guest then does with it, and below it.
USES: dict[str, tuple[Any, ...]] = {
    "read": ("read", b"link"),
    "read below": ("read", b"link/secret.txt"),
    "read further below": ("read", b"link/secret/secret.txt"),
    "write": ("write", b"link", b"GUEST", "trunc"),
    "create below": ("write", b"link/new", b"GUEST"),
    "create where nothing is": ("write", b"link/secret/new", b"GUEST"),
    "list": ("list", b"link"),
    "list below": ("list", b"link/secret"),
    "stat": ("stat", b"link/secret.txt"),
    "mkdir": ("mkdir", b"link/new"),
    "symlink": ("symlink", b"x", b"link/new"),
    "link out of it": ("link", b"link/secret.txt", b"stolen"),
    "link into it": ("link", b"file", b"link/new"),
    "rename out of it": ("rename", b"link/secret.txt", b"stolen"),
    "rename into it": ("rename", b"file", b"link/new"),
    "rename over it": ("rename", b"file", b"link/secret.txt"),
    "unlink": ("unlink", b"link/secret.txt"),
    "rmdir": ("rmdir", b"link/inner"),
    "chmod": ("chmod", b"link", 0o777),
    "chmod below": ("chmod", b"link/secret.txt", 0o777),
    "utime": ("utime", b"link/secret.txt", 1, 1),
    "truncate": ("truncate", b"link", 0),
    "open as a directory": ("open", b"link", "r", "dir"),
    "truncate on opening": ("open", b"link", "r", "trunc"),
}


@pytest.mark.parametrize("mounted", [False, True], ids=["as root", "mounted"])
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("target", TARGETS)
def test_links_do_not_lead_out(area: Area, target: str, use: str, mounted: bool) -> None:
    text = TARGETS[target].format(base=area.base)
    os.symlink(text, area.jail / "link")
    os.symlink(f"{area.base}/secret", area.jail / "second")
    actor = host_actor(area, mounted)
    try:
        answer = actor.act(USES[use])
        assert SECRET not in repr(answer).encode()
        if isinstance(answer, bytes):
            assert answer in (b"inside", b"of the guest", b"GUEST")
        elif isinstance(answer, list):
            assert not {b"secret.txt", b"secret", b"inner"} & set(answer)
        # The link itself may be read: it is text.
        assert actor.act(("readlink", b"link")) in (text.encode(), "EINVAL", "ENOENT")
    finally:
        actor.close()
    area.check()


# -- paths without links -----------------------------------------------------------------------------------------

PATHS = [
    b"..", b"../secret", b"../secret/secret.txt", b"../../secret", b"dir/../../secret/secret.txt", b"/../secret",
    b"/../../../../etc/passwd", b"dir/sub/../../../secret", b"./.././secret", b"dir/./../../secret", b"..//secret",
    b"dir/../" * 50 + b"../secret", b"../jail/../secret/secret.txt", b"dir/sub/../../../../../../../../etc/shadow",
    b"file/../../secret", b"nothing/../../secret", b"/proc/self/root/etc/passwd", b"/proc/1/root", b"..\\secret",
    b"\xc0\xae\xc0\xae/secret", b"%2e%2e/secret", b". ./secret", b"...", b".. /secret", b"secret", b"dir/secret.txt",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS, ids=[str(number) for number in range(len(PATHS))])
def test_paths_do_not_lead_out(area: Area, path: bytes) -> None:
    actor = host_actor(area, mounted=False)
    try:
        for step in (
            ("read", path), ("list", path), ("stat", path), ("write", path, b"GUEST"), ("mkdir", path),
            ("unlink", path), ("rmdir", path), ("rename", b"file", path), ("rename", path, b"stolen"),
            ("symlink", b"x", path), ("link", b"file", path), ("truncate", path, 0), ("chmod", path, 0o777),
        ):  # fmt: skip
            answer = actor.act(step)
            assert SECRET not in repr(answer).encode()
            assert not isinstance(answer, list) or b"secret" not in answer
    finally:
        actor.close()


NAMES = [b"", b".", b"..", b"/", b"/etc", b"../secret", b"dir/sub", b"dir/..", b"..\0", b"file\0x", b"/etc/passwd",
         b"../secret/secret.txt", b"\0"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_node_takes_single_names_only(area: Area, name: bytes) -> None:
    """Even if the walk were wrong."""
    filesystem = HostFs(area.jail, read_only=False)
    root = filesystem.root
    file = root.lookup(b"file")
    calls: list[Callable[[], Any]] = [
        lambda: root.lookup(name),
        lambda: root.create(name, 0o644, 0, 0),
        lambda: root.mkdir(name, 0o755, 0, 0),
        lambda: root.symlink(name, b"x", 0, 0),
        lambda: root.link(name, file),
        lambda: root.unlink(name),
        lambda: root.rmdir(name),
        lambda: root.rename(name, root, b"stolen"),
        lambda: root.rename(b"file", root, name),
    ]
    for call in calls:
        with pytest.raises(Errno) as raised:
            call()
        assert str(raised.value) == "EINVAL"
    filesystem.close()


# -- races -----------------------------------------------------------------------------------------------------


@contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[None]:
    """`work` again and again in a thread of the host."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def loop() -> None:
        try:
            while not stop.is_set():
                work()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert not failures


def replace(path: Path, make: Callable[[Path], object]) -> None:
    """Put something else at `path` in one step."""
    draft = path.with_name("draft")
    make(draft)
    os.rename(draft, path)


RACES: dict[str, Callable[[Area], Callable[[], None]]] = {}


def race(function: Callable[[Area], Callable[[], None]]) -> Callable[[Area], Callable[[], None]]:
    RACES[function.__name__.replace("_", " ")] = function
    return function


@race
def file_and_link(area: Area) -> Callable[[], None]:
    def work() -> None:
        replace(area.jail / "file", lambda path: path.symlink_to(area.secret / "secret.txt"))
        replace(area.jail / "file", lambda path: path.write_bytes(b"inside"))

    return work


@race
def directory_and_link(area: Area) -> Callable[[], None]:
    def work() -> None:
        os.rename(area.jail / "dir", area.jail / "away")
        os.symlink(area.secret, area.jail / "dir")
        os.unlink(area.jail / "dir")
        os.rename(area.jail / "away", area.jail / "dir")

    return work


@race
def directory_below_and_link(area: Area) -> Callable[[], None]:
    def work() -> None:
        os.rename(area.jail / "dir" / "sub", area.jail / "away")
        os.symlink("../../secret", area.jail / "dir" / "sub")
        os.unlink(area.jail / "dir" / "sub")
        os.rename(area.jail / "away", area.jail / "dir" / "sub")

    return work


@race
def directory_moved_up_and_down(area: Area) -> Callable[[], None]:
    def work() -> None:
        os.rename(area.jail / "dir" / "sub", area.jail / "sub")
        os.rename(area.jail / "sub", area.jail / "dir" / "sub")

    return work


@race
def file_and_fifo(area: Area) -> Callable[[], None]:
    def work() -> None:
        replace(area.jail / "file", lambda path: os.mkfifo(path))
        replace(area.jail / "file", lambda path: path.write_bytes(b"inside"))

    return work


@pytest.mark.parametrize("name", RACES)
def test_races_do_not_lead_out(area: Area, name: str) -> None:
    for hidden in ("file", "sub", "new"):  # the secret has what the guest looks for, too
        (area.secret / hidden).write_bytes(SECRET)
    area.before = state(area.secret)
    actor = host_actor(area, mounted=False, limit=8)
    actor.act(("mkdir", b"other"))
    for number in range(8):
        actor.act(("write", b"other/%d" % number, b""))
    answers: set[str] = set()
    with meanwhile(RACES[name](area)):
        for number in range(400):
            for step in (
                ("read", b"file"), ("read", b"dir/file"), ("list", b"dir"), ("read", b"dir/sub/secret.txt"),
                ("write", b"file", b"inside"), ("write", b"dir/new", b"inside"), ("write", b"dir/sub/new", b"inside"),
                ("chmod", b"file", 0o600), ("chmod", b"dir/sub", 0o700), ("truncate", b"dir/new", 3),
                ("unlink", b"dir/new"), ("unlink", b"dir/sub/new"), ("read", b"other/%d" % (number % 8)),
                ("stat", b"dir/sub/../file"), ("list", b"dir/sub/.."), ("mkdir", b"dir/sub/d"), ("rmdir", b"dir/sub/d"),
            ):  # fmt: skip
                answer = actor.act(step)
                assert SECRET not in repr(answer).encode(), step
                assert not isinstance(answer, list) or b"secret.txt" not in answer, step
                if isinstance(answer, str):
                    answers.add(answer.split()[0])
    assert answers <= REFUSALS | {"ok", "file", "dir", "fifo"}
    actor.close()
    area.check()


def test_an_open_directory_that_became_a_link_is_not_followed(area: Area) -> None:
    """Without a race: the descriptor was given up meanwhile, and is opened again by name."""
    actor = host_actor(area, mounted=False, limit=8)
    actor.start = actor.namespace.find(actor.mounts.root, b"/dir/sub")
    os.rename(area.jail / "dir", area.jail / "away")
    (area.jail / "dir").symlink_to(area.secret)
    (area.secret / "sub").mkdir()
    (area.secret / "sub" / "file").write_bytes(SECRET)
    area.before = state(area.secret)
    actor.filesystem.descriptors.drop_filesystem(actor.filesystem.number)  # type: ignore[attr-defined]
    for step in (("read", b"file"), ("list", b"."), ("write", b"new", b"x"), ("mkdir", b"new")):
        assert actor.act(step) in ("ESTALE", "ENOTDIR", "ENOENT", "ELOOP")
    actor.close()


def test_a_file_replaced_by_another_is_not_taken_for_it(area: Area) -> None:
    actor = host_actor(area, mounted=False, limit=8)
    actor.act(("keep", "f", b"file", "rw"))
    replace(area.jail / "file", lambda path: path.write_bytes(b"another") and None)
    actor.filesystem.descriptors.drop_filesystem(actor.filesystem.number)  # type: ignore[attr-defined]
    assert actor.act(("pread", "f", 10, 0)) == "ESTALE"
    assert actor.act(("pwrite", "f", b"x", 0)) == "ESTALE"
    assert actor.act(("read", b"file")) == b"another"
    actor.close()


# -- special files, other filesystems --------------------------------------------------------------------------


def test_special_files_of_the_host_are_not_opened(area: Area) -> None:
    os.mkfifo(area.jail / "fifo")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(area.jail / "socket"))
    actor = host_actor(area, mounted=False)
    for name in (b"fifo", b"socket"):
        for flags in (("r",), ("w",), ("rw",), ("w", "trunc")):
            assert actor.act(("open", name, *flags)) == "ENXIO"
        assert actor.act(("lstat", name)).split()[0] in ("fifo", "sock")
    actor.close()
    listener.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make device files")
def test_a_device_of_the_host_is_the_guests_device(area: Area) -> None:
    try:
        os.mknod(area.jail / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("device files cannot be made here")
    actor = host_actor(area, mounted=False)
    assert actor.act(("open", b"null", "w")) == "ENXIO"
    actor.close()


@pytest.mark.parametrize("kind", [S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK])
def test_no_special_files_are_made(area: Area, kind: int) -> None:
    filesystem = HostFs(area.jail, read_only=False)
    with pytest.raises(Errno, match="EPERM"):
        filesystem.root.mknod(b"x", kind | 0o666, 0x103, 0, 0)
    assert not (area.jail / "x").exists()
    filesystem.close()


def test_set_id_bits_do_not_reach_the_host(area: Area) -> None:
    actor = host_actor(area, mounted=False)
    node = actor.namespace.mknod(actor.start, b"prog", 0o6755).node
    assert (area.jail / "prog").stat().st_mode & 0o7777 == 0o755
    node.set_attributes(mode=0o6777)
    assert (area.jail / "prog").stat().st_mode & 0o7777 == 0o777
    actor.close()


def test_the_kernel_of_the_host_is_no_directory_for_guests() -> None:
    for path in ("/proc", "/proc/self", "/sys"):
        if os.path.isdir(path):
            with pytest.raises(ConfigurationError, match="of the host"):
                HostFs(path)
    actor = GuestActor(HostFs("/"))
    for inside in (b"proc/self/root/etc/passwd", b"proc/self/mem", b"proc/version", b"sys/kernel/uevent_seqnum"):
        assert actor.act(("read", inside)) in ("EACCES", "ENOENT")
    assert actor.act(("list", b"proc")) == "EACCES"
    actor.close()


@pytest.mark.parametrize("path", ["/does/not/exist", "/etc/passwd"])
def test_what_is_no_directory(path: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be used"):
        HostFs(path)


# -- who owns what ---------------------------------------------------------------------------------------------


def test_the_operator_is_root_in_the_guest(area: Area) -> None:
    status = (area.jail / "file").stat()
    same = HostFs(area.jail, operator=(status.st_uid, status.st_gid))
    assert (same.root.lookup(b"file").stat().uid, same.root.lookup(b"file").stat().gid) == (0, 0)
    other = HostFs(area.jail, operator=(status.st_uid + 1, status.st_gid + 1))
    found = other.root.lookup(b"file").stat()
    assert (found.uid, found.gid) == (status.st_uid, status.st_gid)
    same.close()
    other.close()


def test_read_only_means_read_only(area: Area) -> None:
    before = state(area.jail)
    filesystem = HostFs(area.jail, read_only=True)
    actor = GuestActor(filesystem)
    steps = [
        ("write", b"file", b"x"), ("write", b"new", b"x"), ("mkdir", b"new"), ("unlink", b"file"),
        ("rmdir", b"dir/sub"),
        ("rename", b"file", b"f2"), ("link", b"file", b"f2"), ("symlink", b"x", b"s"), ("chmod", b"file", 0),
        ("truncate", b"file", 0), ("utime", b"file", 1, 1), ("open", b"file", "r", "trunc"), ("open", b"file", "rw"),
    ]  # fmt: skip
    for step in steps:
        assert actor.act(step) == "EROFS", step
    root, file = filesystem.root, filesystem.root.lookup(b"file")
    calls: list[Callable[[], Any]] = [
        lambda: root.create(b"n", 0o644, 0, 0),
        lambda: root.mkdir(b"n", 0o755, 0, 0),
        lambda: root.unlink(b"file"),
        lambda: root.rmdir(b"dir"),
        lambda: root.rename(b"file", root, b"n"),
        lambda: root.link(b"n", file),
        lambda: root.symlink(b"n", b"x", 0, 0),
        lambda: file.set_attributes(mode=0),
        lambda: file.truncate(0),
        lambda: file.write_at(0, b"x"),
        lambda: file.append(b"x"),
    ]
    for call in calls:
        with pytest.raises(Errno) as raised:
            call()
        assert str(raised.value) == "EROFS"
    assert actor.act(("read", b"file")) == b"inside"
    actor.close()
    assert state(area.jail) == before


# -- descriptors -----------------------------------------------------------------------------------------------


def descriptors() -> int:
    gc.collect()  # what other tests left open
    return len(os.listdir("/proc/self/fd"))


def test_descriptors_are_few_and_given_back(area: Area) -> None:
    before = descriptors()
    cache = DescriptorCache(16)
    filesystem = HostFs(area.jail, read_only=False, descriptors=cache)
    assert descriptors() == before  # nothing is opened before it is used
    actor = GuestActor(filesystem)
    deep = b""
    for depth in range(40):
        deep += b"d%d/" % depth
        assert actor.act(("mkdir", deep)) == "ok"
    for number in range(300):
        assert actor.act(("write", deep + b"f%d" % number, b"%d" % number)) == len(b"%d" % number)
        actor.act(("keep", f"f{number}", deep + b"f%d" % number, "rw"))
    assert descriptors() <= before + 16
    for number in range(300):
        assert actor.act(("pread", f"f{number}", 10, 0)) == b"%d" % number
        assert actor.act(("pwrite", f"f{number}", b"+", 5)) == 1
    assert descriptors() <= before + 16
    assert len(cache) <= 16
    actor.close()
    assert descriptors() == before


def test_open_files_that_lost_their_name_keep_a_descriptor_each_up_to_a_limit(area: Area) -> None:
    before = descriptors()
    actor = host_actor(area, mounted=False, limit=8)
    for number in range(MAX_PINS + 1):
        actor.act(("write", b"n%d" % number, b"%d" % number))
        actor.act(("keep", str(number), b"n%d" % number, "r"))
    for number in range(MAX_PINS):
        assert actor.act(("unlink", b"n%d" % number)) == "ok"
    assert actor.act(("unlink", b"n%d" % MAX_PINS)) == "ENFILE"
    for number in range(MAX_PINS):
        assert actor.act(("pread", str(number), 10, 0)) == b"%d" % number
    actor.act(("drop", "0"))
    assert actor.act(("unlink", b"n%d" % MAX_PINS)) == "ok"
    assert descriptors() <= before + 2 * MAX_PINS + 8
    actor.close()
    assert descriptors() == before


def test_a_cache_shared_by_many_filesystems(area: Area) -> None:
    before = descriptors()
    cache = DescriptorCache(12)
    actors = [GuestActor(HostFs(area.jail, descriptors=cache)) for _ in range(50)]
    for actor in actors * 2:
        assert actor.act(("read", b"dir/file")) == b"inside"
    assert descriptors() <= before + 12
    for actor in actors:
        actor.close()
    assert descriptors() == before
    assert actors[0].act(("read", b"dir/file")) == "EIO"


def test_mapped_files_stay_readable(area: Area) -> None:
    """The pages of a file that was mapped, closed and unlinked."""
    mounts = Mounts(HostFs(area.jail, read_only=False, descriptors=DescriptorCache(8)))
    namespace = Namespace(mounts, mounts.root, SUPERUSER)
    source = namespace.find(mounts.root, b"/file").node.page_source()
    assert source is not None
    namespace.unlink(mounts.root, b"/file")
    for name in (b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h", b"i"):
        namespace.open(mounts.root, name, 0o101).release()
    assert source.load(0) == b"inside"
    assert source.shared_frame(0) is None
    mounts.close()
