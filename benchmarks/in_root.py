"""This package as a peer for programs in a root filesystem: the first word of each job is the root.

Started by `benchmarks.peers` as a child process.
"""

from __future__ import annotations

import sandbox
from benchmarks.peers import serve


def run(isa: str, argv: list[str]) -> bytes:
    root, *words = argv
    result = sandbox.run(words, rootfs=root, arch=isa, timeout=600, env={"PATH": "/usr/bin:/bin"})
    if result.returncode:
        raise SystemExit(f"{words} ended with {result.returncode}: {result.stderr.decode(errors='replace')}")
    return result.stdout


if __name__ == "__main__":
    serve(run)
