"""dup, fcntl, pipe, locks, fsync and the hints."""

from __future__ import annotations

import struct

from sandbox.abi import flags as F
from sandbox.abi.errno import (
    EAGAIN,
    EBADF,
    EBUSY,
    EDEADLK,
    EFAULT,
    EINVAL,
    EMFILE,
    ENOLCK,
    EOVERFLOW,
    EPERM,
    ESPIPE,
)
from sandbox.abi.flags import (
    O_APPEND,
    O_CLOEXEC,
    O_CREAT,
    O_NOATIME,
    O_NONBLOCK,
    O_PATH,
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
    RLIMIT_NOFILE,
    SEEK_CUR,
    SEEK_END,
    SEEK_SET,
    open_flags,
)
from sandbox.abi.structs import FLOCK, FLOCK64_32
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
    if isinstance(w, GuestWorld):
        w.become(1000, 1000)
    else:
        assert w.call("setresuid", 1000, 1000, 1000) == 0
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
    assert w.call("fcntl", reader, F.F_GETSIG, 0) == 0


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


# -- flock -------------------------------------------------------------------------------------------------


@CASES("flock")
def flock_belongs_to_the_open_file(w: World) -> None:
    w.file(b"f")
    a, b = w.open(b"f"), w.open(b"f")
    copy = w.call("dup", a)
    exclusive, shared, unlock, now = F.LOCK_EX, F.LOCK_SH, F.LOCK_UN, F.LOCK_NB
    assert w.call("flock", a, exclusive) == 0
    assert w.call("flock", copy, exclusive | now) == 0
    assert w.call("flock", b, exclusive | now) == -EAGAIN
    assert w.call("flock", b, shared | now) == -EAGAIN
    assert w.call("flock", copy, shared) == 0
    assert w.call("flock", b, shared | now) == 0
    assert w.call("flock", b, exclusive | now) == -EAGAIN
    assert w.call("flock", a, exclusive | now) == 0, "a failed conversion has given up the old lock"
    assert w.call("flock", a, unlock) == 0
    assert w.call("flock", b, exclusive | now) == 0
    assert w.call("close", b) == 0
    assert w.call("flock", a, exclusive | now) == 0
    assert w.call("close", a) == 0
    assert w.call("flock", w.open(b"f"), exclusive | now) == -EAGAIN, "the duplicate still holds it"
    assert w.call("close", copy) == 0
    assert w.call("flock", w.open(b"f"), exclusive | now) == 0


@CASES("flock")
def flock_refuses(w: World) -> None:
    fd = w.open(b".")
    assert w.call("flock", fd, 0) == -EINVAL
    assert w.call("flock", fd, F.LOCK_EX | F.LOCK_SH) == -EINVAL
    assert w.call("flock", 77, F.LOCK_EX) == -EBADF
    assert w.call("flock", w.open(b".", O_PATH), F.LOCK_EX) == -EBADF


@CASES("flock", host=False)
def flock_waits(w: GuestWorld) -> None:
    w.file(b"f")
    a, b = w.open(b"f"), w.open(b"f")
    assert w.call("flock", a, F.LOCK_EX) == 0
    other = w.other()
    assert other.blocks("flock", b, F.LOCK_EX)
    assert w.call("flock", a, F.LOCK_UN) == 0
    assert other.task.state == "waiting" or other.again() == 0


# -- record locks ------------------------------------------------------------------------------------------


def lock(w: World, kind: int, start: int = 0, length: int = 0, whence: int = SEEK_SET, pid: int = 0) -> bytes:
    return layout(w).pack(kind, whence, start, length, pid)


def layout(w: World) -> struct.Struct:
    return FLOCK[64] if w.word == 8 else FLOCK64_32[w.isa]


def commands(w: World) -> tuple[str, int, int, int]:
    if w.word == 8:
        return "fcntl", F.F_GETLK, F.F_SETLK, F.F_SETLKW
    return "fcntl64", F.F_GETLK64, F.F_SETLK64, F.F_SETLKW64


