"""The hypervisor as spectators see it: the dashboard, the control service. Nothing here changes anything.

A part of `Hypervisor` (front.py), which brings the attributes named below.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from sandbox.clock import Clock
from sandbox.hypervisor.builder import Builder
from sandbox.hypervisor.gauges import Gauge, Stretch, Tape, gauge
from sandbox.hypervisor.report import SchedulerPicture, scheduler_picture
from sandbox.hypervisor.tenant import Tenant
from sandbox.hypervisor.turns import Turns
from sandbox.machine import Machine
from sandbox.scheduler import Leases, Monitor, RunQueue
from sandbox.vm import VM
from sandbox.vm.statistics import PAGE

GAUGES_AT_ONCE = 500


class Spectacle:
    monitor: Monitor
    clock: Clock
    deterministic: bool
    exact: bool
    quantum: int
    _builder: Builder
    _leases: Leases[Any]
    _queue: RunQueue
    _tenants: dict[str, Tenant]
    _turns: Turns

    def _tenant(self, vm: VM) -> Tenant:
        raise NotImplementedError

    def scheduler_picture(self) -> SchedulerPicture:
        with self.monitor:
            names = {tenant.tenancy.number: tenant.vm.name for tenant in self._tenants.values()}
            unit = "code bytes" if self.exact else "ns"
            return scheduler_picture(self._queue, self.quantum, unit, self._leases, names)

    def gauges(self) -> list[Gauge]:
        """The cheap figures of all VMs, oldest first; the lock is let go now and then, so that many do not stall."""
        with self.monitor:
            tenants = list(self._tenants.values())
        found = []
        for start in range(0, len(tenants), GAUGES_AT_ONCE):
            with self.monitor:
                now = self.clock.monotonic()
                found += [gauge(tenant, now) for tenant in tenants[start : start + GAUGES_AT_ONCE]]
        return found

    def glance(self, vm: VM, look: Callable[[Machine], None], patience: float = 0.05) -> bool:
        """Call `look(machine)` when no guest code runs in the VM: now, or when its turn ends, without stopping it for
        that. False when there is no machine, or it did not come to it within `patience` seconds."""
        seen = threading.Event()
        failures: list[Exception] = []

        def once(machine: Machine) -> None:
            try:
                look(machine)
            except Exception as error:  # the spectator's, not the VM's
                failures.append(error)
            seen.set()

        with self.monitor:
            tenant = self._tenant(vm)
            if tenant.machine is None:
                return False
            if not tenant.share.running:
                once(tenant.machine)
            elif self.deterministic:  # its turns are other threads' business
                return False
            else:
                tenant.glances.waiting.append(once)
        if not seen.wait(patience):
            with self.monitor:
                if once in tenant.glances.waiting:
                    tenant.glances.waiting.remove(once)
        if failures:
            raise failures[0]
        return seen.is_set()

    def watch_turns(self, on: bool) -> list[Stretch]:
        """Who had which core when, for the last seconds; noted only after a call with True, until one with False."""
        with self.monitor:
            if on != (self._turns.tape is not None):
                self._turns.tape = Tape() if on else None
            return list(self._turns.tape.read()) if self._turns.tape is not None else []

    def pool_shared(self) -> int:
        """Bytes of the frame pool that are no VM's own: pages of files, which all share, and what engines need."""
        pool = getattr(self._builder, "pool", None)
        return pool.system.used * PAGE if pool is not None else 0

    def pool_use(self) -> tuple[int, int]:
        """Bytes of the frame pool in use, and its size; zeros when the builder has none."""
        pool = getattr(self._builder, "pool", None)
        return (pool.used * PAGE, pool.frames * PAGE) if pool is not None else (0, 0)
