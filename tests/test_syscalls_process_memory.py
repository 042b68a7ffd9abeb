"""process_vm_readv and process_vm_writev. Between processes they are seen at work in tests/conformance."""

from __future__ import annotations

from sandbox.abi.errno import EFAULT, EINVAL, EPERM, ESRCH
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD, GuestWorld

CASES = Cases()
NOBODY = 1 << 22


@CASES("process_vm_readv")
def reading(w: World) -> None:
    me = w.call("getpid")
    first, second, into = w.memory(b"hello "), w.memory(b"world"), w.memory(bytes(16))
    there, here = w.vector([(first, 6), (second, 5)]), w.vector([(into, 8), (into + 8, 8)])
    assert w.call("process_vm_readv", me, here, 2, there, 2, 0) == 11
    assert w.peek(into, 11) == b"hello world"
    assert w.call("process_vm_readv", me, here, 1, there, 2, 0) == 8
    assert w.call("process_vm_readv", me, here, 2, w.vector([(first, 6), (BAD, 5)]), 2, 0) == 6
    assert w.call("process_vm_readv", me, here, 2, w.vector([(BAD, 5)]), 1, 0) == -EFAULT
    assert w.call("process_vm_readv", me, here, 2, there, 2, 1) == -EINVAL
    assert w.call("process_vm_readv", me, here, 1025, there, 2, 0) == -EINVAL
    assert w.call("process_vm_readv", NOBODY, here, 2, there, 2, 0) == -ESRCH
    assert w.call("process_vm_readv", me, here, 0, there, 2, 0) == 0


@CASES("process_vm_writev")
def writing(w: World) -> None:
    me = w.call("getpid")
    data, place = w.memory(b"new words"), w.memory(b"old words")
    here, there = w.vector([(data, 3)]), w.vector([(place, 9)])
    assert w.call("process_vm_writev", me, here, 1, there, 1, 0) == 3
    assert w.peek(place, 9) == b"new words"
    assert w.call("process_vm_writev", me, here, 1, w.vector([(BAD, 3)]), 1, 0) == -EFAULT


@CASES("process_vm_readv", host=False)
def whose_memory(w: GuestWorld) -> None:
    other = w.other()
    place = other.memory(b"private")
    into = w.memory(bytes(7))
    here, there = w.vector([(into, 7)]), w.vector([(place, 7)])
    assert w.call("process_vm_readv", other.task.tid, here, 1, there, 1, 0) == 7
    assert w.peek(into, 7) == b"private"
    w.become(1000, 1000)
    assert w.call("process_vm_readv", other.task.tid, here, 1, there, 1, 0) == -EPERM


test_guest, test_host, test_proof = CASES.tests()
