"""The devices of a board: where they are on the bus, their registers, their interrupt lines."""

from __future__ import annotations

from typing import Any

from sandbox.dashboard.view import DeviceRegister, DevicesView, DeviceView
from sandbox.devices.device import InterruptLine


def devices_view(machine: Any) -> DevicesView:
    views = []
    for attachment in machine.wiring.bus.attachments:
        device = attachment.device
        registers = tuple(DeviceRegister(name, value) for name, value in device.registers().items())
        lines = [(name, line.level) for name, line in vars(device).items() if isinstance(line, InterruptLine)]
        views.append(
            DeviceView(
                getattr(device, "name", type(device).__name__.lower()),
                attachment.start,
                attachment.end,
                registers,
                tuple(lines),
            )
        )
    return DevicesView(tuple(views))
