"""sendfile, copy_file_range, splice, tee, vmsplice."""

from __future__ import annotations

import struct

from sandbox.abi.errno import (
    EAGAIN,
    EBADF,
    EFAULT,
    EINVAL,
    EISDIR,
    EPIPE,
    ESPIPE,
)
from sandbox.abi.flags import (
    O_APPEND,
    O_CREAT,
    O_NONBLOCK,
    O_RDWR,
    O_WRONLY,
    SEEK_CUR,
)
from sandbox.abi.signals import SIGPIPE, bit
from sandbox.kernel.sys_splice import SPLICE_F_NONBLOCK
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD, GuestWorld

CASES = Cases()


def position(w: World, fd: int) -> int:
    return w.call("lseek", fd, 0, SEEK_CUR)


# -- from file to file -------------------------------------------------------------------------------------


@CASES("sendfile")
def sendfile_moves_the_position_or_the_offset(w: World) -> None:
    w.file(b"f", b"0123456789")
    source, target = w.open(b"f"), w.open(b"g", O_WRONLY | O_CREAT)
    assert w.call("sendfile", target, source, None, 4) == 4
    assert position(w, source) == 4
    offset = bytearray(w.words(7))
    assert w.call("sendfile", target, source, offset, 100) == 3
    assert offset == w.words(10)
    assert position(w, source) == 4
    assert w.content(b"g") == b"0123789"
    assert w.call("sendfile", target, source, offset, 100) == 0


@CASES("sendfile")
def sendfile_refuses(w: World) -> None:
    w.file(b"f", b"0123456789")
    source, target = w.open(b"f"), w.open(b"g", O_WRONLY | O_CREAT)
    reader, writer = w.pipe()
    assert w.call("sendfile", 77, source, None, 1) == -EBADF
    assert w.call("sendfile", target, 77, None, 1) == -EBADF
    assert w.call("sendfile", source, source, None, 1) == -EBADF
    assert w.call("sendfile", target, target, None, 1) == -EBADF
    assert w.call("sendfile", target, source, BAD, 1) == -EFAULT
    assert w.call("sendfile", target, source, bytearray(w.words(-1)), 1) == -EINVAL
    assert w.call("sendfile", target, reader, bytearray(w.words(0)), 1) == -ESPIPE
    assert w.call("sendfile", w.open(b"g", O_WRONLY | O_APPEND), source, None, 1) == -EINVAL
    assert w.call("sendfile", target, w.open(b"."), None, 1) == -EINVAL
    assert w.call("sendfile", writer, source, None, 3) == 3
    buffer = bytearray(3)
    assert w.call("read", reader, buffer, 3) == 3
    assert buffer == b"012"


@CASES("sendfile64")
def sendfile64_has_wide_offsets(w: World) -> None:
    fd = w.open(b"f", O_RDWR | O_CREAT | 0o100000)
    assert w.call("pwrite64", fd, b"far", 3, 1 << 33) == 3
    target = w.open(b"g", O_WRONLY | O_CREAT)
    offset = bytearray(struct.pack("<q", 1 << 33))
    assert w.call("sendfile64", target, fd, offset, 10) == 3
    assert struct.unpack("<q", offset)[0] == (1 << 33) + 3
    assert w.content(b"g") == b"far"


@CASES("sendfile", host=False)
def sendfile_to_a_full_pipe_goes_on_later(w: GuestWorld) -> None:
    data = bytes(range(251)) * 400
    w.file(b"f", data)
    source = w.open(b"f")
    reader, writer = w.pipe()
    assert w.blocks("sendfile", writer, source, None, len(data))
    assert position(w.other(), source) == 65536
    buffer = bytearray(65536)
    other = w.other()
    assert other.call("read", reader, buffer, 65536) == 65536
    assert w.again() == len(data)
    assert buffer == data[:65536]


