"""The instruction sets, one file each."""

from sandbox.engine.isa import arm, arm64, i386, riscv64, x86_64
from sandbox.engine.isa.description import Access, Isa, Trap
from sandbox.errors import ConfigurationError

ISAS: dict[str, Isa] = {module.ISA.name: module.ISA for module in (x86_64, i386, arm64, arm, riscv64)}
ALIASES = {"amd64": "x86_64", "x86-64": "x86_64", "aarch64": "arm64", "armhf": "arm", "i686": "i386", "x86": "i386"}


def isa_named(name: str) -> Isa:
    """The ISA of that name or usual alias. Raises ConfigurationError."""
    isa = ISAS.get(ALIASES.get(name, name))
    if isa is None:
        raise ConfigurationError(f"there is no ISA {name!r}: choose one of {', '.join(ISAS)}")
    return isa


__all__ = ["ALIASES", "ISAS", "Access", "Isa", "Trap", "isa_named"]
