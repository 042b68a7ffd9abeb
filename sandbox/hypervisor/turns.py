"""One turn of a VM: an engine on lease, the machine's run, and what it is charged.

Charged is what the machine says it used (code bytes, and a fixed price for each call the kernel served) when budgets
are exact, and the CPU time of this thread, the kernel's work in Python included, when they are not. CPU caps and
`cpu_seconds` are CPU time in either case; virtual time when deterministic.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from sandbox.clock import VirtualClock
from sandbox.hypervisor.gauges import Tape
from sandbox.hypervisor.tenant import Tenant
from sandbox.machine import Activity
from sandbox.scheduler import After, Leases, Share, Turn

AFTER = {
    Activity.RUNNABLE: After.RUNNABLE,
    Activity.WAITING: After.ASLEEP,
    Activity.EXITED: After.GONE,
}

Clocked = Callable[[], int]


class Turns:
    def __init__(self, leases: Leases[Any], clock: VirtualClock | None, exact: bool) -> None:
        """`clock`: the common virtual time, when deterministic."""
        self._leases = leases
        self._clock = clock
        self._exact = exact
        self.tape: Tape | None = None  # while somebody watches who runs when

    def serve(self, share: Share) -> Turn:
        """See `sandbox.scheduler.turn`. Raises only for defects of ours."""
        tenant: Tenant = share.owner
        machine = tenant.machine
        if machine is None or machine.exit_status is not None:
            return Turn(0, 0, After.GONE)
        clock = self._begin(tenant)
        slot = self._leases.take(tenant.tenancy)
        sound = False
        try:
            engine = slot.engine
            misses = getattr(engine, "tlb_misses", 0)
            tape = self.tape  # somebody may begin to watch in the middle of the turn
            begun = self._now() if tape is not None else 0
            before = clock()
            outcome = machine.run(engine, share.budget)
            cpu = clock() - before
            if self._clock is not None:  # virtual time moves with the work, whatever the machine does with its clock
                cpu = max(cpu, outcome.used)
            tenant.misses += getattr(engine, "tlb_misses", 0) - misses
            if tape is not None:
                tape.note(tenant.vm.identity, _lane(), begun, max(self._now(), begun + cpu))
            sound = True
        finally:
            self._leases.give_back(slot, broken=not sound)
        tenant.turns += 1
        tenant.cpu += cpu
        tenant.work += outcome.work
        if share.output_cap is not None:
            total = tenant.vm.console.total
            share.output_cap.charge(total - tenant.output_seen)
            tenant.output_seen = total
        used = (outcome.used or outcome.work) if self._exact else cpu
        return Turn(used, cpu, AFTER[outcome.activity], outcome.deadline)

    def _now(self) -> int:
        return time.monotonic_ns() if self._clock is None else self._clock.monotonic()

    def _begin(self, tenant: Tenant) -> Clocked:
        """How to read the CPU time of this turn."""
        if self._clock is None:
            return time.thread_time_ns
        own = tenant.clock
        assert isinstance(own, VirtualClock)
        own.advance(max(0, self._clock.monotonic() - own.monotonic()))
        tenant.recorder.hold()
        return own.monotonic


def _lane() -> int:
    """Which host core's thread this is; what waits in virtual time is the first."""
    number = threading.current_thread().name.rpartition("sandbox-core-")[2]
    return int(number) if number.isdigit() else 0