@CASES("copy_file_range")
def copy_file_range_copies(w: World) -> None:
    w.file(b"f", b"0123456789")
    source, target = w.open(b"f"), w.open(b"g", O_RDWR | O_CREAT)
    assert w.call("copy_file_range", source, None, target, None, 4, 0) == 4
    first, second = bytearray(struct.pack("<q", 8)), bytearray(struct.pack("<q", 6))
    assert w.call("copy_file_range", source, first, target, second, 100, 0) == 2
    assert struct.unpack("<qq", first + second) == (10, 8)
    assert w.content(b"g") == b"0123\0\x0089"
    assert position(w, source) == 4
    assert position(w, target) == 4
    assert w.call("copy_file_range", source, first, target, second, 100, 0) == 0


@CASES("copy_file_range")
def copy_file_range_refuses(w: World) -> None:
    w.file(b"f", b"0123456789")
    both = w.open(b"f", O_RDWR)
    source, target = w.open(b"f"), w.open(b"g", O_WRONLY | O_CREAT)
    _, writer = w.pipe()
    zero, five = bytearray(8), bytearray(struct.pack("<q", 5))
    assert w.call("copy_file_range", source, None, target, None, 1, 1) == -EINVAL
    assert w.call("copy_file_range", target, None, target, None, 1, 0) == -EBADF
    assert w.call("copy_file_range", source, None, source, None, 1, 0) == -EBADF
    assert w.call("copy_file_range", source, None, w.open(b"g", O_WRONLY | O_APPEND), None, 1, 0) == -EBADF
    assert w.call("copy_file_range", w.open(b"."), None, target, None, 1, 0) == -EISDIR
    assert w.call("copy_file_range", source, None, writer, None, 1, 0) == -EINVAL
    assert w.call("copy_file_range", both, zero, both, five, 6, 0) == -EINVAL
    assert w.call("copy_file_range", both, zero, both, five, 5, 0) == 5
    assert w.call("copy_file_range", source, BAD, target, None, 1, 0) == -EFAULT
    assert w.call("copy_file_range", 77, None, target, None, 1, 0) == -EBADF


@CASES("splice")
def splice_in_and_out_of_a_pipe(w: World) -> None:
    w.file(b"f", b"0123456789")
    source, target = w.open(b"f"), w.open(b"g", O_WRONLY | O_CREAT)
    reader, writer = w.pipe()
    offset = bytearray(struct.pack("<q", 6))
    assert w.call("splice", source, offset, writer, None, 3, 0) == 3
    assert struct.unpack("<q", offset)[0] == 9
    assert w.call("splice", source, None, writer, None, 2, 0) == 2
    assert w.call("splice", reader, None, target, None, 100, 0) == 5
    assert w.content(b"g") == b"67801"
    assert w.call("splice", reader, None, target, None, 100, 2) == -EAGAIN
    assert w.call("splice", w.open(b"g"), bytearray(struct.pack("<q", 100)), writer, None, 2, 0) == 0
    assert w.call("close", writer) == 0
    assert w.call("splice", reader, None, target, None, 100, 0) == 0


@CASES("splice")
def splice_looks_at_the_pipe_first(w: World) -> None:
    reader, writer = w.pipe(O_NONBLOCK)
    directory = w.open(b".")
    assert w.call("splice", directory, None, writer, None, 1, 0) == -EINVAL
    assert w.call("write", writer, bytes(65536), 65536) == 65536
    assert w.call("splice", directory, None, writer, None, 1, 2) == -EAGAIN
    assert w.call("close", reader) == 0
    assert w.call("splice", directory, None, writer, None, 1, 0) == -EPIPE


