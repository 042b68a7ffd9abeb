"""Virtual machines in one Python process: unmodified Linux programs of five ISAs, and bare-metal boards.

    sandbox.run(["/bin/busybox", "echo", "hi"], rootfs="...")       like subprocess.run
    with sandbox.Hypervisor(cores=2) as hv: hv.create("web", ...)     many VMs under one scheduler

The map of the package, from top to bottom; imports point down only:

    cli, dashboard          what a person sees       control, fleet    many VMs from a file, over a socket
    hypervisor              owns everything          scheduler         who runs, when, how long, where
    vm                      one VM as an object      board             bare-metal machines
    kernel                  the Linux personality    loader            programs to memory
    vfs                     files                    devices           register models
    memory                  frames, address spaces   engine            CPU cores: the only door to Unicorn
    assembler, disassembler                          guests            programs that come with the package
    events, machine, wait, clock, abi, quantity, errors                what all of them share
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox.errors import (
        AssemblyError,
        ConfigurationError,
        EngineError,
        GuestTimeout,
        LoadError,
        OutOfMemory,
        SandboxError,
        StateError,
    )
    from sandbox.events import Event
    from sandbox.hypervisor import Hypervisor
    from sandbox.hypervisor.run import Completed, run
    from sandbox.vm import VM, Statistics

# Loaded when first asked for, so that `import sandbox.errors` costs nothing more.
_HOMES = {
    "AssemblyError": "errors",
    "Completed": "hypervisor.run",
    "ConfigurationError": "errors",
    "EngineError": "errors",
    "Event": "events",
    "GuestTimeout": "errors",
    "Hypervisor": "hypervisor",
    "LoadError": "errors",
    "OutOfMemory": "errors",
    "SandboxError": "errors",
    "StateError": "errors",
    "Statistics": "vm",
    "VM": "vm",
    "run": "hypervisor.run",
}

__all__ = [
    "VM",
    "AssemblyError",
    "Completed",
    "ConfigurationError",
    "EngineError",
    "Event",
    "GuestTimeout",
    "Hypervisor",
    "LoadError",
    "OutOfMemory",
    "SandboxError",
    "StateError",
    "Statistics",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sandbox' has no attribute {name!r}")
    value = getattr(import_module(f"sandbox.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
