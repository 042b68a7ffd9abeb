"""Registers with what they point to, the code around the pc, the top of the stack."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sandbox.dashboard.portraits.memory import peek
from sandbox.dashboard.view import InstructionView, ProcessorView, RegisterView, StackSlot
from sandbox.disassembler import Instruction, disassemble
from sandbox.loader import Symbols

_LONGEST = 16  # bytes of an instruction
_STACK = 32  # slots
_BACK = 64  # bytes before the pc, at most
_STRING = 40
_FIXED = ("arm64", "arm")

# Flag bits by ISA, most significant last, as debuggers name them.
_FLAGS: dict[str, tuple[tuple[str, int], ...]] = {
    "x86_64": (("CF", 0), ("PF", 2), ("AF", 4), ("ZF", 6), ("SF", 7), ("TF", 8), ("IF", 9), ("DF", 10), ("OF", 11)),
    "i386": (("CF", 0), ("PF", 2), ("AF", 4), ("ZF", 6), ("SF", 7), ("TF", 8), ("IF", 9), ("DF", 10), ("OF", 11)),
    "arm64": (("N", 31), ("Z", 30), ("C", 29), ("V", 28)),
    "arm": (("N", 31), ("Z", 30), ("C", 29), ("V", 28), ("T", 5)),
}


def processor_view(
    isa: Any,
    context: Any,
    space: Any,
    before: Mapping[str, int],
    symbols: Symbols,
    breakpoints: frozenset[int],
    instructions: int,
    task: int | None,
    live: bool,
) -> ProcessorView:
    """`before`: the registers of the picture that this one is compared with; empty for the first one."""
    context.settle()  # the result of the last call may not be in its register yet
    values = {name: int(context[name]) for name in isa.registers}
    pc, sp = int(context.pc), int(context.sp)
    regions = [(region.start, region.end, region.name) for region in space.regions()]

    def note(value: int) -> bytes:
        return _note(value, space, regions, symbols)

    registers = []
    for name, value in values.items():
        words = _flag_words(isa.name, value).encode() if name == isa.flags else note(value)
        registers.append(RegisterView(name, value, name in before and before[name] != value, words))
    thumb = isa.name == "arm" and bool(values.get(isa.flags, 0) & 0x20)
    code = _code(isa.name, space, pc, instructions, thumb, symbols, breakpoints)
    return ProcessorView(
        isa=isa.name,
        bits=isa.bits,
        pc=pc,
        sp=sp,
        registers=tuple(registers),
        flags=_flag_words(isa.name, values.get(isa.flags, 0)),
        code=code,
        stack=_stack(isa, space, sp, note),
        task=task,
        live=live,
    )


def _flag_words(isa: str, value: int) -> str:
    return " ".join(name for name, bit in _FLAGS.get(isa, ()) if value >> bit & 1)


def _note(value: int, space: Any, regions: list[tuple[int, int, bytes]], symbols: Symbols) -> bytes:
    """What an address leads to: a symbol, a string, a mapping. Empty for what is no address."""
    if value < 4096:
        return b""
    found = next((region for region in regions if region[0] <= value < region[1]), None)
    if found is None:
        return b""
    near = symbols.near(value)
    if near is not None and near[1] < 1 << 16:
        name = near[0].encode("utf-8", "surrogateescape")
        return name if near[1] == 0 else b"%s+%#x" % (name, near[1])
    text = peek(space, value, _STRING)
    length = next((index for index, byte in enumerate(text) if not 0x20 <= byte < 0x7F), len(text))
    if length >= 4:
        return b'"' + text[:length] + (b'"' if length < len(text) else b'..."')
    start, _, name = found
    return b"%s+%#x" % (name.rsplit(b"/", 1)[-1], value - start) if name else b""


def _code(
    isa: str, space: Any, pc: int, count: int, thumb: bool, symbols: Symbols, breakpoints: frozenset[int]
) -> tuple[InstructionView, ...]:
    ahead = list(disassemble(isa, peek(space, pc, count * _LONGEST), pc, count, thumb=thumb))
    listed = _before(isa, space, pc, max(1, count // 3), thumb, symbols) + ahead
    views = []
    for item in listed:
        name = symbols.at(item.address)
        views.append(
            InstructionView(
                item.address,
                item.code,
                item.text + (f"  <{target}>" if (target := _target(item, symbols)) else ""),
                name.encode("utf-8", "surrogateescape") if name else b"",
                item.address in breakpoints,
            )
        )
    return tuple(views)


def _target(item: Instruction, symbols: Symbols) -> str | None:
    word = item.text.rpartition(" ")[2].lstrip("#")
    if not word.startswith("0x"):
        return None
    try:
        return symbols.at(int(word, 16))
    except ValueError:
        return None


def _before(isa: str, space: Any, pc: int, count: int, thumb: bool, symbols: Symbols) -> list[Instruction]:
    """Instructions that end exactly at the pc. Where lengths vary, from the nearest symbol, else from the farthest
    start that leads there."""
    if isa in _FIXED and not thumb:
        starts = [pc - 4 * count]
    else:
        near = symbols.near(pc)
        step = 1 if isa in ("x86_64", "i386") else 2
        starts = [pc - near[1]] if near is not None and 0 < near[1] <= _BACK else []
        starts += list(range(pc - _BACK, pc, step))
    for start in starts:
        code = peek(space, start, pc - start) if start >= 0 else b""
        if len(code) != pc - start:
            continue
        listed = list(disassemble(isa, code, start, thumb=thumb))
        whole = sum(len(item.code) for item in listed) == len(code)
        if whole and not any(item.text.startswith(".byte") for item in listed):
            return listed[-count:]
    return []


def _stack(isa: Any, space: Any, sp: int, note: Callable[[int], bytes]) -> tuple[StackSlot, ...]:
    word = isa.bits // 8
    data = peek(space, sp, _STACK * word)
    slots = []
    for at in range(0, len(data) - word + 1, word):
        value = int.from_bytes(data[at : at + word], "little")
        slots.append(StackSlot(sp + at, value, note(value)))
    return tuple(slots)
