"""Random sequences of calls about processes and signals: a program prints the same here as on the host's kernel.

The program (tests/sequences) makes forks, groups, sessions, handlers, masks, stops and waits of a few processes that
the host's kernel and the sandbox's must let end alike. Every ISA is compared with what the host says to x86-64.
`python -m tests.test_process_sequences FIRST LAST [STEPS]` plays more of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import sandbox
from tests import debian, native, static_programs

SOURCE = Path(__file__).parent / "sequences"
STEPS = 30
PATIENCE = 600
ATTEMPTS = 5  # the host's processes run in parallel: now and then one is quicker than a step allows for
# (ISA, first seed, seed after the last)
RUNS = [("x86_64", first, first + 20) for first in range(0, 80, 20)]
RUNS += [(isa, 1000 * place, 1000 * place + 15) for place, isa in enumerate(("i386", "arm64", "arm", "riscv64"), 1)]


def by_seed(output: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in output.splitlines():
        if line.startswith("seed "):
            lines = found[line] = []
        else:
            lines.append(line)
    return found


Differences = dict[str, tuple[list[str], list[str]]]


def differences(isa: str, first: int, last: int, steps: int = STEPS) -> Differences:
    """By seed that does not end alike, however often it is played: what the host says and what the guest says."""
    wrong = play(isa, first, last, steps)
    for seed in list(wrong):
        number = int(seed.removeprefix("seed "))
        for _ in range(1, ATTEMPTS):
            if not play(isa, number, number + 1, steps):
                del wrong[seed]
                break
    return wrong


def play(isa: str, first: int, last: int, steps: int, source: Path = SOURCE) -> Differences:
    """Once: what is said from the first difference on, by seed."""
    arguments = [str(first), str(last), str(steps)]
    theirs = native.run(
        "x86_64", static_programs.build("x86_64", source), ["sequences", *arguments], timeout=PATIENCE
    ).stdout
    done = sandbox.run([static_programs.build(isa, source), *arguments], timeout=PATIENCE)
    assert (done.returncode, done.stats.kernel_bugs) == (0, 0), done.reason
    expected, found = by_seed(theirs.decode()), by_seed(done.stdout.decode())
    assert len(expected) == last - first
    wrong = {}
    for seed, lines in expected.items():
        ours = found.get(seed, [])
        if ours != lines:
            at = next((at for at, pair in enumerate(zip(lines, ours, strict=False)) if pair[0] != pair[1]), len(ours))
            wrong[seed] = lines[at : at + 1], ours[at : at + 1]
    return wrong


@pytest.mark.parametrize(("isa", "first", "last"), RUNS, ids=[f"{isa}-{first}" for isa, first, _ in RUNS])
def test_sequences_end_alike(isa: str, first: int, last: int) -> None:
    try:
        assert differences(isa, first, last) == {}
    except (debian.Unavailable, native.NoOracle) as reason:
        pytest.skip(str(reason))


if __name__ == "__main__":
    start, end = int(sys.argv[1]), int(sys.argv[2])
    result = differences("x86_64", start, end, int(sys.argv[3]) if len(sys.argv) > 3 else STEPS)
    for name, (host, guest) in result.items():
        print(f"{name}: the host {host}, the guest {guest}")
    print(f"{end - start} sequences, {len(result)} differences")
