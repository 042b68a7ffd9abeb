"""riscv64 (RV64GC, no Zb*, no V). U mode; boards run in M mode."""

from __future__ import annotations

import unicorn
from unicorn import riscv_const as riscv

from sandbox.engine.isa.description import Isa, Trap

_ABI = tuple(
    "zero ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6".split()
)
_NUMBERS = {name: getattr(riscv, f"UC_RISCV_REG_X{n}") for n, name in enumerate(_ABI)}
_NUMBERS["pc"] = riscv.UC_RISCV_REG_PC

ISA = Isa(
    name="riscv64",
    bits=64,
    elf_machine=243,
    unicorn_arch=unicorn.UC_ARCH_RISCV,
    unicorn_mode=unicorn.UC_MODE_RISCV64,
    cpu_model=riscv.UC_CPU_RISCV64_SIFIVE_U54,
    numbers=_NUMBERS,
    wide={f"f{n}": (getattr(riscv, f"UC_RISCV_REG_F{n}"), 8) for n in range(32)}
    | {"fcsr": (riscv.UC_RISCV_REG_FCSR, 8)},
    pc="pc",
    sp="sp",
    flags="pc",
    tp="tp",
    syscall_number="a7",
    syscall_arguments=("a0", "a1", "a2", "a3", "a4", "a5"),
    syscall_result="a0",
    syscall_length=4,
    syscall_vector=8,
    traps={
        0: Trap.ALIGNMENT,
        2: Trap.ILLEGAL_INSTRUCTION,
        3: Trap.BREAKPOINT,
        4: Trap.ALIGNMENT,
        6: Trap.ALIGNMENT,
        8: Trap.ENVIRONMENT_CALL,
        9: Trap.ENVIRONMENT_CALL,
        11: Trap.ENVIRONMENT_CALL,
        0xFFFF: Trap.ILLEGAL_INSTRUCTION,
    },
    instruction_alignment=2,
    breakpoints=(b"\x73\x00\x10\x00", b"\x02\x90"),  # ebreak, c.ebreak
    indirect=frozenset({"fcsr"}),
    trap_pc_after={0: 4, 2: 4, 3: 4, 4: 4, 6: 4},
)
