"""Random sequences of calls about memory: a program prints the same here as on the host's kernel.

The program (tests/memory_sequences) maps, moves, protects, advises, faults and forks in a small arena, and says of each
page what a load finds. Every ISA is compared with what the host says to x86-64.
`python -m tests.test_memory_sequences FIRST LAST [STEPS]` plays more of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import debian, native
from tests.test_process_sequences import STEPS, play

SOURCE = Path(__file__).parent / "memory_sequences"
# (ISA, first seed, seed after the last)
RUNS = [("x86_64", first, first + 15) for first in (0, 100)]
RUNS += [(isa, 1000 * place, 1000 * place + 8) for place, isa in enumerate(("i386", "arm64", "arm", "riscv64"), 1)]


@pytest.mark.parametrize(("isa", "first", "last"), RUNS, ids=[f"{isa}-{first}" for isa, first, _ in RUNS])
def test_sequences_end_alike(isa: str, first: int, last: int) -> None:
    try:
        assert play(isa, first, last, STEPS, SOURCE) == {}
    except (debian.Unavailable, native.NoOracle) as reason:
        pytest.skip(str(reason))


if __name__ == "__main__":
    start, end = int(sys.argv[1]), int(sys.argv[2])
    result = play("x86_64", start, end, int(sys.argv[3]) if len(sys.argv) > 3 else STEPS, SOURCE)
    for name, (host, guest) in result.items():
        print(f"{name}: the host {host}, the guest {guest}")
    print(f"{end - start} sequences, {len(result)} differences")
