"""One fleet, one seed, one event log: on any number of cores, whatever the host does, also while memory is taken away.

A thief takes clean pages of files (code among them) out of the VMs' page tables all the time while they run; they
come back by page faults in the middle of blocks, which must move no turn and no clock. Where SANDBOX_TEST_MANY is
set the fleet runs twenty times, otherwise a few.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sandbox.engine import Access, Stop, StopReason
from sandbox.guests import guest
from sandbox.hypervisor import Hypervisor
from sandbox.kernel import loop
from sandbox.machine import Activity
from tests.campaign import AT_LENGTH

PROGRAMS = Path(__file__).parent.parent / "benchmarks" / "programs"
PATIENCE = 60

# (program, ISA, arguments): file pages of all kinds, page faults, system calls, signals, timers, input, death.
FLEET: tuple[tuple[str, str, list[str]], ...] = (
    ("mix", "x86_64", ["m", "1"]),
    ("mix", "arm64", ["c", "1"]),
    ("mix", "riscv64", ["m", "1"]),
    ("hog", "i386", ["3"]),
    ("counter", "arm", ["0", "20000"]),
    ("storm", "arm64", ["2000"]),
    ("wild", "x86_64", []),
    ("cat", "riscv64", []),
)


def path_of(name: str, isa: str) -> str:
    return str(PROGRAMS / isa / name if name == "mix" else guest(name, isa).path)


@contextmanager
def thief(room: Hypervisor) -> Iterator[list[int]]:
    """Takes all clean pages there are, again and again; how many is what the list adds up to."""
    pool: Any = room._builder.pool  # type: ignore[attr-defined]
    taken: list[int] = []
    over = threading.Event()

    def steal() -> None:
        while not over.is_set():
            with room.enter():
                taken.append(pool.reclaim(1 << 20))

    thread = threading.Thread(target=steal)
    thread.start()
    try:
        yield taken
    finally:
        over.set()
        thread.join()


def log_of(cores: int, memory: str, stolen: list[int] | None = None) -> list[str]:
    with Hypervisor(cores=cores, deterministic=True, seed=7, memory=memory, quantum=1 << 16) as room:
        for number, (name, isa, arguments) in enumerate(FLEET):
            room.create(
                f"{name}-{isa}", [path_of(name, isa), *arguments], weight=number % 3 + 1, memory="6M",
                restart="on-failure:1", timeout=0.06,
            )  # fmt: skip
        for vm in room.vms:
            vm.start()
        if stolen is None:
            run(room)
        else:
            with thief(room) as taken:
                run(room)
            stolen.append(sum(taken))
        log = [event.line() for event in room.events()]
        for vm in room.vms:
            stats = vm.stats
            log.append(f"{vm.name} {vm.exit_status} {vm.console.tail()!r} {stats.work} {stats.turns} {stats.syscalls}")
        return log


def run(room: Hypervisor) -> None:
    room.run(0.004)
    room.vm("cat-riscv64").console.write(b"hello\n")
    room.vm("mix-arm64").pause()
    registers = room.vm("mix-arm64").registers.as_dict()
    room.vm("cat-riscv64").console.write(str(sorted(registers.items())).encode()[:3000])
    room.run(0.004)
    room.vm("mix-arm64").resume()
    assert room.run(PATIENCE)


@contextmanager
def load() -> Iterator[None]:
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def test_the_log_of_a_fleet_is_the_same_every_time() -> None:
    expected = log_of(1, "1G")
    assert any("mix-arm64 resumed" in line for line in expected) and any("crashed" in line for line in expected)
    stolen: list[int] = []
    for _ in range(5 if AT_LENGTH else 1):
        assert log_of(2, "1G") == expected
        assert log_of(1, "1G", stolen) == expected
        with load():
            assert log_of(2, "1G", stolen) == expected
            assert log_of(1, "16M") == expected
    assert all(pages > 30 for pages in stolen), "the thief came too late"


class FaultingEngine:
    """An engine whose guest faults at a page that is there, again and again, and gets nowhere."""

    breakpoints: frozenset[int] = frozenset()

    def __init__(self, exact: bool, address: int) -> None:
        self.exact = exact
        self.faults = 0
        self.stop = Stop()
        self.stop.reason, self.stop.address, self.stop.access = StopReason.FAULT, address & -4096, Access.READ

    def run(self, context: object, space: object, budget: int) -> Stop:
        self.faults += 1
        return self.stop


@pytest.mark.parametrize("exact", [True, False])
def test_a_turn_ends_that_gets_nowhere(exact: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "MOST_FAULTS", 1000)
    with Hypervisor(engine_mode="exact" if exact else "free") as room:
        vm = room.create("it", [path_of("burner", "x86_64")]).start()
        vm.pause()
        engine: Any = FaultingEngine(exact, vm.registers["pc"])
        with room.inspect(vm) as machine:
            outcome = machine.run(engine, 1_000_000)
        assert (outcome.activity, outcome.work) == (Activity.RUNNABLE, 0)
        assert engine.faults >= (1000 if exact else 1)
