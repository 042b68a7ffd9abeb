"""arm (Armv7-A as in a Cortex-A15: A32 and Thumb-2, VFPv4, NEON). User mode.

Thumb is a bit of the CPSR; the PC is kept even, and an odd value written to it selects Thumb, as `bx` does.
"""

from __future__ import annotations

import unicorn
from unicorn import arm_const as arm

from sandbox.engine.isa.description import Isa, Trap

_NUMBERS = {f"r{n}": getattr(arm, f"UC_ARM_REG_R{n}") for n in range(13)}
_NUMBERS |= {
    "sp": arm.UC_ARM_REG_SP,
    "lr": arm.UC_ARM_REG_LR,
    "pc": arm.UC_ARM_REG_PC,
    "cpsr": arm.UC_ARM_REG_CPSR,
    "tpidruro": arm.UC_ARM_REG_C13_C0_3,
}

ISA = Isa(
    name="arm",
    bits=32,
    elf_machine=40,
    unicorn_arch=unicorn.UC_ARCH_ARM,
    unicorn_mode=unicorn.UC_MODE_ARM,
    cpu_model=arm.UC_CPU_ARM_CORTEX_A15,
    numbers=_NUMBERS,
    wide={f"d{n}": (getattr(arm, f"UC_ARM_REG_D{n}"), 8) for n in range(32)} | {"fpscr": (arm.UC_ARM_REG_FPSCR, 4)},
    pc="pc",
    sp="sp",
    flags="cpsr",
    tp="tpidruro",
    syscall_number="r7",
    syscall_arguments=("r0", "r1", "r2", "r3", "r4", "r5"),
    syscall_result="r0",
    syscall_length=4,  # 2 in Thumb state
    syscall_vector=2,
    traps={
        1: Trap.ILLEGAL_INSTRUCTION,
        3: Trap.ALIGNMENT,
        4: Trap.ALIGNMENT,
        7: Trap.BREAKPOINT,
        0xFFFF: Trap.ILLEGAL_INSTRUCTION,
    },
    instruction_alignment=2,
    indirect=frozenset({"pc", "cpsr", "tpidruro", "fpscr"}),
)
