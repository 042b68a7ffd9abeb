"""Control and status registers of privileged contexts, for boards: what trap entry is made of.

They can only be reached through a live CPU in its highest privilege, so a whole set is read or written at once
through the template instance. `priv` is the privilege level (riscv64: 0 user, 1 supervisor, 3 machine).
Unicorn reads MIP as 0 by name, and delivers neither traps nor interrupts by itself: a board does.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping

from unicorn import riscv_const as riscv

from sandbox.engine import layout, library
from sandbox.engine.context import Context, template

PRIVILEGE = "priv"
HIGHEST = 3
CONTROL_REGISTERS: dict[str, dict[str, int]] = {
    "riscv64": {
        "mstatus": riscv.UC_RISCV_REG_MSTATUS,
        "misa": riscv.UC_RISCV_REG_MISA,
        "medeleg": riscv.UC_RISCV_REG_MEDELEG,
        "mideleg": riscv.UC_RISCV_REG_MIDELEG,
        "mie": riscv.UC_RISCV_REG_MIE,
        "mtvec": riscv.UC_RISCV_REG_MTVEC,
        "mscratch": riscv.UC_RISCV_REG_MSCRATCH,
        "mepc": riscv.UC_RISCV_REG_MEPC,
        "mcause": riscv.UC_RISCV_REG_MCAUSE,
        "mtval": riscv.UC_RISCV_REG_MTVAL,
        PRIVILEGE: riscv.UC_RISCV_REG_PRIV,
    }
}


def read_control(context: Context, names: Iterable[str]) -> dict[str, int]:
    """Raises KeyError for a name the ISA does not have."""
    numbers = CONTROL_REGISTERS[context.isa.name]
    uc, privilege = _enter(context, numbers[PRIVILEGE])
    return {name: privilege if name == PRIVILEGE else _read(uc, numbers[name]) for name in names}


def write_control(context: Context, values: Mapping[str, int]) -> None:
    """Raises KeyError for a name the ISA does not have."""
    numbers = CONTROL_REGISTERS[context.isa.name]
    uc, privilege = _enter(context, numbers[PRIVILEGE])
    for name, value in values.items():
        if name == PRIVILEGE:
            privilege = value
        else:
            _write(uc, numbers[name], value)
    _write(uc, numbers[PRIVILEGE], privilege)
    library.check(library.context_save(uc, context.park()), "saving a context")
    context.words.resume = layout.NO_RESUME


def _enter(context: Context, privilege_register: int) -> tuple[int, int]:
    """The context in the template instance, in the highest privilege; and the privilege that it had."""
    uc = template(context.isa, context.privileged).uc
    library.check(library.context_restore(uc, context.park()), "restoring a context")
    privilege = _read(uc, privilege_register)
    if privilege != HIGHEST:
        _write(uc, privilege_register, HIGHEST)
    return uc, privilege


def _read(uc: int, number: int) -> int:
    value = ctypes.c_uint64()
    library.check(library.reg_read(uc, number, ctypes.byref(value)), "a register read")
    return value.value


def _write(uc: int, number: int, value: int) -> None:
    library.check(library.reg_write(uc, number, ctypes.byref(ctypes.c_uint64(value))), "a register write")