@CASES("splice", "tee")
def splice_and_tee_refuse(w: World) -> None:
    w.file(b"f", b"0123456789")
    fd = w.open(b"f", O_RDWR)
    reader, writer = w.pipe()
    assert w.call("splice", fd, None, fd, None, 1, 0) == -EINVAL
    assert w.call("splice", reader, None, writer, None, 1, 0) == -EINVAL
    assert w.call("splice", reader, bytearray(8), fd, None, 1, 0) == -ESPIPE
    assert w.call("splice", fd, None, writer, bytearray(8), 1, 0) == -ESPIPE
    assert w.call("splice", fd, None, writer, None, 1, 0x10) == -EINVAL
    assert w.call("splice", writer, None, fd, None, 1, 0) == -EBADF
    assert w.call("splice", fd, None, reader, None, 1, 0) == -EBADF
    assert w.call("splice", 77, None, writer, None, 0, 0) == 0
    assert w.call("splice", 77, None, writer, None, 1, 0) == -EBADF
    assert w.call("splice", fd, BAD, writer, None, 1, 0) == -EFAULT
    assert w.call("tee", fd, writer, 1, 0) == -EINVAL
    assert w.call("tee", reader, writer, 1, 0) == -EINVAL
    assert w.call("tee", reader, writer, 1, 0x10) == -EINVAL
    assert w.call("tee", writer, writer, 1, 0) == -EBADF


@CASES("tee", "splice")
def tee_copies_and_splice_moves_between_pipes(w: World) -> None:
    reader, writer = w.pipe()
    second, target = w.pipe()
    buffer = bytearray(4)
    assert w.call("tee", reader, target, 4, 2) == -EAGAIN
    assert w.call("write", writer, b"abcdef", 6) == 6
    assert w.call("tee", reader, target, 4, 0) == 4
    assert w.call("read", second, buffer, 4) == 4
    assert buffer == b"abcd"
    assert w.call("splice", reader, None, target, None, 3, 0) == 3
    assert w.call("read", second, buffer, 4) == 3
    assert buffer[:3] == b"abc"
    assert w.call("read", reader, buffer, 4) == 3
    assert buffer[:3] == b"def"


@CASES("splice", "tee", host=False)
def splice_waits_for_data_and_for_room(w: GuestWorld) -> None:
    reader, writer = w.pipe()
    second, target = w.pipe()
    assert w.blocks("splice", reader, None, target, None, 3, 0)
    assert w.blocks("tee", reader, target, 3, 0)
    other = w.other()
    assert other.call("write", writer, b"abc", 3) == 3
    assert w.again() == 3
    w.file(b"f", bytes(70000))
    source = w.open(b"f")
    assert w.call("splice", source, None, writer, None, 70000, 0) == 65536 - 4096, "a page is in use already"
    assert w.blocks("splice", source, None, writer, None, 70000, 0)
    assert other.call("close", second) == 0
    assert w.call("close", second) == 0
    assert w.call("splice", reader, None, target, None, 70000, 0) == -EPIPE
    assert w.pending_signals & bit(SIGPIPE)


@CASES("vmsplice")
def vmsplice_gives_what_there_is_room_for(w: World) -> None:
    reader, writer = w.pipe()
    page = w.memory(bytes(4096))
    much = w.vector([(page, 4096)] * 20)
    given = w.call("vmsplice", writer, much, 20, 0)
    assert 4096 <= given <= 65536
    assert w.call("vmsplice", writer, much, 20, SPLICE_F_NONBLOCK) == -EAGAIN
    if isinstance(w, GuestWorld):
        assert w.blocks("vmsplice", writer, much, 20, 0)
        assert w.call("read", reader, bytearray(4096), 4096) == 4096
        assert w.call("vmsplice", writer, much, 20, 0) == 4096
    w.call("close", reader)


@CASES("vmsplice")
def vmsplice_goes_both_ways(w: World) -> None:
    reader, writer = w.pipe()
    assert w.call("vmsplice", writer, w.vector([(w.memory(b"abc"), 3)]), 1, 0) == 3
    buffer = w.memory(b"....")
    assert w.call("vmsplice", reader, w.vector([(buffer, 4)]), 1, 0) == 3
    assert w.peek(buffer, 4) == b"abc."
    w.file(b"f")
    assert w.call("vmsplice", w.open(b"f"), w.vector([(buffer, 4)]), 1, 0) == -EBADF
    assert w.call("vmsplice", writer, w.vector([(buffer, 4)]), 1, 0x10) == -EINVAL


test_guest, test_host, test_proof = CASES.tests()
