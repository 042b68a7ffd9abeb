"""Addresses to devices: a range map that refuses overlap.

Reads from nowhere give all ones and writes to nowhere are lost, as on most real buses; both are counted.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass

from sandbox.devices.device import Device
from sandbox.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Attachment:
    start: int
    device: Device

    @property
    def end(self) -> int:
        return self.start + self.device.size


class Bus:
    def __init__(self) -> None:
        self.attachments: list[Attachment] = []  # by address
        self.strays = 0  # accesses that met no device
        self._starts: list[int] = []

    def attach(self, start: int, device: Device) -> None:
        """Raises ConfigurationError when the range is taken."""
        attachment = Attachment(start, device)
        for other in self.attachments:
            if attachment.start < other.end and other.start < attachment.end:
                raise ConfigurationError(
                    f"{device.name} at {start:#x} to {attachment.end - 1:#x} overlaps {other.device.name}"
                    f" at {other.start:#x} to {other.end - 1:#x}"
                )
        index = bisect.bisect(self._starts, start)
        self._starts.insert(index, start)
        self.attachments.insert(index, attachment)

    def find(self, address: int) -> Attachment | None:
        index = bisect.bisect(self._starts, address) - 1
        if index < 0 or address >= self.attachments[index].end:
            return None
        return self.attachments[index]

    def read(self, address: int, size: int) -> int:
        found = self.find(address)
        mask = (1 << 8 * size) - 1
        if found is None or address + size > found.end:
            self.strays += 1
            return mask
        return found.device.read(address - found.start, size) & mask

    def write(self, address: int, size: int, value: int) -> None:
        found = self.find(address)
        if found is None or address + size > found.end:
            self.strays += 1
            return
        found.device.write(address - found.start, size, value & (1 << 8 * size) - 1)
