"""How a fresh Unicorn instance is brought to the state in which a Linux program starts: user privilege,
floating point on, flat segments, the user's system registers readable.

Each function gets a bare instance (virtual TLB mode, every page showing one scratch frame of `memory`) and
leaves it in the state that `context.py` takes as the beginning of every context. Sources: unicorn-engine
2.1.4's reg_write functions; Intel SDM vol. 3A, 5.8 and 6.12; Arm ARM D13; RISC-V privileged specification 3.1.6.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable

from unicorn import arm64_const as arm64
from unicorn import arm_const as arm
from unicorn import riscv_const as riscv
from unicorn import x86_const as x86

from sandbox.engine import library

# Linux's selectors (arch/x86/include/asm/segment.h).
USER32_CS, USER_DS, USER_CS = 0x23, 0x2B, 0x33
GDT = struct.pack(
    "<8Q", 0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF, 0, 0x00CFFB000000FFFF, 0x00CFF3000000FFFF, 0x00AFFB000000FFFF, 0
)
GDT_ADDRESS = 0xFFFFF000  # i386: where each address space shows its descriptor table, above stack and scratch page
SCRATCH = 0x1000


class _Descriptor(ctypes.Structure):
    """uc_x86_mmr."""

    _fields_ = [
        ("selector", ctypes.c_uint16),
        ("base", ctypes.c_uint64),
        ("limit", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
    ]


class _Arm64System(ctypes.Structure):
    """uc_arm64_cp_reg."""

    _fields_ = [
        ("crn", ctypes.c_uint32),
        ("crm", ctypes.c_uint32),
        ("op0", ctypes.c_uint32),
        ("op1", ctypes.c_uint32),
        ("op2", ctypes.c_uint32),
        ("val", ctypes.c_uint64),
    ]


def _write(uc: int, register: int, value: int) -> None:
    library.check(library.reg_write(uc, register, ctypes.byref(ctypes.c_uint64(value))), "a register write")


def _read(uc: int, register: int) -> int:
    value = ctypes.c_uint64()
    library.check(library.reg_read(uc, register, ctypes.byref(value)), "a register read")
    return value.value


def _descriptor_table(uc: int, base: int) -> None:
    table = _Descriptor(0, base, len(GDT) + 3 * 8 - 1, 0)
    library.check(library.reg_write(uc, x86.UC_X86_REG_GDTR, ctypes.byref(table)), "the descriptor table")


def _initial_floating_point(uc: int) -> None:
    """What Linux gives a program; Unicorn's reset leaves zeros: x87 in single precision, nothing masked."""
    for register, value in (
        (x86.UC_X86_REG_FPCW, 0x37F),
        (x86.UC_X86_REG_FPTAG, 0xFFFF),
        (x86.UC_X86_REG_MXCSR, 0x1F80),
    ):
        _write(uc, register, value)


def _x86_64(uc: int, memory: memoryview) -> None:
    """iretq to ring 3, where a `hlt` stops: writing CS alone would leave the privilege level at 0."""
    memory[0 : len(GDT)] = GDT
    memory[0x100:0x102] = b"\x48\xcf"  # iretq
    memory[0x180:0x181] = b"\xf4"  # hlt: refused in ring 3
    frame = struct.pack("<5Q", SCRATCH + 0x180, USER_CS, 0x202, SCRATCH + 0xC00, USER_DS)
    memory[0x800 : 0x800 + len(frame)] = frame
    _descriptor_table(uc, SCRATCH)
    _initial_floating_point(uc)
    _write(uc, x86.UC_X86_REG_RSP, SCRATCH + 0x800)
    library.emu_start(uc, SCRATCH + 0x100, 0, 0, 0)


def _i386(uc: int, memory: memoryview) -> None:
    memory[0 : len(GDT)] = GDT
    memory[0x100:0x101] = b"\xcf"  # iret
    memory[0x180:0x192] = bytes.fromhex("b82b000000 8ed8 8ec0 31c0 8ee0 8ee8 f4 909090")[:18]
    frame = struct.pack("<5I", SCRATCH + 0x180, USER32_CS, 0x202, SCRATCH + 0xC00, USER_DS)
    memory[0x800 : 0x800 + len(frame)] = frame
    _descriptor_table(uc, SCRATCH)
    _initial_floating_point(uc)
    _write(uc, x86.UC_X86_REG_ESP, SCRATCH + 0x800)
    library.emu_start(uc, SCRATCH + 0x100, 0, 0, 0)
    _descriptor_table(uc, GDT_ADDRESS)


def _arm64(uc: int, memory: memoryview) -> None:
    """EL0; SCTLR_EL1.{UCI,UCT,DZE} let it use cache maintenance and dc zva."""

    def system(op1: int, crn: int, crm: int, op2: int, change: Callable[[int], int]) -> None:
        register = _Arm64System(crn, crm, 3, op1, op2, 0)
        library.check(library.reg_read(uc, arm64.UC_ARM64_REG_CP_REG, ctypes.byref(register)), "a system register")
        register.val = change(register.val)
        library.check(library.reg_write(uc, arm64.UC_ARM64_REG_CP_REG, ctypes.byref(register)), "a system register")

    _write(uc, arm64.UC_ARM64_REG_PSTATE, 0)
    system(0, 1, 0, 2, lambda value: value | 3 << 20)  # CPACR_EL1.FPEN
    system(0, 14, 1, 0, lambda value: value & ~3)  # CNTKCTL_EL1: reading the host's counter traps
    system(0, 1, 0, 0, lambda value: value | 1 << 26 | 1 << 15 | 1 << 14)  # SCTLR_EL1; also rebuilds hflags


def _arm(uc: int, memory: memoryview) -> None:
    _write(uc, arm.UC_ARM_REG_C1_C0_2, 0xF << 20)
    _write(uc, arm.UC_ARM_REG_FPEXC, 0x40000000)
    _write(uc, arm.UC_ARM_REG_CPSR, 0x10)


def _riscv64(uc: int, memory: memoryview) -> None:
    _write(uc, riscv.UC_RISCV_REG_MSTATUS, _read(uc, riscv.UC_RISCV_REG_MSTATUS) | 0x6000)  # FS: dirty
    _write(uc, riscv.UC_RISCV_REG_PRIV, 0)


def flat_data_descriptor(base: int) -> bytes:
    """A 4 GiB data segment of ring 3 (Intel SDM vol. 3A, 3.4.5)."""
    return struct.pack("<Q", 0x00CFF3000000FFFF | (base & 0xFFFFFF) << 16 | (base >> 24) << 56)


ENTER_USER: dict[str, Callable[[int, memoryview], None]] = {
    "x86_64": _x86_64,
    "i386": _i386,
    "arm64": _arm64,
    "arm": _arm,
    "riscv64": _riscv64,
}


def enable_floating_point(name: str, uc: int) -> None:
    """For privileged contexts (boards): the FPU on, nothing else changed."""
    if name == "riscv64":
        _write(uc, riscv.UC_RISCV_REG_MSTATUS, _read(uc, riscv.UC_RISCV_REG_MSTATUS) | 0x6000)
    elif name == "arm":
        _write(uc, arm.UC_ARM_REG_C1_C0_2, 0xF << 20)
        _write(uc, arm.UC_ARM_REG_FPEXC, 0x40000000)
