"""What a board is: a memory map, its devices and how its CPU takes a trap. Data; `machine.py` brings it to life."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sandbox.devices import Bus
from sandbox.engine import Context, Stop
from sandbox.memory import AddressSpace

if TYPE_CHECKING:
    from sandbox.board.machine import BoardMachine


class Processor(Protocol):
    """Trap and interrupt entry of one ISA, done by hand between two runs of the engine."""

    @property
    def awake(self) -> bool:
        """Whether a CPU that waits for an interrupt goes on."""

    @property
    def interrupts(self) -> bool:
        """Whether a line is high: then time slices are short, until the guest has taken it."""

    def deliver(self) -> str | None:
        """Enter the handler of a pending, enabled interrupt, if any; its name."""

    def trap(self, stop: Stop) -> tuple[str, bool]:
        """Enter the handler of what stopped the engine (TRAP, or a FAULT that no memory answers). What it was,
        and whether there is a handler at all."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """A board's live parts."""

    processor: Processor
    bus: Bus
    room: Callable[[], int]  # how many bytes the console's receiver takes
    receive: Callable[[bytes], int]
    listening: Callable[[], bool]  # whether the guest looks for input
    next_event: Callable[[], int | None]  # nanoseconds until a device changes by itself; None: never
    update: Callable[[], None]  # time has passed


@dataclass(frozen=True, slots=True)
class Board:
    name: str
    arch: str
    purpose: str
    ram_start: int
    ram_size: int  # bytes, when nothing else is asked for
    map: tuple[tuple[int, int, str], ...]  # (first address, bytes, device)
    wire: Callable[[BoardMachine, Context, AddressSpace], Wiring]

    def row(self) -> dict[str, object]:
        """What `sandbox boards --json` prints."""
        ranges = [
            {"start": start, "end": start + size - 1, "device": device}
            for start, size, device in (*self.map, (self.ram_start, self.ram_size, "ram"))
        ]
        return {
            "name": self.name,
            "arch": self.arch,
            "purpose": self.purpose,
            "devices": [device for _, _, device in self.map],
            "memory_map": ranges,
        }
