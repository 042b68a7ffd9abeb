"""What every device is: a pure register model. The defaults make a device of a page that reads as zero.

Rules: `read` and `write` get offsets within the device, never addresses, and must take any offset, size (1, 2,
4, 8) and value, because guests are hostile. They raise nothing; bits of a read beyond its size are cut off by the
bus. What a device tells the outside goes through its interrupt line or a callable that the board gave it. `save`
and `load` carry its state as plain data, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

State = dict[str, int | str]


class InterruptLine:
    """A level-triggered line. `on_change` is told the new level."""

    __slots__ = ("level", "on_change")

    def __init__(self, on_change: Callable[[bool], None] | None = None) -> None:
        self.level = False
        self.on_change = on_change

    def set(self, level: bool) -> None:
        if level != self.level:
            self.level = level
            if self.on_change is not None:
                self.on_change(level)


class Device:
    """`name` says what it is in listings; `size` is how many bytes of addresses it answers."""

    name = "device"
    size = 0x1000

    def read(self, offset: int, size: int) -> int:
        return 0

    def write(self, offset: int, size: int, value: int) -> None:
        return

    def registers(self) -> dict[str, int]:
        """What a person looking at the device wants to see. Reading it changes nothing."""
        return {}

    def save(self) -> State:
        return {}

    def load(self, state: Mapping[str, int | str]) -> None:
        """Take over what `save` gave. Raises KeyError or ValueError for anything else."""
        return
