"""i386 (IA-32): int 0x80 and sysenter, ring 3, thread-local storage through the GDT."""

from __future__ import annotations

import unicorn
from unicorn import x86_const as x86

from sandbox.engine.isa.description import Isa
from sandbox.engine.isa.x86_64 import X86_TRAPS, x87_and_sse

_NAMES = tuple("eax ebx ecx edx esi edi ebp esp eip eflags cs ss ds es fs gs".split())

ISA = Isa(
    name="i386",
    bits=32,
    elf_machine=3,
    unicorn_arch=unicorn.UC_ARCH_X86,
    unicorn_mode=unicorn.UC_MODE_32,
    cpu_model=None,
    numbers={name: getattr(x86, f"UC_X86_REG_{name.upper()}") for name in _NAMES},
    wide=x87_and_sse(8),
    pc="eip",
    sp="esp",
    flags="eflags",
    tp="gs_base",
    syscall_number="eax",
    syscall_arguments=("ebx", "ecx", "edx", "esi", "edi", "ebp"),
    syscall_result="eax",
    syscall_length=2,
    syscall_vector=0x80,
    traps=X86_TRAPS,
    hidden=frozenset({"fs_base", "gs_base"}),
    indirect=frozenset({"cs", "ss", "ds", "es", "fs", "gs"}),
    display=(*_NAMES[:10], "gs_base"),
    block_start_faults=True,
)
