"""read and write, their positioned and vector forms."""

from __future__ import annotations

import struct

from sandbox.abi.errno import (
    EAGAIN,
    EBADF,
    EFAULT,
    EFBIG,
    EINVAL,
    EISDIR,
    EOPNOTSUPP,
    EPIPE,
    ESPIPE,
)
from sandbox.abi.flags import (
    AT_FDCWD,
    O_APPEND,
    O_CREAT,
    O_DIRECTORY,
    O_NONBLOCK,
    O_PATH,
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
    RLIMIT_FSIZE,
    SEEK_CUR,
    SEEK_SET,
)
from sandbox.abi.signals import SIGPIPE, SIGXFSZ, bit
from sandbox.kernel.transfer import PIECE
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD, SCRATCH, SCRATCH_SIZE, Blocked, GuestWorld

CASES = Cases()
MAX = 0x7FFFF000


def position(w: World, fd: int) -> int:
    return w.call("lseek", fd, 0, SEEK_CUR)


# -- read and write ----------------------------------------------------------------------------------------


@CASES("read")
def read_moves_to_the_end_and_no_further(w: World) -> None:
    w.file(b"f", b"abcdef")
    fd = w.open(b"f")
    buffer = bytearray(b"......")
    assert w.call("read", fd, buffer, 4) == 4
    assert buffer == b"abcd.."
    assert w.call("read", fd, buffer, 4) == 2
    assert buffer == b"efcd.."
    assert w.call("read", fd, buffer, 4) == 0
    assert w.call("read", fd, buffer, 0) == 0


@CASES("read", "write")
def descriptors_must_exist_and_be_open_for_it(w: World) -> None:
    w.file(b"f", b"abc")
    reader, writer = w.open(b"f"), w.open(b"f", O_WRONLY)
    buffer = bytearray(3)
    for fd in (77, -1, writer, w.open(b"f", O_PATH)):
        assert w.call("read", fd, buffer, 3) == -EBADF
    for fd in (77, -1, reader, w.open(b"f", O_PATH)):
        assert w.call("write", fd, b"abc", 3) == -EBADF
        assert w.call("write", fd, b"", 0) == -EBADF
    assert w.call("read", writer, buffer, 0) == -EBADF
    assert w.call("read", w.open(b".", O_DIRECTORY), buffer, 3) == -EISDIR


@CASES("read", "write")
def bad_addresses_move_nothing(w: World) -> None:
    w.file(b"f", b"abc")
    fd = w.open(b"f", O_RDWR)
    assert w.call("read", fd, BAD, 3) == -EFAULT
    assert w.call("read", fd, None, 3) == -EFAULT
    assert w.call("write", fd, BAD, 3) == -EFAULT
    assert position(w, fd) == 0
    assert w.content(b"f") == b"abc"
    assert w.call("read", fd, BAD, 0) == 0
    assert w.call("write", fd, BAD, 0) == 0


@CASES("read", host=False)
def a_fault_in_the_middle_counts_what_came_before(w: GuestWorld) -> None:
    w.file(b"f", b"x" * 10000)
    fd = w.open(b"f", O_RDWR)
    end = SCRATCH + SCRATCH_SIZE
    assert w.call("read", fd, end - 5000, 10000) == 5000
    assert position(w, fd) == 5000
    assert w.call("write", fd, end - 100, 4096) == 100
    reader, writer = w.pipe()
    assert w.call("write", writer, b"0123456789", 10) == 10
    assert w.call("read", reader, BAD, 10) == -EFAULT
    buffer = bytearray(10)
    assert w.call("read", reader, buffer, 10) == 10, "a stream keeps what the guest could not take"
    assert w.call("write", writer, end - 10, 100) == 10


@CASES("read", "write")
def sizes_that_no_memory_has(w: World) -> None:
    w.file(b"f", b"abc")
    fd = w.open(b"f", O_RDWR)
    buffer = w.memory(bytes(64))
    if w.word == 8:
        for size in (-1, 1 << 62, 1 << 48):
            assert w.call("read", fd, buffer, size) == -EFAULT
            assert w.call("write", fd, buffer, size) == -EFAULT
    else:
        assert w.call("read", fd, buffer, 0xFFFFF000) == 3
    assert w.call("lseek", fd, 0, SEEK_SET) == 0
    assert w.call("read", fd, buffer, MAX) == 3
    assert w.peek(buffer, 4) == b"abc\0"


