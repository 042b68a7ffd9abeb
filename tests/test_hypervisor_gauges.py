"""What spectators read: gauges of all VMs, a look at one that runs, and the tape of turns."""

from __future__ import annotations

import pytest

from sandbox.hypervisor.gauges import STRETCH, STRETCHES, Glances, Stretch, Tape
from tests.fake_machine import hypervisor

BOTH = pytest.mark.parametrize("deterministic", [False, True], ids=["free", "deterministic"])


def test_the_tape_adds_up_turns() -> None:
    tape = Tape()
    tape.note("a", 0, 10, 30)
    tape.note("b", 0, 30, 40)
    tape.note("a", 0, 50, 60)
    tape.note("a", 1, 70, 75)
    tape.note("a", 0, STRETCH, STRETCH + 5)
    assert list(tape.read()) == [
        Stretch("a", 0, 10, 30),
        Stretch("b", 0, 30, 10),
        Stretch("a", 1, 70, 5),
        Stretch("a", 0, STRETCH, 5),
    ]


def test_the_tape_is_bounded() -> None:
    tape = Tape()
    for number in range(3 * STRETCHES):
        tape.note("a", 0, number * STRETCH, number * STRETCH + 1)
    assert len(list(tape.read())) == STRETCHES


def test_a_glance_is_served_once() -> None:
    seen: list[object] = []
    glances = Glances()
    glances.waiting.append(seen.append)
    glances.serve("machine")  # type: ignore[arg-type]
    glances.serve("machine")  # type: ignore[arg-type]
    assert seen == ["machine"]


@BOTH
def test_gauges(deterministic: bool) -> None:
    with hypervisor(deterministic=deterministic) as room:
        assert room.gauges() == []
        done = room.create("done", "exit 3", weight=2).start()
        done.wait(60)
        room.create("idle", "spin", weight=7)
        first, second = room.gauges()
        assert (first.name, first.state, first.exit_status, first.weight) == ("done", "stopped", 3, 2)
        assert first.identity == done.identity and first.reason is None
        assert (second.name, second.state, second.cpu, second.uptime) == ("idle", "created", 0, 0)


def test_a_glance_at_a_running_vm() -> None:
    """It comes between two turns, stops nothing, and its mistakes are the spectator's."""
    with hypervisor(cores=2) as room:
        vm = room.create("it", "spin").start()
        seen: list[object] = []
        for _ in range(20):
            assert room.glance(vm, seen.append, patience=60)
        assert len(seen) == 20
        with pytest.raises(ZeroDivisionError):
            room.glance(vm, lambda machine: 1 // 0, patience=60)  # type: ignore[arg-type]
        assert vm.state == "running"
        assert not room.glance(room.create("new", "spin"), seen.append)


def test_turns_are_noted_only_while_somebody_watches() -> None:
    with hypervisor(cores=2) as room:
        vms = [room.create(f"v{number}", "spin").start() for number in range(2)]
        assert room.watch_turns(True) == []
        while {stretch.vm for stretch in room.watch_turns(True)} != {vm.identity for vm in vms}:
            room.glance(vms[0], lambda machine: None, patience=60)
        assert {stretch.lane for stretch in room.watch_turns(True)} <= {0, 1}
        assert room.watch_turns(False) == []
