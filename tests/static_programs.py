"""Builds the C sources of a directory into one static program per ISA, with Debian's cross compilers.

It is kept in the test cache under a digest of all that goes into it. Neighbours: tests/conformance, tests/hostile.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from tests import debian

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


def build(isa: str, directory: Path) -> Path:
    """The program, compiled when it is not there yet. Raises debian.Unavailable."""
    compiler, *more = COMPILERS[isa]
    if shutil.which(compiler) is None:
        raise debian.Unavailable(f"{compiler} is not here")
    sources = sorted(directory.glob("*.[ch]"))
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True).stdout
    digest = hashlib.sha256(repr((version, FLAGS, more)).encode())
    for path in sources:
        digest.update(path.name.encode() + path.read_bytes())
    place = debian.cache_directory() / directory.name / f"{isa}-{digest.hexdigest()[:16]}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with debian.locked(place.parent / f".lock-{isa}"):
        if not place.is_file():
            partial = place.with_suffix(".partial")
            names = [path.name for path in sources if path.suffix == ".c"]
            command = [compiler, *FLAGS, *more, "-o", str(partial), *names]
            done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            for old in place.parent.glob(f"{isa}-*"):
                if old != partial:
                    old.unlink()
            partial.rename(place)
    return place
