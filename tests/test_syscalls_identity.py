"""User and group ids, groups, capabilities."""

from __future__ import annotations

import struct

from sandbox.abi.errno import EFAULT, EINVAL, EPERM
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD, GuestWorld

CASES = Cases()
SAME = -1


def uids(w: World, suffix: str = "") -> tuple[int, ...]:
    parts = [bytearray(4 if suffix or w.word == 8 else 2) for _ in range(3)]
    assert w.call(f"getresuid{suffix}", *parts) == 0
    return tuple(int.from_bytes(part, "little") for part in parts)


def gids(w: World, suffix: str = "") -> tuple[int, ...]:
    parts = [bytearray(4 if suffix or w.word == 8 else 2) for _ in range(3)]
    assert w.call(f"getresgid{suffix}", *parts) == 0
    return tuple(int.from_bytes(part, "little") for part in parts)


def wide_cases(suffix: str, isas: tuple[str, ...]) -> None:
    """The calls with 32-bit ids: plain on 64-bit ISAs, with a suffix on the others."""

    def named(*names: str) -> tuple[str, ...]:
        return tuple(name + suffix for name in names)

    @CASES(*named("setresuid", "getresuid", "getuid", "geteuid"), root=True, isas=isas)
    def root_becomes_anyone_and_may_not_return(w: World) -> None:
        assert uids(w, suffix) == (0, 0, 0)
        assert w.call(f"setresuid{suffix}", 1000, 70001, 0) == 0
        assert uids(w, suffix) == (1000, 70001, 0)
        assert (w.call(f"getuid{suffix}"), w.call(f"geteuid{suffix}")) == (1000, 70001)
        assert w.call(f"setresuid{suffix}", 5, SAME, SAME) == -EPERM
        assert w.call(f"setresuid{suffix}", SAME, SAME, 1000) == 0
        assert w.call(f"setresuid{suffix}", SAME, 0, SAME) == -EPERM
        assert uids(w, suffix) == (1000, 70001, 1000)
        assert w.call(f"getresuid{suffix}", BAD, BAD, BAD) == -EFAULT

    @CASES(*named("setresgid", "getresgid", "getgid", "getegid"), root=True, isas=isas)
    def groups_likewise(w: World) -> None:
        assert w.call(f"setresgid{suffix}", 10, 20, 30) == 0
        assert gids(w, suffix) == (10, 20, 30)
        assert (w.call(f"getgid{suffix}"), w.call(f"getegid{suffix}")) == (10, 20)
        assert w.call(f"setresuid{suffix}", 1, 1, 1) == 0
        assert w.call(f"setresgid{suffix}", 30, 10, 20) == 0
        assert w.call(f"setresgid{suffix}", 40, SAME, SAME) == -EPERM

    @CASES(*named("setuid", "setgid"), root=True, isas=isas)
    def setuid_is_for_good_when_root_does_it(w: World) -> None:
        assert w.call(f"setuid{suffix}", SAME) == -EINVAL
        assert w.call(f"setgid{suffix}", 7) == 0
        assert gids(w, suffix) == (7, 7, 7)
        assert w.call(f"setuid{suffix}", 8) == 0
        assert uids(w, suffix) == (8, 8, 8)
        assert w.call(f"setuid{suffix}", 0) == -EPERM
        assert w.call(f"setgid{suffix}", 0) == -EPERM

    @CASES(*named("setreuid", "setregid"), root=True, isas=isas)
    def real_and_effective(w: World) -> None:
        assert w.call(f"setregid{suffix}", SAME, 5) == 0
        assert gids(w, suffix) == (0, 5, 5)
        assert w.call(f"setreuid{suffix}", 3, 4) == 0
        assert uids(w, suffix) == (3, 4, 4)
        assert w.call(f"setreuid{suffix}", 4, 3) == 0
        assert uids(w, suffix) == (4, 3, 3)
        assert w.call(f"setreuid{suffix}", 9, SAME) == -EPERM
        assert w.call(f"setregid{suffix}", 9, SAME) == -EPERM

    @CASES(*named("setfsuid", "setfsgid"), root=True, isas=isas)
    def the_ids_for_files(w: World) -> None:
        assert w.call(f"setfsuid{suffix}", 11) == 0
        assert w.call(f"setfsuid{suffix}", SAME) == 11
        assert w.call(f"setfsgid{suffix}", 12) == 0
        assert w.call(f"setfsgid{suffix}", SAME) == 12

    @CASES(*named("setgroups", "getgroups"), root=True, isas=isas)
    def supplementary_groups(w: World) -> None:
        assert w.call(f"setgroups{suffix}", 3, struct.pack("<III", 70000, 5, 6)) == 0
        assert w.call(f"getgroups{suffix}", 0, None) == 3
        found = bytearray(12)
        assert w.call(f"getgroups{suffix}", 3, found) == 3
        assert sorted(struct.unpack("<III", found)) == [5, 6, 70000]
        assert w.call(f"getgroups{suffix}", 2, found) == -EINVAL
        assert w.call(f"getgroups{suffix}", -1, found) == -EINVAL
        assert w.call(f"setgroups{suffix}", 1 << 20, None) == -EINVAL
        assert w.call(f"setgroups{suffix}", 1, BAD) == -EFAULT
        assert w.call(f"setresuid{suffix}", 1, 1, 1) == 0
        assert w.call(f"setgroups{suffix}", 0, None) == -EPERM


