"""arm64 (AArch64, Armv8.0-A as in a Cortex-A72: no LSE, no SVE). EL0."""

from __future__ import annotations

import unicorn
from unicorn import arm64_const as arm64

from sandbox.engine.isa.description import Isa, Trap

_NUMBERS = {f"x{n}": getattr(arm64, f"UC_ARM64_REG_X{n}") for n in range(31)}
_NUMBERS |= {
    "sp": arm64.UC_ARM64_REG_SP,
    "pc": arm64.UC_ARM64_REG_PC,
    "pstate": arm64.UC_ARM64_REG_PSTATE,
    "tpidr_el0": arm64.UC_ARM64_REG_TPIDR_EL0,
}

ISA = Isa(
    name="arm64",
    bits=64,
    elf_machine=183,
    unicorn_arch=unicorn.UC_ARCH_ARM64,
    unicorn_mode=unicorn.UC_MODE_ARM,
    cpu_model=arm64.UC_CPU_ARM64_A72,
    numbers=_NUMBERS,
    wide={f"q{n}": (getattr(arm64, f"UC_ARM64_REG_Q{n}"), 16) for n in range(32)}
    | {"fpcr": (arm64.UC_ARM64_REG_FPCR, 4), "fpsr": (arm64.UC_ARM64_REG_FPSR, 4)},
    pc="pc",
    sp="sp",
    flags="pstate",
    tp="tpidr_el0",
    syscall_number="x8",
    syscall_arguments=("x0", "x1", "x2", "x3", "x4", "x5"),
    syscall_result="x0",
    syscall_length=4,
    syscall_vector=2,
    traps={
        1: Trap.ILLEGAL_INSTRUCTION,
        3: Trap.ALIGNMENT,
        4: Trap.ALIGNMENT,
        7: Trap.BREAKPOINT,
        0xFFFF: Trap.ILLEGAL_INSTRUCTION,
    },
    instruction_alignment=4,
    indirect=frozenset({"fpcr", "fpsr"}),
)
