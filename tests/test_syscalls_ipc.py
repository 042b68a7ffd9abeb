"""System V IPC: message queues, semaphores, shared memory, and i386's ipc(2) that does them all."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest

from sandbox.abi import ipc as F
from sandbox.abi.errno import (
    E2BIG,
    EACCES,
    EAGAIN,
    EEXIST,
    EFAULT,
    EFBIG,
    EIDRM,
    EINVAL,
    ENOENT,
    ENOMSG,
    ENOSYS,
    EPERM,
    ERANGE,
)
from sandbox.abi.structs import BITS
from sandbox.kernel.lifecycle import end_process, exit_word
from sandbox.kernel.spaces import SpaceUsers
from sandbox.kernel.views import KernelView
from sandbox.memory import AddressSpace
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD, Blocked, GuestWorld, guest
from tests.test_syscalls_process import clone

CASES = Cases()
KEY = 0x5A6B0001
PAGE = 4096


def command(w: World, number: int) -> int:
    return number | F.IPC_64 if w.isa in F.VERSIONED else number


@contextmanager
def queue(w: World, mode: int = 0o600) -> Iterator[int]:
    identifier = w.call("msgget", F.IPC_PRIVATE, mode)
    assert identifier >= 0
    try:
        yield identifier
    finally:
        w.call("msgctl", identifier, command(w, F.IPC_RMID), None)


@contextmanager
def semaphores(w: World, count: int, mode: int = 0o600) -> Iterator[int]:
    identifier = w.call("semget", F.IPC_PRIVATE, count, mode)
    assert identifier >= 0
    try:
        yield identifier
    finally:
        w.call("semctl", identifier, 0, command(w, F.IPC_RMID), 0)


@contextmanager
def segment(w: World, size: int, mode: int = 0o600) -> Iterator[int]:
    identifier = w.call("shmget", F.IPC_PRIVATE, size, mode)
    assert identifier >= 0
    try:
        yield identifier
    finally:
        w.call("shmctl", identifier, command(w, F.IPC_RMID), None)


def message(w: World, kind: int, data: bytes) -> bytes:
    return w.words(kind) + data


def send(w: World, identifier: int, kind: int, data: bytes, flags: int = F.IPC_NOWAIT) -> int:
    return w.call("msgsnd", identifier, message(w, kind, data), len(data), flags)


def receive(w: World, identifier: int, kind: int = 0, flags: int = F.IPC_NOWAIT, size: int = 64) -> tuple[int, bytes]:
    """The type and the data, or the error and nothing."""
    buffer = bytearray(w.word + size)
    result = w.call("msgrcv", identifier, buffer, size, kind, flags)
    if result < 0:
        return result, b""
    return int.from_bytes(buffer[: w.word], "little"), bytes(buffer[w.word : w.word + result])


def operations(*parts: tuple[int, int, int]) -> bytes:
    return b"".join(F.SEMBUF.pack(*part) for part in parts)


# -- objects by key ------------------------------------------------------------------------------------------


@CASES("msgget", "semget", "shmget")
def one_object_for_a_key(w: World) -> None:
    makers = {"msgget": (), "semget": (2,), "shmget": (100,)}
    removers = {"msgget": ("msgctl", None), "semget": ("semctl", 0), "shmget": ("shmctl", None)}
    for call, extra in makers.items():
        assert w.call(call, KEY, *extra, 0o600) == -ENOENT
        first = w.call(call, KEY, *extra, F.IPC_CREAT | 0o600)
        assert first >= 0
        try:
            assert w.call(call, KEY, *extra, 0o600) == first
            assert w.call(call, KEY, *extra, F.IPC_CREAT | 0o600) == first
            assert w.call(call, KEY, *extra, F.IPC_CREAT | F.IPC_EXCL | 0o600) == -EEXIST
            other = w.call(call, F.IPC_PRIVATE, *extra, 0o600)
            assert other >= 0 and other != first, "a private one is always new"
        finally:
            for identifier in (first, other):
                control, last = removers[call]
                arguments = (identifier, 0) if control == "semctl" else (identifier,)
                assert w.call(control, *arguments, command(w, F.IPC_RMID), last) == 0
        assert w.call(call, KEY, *extra, 0o600) == -ENOENT
        assert w.call(control, *arguments, command(w, F.IPC_RMID), last) == -EINVAL, "an old identifier"


@CASES("semget", "shmget")
def sizes_have_limits(w: World) -> None:
    for count, expected in ((0, -EINVAL), (-1, -EINVAL), (1 << 30, -EINVAL)):
        assert w.call("semget", F.IPC_PRIVATE, count, 0o600) == expected
    assert w.call("shmget", F.IPC_PRIVATE, 0, 0o600) == -EINVAL
    assert w.call("shmget", F.IPC_PRIVATE, (1 << 8 * w.word) - 1, 0o600) == -EINVAL
    with semaphores(w, 2) as first, segment(w, 100) as second:
        assert first >= 0 and second >= 0


@CASES("msgget", "msgctl", root=True)
def others_are_kept_out(w: World) -> None:
    with queue(w, 0o600) as closed, queue(w, 0o644) as readable:
        assert send(w, closed, 1, b"x") == 0
        w.become(1000, 1000)
        assert send(w, closed, 1, b"x") == -EACCES
        assert receive(w, closed)[0] == -EACCES
        assert receive(w, readable)[0] == -ENOMSG
        assert send(w, readable, 1, b"x") == -EACCES
        assert w.call("msgctl", readable, command(w, F.IPC_RMID), None) == -EPERM


# -- message queues ------------------------------------------------------------------------------------------


@CASES("msgsnd", "msgrcv")
def messages_keep_their_order_and_type(w: World) -> None:
    with queue(w) as q:
        for kind, data in ((3, b"three"), (1, b"one"), (2, b"two"), (1, b"more")):
            assert send(w, q, kind, data) == 0
        assert receive(w, q, 1) == (1, b"one")
        assert receive(w, q, -2) == (1, b"more"), "the lowest type"
        assert receive(w, q, 3, F.IPC_NOWAIT | F.MSG_EXCEPT) == (2, b"two")
        assert receive(w, q, 7)[0] == -ENOMSG
        assert receive(w, q, size=2)[0] == -E2BIG
        assert receive(w, q, 0, F.IPC_NOWAIT | F.MSG_NOERROR, 2) == (3, b"th")
        assert receive(w, q)[0] == -ENOMSG
        assert send(w, q, 9, b"") == 0
        assert receive(w, q) == (9, b"")


@CASES("msgsnd", "msgrcv")
def messages_refused(w: World) -> None:
    with queue(w) as q:
        assert send(w, q, 0, b"x") == -EINVAL
        assert send(w, q, -1, b"x") == -EINVAL
        assert send(w, q, 1, bytes(8193)) == -EINVAL
        assert send(w, -1, 1, b"x") == -EINVAL
        assert send(w, 12345678, 1, b"x") == -EINVAL
        assert w.call("msgsnd", q, BAD, 1, F.IPC_NOWAIT) == -EFAULT
        assert w.call("msgrcv", q, bytearray(8), (1 << 8 * w.word) - 1, 0, F.IPC_NOWAIT) == -EINVAL
        assert send(w, q, 1, b"x") == 0
        assert w.call("msgrcv", q, BAD, 1, 0, F.IPC_NOWAIT) == -EFAULT


@CASES("msgsnd", "msgctl")
def a_full_queue(w: World) -> None:
    with queue(w) as q:
        assert send(w, q, 1, bytes(8192)) == 0
        assert send(w, q, 1, bytes(8192)) == 0
        assert send(w, q, 1, b"x") == -EAGAIN
        layout = F.MSQID_DS[w.isa]
        status = bytearray(layout.size)
        assert w.call("msgctl", q, command(w, F.IPC_STAT), status) == 0
        fields = layout.unpack(status)
        assert fields[5] == 0o600 and fields[10:13] == (16384, 2, 16384)
        assert fields[13] > 0 and fields[14] == 0, "the last sender; nobody has received"


@CASES("msgctl")
def a_queue_is_changed(w: World) -> None:
    layout = F.MSQID_DS[w.isa]
    with queue(w) as q:
        status = bytearray(layout.size)
        assert w.call("msgctl", q, command(w, F.IPC_STAT), status) == 0
        fields = list(layout.unpack(status))
        fields[5], fields[12] = 0o640, 5
        assert w.call("msgctl", q, command(w, F.IPC_SET), layout.pack(*fields)) == 0
        assert send(w, q, 1, b"12345") == 0
        assert send(w, q, 1, b"6") == -EAGAIN
        assert w.call("msgctl", q, command(w, F.IPC_STAT), status) == 0
        assert layout.unpack(status)[5] == 0o640
        assert w.call("msgctl", q, command(w, F.IPC_STAT), BAD) == -EFAULT
        assert w.call("msgctl", q, command(w, F.IPC_SET), BAD) == -EFAULT
        assert w.call("msgctl", q, command(w, 77), None) == -EINVAL
        assert w.call("msgctl", q, command(w, F.IPC_INFO), bytearray(32)) >= 0


@CASES("msgsnd", host=False)
def a_receiver_waits(w: GuestWorld) -> None:
    with queue(w) as q:
        other = w.other()
        assert other.blocks("msgrcv", q, bytearray(w.word + 8), 8, 5, 0)
        assert send(w, q, 4, b"no") == 0
        assert [row[1:5] for row in KernelView(w.machine).message_queues()] == [(q, 0o600, 2, 1)]
        try:
            other.again()
        except Blocked:
            pass
        else:
            raise AssertionError("not the type it waits for")
        other.pending = ("msgrcv", (q, bytearray(w.word + 8), 8, 5, 0))
        assert send(w, q, 5, b"yes") == 0
        assert other.again() == 3


@CASES("msgctl", host=False)
def who_waits_hears_of_the_end(w: GuestWorld) -> None:
    with queue(w) as q:
        other = w.other()
        assert other.blocks("msgrcv", q, bytearray(w.word + 8), 8, 0, 0)
        assert w.call("msgctl", q, command(w, F.IPC_RMID), None) == 0
        assert other.again() == -EIDRM


# -- semaphores ----------------------------------------------------------------------------------------------


@CASES("semop", "semctl")
def all_operations_or_none(w: World) -> None:
    now = F.IPC_NOWAIT
    with semaphores(w, 3) as s:
        assert w.call("semop", s, operations((0, 2, 0), (1, 1, 0)), 2) == 0
        assert w.call("semop", s, operations((0, -1, now), (1, -2, now)), 2) == -EAGAIN
        assert [w.call("semctl", s, n, command(w, F.GETVAL), 0) for n in range(3)] == [2, 1, 0]
        assert w.call("semop", s, operations((2, 0, now)), 1) == 0, "it is zero"
        assert w.call("semop", s, operations((0, 0, now)), 1) == -EAGAIN
        assert w.call("semop", s, operations((0, -2, now), (0, 0, now), (0, 5, now)), 3) == 0, "one after the other"
        assert w.call("semctl", s, 0, command(w, F.GETVAL), 0) == 5
        assert w.call("semctl", s, 0, command(w, F.GETPID), 0) > 0
        assert w.call("semctl", s, 2, command(w, F.GETNCNT), 0) == 0
        assert w.call("semctl", s, 2, command(w, F.GETZCNT), 0) == 0


@CASES("semop", "semctl")
def operations_refused(w: World) -> None:
    with semaphores(w, 2) as s:
        assert w.call("semop", s, operations((2, 1, 0)), 1) == -EFBIG
        assert w.call("semop", s, operations((0, 1, 0)), 0) == -EINVAL
        assert w.call("semop", s, operations((0, 1, 0)), 501) == -E2BIG
        assert w.call("semop", -1, operations((0, 1, 0)), 1) == -EINVAL
        assert w.call("semop", s, BAD, 1) == -EFAULT
        assert w.call("semop", s, operations((0, 32767, 0), (0, 1, 0)), 2) == -ERANGE
        assert w.call("semctl", s, 0, command(w, F.SETVAL), 32768) == -ERANGE
        assert w.call("semctl", s, 0, command(w, F.SETVAL), (1 << 8 * w.word) - 1) == -ERANGE
        assert w.call("semctl", s, 2, command(w, F.GETVAL), 0) == -EINVAL
        assert w.call("semctl", s, 0, command(w, 99), 0) == -EINVAL


@CASES("semctl")
def all_values_at_once(w: World) -> None:
    with semaphores(w, 3) as s:
        assert w.call("semctl", s, 0, command(w, F.SETALL), struct.pack("<3H", 7, 8, 9)) == 0
        values = bytearray(6)
        assert w.call("semctl", s, 0, command(w, F.GETALL), values) == 0
        assert struct.unpack("<3H", values) == (7, 8, 9)
        assert w.call("semctl", s, 1, command(w, F.SETVAL), 1) == 0
        assert w.call("semctl", s, 1, command(w, F.GETVAL), 0) == 1
        assert w.call("semctl", s, 0, command(w, F.SETALL), struct.pack("<3H", 1, 40000, 1)) == -ERANGE
        layout = F.SEMID_DS[w.isa]
        status = bytearray(layout.size)
        assert w.call("semctl", s, 0, command(w, F.IPC_STAT), status) == 0
        fields = layout.unpack(status)
        assert fields[5] == 0o600 and fields[-1] == 3
        assert w.call("semctl", s, 0, command(w, F.IPC_SET), layout.pack(*fields[:5], 0o644, *fields[6:])) == 0
        assert w.call("semctl", s, 0, command(w, F.IPC_STAT), status) == 0
        assert layout.unpack(status)[5] == 0o644
        assert w.call("semctl", s, 0, command(w, F.IPC_STAT), BAD) == -EFAULT
        assert w.call("semctl", 0, 0, command(w, F.IPC_INFO), bytearray(40)) >= 0


def timed(w: World, name: str, s: int, wait: int) -> int:
    word = 8 if name.endswith("64") else w.word
    timeout = b"".join(part.to_bytes(word, "little") for part in (0, wait))
    return w.call(name, s, operations((0, -1, 0)), 1, timeout)


@CASES("semtimedop", isas=("x86_64", "arm64", "riscv64", "arm"))
def a_wait_ends(w: World) -> None:
    if w.host:
        with semaphores(w, 1) as s:
            assert timed(w, "semtimedop", s, 1000) == -EAGAIN
            assert w.call("semtimedop", s, operations((0, 1, 0)), 1, None) == 0
            assert timed(w, "semtimedop", s, 1000) == 0
        return
    _a_wait_ends(w, "semtimedop")


@CASES("semtimedop_time64", host=False)
def a_long_wait_ends(w: GuestWorld) -> None:
    _a_wait_ends(w, "semtimedop_time64")


def _a_wait_ends(w: World, name: str) -> None:
    assert isinstance(w, GuestWorld)
    with semaphores(w, 1) as s:
        assert w.call(name, s, operations((0, 1, 0)), 1, None) == 0
        assert timed(w, name, s, 1000) == 0
        try:
            timed(w, name, s, 1000)
        except Blocked:
            w.machine.clock.advance(1000)  # type: ignore[attr-defined]
            assert w.again() == -EAGAIN
        else:
            raise AssertionError("it does not wait")


@CASES("semop", "semctl", host=False)
def a_sleeper_is_counted_and_woken(w: GuestWorld) -> None:
    with semaphores(w, 2) as s:
        other = w.other()
        assert other.blocks("semop", s, operations((1, -3, 0)), 1)
        assert w.call("semctl", s, 1, command(w, F.GETNCNT), 0) == 1
        assert [row[1:4] for row in KernelView(w.machine).semaphores()] == [(s, 0o600, 2)]
        assert w.call("semctl", s, 1, command(w, F.GETZCNT), 0) == 0
        assert w.call("semop", s, operations((1, 3, 0)), 1) == 0
        assert other.again() == 0
        assert w.call("semctl", s, 1, command(w, F.GETVAL), 0) == 0
        assert other.blocks("semop", s, operations((1, -1, 0)), 1)
        assert w.call("semctl", s, 0, command(w, F.IPC_RMID), 0) == 0
        assert other.again() == -EIDRM


@CASES("semop", host=False)
def what_a_process_did_is_undone(w: GuestWorld) -> None:
    with semaphores(w, 2) as s:
        assert w.call("semctl", s, 0, command(w, F.SETVAL), 5) == 0
        assert w.call("semop", s, operations((0, -2, F.SEM_UNDO), (1, 4, F.SEM_UNDO), (1, 1, 0)), 3) == 0
        w.machine.ipc.leave(w.task.process)
        assert [w.call("semctl", s, n, command(w, F.GETVAL), 0) for n in (0, 1)] == [5, 1]
        w.machine.ipc.leave(w.task.process)
        assert w.call("semctl", s, 0, command(w, F.GETVAL), 0) == 5


# -- shared memory -------------------------------------------------------------------------------------------


@CASES("shmat", "shmdt", "shmctl", host=False)
def attached_twice(w: GuestWorld) -> None:
    """One memory at two addresses, for as long as anybody has it."""
    layout = F.SHMID_DS[w.isa]
    status = bytearray(layout.size)
    with segment(w, 5000) as s:
        one, two = w.call("shmat", s, None, 0), w.call("shmat", s, None, 0)
        assert one > 0 and two > 0 and one != two
        w.task.space.copy_out(one + 4990, b"both")
        assert w.peek(two + 4990, 4) == b"both"
        assert w.call("shmctl", s, command(w, F.IPC_STAT), status) == 0
        fields = layout.unpack(status)
        assert fields[5] == 0o600 and fields[7] == 5000 and fields[-1] == 2
        (row,) = KernelView(w.machine).shared_memory()
        assert row[1:4] == (s, 0o600, 5000) and row[6] == 2
        assert w.call("shmdt", one) == 0
        assert w.call("shmdt", one) == -EINVAL
        assert w.call("shmctl", s, command(w, F.IPC_RMID), None) == 0
        assert w.call("shmctl", s, command(w, F.IPC_STAT), status) == 0, "somebody has it still"
        assert layout.unpack(status)[5] == 0o600 | F.SHM_DEST
        assert w.peek(two + 4990, 4) == b"both"
        used = w.machine.account.used
        assert w.call("shmdt", two) == 0
        assert w.call("shmctl", s, command(w, F.IPC_STAT), status) == -EINVAL
        assert w.machine.account.used < used


@CASES("shmat", "shmdt", isas=("x86_64", "i386", "arm64", "riscv64"))
def where_and_how_it_is_attached(w: World) -> None:
    with segment(w, 2 * PAGE) as s:
        first = w.call("shmat", s, None, 0)
        assert first > 0
        assert w.call("shmat", s, first, 0) == -EINVAL, "there is something"
        assert w.call("shmat", s, first + 5, 0) == -EINVAL
        assert w.call("shmat", s, None, F.SHM_REMAP) == -EINVAL
        assert w.call("shmat", s, first + 5, F.SHM_RND | F.SHM_REMAP | F.SHM_RDONLY) == first
        assert w.call("shmdt", first + 1) == -EINVAL
        assert w.call("shmdt", first) == 0
        assert w.call("shmat", s, first + 17, F.SHM_RND) == first
        assert w.call("shmdt", first) == 0
        assert w.call("shmat", -1, None, 0) == -EINVAL
        reader = w.call("shmat", s, None, F.SHM_RDONLY)
        assert w.call("mprotect", reader, PAGE, 3) == -EACCES
        assert w.call("mprotect", reader, PAGE, 1) == 0


@CASES("shmctl", "shmget")
def segments_are_described(w: World) -> None:
    layout = F.SHMID_DS[w.isa]
    with segment(w, 100, 0o640) as s:
        status = bytearray(layout.size)
        assert w.call("shmctl", s, command(w, F.IPC_STAT), status) == 0
        fields = layout.unpack(status)
        assert fields[5] == 0o640 and fields[7] == 100 and fields[11] > 0 and fields[-1] == 0
        assert w.call("shmctl", s, command(w, F.IPC_SET), layout.pack(*fields[:5], 0o600, *fields[6:])) == 0
        assert w.call("shmctl", s, command(w, F.IPC_STAT), status) == 0
        assert layout.unpack(status)[5] == 0o600
        assert w.call("shmctl", s, command(w, F.IPC_STAT), BAD) == -EFAULT
        assert w.call("shmctl", s, command(w, 99), None) == -EINVAL
        assert w.call("shmctl", 0, command(w, F.IPC_INFO), bytearray(72)) >= 0
        assert w.call("shmctl", 0, command(w, F.SHM_INFO), bytearray(72)) >= 0
        assert w.call("shmctl", s, command(w, F.SHM_LOCK), None) == 0
        assert w.call("shmctl", s, command(w, F.SHM_UNLOCK), None) == 0


def test_many_removed_segments_of_many_processes_do_not_stop_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process's end looks once at all regions, not once for each segment."""
    looks = 0
    every = SpaceUsers.all

    def counted(users: SpaceUsers) -> Iterable[AddressSpace]:
        nonlocal looks
        looks += 1
        return every(users)

    monkeypatch.setattr(SpaceUsers, "all", counted)
    with guest("x86_64") as w:
        for _ in range(300):
            s = w.call("shmget", F.IPC_PRIVATE, PAGE, 0o600)
            assert w.call("shmat", s, None, 0) > 0
            assert w.call("shmctl", s, F.IPC_RMID, None) == 0
        children = [clone(w) for _ in range(20)]
        looks = 0
        end_process(w.machine.processes[children[0]], exit_word(0))
        assert looks == 1
        assert len(list(KernelView(w.machine).shared_memory())) == 300
        assert looks == 2


