"""A row of the syscall table, and the kinds its arguments can have.

A row says everything about one call: its name, its handler, what its arguments are, how completely it is served
and what is missing. Numbers come from `sandbox.abi.numbers`; argument conversion (`sandbox.kernel.calling`), traces
(`sandbox.kernel.trace`), the printed table and the completeness test are all derived from it.

`arguments` is a list of `name:kind`. The kinds, and what the handler receives:

    fd dirfd int pid signal choice:X   signed 32 bit
    uint mode uid gid dev flags:X      unsigned 32 bit; flags:open is converted to the generic bits
    uid16 gid16                        unsigned, 16 bit widened: 0xffff means "unchanged" and becomes 0xffffffff
    long offset                        signed machine word
    ulong size address                 unsigned machine word
    in out inout                       a guest pointer, 0 is NULL; `in` or `out` followed by a `size` is shown as data
    loff                               signed 64 bit: one register, or two on 32-bit ISAs (from an even one on arm)
    path string                        bytes, copied in already;  path? string?: None for NULL

Each family of calls (`sys_*.py`) ends with its `ROWS`; `sandbox.kernel.table` joins them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Level(Enum):
    FULL = "full"  # behaves as on Linux; a test proves that it does something
    PARTIAL = "partial"  # the caveat says what is missing
    STUB = "stub"  # accepted or refused in a fixed way, which the caveat explains


FULL = Level.FULL
PARTIAL = Level.PARTIAL
STUB = Level.STUB

# Called with the task and the converted arguments; returns a value >= 0, or None when no result is to be written
# (the task ended, was given a new program, or its registers were replaced). Raises Errno or Block.
Handler = Callable[..., "int | None"]

INT32 = frozenset(("fd", "dirfd", "int", "pid", "signal"))
UINT32 = frozenset(("uint", "mode", "uid", "gid", "dev"))
ID16 = frozenset(("uid16", "gid16"))
SIGNED_WORD = frozenset(("long", "offset"))
WORD = frozenset(("ulong", "size", "address", "in", "out", "inout"))
WIDE = frozenset(("loff",))
TEXT = frozenset(("path", "string", "path?", "string?"))
_PLAIN = INT32 | UINT32 | ID16 | SIGNED_WORD | WORD | WIDE | TEXT


@dataclass(frozen=True, slots=True)
class Argument:
    name: str
    kind: str  # "flags:open" keeps its vocabulary in `words`
    words: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    name: str
    handler: Callable[..., Any]
    arguments: str
    level: Level
    caveat: str = ""
    isas: tuple[str, ...] = ()  # empty: every ISA that has the name

    def __post_init__(self) -> None:
        if self.level is not FULL and not self.caveat:
            raise ValueError(f"{self.name}: only a full row has no caveat")
        self.parsed()

    def parsed(self) -> tuple[Argument, ...]:
        result = []
        for item in self.arguments.split():
            name, _, kind = item.partition(":")
            kind, _, words = kind.partition(":")
            if kind not in _PLAIN and not (kind in ("flags", "choice") and words):
                raise ValueError(f"{self.name}: unknown argument kind in {item!r}")
            result.append(Argument(name, kind, words))
        return tuple(result)
