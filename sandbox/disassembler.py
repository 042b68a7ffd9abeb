"""Machine code to text: the one door to capstone.

Takes any bytes; what is no instruction is shown as `.byte`. Knows no files: names of addresses come in as a
function (`sandbox.loader.symbols`, which is above this).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

# Architecture and modes, by the names of capstone's constants: it is imported when the first code is listed, since
# it takes as long to load as a small guest to run.
_MODES: dict[str, tuple[str, ...]] = {
    "x86_64": ("CS_ARCH_X86", "CS_MODE_64"),
    "i386": ("CS_ARCH_X86", "CS_MODE_32"),
    "arm64": ("CS_ARCH_ARM64", "CS_MODE_ARM"),
    "arm": ("CS_ARCH_ARM", "CS_MODE_ARM"),
    "thumb": ("CS_ARCH_ARM", "CS_MODE_THUMB"),
    "riscv64": ("CS_ARCH_RISCV", "CS_MODE_RISCV64", "CS_MODE_RISCVC"),
}
_NUMBER = re.compile(r"#?(0x[0-9a-f]+)")
Names = Callable[[int], str | None]


@dataclass(frozen=True, slots=True)
class Instruction:
    address: int
    code: bytes
    text: str  # mnemonic and operands, e.g. "mov eax, 1"
    target: str | None = None  # the name of an address that occurs among the operands

    def __str__(self) -> str:
        note = f"  <{self.target}>" if self.target else ""
        return f"{self.address:8x}:  {self.code.hex():<16}  {self.text}{note}"


@cache
def _decoder(mode: str) -> Any:
    import capstone

    architecture, *modes = (getattr(capstone, name) for name in _MODES[mode])
    decoder = capstone.Cs(architecture, sum(modes))
    decoder.skipdata = True
    return decoder


def disassemble(
    isa_name: str,
    code: bytes,
    address: int = 0,
    count: int = 0,
    *,
    thumb: bool = False,
    names: Names | None = None,
) -> Iterator[Instruction]:
    """At most `count` instructions (0: all) of `code`, which stands at `address`."""
    mode = "thumb" if thumb and isa_name == "arm" else isa_name
    for where, size, mnemonic, operands in _decoder(mode).disasm_lite(code, address, count):
        raw = code[where - address : where - address + size]
        yield Instruction(where, raw, f"{mnemonic} {operands}".strip(), _target(operands, names))


def _target(operands: str, names: Names | None) -> str | None:
    if names is None:
        return None
    for match in _NUMBER.finditer(operands):
        name = names(int(match[1], 16))
        if name is not None:
            return name
    return None
