"""What the hypervisor keeps of one VM: its parts, what somebody wants of it, and what it has used."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sandbox.clock import Clock
from sandbox.events import Recorder
from sandbox.hypervisor.builder import Ground
from sandbox.hypervisor.gauges import Glances
from sandbox.machine import Machine
from sandbox.scheduler import After, Share, Tenancy, Turn
from sandbox.vm import VM


@dataclass(slots=True, eq=False)
class Tenant:
    vm: VM
    share: Share
    ground: Ground
    tenancy: Tenancy[Any]
    recorder: Recorder
    clock: Clock  # its own when deterministic, otherwise the hypervisor's
    machine: Machine | None = None

    # wanted, and done when its turn ends
    doom: tuple[str, int, str] | None = None  # reason, status, and the lifecycle's action
    pause_wanted: bool = False
    glances: Glances = field(default_factory=Glances)
    turn: Turn = field(default_factory=lambda: Turn(0, 0, After.RUNNABLE))  # the last one

    # how it is ending
    ended_by_us: bool = False  # the operator or a limit, not itself
    stopping: bool = False

    failures: int = 0  # in a row, for the restart policy
    first_start: int | None = None
    last_start: int = 0
    last_end: int = 0

    # used; of all machines it had
    cpu: int = 0
    work: int = 0
    misses: int = 0
    turns: int = 0
    start_cpu: int = 0  # `cpu` when this machine started
    quiet_cpu: int = 0  # `cpu` when a system call was last seen
    quiet_calls: int = -1
    output_seen: int = 0
    past: dict[str, Any] = field(default_factory=dict)  # figures of the last machine, once it is gone

    def has_no_wishes(self) -> bool:
        """Nothing is wanted of it when its turn ends, and no limit is to be looked at."""
        if self.pause_wanted or self.doom is not None or self.glances.waiting:
            return False
        config = self.vm.config
        return config.cpu_timeout is None and config.watchdog is None
