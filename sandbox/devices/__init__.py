"""Device models: registers behind offsets, one file per device, and the bus that leads to them.

A device does not care where it stands in the address space, which board it is part of, or what its interrupt
line is connected to. Its state is plain data.

device.py     what every device is, and the interrupt line
bus.py        addresses to devices
uart16550.py  serial port        clint.py  RISC-V timer and software interrupts
plic.py       RISC-V external interrupts    finisher.py   power off and exit status
"""

from __future__ import annotations

from sandbox.devices.bus import Bus
from sandbox.devices.clint import Clint
from sandbox.devices.device import Device, InterruptLine
from sandbox.devices.finisher import Finisher
from sandbox.devices.plic import Plic
from sandbox.devices.uart16550 import Uart16550

__all__ = ["Bus", "Clint", "Device", "Finisher", "InterruptLine", "Plic", "Uart16550"]
