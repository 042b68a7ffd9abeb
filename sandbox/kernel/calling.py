"""From the six raw registers of a syscall to the arguments of a handler.

For every combination of argument kinds a small function is generated once, so that a call costs one Python call
and no loop: for `fd:fd buffer:out count:size` on x86-64 it is

    def call(task, a):
        return handler(task, (a[0] & M ^ S) - S, a[1], a[2])

The generated text depends on the table only, never on anything a guest says.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from sandbox.abi.flags import open_flags
from sandbox.abi.structs import BITS
from sandbox.kernel.row import ID16, INT32, SIGNED_WORD, UINT32, WIDE, WORD, Argument, Handler, Row
from sandbox.kernel.task import Task

Call = Callable[[Task, tuple[int, ...]], "int | None"]

PATH_LIMIT = 4096


def places(isa: str, arguments: tuple[Argument, ...]) -> list[int]:
    """The register in which each argument starts."""
    result = []
    register = 0
    for argument in arguments:
        if argument.kind in WIDE and isa == "arm":
            register += register & 1  # EABI: 64-bit values start at an even register
        result.append(register)
        register += 2 if argument.kind in WIDE and BITS[isa] == 32 else 1
    return result


def _signed(text: str, bits: int) -> str:
    return f"({text} & {(1 << bits) - 1:#x} ^ {1 << bits - 1:#x}) - {1 << bits - 1:#x}"


def _widened_id(value: int) -> int:
    value &= 0xFFFF
    return 0xFFFFFFFF if value == 0xFFFF else value


def _text(task: Task, address: int) -> bytes:
    return task.space.copy_string(address, PATH_LIMIT)


def _text_or_none(task: Task, address: int) -> bytes | None:
    return task.space.copy_string(address, PATH_LIMIT) if address else None


def _expression(isa: str, argument: Argument, register: int) -> str:
    """The Python expression that converts one argument; `a` is the tuple of raw registers."""
    kind = argument.kind
    raw = f"a[{register}]"
    bits = BITS[isa]
    if kind == "flags" and argument.words == "open" and isa in ("arm", "arm64"):
        return f"open_flags({isa!r}, {raw} & 0xffffffff)"
    if kind in INT32 or kind == "choice":
        return _signed(raw, 32)
    if kind in UINT32 or kind == "flags":
        return raw if bits == 32 else f"{raw} & 0xffffffff"
    if kind in ID16:
        return f"_widened_id({raw})"
    if kind in SIGNED_WORD:
        return _signed(raw, bits)
    if kind in WORD:
        return raw
    if kind in WIDE:
        if bits == 64:
            return _signed(raw, 64)
        return _signed(f"({raw} | a[{register + 1}] << 32)", 64)
    return f"_text_or_none(task, {raw})" if kind.endswith("?") else f"_text(task, {raw})"


@cache
def _factory(isa: str, arguments: tuple[Argument, ...]) -> Callable[[Handler], Call]:
    registers = places(isa, arguments)
    expressions = [
        _expression(isa, argument, register) for argument, register in zip(arguments, registers, strict=True)
    ]
    passed = "".join(f", {expression}" for expression in expressions)
    source = f"def bind(handler):\n def call(task, a):\n  return handler(task{passed})\n return call\n"
    names = {"open_flags": open_flags, "_widened_id": _widened_id, "_text": _text, "_text_or_none": _text_or_none}
    exec(compile(source, f"<{isa} syscall>", "exec"), names)
    bind: Callable[[Handler], Call] = names["bind"]  # type: ignore[assignment]
    return bind


def bind(isa: str, row: Row) -> Call:
    """The function that dispatch calls with (task, raw registers)."""
    return _factory(isa, row.parsed())(row.handler)
