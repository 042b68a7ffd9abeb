"""flock and the record locks of fcntl."""

from __future__ import annotations

import struct

from sandbox.abi import flags as F
from sandbox.abi.errno import (
    EAGAIN,
    EBADF,
    EDEADLK,
    EFAULT,
    EINVAL,
    ENOLCK,
    EOVERFLOW,
)
from sandbox.abi.flags import (
    O_PATH,
    O_RDWR,
    O_WRONLY,
    SEEK_CUR,
    SEEK_END,
    SEEK_SET,
)
from sandbox.abi.structs import FLOCK, FLOCK64_32
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD, GuestWorld

CASES = Cases()


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


test_guest, test_host, test_proof = CASES.tests()
