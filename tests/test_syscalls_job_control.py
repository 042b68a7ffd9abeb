"""Sessions, foreground process groups and the terminal they share."""

from __future__ import annotations

import struct

from sandbox.abi.errno import (
    EINVAL,
    EIO,
    ENOTTY,
    ENXIO,
    EPERM,
    ESRCH,
)
from sandbox.abi.flags import O_NOCTTY, O_RDONLY, O_RDWR
from sandbox.abi.signals import SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH, bit
from sandbox.kernel.signals import Action
from sandbox.vfs import termios as T
from tests.syscall_cases import Cases
from tests.syscall_terminals import (
    TIOCGPGRP,
    TIOCGPTPEER,
    TIOCGSID,
    TIOCGWINSZ,
    TIOCNOTTY,
    TIOCOUTQ,
    TIOCSCTTY,
    TIOCSPGRP,
    TIOCSPTLCK,
    TIOCSWINSZ,
    configure,
    number,
    put,
    read,
    terminal_pair,
    write,
)
from tests.syscall_worlds import GuestWorld

CASES = Cases()


# -- job control -------------------------------------------------------------------------------------------


def controlled(w: GuestWorld) -> tuple[int, int]:
    """A terminal that controls the session of process 1."""
    master, slave = terminal_pair(w)
    assert w.call("ioctl", slave, TIOCSCTTY, 0) == 0
    return master, slave


@CASES("ioctl", host=False)
def control_characters_are_signals(w: GuestWorld) -> None:
    master, _ = controlled(w)
    for typed, signal, shown in [(b"x\x03", SIGINT, b"x^C"), (b"\x1c", SIGQUIT, b"^\\"), (b"\x1a", SIGTSTP, b"^Z")]:
        write(w, master, typed)
        assert w.pending_signals & bit(signal), typed
        assert read(w, master) == shown
    assert w.call("ioctl", master, TIOCSWINSZ, w.memory(struct.pack("<HHHH", 10, 20, 0, 0))) == 0
    w.task.process.actions[SIGWINCH] = Action(0x1000)
    assert w.call("ioctl", master, TIOCSWINSZ, w.memory(struct.pack("<HHHH", 11, 20, 0, 0))) == 0
    assert w.pending_signals & bit(SIGWINCH)


@CASES("ioctl", host=False)
def a_session_has_one_terminal(w: GuestWorld) -> None:
    _, slave = terminal_pair(w)
    assert number(w, slave, TIOCGPGRP) == -ENOTTY
    assert number(w, slave, TIOCGSID) == -ENOTTY
    assert w.open(b"/dev/tty", O_RDWR) == -ENXIO
    assert w.call("ioctl", slave, TIOCSCTTY, 0) == 0
    assert number(w, slave, TIOCGPGRP) == 1
    assert number(w, slave, TIOCGSID) == 1
    own = w.open(b"/dev/tty", O_RDWR)
    assert own > 0
    assert number(w, own, TIOCGPGRP) == 1
    other_master = w.open(b"/dev/ptmx", O_RDWR | O_NOCTTY)
    assert put(w, other_master, TIOCSPTLCK, 0) == 0
    other = w.call("ioctl", other_master, TIOCGPTPEER, O_RDWR | O_NOCTTY)
    assert w.call("ioctl", other, TIOCSCTTY, 0) == -EPERM
    assert put(w, slave, TIOCSPGRP, 999) == -ESRCH
    assert put(w, slave, TIOCSPGRP, -1) == -EINVAL
    assert put(w, other, TIOCSPGRP, 1) == -ENOTTY
    assert w.call("ioctl", slave, TIOCNOTTY, 0) == 0
    assert w.pending_signals & bit(SIGHUP)
    assert w.open(b"/dev/tty", O_RDWR) == -ENXIO
    assert w.call("ioctl", slave, TIOCNOTTY, 0) == -ENOTTY


@CASES("openat", host=False)
def a_leader_gets_the_first_terminal_it_opens(w: GuestWorld) -> None:
    master = w.open(b"/dev/ptmx", O_RDWR)
    assert put(w, master, TIOCSPTLCK, 0) == 0
    assert w.open(b"/dev/pts/0", O_RDWR | O_NOCTTY) > 0
    assert w.open(b"/dev/tty", O_RDWR) == -ENXIO
    assert w.open(b"/dev/pts/0", O_RDWR) > 0
    assert w.open(b"/dev/tty", O_RDONLY) > 0


@CASES("ioctl", host=False)
def the_background_is_stopped(w: GuestWorld) -> None:
    master, slave = controlled(w)
    child = w.other()
    process = child.task.process
    process.group = process.pid
    buffer = child.memory(bytes(4))
    write(w, master, b"x\n")
    assert child.blocks("read", slave, buffer, 4)
    assert child.pending_signals & bit(SIGTTIN)
    process.discard_pending(bit(SIGTTIN))
    child.task.signals.mask = bit(SIGTTIN)
    assert child.call("read", slave, buffer, 4) == -EIO
    assert child.call("write", slave, b"fine", 4) == 4
    configure(w, slave, set_local=T.TOSTOP)
    assert child.blocks("write", slave, b"no", 2)
    assert child.pending_signals & bit(SIGTTOU)
    process.discard_pending(bit(SIGTTOU))
    assert child.blocks("ioctl", slave, TIOCSPGRP, child.memory(struct.pack("<i", process.group)))
    child.task.signals.mask = bit(SIGTTOU)
    assert put(child, slave, TIOCSPGRP, process.group) == 0
    assert number(w, slave, TIOCGPGRP) == process.group
    assert read(child, slave) == b"x\n"
    write(w, master, b"\x03")
    assert child.pending_signals & bit(SIGINT)
    assert not w.pending_signals & bit(SIGINT)


@CASES("ioctl", host=False)
def closing_the_master_hangs_up(w: GuestWorld) -> None:
    master, _ = controlled(w)
    w.task.process.actions[SIGCONT] = Action(0x1000)
    assert w.call("close", master) == 0
    assert w.pending_signals & bit(SIGHUP)
    assert w.pending_signals & bit(SIGCONT)


@CASES("ioctl", host=False)
def the_terminal_of_the_host(w: GuestWorld) -> None:
    terminal, file = w.machine.terminals.make_console(30, 100)
    fd = w.task.files.allocate(file)
    taken = []
    terminal.on_output = lambda: taken.append(terminal.take_output())
    write(w, fd, b"hi\n")
    terminal.type(b"k\n")
    assert b"".join(taken) == b"hi\r\nk\r\n"
    assert read(w, fd) == b"k\n"
    assert w.open(b"/dev/console", O_RDWR) > 0
    assert w.task.files.get(fd).path == b"/dev/pts/0"
    buffer = w.memory(bytes(8))
    assert w.call("ioctl", fd, TIOCGWINSZ, buffer) == 0
    assert struct.unpack("<HHHH", w.peek(buffer, 8)) == (30, 100, 0, 0)
    assert number(w, fd, TIOCOUTQ) == 0


test_guest, _, test_proof = CASES.tests()
