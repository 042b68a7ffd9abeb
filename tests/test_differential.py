"""Random programs on our engines and on plain Unicorn: the same registers, memory and stops, whatever pages were
missing, shared or copied on the way. SANDBOX_TEST_MANY=20000 runs so many programs per instruction set through all
three.

What differs for a known reason is not in the programs; instructions.py says what and why.
"""

from __future__ import annotations

import functools

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests import campaign
from tests.instruction_templates import FAMILIES
from tests.instructions import instructions
from tests.players import Player, Record, Stock, initial_context
from tests.programs import KINDS, MACHINES, engines_of
from tests.random_programs import COUNTERS, MOST_PARTS, Program, programs

MANY = campaign.cases(200)
BUDGETS = (40, 7, 300, 1, 90)
FEW = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MORE = settings(
    max_examples=MANY,
    deadline=None,
    database=None,
    derandomize=not campaign.AT_LENGTH,
    suppress_health_check=list(HealthCheck),
    phases=list(Phase),
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


@pytest.mark.parametrize("machine", MACHINES)
def test_no_instruction_changes_the_counter_of_loops(machine: str) -> None:
    pointers = (4,) * len(FAMILIES[machine].classes["p"])  # type: ignore[arg-type]
    parts = [("do", number, 0) for number in range(len(instructions(machine)))]
    waiting = [tuple(parts[first : first + MOST_PARTS]) for first in range(0, len(parts), MOST_PARTS)]
    while waiting:
        program = Program(machine, waiting.pop(), pointers, seed=1)
        record = stock(machine).play(program)
        counter = COUNTERS[machine]
        assert record.registers[counter] == initial_context(program).save()[counter], program
        if record.stops[-1][0] != "syscall" and len(program.parts) > 1:  # it was not run to its end
            waiting += [(part,) for part in program.parts]


@pytest.mark.parametrize("kind", KINDS)
def test_an_instruction_that_moves_the_frame_may_stand_in_a_loop(kind: str) -> None:
    texts = [instruction.text for instruction in instructions("i386")]
    enter = next(number for number, text in enumerate(texts) if text.startswith("enter"))
    program = Program("i386", (("loop", 5, 1), ("do", enter, 0)), (2, 3, 1), seed=95350)
    with engines_of(kind):
        agree(player("i386", kind).play(program), stock("i386").play(program))


@pytest.mark.parametrize("machine", MACHINES)
def test_a_great_many_programs(machine: str) -> None:
    played = 0

    @MORE
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
