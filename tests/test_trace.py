"""Lines of the trace, for calls made at the kernel's boundary: strings, lists, flags and errors as strace has them.
`P` in an expectation is any address.
"""

from __future__ import annotations

import re
import struct
import termios

import pytest

from sandbox.abi.flag_names import CHOICES
from sandbox.abi.structs import BITS
from sandbox.kernel.calling import places
from sandbox.kernel.dispatch import dispatch_observed
from tests.syscall_worlds import BAD, GuestWorld, Value, guest

AT_FDCWD = -100
ROOM = bytearray(64)


def line_of(w: GuestWorld, name: str, arguments: tuple[Value, ...]) -> str:
    lines: list[str] = []
    w.machine.trace = lambda line, took=None: lines.append(line)
    kinds = w.entries[w.number[name]].row.parsed()
    registers = [0] * 6
    for value, register in zip(arguments, places(w.isa, kinds), strict=False):
        if isinstance(value, bytes | bytearray):
            value = w.memory(bytes(value) + b"\0")
        registers[register] = (value or 0) & (1 << BITS[w.isa]) - 1
    dispatch_observed(w.task, w.number[name], tuple(registers))
    (line,) = lines
    return re.sub(r"\s+= ", " = ", re.sub(r"0x[0-9a-f]+", "P", line))


CALLS: list[tuple[str, tuple[Value, ...], str]] = [
    ("openat", (AT_FDCWD, b"absent", 0, 0o777), 'openat(AT_FDCWD, "absent", O_RDONLY) = -1 ENOENT'),
    ("openat", (AT_FDCWD, b"made", 0o101, 0o640), 'openat(AT_FDCWD, "made", O_WRONLY|O_CREAT, 0640) = 3'),
    ("openat", (AT_FDCWD, BAD, 0, 0), "openat(AT_FDCWD, P, O_RDONLY) = -1 EFAULT"),
    ("getcwd", (ROOM, 64), 'getcwd("/work", 64) = 6'),
    ("readlinkat", (AT_FDCWD, b"link", ROOM, 64), 'readlinkat(AT_FDCWD, "link", "a\\tb\\0011", 64) = 5'),
    ("readlinkat", (AT_FDCWD, b"absent", ROOM, 64), 'readlinkat(AT_FDCWD, "absent", P, 64) = -1 ENOENT'),
    ("read", (0, ROOM, 64), 'read(0, "", 64) = 0'),
    ("write", (1, b"x" * 40, 40), 'write(1, "' + "x" * 32 + '"..., 40) = 40'),
    ("pipe2", (ROOM, 0), "pipe2([3, 4], 0) = 0"),
    ("pipe2", (ROOM, 0o2004000), "pipe2([3, 4], O_NONBLOCK|O_CLOEXEC) = 0"),
    ("pipe2", (BAD, 0), "pipe2(P, 0) = -1 EFAULT"),
    ("ioctl", (0, 0x5413, ROOM), "ioctl(0, TIOCGWINSZ, P) = -1 ENOTTY"),
    ("prctl", (15, b"named", 0, 0, 0), 'prctl(PR_SET_NAME, "named") = 0'),
    ("prctl", (16, ROOM, 0, 0, 0), 'prctl(PR_GET_NAME, "before") = 0'),
    ("kill", (4000, 11), "kill(4000, SIGSEGV) = -1 ESRCH"),
    ("wait4", (-1, ROOM, 1, 0), "wait4(-1, P, WNOHANG, NULL) = -1 ECHILD"),
    ("rt_sigaction", (2, None, ROOM, 8), "rt_sigaction(SIGINT, NULL, P, 8) = 0"),
    ("execve", (b"absent", None, None), 'execve("absent", NULL, NULL) = -1 ENOENT'),
    ("execve", (b"absent", BAD, BAD), 'execve("absent", P, P) = -1 ENOENT'),
]


@pytest.mark.parametrize("isa", ["x86_64", "arm"])
@pytest.mark.parametrize(("name", "arguments", "expected"), CALLS, ids=[f"{row[0]}-{row[2]}" for row in CALLS])
def test_lines(isa: str, name: str, arguments: tuple[Value, ...], expected: str) -> None:
    with guest(isa) as w:
        w.call("symlinkat", b"a\tb\x011", AT_FDCWD, b"link")
        w.call("prctl", 15, b"before", 0, 0, 0)
        assert line_of(w, name, arguments) == expected


@pytest.mark.parametrize("isa", ["x86_64", "arm"])
def test_words_of_a_new_program(isa: str) -> None:
    with guest(isa) as w:
        form = "<3Q" if BITS[isa] == 64 else "<3I"
        words = w.memory(struct.pack(form, w.memory(b"ls\0"), w.memory(b'-l "x"\0'), 0))
        many = w.memory(b"".join([struct.pack("<" + form[-1], w.memory(b"a\0"))] * 40) + bytes(8))
        line = line_of(w, "execve", (b"absent", words, words))
        assert line == r'execve("absent", ["ls", "-l \"x\""], P /* 2 vars */) = -1 ENOENT'
        assert line_of(w, "execve", (b"absent", many, None)).count('"a", ') == 32


def test_statuses_of_children() -> None:
    from sandbox.kernel.trace_arguments import AFTER

    with guest("x86_64") as w:
        for status, text in (
            (3 << 8, "[{WIFEXITED(s) && WEXITSTATUS(s) == 3}]"),
            (139, "[{WIFSIGNALED(s) && WTERMSIG(s) == SIGSEGV && WCOREDUMP(s)}]"),
            (9, "[{WIFSIGNALED(s) && WTERMSIG(s) == SIGKILL}]"),
            (19 << 8 | 0x7F, "[{WIFSTOPPED(s) && WSTOPSIG(s) == SIGSTOP}]"),
            (0xFFFF, "[{WIFCONTINUED(s)}]"),
        ):
            assert AFTER["wait4", "status"](w.task, w.memory(struct.pack("<I", status)), 7) == text


def test_requests_have_the_hosts_names() -> None:
    names = CHOICES["ioctl"]
    known = {name: value for value, name in names.items() if hasattr(termios, name)}
    assert len(known) > 15
    assert known == {name: getattr(termios, name) for name in known}
