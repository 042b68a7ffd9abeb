"""Scripts, and everything that execve refuses: as a number for the guest and as a sentence for the operator."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import guests
from sandbox.abi.errno import EACCES, EINVAL, ELIBBAD, ELOOP, ENOENT, ENOEXEC, ENOMEM, Errno
from sandbox.loader import (
    LAYOUTS,
    for_operator,
)
from sandbox.loader import stack as initial_stack
from sandbox.loader.elf import BadProgram
from sandbox.loader.script import parse_line, resolve
from sandbox.memory import Account, AddressSpace, FramePool
from tests.elf_files import put
from tests.loading import Files, burner, load_files, opener, position_independent, read_stack


@pytest.fixture
def pool() -> Iterator[FramePool]:
    pool = FramePool(64 << 20)
    yield pool
    pool.close()


@pytest.fixture
def account(pool: FramePool) -> Account:
    return pool.account(32 << 20)


# ---- scripts

LONG = b"/" + b"i" * 300
SCRIPT_LINES: list[tuple[bytes, tuple[bytes, bytes | None] | int | None]] = [
    (b"", None),
    (b"# !/bin/sh\n", None),
    (b"#!/bin/sh\n", (b"/bin/sh", None)),
    (b"#!/bin/sh", (b"/bin/sh", None)),
    (b"#! \t/bin/sh \t \n", (b"/bin/sh", None)),
    (b"#!/bin/sh -e\n", (b"/bin/sh", b"-e")),
    (b"#!/usr/bin/env  a  b c \nrest", (b"/usr/bin/env", b"a  b c")),
    (b"#!/bin/sh\r\n", (b"/bin/sh\r", None)),
    (b"#!/bin/sh\0junk\n", (b"/bin/sh", None)),
    (b"#!/bin/sh a\0junk\n", (b"/bin/sh", b"a")),
    (b"#!/bin/sh \0a\n", (b"/bin/sh", b"")),
    (b"#!\n", ENOEXEC),
    (b"#!   \t\n", ENOEXEC),
    (b"#!" + b" " * 300, ENOEXEC),
    (b"#!\0\n", EACCES),
    (b"#!", EACCES),
    (b"#!" + LONG + b"\n", ENOEXEC),
    (b"#!/" + b"i" * 252, (b"/" + b"i" * 252, None)),  # 255 bytes
    (b"#!/" + b"i" * 253, ENOEXEC),
    (b"#!/" + b"i" * 252 + b"\n", (b"/" + b"i" * 252, None)),
    (b"#!/" + b"i" * 251 + b" x y", (b"/" + b"i" * 251, None)),  # the argument is cut off
    (b"#!/bin/sh " + b"a" * 300, (b"/bin/sh", b"a" * 245)),
]


@pytest.mark.parametrize(("start", "expected"), SCRIPT_LINES)
def test_first_lines_of_scripts(start: bytes, expected: tuple[bytes, bytes | None] | int | None) -> None:
    if isinstance(expected, int):
        with pytest.raises(BadProgram) as caught:
            parse_line(start)
        assert caught.value.number == expected
    else:
        assert parse_line(start) == expected


def test_scripts_name_scripts(tmp_path: Path) -> None:
    """Five levels run and the sixth is ELOOP, here and natively."""
    program = tmp_path / "program"
    program.write_bytes(guests.guest("echo", "x86_64").program())
    files: Files = {bytes(program): program.read_bytes()}
    previous = program
    for level in range(1, 8):
        script = tmp_path / f"script{level}"
        script.write_bytes(b"#!%b of-%d\nrest\n" % (bytes(previous), level))
        script.chmod(0o755)
        files[bytes(script)] = script.read_bytes()
        previous = script
    program.chmod(0o755)
    for level in range(1, 8):
        path = tmp_path / f"script{level}"
        try:
            native: bytes | int = subprocess.run([path, "x", "y"], capture_output=True, check=False).stdout
        except OSError as error:
            native = error.errno or 0
        try:
            resolved = resolve(opener(files), bytes(path), [b"zero", b"x", b"y"])
            here: bytes | int = b" ".join(resolved.argv[1:]) + b"\n"
            assert resolved.path == resolved.argv[0] == bytes(program)
        except Errno as error:
            here = error.number
        assert here == (ELOOP if level > 5 else here)
        assert here == native


def test_a_script_executes_as_itself(pool: FramePool, account: Account) -> None:
    space = AddressSpace(pool, account, 64)
    files = {b"/program": b"#!/interpreter -x\n", b"/interpreter": burner("x86_64")}
    loaded = load_files(space, "x86_64", files, [b"a", b"b"])
    argv, _, entries = read_stack(space, loaded.sp)
    assert argv == [b"/interpreter", b"-x", b"/program", b"b"]
    assert loaded.path == b"/interpreter"
    assert space.copy_string(entries[initial_stack.AT_EXECFN]) == b"/program"
    space.release()


# ---- errors, for the guest as a number and for the operator as a sentence

GOOD = position_independent([(0, 0, 0x200, 0x200, 7)], 0x80, b"/lib/ld.so")
FAILURES: list[tuple[str, Files, int, str]] = [
    ("missing", {}, ENOENT, "no such program"),
    ("not executable", {b"/program": b""}, EACCES, "may not be executed"),
    ("text", {b"/program": b"hello"}, ENOEXEC, "is not an ELF file"),
    ("short", {b"/program": b"\x7fELF\x02\x01"}, ENOEXEC, "ends within its ELF header"),
    (
        "another ISA",
        {b"/program": burner("arm64")},
        ENOEXEC,
        "is a program for arm64, and this virtual machine is x86_64",
    ),
    ("unknown ISA", {b"/program": put(GOOD, 18, 2, 21)}, ENOEXEC, "64-bit program for 64-bit PowerPC"),
    ("big-endian", {b"/program": put(put(GOOD, 18, 2, 0x1500), 5, 1, 2)}, ENOEXEC, "is big-endian"),
    ("riscv32", {b"/program": put(put(GOOD, 18, 2, 243), 4, 1, 1)}, ENOEXEC, "32-bit program for RISC-V"),
    ("object file", {b"/program": put(GOOD, 16, 2, 1)}, ENOEXEC, "object file that is not linked"),
    ("core dump", {b"/program": put(GOOD, 16, 2, 4)}, ENOEXEC, "core dump"),
    (
        "no interpreter",
        {b"/program": GOOD},
        ENOENT,
        "needs the interpreter /lib/ld.so, which cannot be opened (ENOENT)",
    ),
    ("bad interpreter", {b"/program": GOOD, b"/lib/ld.so": b"?"}, ELIBBAD, "and that file is not an ELF file"),
    ("foreign interpreter", {b"/program": GOOD, b"/lib/ld.so": burner("arm")}, ELIBBAD, "which is for arm"),
    ("script without", {b"/program": b"#!/none\n"}, ENOENT, "is a script for /none, which cannot be opened"),
    ("null page", {b"/program": put(burner("x86_64"), 64 + 56 + 16, 8, 0)}, EINVAL, "near it"),
    ("too high", {b"/program": put(burner("x86_64"), 64 + 56 + 16, 8, 1 << 62)}, ENOMEM, "wants memory up to"),
    (
        "where the stack is",
        {b"/program": put(burner("x86_64"), 64 + 56 + 16, 8, LAYOUTS["x86_64"].stack_top - 0x2000)},
        ENOMEM,
        "no room for its stack",
    ),
]


@pytest.mark.parametrize(
    ("files", "number", "sentence"), [row[1:] for row in FAILURES], ids=[row[0] for row in FAILURES]
)
def test_failures(pool: FramePool, account: Account, files: Files, number: int, sentence: str) -> None:
    space = AddressSpace(pool, account, 64)
    with pytest.raises(Errno) as caught:
        load_files(space, "x86_64", files)
    assert caught.value.number == number
    told = for_operator(caught.value, "./program")
    assert str(told).startswith("./program: ")
    assert sentence in str(told)
    assert told.status == (127 if sentence == "no such program" else 126)
    space.release()
    assert account.used == 0


def test_a_program_that_does_not_fit(pool: FramePool) -> None:
    account = pool.account(8 * 4096)
    space = AddressSpace(pool, account, 64)
    with pytest.raises(Errno) as caught:
        load_files(space, "x86_64", {b"/program": position_independent([(0, 0, 0x100, 1 << 20, 6)])})
    assert caught.value.number == ENOMEM
    assert "does not fit into the memory" in str(for_operator(caught.value, "p"))
    space.release()
