"""What a spectator reads ten times a second: the cheap figures of all VMs, a look at one, and who ran when.

`Statistics` (report.py) tells everything of one VM; a `Gauge` tells the few things that are worth a glance, for
thousands. A look at a running VM happens at the end of its turn (`Glances`), when its registers are parked: nothing
is stopped for it. `Tape` adds up turns in short stretches of time, and only while somebody looks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from sandbox.machine import Machine
from sandbox.scheduler import Phase

if TYPE_CHECKING:
    from sandbox.hypervisor.tenant import Tenant

STRETCH = 25_000_000  # nanoseconds
STRETCHES = 160


class Gauge(NamedTuple):
    """Sums since the VM was created; times in nanoseconds, memory in bytes. A tuple: quick to make, and the garbage
    collector does not look at thousands of them again and again."""

    identity: str
    name: str
    state: str
    isa: str
    board: bool
    weight: int
    cpu: int
    ready: int  # something to run, and other VMs had the processors
    running: int
    work: int
    memory: int
    memory_limit: int
    faults: int
    syscalls: int
    tasks: int | None
    uptime: int
    exit_status: int | None
    reason: str | None


def gauge(tenant: Tenant, now: int) -> Gauge:
    vm, share, machine = tenant.vm, tenant.share, tenant.machine
    lifecycle = vm.lifecycle
    started = tenant.first_start
    end = tenant.last_end if lifecycle.ended else now
    memory, _ = tenant.ground.memory()
    stats = getattr(machine, "stats", None)
    calls = getattr(stats, "calls", None)
    faults = getattr(stats, "faults", None)
    tasks = getattr(machine, "tasks", None)
    past = tenant.past
    return Gauge(
        identity=vm.identity,
        name=vm.name,
        state=lifecycle.state,
        isa=vm.isa_name,
        board=vm.config.board is not None,
        weight=vm.config.weight,
        cpu=tenant.cpu,
        ready=share.time_in(Phase.READY, now),
        running=share.time_in(Phase.RUNNING, now),
        work=tenant.work,
        memory=memory,
        memory_limit=vm.config.memory,
        faults=sum(faults.values()) if faults is not None else past.get("fault_count", 0),
        syscalls=sum(calls.values()) if calls is not None else past.get("syscall_count", 0),
        tasks=len(tasks) if tasks is not None else None,
        uptime=end - started if started is not None else 0,
        exit_status=vm.exit_status,
        reason=vm.reason,
    )


@dataclass(slots=True)
class Glances:
    """Who wants a look at a VM's machine when its turn ends."""

    waiting: list[Callable[[Machine], None]] = field(default_factory=list)

    def serve(self, machine: Machine) -> None:
        waiting, self.waiting = self.waiting, []
        for look in waiting:
            look(machine)


@dataclass(frozen=True, slots=True)
class Stretch:
    """How long a VM had a lane (a host core) from `start` on; nanoseconds."""

    vm: str
    lane: int
    start: int
    length: int


class Tape:
    """Turns, added up per VM and lane in stretches of `STRETCH`; the newest `STRETCHES` of them."""

    def __init__(self) -> None:
        self._stretches: deque[tuple[int, dict[tuple[str, int], list[int]]]] = deque(maxlen=STRETCHES)

    def note(self, vm: str, lane: int, start: int, end: int) -> None:
        number = start // STRETCH
        if not self._stretches or self._stretches[-1][0] < number:
            self._stretches.append((number, {}))
        noted = self._stretches[-1][1].setdefault((vm, lane), [start, 0])
        noted[1] += max(0, end - start)

    def read(self) -> Iterable[Stretch]:
        for _, noted in self._stretches:
            for (vm, lane), (start, length) in noted.items():
                yield Stretch(vm, lane, start, length)
