"""This package as a peer: `sandbox.run`, free-running, or with exact budgets when `--exact` is given.

Started by `benchmarks.peers` as a child process.
"""

from __future__ import annotations

import sys

import sandbox
from benchmarks.peers import serve

MODE = "exact" if "--exact" in sys.argv[1:] else "free"


def run(isa: str, argv: list[str]) -> bytes:
    result = sandbox.run(argv, arch=isa, engine_mode=MODE, timeout=600, memory="256M")
    if result.returncode:
        raise SystemExit(f"{argv} ended with {result.returncode}: {result.stderr.decode(errors='replace')}")
    return result.stdout


if __name__ == "__main__":
    serve(run)
