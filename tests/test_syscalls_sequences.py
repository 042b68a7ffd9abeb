"""Random sequences of file calls have the same results in a guest as on the host's kernel, step by step.

A failure names the seed and the step. `python -m tests.test_syscalls_sequences FIRST LAST [STEPS]` plays more of them.
"""

from __future__ import annotations

import os
import signal
import sys

import pytest

from tests.syscall_sequences import Player, Step, steps
from tests.syscall_worlds import Blocked, HostWorld, guest, on_host

COUNT = 70


def is_ordinary(seed: int) -> bool:
    """Every third sequence is played by a user who is not root (and needs root to become that user)."""
    return seed % 3 == 2


def in_guest(script: list[Step], ordinary: bool) -> list[object]:
    answers: list[object] = []
    with guest("x86_64") as world:
        player = Player(world)
        player.begin(ordinary)
        for step in script:
            try:
                answers.append(player.play(step))
            except Blocked:
                answers.append("blocked")
        assert world.machine.stats.bugs == 0
    return answers


def difference(seed: int, count: int = COUNT) -> str:
    """The first step that ends differently, as a sentence; empty when none does."""
    ordinary = is_ordinary(seed)
    script = steps(seed, count, ordinary)
    expected = in_guest(script, ordinary)

    def compare(world: HostWorld) -> None:
        signal.alarm(30)
        player = Player(world)
        player.begin(ordinary)
        for number, (step, ours) in enumerate(zip(script, expected, strict=True)):
            theirs = player.play(step)
            assert theirs == ours, f"seed {seed}, step {number}, {step}: the host {theirs}, the guest {ours}"

    return on_host(compare)


SEEDS = [seed for seed in range(60) if os.geteuid() == 0 or not is_ordinary(seed)]


@pytest.mark.parametrize("seed", SEEDS)
def test_sequence(seed: int) -> None:
    found = difference(seed)
    assert not found, found


if __name__ == "__main__":
    first, last = int(sys.argv[1]), int(sys.argv[2])
    length = int(sys.argv[3]) if len(sys.argv) > 3 else COUNT
    failures = 0
    for chosen in range(first, last):
        result = difference(chosen, length)
        if result:
            failures += 1
            print(result.strip().splitlines()[-1][:600])
    print(f"{last - first} sequences, {failures} differences")