# -- i386 ----------------------------------------------------------------------------------------------------


@CASES("ipc", host=False)
def everything_through_one_call(w: GuestWorld) -> None:
    assert BITS[w.isa] == 32
    q = w.call("ipc", 13, F.IPC_PRIVATE, 0o600, 0, 0, 0)
    assert q >= 0
    assert w.call("ipc", 11, q, 2, F.IPC_NOWAIT, message(w, 3, b"hi"), 0) == 0
    buffer = bytearray(16)
    pointer = w.memory(bytes(16))
    assert w.call("ipc", 12, q, 8, F.IPC_NOWAIT, w.words(pointer, 0), 0) == 2
    assert w.peek(pointer, 6) == struct.pack("<I", 3) + b"hi"
    assert w.call("ipc", 11, q, 2, F.IPC_NOWAIT, message(w, 3, b"hi"), 0) == 0
    assert w.call("ipc", 12 | 1 << 16, q, 8, F.IPC_NOWAIT, buffer, 3) == 2
    assert w.call("ipc", 14, q, F.IPC_RMID | F.IPC_64, 0, 0, 0) == 0
    s = w.call("ipc", 2, F.IPC_PRIVATE, 1, 0o600, 0, 0)
    assert w.call("ipc", 1, s, 1, 0, operations((0, 4, 0)), 0) == 0
    assert w.call("ipc", 3, s, 0, F.GETVAL | F.IPC_64, w.words(0), 0) == 4
    assert w.call("ipc", 3, s, 0, F.IPC_RMID | F.IPC_64, w.words(0), 0) == 0
    m = w.call("ipc", 23, F.IPC_PRIVATE, 100, 0o600, 0, 0)
    place = w.memory(bytes(4))
    assert w.call("ipc", 21, m, 0, place, 0, 0) == 0
    address = int.from_bytes(w.peek(place, 4), "little")
    assert w.peek(address, 4) == bytes(4)
    assert w.call("ipc", 24, m, F.IPC_RMID | F.IPC_64, 0, 0, 0) == 0
    assert w.call("ipc", 22, 0, 0, 0, address, 0) == 0
    assert w.call("ipc", 99, 0, 0, 0, 0, 0) == -ENOSYS


test_guest, test_host, test_proof = CASES.tests()
