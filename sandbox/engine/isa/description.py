"""What the engine and the kernel need to know of an instruction set, as data. One file per ISA fills it in.

Register names are those that assembly programmers use; "tp" is, on every ISA, the register that holds the
thread pointer of the C library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum


class Access(IntEnum):
    """A kind of memory access; the value is the PROT_* bit it needs."""

    READ = 1
    WRITE = 2
    FETCH = 4


class Trap(Enum):
    """What an instruction raised, in terms that do not depend on the ISA."""

    ILLEGAL_INSTRUCTION = "illegal instruction"
    DIVIDE_ERROR = "divide error"
    BREAKPOINT = "breakpoint"
    PROTECTION = "protection fault"
    FLOATING_POINT = "floating point exception"
    OVERFLOW = "overflow"
    BOUNDS = "bounds exceeded"
    ALIGNMENT = "misaligned access"
    SINGLE_STEP = "single step"
    ENVIRONMENT_CALL = "environment call"
    OTHER = "trap"


@dataclass(frozen=True, slots=True)
class Isa:
    """`numbers` maps integer registers, `wide` the others, to Unicorn's register numbers."""

    name: str
    bits: int
    elf_machine: int  # e_machine
    unicorn_arch: int
    unicorn_mode: int
    cpu_model: int | None
    numbers: Mapping[str, int]
    wide: Mapping[str, tuple[int, int]]  # name: (register number, bytes)
    pc: str
    sp: str
    flags: str
    tp: str
    syscall_number: str
    syscall_arguments: tuple[str, ...]
    syscall_result: str
    syscall_length: int  # bytes of the instruction: a restart goes back so far
    syscall_vector: int  # the interrupt that means a syscall; -1: a hook of its own
    traps: Mapping[int, Trap]
    instruction_alignment: int = 1
    trap_pc_after: Mapping[int, int] = field(default_factory=dict)  # vector: bytes by which the PC is already past
    breakpoints: tuple[bytes, ...] = ()  # instructions that Unicorn calls invalid and the ISA a breakpoint
    indirect: frozenset[str] = frozenset()  # registers that need a live CPU around them
    hidden: frozenset[str] = frozenset()  # registers that Unicorn keeps and does not name
    display: tuple[str, ...] = ()
    block_start_faults: bool = False  # a fetch fault in the middle of a block is reported at its start

    @property
    def word_bytes(self) -> int:
        return self.bits // 8

    @property
    def word_mask(self) -> int:
        return (1 << self.bits) - 1

    @property
    def elf_class(self) -> int:
        """ELFCLASS32 or ELFCLASS64."""
        return 2 if self.bits == 64 else 1

    @property
    def page_size(self) -> int:
        return 4096

    @property
    def registers(self) -> tuple[str, ...]:
        """Integer registers in the order in which people expect to see them."""
        return self.display or tuple(self.numbers)

    @property
    def thread_pointer(self) -> str:
        return self.tp
