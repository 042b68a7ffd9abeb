"""Registers that are moved together, such as those of a signal frame: one call of Unicorn's instead of one for each."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from ctypes import c_int, c_uint8, c_void_p

from sandbox.engine import layout, library
from sandbox.engine.context import Context
from sandbox.engine.isa import Isa

_INTEGER = 8  # bytes of an integer register, on 32-bit ISAs as well
_SLACK = 64  # no register is larger

_Buffer = tuple[int, ctypes.Array[c_void_p], object]  # address, of each register, what owns it


class RegisterSet:
    """Packed in the order named, little-endian: an integer register has 8 bytes, another one its size. Raises KeyError
    for one that has to be moved by itself (`Isa.indirect`, `Isa.hidden`)."""

    def __init__(self, isa: Isa, names: Iterable[str]) -> None:
        names = [isa.tp if name == "tp" else name for name in names]
        places = []
        self.size = 0
        for name in names:
            if name in isa.indirect or name in isa.hidden:
                raise KeyError(name)
            places.append(self.size)
            self.size += _INTEGER if name in isa.numbers else isa.wide[name][1]
        self._places = tuple(places)
        self._count = len(places)
        self._numbers = (c_int * self._count)(
            *(isa.numbers[name] if name in isa.numbers else isa.wide[name][0] for name in names)
        )
        self._free: list[
            tuple[int, ctypes.Array[c_void_p], object]
        ] = []  # buffers, as many as threads were here at once

    def read(self, context: Context) -> bytes:
        buffer = self._take()
        address, places, _ = buffer
        ctypes.memset(address, 0, self.size)
        library.check(
            library.context_reg_read_batch(context.park(), self._numbers, places, self._count), "reading registers"
        )
        data = ctypes.string_at(address, self.size)
        self._free.append(buffer)
        return data

    def write(self, context: Context, data: bytes) -> None:
        """Raises ValueError unless `data` has `size` bytes."""
        if len(data) != self.size:
            raise ValueError(f"these registers have {self.size} bytes, not {len(data)}")
        buffer = self._take()
        address, places, _ = buffer
        ctypes.memmove(address, data, self.size)
        library.check(
            library.context_reg_write_batch(context.park(), self._numbers, places, self._count), "writing registers"
        )
        context.words.resume = layout.NO_RESUME
        self._free.append(buffer)

    def _take(self) -> _Buffer:
        if self._free:
            return self._free.pop()
        buffer = (c_uint8 * (self.size + _SLACK))()
        address = ctypes.addressof(buffer)
        return address, (c_void_p * self._count)(*(address + place for place in self._places)), buffer
