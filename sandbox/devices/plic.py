"""The platform-level interrupt controller of RISC-V machines, for one hart in machine mode.

Source: the RISC-V PLIC specification 1.0.0: priorities from 0x0, pending bits at 0x1000, enable bits of context 0 at
0x2000, threshold at 0x200000, claim and complete at 0x200004. 31 level-triggered sources, numbered from 1.
"""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.devices.device import Device, InterruptLine, State

_SOURCES = 32
_PENDING, _ENABLE, _THRESHOLD, _CLAIM = 0x1000, 0x2000, 0x200000, 0x200004
_PRIORITY_MASK = 7


class Plic(Device):
    name = "plic"
    size = 0x201000

    def __init__(self) -> None:
        self.output = InterruptLine()
        self._priorities = [0] * _SOURCES
        self._levels = 0  # lines that are high
        self._pending = 0
        self._claimed = 0  # handed out and not completed yet: they are not pending again until then
        self._enabled = 0
        self._threshold = 0

    def connect(self, source: int, line: InterruptLine) -> None:
        """A device's line becomes interrupt `source` (1 to 31)."""
        if not 0 < source < _SOURCES:
            raise ValueError(f"a PLIC source is 1 to {_SOURCES - 1}, not {source}")
        line.on_change = lambda level: self._set(source, level)

    def _set(self, source: int, level: bool) -> None:
        bit = 1 << source
        if level:
            self._levels |= bit
            if not self._claimed & bit:
                self._pending |= bit
        else:
            self._levels &= ~bit
            self._pending &= ~bit
        self._update()

    def _best(self) -> int:
        """The pending, enabled source of the highest priority above the threshold; the lowest number wins; 0: none."""
        best = 0
        priority = self._threshold
        for source in range(1, _SOURCES):
            if self._pending & self._enabled & 1 << source and self._priorities[source] > priority:
                best, priority = source, self._priorities[source]
        return best

    def _update(self) -> None:
        self.output.set(self._best() != 0)

    def read(self, offset: int, size: int) -> int:
        if offset < 4 * _SOURCES:
            return self._priorities[offset // 4]
        if offset == _PENDING:
            return self._pending
        if offset == _ENABLE:
            return self._enabled
        if offset == _THRESHOLD:
            return self._threshold
        if offset == _CLAIM:
            source = self._best()
            self._pending &= ~(1 << source)
            self._claimed |= 1 << source if source else 0
            self._update()
            return source
        return 0

    def write(self, offset: int, size: int, value: int) -> None:
        if 4 <= offset < 4 * _SOURCES:
            self._priorities[offset // 4] = value & _PRIORITY_MASK
        elif offset == _ENABLE:
            self._enabled = value & 0xFFFFFFFE
        elif offset == _THRESHOLD:
            self._threshold = value & _PRIORITY_MASK
        elif offset == _CLAIM and value < _SOURCES and self._claimed & 1 << value:
            self._claimed &= ~(1 << value)
            if self._levels & 1 << value:
                self._pending |= 1 << value
        self._update()

    def registers(self) -> dict[str, int]:
        return {
            "pending": self._pending,
            "enabled": self._enabled,
            "claimed": self._claimed,
            "threshold": self._threshold,
        }

    def save(self) -> State:
        priorities = {f"priority{source}": self._priorities[source] for source in range(1, _SOURCES)}
        return {**priorities, **self.registers(), "levels": self._levels}

    def load(self, state: Mapping[str, int | str]) -> None:
        self._priorities = [0, *(int(state[f"priority{source}"]) & _PRIORITY_MASK for source in range(1, _SOURCES))]
        self._levels = int(state["levels"]) & 0xFFFFFFFE
        self._pending = int(state["pending"]) & 0xFFFFFFFE
        self._enabled = int(state["enabled"]) & 0xFFFFFFFE
        self._claimed = int(state["claimed"]) & 0xFFFFFFFE
        self._threshold = int(state["threshold"]) & _PRIORITY_MASK
        self._update()
