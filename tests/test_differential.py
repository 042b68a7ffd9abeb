"""Random programs on our engines and on plain Unicorn: the same registers, memory and stops, whatever pages were
missing, shared or copied on the way. `-m slow` runs 20,000 programs per instruction set through all three.

What differs for a known reason is not in the programs; instructions.py says what and why.
"""

from __future__ import annotations

import functools

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.players import Player, Record, Stock
from tests.programs import KINDS, MACHINES, engines_of
from tests.random_programs import Program, programs

MANY = 20_000
BUDGETS = (40, 7, 300, 1, 90)
FEW = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
SLOW = settings(
    max_examples=MANY, deadline=None, database=None, suppress_health_check=list(HealthCheck), phases=list(Phase)
)


@functools.cache
def player(machine: str, kind: str, budgets: tuple[int, ...] = (1 << 30,)) -> Player:
    """Kept for all programs, so that each meets the frames and translations of those before."""
    with engines_of(kind):
        return Player(machine, budgets)


@functools.cache
def stock(machine: str) -> Stock:
    return Stock(machine)


def agree(ours: Record, plain: Record) -> None:
    assert ours.stops == plain.stops
    assert ours.registers == plain.registers
    assert ours.memory == plain.memory


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("machine", MACHINES)
def test_like_plain_unicorn(machine: str, kind: str) -> None:
    @FEW
    @given(programs(machine))
    def check(program: Program) -> None:
        with engines_of(kind):
            agree(player(machine, kind).play(program), stock(machine).play(program))

    check()


@pytest.mark.slow
@pytest.mark.parametrize("machine", MACHINES)
def test_a_great_many_programs(machine: str) -> None:
    played = 0

    @SLOW
    @given(programs(machine))
    def check(program: Program) -> None:
        nonlocal played
        played += 1
        plain = stock(machine).play(program)
        records = []
        for kind in KINDS:
            with engines_of(kind):
                agree(player(machine, kind).play(program), plain)
                records.append(player(machine, kind, BUDGETS).play(program))
                agree(records[-1], plain)
        assert records[0] == records[1], "the twin does otherwise"

    check()
    assert played >= MANY
