"""Counters that a program reads with an instruction, answered from the machine's own clock.

Unicorn would answer them from the host's clock, and a run would never repeat. So user mode may not read them, and the
trap is served here: the virtual counter of arm64 (Arm ARM D13.8.27, at 1 GHz) and `time` of riscv64 (Zicntr, at
10 MHz). What does not trap in Unicorn: the time stamp counter of x86, which the engine answers, and riscv64's
`cycle` and `instret`, which go on showing the host's ticks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi.errno import Errno

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

ARM64_FREQUENCY = 1_000_000_000
RISCV64_PERIOD = 100  # nanoseconds
_MRS_CNTFRQ, _MRS_CNTVCT = 0xD53BE000, 0xD53BE040  # | register
_CSRRS = 0x2073  # csrrs rd, csr, zero
_TIME = 0xC01


def serve_counter(task: Task) -> bool:
    """Emulate the instruction at the PC if it reads a counter; False when it is something else."""
    reader = {"arm64": _arm64, "riscv64": _riscv64}.get(task.kernel.isa.name)
    if reader is None:
        return False
    context = task.context
    try:
        instruction = int.from_bytes(task.space.read(context.pc, 4), "little")
    except Errno:
        return False
    found = reader(instruction, task.kernel.clock.monotonic())
    if found is None:
        return False
    register, value = found
    if register is not None:
        context[register] = value
    context.pc += 4
    return True


def _arm64(instruction: int, now: int) -> tuple[str | None, int] | None:
    number = instruction & 31
    register = f"x{number}" if number < 31 else None  # xzr
    match instruction & ~31:
        case value if value == _MRS_CNTFRQ:
            return register, ARM64_FREQUENCY
        case value if value == _MRS_CNTVCT:
            return register, now
    return None


def _riscv64(instruction: int, now: int) -> tuple[str | None, int] | None:
    if instruction & 0xFF07F != _CSRRS or instruction >> 20 != _TIME:
        return None
    return _RISCV64_NAMES[instruction >> 7 & 31], now // RISCV64_PERIOD


_RISCV64_NAMES = (
    None,
    *"ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6".split(),
)