@CASES("write")
def writing_extends_and_appending_ignores_the_position(w: World) -> None:
    w.file(b"f", b"abc")
    fd = w.open(b"f", O_WRONLY | O_APPEND)
    assert w.call("write", fd, b"de", 2) == 2
    assert position(w, fd) == 5
    assert w.call("lseek", fd, 0, SEEK_SET) == 0
    assert w.call("write", fd, b"f", 1) == 1
    assert w.content(b"f") == b"abcdef"
    hole = w.open(b"h", O_CREAT | O_RDWR)
    assert w.call("lseek", hole, 3, SEEK_SET) == 3
    assert w.call("write", hole, b"x", 1) == 1
    assert w.content(b"h") == b"\0\0\0x"


@CASES("write", host=False)
def large_transfers_go_in_pieces(w: GuestWorld) -> None:
    size = 3 * PIECE + 5
    data = w.memory(bytes(range(256)) * (size // 256 + 1))
    fd = w.open(b"f", O_RDWR | O_CREAT)
    assert w.call("write", fd, data, size) == size
    assert w.call("lseek", fd, 0, SEEK_SET) == 0
    copy = w.memory(bytes(size))
    assert w.call("read", fd, copy, size + 100) == size
    assert w.peek(copy, size) == w.peek(data, size)


@CASES("write", host=False)
def a_full_filesystem_takes_what_fits(w: GuestWorld) -> None:
    fd = w.open(b"f", O_RDWR | O_CREAT)
    data = w.memory(bytes(1 << 20))
    total = 0
    while (written := w.call("write", fd, data, 1 << 20)) == 1 << 20:
        total += written
    assert written == -28 or 0 < written < 1 << 20
    assert w.call("write", fd, data, 1 << 20) == -28
    assert w.fstat(fd)["size"] == total + max(0, written)


@CASES("write")
def the_file_size_limit_cuts_and_then_refuses(w: World) -> None:
    old = bytearray(16)
    limit = struct.pack("<QQ", 10, 10)
    assert w.call("prlimit64", 0, RLIMIT_FSIZE, limit, old) == 0
    fd = w.open(b"f", O_RDWR | O_CREAT)
    assert w.call("write", fd, b"0123456789abcdef", 16) == 10
    assert w.call("write", fd, b"x", 1) == -EFBIG
    if isinstance(w, GuestWorld):
        assert w.pending_signals & bit(SIGXFSZ)


@CASES("read", "write", host=False)
def pipes_block_and_say_when_nobody_is_there(w: GuestWorld) -> None:
    reader, writer = w.pipe()
    buffer = bytearray(4)
    assert w.blocks("read", reader, buffer, 4)
    assert w.call("write", writer, b"ab", 2) == 2
    assert w.call("read", reader, buffer, 4) == 2
    assert w.call("close", writer) == 0
    assert w.call("read", reader, buffer, 4) == 0
    reader, writer = w.pipe(O_NONBLOCK)
    assert w.call("read", reader, buffer, 4) == -EAGAIN
    assert w.call("close", reader) == 0
    assert w.call("write", writer, b"ab", 2) == -EPIPE
    assert w.pending_signals & bit(SIGPIPE)


@CASES("write", host=False)
def a_long_write_to_a_pipe_goes_on_where_it_slept(w: GuestWorld) -> None:
    reader, writer = w.pipe()
    data = bytes(range(251)) * 400
    address = w.memory(data)
    assert w.blocks("write", writer, address, len(data))
    assert w.task.restart["done"] == 65536
    other = w.other()
    got = bytearray()
    buffer = bytearray(30000)
    while len(got) < len(data):
        count = other.call("read", reader, buffer, len(buffer))
        got += buffer[:count]
        if w.pending is not None:
            try:
                assert w.again() == len(data)
            except Blocked:
                continue
    assert got == data


@CASES("write")
def a_full_pipe_takes_what_fits_when_it_must_not_wait(w: World) -> None:
    _, writer = w.pipe(O_NONBLOCK)
    data = w.memory(bytes(70000))
    assert w.call("write", writer, data, 70000) == 65536
    assert w.call("write", writer, data, 1) == -EAGAIN


@CASES("read", "write")
def an_empty_write_to_a_pipe_is_nothing(w: World) -> None:
    reader, writer = w.pipe(O_NONBLOCK)
    assert w.call("write", writer, b"", 0) == 0
    assert w.call("read", reader, bytearray(1), 1) == -EAGAIN
    assert w.call("close", reader) == 0
    assert w.call("write", writer, b"", 0) == 0
    assert w.call("write", writer, b"x", 1) == -EPIPE


# -- positioned --------------------------------------------------------------------------------------------


@CASES("pread64", "pwrite64")
def positioned_calls_leave_the_position(w: World) -> None:
    w.file(b"f", b"0123456789")
    fd = w.open(b"f", O_RDWR)
    assert w.call("lseek", fd, 2, SEEK_SET) == 2
    buffer = bytearray(4)
    assert w.call("pread64", fd, buffer, 4, 5) == 4
    assert buffer == b"5678"
    assert w.call("pread64", fd, buffer, 4, 8) == 2
    assert w.call("pread64", fd, buffer, 4, 100) == 0
    assert w.call("pwrite64", fd, b"AB", 2, 9) == 2
    assert position(w, fd) == 2
    assert w.content(b"f") == b"012345678AB"


@CASES("pread64", "pwrite64")
def positions_have_64_bits(w: World) -> None:
    fd = w.open(b"f", O_RDWR | O_CREAT | 0o100000)
    far = (5 << 32) + 7
    assert w.call("pwrite64", fd, b"far", 3, far) == 3
    assert w.fstat(fd)["size"] == far + 3
    buffer = bytearray(8)
    assert w.call("pread64", fd, buffer, 8, far - 2) == 5
    assert buffer[:5] == b"\0\0far"


@CASES("pread64", "pwrite64")
def positioned_calls_need_positions(w: World) -> None:
    reader, writer = w.pipe()
    w.file(b"f", b"abc")
    fd = w.open(b"f", O_RDWR)
    buffer = bytearray(3)
    assert w.call("pread64", reader, buffer, 3, 0) == -ESPIPE
    assert w.call("pwrite64", writer, b"abc", 3, 0) == -ESPIPE
    assert w.call("pread64", fd, buffer, 3, -1) == -EINVAL
    assert w.call("pwrite64", fd, b"abc", 3, -1) == -EINVAL
    assert w.call("pread64", 77, buffer, 3, -1) == -EINVAL
    assert w.call("pread64", 77, buffer, 3, 0) == -EBADF
    assert w.call("pwrite64", 77, b"abc", 3, 0) == -EBADF
    assert w.call("pread64", fd, BAD, 3, 0) == -EFAULT
    assert w.call("pwrite64", fd, BAD, 3, 0) == -EFAULT
    assert w.call("pread64", w.open(b"."), buffer, 3, 0) == -EISDIR


@CASES("pwrite64")
def appending_files_ignore_the_offset_too(w: World) -> None:
    w.file(b"f", b"abc")
    fd = w.open(b"f", O_WRONLY | O_APPEND)
    assert w.call("pwrite64", fd, b"d", 1, 0) == 1
    assert w.content(b"f") == b"abcd"


# -- vectors -----------------------------------------------------------------------------------------------


@CASES("readv")
def readv_fills_one_part_after_the_other(w: World) -> None:
    w.file(b"f", b"0123456789")
    fd = w.open(b"f")
    first, second = w.memory(b"..."), w.memory(b"........")
    assert w.call("readv", fd, w.vector([(first, 3), (0, 0), (second, 4)]), 3) == 7
    assert w.peek(first, 3) == b"012"
    assert w.peek(second, 8) == b"3456...."
    assert w.call("readv", fd, w.vector([(first, 2), (second, 8)]), 2) == 3
    assert w.peek(first, 3) == b"782"
    assert w.peek(second, 2) == b"94"


@CASES("writev")
def writev_gathers(w: World) -> None:
    fd = w.open(b"f", O_RDWR | O_CREAT)
    parts = [(w.memory(b"abc"), 3), (BAD, 0), (w.memory(b"defg"), 4)]
    assert w.call("writev", fd, w.vector(parts), 3) == 7
    assert w.content(b"f") == b"abcdefg"
    assert w.call("writev", fd, None, 0) == 0


@CASES("readv", "writev")
def vectors_are_bounded(w: World) -> None:
    w.file(b"f", b"abc")
    fd = w.open(b"f", O_RDWR)
    one = (w.memory(bytes(16)), 1)
    many = w.vector([one] * 1025)
    for name in ("readv", "writev"):
        assert w.call(name, fd, many, 1025) == -EINVAL
        assert w.call(name, fd, many, -1) == -EINVAL
        assert w.call(name, fd, BAD, 1) == -EFAULT
        assert w.call(name, fd, w.vector([(one[0], -1)]), 1) == -EINVAL
        assert w.call(name, 77, many, 1025) == -EBADF
    assert w.call("writev", fd, many, 1024) == 1024


@CASES("readv", "writev")
def vectors_with_bad_parts_move_what_lies_before(w: World) -> None:
    w.file(b"f", b"abcdef")
    fd = w.open(b"f", O_RDWR)
    good = w.memory(b"....")
    assert w.call("readv", fd, w.vector([(good, 2), (BAD, 2)]), 2) == 2
    assert position(w, fd) == 2
    assert w.call("readv", fd, w.vector([(BAD, 2), (good, 2)]), 2) == -EFAULT
    assert w.call("writev", fd, w.vector([(good, 2), (BAD, 2)]), 2) == 2
    assert w.call("writev", fd, w.vector([(BAD, 2), (good, 2)]), 2) == -EFAULT
    assert w.content(b"f") == b"ababef"


@CASES("preadv", "pwritev")
def positioned_vectors(w: World) -> None:
    w.file(b"f", b"0123456789")
    fd = w.open(b"f", O_RDWR)
    first, second = w.memory(b"..."), w.memory(b"...")
    vector = w.vector([(first, 2), (second, 3)])
    assert w.call("preadv", fd, vector, 2, 4, 0) == 5
    assert w.peek(first, 2) + w.peek(second, 3) == b"45678"
    assert w.call("pwritev", fd, vector, 2, 8, 0) == 5
    assert w.content(b"f") == b"0123456745678"
    assert position(w, fd) == 0
    assert w.call("preadv", fd, vector, 2, -1, -1) == -EINVAL
    assert w.call("pwritev", fd, vector, 2, -1, -1) == -EINVAL
    reader, writer = w.pipe()
    assert w.call("preadv", reader, vector, 2, 0, 0) == -ESPIPE
    assert w.call("pwritev", writer, vector, 2, 0, 0) == -ESPIPE


@CASES("preadv", "pwritev", isas=("i386", "arm"))
def positioned_vectors_have_a_high_word(w: World) -> None:
    fd = w.open(b"f", O_RDWR | O_CREAT | 0o100000)
    vector = w.vector([(w.memory(b"abc"), 3)])
    assert w.call("pwritev", fd, vector, 1, 16, 1) == 3
    assert w.fstat(fd)["size"] == (1 << 32) + 19
    assert w.call("preadv", fd, vector, 1, 17, 1) == 2


@CASES("preadv2", "pwritev2")
def the_second_forms_take_flags(w: World) -> None:
    w.file(b"f", b"0123456789")
    fd = w.open(b"f", O_RDWR)
    buffer = w.memory(b"...")
    vector = w.vector([(buffer, 3)])
    assert w.call("preadv2", fd, vector, 1, 4, 0, 0) == 3
    assert w.peek(buffer, 3) == b"456"
    assert w.call("preadv2", fd, vector, 1, -1, -1, 0) == 3
    assert position(w, fd) == 3
    assert w.call("pwritev2", fd, vector, 1, 0, 0, 0x10) == 3
    assert w.content(b"f") == b"0123456789012"
    assert w.call("preadv2", fd, vector, 1, 0, 0, 0x4000) == -EOPNOTSUPP
    assert w.call("pwritev2", fd, vector, 1, 0, 0, 0x4000) == -EOPNOTSUPP
    reader, writer = w.pipe()
    assert w.call("preadv2", reader, vector, 1, -1, -1, 8) == -EAGAIN
    assert w.call("pwritev2", writer, vector, 1, 0, 0, 0) == -ESPIPE


test_guest, test_host, test_proof = CASES.tests()


# -- register pairs, by hand -------------------------------------------------------------------------------


def test_64_bit_arguments_sit_in_aligned_pairs_on_arm_only() -> None:
    from tests.syscall_worlds import guest

    for isa, registers in {
        "arm": (0, 0, 3, 0, 5, 0),  # r4 and r5: r3 is skipped
        "i386": (0, 0, 3, 5, 0, 0),
        "x86_64": (0, 0, 3, 5, 0, 0),
    }.items():
        with guest(isa) as w:
            w.file(b"f", b"0123456789")
            fd = w.open(b"f")
            buffer = w.memory(bytes(3))
            arguments = [fd, buffer, *registers[2:]]
            assert w.raw(w.number["pread64"], arguments) == 3
            assert w.peek(buffer, 3) == b"567", isa
            assert w.call("openat", AT_FDCWD, b"f", O_RDONLY, 0) > 0
