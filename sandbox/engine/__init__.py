"""CPU cores: the only door to Unicorn.

engine.py     Engine: run(context, space, budget) -> Stop;  gate.py  the lock that it lets go;  window.py  devices
context.py    the registers of a task, parked or live;  registers.py  many of them at once
stop.py       why a run ended
isa/          one file per instruction set: registers, syscall convention, traps
_engine.c     the inner loop (TLB fill, budget, syscall capture), loaded by native.py
twin.py       the same in Python
layout.py     the structures that all of them and sandbox.memory share
probe.py      the exact address of a data fault
library.py    Unicorn's functions;  privilege.py  how user mode is entered
"""

from sandbox.engine.context import Context
from sandbox.engine.engine import Engine
from sandbox.engine.gate import Gate
from sandbox.engine.isa import ISAS, Access, Isa, Trap, isa_named
from sandbox.engine.native import accelerator, engine_kind
from sandbox.engine.probe import fault_address
from sandbox.engine.registers import RegisterSet
from sandbox.engine.stop import Stop, StopReason
from sandbox.engine.window import Bus

__all__ = [
    "ISAS",
    "Access",
    "Bus",
    "Context",
    "Engine",
    "Gate",
    "Isa",
    "RegisterSet",
    "Stop",
    "StopReason",
    "Trap",
    "accelerator",
    "engine_kind",
    "fault_address",
    "isa_named",
]
