"""Random bytes as code, in child processes that may die of them: none does.

A hundred cases for each machine by default, SANDBOX_TEST_MANY for more; the seed is SANDBOX_RANDOM_CODE_SEED.
A death is reproduced by `python -m tests.random_code MACHINE SEED 60 --only NUMBER`, or `--first` a little before it.
"""

from __future__ import annotations

import os

import pytest

from tests import campaign
from tests.random_code import MACHINES, code_of, hunt, real_code

CASES = campaign.cases(100)
AT_MOST = 3600.0  # seconds
SEED = int(os.environ.get("SANDBOX_RANDOM_CODE_SEED", "1"))


@pytest.mark.parametrize("machine", MACHINES)
def test_no_child_dies(machine: str) -> None:
    catch = hunt(machine, SEED, AT_MOST, CASES)
    assert not catch.deaths, catch.deaths
    assert catch.cases == CASES


@pytest.mark.parametrize("machine", MACHINES)
def test_a_case_is_the_same_every_time(machine: str) -> None:
    real = real_code(machine)
    first = [code_of(machine, 5, number, real)[0] for number in range(12)]
    assert first == [code_of(machine, 5, number, real)[0] for number in range(12)]
    assert len(set(first)) == 12
