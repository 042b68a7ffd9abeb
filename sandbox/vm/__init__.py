"""One virtual machine as its owner sees it.

    configuration.py  what a VM is made from; the table of options that API, fleet files and `set` share
    lifecycle.py      the states and the legal transitions, as a table
    front.py          VM: start, pause, stop, wait ...; the parts below as attributes
    console.py        its standard streams
    inspection.py     registers, memory, tasks and code of a VM that stands still
    statistics.py     what it has used
    host.py           what a VM asks of the hypervisor that owns it

A VM holds no lock, thread or engine: whatever it does, it asks its `Host` (the hypervisor), and only plain data
goes in and out. Below: kernel, board, vfs, memory. Above: snapshot, scheduler, hypervisor.
"""

from __future__ import annotations

from sandbox.vm.configuration import (
    DEFAULT_ENVIRONMENT,
    LIMITS,
    OPTIONS,
    Restart,
    VmConfig,
    Volume,
    configure,
    parse_option,
)
from sandbox.vm.console import Console
from sandbox.vm.front import VM
from sandbox.vm.host import Host
from sandbox.vm.lifecycle import ENDED, STATES, TRANSITIONS, Lifecycle
from sandbox.vm.statistics import Statistics

__all__ = [
    "DEFAULT_ENVIRONMENT",
    "ENDED",
    "LIMITS",
    "OPTIONS",
    "STATES",
    "TRANSITIONS",
    "VM",
    "Console",
    "Host",
    "Lifecycle",
    "Restart",
    "Statistics",
    "VmConfig",
    "Volume",
    "configure",
    "parse_option",
]
