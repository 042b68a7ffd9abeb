"""Hypervisor: many VMs under one scheduler.

    with Hypervisor(cores=2, memory="2G") as hv:
        vm = hv.create("web", program=["./server.s"], weight=2, cpus=0.5)
        vm.start()
        ...

VMs run in background threads, one per core, which begin when the first VM is started. With `deterministic=True`
there is virtual time, and it passes only while somebody waits (`vm.wait`, `hv.run`, `hv.events(follow=True)`): the same
calls then give the same events, byte for byte, on any number of cores (see scheduler/epochs.py).

Locking: every method takes the monitor, so all may be called from any thread; what takes long (a wait) lets go of it.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Any

from sandbox.clock import Clock, Entropy, HostClock, HostEntropy, SeededEntropy, VirtualClock
from sandbox.errors import ConfigurationError, SandboxError, StateError
from sandbox.events import Created, Event, EventLog, LimitChanged, Note, Removed, Renamed
from sandbox.hypervisor import entering
from sandbox.hypervisor.builder import Builder, MachineBuilder, Surroundings
from sandbox.hypervisor.report import statistics
from sandbox.hypervisor.spectacle import Spectacle
from sandbox.hypervisor.supervisor import KILLED, Supervisor
from sandbox.hypervisor.tenant import Tenant
from sandbox.hypervisor.turns import Turns
from sandbox.machine import Machine
from sandbox.quantity import parse_duration, parse_size
from sandbox.scheduler import (
    CAP_PERIOD,
    Drive,
    Epochs,
    Leases,
    Monitor,
    Policy,
    RunQueue,
    Share,
    Turn,
    Workers,
    policy_named,
)
from sandbox.vm import OPTIONS, VM, Statistics, VmConfig, configure
from sandbox.vm.configuration import change, check_name
from sandbox.vm.execution import Execution

EXACT_QUANTUM = 1 << 22  # code bytes: one or two milliseconds of an average guest
FREE_QUANTUM = 2_000_000  # nanoseconds
LEAST_QUANTUM, LONGEST_QUANTUM = 1 << 14, 1 << 30  # of either: below it, switching costs more than running
LARGEST_BLOCK = 4096  # code bytes that an exact turn may run beyond its budget
ENGINES_PER_CORE = 2
FEWEST_ENGINES = 4
MOST_GUESSES = 1000  # names that one which is not there is compared with
LOOK = 50_000_000  # nanoseconds between looks at a condition that nobody tells of


class Hypervisor(Spectacle):
    """Owns VMs and everything they run on; a context manager that ends and frees all of it."""

    def __init__(
        self,
        cores: int = 1,
        memory: int | str = "2G",
        isolation: str = "inline",
        deterministic: bool = False,
        seed: int | str = 0,
        *,
        engine_mode: str | None = None,
        policy: str = "fair",
        quantum: int | None = None,
        builder: Callable[[Monitor, bool], Builder] | None = None,
    ) -> None:
        """`memory` is the budget of all VMs together. `engine_mode`: "free" (turns of CPU time) or "exact" (turns of
        code bytes, always when deterministic). `quantum`: the longest turn, nanoseconds or code bytes. `builder` is
        for tests."""
        if isolation != "inline":
            raise ConfigurationError(f"isolation is 'inline' so far, not {isolation!r}")
        if isinstance(cores, bool) or not isinstance(cores, int) or not 1 <= cores <= 256:
            raise ConfigurationError(f"cores is a number from 1 to 256, not {cores!r}")
        mode = engine_mode or ("exact" if deterministic else "free")
        if mode not in ("exact", "free") or (deterministic and mode == "free"):
            raise ConfigurationError(f"engine_mode is 'exact' or, unless deterministic, 'free', not {engine_mode!r}")
        self.cores = cores
        self.deterministic = deterministic
        self.exact = mode == "exact"
        self.seed = seed
        self.quantum = quantum or (EXACT_QUANTUM if self.exact else FREE_QUANTUM)
        self.monitor = Monitor()
        self.clock: Clock = VirtualClock() if deterministic else HostClock()
        self.log = EventLog(self.clock)
        self.began = self.clock.monotonic()
        self._closed = False
        self._tenants: dict[str, Tenant] = {}  # by identity, in the order of creation
        self._names: dict[str, Tenant] = {}
        self._numbers = 0
        self._builder: Builder = (
            builder(self.monitor, self.exact)
            if builder is not None
            else MachineBuilder(parse_size(memory, "memory"), self.monitor, self.exact)
        )
        self._leases: Leases[Any] = Leases(self._builder.open_engine, max(FEWEST_ENGINES, ENGINES_PER_CORE * cores))
        self._queue = self._make_queue(policy)
        virtual = self.clock if isinstance(self.clock, VirtualClock) else None
        self._turns = Turns(self._leases, virtual, self.exact)
        self._supervisor = Supervisor(self.monitor, self._queue, self.clock, self._leases)
        self._drive = self._make_drive(virtual)
        self._supervisor.drive = self._drive
        atexit.register(self.close)  # threads that run guests must not meet an interpreter that is being taken down

    def _make_queue(self, policy: str) -> RunQueue:
        return RunQueue(*self._make_order(policy))

    def _make_order(self, policy: str) -> tuple[Policy, int, int]:
        """The policy for this quantum, how far a turn may overrun, and the least it is charged."""
        cores = 1 if self.deterministic else self.cores
        order = policy_named(policy, self.quantum, cores, ahead=self.deterministic)
        margin = min(LARGEST_BLOCK, self.quantum // 8) if self.exact else 0
        return order, margin, max(1, self.quantum // 256)

    def _make_drive(self, virtual: VirtualClock | None) -> Drive:
        parts = (self._turns.serve, self._commit, self._defect, self.cores)
        if virtual is not None:
            return Epochs(self.monitor, self._queue, virtual, *parts)
        return Workers(self.monitor, self._queue, self.clock, *parts)

    @property
    def lock(self) -> threading.RLock:
        """The one lock, which an engine lets go of while guest code runs."""
        return self.monitor.lock

    @property
    def policy(self) -> str:
        return self._queue.policy.name

    def set_policy(self, name: str) -> None:
        """Schedule by this policy from the next turn on. Nobody is owed anything then."""
        with self.monitor:
            self._check_open()
            self._reorder(name)

    def set_quantum(self, quantum: int) -> None:
        """The longest turn from the next one on, in nanoseconds or, when turns are exact, in code bytes."""
        if isinstance(quantum, bool) or not isinstance(quantum, int) or not LEAST_QUANTUM <= quantum <= LONGEST_QUANTUM:
            raise ConfigurationError(
                f"a quantum is {LEAST_QUANTUM:,} to {LONGEST_QUANTUM:,} "
                f"{'code bytes' if self.exact else 'nanoseconds'}, not {quantum!r}"
            )
        with self.monitor:
            self._check_open()
            self.quantum = quantum
            self._reorder(self.policy)

    def _reorder(self, policy: str) -> None:
        order, margin, least = self._make_order(policy)
        shares = [tenant.share for tenant in self._tenants.values()]
        self._queue.replace_policy(order, shares, self.clock.monotonic(), margin, least)
        unit = "code bytes" if self.exact else "ns"
        self.log.record("", Note("scheduler", f"policy {policy}, quantum {self.quantum:,} {unit}"))
        self._drive.kick()

    # VMs

    def create(self, name: str, program: Any = (), **options: Any) -> VM:
        """A VM from a program and options (see `sandbox.vm.configuration.OPTIONS`), in the state "created". Raises
        ConfigurationError and LoadError; nothing is left behind then."""
        return self.create_from(configure(name, program, **options))

    def create_from(self, config: VmConfig) -> VM:
        with self.monitor:
            self._check_open()
            if config.name in self._names:
                raise ConfigurationError(f"there is a VM named {config.name} already")
            self._numbers += 1
            now = self.clock.monotonic()
            vm = VM(self, f"vm-{self._numbers}", config)
            recorder = self.log.recorder(config.name)
            clock = VirtualClock(start=now, jumps=False) if self.deterministic else self.clock
            surroundings = Surroundings(vm.console, clock, self._entropy(config), recorder, self.deterministic)
            ground = self._builder.prepare(config, surroundings)
            vm.isa_name = ground.kind.isa
            share = Share(None, config.weight, config.latency, config.period, reads=ground.reads, writes=ground.writes)
            tenancy = self._leases.admit(ground.kind, config.dedicated)
            tenant = Tenant(vm, share, ground, tenancy, recorder, clock)
            share.owner = tenant
            self._queue.admit(share, now)
            self._apply_caps(tenant)
            self._tenants[vm.identity] = self._names[config.name] = tenant
            program = b" ".join(config.program).decode("utf-8", "backslashreplace")
            recorder.record(Created(vm.isa_name, program or f"board {config.board}"))
            return vm

    @property
    def vms(self) -> tuple[VM, ...]:
        """All VMs that have not been removed, oldest first."""
        with self.monitor:
            return tuple(tenant.vm for tenant in self._tenants.values())

    def vm(self, name: str) -> VM:
        """By name or identity."""
        with self.monitor:
            tenant = self._names.get(name) or self._tenants.get(name)
            if tenant is None:
                near = get_close_matches(name[:64], islice(self._names, MOST_GUESSES), 1)
                raise StateError(f"there is no VM named {name}" + (f": do you mean {near[0]}?" if near else ""))
            return tenant.vm

    def vm_with_identity(self, identity: str) -> VM:
        """For programs that keep identities: a VM may be named as another is identified."""
        with self.monitor:
            if identity not in self._tenants:
                raise StateError(f"{identity} has been removed")
            return self._tenants[identity].vm

    def run(self, timeout: float | str | None = None) -> bool:
        """Until all VMs have ended for good (those that were never started do not count); False after `timeout`."""

        def done() -> bool:
            return all(tenant.vm.over or tenant.vm.state == "created" for tenant in self._tenants.values())

        with self.monitor:
            return self._drive.wait_until(done, None if timeout is None else parse_duration(timeout, "timeout"))

    def wait_until(self, done: Callable[[], bool], timeout: int | None = None) -> bool:
        """Until `done()`, evaluated under the lock whenever a VM's state changes and now and then besides (when time
        is virtual, whenever some has passed), or until so many nanoseconds."""
        with self.monitor:
            if self.deterministic:
                return self._wait_until(done, timeout)
            left = timeout
            end = None if timeout is None else self.clock.monotonic() + timeout
            while not self._wait_until(done, LOOK if left is None else max(0, min(LOOK, left))):
                left = None if end is None else end - self.clock.monotonic()
                if self._closed or (left is not None and left <= 0):
                    return False
            return True

    def _wait_until(self, done: Callable[[], bool], timeout: int | None) -> bool:
        """For what only changes together with a VM's state."""
        return self._drive.wait_until(lambda: done() or self._closed, timeout) and done()

    def events(self, since: int = 0, follow: bool = False) -> Iterator[Event]:
        """The events from sequence number `since` on that are still kept; with `follow`, also those to come, until
        the hypervisor is closed."""
        forget = self.observe(lambda event: self.monitor.changed.notify_all()) if follow else None
        try:
            while True:
                with self.monitor:
                    if follow:
                        self._drive.wait_until(partial(self._has_news, since), None)
                    news = self.log.since(since)
                    closed = self._closed
                yield from news
                if news:
                    since = news[-1].sequence + 1
                if not follow or (closed and not news):
                    return
        finally:
            if forget is not None:
                forget()

    def _has_news(self, since: int) -> bool:
        return self._closed or self.log.next_sequence > since

    def observe(self, observer: Callable[[Event], None]) -> Callable[[], None]:
        """Call `observer` with every event, inside the lock; the function returned ends that."""
        with self.monitor:
            return self.log.observe(observer)

    # Closing

    def close(self) -> None:
        """End all VMs and free everything: threads, engines, frames, descriptors. Idempotent."""
        with self.monitor:
            if self._closed:
                return
            self._closed = True
            atexit.unregister(self.close)
            for tenant in self._tenants.values():
                if not tenant.vm.lifecycle.ended and tenant.vm.state != "created":
                    self._supervisor.kill(tenant, "the hypervisor was closed", KILLED)
            self.monitor.changed.notify_all()
        self._drive.close()
        with self.monitor:
            for tenant in self._tenants.values():
                self._quietly(tenant, partial(self._supervisor.release, tenant))
            self._tenants.clear()
            self._names.clear()
            self._leases.close()
            self._builder.close()

    def __enter__(self) -> Hypervisor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # sandbox.vm.Host

    def start(self, vm: VM) -> None:
        with self.monitor:
            self._check_open()
            self._supervisor.start(self._tenant(vm))

    def pause(self, vm: VM) -> None:
        with self.monitor:
            self._supervisor.pause(self._tenant(vm))

    def resume(self, vm: VM) -> None:
        with self.monitor:
            self._supervisor.resume(self._tenant(vm))

    def stop(self, vm: VM, grace: int | None, wait: bool) -> None:
        with self.monitor:
            self._supervisor.stop(self._tenant(vm), grace, wait)

    def kill(self, vm: VM, reason: str, status: int) -> None:
        with self.monitor:
            self._supervisor.kill_and_wait(self._tenant(vm), reason, status)

    def remove(self, vm: VM, force: bool) -> None:
        with self.monitor:
            tenant = self._tenant(vm)
            if force and not vm.lifecycle.ended and vm.state != "created":
                self._supervisor.kill_and_wait(tenant, "removed by the operator", KILLED)
            vm.lifecycle.move("remove", vm.name)
            vm.lifecycle.removed = True
            del self._tenants[vm.identity], self._names[vm.name]
            tenant.recorder.record(Removed())
            self._supervisor.release(tenant)
            self.monitor.changed.notify_all()

    def rename(self, vm: VM, name: str) -> None:
        with self.monitor:
            tenant = self._tenant(vm)
            if name == vm.name:
                return
            if name in self._names:
                raise ConfigurationError(f"there is a VM named {name} already")
            before = vm.name
            vm.config = replace(vm.config, name=check_name(name))
            self._names[name] = self._names.pop(before)
            tenant.recorder.vm = name
            tenant.recorder.record(Renamed(before))

    def change_limit(self, vm: VM, limit: str, value: Any) -> None:
        with self.monitor:
            tenant = self._tenant(vm)
            before, after = vm.config, change(vm.config, limit, value)
            vm.config = after
            try:
                tenant.ground.change_limit(after, limit, tenant.machine)
            except SandboxError:
                vm.config = before
                raise
            if limit == "weight":
                self._queue.policy.reweigh(tenant.share, after.weight)
            elif limit == "latency":
                tenant.share.latency = after.latency
            elif limit in ("cpus", "output"):
                self._apply_caps(tenant)
            elif limit == "timeout":
                self._supervisor.set_deadline(tenant)
            field = OPTIONS[limit][0]
            tenant.recorder.record(LimitChanged(limit, str(getattr(before, field)), str(getattr(after, field))))
            self._drive.kick()

    def wait_for(self, vm: VM, done: Callable[[], bool], timeout: int | None) -> bool:
        with self.monitor:
            self._check_open()
            return self._wait_until(done, timeout)

    def spawn(self, vm: VM, execution: Execution) -> None:
        with self.monitor:
            entering.spawn(self.monitor, self._drive, self._tenant(vm), execution)

    def step(self, vm: VM, count: int) -> None:
        with self.monitor:
            self._supervisor.step(self._tenant(vm), count)

    def statistics(self, vm: VM) -> Statistics:
        with self.monitor:
            return statistics(self._tenant(vm), self.clock.monotonic(), self.exact)

    def read_file(self, vm: VM, path: bytes) -> bytes:
        with self.monitor:
            return self._tenant(vm).ground.read_file(path)

    @contextmanager
    def enter(self) -> Iterator[None]:
        with self.monitor:
            yield

    @contextmanager
    def inspect(self, vm: VM) -> Iterator[Machine]:
        with self.monitor:
            yield self._supervisor.require_still(self._tenant(vm))

    # Inside

    def _tenant(self, vm: VM) -> Tenant:
        tenant = self._tenants.get(vm.identity)
        if tenant is None:
            what = "the hypervisor is closed" if self._closed else f"{vm.name} has been removed"
            raise StateError(what)
        return tenant

    def _check_open(self) -> None:
        if self._closed:
            raise StateError("the hypervisor is closed")

    def _entropy(self, config: VmConfig) -> Entropy:
        return SeededEntropy(f"{self.seed}/{config.name}") if self.deterministic else HostEntropy()

    def _apply_caps(self, tenant: Tenant) -> None:
        config, now = tenant.vm.config, self.clock.monotonic()
        quota = None if config.cpus is None else round(config.cpus * CAP_PERIOD)
        self._queue.set_cap(tenant.share, quota, now)
        output = None if config.output is None else max(1, config.output * CAP_PERIOD // 1_000_000_000)
        tenant.output_seen = tenant.vm.console.total
        self._queue.set_output_cap(tenant.share, output, now)

    def _commit(self, share: Share, turn: Turn) -> None:
        self._supervisor.after_turn(share.owner, turn)

    def _defect(self, share: Share, error: BaseException) -> None:
        tenant: Tenant = share.owner
        self._quietly(tenant, partial(self._supervisor.defect, tenant, error))

    def _quietly(self, tenant: Tenant, action: Callable[[], None]) -> None:
        """A second failure while cleaning up after a first one must not end the worker."""
        try:
            action()
        except Exception as error:
            self.log.record(tenant.vm.name, Note("hypervisor", f"{type(error).__name__}: {error}"))