def ask(w: World, fd: int, command: int, request: bytes) -> tuple[int, ...]:
    address = w.memory(request)
    assert w.call(commands(w)[0], fd, command, address) == 0
    return tuple(layout(w).unpack(w.peek(address, len(request))))


@CASES("fcntl", isas=("x86_64", "arm64", "riscv64"))
@CASES("fcntl64", isas=("i386", "arm"))
def open_file_locks_conflict_between_open_files(w: World) -> None:
    name = commands(w)[0]
    w.file(b"f", b"0123456789")
    a, b = w.open(b"f", O_RDWR), w.open(b"f", O_RDWR)
    take, look = F.F_OFD_SETLK, F.F_OFD_GETLK
    assert w.call(name, a, take, w.memory(lock(w, F.F_WRLCK, 2, 3))) == 0
    assert w.call(name, b, take, w.memory(lock(w, F.F_RDLCK, 4, 1))) == -EAGAIN
    assert w.call(name, b, take, w.memory(lock(w, F.F_RDLCK, 5, 1))) == 0
    assert ask(w, b, look, lock(w, F.F_WRLCK)) == (F.F_WRLCK, SEEK_SET, 2, 3, -1)
    assert ask(w, a, look, lock(w, F.F_WRLCK, 0, 5))[0] == F.F_UNLCK
    assert ask(w, a, look, lock(w, F.F_WRLCK, -4, 0, SEEK_END)) == (F.F_UNLCK, SEEK_END, -4, 0, 0)
    assert w.call("lseek", a, 3, SEEK_SET) == 3
    assert w.call(name, a, take, w.memory(lock(w, F.F_UNLCK, 0, 1, SEEK_CUR))) == 0
    assert w.call(name, b, take, w.memory(lock(w, F.F_WRLCK, 3, 1))) == 0
    assert w.call(name, b, take, w.memory(lock(w, F.F_WRLCK, 4, 1))) == -EAGAIN
    assert w.call(name, b, take, w.memory(lock(w, F.F_WRLCK, 2, 1))) == -EAGAIN
    assert w.call("close", a) == 0
    assert w.call(name, b, take, w.memory(lock(w, F.F_WRLCK))) == 0
    assert w.call(name, b, take, w.memory(lock(w, F.F_WRLCK, pid=5))) == -EINVAL


@CASES("fcntl", isas=("x86_64", "arm64", "riscv64"))
@CASES("fcntl64", isas=("i386", "arm"))
def record_locks_refuse(w: World) -> None:
    name, look, take, _ = commands(w)
    w.file(b"f", b"0123456789")
    both, reader, writer = w.open(b"f", O_RDWR), w.open(b"f"), w.open(b"f", O_WRONLY)
    table = [
        (both, take, lock(w, 7), -EINVAL),
        (both, look, lock(w, F.F_UNLCK), -EINVAL),
        (both, take, lock(w, F.F_WRLCK, 0, 0, 3), -EINVAL),
        (both, take, lock(w, F.F_WRLCK, -1, 0), -EINVAL),
        (both, take, lock(w, F.F_WRLCK, 0, -1), -EINVAL),
        (both, take, lock(w, F.F_WRLCK, 5, -5), 0),
        (both, take, lock(w, F.F_WRLCK, (1 << 63) - 1, 2), -EOVERFLOW),
        (both, take, lock(w, F.F_WRLCK, -11, 0, SEEK_END), -EINVAL),
        (reader, take, lock(w, F.F_WRLCK), -EBADF),
        (writer, take, lock(w, F.F_RDLCK), -EBADF),
        (writer, take, lock(w, F.F_UNLCK), 0),
        (77, take, lock(w, F.F_WRLCK), -EBADF),
    ]
    for fd, command, request, expected in table:
        assert w.call(name, fd, command, w.memory(request)) == expected, (fd, command, request)
    assert w.call(name, both, take, BAD) == -EFAULT
    assert w.call(name, both, look, BAD) == -EFAULT
    assert ask(w, both, look, lock(w, F.F_RDLCK))[0] == F.F_UNLCK


