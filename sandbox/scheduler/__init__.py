"""One scheduler for all virtual machines: who runs next, for how long, on which engine and host core.

    share.py      a VM's claim on the processor; the Policy interface
    fair.py       EEVDF, the default (its docstring states and proves the bound)
    rotation.py   round robin        earliest.py   earliest deadline first
    quota.py      caps with debts    agenda.py     what is to be done when
    queue.py      RunQueue: the decision, pure      heap.py   the priority queue behind it
    leases.py     engines, sticky and shared        monitor.py   the one lock
    turn.py       what the threads need of the hypervisor
    workers.py    host threads: turns as they come  epochs.py    deterministic turns

The upper half is pure (time is an argument, no threads) and is tested by properties; the lower half is
where threads are. The scheduler knows nothing of guests: it hands a turn to a function and is told what was
used. Above it: the hypervisor. Below: vm, machine, clock.
"""

from __future__ import annotations

from sandbox.errors import ConfigurationError
from sandbox.scheduler.agenda import Agenda
from sandbox.scheduler.earliest import EarliestDeadlinePolicy
from sandbox.scheduler.epochs import Epochs
from sandbox.scheduler.fair import FairPolicy
from sandbox.scheduler.leases import Leases, Slot, Tenancy
from sandbox.scheduler.monitor import Monitor
from sandbox.scheduler.queue import After, RunQueue
from sandbox.scheduler.quota import Cap
from sandbox.scheduler.rotation import RoundRobinPolicy
from sandbox.scheduler.share import (
    CAP_PERIOD,
    LATENCY_CLASSES,
    Phase,
    Policy,
    Share,
    check_latency,
    check_weight,
)
from sandbox.scheduler.turn import Drive, Turn
from sandbox.scheduler.workers import Workers

POLICIES: dict[str, type[FairPolicy] | type[RoundRobinPolicy] | type[EarliestDeadlinePolicy]] = {
    policy.name: policy for policy in (FairPolicy, RoundRobinPolicy, EarliestDeadlinePolicy)
}


def policy_named(name: str, quantum: int, cores: int = 1, ahead: bool = False) -> Policy:
    """`ahead`: several turns are decided at a time even on one core (epochs.py)."""
    if name not in POLICIES:
        raise ConfigurationError(f"a scheduling policy is one of {', '.join(POLICIES)}, not {name!r}")
    return POLICIES[name](quantum, cores, ahead)


__all__ = [
    "CAP_PERIOD",
    "LATENCY_CLASSES",
    "POLICIES",
    "After",
    "Agenda",
    "Cap",
    "Drive",
    "EarliestDeadlinePolicy",
    "Epochs",
    "FairPolicy",
    "Leases",
    "Monitor",
    "Phase",
    "Policy",
    "RoundRobinPolicy",
    "RunQueue",
    "Share",
    "Slot",
    "Tenancy",
    "Turn",
    "Workers",
    "check_latency",
    "check_weight",
    "policy_named",
]
