"""The network interface lo, as ioctl on a socket shows it."""

from __future__ import annotations

import struct

from sandbox.abi import sockets as S
from sandbox.abi.errno import EFAULT, EINVAL, ENODEV, ENOTTY, EPERM
from sandbox.kernel import network_interface as N
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD, GuestWorld

CASES = Cases()


def new(w: World, family: int, kind: int) -> int:
    fd = w.call("socket", family, kind, 0)
    assert fd >= 0
    return fd


def request(w: World, name: bytes, value: bytes = b"") -> bytearray:
    return bytearray((name.ljust(16, b"\0") + value).ljust(40 if w.word == 8 else 32, b"\0"))


# What a request about lo puts behind its name: on every Linux, and where it is up.
ALWAYS = {
    N.SIOCGIFMTU: struct.pack("<i", 65536),
    N.SIOCGIFHWADDR: struct.pack("<H6x", 772),
    N.SIOCGIFINDEX: struct.pack("<i", 1),
    N.SIOCGIFMAP: bytes(16),
}
WHEN_UP = {
    N.SIOCGIFFLAGS: struct.pack("<H", N.UP | N.LOOPBACK | N.RUNNING),
    N.SIOCGIFADDR: struct.pack("<HH4B", S.AF_INET, 0, 127, 0, 0, 1),
    N.SIOCGIFNETMASK: struct.pack("<HH4B", S.AF_INET, 0, 255, 0, 0, 0),
}


def check(w: World, fd: int, table: dict[int, bytes]) -> None:
    for number, expected in table.items():
        data = request(w, b"lo")
        assert w.call("ioctl", fd, number, data) == 0
        assert data[16 : 16 + len(expected)] == expected, hex(number)
        assert w.call("ioctl", fd, number, request(w, b"none")) == -ENODEV
        assert w.call("ioctl", fd, number, BAD) == -EFAULT


@CASES("ioctl")
def the_loopback_interface(w: World) -> None:
    fd = new(w, S.AF_INET, S.SOCK_DGRAM)
    check(w, fd, ALWAYS)
    data = request(w, b"", struct.pack("<i", 1))
    assert w.call("ioctl", fd, N.SIOCGIFNAME, data) == 0
    assert data[:16] == b"lo".ljust(16, b"\0")
    assert w.call("ioctl", fd, N.SIOCGIFNAME, request(w, b"", struct.pack("<i", 9999))) == -ENODEV
    unix_fd = new(w, S.AF_UNIX, S.SOCK_DGRAM)
    assert w.call("ioctl", unix_fd, N.SIOCGIFINDEX, request(w, b"lo")) == 0
    assert w.call("ioctl", unix_fd, N.SIOCGIFADDR, request(w, b"lo")) == -ENOTTY
    assert w.call("ioctl", w.pipe()[0], N.SIOCGIFINDEX, request(w, b"lo")) == -ENOTTY
    stream = new(w, S.AF_INET, S.SOCK_STREAM)
    assert w.call("ioctl", stream, N.SIOCATMARK, bytearray(b"\1\1\1\1")) == 0
    assert w.call("ioctl", stream, N.SIOCATMARK, BAD) == -EFAULT


@CASES("ioctl", host=False)
def the_interfaces_are_listed(w: GuestWorld) -> None:
    fd, size = new(w, S.AF_INET, S.SOCK_DGRAM), 40 if w.word == 8 else 32
    check(w, fd, WHEN_UP)
    for room, buffer, used in ((0, 0, size), (100, w.memory(bytes(100)), size), (8, w.memory(bytes(8)), 0)):
        ask = bytearray(w.words(room, buffer))
        assert w.call("ioctl", fd, N.SIOCGIFCONF, ask) == 0
        assert int.from_bytes(ask[:4], "little") == used
        if buffer and used:
            assert w.peek(buffer, 24) == b"lo".ljust(16, b"\0") + WHEN_UP[N.SIOCGIFADDR]
    assert w.call("ioctl", fd, N.SIOCGIFCONF, bytearray(w.words(-1, 0))) == -EINVAL


@CASES("ioctl", host=False)
def the_interface_stays_as_it_is(w: GuestWorld) -> None:
    fd = new(w, S.AF_INET, S.SOCK_DGRAM)
    assert w.call("ioctl", fd, N.SIOCSIFFLAGS, request(w, b"lo", b"\x49")) == 0
    assert w.call("ioctl", fd, N.SIOCSIFFLAGS, request(w, b"lo", b"\x48")) == -EPERM
    assert w.call("ioctl", fd, N.SIOCSIFADDR, request(w, b"lo", WHEN_UP[N.SIOCGIFADDR])) == 0
    assert w.call("ioctl", fd, N.SIOCSIFADDR, request(w, b"lo", WHEN_UP[N.SIOCGIFNETMASK])) == -EPERM
    assert w.call("ioctl", fd, N.SIOCSIFFLAGS, request(w, b"none", b"\x49")) == -ENODEV
    w.become(1000, 1000)
    assert w.call("ioctl", fd, N.SIOCSIFFLAGS, request(w, b"lo", b"\x49")) == -EPERM


test_guest, test_host, test_proof = CASES.tests()
