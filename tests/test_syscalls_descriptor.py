"""dup, fcntl, pipe, fsync and the hints."""

from __future__ import annotations

import struct

from sandbox.abi import flags as F
from sandbox.abi.errno import (
    EAGAIN,
    EBADF,
    EBUSY,
    EFAULT,
    EINVAL,
    EMFILE,
    EPERM,
    ESPIPE,
    ESRCH,
)
from sandbox.abi.flags import (
    O_APPEND,
    O_ASYNC,
    O_CLOEXEC,
    O_CREAT,
    O_NOATIME,
    O_NONBLOCK,
    O_PATH,
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
    POLLIN,
    POLLRDNORM,
    RLIMIT_NOFILE,
    SEEK_CUR,
    SEEK_SET,
    open_flags,
)
from sandbox.abi.signals import POLL_IN, SIG_BLOCK, SIGIO, SIGUSR1, bit
from sandbox.abi.sockets import AF_UNIX, SOCK_STREAM
from sandbox.kernel.sys_tty import FIOASYNC
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD, GuestWorld

CASES = Cases()


def flags_of(w: World, fd: int) -> int:
    return open_flags(w.isa, w.call("fcntl", fd, F.F_GETFL, 0))


# -- duplicates --------------------------------------------------------------------------------------------


@CASES("dup", "dup3", "dup2")
def duplicates_share_the_open_file(w: World) -> None:
    w.file(b"f", b"0123456789")
    fd = w.open(b"f", O_RDONLY | O_CLOEXEC)
    assert (fd, w.call("dup", fd)) == (3, 4)
    assert w.call("dup2", fd, 9) == 9
    assert w.call("dup3", fd, 7, O_CLOEXEC) == 7
    assert [w.call("fcntl", number, F.F_GETFD, 0) for number in (3, 4, 9, 7)] == [1, 0, 0, 1]
    assert w.call("lseek", 9, 5, SEEK_SET) == 5
    assert w.call("lseek", 4, 0, SEEK_CUR) == 5
    assert w.call("close", fd) == 0
    assert w.call("read", 7, bytearray(5), 5) == 5


@CASES("dup", "dup3")
def duplicates_of_what(w: World) -> None:
    fd = w.open(b".")
    assert w.call("dup", 77) == -EBADF
    assert w.call("dup", -1) == -EBADF
    assert w.call("dup3", 77, 8, 0) == -EBADF
    assert w.call("dup3", fd, fd, 0) == -EINVAL
    assert w.call("dup3", fd, 8, O_NONBLOCK) == -EINVAL
    assert w.call("dup3", 77, -1, 0) == -EBADF
    assert w.call("dup3", fd, -1, 0) == -EBADF
    assert w.call("dup3", fd, 1 << 30, 0) == -EBADF
    assert w.call("prlimit64", 0, RLIMIT_NOFILE, struct.pack("<QQ", 5, 5), None) == 0
    assert w.call("dup3", fd, 5, 0) == -EBADF
    assert w.call("dup", fd) == 4
    assert w.call("dup", fd) == -EMFILE


@CASES("dup2")
def dup2_onto_itself_and_onto_others(w: World) -> None:
    reader, writer = w.pipe()
    other = w.open(b".")
    assert w.call("dup2", other, other) == other
    assert w.call("dup2", 77, 77) == -EBADF
    assert w.call("dup2", other, -1) == -EBADF
    assert w.call("dup2", other, writer) == writer
    assert w.call("read", reader, bytearray(1), 1) == 0, "the pipe's only writer was closed"


# -- fcntl -------------------------------------------------------------------------------------------------


@CASES("fcntl")
def fcntl_duplicates_from_a_minimum(w: World) -> None:
    fd = w.open(b".")
    assert w.call("fcntl", fd, F.F_DUPFD, 10) == 10
    assert w.call("fcntl", fd, F.F_DUPFD, 10) == 11
    assert w.call("fcntl", fd, F.F_DUPFD_CLOEXEC, 0) == 4
    assert w.call("fcntl", 4, F.F_GETFD, 0) == 1
    assert w.call("fcntl", 10, F.F_GETFD, 0) == 0
    assert w.call("prlimit64", 0, RLIMIT_NOFILE, struct.pack("<QQ", 12, 12), None) == 0
    assert w.call("fcntl", fd, F.F_DUPFD, 12) == -EINVAL
    assert w.call("fcntl", fd, F.F_DUPFD, -1) == -EINVAL
    assert w.call("fcntl", fd, F.F_DUPFD, 10) == -EMFILE
    assert w.call("fcntl", 77, F.F_DUPFD, 0) == -EBADF


