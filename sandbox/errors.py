"""What goes wrong on the operator's side, as exceptions.

A guest's mistakes never appear here: they become errno values or signals inside the guest
(`sandbox.abi.errno`). These are for the person or program that uses the package; every message is a
sentence that says what to do.
"""

from __future__ import annotations


class SandboxError(Exception):
    """The root of all errors that the package raises on purpose."""


class ConfigurationError(SandboxError):
    """An option, a fleet file or an argument does not make sense."""


class LoadError(SandboxError):
    """The program cannot be loaded (not an ELF file, wrong ISA, malformed). `status` is the shell's
    exit status for it: 126 not executable, 127 not found."""

    def __init__(self, message: str, status: int = 126) -> None:
        super().__init__(message)
        self.status = status


class AssemblyError(SandboxError):
    """A source file does not assemble."""


class StateError(SandboxError):
    """The operation is not legal in the VM's present state."""


class OutOfMemory(SandboxError):
    """A frame was wanted beyond a budget: `scope` is "vm" or "pool"."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"the memory budget of the {scope} is used up")
        self.scope = scope


class EngineError(SandboxError):
    """Unicorn or the accelerator refused an operation."""


class GuestTimeout(SandboxError):
    """A wait did not end in the time allowed."""