@CASES("fcntl", isas=("x86_64", "arm64", "riscv64"), host=False)
@CASES("fcntl64", isas=("i386", "arm"), host=False)
def record_locks_belong_to_processes(w: GuestWorld) -> None:
    name, look, take, wait = commands(w)
    w.file(b"f", b"0123456789")
    fd, second = w.open(b"f", O_RDWR), w.open(b"f", O_RDWR)
    assert w.call(name, fd, take, w.memory(lock(w, F.F_WRLCK, 0, 5))) == 0
    assert w.call(name, second, take, w.memory(lock(w, F.F_WRLCK, 0, 5))) == 0, "the same process"
    child = w.other()
    assert child.call(name, fd, take, child.memory(lock(w, F.F_WRLCK, 4, 1))) == -EAGAIN
    assert ask(child, fd, look, lock(w, F.F_RDLCK)) == (F.F_WRLCK, SEEK_SET, 0, 5, w.task.tgid)
    assert child.call(name, fd, take, child.memory(lock(w, F.F_WRLCK, 7, 1))) == 0
    request = child.memory(lock(w, F.F_WRLCK, 4, 1))
    assert child.blocks(name, fd, wait, request)
    assert w.call(name, fd, wait, w.memory(lock(w, F.F_WRLCK, 7, 1))) == -EDEADLK
    assert w.call(name, fd, take, w.memory(lock(w, F.F_UNLCK, 4, 1))) == 0
    assert child.again() == 0
    assert ask(w, fd, look, lock(w, F.F_RDLCK, 3))[2:] == (4, 1, child.task.tgid)
    assert w.call("close", second) == 0
    child.call("close", fd)
    assert child.call(name, second, take, child.memory(lock(w, F.F_WRLCK))) == 0, "closing any descriptor drops all"


@CASES("fcntl", isas=("i386", "arm"), host=False)
def small_record_locks_of_32_bit_programs(w: GuestWorld) -> None:
    w.file(b"f", b"0123456789")
    fd = w.open(b"f", O_RDWR)
    request = w.memory(FLOCK[32].pack(F.F_WRLCK, SEEK_SET, 2, 3, 0))
    assert w.call("fcntl", fd, F.F_SETLK, request) == 0
    child = w.other()
    answer = child.memory(FLOCK[32].pack(F.F_RDLCK, SEEK_SET, 0, 0, 0))
    assert child.call("fcntl", fd, F.F_GETLK, answer) == 0
    assert FLOCK[32].unpack(child.peek(answer, 16)) == (F.F_WRLCK, SEEK_SET, 2, 3, w.task.tgid)
    far = w.memory(lock(w, F.F_WRLCK, 1 << 40, 1))
    assert w.call("fcntl64", fd, F.F_SETLK64, w.memory(lock(w, F.F_UNLCK))) == 0
    assert w.call("fcntl64", fd, F.F_SETLK64, far) == 0
    question = child.memory(FLOCK[32].pack(F.F_RDLCK, SEEK_SET, 0, 0, 0))
    assert child.call("fcntl", fd, F.F_GETLK, question) == -EOVERFLOW


@CASES("fcntl", isas=("x86_64",), host=False)
def locks_are_bounded(w: GuestWorld) -> None:
    w.file(b"f")
    fd = w.open(b"f", O_RDWR)
    w.task.files.get(fd).node.filesystem.lock_budget = 10
    results = [w.call("fcntl", fd, F.F_SETLK, w.memory(lock(w, F.F_WRLCK, 2 * at, 1))) for at in range(12)]
    assert results == [0] * 10 + [-ENOLCK] * 2
    assert w.call("close", fd) == 0
    assert w.task.fs.cwd.node.filesystem.lock_budget == 10


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