@CASES("fcntl")
def fcntl_flags(w: World) -> None:
    fd = w.open(b"f", O_RDWR | O_CREAT)
    assert w.call("fcntl", fd, F.F_SETFD, 3) == 0
    assert w.call("fcntl", fd, F.F_GETFD, 0) == 1
    assert w.call("fcntl", fd, F.F_SETFD, 2) == 0
    assert w.call("fcntl", fd, F.F_GETFD, 0) == 0
    before = flags_of(w, fd)
    wanted = O_APPEND | O_NONBLOCK | O_NOATIME | O_WRONLY | O_CREAT
    assert w.call("fcntl", fd, F.F_SETFL, open_flags(w.isa, wanted)) == 0
    assert flags_of(w, fd) == before | O_APPEND | O_NONBLOCK | O_NOATIME
    assert w.call("fcntl", fd, F.F_SETFL, 0) == 0
    assert flags_of(w, fd) == before
    assert w.call("fcntl", fd, 999, 0) == -EINVAL
    assert w.call("fcntl", 77, 999, 0) == -EBADF


@CASES("fcntl")
def a_path_descriptor_knows_few_commands(w: World) -> None:
    fd = w.open(b".", O_PATH)
    assert w.call("fcntl", fd, F.F_DUPFD, 9) == 9
    assert w.call("fcntl", fd, F.F_GETFD, 0) == 0
    assert w.call("fcntl", fd, F.F_SETFD, 1) == 0
    assert flags_of(w, fd) == O_PATH
    for command in (F.F_SETFL, F.F_GETOWN, F.F_GETPIPE_SZ, F.F_GETLK):
        assert w.call("fcntl", fd, command, 0) == -EBADF


@CASES("fcntl", root=True)
def no_atime_is_for_owners(w: World) -> None:
    w.file(b"f", b"", 0o666)
    fd = w.open(b"f")
    w.become(1000, 1000)
    assert w.call("fcntl", fd, F.F_SETFL, open_flags(w.isa, O_NOATIME | O_APPEND)) == -EPERM
    assert not flags_of(w, fd) & O_APPEND


@CASES("fcntl")
def owners_of_signals_are_remembered(w: World) -> None:
    reader, _ = w.pipe()
    me = w.call("getpid")
    assert w.call("fcntl", reader, F.F_GETOWN, 0) == 0
    assert w.call("fcntl", reader, F.F_SETOWN, me) == 0
    assert w.call("fcntl", reader, F.F_GETOWN, 0) == me
    owner = w.memory(struct.pack("<ii", 0, 0))
    assert w.call("fcntl", reader, F.F_GETOWN_EX, owner) == 0
    assert struct.unpack("<ii", w.peek(owner, 8)) == (1, me)
    assert w.call("fcntl", reader, F.F_SETOWN_EX, w.memory(struct.pack("<ii", 7, me))) == -EINVAL
    assert w.call("fcntl", reader, F.F_SETOWN_EX, BAD) == -EFAULT
    assert w.call("fcntl", reader, F.F_SETOWN, 1 << 22) == -ESRCH
    thread = w.memory(struct.pack("<ii", 0, me))
    assert w.call("fcntl", reader, F.F_SETOWN_EX, thread) == 0
    assert w.call("fcntl", reader, F.F_GETOWN_EX, owner) == 0
    assert struct.unpack("<ii", w.peek(owner, 8)) == (0, me)
    assert w.call("fcntl", reader, F.F_GETSIG, 0) == 0
    assert w.call("fcntl", reader, F.F_SETSIG, 65) == -EINVAL
    assert w.call("fcntl", reader, F.F_SETSIG, SIGUSR1) == 0
    assert w.call("fcntl", reader, F.F_GETSIG, 0) == SIGUSR1


