"""When an engine lets go of the lock around guest code, and when it does not (`engine.gate`)."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from sandbox.engine import Gate, StopReason, gate
from tests.programs import KINDS, MACHINES, Bench, choose_engine

LONG = 2_000_000  # rounds of a loop


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    choose_engine(monkeypatch, request.param)
    return str(request.param)


@pytest.fixture(params=MACHINES)
def bench(request: pytest.FixtureRequest, kind: str) -> Iterator[Bench]:
    with Bench(request.param, exact=False) as bench:
        bench.engine.gate = Gate(threading.RLock())
        yield bench


def visit(door: Gate, entered: threading.Event) -> None:
    door.come_in("a visitor")
    entered.set()
    door.lock.release()


def test_who_is_inside_stays_until_its_lease_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000
    monkeypatch.setattr(gate, "monotonic_ns", lambda: now)
    door = Gate(threading.RLock())
    door.come_in("one")
    now += 10 * gate.LEASE
    assert door.may_stay(), "nobody waits"
    door.waiting.add("two")
    assert not door.may_stay()
    door.come_in("one")
    assert door.may_stay() and door.waiting == {"two"}
    now += gate.LEASE
    assert not door.may_stay()


def test_a_call_after_a_call_is_run_inside(bench: Bench) -> None:
    """And says the same as one that was not: the program counts its calls and adds up their results."""
    door = bench.engine.gate
    assert door is not None
    with door.lock:
        bench.start("calls", counter=0, other=5)
        for number in range(1, 50):
            stop = bench.run()
            assert (stop.reason, stop.number) == (StopReason.SYSCALL, 5)
            assert stop.work > 0
            bench.context.set_result(number)
        assert bench.run().reason is StopReason.SYSCALL
        assert bench.get("counter") == sum(range(50))


def test_a_run_that_was_thought_brief_lets_others_in(bench: Bench) -> None:
    """Its work is counted as a whole."""
    door, entered = bench.engine.gate, threading.Event()
    assert door is not None
    with door.lock:
        bench.start("count", counter=1)
        work = bench.run().work
        bench.start("count", counter=LONG)
        stop = bench.engine.run(bench.context, bench.space, 1 << 40)
        assert (stop.reason, bench.get("counter")) == (StopReason.SYSCALL, 0)
        assert stop.work > LONG, "all of it"
        bench.start("count", counter=1)
        assert bench.run().work == work
        bench.start("spin")
        thread = threading.Thread(target=visit, args=(door, entered))
        thread.start()
        while not entered.is_set():
            assert bench.engine.run(bench.context, bench.space, 1_000_000).reason is StopReason.BUDGET
        thread.join()


def test_who_waits_comes_in_between_two_calls(bench: Bench) -> None:
    door, entered = bench.engine.gate, threading.Event()
    assert door is not None
    with door.lock:
        bench.start("calls", counter=0, other=5)
        thread = threading.Thread(target=visit, args=(door, entered))
        thread.start()
        while not entered.is_set():
            assert bench.run().reason is StopReason.SYSCALL
        thread.join()
