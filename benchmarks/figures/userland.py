"""Programs of Debian from their start to their end: a dynamic hello, `python3 -c pass`, a shell loop of 100 programs.

The roots are those of the tests (tests/program_roots.py, tests/debian.py), fetched when they are not there. Natively
the same files run through their own dynamic linker. qemu-user hands an execve to the host, so it has no shell loop.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.figure import Result, Row
from benchmarks.peers import (
    CHILD_TIMEOUT,
    HOST,
    ISAS,
    NATIVE,
    OURS,
    QEMU,
    QEMU_USER,
    Child,
    Job,
    NotMeasured,
    children_seconds,
)

LOOP = 'i=0; while [ $i -lt 100 ]; do i=$((i+1)); "$0" true; done; echo $i'
PROGRAMS = {
    "dynamic hello": ("/usr/bin/echo", "hello"),
    "python3 -c pass": ("/usr/bin/python3", "-c", "pass"),
    "100 busybox true": ("/bin/busybox", "sh", "-c", LOOP),
}
LINKERS = {"x86_64": "lib64/ld-linux-x86-64.so.2", "i386": "lib/ld-linux.so.2"}


class UserlandFigure:
    name = "userland"
    title = "Programs of Debian"

    def measure(self, qiling: str | None, runs: int, progress: Callable[[str], None]) -> Result:
        rows = []
        for what, words in PROGRAMS.items():
            for isa in ISAS:
                row = Row(f"{what} {isa}")
                for peer, function in ((OURS, _ours), (QEMU_USER, _qemu), (HOST, _native)):
                    progress(f"{self.name}: {row.label}, {peer}")
                    try:
                        row.values[peer] = function(isa, words, runs) * 1e3
                    except NotMeasured as reason:
                        row.notes[peer] = str(reason)
                rows.append(row)
        return Result(self.name, self.title, "ms", rows, ((OURS, QEMU_USER), (OURS, HOST)))


def _root(isa: str, words: tuple[str, ...]) -> Path:
    from tests import debian, program_roots

    try:
        return debian.root_with_busybox(isa) if words[0] == "/bin/busybox" else program_roots.root(isa)
    except debian.Unavailable as reason:
        raise NotMeasured(str(reason)) from None


def _ours(isa: str, words: tuple[str, ...], runs: int) -> float:
    inside = words if "$0" not in words[-1] else (*words, words[0])
    child = Child(OURS, [sys.executable, "-m", "benchmarks.in_root"])
    return child.measure([Job(isa, str(_root(isa, words)), inside)], runs)[0].seconds


def _qemu(isa: str, words: tuple[str, ...], runs: int) -> float:
    qemu = shutil.which(QEMU[isa])
    if qemu is None:
        raise NotMeasured(f"{QEMU[isa]} is not installed")
    if words == PROGRAMS["100 busybox true"]:
        raise NotMeasured("hands an execve to the host")
    root = _root(isa, words)
    return _timed([qemu, "-L", str(root), f"{root}{words[0]}", *words[1:]], runs)


def _native(isa: str, words: tuple[str, ...], runs: int) -> float:
    if isa not in NATIVE.get(platform.machine(), ()):
        raise NotMeasured("not an ISA of the host")
    root = _root(isa, words)
    program = f"{root}{words[0]}"
    if "$0" in words[-1]:
        return _timed([program, *words[1:], program], runs)
    libraries = ":".join(str(found.parent) for found in (root / "usr" / "lib").glob("*/libc.so.6"))
    return _timed([str(root / LINKERS[isa]), "--library-path", libraries, program, *words[1:]], runs)


def _timed(command: list[str], runs: int) -> float:
    best = float("inf")
    for _ in range(runs):
        started = children_seconds()
        try:
            subprocess.run(command, capture_output=True, timeout=CHILD_TIMEOUT, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            raise NotMeasured(str(error)) from error
        best = min(best, children_seconds() - started)
    return best


FIGURE = UserlandFigure()