@CASES("fcntl", "ioctl")
def signals_tell_of_input_and_output(w: World) -> None:
    blocked, nothing = (bit(SIGIO) | bit(SIGUSR1)).to_bytes(8, "little"), w.words(0, 0)
    wait = "rt_sigtimedwait"
    assert w.call("rt_sigprocmask", SIG_BLOCK, blocked, None, 8) == 0
    reader, writer = w.pipe()
    other, same = unix_pair(w)
    asynchronous = open_flags(w.isa, O_ASYNC)
    for fd, its_writer in ((reader, writer), (other, same)):
        assert w.call("write", its_writer, b"x", 1) == 1
        assert w.call(wait, blocked, None, nothing, 8) == -EAGAIN, "nobody has asked"
        assert w.call("fcntl", fd, F.F_SETOWN, w.call("getpid")) == 0
        assert w.call("fcntl", fd, F.F_SETFL, asynchronous) == 0
        assert w.call("write", its_writer, b"x", 1) == 1
        assert w.call(wait, blocked, None, nothing, 8) == SIGIO
        assert w.call("fcntl", fd, F.F_SETSIG, SIGUSR1) == 0
        assert w.call("write", its_writer, b"x", 1) == 1
        found = bytearray(128)
        assert w.call(wait, blocked, found, nothing, 8) == SIGUSR1
        assert struct.unpack_from("<iii", found) == (SIGUSR1, 0, POLL_IN)
        band, number = struct.unpack_from("<qi" if w.word == 8 else "<ii", found, 2 * w.word if w.word == 8 else 12)
        assert (band, number) == (POLLIN | POLLRDNORM, fd)
        assert w.call("ioctl", fd, FIOASYNC, bytes(4)) == 0
        assert w.call("write", its_writer, b"x", 1) == 1
        assert w.call(wait, blocked, None, nothing, 8) == -EAGAIN
        assert w.call("ioctl", fd, FIOASYNC, b"\1\0\0\0") == 0
        assert w.call("write", its_writer, b"x", 1) == 1
        assert w.call(wait, blocked, None, nothing, 8) == SIGUSR1
        assert w.call("fcntl", fd, F.F_SETOWN, 0) == 0
        assert w.call("write", its_writer, b"x", 1) == 1
        assert w.call(wait, blocked, None, nothing, 8) == -EAGAIN


def unix_pair(w: World) -> tuple[int, int]:
    ends = bytearray(8)
    assert w.call("socketpair", AF_UNIX, SOCK_STREAM, 0, ends) == 0
    one, two = struct.unpack("<ii", ends)
    return one, two


@CASES("fcntl")
def pipes_have_a_size(w: World) -> None:
    reader, writer = w.pipe(O_NONBLOCK)
    assert w.call("fcntl", reader, F.F_GETPIPE_SZ, 0) == 65536
    assert w.call("fcntl", writer, F.F_SETPIPE_SZ, 5000) == 8192
    assert w.call("fcntl", reader, F.F_GETPIPE_SZ, 0) == 8192
    data = w.memory(bytes(9000))
    assert w.call("write", writer, data, 9000) == 8192
    assert w.call("fcntl", writer, F.F_SETPIPE_SZ, 4096) == -EBUSY
    assert w.call("fcntl", w.open(b"."), F.F_GETPIPE_SZ, 0) == -EBADF


@CASES("fcntl64", isas=("i386", "arm"))
def fcntl64_is_fcntl(w: World) -> None:
    fd = w.open(b".")
    assert w.call("fcntl64", fd, F.F_DUPFD, 10) == 10
    assert w.call("fcntl64", 77, F.F_GETFD, 0) == -EBADF
    assert w.call("fcntl", fd, F.F_GETLK64, BAD) == -EINVAL


# -- pipe --------------------------------------------------------------------------------------------------


@CASES("pipe")
def a_pipe_has_two_ends(w: World) -> None:
    ends = bytearray(8)
    assert w.call("pipe", ends) == 0
    assert struct.unpack("<ii", ends) == (3, 4)
    assert w.call("write", 4, b"abc", 3) == 3
    buffer = bytearray(3)
    assert w.call("read", 3, buffer, 3) == 3
    assert buffer == b"abc"
    assert w.call("read", 4, buffer, 3) == -EBADF
    assert w.call("write", 3, b"abc", 3) == -EBADF
    assert w.call("pipe", BAD) == -EFAULT
    assert w.open(b".") == 5


