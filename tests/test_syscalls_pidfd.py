"""Processes by descriptor: pidfd_open, pidfd_send_signal, pidfd_getfd, CLONE_PIDFD and P_PIDFD."""

from __future__ import annotations

import struct

import pytest

from sandbox.abi import flags as F
from sandbox.abi.errno import EAGAIN, EBADF, ECHILD, EFAULT, EINVAL, EPERM, ESRCH, Errno
from sandbox.abi.signal_structs import SIGINFO_SIZE
from sandbox.abi.signals import SIGCHLD, SIGUSR1
from sandbox.kernel.lifecycle import end_process, exit_word
from sandbox.kernel.views import KernelView
from tests.syscall_cases import Cases, World
from tests.syscall_worlds import BAD, GuestWorld, guest
from tests.test_syscalls_process import NOBODY, THREAD, act, clone

CASES = Cases()
FD_CLOEXEC = 1
PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4


@CASES("pidfd_open")
def a_descriptor_of_ourselves(w: World) -> None:
    fd = w.call("pidfd_open", w.call("getpid"), 0)
    assert fd >= 3
    assert w.call("fcntl", fd, F.F_GETFD, 0) == FD_CLOEXEC
    assert w.call("read", fd, bytearray(8), 8) == -EINVAL
    assert w.call("pidfd_open", w.call("getpid"), F.O_NONBLOCK) > fd
    assert w.call("pidfd_open", w.call("getpid"), 1) == -EINVAL
    assert w.call("pidfd_open", 0, 0) == -EINVAL
    assert w.call("pidfd_open", -1, 0) == -EINVAL
    assert w.call("pidfd_open", NOBODY - 1, 0) == -ESRCH


@CASES("pidfd_send_signal", "pidfd_open")
def a_signal_to_ourselves(w: World) -> None:
    fd = w.call("pidfd_open", w.call("getpid"), 0)
    blocked = struct.pack("<Q", 1 << SIGUSR1 - 1)
    assert w.call("rt_sigprocmask", F_BLOCK, blocked, None, 8) == 0
    assert w.call("pidfd_send_signal", fd, 0, None, 0) == 0
    pending = bytearray(8)
    assert w.call("rt_sigpending", pending, 8) == 0 and not any(pending)
    assert w.call("pidfd_send_signal", fd, SIGUSR1, None, 0) == 0
    assert w.call("rt_sigpending", pending, 8) == 0 and bytes(pending) == blocked
    assert w.call("pidfd_send_signal", fd, 99, None, 0) == -EINVAL
    assert w.call("pidfd_send_signal", fd, 0, None, 0x100) == -EINVAL
    assert w.call("pidfd_send_signal", w.open(b"."), 0, None, 0) == -EBADF
    assert w.call("pidfd_send_signal", fd, SIGUSR1, BAD, 0) == -EFAULT
    other = struct.pack("<i", SIGUSR1 + 1) + bytes(SIGINFO_SIZE - 4)
    assert w.call("pidfd_send_signal", fd, SIGUSR1, other, 0) == -EINVAL


F_BLOCK = 0


@CASES("pidfd_getfd", "pidfd_open")
def a_descriptor_out_of_a_process(w: World) -> None:
    fd = w.call("pidfd_open", w.call("getpid"), 0)
    reader, writer = w.pipe()
    copy = w.call("pidfd_getfd", fd, writer, 0)
    assert copy > writer
    assert w.call("fcntl", copy, F.F_GETFD, 0) == FD_CLOEXEC
    assert w.call("write", copy, b"through", 7) == 7
    buffer = bytearray(7)
    assert w.call("read", reader, buffer, 7) == 7 and buffer == b"through"
    assert w.call("pidfd_getfd", fd, 99, 0) == -EBADF
    assert w.call("pidfd_getfd", writer, writer, 0) == -EBADF
    assert w.call("pidfd_getfd", fd, writer, 1) == -EINVAL


