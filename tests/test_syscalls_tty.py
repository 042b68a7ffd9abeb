"""ioctl: on files, pipes, devices and pseudo terminals."""

from __future__ import annotations

import struct

import pytest

from sandbox.abi.errno import (
    EAGAIN,
    EBADF,
    EFAULT,
    EINVAL,
    EIO,
    ENODEV,
    ENOSPC,
    ENOTTY,
)
from sandbox.abi.flags import F_GETFD, F_GETFL, O_CLOEXEC, O_NOCTTY, O_NONBLOCK, O_PATH, O_RDWR, O_WRONLY
from sandbox.clock import VirtualClock
from sandbox.vfs import termios as T
from sandbox.vfs.devfs import RNDGETENTCNT
from sandbox.vfs.line_discipline import BACKLOG, LINE_MAX, LineDiscipline
from sandbox.vfs.terminal import Terminal
from sandbox.vfs.termios import Termios
from tests.syscall_cases import Cases, World
from tests.syscall_terminals import (
    FIGETBSZ,
    FIOCLEX,
    FIONBIO,
    FIONCLEX,
    FIONREAD,
    TCFLSH,
    TCGETS,
    TCSETS,
    TCXONC,
    TIOCGPTN,
    TIOCGPTPEER,
    TIOCGWINSZ,
    TIOCSPTLCK,
    TIOCSWINSZ,
    configure,
    exactly,
    number,
    put,
    read,
    settings,
    terminal_pair,
    write,
)
from tests.syscall_worlds import BAD, GuestWorld

CASES = Cases()


# -- what every file knows ---------------------------------------------------------------------------------


@CASES("ioctl")
def randomness_is_never_short(w: World) -> None:
    for device in (b"/dev/random", b"/dev/urandom"):
        fd, bits = w.open(device), bytearray(4)
        assert w.call("ioctl", fd, RNDGETENTCNT, bits) == 0
        assert 1 <= int.from_bytes(bits, "little") <= 4096
        assert w.call("ioctl", fd, RNDGETENTCNT, BAD) == -EFAULT
    assert w.call("ioctl", w.open(b"/dev/zero"), RNDGETENTCNT, bytearray(4)) == -ENOTTY


@CASES("ioctl")
def requests_about_descriptors(w: World) -> None:
    reader, writer = w.pipe()
    assert w.call("ioctl", reader, FIOCLEX, 0) == 0
    assert w.call("fcntl", reader, F_GETFD, 0) == 1
    assert w.call("ioctl", reader, FIONCLEX, 0) == 0
    assert w.call("fcntl", reader, F_GETFD, 0) == 0
    assert put(w, reader, FIONBIO, 1) == 0
    assert w.call("fcntl", reader, F_GETFL, 0) == O_NONBLOCK
    assert put(w, reader, FIONBIO, 0) == 0
    assert w.call("fcntl", reader, F_GETFL, 0) == 0
    write(w, writer, b"abc")
    assert number(w, reader, FIONREAD) == 3
    assert w.call("ioctl", reader, FIONBIO, BAD) == -EFAULT
    assert w.call("ioctl", reader, FIONREAD, BAD) == -EFAULT
    assert w.call("ioctl", reader, TCGETS, BAD) == -ENOTTY
    assert w.call("ioctl", 77, TCGETS, BAD) == -EBADF
    assert w.call("ioctl", w.open(b".", O_PATH), FIOCLEX, 0) == -EBADF


@CASES("ioctl")
def requests_about_files(w: World) -> None:
    w.file(b"f", b"0123456789")
    fd = w.open(b"f")
    assert read(w, fd, 4) == b"0123"
    assert number(w, fd, FIONREAD) == 6
    assert number(w, fd, FIGETBSZ) == 4096
    assert w.call("ioctl", fd, TCGETS, BAD) == -ENOTTY
    assert w.call("ioctl", fd, TIOCGWINSZ, BAD) == -ENOTTY
    assert w.call("ioctl", fd, 0x12345678, 0) == -ENOTTY
    size = w.memory(bytes(8))
    assert w.call("ioctl", fd, 0x545E if w.isa == "arm" else 0x5460, size) == 0
    assert struct.unpack("<q", w.peek(size, 8))[0] == 4096, "what it takes, not what it holds"


