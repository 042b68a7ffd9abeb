"""The device window: guest-physical addresses whose loads and stores a bus answers."""

from __future__ import annotations

import ctypes
from ctypes import c_uint, c_uint64, c_void_p
from typing import TYPE_CHECKING, Protocol

from sandbox.engine import library

if TYPE_CHECKING:
    from sandbox.engine.engine import Engine

DEVICE_WINDOW = 64 << 20  # bytes, behind the arena


class Bus(Protocol):
    """Who answers loads and stores to device pages; offsets are within the engine's device window."""

    def read(self, offset: int, size: int) -> int: ...
    def write(self, offset: int, size: int, value: int) -> None: ...


def open_window(engine: Engine, base: int) -> list[object]:
    """Map it: `engine.bus` answers there. What is returned must live as long as the engine."""

    def read(uc: int, offset: int, size: int, data: int) -> int:
        try:
            return engine.bus.read(offset, size) if engine.bus is not None else 0
        except Exception:  # a device bug must not unwind through Unicorn
            return (1 << size * 8) - 1

    def write(uc: int, offset: int, size: int, value: int, data: int) -> None:
        try:
            if engine.bus is not None:
                engine.bus.write(offset, size, value)
        except Exception:
            return

    callbacks = [
        ctypes.CFUNCTYPE(c_uint64, c_void_p, c_uint64, c_uint, c_void_p)(read),
        ctypes.CFUNCTYPE(None, c_void_p, c_uint64, c_uint, c_uint64, c_void_p)(write),
    ]
    reader, writer = (ctypes.cast(callback, c_void_p) for callback in callbacks)
    library.check(library.mmio_map(engine.uc, base, DEVICE_WINDOW, reader, None, writer, None), "the device window")
    return list(callbacks)
