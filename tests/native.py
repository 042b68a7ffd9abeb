"""The oracle: runs an ELF file where its behaviour is the truth: on the host kernel, or under qemu-user.

An x86 program runs natively on an x86-64 host; every other ISA goes through qemu-user, a program of its own that
passes system calls on to the host kernel. `Outcome` is what can be compared byte for byte: stdout, stderr, the exit
status as a shell would report it, and the tree of files that the program left behind (`files_below`).
"""

from __future__ import annotations

import os
import platform
import shutil
import stat
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

QEMU = {
    "x86_64": "qemu-x86_64",
    "i386": "qemu-i386",
    "arm64": "qemu-aarch64",
    "arm": "qemu-arm",
    "riscv64": "qemu-riscv64",
}
NATIVE = {"x86_64": ("x86_64", "i386"), "aarch64": ("arm64",), "riscv64": ("riscv64",)}


class NoOracle(Exception):
    """Nothing here can run programs of the ISA; the message says what is missing."""


@dataclass(frozen=True)
class Outcome:
    stdout: bytes
    stderr: bytes
    status: int  # 0..255; 128 + n when signal n ended it

    def sorted(self) -> Outcome:
        """With the lines of both streams in order, for what is printed in no particular one."""
        stdout, stderr = (b"".join(sorted(stream.splitlines(True))) for stream in (self.stdout, self.stderr))
        return Outcome(stdout, stderr, self.status)


def run(
    isa: str,
    program: Path,
    argv: list[str],
    *,
    stdin: bytes = b"",
    cwd: Path | None = None,
    environment: dict[str, str] | None = None,
    timeout: float = 60,
) -> Outcome:
    """Run `program` (a host path) with `argv`, whose first item is what the program sees as argv[0]."""
    if isa in NATIVE.get(platform.machine(), ()) and _runs_natively(str(program)):
        command, executable = list(argv), str(program)
    else:
        qemu = shutil.which(QEMU[isa])
        if qemu is None:
            raise NoOracle(f"{QEMU[isa]} is not installed (Debian package qemu-user)")
        command, executable = [qemu, "-0", argv[0], str(program), *argv[1:]], qemu
        if environment is not None:  # qemu-user hands the environment on in reverse order
            environment = dict(reversed(environment.items()))
    done = subprocess.run(
        command,
        executable=executable,
        input=stdin,
        capture_output=True,
        cwd=cwd,
        env=environment,
        timeout=timeout,
        check=False,
    )
    status = done.returncode if done.returncode >= 0 else 128 - done.returncode
    return Outcome(done.stdout, done.stderr, status)


@cache
def _runs_natively(program: str) -> bool:
    """False where the kernel was built without 32-bit support, or where tests run under an emulator themselves."""
    try:
        started = subprocess.Popen([program], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    except OSError:
        return False
    started.kill()  # it may be one that runs for ever
    started.wait()
    return True


def files_below(directory: Path, *, recent: float) -> dict[str, tuple[object, ...]]:
    """Everything below `directory`: relative path to (type and mode, contents or link target, links, time).

    Times at or after `recent` (seconds since the epoch) are a matter of when the program ran, and come out as "now".
    """
    found: dict[str, tuple[object, ...]] = {}
    for parent, directories, files in os.walk(directory):
        for name in sorted(directories + files):
            path = Path(parent) / name
            status = path.lstat()
            contents: object = None
            if stat.S_ISLNK(status.st_mode):
                contents = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                contents = path.read_bytes()
            links = status.st_nlink if stat.S_ISREG(status.st_mode) else None
            modified: object = "now" if status.st_mtime >= recent else status.st_mtime_ns
            found[str(path.relative_to(directory))] = (stat.filemode(status.st_mode), contents, links, modified)
    return found