@CASES("ioctl")
def devices_are_no_terminals(w: World) -> None:
    null, zero = w.open(b"/dev/null", O_RDWR), w.open(b"/dev/zero", O_RDWR)
    assert w.call("ioctl", null, TCGETS, BAD) == -ENOTTY
    assert read(w, null, 10) == b""
    assert read(w, zero, 10) == bytes(10)
    assert w.call("write", null, b"abc", 3) == 3
    assert w.call("pread64", zero, bytearray(4), 4, 1 << 40) == 4
    assert w.call("ftruncate", null, 0) == -EINVAL
    assert w.call("fallocate", null, 0, 0, 1) == -ENODEV
    assert w.call("write", w.open(b"/dev/full", O_WRONLY), b"abc", 3) == -ENOSPC


# -- pseudo terminals --------------------------------------------------------------------------------------


@CASES("ioctl")
def a_line_goes_through_a_terminal(w: World) -> None:
    master, slave = terminal_pair(w)
    write(w, slave, b"hello\n")
    assert exactly(w, master, 7) == b"hello\r\n"
    write(w, master, b"hi\r")
    assert exactly(w, master, 4) == b"hi\r\n"
    assert read(w, slave) == b"hi\n"


@CASES("ioctl")
def editing_and_echo(w: World) -> None:
    table = [
        (b"ab\x7fc\n", b"ab\b \bc\r\n", b"ac\n"),
        (b"one two\x17x\n", b"one two\b \b\b \b\b \bx\r\n", b"one x\n"),
        (b"abc\x15z\n", b"abc\b \b\b \b\b \bz\r\n", b"z\n"),
        (b"a\x01\x7fb\n", b"a^A\b \b\b \bb\r\n", b"ab\n"),
        (b"a\x16\x03b\n", b"a^\b^Cb\r\n", b"a\x03b\n"),
        (b"ab\x12c\n", b"ab^R\r\nabc\r\n", b"abc\n"),
        (b"x\ty\n", b"x\ty\r\n", b"x\ty\n"),
        (b"\x7f\n", b"\r\n", b"\n"),
        (b"ab\x04", b"ab", b"ab"),
    ]
    master, slave = terminal_pair(w)
    for typed, shown, got in table:
        write(w, master, typed)
        assert exactly(w, master, len(shown)) == shown, typed
        assert read(w, slave) == got, typed
    write(w, master, b"\x04")
    assert read(w, slave) == b"", "an end of file"
    write(w, master, b"one\ntwo\n")
    assert exactly(w, master, 10) == b"one\r\ntwo\r\n"
    assert read(w, slave, 2) == b"on"
    assert read(w, slave) == b"e\n"
    assert read(w, slave) == b"two\n"


@CASES("ioctl")
def settings_of_a_terminal(w: World) -> None:
    master, slave = terminal_pair(w)
    first = settings(w, slave)
    assert isinstance(first[0], int)
    assert first[0] & (T.ICRNL | T.IXON) == T.ICRNL | T.IXON
    assert first[1] == T.OPOST | T.ONLCR
    assert first[3] == 0x8A3B
    assert first[4] == 0
    characters = first[5]
    assert isinstance(characters, bytes)
    assert characters[:17] == bytes.fromhex("031c7f15040001001113 1a00120f17 1600".replace(" ", ""))
    assert settings(w, master) == first
    assert w.call("ioctl", slave, TCGETS, BAD) == -EFAULT
    assert w.call("ioctl", slave, TCSETS, BAD) == -EFAULT
    configure(w, slave, clear_local=T.ECHO, clear_output=T.OPOST, clear_input=T.ICRNL)
    write(w, slave, b"a\n")
    assert exactly(w, master, 2) == b"a\n"
    write(w, master, b"quiet\n")
    assert read(w, slave) == b"quiet\n"
    write(w, slave, b"x")
    assert exactly(w, master, 1) == b"x", "nothing was echoed before"
    assert w.call("ioctl", slave, 0x5424, w.memory(bytes(4))) == 0
    assert w.call("ioctl", slave, TCFLSH, 9) == -EINVAL
    assert w.call("ioctl", slave, TCXONC, 9) == -EINVAL
    assert w.call("ioctl", slave, 0x7777, 0) == -ENOTTY


