"""One suite that every writable filesystem passes, and the host kernel too: it is run on the same table first.

Each scenario is a list of (step, answer), carried out in an empty directory; `test_random` does the same with random
steps, compared with the host kernel step by step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.vfs_actors import GuestActor, HostActor, Step
from tests.vfs_filesystems import WRITABLE, writable_actor

BIG = bytes(range(256)) * 300  # 75 KiB, of no page-aligned length once sliced

SCENARIOS: dict[str, list[tuple[Step, Any]]] = {
    "files are created, written and read": [
        (("write", b"a", b"hello"), 5),
        (("read", b"a"), b"hello"),
        (("lstat", b"a"), "file 644 1 5"),
        (("write", b"a", b"J"), 1),
        (("read", b"a"), b"Jello"),
        (("write", b"a", b"!", "append"), 1),
        (("read", b"a"), b"Jello!"),
        (("write", b"a", b"x", "trunc"), 1),
        (("read", b"a"), b"x"),
        (("write", b"a", b"x", "excl"), "EEXIST"),
        (("list", b"."), [b"a"]),
    ],
    "large files": [
        (("write", b"a", BIG), len(BIG)),
        (("read", b"a"), BIG),
        (("keep", "f", b"a", "rw"), "ok"),
        (("pread", "f", 5, 4094), BIG[4094:4099]),
        (("pwrite", "f", b"PAGES", 8190), 5),
        (("pread", "f", 9, 8188), BIG[8188:8190] + b"PAGES" + BIG[8195:8197]),
        (("pread", "f", 10, len(BIG) - 3), BIG[-3:]),
        (("pread", "f", 10, len(BIG)), b""),
        (("pread", "f", 0, 0), b""),
        (("pwrite", "f", b"", 10**6), 0),
        (("fstat", "f"), f"file 644 1 {len(BIG)}"),
    ],
    "holes and truncation": [
        (("write", b"a", b"abc"), 3),
        (("keep", "f", b"a", "rw"), "ok"),
        (("pwrite", "f", b"end", 10000), 3),
        (("read", b"a"), b"abc" + bytes(9997) + b"end"),
        (("ftruncate", "f", 2), "ok"),
        (("ftruncate", "f", 6), "ok"),
        (("read", b"a"), b"ab\0\0\0\0"),
        (("truncate", b"a", 1), "ok"),
        (("pread", "f", 10, 0), b"a"),
        (("truncate", b"missing", 0), "ENOENT"),
        (("truncate", b"a", -1), "EINVAL"),
        (("ftruncate", "f", 5000), "ok"),
        (("pread", "f", 10, 4094), bytes(10)),
    ],
    "directories": [
        (("mkdir", b"d", 0o700), "ok"),
        (("mkdir", b"d"), "EEXIST"),
        (("lstat", b"d"), "dir 700"),
        (("mkdir", b"d/e/f"), "ENOENT"),
        (("mkdir", b"d/e/"), "ok"),
        (("write", b"d/e/x", b"1"), 1),
        (("rmdir", b"d"), "ENOTEMPTY"),
        (("rmdir", b"d/e"), "ENOTEMPTY"),
        (("unlink", b"d/e"), "EISDIR"),
        (("rmdir", b"d/e/x"), "ENOTDIR"),
        (("unlink", b"d/e/x"), "ok"),
        (("rmdir", b"d/e/"), "ok"),
        (("list", b"d"), []),
        (("rmdir", b"d"), "ok"),
        (("list", b"d"), "ENOENT"),
        (("list", b"."), []),
    ],
    "names that are special": [
        (("mkdir", b"."), "EEXIST"),
        (("mkdir", b"d"), "ok"),
        (("rmdir", b"d/."), "EINVAL"),
        (("rmdir", b"d/.."), "ENOTEMPTY"),
        (("unlink", b"d/.."), "EISDIR"),
        (("rename", b"d/.", b"e"), "EBUSY"),
        (("rename", b"d", b"d/.."), "EBUSY"),
        (("mkdir", b"x" * 255), "ok"),
        (("mkdir", b"x" * 256), "ENAMETOOLONG"),
        (("open", b"y" * 256, "r"), "ENAMETOOLONG"),
        (("open", b"d/" * 2100, "r"), "ENAMETOOLONG"),
        (("write", b"d/\xff\xfe\n", b"1"), 1),
        (("list", b"d"), [b"\xff\xfe\n"]),
        (("stat", b""), "ENOENT"),
    ],
    "trailing slashes": [
        (("write", b"f", b"1"), 1),
        (("mkdir", b"d"), "ok"),
        (("open", b"f/", "r"), "ENOTDIR"),
        (("open", b"d/", "r"), "ok"),
        (("open", b"new/", "w", "creat"), "EISDIR"),
        (("stat", b"f/"), "ENOTDIR"),
        (("stat", b"f/."), "ENOTDIR"),
        (("stat", b"f/.."), "ENOTDIR"),
        (("stat", b"d//.///"), "dir 755"),
        (("unlink", b"f/"), "ENOTDIR"),
        (("rename", b"f", b"g/"), "ENOTDIR"),
        (("rename", b"d/", b"e/"), "ok"),
        (("link", b"f", b"h/"), "ENOENT"),
        (("symlink", b"f", b"s/"), "ENOENT"),
        (("symlink", b"f", b"s"), "ok"),
        (("lstat", b"s/"), "ENOTDIR"),
        (("symlink", b"e", b"t"), "ok"),
        (("lstat", b"t"), "link 777 1 1"),
        (("lstat", b"t/"), "dir 755"),
        (("rmdir", b"t/"), "ENOTDIR"),
        (("unlink", b"t/"), "ENOTDIR"),
        (("mkdir", b"t/"), "EEXIST"),
        (("unlink", b"t"), "ok"),
    ],
    "symbolic links": [
        (("symlink", b"target", b"s"), "ok"),
        (("symlink", b"target", b"s"), "EEXIST"),
        (("symlink", b"", b"t"), "ENOENT"),
        (("readlink", b"s"), b"target"),
        (("lstat", b"s"), "link 777 1 6"),
        (("stat", b"s"), "ENOENT"),
        (("open", b"s", "r"), "ENOENT"),
        (("open", b"s", "r", "nofollow"), "ELOOP"),
        (("open", b"s", "w", "creat", "excl"), "EEXIST"),
        (("write", b"s", b"via link"), 8),
        (("read", b"target"), b"via link"),
        (("readlink", b"target"), "EINVAL"),
        (("mkdir", b"s"), "EEXIST"),
        (("unlink", b"s"), "ok"),
        (("read", b"target"), b"via link"),
        (("mkdir", b"d"), "ok"),
        (("symlink", b"../target", b"d/up"), "ok"),
        (("read", b"d/up"), b"via link"),
        (("symlink", b"d", b"dl"), "ok"),
        (("read", b"dl/up"), b"via link"),
        (("symlink", b"dl/../d/./up", b"long"), "ok"),
        (("read", b"long"), b"via link"),
        (("open", b"dl", "r", "dir", "nofollow"), "ENOTDIR"),
        (("rmdir", b"dl"), "ENOTDIR"),
        (("list", b"dl"), [b"up"]),
    ],
    "loops": [
        (("symlink", b"b", b"a"), "ok"),
        (("symlink", b"a", b"b"), "ok"),
        (("open", b"a", "r"), "ELOOP"),
        (("open", b"a", "w", "creat"), "ELOOP"),
        (("open", b"a/x", "r"), "ELOOP"),
        (("symlink", b"self", b"self"), "ok"),
        (("stat", b"self"), "ELOOP"),
        (("lstat", b"self"), "link 777 1 4"),
        (("symlink", b".", b"here"), "ok"),
        (("open", b"/".join([b"here"] * 40), "r"), "ok"),
        (("open", b"/".join([b"here"] * 41), "r"), "ELOOP"),
        (("unlink", b"self"), "ok"),
    ],
    "hard links": [
        (("write", b"a", b"one"), 3),
        (("link", b"a", b"b"), "ok"),
        (("link", b"a", b"b"), "EEXIST"),
        (("same", b"a", b"b"), True),
        (("lstat", b"a"), "file 644 2 3"),
        (("write", b"b", b"two"), 3),
        (("read", b"a"), b"two"),
        (("unlink", b"a"), "ok"),
        (("lstat", b"b"), "file 644 1 3"),
        (("read", b"b"), b"two"),
        (("mkdir", b"d"), "ok"),
        (("link", b"d", b"e"), "EPERM"),
        (("link", b"missing", b"e"), "ENOENT"),
        (("link", b"b", b"d/b"), "ok"),
        (("rename", b"b", b"d/b"), "ok"),  # the same inode: nothing happens, both names stay
        (("list", b"."), [b"b", b"d"]),
        (("symlink", b"b", b"s"), "ok"),
        (("link", b"s", b"s2"), "ok"),
        (("lstat", b"s2"), "link 777 2 1"),
    ],
    "renaming files": [
        (("write", b"a", b"a"), 1),
        (("write", b"b", b"bb"), 2),
        (("mkdir", b"d"), "ok"),
        (("rename", b"a", b"c"), "ok"),
        (("read", b"a"), "ENOENT"),
        (("rename", b"c", b"b"), "ok"),
        (("read", b"b"), b"a"),
        (("rename", b"b", b"d"), "EISDIR"),
        (("rename", b"d", b"b"), "ENOTDIR"),
        (("rename", b"missing", b"x"), "ENOENT"),
        (("rename", b"b", b"d/b"), "ok"),
        (("rename", b"d/b", b"d/b"), "ok"),
        (("list", b"d"), [b"b"]),
        (("rename", b"d/b", b"nowhere/b"), "ENOENT"),
        (("rename", b"d/b", b"d/b/c"), "ENOTDIR"),
        (("list", b"."), [b"d"]),
    ],
    "renaming directories": [
        (("mkdir", b"a"), "ok"),
        (("mkdir", b"a/b"), "ok"),
        (("mkdir", b"a/b/c"), "ok"),
        (("write", b"a/b/c/f", b"deep"), 4),
        (("mkdir", b"e"), "ok"),
        (("mkdir", b"full"), "ok"),
        (("write", b"full/f", b"1"), 1),
        (("rename", b"a", b"a/b/x"), "EINVAL"),
        (("rename", b"a", b"a"), "ok"),
        (("rename", b"a/b", b"a"), "ENOTEMPTY"),
        (("rename", b"a", b"full"), "ENOTEMPTY"),
        (("rename", b"a", b"e"), "ok"),
        (("read", b"e/b/c/f"), b"deep"),
        (("rename", b"e/b/c", b"c"), "ok"),
        (("read", b"c/f"), b"deep"),
        (("read", b"c/../c/f"), b"deep"),
        (("list", b"e/b"), []),
        (("list", b"."), [b"c", b"e", b"full"]),
        (("mkdir", b"a"), "ok"),
        (("list", b"a"), []),
    ],
    "open files outlive their names": [
        (("write", b"a", b"alive"), 5),
        (("keep", "f", b"a", "rw"), "ok"),
        (("unlink", b"a"), "ok"),
        (("fstat", "f"), "file 644 0 5"),
        (("pread", "f", 10, 0), b"alive"),
        (("pwrite", "f", b"A", 0), 1),
        (("pread", "f", 10, 0), b"Alive"),
        (("write", b"a", b"new"), 3),
        (("pread", "f", 10, 0), b"Alive"),
        (("read", b"a"), b"new"),
        (("write", b"b", b"replaced"), 8),
        (("keep", "g", b"b", "r"), "ok"),
        (("rename", b"a", b"b"), "ok"),
        (("pread", "g", 10, 0), b"replaced"),
        (("fstat", "g"), "file 644 0 8"),
        (("drop", "g"), "ok"),
        (("drop", "f"), "ok"),
        (("read", b"b"), b"new"),
    ],
    "renamed files stay open": [
        (("mkdir", b"d"), "ok"),
        (("write", b"d/a", b"moved"), 5),
        (("keep", "f", b"d/a", "rw"), "ok"),
        (("rename", b"d/a", b"b"), "ok"),
        (("rmdir", b"d"), "ok"),
        (("pwrite", "f", b"M", 0), 1),
        (("read", b"b"), b"Moved"),
    ],
    "opening": [
        (("mkdir", b"d"), "ok"),
        (("write", b"f", b"1"), 1),
        (("open", b"d", "w"), "EISDIR"),
        (("open", b"d", "rw"), "EISDIR"),
        (("open", b"d", "w", "creat"), "EISDIR"),
        (("open", b"d", "r", "creat", "excl"), "EEXIST"),
        (("open", b"d", "r", "trunc"), "EISDIR"),
        (("open", b"d/.", "w", "creat"), "EISDIR"),
        (("open", b"d/.", "w", "creat", "excl"), "EEXIST"),
        (("open", b"f", "r", "dir"), "ENOTDIR"),
        (("open", b"f/x", "r"), "ENOTDIR"),
        (("open", b"f/x", "w", "creat"), "ENOTDIR"),
        (("open", b"f", "r", "trunc"), "ok"),  # O_TRUNC works without write access (open(2): unspecified)
        (("lstat", b"f"), "file 644 1 0"),
        (("open", b"none", "r"), "ENOENT"),
        (("open", b"none/x", "w", "creat"), "ENOENT"),
        (("open", b"f", "path"), "ok"),
        (("keep", "p", b"f", "path"), "ok"),
        (("pread", "p", 1, 0), "EBADF"),
        (("pwrite", "p", b"1", 0), "EBADF"),
        (("fstat", "p"), "file 644 1 0"),
        (("keep", "r", b"f", "r"), "ok"),
        (("pwrite", "r", b"1", 0), "EBADF"),
        (("ftruncate", "r", 0), "EINVAL"),
        (("keep", "w", b"f", "w"), "ok"),
        (("pread", "w", 1, 0), "EBADF"),
        (("keep", "d", b"d", "r"), "ok"),
        (("pread", "d", 1, 0), "EISDIR"),
    ],
    "attributes": [
        (("write", b"f", b"1"), 1),
        (("chmod", b"f", 0o640), "ok"),
        (("stat", b"f"), "file 640 1 1"),
        (("utime", b"f", 1_000_000_000, 2_500_000_001), "ok"),
        (("times", b"f"), (1_000_000_000, 2_500_000_001)),
        (("chmod", b"none", 0o640), "ENOENT"),
        (("symlink", b"f", b"s"), "ok"),
        (("chmod", b"s", 0o600), "ok"),
        (("stat", b"f"), "file 600 1 1"),
        (("lstat", b"s"), "link 777 1 1"),
        (("mkdir", b"d"), "ok"),
        (("chmod", b"d", 0o1777), "ok"),
        (("stat", b"d"), "dir 1777"),
        (("chmod", b".", 0o750), "ok"),
        (("stat", b"."), "dir 750"),
        (("truncate", b"d", 0), "EISDIR"),
    ],
    "many names": [
        *[(("write", b"n%03d" % number, b""), 0) for number in range(300)],
        (("list", b"."), [b"n%03d" % number for number in range(300)]),
        *[(("unlink", b"n%03d" % number), "ok") for number in range(0, 300, 2)],
        (("list", b"."), [b"n%03d" % number for number in range(1, 300, 2)]),
    ],
    "deep trees": [
        *[(("mkdir", b"/".join([b"d"] * depth)), "ok") for depth in range(1, 101)],
        (("write", b"d/" * 100 + b"f", b"deep"), 4),
        (("read", b"d/" * 100 + b"f"), b"deep"),
        (("lstat", b"d/../" * 300 + b"d"), "dir 755"),
        (("rename", b"d/d", b"e"), "ok"),
        (("read", b"e/" + b"d/" * 98 + b"f"), b"deep"),
        (("read", b"e/" + b"d/" * 98 + b"../d/f"), b"deep"),
    ],
}


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("name", ["native", *WRITABLE])
def test_scenario(name: str, scenario: str, tmp_path: Path) -> None:
    actor = writable_actor(name, tmp_path)
    try:
        for number, (step, expected) in enumerate(SCENARIOS[scenario]):
            assert actor.act(step) == expected, f"step {number}: {step!r:.200}"
    finally:
        actor.close()


NAMES = st.sampled_from([b"a", b"b", b"c", b"d", b"d/a", b"d/b", b"d/e", b"d/e/a", b"s", b"d/../a", b"s/a", b"d/."])
DATA = st.sampled_from([b"", b"x", b"hello", b"p" * 5000])
STEPS = st.one_of(
    st.tuples(st.just("mkdir"), NAMES),
    st.tuples(st.just("rmdir"), NAMES),
    st.tuples(st.just("unlink"), NAMES),
    st.tuples(st.just("write"), NAMES, DATA, st.sampled_from(["trunc", "append", "excl", "nofollow"])),
    st.tuples(st.just("read"), NAMES),
    st.tuples(st.just("symlink"), st.sampled_from([b"a", b"d", b"../a", b"e", b"s", b"."]), NAMES),
    st.tuples(st.just("link"), NAMES, NAMES),
    st.tuples(st.just("rename"), NAMES, NAMES),
    st.tuples(st.just("rename"), NAMES, NAMES),
    st.tuples(st.just("truncate"), NAMES, st.sampled_from([0, 3, 5000])),
    st.tuples(st.just("chmod"), NAMES, st.sampled_from([0o644, 0o700, 0o1777])),
    st.tuples(st.just("lstat"), NAMES),
    st.tuples(st.just("stat"), NAMES),
    st.tuples(st.just("list"), NAMES),
    st.tuples(st.just("same"), NAMES, NAMES),
    st.tuples(st.just("open"), NAMES, st.sampled_from(["r", "w", "rw"]), st.sampled_from(["creat", "dir", "trunc"])),
)
LAST: list[Step] = [("lstat", name) for name in (b"a", b"b", b"c", b"d", b"d/a", b"d/b", b"d/e", b"d/e/a", b"s")]
LAST += [("list", b"."), ("list", b"d"), ("list", b"d/e"), ("read", b"a"), ("read", b"d/a")]


@pytest.mark.parametrize("name", WRITABLE)
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=st.lists(STEPS, max_size=12), steps=st.lists(STEPS, min_size=1, max_size=25))
def test_random(name: str, before: list[Step], steps: list[Step], tmp_path_factory: pytest.TempPathFactory) -> None:
    """The same answers as the host kernel gives, in the same order. `before` is what an overlay finds below it."""
    directories = [tmp_path_factory.mktemp("theirs"), tmp_path_factory.mktemp("ours")]
    native = [HostActor(directory / "w") for directory in directories]  # one deeper: links may point to "../a"
    (directories[0] / "w").mkdir()
    native[0].run(before)
    below = name.startswith("overlay")
    if below:
        (directories[1] / "w").mkdir()
        native[1].run(before)
    filesystem = WRITABLE[name](directories[1])
    if not below:
        GuestActor(filesystem).act(("mkdir", b"w"))
    guest = GuestActor(filesystem, b"/w")
    if not below:
        guest.run(before)
    host = native[0]
    try:
        for step in [*steps, *LAST]:
            assert guest.act(step) == host.act(step), step
    finally:
        guest.close()
