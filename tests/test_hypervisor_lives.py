"""Random lives: whatever is asked in whatever order, states stay legal and nothing leaks."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from sandbox.errors import ConfigurationError, GuestTimeout, SandboxError, StateError
from sandbox.vm import ENDED, STATES, TRANSITIONS, VM, Lifecycle
from tests.campaign import AT_LENGTH, cases
from tests.fake_machine import Inventory, hypervisor

PROGRAMS = [
    "spin", "exit 0", "exit 7", "sleep 0.05", "crash", "raise", "cat", "stubborn", "work 4000000", "calls", "print hi",
]  # fmt: skip
RESTARTS = ["never", "never", "on-failure:2", "always"]
LIMITS = [
    {"weight": 7}, {"cpus": 0.2}, {"cpus": None}, {"timeout": 0.05}, {"timeout": None}, {"watchdog": 0.01},
    {"memory": "1M"}, {"latency": "interactive"}, {"output": 100}, {"restart": "never"}, {"weight": 0},
]  # fmt: skip


class Lives(RuleBasedStateMachine):
    """In virtual time: between two rules nothing happens by itself, so each rule's effect is known."""

    vms: Bundle[VM] = Bundle("vms")

    @initialize(cores=st.sampled_from([1, 2]), policy=st.sampled_from(["fair", "round-robin", "earliest-deadline"]))
    def open(self, cores: int, policy: str) -> None:
        self.stock = Inventory()
        self.room = hypervisor(self.stock, cores=cores, deterministic=True, policy=policy)
        self.alive: set[str] = set()
        self.number = 0

    @rule(
        target=vms,
        program=st.sampled_from(PROGRAMS),
        restart=st.sampled_from(RESTARTS),
        engine=st.sampled_from(["shared", "dedicated"]),
    )
    def create(self, program: str, restart: str, engine: str) -> VM:
        self.number += 1
        vm = self.room.create(f"vm{self.number}", program, restart=restart, engine=engine)
        self.alive.add(vm.identity)
        assert vm.state == "created"
        return vm

    @rule(vm=vms, action=st.sampled_from(["start", "pause", "resume", "kill", "stop-at-once", "ask-to-stop"]))
    def act(self, vm: VM, action: str) -> None:
        before = vm.state
        word = action if action in ("start", "pause", "resume", "kill") else "stop"
        target = TRANSITIONS.get((before, word))
        legal = target is not None and vm.identity in self.alive
        operations: dict[str, Any] = {
            "start": vm.start,
            "pause": vm.pause,
            "resume": vm.resume,
            "kill": vm.kill,
            "stop-at-once": lambda: vm.stop(0),
            "ask-to-stop": lambda: vm.stop(0.1, wait=False),
        }
        if not legal:
            with pytest.raises(StateError):
                operations[action]()
            assert vm.state == before
            return
        operations[action]()
        if action == "stop-at-once":
            assert vm.state in ENDED
        else:
            assert vm.state == target
        if word in ("kill", "stop") and vm.state in ENDED:
            assert vm.over and vm.exit_status is not None

    @rule(vm=vms, limits=st.sampled_from(LIMITS))
    def change(self, vm: VM, limits: dict[str, Any]) -> None:
        if vm.identity not in self.alive:
            with pytest.raises(SandboxError):
                vm.set(**limits)
        elif limits == {"weight": 0}:
            with pytest.raises(ConfigurationError):
                vm.set(**limits)
        else:
            vm.set(**limits)

    @rule(vm=vms)
    def rename(self, vm: VM) -> None:
        self.number += 1
        if vm.identity in self.alive:
            vm.rename(f"vm{self.number}")
            assert self.room.vm(f"vm{self.number}") is vm

    @rule(vm=vms, end=st.booleans())
    def type(self, vm: VM, end: bool) -> None:
        vm.console.write(b"typed")
        if end:
            vm.console.close()

    @rule(vm=vms)
    def wait(self, vm: VM) -> None:
        try:
            vm.wait(0.01)
            assert vm.over
        except GuestTimeout:
            assert not vm.over

    @rule(time=st.sampled_from([0.0001, 0.01, 0.3]))
    def let_time_pass(self, time: float) -> None:
        self.room.run(time)

    @rule(vm=consumes(vms), force=st.booleans())
    def remove(self, vm: VM, force: bool) -> None:
        if vm.identity not in self.alive:
            return
        if vm.state in ("running", "paused") and not force:
            with pytest.raises(StateError):
                vm.remove()
            vm.kill()
        vm.remove(force)
        self.alive.discard(vm.identity)

    @invariant()
    def consistent(self) -> None:
        if not hasattr(self, "room"):
            return
        assert {vm.identity for vm in self.room.vms} == self.alive
        assert self.stock.grounds == len(self.alive)
        assert self.stock.machines == sum(vm.state in ("running", "paused") for vm in self.room.vms)
        dedicated = sum(vm.config.dedicated and vm.state in ("running", "paused") for vm in self.room.vms)
        assert self.stock.engines <= 4 + dedicated
        assert not self.stock.broken
        for vm in self.room.vms:
            assert vm.state in STATES
            assert (vm.exit_status is not None) == (vm.state in ENDED)
            vm.stats.as_dict()
        assert all(event.kind != "defect" or "a defect" in event.line() for event in self.room.events())

    def teardown(self) -> None:
        if hasattr(self, "room"):
            self.room.close()
            assert self.stock == Inventory(engines_opened=self.stock.engines_opened, closed=True)


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=40, stateful_step_count=250 if AT_LENGTH else 40, deadline=None)


@pytest.mark.parametrize("cores", [1, 2])
def test_four_clients_at_once(cores: int) -> None:
    """Threads that start, stop, kill and remove each other's VMs: only sentences for what is not possible."""
    stock = Inventory()
    room = hypervisor(stock, cores=cores)
    surprises: list[str] = []

    def client(number: int) -> None:
        dice = random.Random(number)
        for step in range(cases(200)):
            try:
                action = dice.choice(["create", "start", "start", "pause", "resume", "stop", "kill", "remove", "set"])
                if action == "create":
                    name = f"vm{number}-{step}"
                    room.create(name, dice.choice(PROGRAMS), restart=dice.choice(RESTARTS))
                    continue
                vms = room.vms
                if not vms:
                    continue
                vm = dice.choice(vms)
                if action == "stop":
                    vm.stop(dice.choice([0, 0.001]))
                elif action == "remove":
                    vm.remove(force=dice.random() < 0.5)
                elif action == "set":
                    vm.set(weight=dice.randint(1, 10))
                else:
                    getattr(vm, action)()
            except SandboxError:
                pass
            except BaseException as error:
                surprises.append(f"{type(error).__name__}: {error}")

    clients = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    room.close()
    assert not surprises
    assert not [event.line() for event in room.log if event.kind == "note"]
    assert stock == Inventory(engines_opened=stock.engines_opened, closed=True)


# The table of states


def test_the_table_names_only_states() -> None:
    assert {state for state, _ in TRANSITIONS} <= set(STATES)
    assert set(TRANSITIONS.values()) <= set(STATES)
    assert set(ENDED) <= set(STATES)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("action", sorted({action for _, action in TRANSITIONS}))
def test_every_pair_is_legal_or_refused(state: str, action: str) -> None:
    life = Lifecycle()
    life.state = state
    target = TRANSITIONS.get((state, action))
    if target is None:
        with pytest.raises(StateError, match=f"cannot {action}"):
            life.move(action, "it")
        assert life.state == state
    else:
        assert life.move(action, "it") == target
