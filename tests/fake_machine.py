"""Machines without guests, for what stands above them: hypervisor, fleet, control.

The program's words are the script: `spin`, `exit 3`, `sleep SECONDS` (then exit 0), `crash`, `raise` (a defect of
ours), `cat` (echo standard input, exit 0 at its end), `stubborn` (spins, and ignores being asked to end), `work N`
(N units, then exit 0), `calls` (spins, making system calls), `print TEXT` (then exit 0), `flood` (prints for ever),
`unloadable`; `bad-kill` and `bad-release` spin, and are broken in that call.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from sandbox.engine import isa_named
from sandbox.errors import LoadError
from sandbox.hypervisor import Hypervisor
from sandbox.hypervisor.builder import Kind, Surroundings
from sandbox.machine import Activity, Outcome
from sandbox.scheduler import Monitor
from sandbox.vm import VmConfig
from sandbox.wait import WaitQueue


@dataclass
class Inventory:
    """What is open now, and what was done; a test looks at it in the end."""

    engines: int = 0
    engines_opened: int = 0
    grounds: int = 0
    machines: int = 0
    closed: bool = False
    broken: list[str] = field(default_factory=list)
    running: set[str] = field(default_factory=set)
    hurried: int = field(default=0, compare=False)


class FakeEngine:
    def __init__(self, stock: Inventory, gate: threading.RLock) -> None:
        self.stock = stock
        self.gate = gate
        self.tlb_misses = 0
        self.busy = False
        stock.engines += 1
        stock.engines_opened += 1

    def guest_code(self) -> None:
        """Where a real engine lets go of the lock."""
        if self.busy:
            self.stock.broken.append("an engine was used twice at a time")
        self.busy = True
        self.gate.release()
        os.sched_yield()
        self.gate.acquire()
        self.busy = False

    def hurry(self) -> None:
        self.stock.hurried += 1

    def close(self) -> None:
        if self.busy:
            self.stock.broken.append("an engine was closed while it ran")
        self.stock.engines -= 1


class FakeMachine:
    def __init__(self, stock: Inventory, config: VmConfig, surroundings: Surroundings) -> None:
        self.isa = isa_named(config.arch or "x86_64")
        self.exit_status: int | None = None
        self.death: str | None = None
        self.on_wake: Callable[[], None] | None = None
        calls = {0: 0}
        self.stats = SimpleNamespace(calls=calls, as_dict=lambda: {"syscalls": {"read": calls[0]}})
        self._stock = stock
        self._name = config.name
        self._verb, *self._words = (word.decode() for word in config.program)
        self._surroundings = surroundings
        self._input = surroundings.console.renew_input()
        self._waiting_on: WaitQueue | None = None
        self._done = 0
        self._wake_at: int | None = None
        self._asked = False
        self._released = False
        stock.machines += 1

    def wake(self, queue: WaitQueue) -> None:
        self._waiting_on = None
        if self.on_wake is not None:
            self.on_wake()

    def run(self, engine: FakeEngine, budget: int) -> Outcome:
        if self._name in self._stock.running:
            self._stock.broken.append(f"{self._name} ran twice at a time")
        self._stock.running.add(self._name)
        engine.guest_code()
        self._stock.running.discard(self._name)
        if self._released:
            self._stock.broken.append(f"{self._name} ran after it was released")
        if self.exit_status is not None:
            return Outcome(Activity.EXITED, 0)
        self._done += budget
        outcome = self._step(budget)
        if self._asked and self._verb != "stubborn" and self.exit_status is None:
            self._exit(143)
            self.death = "process 1 was killed by SIGTERM"
        if self.exit_status is not None:
            return Outcome(Activity.EXITED, budget, None, budget)
        return outcome

    def _step(self, budget: int) -> Outcome:
        on = Outcome(Activity.RUNNABLE, budget, None, budget)
        console = self._surroundings.console
        match self._verb:
            case "exit":
                self._exit(int(self._words[0]))
            case "crash":
                self._exit(139)
                self.death = "killed by SIGSEGV"
            case "raise":
                raise ValueError("a defect")
            case "work":
                if self._done >= int(self._words[0]):
                    self._exit(0)
            case "print":
                console.put(1, self._words[0].encode())
                self._exit(0)
            case "flood":
                console.put(1, b"x" * 1000)
            case "calls":
                self.stats.calls[0] += 1
            case "sleep":
                now = self._surroundings.clock.monotonic()
                if self._wake_at is None:
                    self._wake_at = now + int(float(self._words[0]) * 1e9)
                if now >= self._wake_at:
                    self._exit(0)
                return Outcome(Activity.WAITING, 1, self._wake_at, 1)
            case "cat":
                data = self._input.take(1 << 16)
                if data:
                    console.put(1, data)
                    return on
                if self._input.closed:
                    self._exit(0)
                    return on
                self._waiting_on = self._input.queue
                self._input.queue.add(self)
                return Outcome(Activity.WAITING, 1, None, 1)
        return on

    def _exit(self, status: int) -> None:
        self.exit_status = status

    def kill(self, reason: str, status: int = 137) -> None:
        if self._verb == "bad-kill":
            raise RuntimeError("kill is broken")
        if self.exit_status is None:
            self.exit_status = status
            self.death = reason

    def terminate(self) -> None:
        self._asked = True
        if self.on_wake is not None:
            self.on_wake()

    def release(self) -> None:
        if self._name in self._stock.running:
            self._stock.broken.append(f"{self._name} was released while it ran")
        if not self._released:
            self._released = True
            self._stock.machines -= 1
        if self._waiting_on is not None:
            self._waiting_on.discard(self)
        if self._verb == "bad-release":
            raise RuntimeError("release is broken")


class FakeGround:
    def __init__(self, stock: Inventory, config: VmConfig, surroundings: Surroundings) -> None:
        if config.program[0] == b"unloadable":
            raise LoadError("it is no program")
        self.kind = Kind(config.arch or "x86_64")
        self.reads: frozenset[str] = frozenset()
        self.writes: frozenset[str] = frozenset()
        self.changes: list[str] = []
        self._stock = stock
        self._config = config
        self._surroundings = surroundings
        self._open = True
        stock.grounds += 1

    def boot(self) -> FakeMachine:
        return FakeMachine(self._stock, self._config, self._surroundings)

    def retire(self, machine: FakeMachine) -> None:
        machine.release()

    def change_limit(self, config: VmConfig, limit: str, machine: object) -> None:
        self.changes.append(limit)

    def read_file(self, path: bytes) -> bytes:
        return b"contents of " + path

    def memory(self) -> tuple[int, int]:
        return 4096, 8192

    def close(self) -> None:
        if self._open:
            self._open = False
            self._stock.grounds -= 1


class FakeBuilder:
    def __init__(self, stock: Inventory, monitor: Monitor) -> None:
        self._stock = stock
        self._monitor = monitor

    def prepare(self, config: VmConfig, surroundings: Surroundings) -> Any:
        return FakeGround(self._stock, config, surroundings)

    def open_engine(self, kind: Hashable) -> FakeEngine:
        return FakeEngine(self._stock, self._monitor.lock)

    def close(self) -> None:
        self._stock.closed = True


def hypervisor(stock: Inventory | None = None, **options: Any) -> Hypervisor:
    """One with fake machines."""
    inventory = stock if stock is not None else Inventory()
    return Hypervisor(builder=lambda monitor, exact: FakeBuilder(inventory, monitor), **options)
