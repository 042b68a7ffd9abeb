"""A crash report as text, for stderr and `print`: registers, the code around the pc, the memory map, the last calls.

Everything in a report may come from the guest: each line is made printable before it is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sandbox.disassembler import disassemble

if TYPE_CHECKING:
    from sandbox.kernel.crash import CrashReport

_PER_ROW = 4
_REGIONS = 24
_INSTRUCTIONS = 8  # on each side of the pc


def text(crash: CrashReport) -> str:
    return "\n".join(_printable(line) for line in _lines(crash))


def _lines(crash: CrashReport) -> Iterator[str]:
    name = crash.name.decode("utf-8", "backslashreplace")
    yield f"--- {name} (pid {crash.pid}, task {crash.tid}, {crash.isa}): {crash.signal_name}"
    digits = 16 if crash.isa in ("x86_64", "arm64", "riscv64") else 8
    shown = [f"{register:>6} {value:0{digits}x}" for register, value in crash.registers.items()]
    for start in range(0, len(shown), _PER_ROW):
        yield " ".join(shown[start : start + _PER_ROW])
    yield "code:"
    yield from _code(crash)
    yield "memory:"
    for region in crash.regions[:_REGIONS]:
        yield f"  {region}"
    if len(crash.regions) > _REGIONS:
        yield f"  ... {len(crash.regions) - _REGIONS} more"
    if crash.last_syscalls:
        yield "last system calls:"
        for call in crash.last_syscalls:
            yield f"  {call}"


def _code(crash: CrashReport) -> Iterator[str]:
    start, code = crash.code
    thumb = crash.isa == "arm" and bool(crash.registers.get("cpsr", 0) & 0x20)
    if not start <= crash.pc < start + len(code):
        yield f"  there is no memory at the pc, {crash.pc:#x}"
        return
    before, after = code[: crash.pc - start], code[crash.pc - start :]
    # Code of variable length may be misread from the middle: what does not end at the pc is left out.
    listed = list(disassemble(crash.isa, before, start, thumb=thumb))[-_INSTRUCTIONS:]
    for instruction in listed:
        yield f"     {instruction}"
    for index, instruction in enumerate(disassemble(crash.isa, after, crash.pc, _INSTRUCTIONS, thumb=thumb)):
        yield f"{'  -> ' if index == 0 else '     '}{instruction}"


def _printable(line: str) -> str:
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in line)
