"""The closing summary of `sandbox demo` claims no more than it knows."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

import sandbox
from sandbox.cli import demo

LIMITS, STILL, POLICY = "limits were changed", "VMs were paused or ended", "the policy was changed"
Deed = Callable[[sandbox.Hypervisor, sandbox.VM], object]
DEEDS: dict[str, tuple[list[Deed], list[str]]] = {
    "nothing": ([], []),
    "another VM": ([lambda room, vm: room.vm("other").pause()], []),
    "weight": ([lambda room, vm: vm.set(weight=9)], [LIMITS]),
    "pause": ([lambda room, vm: vm.pause().resume()], [STILL]),
    "kill": ([lambda room, vm: vm.kill()], [STILL]),
    "renamed before": ([lambda room, vm: vm.rename("new"), lambda room, vm: vm.kill()], [STILL]),
    "policy": ([lambda room, vm: room.set_policy("round-robin")], [POLICY]),
    "all": (
        [
            lambda room, vm: room.set_policy("fair"),
            lambda room, vm: vm.set(cpus=0.5),
            lambda room, vm: vm.set(cpus=None),
            lambda room, vm: vm.kill(),
        ],
        [POLICY, LIMITS, STILL],
    ),
}


@pytest.mark.parametrize(("deeds", "words"), DEEDS.values(), ids=DEEDS)
def test_what_was_due_is_only_said_when_it_is_known(
    deeds: list[Deed], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with sandbox.Hypervisor(engine_mode="exact", quantum=1 << 20) as room:
        burners = [room.create(name, "burner", memory="8M").start() for name in ("one", "two")]
        room.create("other", "burner", memory="8M").start()
        changes = demo.Changes(room, burners)
        assert room.wait_until(lambda: all(vm.stats.work for vm in burners), 60_000_000_000)
        for deed in deeds:
            deed(room, burners[0])
        changes.forget()
        rows = demo.received(room, burners)
    assert changes.words == words
    demo._print(rows, False, changes.words)
    shown = capsys.readouterr()
    assert ("ENTITLED" in shown.out) == (not words)
    assert " and ".join(words) in shown.err
    demo._print(rows, True, changes.words)
    assert all((row["entitled"] is None) == bool(words) for row in json.loads(capsys.readouterr().out))
