"""A conformance suite of our own, in C: what a program may expect of Linux, said by the program itself.

Each .c file is a family of checks, `check.h` says how one is written. They are linked into one static program per ISA,
built with Debian's cross compilers and kept in the test cache under a digest of all that goes into it. The host's own
kernel runs it first: what passes there must pass in the sandbox, on every ISA (tests/test_conformance.py).
`python -m tests.conformance` prints how many do.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import sandbox
from tests import debian, native

HERE = Path(__file__).parent
FAMILIES = sorted(path.stem for path in HERE.glob("*.c") if path.stem != "check")
TIME_BITS_64 = ("-D_TIME_BITS=64",)
COMPILERS: dict[str, tuple[str, ...]] = {
    "x86_64": ("x86_64-linux-gnu-gcc",),
    "i386": ("i686-linux-gnu-gcc",),  # with the calls whose times have 32 bits; arm has the others
    "arm64": ("aarch64-linux-gnu-gcc",),
    "arm": ("arm-linux-gnueabihf-gcc", *TIME_BITS_64),
    "riscv64": ("riscv64-linux-gnu-gcc",),
}
# -w: compilers see that many calls are wrong on purpose.
FLAGS = "-std=gnu11 -O1 -w -static -pthread -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64".split()
PATIENCE = 300

Results = dict[str, str]  # by name of the check: "" or why it failed


def program(isa: str) -> Path:
    """The suite for an ISA, compiled when it is not there yet. Raises debian.Unavailable."""
    compiler, *more = COMPILERS[isa]
    if shutil.which(compiler) is None:
        raise debian.Unavailable(f"{compiler} is not here")
    sources = sorted(HERE.glob("*.[ch]"))
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True).stdout
    digest = hashlib.sha256(repr((version, FLAGS, more)).encode())
    for path in sources:
        digest.update(path.name.encode() + path.read_bytes())
    place = debian.cache_directory() / "conformance" / f"{isa}-{digest.hexdigest()[:16]}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with debian.locked(place.parent / f".lock-{isa}"):
        if not place.is_file():
            partial = place.with_suffix(".partial")
            names = [path.name for path in sources if path.suffix == ".c"]
            command = [compiler, *FLAGS, *more, "-o", str(partial), *names]
            done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            for old in place.parent.glob(f"{isa}-*"):
                if old != partial:
                    old.unlink()
            partial.rename(place)
    return place


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