@CASES("pidfd_open", "waitid", host=False)
def the_end_of_a_child(w: GuestWorld) -> None:
    child = clone(w)
    fd = w.call("pidfd_open", child, F.O_NONBLOCK)
    poll = bytearray(struct.pack("<ihh", fd, F.POLLIN, 0))
    now = struct.pack("<qq", 0, 0)
    ask = "ppoll_time64" if w.word == 4 else "ppoll"
    info = bytearray(SIGINFO_SIZE)
    assert w.call(ask, poll, 1, now, None, 8) == 0
    assert w.call("waitid", F.P_PIDFD, fd, info, F.WEXITED, None) == -EAGAIN
    assert w.call("waitid", F.P_PIDFD, fd, info, F.WEXITED | F.WNOHANG, None) == 0
    end_process(w.machine.processes[child], exit_word(3))
    assert w.call(ask, poll, 1, now, None, 8) == 1
    assert w.call("pidfd_send_signal", fd, 0, None, 0) == 0, "it has not been waited for"
    assert w.call("waitid", F.P_PIDFD, fd, info, F.WEXITED, None) == 0
    assert struct.unpack_from("<i", info)[0] == SIGCHLD
    assert w.call("waitid", F.P_PIDFD, fd, info, F.WEXITED, None) == -ECHILD
    assert w.call("pidfd_send_signal", fd, 0, None, 0) == -ESRCH
    assert w.call("pidfd_getfd", fd, 0, 0) == -ESRCH
    assert w.call(ask, poll, 1, now, None, 8) == 1
    assert w.call("waitid", F.P_PIDFD, w.open(b"."), info, F.WEXITED, None) == -EBADF
    assert w.call("waitid", F.P_PIDFD, -1, info, F.WEXITED, None) == -EINVAL


@CASES("clone", host=False)
def a_child_with_its_descriptor(w: GuestWorld) -> None:
    place = w.memory(bytes(4))
    child = clone(w, F.CLONE_PIDFD | SIGCHLD, parent=place)
    assert child > 0
    (fd,) = struct.unpack("<i", w.peek(place, 4))
    assert w.call("pidfd_send_signal", fd, 0, None, 0) == 0
    before = set(w.machine.processes), len(w.machine.tasks)
    assert clone(w, F.CLONE_PIDFD | SIGCHLD, parent=BAD) == -EFAULT
    assert clone(w, F.CLONE_PIDFD | THREAD, parent=place) == -EINVAL
    assert clone(w, F.CLONE_PIDFD | F.CLONE_PARENT_SETTID | SIGCHLD, parent=place) == -EINVAL
    assert before == (set(w.machine.processes), len(w.machine.tasks))
    assert w.call("dup", fd) == fd + 1, "the one that could not be told is closed"
    arguments = struct.pack("<8Q", F.CLONE_PIDFD, place, 0, 0, SIGCHLD, 0, 0, 0)
    second = w.call("clone3", arguments, len(arguments))
    assert second > child
    (fd,) = struct.unpack("<i", w.peek(place, 4))
    w.become(1000, 1000)
    assert w.call("pidfd_send_signal", fd, 0, None, 0) == -EPERM
    assert w.call("pidfd_getfd", fd, 0, 0) == -EPERM
    tid = clone(w, THREAD)
    assert w.call("pidfd_open", tid, 0) == -EINVAL, "a thread"


@CASES("pidfd_getfd", host=False)
def who_gave_up_privileges_is_not_looked_into(w: GuestWorld) -> None:
    """What it opened as root is not for other processes of its new user; nor is memory that it could not write."""
    other = act(w, clone(w))
    mine = w.call("pidfd_open", other.task.tgid, 0)
    assert w.call("pidfd_getfd", mine, 77, 0) == -EBADF, "root may look: there is no such descriptor"
    for world in (w, other):
        assert world.call("setresuid" if w.word == 8 else "setresuid32", 1000, 1000, 1000) == 0
    assert w.call("prctl", PR_GET_DUMPABLE, 0, 0, 0, 0) == 0
    assert w.call("pidfd_getfd", mine, 77, 0) == -EPERM
    assert other.call("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0) == 0
    assert w.call("pidfd_getfd", mine, 77, 0) == -EBADF
    w.task.credentials.gid = 7
    assert w.call("pidfd_getfd", mine, 77, 0) == -EPERM, "another group"


def test_memory_behind_a_read_only_shared_mapping() -> None:
    with guest("x86_64") as w:
        w.file(b"f", b"SECRET")
        fd = w.open(b"f")
        place = w.call("mmap", 0, 4096, 1, F.MAP_SHARED, fd, 0)
        private = w.call("mmap", 0, 4096, 1, F.MAP_PRIVATE, fd, 0)
        w.machine.current = w.task
        view = KernelView(w.machine).process(w.task.tgid, w.task.tid)
        assert view is not None
        view.check_memory()
        with pytest.raises(Errno):
            view.write_memory(place, b"PWN")
        view.write_memory(private, b"PWN")
        assert (w.content(b"f"), w.peek(private, 6)) == (b"SECRET", b"PWNRET")


test_guest, test_host, test_proof = CASES.tests()
