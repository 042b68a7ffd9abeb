"""The SiFive test finisher: a register whose write ends the machine, with a status.

Source: `sifive,test0` as in QEMU's `hw/misc/sifive_test.c`: 0x5555 passes (status 0), 0x3333 fails with the
status in the upper half word, 0x7777 asks for a reset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sandbox.devices.device import Device, State

PASS, FAIL, RESET = 0x5555, 0x3333, 0x7777


class Finisher(Device):
    """`on_finish` gets the exit status; `on_reset` is called for a reset."""

    name = "finisher"

    def __init__(
        self, on_finish: Callable[[int], None] | None = None, on_reset: Callable[[], None] | None = None
    ) -> None:
        self.on_finish = on_finish
        self.on_reset = on_reset
        self.last = 0

    def write(self, offset: int, size: int, value: int) -> None:
        if offset != 0 or size < 2:
            return
        self.last = value & 0xFFFFFFFF
        command, status = value & 0xFFFF, value >> 16 & 0xFFFF
        if command in (PASS, FAIL) and self.on_finish is not None:
            self.on_finish(0 if command == PASS else (status & 0xFF) or 1)
        elif command == RESET and self.on_reset is not None:
            self.on_reset()

    def registers(self) -> dict[str, int]:
        return {"last": self.last}

    def save(self) -> State:
        return {"last": self.last}

    def load(self, state: Mapping[str, int | str]) -> None:
        self.last = int(state["last"])
