"""The accelerator and its twin in Python do the same: the same stops at the same places for the same work, the same
faults, copies and flips, down to the figures they report.
"""

from __future__ import annotations

import pytest
from hypothesis import given

from tests.programs import CODE, DATA, KINDS, MACHINES, Bench, engines_of
from tests.random_programs import Program, programs
from tests.test_differential import BUDGETS, FEW, player

PAGE = 4096


@pytest.mark.parametrize("machine", MACHINES)
def test_random_programs(machine: str) -> None:
    @FEW
    @given(programs(machine))
    def check(program: Program) -> None:
        records = []
        for kind in KINDS:
            with engines_of(kind):
                records.append(player(machine, kind, BUDGETS).play(program))
        assert records[0] == records[1]

    check()


def figures(bench: Bench) -> dict[str, int]:
    engine = bench.engine
    return {
        "misses": engine.tlb_misses,
        "flushes": engine.tlb_flushes,
        "resolved": engine.faults_resolved,
        "flips": engine.flips,
        "used": bench.pool.used,
        "resident": bench.space.resident,
    } | bench.space.faults


@pytest.mark.parametrize("machine", MACHINES)
def test_figures(machine: str) -> None:
    """A walk, a fork, code that is written and executed in turn: both count the same."""
    results = []
    for kind in KINDS:
        with engines_of(kind), Bench(machine) as bench:
            seen = []
            bench.start("walk", pointer=DATA, counter=60, step=PAGE // 2)
            while (stop := bench.run(77)).reason.name == "BUDGET":
                seen.append((stop.pc, stop.work))
            seen.append((stop.pc, stop.work))
            child = bench.space.fork()
            bench.start("walk", pointer=DATA, counter=60, step=PAGE // 2)
            bench.run()
            page = 0x60_0000
            bench.space.map(page, PAGE, 7, fixed=True)
            bench.place("return", page + 0x400)
            bench.start("beside", page, pointer=page + 0x800, counter=20, target=bench.entry(page + 0x400))
            bench.run()
            bench.space.write(CODE, b"\0" * 16)
            results.append((seen, figures(bench), bench.faults, bench.registers()))
            child.release()
    assert results[0] == results[1]