@CASES("ioctl")
def settings_with_speeds(w: World) -> None:
    _, slave = terminal_pair(w)
    buffer = w.memory(bytes(44))
    assert w.call("ioctl", slave, 0x802C542A, buffer) == 0
    values = list(struct.unpack("<IIIIB19sII", w.peek(buffer, 44)))
    assert values[6:] == [38400, 38400]
    values[3] = T.ICANON
    assert w.call("ioctl", slave, 0x402C542B, w.memory(struct.pack("<IIIIB19sII", *values))) == 0
    assert settings(w, slave)[3] == T.ICANON


@CASES("ioctl")
def raw_mode(w: World) -> None:
    master, slave = terminal_pair(w)
    configure(w, slave, clear_local=T.ICANON | T.ECHO | T.ISIG, clear_input=T.ICRNL | T.IXON)
    write(w, master, b"a\x03\x04\r\x11")
    assert exactly(w, slave, 5) == b"a\x03\x04\r\x11"
    configure(w, slave, vmin=0, vtime=0)
    assert read(w, slave) == b""
    assert w.call("fcntl", slave, 4, O_NONBLOCK) == 0
    assert w.call("read", slave, bytearray(1), 1) in (0, -EAGAIN)


@CASES("ioctl")
def the_size_of_the_window(w: World) -> None:
    master, slave = terminal_pair(w)
    assert w.call("ioctl", master, TIOCSWINSZ, w.memory(struct.pack("<HHHH", 50, 132, 1, 2))) == 0
    buffer = w.memory(bytes(8))
    assert w.call("ioctl", slave, TIOCGWINSZ, buffer) == 0
    assert struct.unpack("<HHHH", w.peek(buffer, 8)) == (50, 132, 1, 2)
    assert w.call("ioctl", slave, TIOCGWINSZ, BAD) == -EFAULT


@CASES("ioctl")
def the_ends_of_a_terminal(w: World) -> None:
    master, slave = terminal_pair(w)
    assert w.call("close", slave) == 0
    assert w.call("read", master, bytearray(1), 1) == -EIO
    slave = w.call("ioctl", master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC)
    assert w.call("fcntl", slave, F_GETFD, 0) == 1
    assert number(w, master, TIOCGPTN) >= 0
    assert w.call("close", master) == 0
    assert read(w, slave) == b""
    assert w.call("write", slave, b"a", 1) == -EIO
    assert w.call("lseek", slave, 0, 0) == -29


@CASES("ioctl")
def a_locked_slave_does_not_open(w: World) -> None:
    master = w.open(b"/dev/ptmx", O_RDWR | O_NOCTTY)
    name = b"/dev/pts/%d" % number(w, master, TIOCGPTN)
    assert w.open(name, O_RDWR | O_NOCTTY) == -EIO
    assert put(w, master, TIOCSPTLCK, 0) == 0
    slave = w.open(name, O_RDWR | O_NOCTTY)
    assert slave == master + 1
    write(w, slave, b"x")
    assert read(w, master) == b"x"
    assert w.call("close", master) == 0
    assert w.open(name, O_RDWR | O_NOCTTY) in (-2, -EIO)


