"""Why an engine stopped: the one thing it says to the kernel or the board above it."""

from __future__ import annotations

from enum import Enum

from sandbox.engine import layout
from sandbox.engine.isa import Access, Trap


class StopReason(Enum):
    SYSCALL = layout.STOP_SYSCALL
    FAULT = layout.STOP_FAULT
    BUDGET = layout.STOP_BUDGET
    TRAP = layout.STOP_TRAP
    HALT = layout.STOP_HALT
    BREAKPOINT = layout.STOP_BREAKPOINT
    ERROR = layout.STOP_ERROR


class Stop:
    """Valid until the engine runs again: one object per engine is reused. Which fields count depends on
    `reason`: SYSCALL number, arguments; FAULT address (of the page), access, out_of_memory (None, "vm",
    "pool"); TRAP trap, vector; BREAKPOINT address; ERROR error. `work`: code bytes done (exact mode)."""

    __slots__ = (
        "access",
        "address",
        "arguments",
        "error",
        "number",
        "out_of_memory",
        "pc",
        "reason",
        "trap",
        "vector",
        "work",
    )

    def __init__(self) -> None:
        self.reason = StopReason.BUDGET
        self.number = 0
        self.arguments: tuple[int, ...] = ()
        self.address = 0
        self.access = Access.READ
        self.out_of_memory: str | None = None
        self.trap = Trap.OTHER
        self.vector = 0
        self.error = ""
        self.work = 0
        self.pc = 0

    def __repr__(self) -> str:
        details = {
            StopReason.SYSCALL: f"{self.number}{self.arguments}",
            StopReason.FAULT: f"{self.access.name} {self.address:#x}",
            StopReason.TRAP: self.trap.value,
            StopReason.BREAKPOINT: f"{self.address:#x}",
            StopReason.ERROR: self.error,
        }
        return f"<Stop {self.reason.name} {details.get(self.reason, '')} pc={self.pc:#x} work={self.work}>"