wide_cases("", ("x86_64", "arm64", "riscv64"))
wide_cases("32", ("i386", "arm"))


@CASES("setresuid", "getresuid", "getuid", "geteuid", "setgroups", "getgroups", host=False, isas=("i386", "arm"))
def sixteen_bits(w: GuestWorld) -> None:
    assert w.call("setresuid32", 70000, 5, 0) == 0
    assert w.call("getuid") == 65534  # does not fit
    assert w.call("geteuid") == 5
    assert w.call("setresuid", 0xFFFF, 0, 0xFFFF) == 0  # 0xffff: unchanged
    assert uids(w) == (65534, 0, 0)
    assert uids(w, "32") == (70000, 0, 0)
    assert w.call("setgroups", 2, struct.pack("<HH", 3, 4)) == 0
    found = bytearray(4)
    assert w.call("getgroups", 2, found) == 2
    assert struct.unpack("<HH", found) == (3, 4)


@CASES("setuid", "setgid", "setreuid", "setregid", "setresgid", "getresgid", "getgid", "getegid", host=False,
       isas=("i386", "arm"))  # fmt: skip
def sixteen_bits_more(w: GuestWorld) -> None:
    assert w.call("setresgid", 1, 2, 3) == 0
    assert gids(w) == (1, 2, 3)
    assert (w.call("getgid"), w.call("getegid")) == (1, 2)
    assert w.call("setregid", 0xFFFF, 9) == 0
    assert gids(w, "32") == (1, 9, 9)
    assert w.call("setgid", 4) == 0
    assert gids(w, "32") == (4, 4, 4)
    assert w.call("setreuid", 0xFFFF, 6) == 0
    assert uids(w, "32") == (0, 6, 6)
    assert w.call("setuid", 0) == 0
    assert uids(w, "32") == (0, 0, 6)


@CASES("setfsuid", "setfsgid", host=False, isas=("i386", "arm"))
def sixteen_bits_for_files(w: GuestWorld) -> None:
    assert w.call("setfsuid32", 70000) == 0
    assert w.call("setfsuid", 5) == 65534
    assert w.call("setfsuid32", 0) == 5
    assert w.call("setfsgid", 6) == 0
    assert w.call("setfsgid", 7) == 6


V3 = struct.pack("<Ii", 0x20080522, 0)


@CASES("capget", "capset", root=True)
def capabilities(w: World) -> None:
    data = bytearray(24)
    assert w.call("capget", V3, data) == 0
    effective, permitted, inheritable, high, *_ = struct.unpack("<6I", data)
    assert effective and permitted & effective == effective
    without = struct.pack("<6I", effective & ~(1 << 7), permitted, inheritable, high, *struct.unpack("<6I", data)[4:])
    assert w.call("capset", V3, without) == 0
    assert w.call("capget", V3, data) == 0
    assert struct.unpack("<6I", data)[0] == effective & ~(1 << 7)
    header = bytearray(struct.pack("<Ii", 5, 0))
    assert w.call("capget", header, data) == -EINVAL
    header = bytearray(struct.pack("<Ii", 0x20080522, -1))
    assert w.call("capget", header, data) == -EINVAL
    assert w.call("capset", struct.pack("<Ii", 0x20080522, 1 << 20), without) == -EPERM
    assert w.call("capset", V3, BAD) == -EFAULT


@CASES("capset", host=False)
def capabilities_go_with_the_last_root_id(w: GuestWorld) -> None:
    data = bytearray(24)
    suffix = "" if w.word == 8 else "32"
    assert w.call(f"setresuid{suffix}", 5, 5, 5) == 0
    assert w.call("capget", V3, data) == 0
    assert not any(data)
    assert w.call("capset", V3, struct.pack("<6I", 1, 1, 0, 0, 0, 0)) == -EPERM


test_guest, test_host, test_proof = CASES.tests()