@CASES("ioctl", host=False)
def numbers_of_terminals_are_used_again(w: GuestWorld) -> None:
    masters = [w.open(b"/dev/ptmx", O_RDWR) for _ in range(3)]
    assert [number(w, fd, TIOCGPTN) for fd in masters] == [0, 1, 2]
    assert w.stat(b"/dev/pts/1")["rdev_major"] == 136
    assert w.call("close", masters[1]) == 0
    assert w.stat(b"/dev/pts/1") == {"error": -2}
    assert number(w, w.open(b"/dev/ptmx", O_RDWR), TIOCGPTN) == 1


# -- waiting -----------------------------------------------------------------------------------------------


@CASES("ioctl", host=False)
def terminals_block(w: GuestWorld) -> None:
    master, slave = terminal_pair(w)
    other = w.other()
    buffer = w.memory(bytes(16))
    assert w.blocks("read", slave, buffer, 16)
    write(other, master, b"ab")
    assert w.blocks("read", slave, buffer, 16), "the line is not finished"
    write(other, master, b"\n")
    assert w.again() == 3
    assert read(w, master) == b"ab\r\n"
    assert w.blocks("read", master, buffer, 16)
    write(other, slave, b"out")
    assert w.again() == 3
    write(other, master, b"\x13")
    assert w.blocks("write", slave, b"held", 4)
    write(other, master, b"\x11")
    assert w.again() == 4


@CASES("ioctl", host=False)
def raw_reads_count_and_time(w: GuestWorld) -> None:
    master, slave = terminal_pair(w)
    clock = w.machine.clock
    assert isinstance(clock, VirtualClock)
    buffer = w.memory(bytes(16))
    configure(w, slave, clear_local=T.ICANON | T.ECHO, vmin=3, vtime=0)
    write(w, master, b"ab")
    assert w.blocks("read", slave, buffer, 16)
    write(w.other(), master, b"c")
    assert w.again() == 3
    configure(w, slave, vmin=0, vtime=5)
    assert w.blocks("read", slave, buffer, 16)
    clock.advance(500_000_000)
    assert w.again() == 0
    write(w, master, b"x")
    assert read(w, slave) == b"x"


test_guest, test_host, test_proof = CASES.tests()


# -- the line discipline alone -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "data", "shown"),
    [
        (T.OPOST | T.ONLCR, b"a\nb\n", b"a\r\nb\r\n"),
        (0, b"a\n\t", b"a\n\t"),
        (T.OPOST | T.OCRNL, b"a\rb", b"a\nb"),
        (T.OPOST | T.ONOCR, b"\ra\r", b"a\r"),
        (T.OPOST | T.XTABS, b"ab\tc\t", b"ab      c       "),
        (T.OPOST | T.OLCUC, b"aZ", b"AZ"),
    ],
)
def test_output_is_cooked(flags: int, data: bytes, shown: bytes) -> None:
    settings = Termios()
    settings.output = flags
    assert LineDiscipline(settings).cook(data) == shown


def test_what_is_typed_is_bounded() -> None:
    discipline = LineDiscipline(Termios())
    discipline.type(b"x" * 10000 + b"\n")
    assert discipline.take(20000) == b"x" * LINE_MAX + b"\n"
    for _ in range(3 * BACKLOG // 1000):
        discipline.type(b"y" * 999 + b"\n")
    assert discipline.waiting <= BACKLOG + 1000
    terminal = Terminal(0)
    for _ in range(100):
        terminal.type(b"z" * 1000 + b"\n")
    assert terminal.shown <= 65536


def test_utf8_is_erased_by_the_character() -> None:
    settings = Termios()
    settings.input |= T.IUTF8
    discipline = LineDiscipline(settings)
    discipline.type("aé€".encode() + b"\x7f\x7f\n")
    assert discipline.take(10) == b"a\n"
    assert bytes(discipline.echo).endswith(b"\b \b\b \b\n")
