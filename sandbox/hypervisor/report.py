"""What the hypervisor tells of itself and its VMs: frozen pictures of plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sandbox.hypervisor.tenant import Tenant
from sandbox.scheduler import FairPolicy, Leases, Phase, RunQueue
from sandbox.vm import Statistics
from sandbox.vm.statistics import WORK_UNIT, machine_figures


@dataclass(frozen=True, slots=True)
class Lease:
    engine: int
    kind: str
    dedicated: bool
    vm: str  # who ran there last
    busy: bool
    switches: int


@dataclass(frozen=True, slots=True)
class SchedulerPicture:
    policy: str
    quantum: int
    unit: str
    turns: int
    lags: tuple[tuple[str, float], ...]  # VM's name, lag in quanta; of those who wait for a turn
    leases: tuple[Lease, ...]
    largest_lag: float | None = None  # ever, of any VM, in quanta


def statistics(tenant: Tenant, now: int, counted: bool) -> Statistics:
    """`counted`: engines count code bytes."""
    vm, share = tenant.vm, tenant.share
    memory, peak = tenant.ground.memory()
    figures = machine_figures(tenant.machine) if tenant.machine is not None else tenant.past

    def seconds(phase: Phase) -> float:
        return share.time_in(phase, now) / 1e9

    end = tenant.last_end if vm.lifecycle.ended else now
    return Statistics(
        cpu_seconds=tenant.cpu / 1e9,
        wall_seconds=(end - tenant.first_start) / 1e9 if tenant.first_start is not None else 0.0,
        work=tenant.work if counted else None,
        work_unit=WORK_UNIT if counted else None,
        wait_seconds=seconds(Phase.ASLEEP),
        steal_seconds=seconds(Phase.READY),
        throttled_seconds=seconds(Phase.THROTTLED),
        paused_seconds=seconds(Phase.HELD) if vm.starts and not vm.lifecycle.ended else 0.0,
        turns=tenant.turns,
        starts=vm.starts,
        memory=memory,
        peak_memory=peak,
        memory_limit=vm.config.memory,
        tlb_misses=tenant.misses,
        input_bytes=vm.console.total_input,
        output_bytes=vm.console.total,
        **figures,
    )


def scheduler_picture(
    queue: RunQueue, quantum: int, unit: str, leases: Leases[Any], names: dict[int, str]
) -> SchedulerPicture:
    policy = queue.policy
    lags: tuple[tuple[str, float], ...] = ()
    largest = None
    if isinstance(policy, FairPolicy):
        largest = policy.largest_lag / quantum
        lags = tuple((share.owner.vm.name, lag / quantum) for share, lag in policy.lags())
    return SchedulerPicture(
        policy=policy.name,
        quantum=quantum,
        unit=unit,
        turns=queue.turns,
        lags=lags,
        leases=tuple(
            Lease(slot.number, str(getattr(slot.kind, "isa", slot.kind)), slot.dedicated, names.get(slot.last, ""),
                  slot.busy, slot.switches)
            for slot in leases.slots()
        ),
        largest_lag=largest,
    )  # fmt: skip
