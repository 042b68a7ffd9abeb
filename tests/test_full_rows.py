"""Every `full` row of the syscall table, on every ISA, is proven by a case that fails when the call does nothing and
returns 0 (`test_proof` of syscall_cases.py). What is not proven is partial, with a caveat, or a stub.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import pkgutil
from functools import cache

import pytest

import tests
from sandbox.abi.numbers import NUMBERS
from sandbox.cli import main
from sandbox.kernel.row import FULL
from sandbox.kernel.table import counts, entries
from tests.syscall_cases import Cases


@cache
def suites() -> dict[str, Cases]:
    """By module: the tables of cases of all tests."""
    names = [module.name for module in pkgutil.iter_modules(tests.__path__) if module.name.startswith("test_syscalls_")]
    modules = {name: importlib.import_module(f"tests.{name}") for name in names}
    return {name: module.CASES for name, module in modules.items() if isinstance(getattr(module, "CASES", None), Cases)}


def proven() -> set[tuple[str, str]]:
    return set().union(*(suite.proven for suite in suites().values()))


@pytest.mark.parametrize("isa", list(NUMBERS))
def test_a_full_row_has_a_case_that_fails_when_the_call_does_nothing(isa: str) -> None:
    full = {entry.row.name for entry in entries(isa).values() if entry.row.level is FULL}
    assert len(full) > 100
    unproven = sorted(name for name in full if (isa, name) not in proven())
    assert not unproven, "prove them, or call them partial and say what is missing"


def test_every_table_of_cases_runs_its_proofs() -> None:
    """A table whose `tests()` nobody calls, or whose proofs are not in the module under a name that pytest sees, proves
    nothing."""
    assert len(suites()) >= 15
    for name in suites():
        module = importlib.import_module(f"tests.{name}")
        bodies = [getattr(value, "__qualname__", "") for key, value in vars(module).items() if key.startswith("test_")]
        assert any("Cases.tests.<locals>.test_proof" in body for body in bodies), name
        assert any("Cases.tests.<locals>.test_guest" in body for body in bodies), name


@pytest.mark.parametrize("isa", list(NUMBERS))
def test_the_table_is_counted(isa: str) -> None:
    found = counts(isa)
    assert found["full"] + found["partial"] + found["stub"] == len(entries(isa)) <= found["total"]
    out = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(out):
        assert main(["syscalls"]) == 0
    line = next(line for line in out.getvalue().splitlines() if line.startswith(f"{isa}:"))
    assert line == (
        f"{isa}: {found['full']} full, {found['partial']} partial, {found['stub']} stub; "
        f"of {found['total']} calls the ISA has"
    )
