"""What a VM stands on and is made of: the interface between the hypervisor and the kinds of machines.

A `Builder` prepares the *ground* of a VM (root filesystem, memory account, volumes): what outlives a machine,
so that files can be read after it has ended and a restart finds its disk as it was. A ground boots machines, one at a
time. The hypervisor's logic knows only these two; `MachineBuilder` is the real one, tests bring their own.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sandbox.clock import Clock, Entropy
from sandbox.engine import Engine, isa_named
from sandbox.events import Recorder
from sandbox.hypervisor.images import Images
from sandbox.machine import Machine
from sandbox.memory import FramePool
from sandbox.vm import Console, VmConfig

if TYPE_CHECKING:
    from sandbox.scheduler import Monitor


@dataclass(frozen=True, slots=True)
class Kind:
    """What an engine must be able to run."""

    isa: str
    privileged: bool = False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a ground gets from the hypervisor."""

    console: Console
    clock: Clock
    entropy: Entropy
    recorder: Recorder
    deterministic: bool


class Ground(Protocol):
    kind: Kind
    reads: frozenset[str]  # the host's directories that it shares with others: only read, and written
    writes: frozenset[str]

    def boot(self) -> Machine:
        """A new machine, ready to run its program. Raises LoadError, ConfigurationError, OutOfMemory."""

    def retire(self, machine: Machine) -> None:
        """It has ended: release it, and what was there for it alone."""

    def change_limit(self, config: VmConfig, limit: str, machine: Machine | None) -> None:
        """`limit` now has the value it has in `config`."""

    def read_file(self, path: bytes) -> bytes: ...

    def memory(self) -> tuple[int, int]:
        """Bytes in use, and the most there ever were."""

    def close(self) -> None:
        """Give everything back. Idempotent; the machine has been released."""


class Builder(Protocol):
    def prepare(self, config: VmConfig, surroundings: Surroundings) -> Ground: ...

    def open_engine(self, kind: Hashable) -> Any: ...

    def close(self) -> None: ...


class MachineBuilder:
    """Real machines: one frame pool for all, engines of every kind."""

    def __init__(self, memory: int, monitor: Monitor, exact: bool) -> None:
        self.pool = FramePool(memory)
        self._images = Images()
        self._monitor = monitor
        self._exact = exact

    def prepare(self, config: VmConfig, surroundings: Surroundings) -> Ground:
        if config.board is not None:
            from sandbox.hypervisor.board import BoardGround

            return BoardGround(self.pool, config, surroundings)
        from sandbox.hypervisor.linux import LinuxGround

        return LinuxGround(self.pool, self._images, config, surroundings)

    def open_engine(self, kind: Hashable) -> Engine:
        assert isinstance(kind, Kind)
        engine = Engine(isa_named(kind.isa), self.pool, exact=self._exact, privileged=kind.privileged)
        engine.gate = self._monitor.gate
        return engine

    def close(self) -> None:
        self._images.close()
        self.pool.close()
