"""The lives of VMs: starting, pausing, ending, restarting, deadlines. All of it under the monitor's lock.

A VM that has a processor at the moment cannot be touched; what is wanted of it is noted in its tenant and done when
the turn ends (`after_turn`). Time comes from the hypervisor's clock; whatever is to happen later is on the run queue's
agenda, so that it happens in virtual time as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.clock import Clock
from sandbox.errors import SandboxError, StateError
from sandbox.events import (
    Crashed,
    Defect,
    LimitReached,
    Paused,
    RestartPlanned,
    Resumed,
    Started,
    StopAsked,
    Stopped,
)
from sandbox.hypervisor.stepping import step
from sandbox.hypervisor.tenant import Tenant
from sandbox.machine import Activity, Machine
from sandbox.scheduler import Drive, Leases, Monitor, RunQueue, Turn
from sandbox.vm.statistics import machine_figures, syscall_count

FIRST_BACK_OFF = 100_000_000  # nanoseconds; doubled with every failure in a row
LONGEST_BACK_OFF = 60_000_000_000
GOOD_RUN = 10_000_000_000  # who has run so long starts counting failures anew
TIMED_OUT = 124
KILLED = 137


class Supervisor:
    def __init__(self, monitor: Monitor, queue: RunQueue, clock: Clock, leases: Leases[Any]) -> None:
        self._monitor = monitor
        self._queue = queue
        self._clock = clock
        self._leases = leases
        self.drive: Drive  # given once it exists

    # What the operator wants

    def start(self, tenant: Tenant) -> None:
        vm = tenant.vm
        vm.lifecycle.check("start", vm.name)
        self._cancel_restart(tenant)
        tenant.failures = 0
        self._boot(tenant)

    def pause(self, tenant: Tenant) -> None:
        vm = tenant.vm
        if vm.lifecycle.check("pause", vm.name) == vm.state:
            return
        tenant.pause_wanted = True
        if not tenant.share.running:
            self._settle_pause(tenant)
        elif self.drive.inside_turn(tenant.share):
            halt = getattr(tenant.machine, "halt", None)  # from its own callback: here and now
            if halt is not None:
                halt()
        elif not self.drive.inside_turn():
            self.drive.wait_until(lambda: not tenant.pause_wanted, None)

    def resume(self, tenant: Tenant) -> None:
        vm = tenant.vm
        if tenant.pause_wanted:  # from a callback, within one turn
            tenant.pause_wanted = False
            return
        if vm.lifecycle.check("resume", vm.name) == vm.state:
            return
        vm.lifecycle.move("resume", vm.name)
        tenant.recorder.record(Resumed())
        self._queue.free(tenant.share, self._clock.monotonic())
        self._announce()

    def stop(self, tenant: Tenant, grace: int | None, wait: bool) -> None:
        vm = tenant.vm
        vm.lifecycle.check("stop", vm.name)
        self._cancel_restart(tenant)
        if vm.lifecycle.ended:
            return
        machine = tenant.machine
        assert machine is not None
        patience = vm.config.grace if grace is None else grace
        tenant.stopping = tenant.ended_by_us = True
        tenant.recorder.record(StopAsked(patience / 1e9))
        if vm.state == "paused" or tenant.pause_wanted:
            self.resume(tenant)
        machine.terminate()
        reason = f"it did not end within {patience / 1e9:g} s of being asked to"
        self._later(tenant, "grace", self._clock.monotonic() + patience, lambda: self.kill(tenant, reason, KILLED))
        self.drive.kick()
        if wait and not self.drive.inside_turn():
            self._wait_for_end(tenant)

    def kill(self, tenant: Tenant, reason: str, status: int) -> None:
        vm = tenant.vm
        vm.lifecycle.check("kill", vm.name)
        self._cancel_restart(tenant)
        if vm.lifecycle.ended:
            return
        tenant.ended_by_us = True
        if tenant.share.running:
            tenant.doom = tenant.doom or (reason, status, "kill")
            return
        machine = tenant.machine
        assert machine is not None
        self._kill_machine(tenant, machine, reason, status)
        self._end(tenant, machine, "kill")

    def kill_and_wait(self, tenant: Tenant, reason: str, status: int) -> None:
        self.kill(tenant, reason, status)
        if not self.drive.inside_turn():
            self._wait_for_end(tenant)

    def _wait_for_end(self, tenant: Tenant) -> None:
        """Of this run: somebody else may have started the next one before we get to look."""
        run = tenant.vm.starts
        self.drive.wait_until(lambda: tenant.vm.lifecycle.ended or tenant.vm.starts != run, None)

    def release(self, tenant: Tenant) -> None:
        """It has ended, or never began; nothing of it stays."""
        now = self._clock.monotonic()
        self._cancel_restart(tenant)
        for key in ("grace", "timeout"):
            self._queue.agenda.cancel((tenant, key))
        self._queue.set_cap(tenant.share, None, now)
        self._queue.set_output_cap(tenant.share, None, now)
        self._queue.dismiss(tenant.share, now)
        self._leases.leave(tenant.tenancy)
        self._free_machine(tenant)
        tenant.ground.close()

    # What happens by itself

    def wake(self, tenant: Tenant) -> None:
        """The machine has something to run."""
        share = tenant.share
        self._queue.wake(share, self._clock.monotonic())
        self.drive.kick()
        if share.queued and share.latency != "normal":  # somebody has typed: not after a whole turn of another
            for slot in self._leases.slots():
                if slot.busy:
                    slot.engine.hurry()

    def after_turn(self, tenant: Tenant, turn: Turn) -> None:
        tenant.recorder.let_go()
        machine = tenant.machine
        if machine is None:
            return
        if tenant.glances.waiting:
            tenant.glances.serve(machine)
        if tenant.doom is None and machine.exit_status is None:
            self._check_limits(tenant, machine)
        doom, tenant.doom = tenant.doom, None
        if machine.exit_status is not None:
            self._end(tenant, machine, "kill" if tenant.ended_by_us else "exit")
        elif doom is not None:
            reason, status, action = doom
            self._kill_machine(tenant, machine, reason, status)
            self._end(tenant, machine, action)
        elif tenant.pause_wanted:
            self._settle_pause(tenant)

    def defect(self, tenant: Tenant, error: BaseException) -> None:
        """Our own code failed while it served this VM: it ends, nobody else does."""
        tenant.recorder.let_go()
        tenant.recorder.record(Defect("a turn", f"{type(error).__name__}: {error}"))
        machine = tenant.machine
        if machine is None or tenant.vm.lifecycle.ended:
            return
        tenant.doom = None
        self._kill_machine(tenant, machine, f"a defect of the sandbox: {type(error).__name__}: {error}", 125)
        self._end(tenant, machine, "crash")

    def set_deadline(self, tenant: Tenant) -> None:
        """The wall-clock deadline of the machine that runs now."""
        limit, key = tenant.vm.config.timeout, (tenant, "timeout")
        if limit is None or tenant.vm.state not in ("running", "paused"):
            self._queue.agenda.cancel(key)
            return
        reason = f"it ran longer than its timeout of {limit / 1e9:g} s"
        self._later(tenant, "timeout", tenant.last_start + limit, lambda: self._expire(tenant, reason))

    # Inside

    def _boot(self, tenant: Tenant) -> None:
        """Raises what the ground's `boot` raises; the state is then what it was."""
        vm = tenant.vm
        self._free_machine(tenant)
        machine = tenant.ground.boot()
        now = self._clock.monotonic()
        tenant.machine = machine
        machine.on_wake = lambda: self.wake(tenant)
        try:
            vm.attach(machine)
        except SandboxError:  # a breakpoint at a symbol that the program has not
            self._free_machine(tenant)
            raise
        vm.lifecycle.move("start", vm.name)
        vm.starts += 1
        vm.exit_status = vm.reason = vm.crash = None
        tenant.ended_by_us = tenant.stopping = tenant.pause_wanted = False
        tenant.doom = None
        tenant.last_start = now
        tenant.first_start = now if tenant.first_start is None else tenant.first_start
        tenant.start_cpu = tenant.quiet_cpu = tenant.cpu
        tenant.quiet_calls = -1
        tenant.recorder.record(Started(vm.starts))
        self.set_deadline(tenant)
        self._queue.free(tenant.share, now)
        self._queue.revive(tenant.share, now)
        self.drive.start()
        self._announce()

    def _settle_pause(self, tenant: Tenant) -> None:
        tenant.pause_wanted = False
        vm = tenant.vm
        if vm.state != "running":
            return
        vm.lifecycle.move("pause", vm.name)
        self._queue.hold(tenant.share, self._clock.monotonic())
        tenant.recorder.record(Paused())
        self._announce()

    def _end(self, tenant: Tenant, machine: Machine, action: str) -> None:
        """The machine has ended; `action` says how: exit, kill or crash."""
        vm, now = tenant.vm, self._clock.monotonic()
        if vm.lifecycle.ended:
            return
        if action == "exit" and machine.death is not None:
            action = "crash"
        vm.exit_status = machine.exit_status if machine.exit_status is not None else KILLED
        vm.last_status = vm.exit_status
        vm.reason = machine.death or None
        vm.crash = getattr(machine, "crash", None)
        vm.lifecycle.move(action, vm.name)
        tenant.last_end = now
        tenant.pause_wanted = False
        for key in ("grace", "timeout"):
            self._queue.agenda.cancel((tenant, key))
        self._queue.dismiss(tenant.share, now)
        self._leases.leave(tenant.tenancy)
        tenant.past = machine_figures(machine) | {"tasks": 0, "files": 0}
        self._free_machine(tenant)
        if vm.state == "crashed":
            tenant.recorder.record(Crashed(vm.exit_status, vm.reason or ""))
        else:
            tenant.recorder.record(Stopped(vm.exit_status, vm.reason or ""))
        self._plan_restart(tenant)
        self._announce()

    def _plan_restart(self, tenant: Tenant) -> None:
        vm, now = tenant.vm, self._clock.monotonic()
        policy = vm.config.restart
        failed = vm.exit_status != 0
        if tenant.ended_by_us or policy.mode == "never" or (policy.mode == "on-failure" and not failed):
            return
        if now - tenant.last_start >= GOOD_RUN:
            tenant.failures = 0
        if policy.retries is not None and tenant.failures >= policy.retries:
            tenant.recorder.record(LimitReached("restart", f"gave up after {tenant.failures} attempts"))
            return
        delay = min(FIRST_BACK_OFF << min(tenant.failures, 20), LONGEST_BACK_OFF)
        tenant.failures += 1
        vm.restart_pending = True
        tenant.recorder.record(RestartPlanned(tenant.failures, delay / 1e9))
        self._later(tenant, "restart", now + delay, lambda: self._restart(tenant))
        self.drive.kick()

    def _restart(self, tenant: Tenant) -> None:
        tenant.vm.restart_pending = False
        try:
            self._boot(tenant)
        except SandboxError as error:
            tenant.recorder.record(Defect("restart", str(error)))
        except Exception as error:
            tenant.recorder.record(Defect("restart", f"{type(error).__name__}: {error}"))
        self._announce()

    def _cancel_restart(self, tenant: Tenant) -> None:
        if tenant.vm.restart_pending:
            tenant.vm.restart_pending = False
            self._queue.agenda.cancel((tenant, "restart"))
            self._announce()

    def _expire(self, tenant: Tenant, reason: str) -> None:
        if tenant.vm.lifecycle.ended:
            return
        tenant.recorder.record(LimitReached("timeout", reason))
        self.kill(tenant, reason, TIMED_OUT)

    def _check_limits(self, tenant: Tenant, machine: Machine) -> None:
        """CPU time and the watchdog: looked at when a turn ends, which is when CPU time grows."""
        config = tenant.vm.config
        if config.cpu_timeout is not None and tenant.cpu - tenant.start_cpu > config.cpu_timeout:
            self._exceed(tenant, "cpu_timeout", f"it used more than {config.cpu_timeout / 1e9:g} s of CPU time")
        if config.watchdog is not None:
            calls = syscall_count(machine)
            if calls is None or calls != tenant.quiet_calls:
                tenant.quiet_calls = -1 if calls is None else calls
                tenant.quiet_cpu = tenant.cpu
            elif tenant.cpu - tenant.quiet_cpu > config.watchdog:
                self._exceed(tenant, "watchdog", f"no system call in {config.watchdog / 1e9:g} s of CPU time")

    def _exceed(self, tenant: Tenant, limit: str, reason: str) -> None:
        tenant.recorder.record(LimitReached(limit, reason))
        if limit == "watchdog":  # the guest's fault: its restart policy decides what follows
            tenant.doom = (reason, KILLED, "crash")
        else:
            tenant.ended_by_us = True
            tenant.doom = (reason, KILLED, "kill")

    def _free_machine(self, tenant: Tenant) -> None:
        machine, tenant.machine = tenant.machine, None
        tenant.vm.attach(None)
        if machine is not None:
            machine.on_wake = None
            try:
                tenant.ground.retire(machine)
            except Exception as error:
                self._note_defect(tenant, "release", error)

    def _kill_machine(self, tenant: Tenant, machine: Machine, reason: str, status: int) -> None:
        """Whatever the machine makes of it: for us it has ended."""
        try:
            machine.kill(reason, status)
        except Exception as error:
            self._note_defect(tenant, "kill", error)

    def _later(self, tenant: Tenant, key: str, time: int, action: Callable[[], None]) -> None:
        """Put it on the agenda. What it raises concerns this VM, not the thread that looks at the agenda."""

        def run(now: int) -> None:
            try:
                action()
            except Exception as error:
                self._note_defect(tenant, key, error)

        self._queue.agenda.set((tenant, key), time, run)

    @staticmethod
    def _note_defect(tenant: Tenant, where: str, error: Exception) -> None:
        tenant.recorder.record(Defect(where, f"{type(error).__name__}: {error}"))

    def _announce(self) -> None:
        self._monitor.changed.notify_all()
        self.drive.kick()

    def step(self, tenant: Tenant, count: int) -> None:
        machine = self.require_still(tenant)
        if self.drive.inside_turn():
            raise StateError("a callback cannot step a VM: return, and step outside")
        slot = self._leases.take(tenant.tenancy)
        sound = False
        try:
            outcome = step(machine, slot.engine, count)
            sound = True
        finally:
            self._leases.give_back(slot, broken=not sound)
        tenant.work += outcome.work
        if machine.exit_status is not None:
            self._end(tenant, machine, "exit")
        elif outcome.activity is Activity.WAITING:
            self._queue.doze(tenant.share, self._clock.monotonic(), outcome.deadline)

    def require_still(self, tenant: Tenant) -> Machine:
        """The machine, for a look inside."""
        vm = tenant.vm
        if tenant.machine is None:
            raise StateError(f"{vm.name} is {vm.state}: there is no machine to look into")
        if vm.state == "running" and not self.drive.inside_turn(tenant.share):
            raise StateError(f"{vm.name} is running: pause it to look inside")
        return tenant.machine
