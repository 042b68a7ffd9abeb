"""A conformance suite of our own, in C: what a program may expect of Linux, said by the program itself.

Each .c file is a family of checks, `check.h` says how one is written. They are linked into one static program per ISA,
built with Debian's cross compilers and kept in the test cache under a digest of all that goes into it. The host's own
kernel runs it first: what passes there must pass in the sandbox, on every ISA (tests/test_conformance.py).
`python -m tests.conformance` prints how many do.
"""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path

import sandbox
from tests import native, static_programs

HERE = Path(__file__).parent
FAMILIES = sorted(path.stem for path in HERE.glob("*.c") if path.stem != "check")
PATIENCE = 300

Results = dict[str, str]  # by name of the check: "" or why it failed


def program(isa: str) -> Path:
    """The suite for an ISA, compiled when it is not there yet. Raises debian.Unavailable."""
    return static_programs.build(isa, HERE)


def results(output: bytes) -> Results:
    found = {}
    for line in output.decode().splitlines():
        verdict, _, rest = line.partition(" ")
        name, _, why = rest.partition(": ")
        assert verdict in ("ok", "FAIL") and name not in found, line
        found[name] = why if verdict == "FAIL" else ""
    return found


@cache
def on_host(family: str, isa: str = "x86_64") -> Results:
    """What the host's kernel says; for an ISA that it does not run, what it says to x86-64."""
    if isa not in ("x86_64", "i386"):
        return on_host(family)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as directory:
        done = native.run(isa, program(isa), ["conformance", family], cwd=Path(directory), timeout=PATIENCE)
    return results(done.stdout)


def in_sandbox(family: str, isa: str) -> tuple[Results, bytes]:
    """And what the VM said beside."""
    done = sandbox.run([program(isa), family], cwd="/tmp", timeout=PATIENCE)
    return results(done.stdout), done.stderr
