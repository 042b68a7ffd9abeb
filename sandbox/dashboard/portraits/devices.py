"""The devices of a board: where they are on the bus, their registers, their interrupt lines."""

from __future__ import annotations

from typing import Any

from sandbox.dashboard.view import DeviceRegister, DevicesView, DeviceView


def devices_view(machine: Any) -> DevicesView:
    views = []
    for attachment in machine.wiring.bus.attachments:
        device = attachment.device
        registers = tuple(DeviceRegister(name, value) for name, value in device.registers().items())
        line = getattr(device, "line", None)
        views.append(
            DeviceView(
                getattr(device, "name", type(device).__name__.lower()),
                attachment.start,
                attachment.end,
                registers,
                getattr(device, "interrupt", None),
                bool(getattr(line, "level", False)),
            )
        )
    return DevicesView(tuple(views))
