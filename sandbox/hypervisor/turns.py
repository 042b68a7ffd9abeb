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

# Names of what every turn needs: an enumeration's members are slow to look up.
_RUNNABLE, _WAITING, _ON = Activity.RUNNABLE, Activity.WAITING, After.RUNNABLE

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
        clock = time.thread_time_ns if self._clock is None else self._begin(tenant, self._clock)
        slot = self._leases.take(tenant.tenancy)
        tape = self.tape  # somebody may begin to watch in the middle of the turn
        begun = self._now() if tape is not None else 0
        before = clock()
        try:
            outcome = machine.run(slot.engine, share.budget)
        except BaseException:
            self._leases.give_back(slot, broken=True)
            raise
        cpu = clock() - before
        misses = slot.engine.tlb_misses
        tenant.misses += misses - slot.misses
        slot.misses = misses
        self._leases.give_back(slot)
        if self._clock is not None:  # virtual time moves with the work, whatever the machine does with its clock
            cpu = max(cpu, outcome.used)
        if tape is not None:
            tape.note(tenant.vm.identity, _lane(), begun, max(self._now(), begun + cpu))
        tenant.turns += 1
        tenant.cpu += cpu
        tenant.work += outcome.work
        if share.output_cap is not None:
            total = tenant.vm.console.total
            share.output_cap.charge(total - tenant.output_seen)
            tenant.output_seen = total
        turn = tenant.turn
        turn.used = (outcome.used or outcome.work) if self._exact else cpu
        turn.cpu = cpu
        activity = outcome.activity
        if activity is _RUNNABLE:
            turn.after = _ON
            turn.wake_at = None
            turn.quiet = machine.exit_status is None and self._clock is None and tenant.has_no_wishes()
        else:
            turn.after = After.ASLEEP if activity is _WAITING else After.GONE
            turn.wake_at = outcome.deadline
            turn.quiet = False
        return turn

    def _now(self) -> int:
        return time.monotonic_ns() if self._clock is None else self._clock.monotonic()

    @staticmethod
    def _begin(tenant: Tenant, common: VirtualClock) -> Clocked:
        """Virtual time: how to read what of it this turn takes."""
        own = tenant.clock
        assert isinstance(own, VirtualClock)
        own.advance(max(0, common.monotonic() - own.monotonic()))
        tenant.recorder.hold()
        return own.monotonic


def _lane() -> int:
    """Which host core's thread this is; what waits in virtual time is the first."""
    number = threading.current_thread().name.rpartition("sandbox-core-")[2]
    return int(number) if number.isdigit() else 0
