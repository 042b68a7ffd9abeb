"""The one syscall table: the rows of all families, bound to the numbers of each ISA.

A syscall is added by a handler and a row in its family's file. What is not in the table gets -ENOSYS and is counted.
`describe` is what `sandbox syscalls` prints.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import NamedTuple

import sandbox.kernel
from sandbox.abi.numbers import NUMBERS
from sandbox.kernel.calling import Call, bind
from sandbox.kernel.row import Level, Row


class Entry(NamedTuple):
    """One syscall of one ISA, ready to be called."""

    call: Call
    row: Row
    number: int


def families() -> list[str]:
    """The modules that hold rows: every `sys_*` of this package."""
    return sorted(module.name for module in iter_modules(sandbox.kernel.__path__) if module.name.startswith("sys_"))


def _collect() -> tuple[Row, ...]:
    return tuple(row for family in families() for row in import_module(f"sandbox.kernel.{family}").ROWS)


@cache
def rows() -> tuple[Row, ...]:
    """Every row. Raises ValueError when two rows claim the same name on one ISA, or a name exists nowhere."""
    result = _collect()
    claimed: set[tuple[str, str]] = set()
    for row in result:
        isas = [isa for isa in row.isas or NUMBERS if row.name in NUMBERS[isa]]
        if not isas:
            raise ValueError(f"no ISA has a syscall named {row.name}")
        for isa in isas:
            if (isa, row.name) in claimed:
                raise ValueError(f"two rows for {row.name} on {isa}")
            claimed.add((isa, row.name))
    return result


@cache
def entries(isa: str) -> dict[int, Entry]:
    """By number."""
    numbers = NUMBERS[isa]
    return {
        numbers[row.name]: Entry(bind(isa, row), row, numbers[row.name])
        for row in rows()
        if row.name in numbers and (not row.isas or isa in row.isas)
    }


@cache
def calls(isa: str) -> dict[int, Call]:
    """By number, what dispatch calls: the part of `entries` that the hot path needs."""
    return {number: entry.call for number, entry in entries(isa).items()}


def describe(isa: str | None = None) -> list[dict[str, object]]:
    """The table as plain data: for one ISA ordered by number, for all (None) by name with the numbers by ISA."""
    if isa is not None:
        return [{"number": number, **_row(entry.row)} for number, entry in sorted(entries(isa).items())]
    return [
        {
            "numbers": {
                name: numbers[row.name]
                for name, numbers in NUMBERS.items()
                if row.name in numbers and (not row.isas or name in row.isas)
            },
            **_row(row),
        }
        for row in sorted(rows(), key=lambda row: (row.name, row.isas))
    ]


def _row(row: Row) -> dict[str, object]:
    arguments = ", ".join(argument.name for argument in row.parsed())
    return {"name": row.name, "arguments": arguments, "level": row.level.value, "caveat": row.caveat}


def counts(isa: str) -> dict[str, int]:
    """How many syscalls of the ISA are served at each level, and how many it has in all."""
    result = {level.value: 0 for level in Level}
    for entry in entries(isa).values():
        result[entry.row.level.value] += 1
    result["total"] = len(NUMBERS[isa])
    return result
