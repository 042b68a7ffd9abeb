"""Random sequences of calls have the same results in a guest as on the host's kernel, step by step.

A failure names the kind, the seed and the step. `python -m tests.test_syscalls_sequences KIND FIRST LAST [STEPS]`
plays more of them.
"""

from __future__ import annotations

import os
import signal
import sys

import pytest

from tests.syscall_sequences import MAKERS, Makers, Player, Step, steps
from tests.syscall_sequences_paths import WIDE, PathPlayer
from tests.syscall_sequences_sockets import SOCKETS, SocketPlayer
from tests.syscall_worlds import Blocked, HostWorld, guest, on_host

COUNT = 70
KINDS: dict[str, tuple[Makers, type[Player]]] = {
    "files": (MAKERS, Player),
    "paths": (WIDE, PathPlayer),
    "sockets": (SOCKETS, SocketPlayer),
}


def is_ordinary(seed: int) -> bool:
    """Every third sequence is played by a user who is not root (and needs root to become that user)."""
    return seed % 3 == 2


def in_guest(kind: type[Player], script: list[Step], ordinary: bool) -> list[object]:
    answers: list[object] = []
    with guest("x86_64") as world:
        player = kind(world)
        player.begin(ordinary)
        for step in script:
            try:
                answers.append(player.play(step))
            except Blocked:
                answers.append("blocked")
        assert world.machine.stats.bugs == 0
    return answers


def difference(name: str, seed: int, count: int = COUNT) -> str:
    """The first step that ends differently, as a sentence; empty when none does."""
    ordinary = is_ordinary(seed)
    makers, kind = KINDS[name]
    script = steps(seed, count, ordinary, makers)
    expected = in_guest(kind, script, ordinary)

    def compare(world: HostWorld) -> None:
        signal.alarm(30)
        player = kind(world)
        player.begin(ordinary)
        for number, (step, ours) in enumerate(zip(script, expected, strict=True)):
            theirs = player.play(step)
            assert theirs == ours, f"{name} {seed}, step {number}, {step}: the host {theirs}, the guest {ours}"

    return on_host(compare)


# Those that have found something, besides the first ones.
FOUND = {
    "files": (2010822, 2012308, 2018102, 2022093, 3029816, 7000965),
    "paths": (51, 133, 167, 320, 505, 828, 963, 1002, 1496),
    "sockets": (
        80,
        84,
        121,
        141,
        256,
        293,
        363,
        400,
        403,
        413,
        434,
        822,
        942,
        1142,
        4000310,
        4000816,
        4001063,
        4001183,
        4001444,
        5000136,
        5000145,
        5001239,
        5001967,
        7000274,
        7001760,
    ),
}
RUNS = [
    (name, seed)
    for name, more in FOUND.items()
    for seed in (*range(60 if name == "files" else 30), *more)
    if os.geteuid() == 0 or not is_ordinary(seed)
]


@pytest.mark.parametrize(("name", "seed"), RUNS)
def test_sequence(name: str, seed: int) -> None:
    found = difference(name, seed)
    assert not found, found


if __name__ == "__main__":
    chosen_kind, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    length = int(sys.argv[4]) if len(sys.argv) > 4 else COUNT
    failures = 0
    for chosen in range(first, last):
        result = difference(chosen_kind, chosen, length)
        if result:
            failures += 1
            print(result.strip().splitlines()[-1][:600])
    print(f"{last - first} sequences, {failures} differences")
