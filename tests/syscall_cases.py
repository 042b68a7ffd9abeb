"""A table of syscall cases, and the three tests that run every one of it.

    CASES = Cases()

    @CASES("lseek")                       # the calls that this case proves, by name
    def seeking_ends_at_the_last_offset(w: World) -> None: ...

    test_guest, test_host, test_proof = CASES.tests()

`test_guest` runs a case on every ISA that has the calls. `test_host` runs it on the host's own kernel, so that what it
expects is what Linux does (`host=False` for what needs a second process or is ours alone; `root=True` when an ordinary
user may not). `test_proof` replaces each proven call by one that does nothing and returns 0: the case must notice,
which is what entitles the call's row to `FULL`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from sandbox.abi.numbers import NUMBERS
from tests.syscall_worlds import World, guest, on_host

Body = Callable[[Any], None]


@dataclass(frozen=True)
class Case:
    name: str
    proves: tuple[str, ...]
    body: Body
    host: bool
    isas: tuple[str, ...]


class Cases:
    def __init__(self) -> None:
        self.cases: list[Case] = []

    def __call__(
        self, *proves: str, host: bool = True, root: bool = False, isas: tuple[str, ...] = ()
    ) -> Callable[[Body], Body]:
        def add(body: Body) -> Body:
            present = tuple(isa for isa in isas or NUMBERS if all(name in NUMBERS[isa] for name in proves))
            assert present, f"no ISA has all of {proves}"
            on_host_too = host and "x86_64" in present and (not root or os.geteuid() == 0)
            self.cases.append(Case(body.__name__, proves, body, on_host_too, present))
            return body

        return add

    @property
    def proven(self) -> set[tuple[str, str]]:
        """(ISA, name) of every call that some case proves there."""
        return {(isa, name) for case in self.cases for isa in case.isas for name in case.proves}

    def tests(self) -> tuple[Callable[..., None], Callable[..., None], Callable[..., None]]:
        runs = [(case, isa) for case in self.cases for isa in case.isas]

        @pytest.mark.parametrize(("case", "isa"), runs, ids=[f"{isa}-{case.name}" for case, isa in runs])
        def test_guest(case: Case, isa: str) -> None:
            with guest(isa) as world:
                case.body(world)
                assert world.machine.stats.bugs == 0

        hosted = [case for case in self.cases if case.host]

        @pytest.mark.parametrize("case", hosted, ids=[case.name for case in hosted])
        def test_host(case: Case) -> None:
            failure = on_host(case.body)
            assert not failure, failure

        proofs = [(case, name) for case in self.cases for name in case.proves]

        @pytest.mark.parametrize(("case", "absent"), proofs, ids=[f"{name}-{case.name}" for case, name in proofs])
        def test_proof(case: Case, absent: str) -> None:
            with guest(case.isas[0], absent) as world:
                try:
                    case.body(world)
                except Exception:
                    return
                except AssertionError:
                    return
            pytest.fail(f"{case.name} does not notice when {absent} does nothing")

        return test_guest, test_host, test_proof


__all__ = ["Case", "Cases", "World"]