@CASES("pipe2")
def pipe2_takes_flags(w: World) -> None:
    reader, writer = w.pipe(O_NONBLOCK | O_CLOEXEC)
    assert w.call("fcntl", reader, F.F_GETFD, 0) == 1
    assert w.call("fcntl", writer, F.F_GETFD, 0) == 1
    assert flags_of(w, reader) == O_NONBLOCK
    assert flags_of(w, writer) == O_NONBLOCK | O_WRONLY
    assert w.call("pipe2", bytearray(8), O_APPEND) == -EINVAL
    assert w.fstat(reader)["mode"] == 0o010600
    assert w.fstat(reader)["ino"] == w.fstat(writer)["ino"]


# -- syncing and hints -------------------------------------------------------------------------------------


@CASES("fsync", "fdatasync", "syncfs")
def syncing_needs_a_file(w: World) -> None:
    w.file(b"f", b"abc")
    fd = w.open(b"f")
    reader, _ = w.pipe()
    path = w.open(b"f", O_PATH)
    for name in ("fsync", "fdatasync"):
        assert w.call(name, fd) == 0
        assert w.call(name, w.open(b".")) == 0
        assert w.call(name, reader) == -EINVAL
        assert w.call(name, 77) == -EBADF
        assert w.call(name, path) == -EBADF
    assert w.call("syncfs", fd) == 0
    assert w.call("syncfs", 77) == -EBADF
    assert w.call("syncfs", path) == -EBADF


@CASES("sync", host=False)
def sync_reaches_every_filesystem(w: GuestWorld) -> None:
    synced = []
    filesystem = w.task.fs.cwd.node.filesystem
    filesystem.sync = lambda: synced.append(filesystem)  # type: ignore[method-assign]
    assert w.call("sync") == 0
    assert synced == [filesystem]


@CASES("sync_file_range")
def syncing_a_range(w: World) -> None:
    w.file(b"f", b"abc")
    fd = w.open(b"f")
    assert w.call("sync_file_range", fd, 0, 2, 7) == 0
    assert w.call("sync_file_range", fd, 0, 2, 8) == -EINVAL
    assert w.call("sync_file_range", fd, -1, 2, 0) == -EINVAL
    assert w.call("sync_file_range", fd, 0, -1, 0) == -EINVAL
    assert w.call("sync_file_range", w.pipe()[0], 0, 2, 0) == -ESPIPE
    assert w.call("sync_file_range", 77, 0, 2, 0) == -EBADF


@CASES("readahead", "fadvise64")
def hints_are_checked(w: World) -> None:
    w.file(b"f", b"abc")
    fd = w.open(b"f")
    reader, _ = w.pipe()
    assert w.call("readahead", fd, 0, 10) == 0
    assert w.call("readahead", w.open(b"f", O_WRONLY), 0, 10) == -EBADF
    assert w.call("readahead", reader, 0, 10) == -EINVAL
    assert w.call("readahead", 77, 0, 10) == -EBADF
    assert w.call("fadvise64", fd, 0, 10, 3) == 0
    assert w.call("fadvise64", fd, 0, 10, 9) == -EINVAL
    assert w.call("fadvise64", reader, 0, 10, 3) == -ESPIPE
    assert w.call("fadvise64", 77, 0, 10, 3) == -EBADF


@CASES("fadvise64_64", isas=("i386",))
def wide_hints(w: World) -> None:
    fd = w.open(b".")
    assert w.call("fadvise64_64", fd, 1 << 40, 1 << 40, 3) == 0
    assert w.call("fadvise64_64", fd, 0, 0, 9) == -EINVAL


@CASES("arm_fadvise64_64", "sync_file_range2", isas=("arm",))
def the_order_of_arm(w: World) -> None:
    w.file(b"f", b"abc")
    fd = w.open(b"f")
    assert w.call("arm_fadvise64_64", fd, 3, 1 << 40, 1 << 40) == 0
    assert w.call("arm_fadvise64_64", fd, 9, 0, 0) == -EINVAL
    assert w.call("sync_file_range2", fd, 7, 0, 2) == 0
    assert w.call("sync_file_range2", fd, 8, 0, 2) == -EINVAL


test_guest, test_host, test_proof = CASES.tests()
