"""Four clients at once on the control socket, real guests of all ISAs: any order of verbs, legal states, no leaks.

By default two hundred operations; where SANDBOX_TEST_MANY is set as many as it says (10,000, say), in all.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sandbox.control import Client, Service
from sandbox.errors import SandboxError
from sandbox.events import Event
from sandbox.guests import guest
from sandbox.hypervisor import Hypervisor
from sandbox.vm import STATES
from tests.campaign import cases

ISAS = ("x86_64", "i386", "arm64", "arm", "riscv64")
GUESTS = ("burner", "cat", "hello", "storm", "wild", "hog", "counter")
CLIENTS = 4

# Which states an event may find a VM in, and the one it leaves it in.
LEGAL = {
    "started": ({"created", "stopped", "crashed"}, "running"),
    "paused": ({"running"}, "paused"),
    "resumed": ({"paused"}, "running"),
    "stopped": ({"running", "paused"}, "stopped"),
    "crashed": ({"running", "paused"}, "crashed"),
    "removed": ({"created", "stopped", "crashed"}, "removed"),
}


class Crew:
    """What the clients do; `made` counts VMs, so that names are unique."""

    def __init__(self, room: Hypervisor, home: Path, operations: int) -> None:
        self.room = room
        self.home = home
        self.operations = operations
        self.made = 0
        self.surprises: list[str] = []

    def create(self, dice: random.Random) -> None:
        self.made += 1
        name, isa = dice.choice(GUESTS), dice.choice(ISAS)
        options: dict[str, Any] = {"restart": dice.choice(["never", "on-failure:2", "always"]), "memory": "2M"}
        options |= dice.choice(
            [{}, {"cpus": 0.3}, {"engine": "dedicated"}, {"timeout": 0.2}, {"latency": "interactive"}]
        )
        self.room.create(f"vm{self.made}-{dice.random()}", [str(guest(name, isa).path)], **options)

    def work(self, number: int) -> None:
        dice = random.Random(number)
        try:
            with Client(self.home) as client:
                for _ in range(self.operations):
                    self.operate(client, dice)
        except Exception as error:
            self.surprises.append(f"{type(error).__name__}: {error}")

    def operate(self, client: Client, dice: random.Random) -> None:
        rows = client.call("ps")
        self.surprises += [row["state"] for row in rows if row["state"] not in STATES]
        verb = dice.choice(
            ["create", "start", "start", "start", "pause", "resume", "stop", "kill", "rm", "set", "wait"]
        )
        if verb == "create" or not rows:
            if len(rows) < 24:
                self.create(dice)
            return
        more: dict[str, dict[str, Any]] = {
            "stop": {"grace": dice.choice([0, 0.01])},
            "rm": {"force": dice.random() < 0.5},
            "set": {"limits": dice.choice([{"weight": 3}, {"cpus": 0.5}, {"memory": "3M"}, {"weight": 0}])},
            "wait": {"timeout": 0.01},
        }
        with suppress(SandboxError):  # not possible in the state it is in, and it said so
            client.call(verb, vm=dice.choice(rows)["identity"], **more.get(verb, {}))


def illegal(events: Iterable[Event]) -> list[str]:
    """Events that found a VM in a state that the table of transitions does not allow."""
    states: dict[str, str] = {}
    found = []
    for event in events:
        if event.kind == "created":
            states[event.vm] = "created"
        elif event.kind in LEGAL:
            before, after = LEGAL[event.kind]
            if states[event.vm] not in before:
                found.append(f"{states[event.vm]}: {event.line()}")
            states[event.vm] = after
    return found


@pytest.mark.parametrize("cores", [1, 2])
def test_any_order_of_verbs_from_four_clients(cores: int, tmp_path: Path) -> None:
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    history: list[Event] = []
    with Hypervisor(cores=cores, memory="256M") as room:
        room.observe(history.append)
        crew = Crew(room, tmp_path / "c", cases(200) // CLIENTS)
        dice = random.Random(cores)
        for _ in range(12):
            crew.create(dice)
        with Service(room, crew.home):
            clients = [threading.Thread(target=crew.work, args=(number,)) for number in range(CLIENTS)]
            for thread in clients:
                thread.start()
            for thread in clients:
                thread.join()
        assert crew.surprises == []
        assert illegal(history) == []
        assert [event.line() for event in history if event.kind in ("defect", "note")] == []
        engines = room._leases.slots()
        assert len(engines) <= len(ISAS) * 4 + sum(vm.config.dedicated for vm in room.vms)
        for vm in room.vms:
            vm.remove(force=True)
        assert not any(slot.homes or slot.busy or slot.dedicated for slot in room._leases.slots())
        pool: Any = room._builder.pool  # type: ignore[attr-defined]
        pool.reclaim(1 << 20)
        assert pool.used <= 1, "frames that nobody has"
    assert all(slot.closed for slot in engines)
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 1
