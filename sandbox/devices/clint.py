"""The core-local interruptor of RISC-V machines: a timer and a software interrupt for one hart.

Source: the SiFive FU540 manual, chapter 9, and the privileged specification 3.2.1: `msip` at 0x0, `mtimecmp` at
0x4000, `mtime` at 0xbff8. The timer's line is high while mtime >= mtimecmp. Time is asked of the board, in
ticks; writing `mtime` shifts it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sandbox.devices.device import Device, InterruptLine, State

MSIP, MTIMECMP, MTIME = 0x0, 0x4000, 0xBFF8
_WORD = (1 << 64) - 1


class Clint(Device):
    name = "clint"
    size = 0x10000

    def __init__(self, ticks: Callable[[], int]) -> None:
        self._ticks = ticks
        self._shift = 0
        self.compare = _WORD
        self.software = InterruptLine()
        self.timer = InterruptLine()

    @property
    def time(self) -> int:
        return (self._ticks() + self._shift) & _WORD

    def remaining(self) -> int | None:
        """Ticks until the timer's line goes high: 0 when it is, None when it never does."""
        if self.compare == _WORD:
            return None
        return max(0, self.compare - self.time)

    def update(self) -> None:
        """Time has passed: set the timer's line."""
        self.timer.set(self.time >= self.compare)

    def read(self, offset: int, size: int) -> int:
        if offset < MSIP + 4:
            return int(self.software.level) >> 8 * offset
        if MTIMECMP <= offset < MTIMECMP + 8:
            return self.compare >> 8 * (offset - MTIMECMP)
        if MTIME <= offset < MTIME + 8:
            return self.time >> 8 * (offset - MTIME)
        return 0

    def write(self, offset: int, size: int, value: int) -> None:
        if offset == MSIP:
            self.software.set(bool(value & 1))
        elif MTIMECMP <= offset < MTIMECMP + 8:
            self.compare = _replace(self.compare, offset - MTIMECMP, size, value)
            self.update()
        elif MTIME <= offset < MTIME + 8:
            self._shift = _replace(self.time, offset - MTIME, size, value) - self._ticks()
            self.update()

    def registers(self) -> dict[str, int]:
        return {"msip": int(self.software.level), "mtimecmp": self.compare, "mtime": self.time}

    def save(self) -> State:
        return {"msip": int(self.software.level), "mtimecmp": self.compare, "mtime": self.time}

    def load(self, state: Mapping[str, int | str]) -> None:
        self.compare = int(state["mtimecmp"])
        self._shift = int(state["mtime"]) - self._ticks()
        self.software.set(bool(state["msip"]))
        self.update()


def _replace(word: int, offset: int, size: int, value: int) -> int:
    """The 64-bit `word` with `size` bytes from `offset` on replaced."""
    mask = ((1 << 8 * size) - 1) << 8 * offset
    return ((word & ~mask) | (value << 8 * offset & mask)) & _WORD
