"""x86-64 (AMD64). Syscall instruction, ring 3, no AVX (Unicorn computes it wrongly; CPUID hides it)."""

from __future__ import annotations

import unicorn
from unicorn import x86_const as x86

from sandbox.engine.isa.description import Isa, Trap

_NAMES = tuple(
    "rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip eflags fs_base gs_base cs ss ds es fs gs".split()
)

X86_TRAPS = {
    0: Trap.DIVIDE_ERROR,
    1: Trap.SINGLE_STEP,
    3: Trap.BREAKPOINT,
    4: Trap.OVERFLOW,
    5: Trap.BOUNDS,
    6: Trap.ILLEGAL_INSTRUCTION,
    13: Trap.PROTECTION,
    16: Trap.FLOATING_POINT,
    17: Trap.ALIGNMENT,
    19: Trap.FLOATING_POINT,
    0xFFFF: Trap.ILLEGAL_INSTRUCTION,
}


def x87_and_sse(count: int) -> dict[str, tuple[int, int]]:
    wide = {f"xmm{n}": (getattr(x86, f"UC_X86_REG_XMM{n}"), 16) for n in range(count)}
    wide |= {f"fp{n}": (getattr(x86, f"UC_X86_REG_FP{n}"), 10) for n in range(8)}
    wide["mxcsr"] = (x86.UC_X86_REG_MXCSR, 4)
    wide["fpcw"] = (x86.UC_X86_REG_FPCW, 2)
    wide["fpsw"] = (x86.UC_X86_REG_FPSW, 2)
    wide["fptag"] = (x86.UC_X86_REG_FPTAG, 2)
    return wide


ISA = Isa(
    name="x86_64",
    bits=64,
    elf_machine=62,
    unicorn_arch=unicorn.UC_ARCH_X86,
    unicorn_mode=unicorn.UC_MODE_64,
    cpu_model=None,
    numbers={name: getattr(x86, f"UC_X86_REG_{name.upper()}") for name in _NAMES},
    wide=x87_and_sse(16),
    pc="rip",
    sp="rsp",
    flags="eflags",
    tp="fs_base",
    syscall_number="rax",
    syscall_arguments=("rdi", "rsi", "rdx", "r10", "r8", "r9"),
    syscall_result="rax",
    syscall_length=2,
    syscall_vector=-1,
    traps=X86_TRAPS,
    display=_NAMES[:20],
    block_start_faults=True,
)
