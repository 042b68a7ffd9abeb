"""The monitor, the leases, and turns on real threads: nothing lost, nobody twice, the same log on any cores."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.clock import HostClock, VirtualClock
from sandbox.errors import StateError
from sandbox.scheduler import (
    After,
    Drive,
    Epochs,
    Leases,
    Monitor,
    Phase,
    RunQueue,
    Share,
    Tenancy,
    Turn,
    Workers,
    policy_named,
)
from sandbox.scheduler.epochs import clash

QUANTUM = 1000
PATIENCE = 20 * 10**9  # how long a wait may take before a test gives up; none comes near it


@dataclass
class Guest:
    """A scripted machine: each turn uses a random part of the budget, sleeps now and then, ends after `turns`."""

    name: str
    turns: int
    dice: random.Random
    hooks: list[Callable[[], None]] = field(default_factory=list)


class Stage:
    """Guests on a run queue and a drive. While a guest "runs", the lock is let go and the host dawdles at random."""

    def __init__(self, cores: int, deterministic: bool, dawdle: Callable[[], None] = lambda: None) -> None:
        self.clock = VirtualClock() if deterministic else HostClock()
        self.monitor = Monitor()
        self.queue = RunQueue(policy_named("fair", QUANTUM, cores=1 if deterministic else cores, ahead=deterministic))
        self.log: list[str] = []
        self.defects: list[str] = []
        self.ended = 0
        self.running: set[str] = set()
        self.most_at_once = 0
        self._dawdle = dawdle
        parts = (self.serve, self.commit, self.defect, cores)
        if isinstance(self.clock, VirtualClock):
            self.drive: Drive = Epochs(self.monitor, self.queue, self.clock, *parts)
        else:
            self.drive = Workers(self.monitor, self.queue, self.clock, *parts)

    def add(self, guest: Guest, **claims: object) -> Share:
        share = Share(guest, **claims)  # type: ignore[arg-type]
        now = self.clock.monotonic()
        with self.monitor:
            self.queue.admit(share, now)
            self.queue.free(share, now)
            self.queue.wake(share, now)
            self.drive.start()
            self.drive.kick()
        return share

    def serve(self, share: Share) -> Turn:
        guest: Guest = share.owner
        assert guest.name not in self.running, "one VM, two turns at a time"
        self.running.add(guest.name)
        self.most_at_once = max(self.most_at_once, len(self.running))
        self.monitor.lock.release()
        self._dawdle()
        self.monitor.lock.acquire()
        self.running.discard(guest.name)
        for hook in guest.hooks:
            hook()
        guest.turns -= 1
        used = guest.dice.randint(1, share.budget)
        if guest.turns <= 0:
            return Turn(used, used, After.GONE)
        if guest.dice.random() < 0.3:
            return Turn(used, used, After.ASLEEP, self.clock.monotonic() + guest.dice.randint(1, 5000))
        return Turn(used, used, After.RUNNABLE)

    def commit(self, share: Share, turn: Turn) -> None:
        guest: Guest = share.owner
        self.log.append(f"{self.clock.monotonic()} {guest.name} {turn.used} {turn.after.name}")
        if turn.after is After.GONE:
            self.ended += 1
            self.monitor.changed.notify_all()

    def defect(self, share: Share, error: BaseException) -> None:
        self.defects.append(f"{share.owner.name}: {error}")
        self.queue.dismiss(share, self.clock.monotonic())
        self.ended += 1
        self.monitor.changed.notify_all()

    def finish(self, guests: int) -> None:
        with self.monitor:
            assert self.drive.wait_until(lambda: self.ended == guests, PATIENCE)
        self.drive.close()


def fleet(count: int, seed: int, turns: int = 20) -> list[Guest]:
    return [Guest(f"vm{number}", turns, random.Random(seed * 1000 + number)) for number in range(count)]


def yielding() -> None:
    for _ in range(random.randint(0, 3)):
        os.sched_yield()


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("cores", [1, 2, 4])
def test_all_guests_end(cores: int, deterministic: bool) -> None:
    stage = Stage(cores, deterministic, yielding)
    for guest in fleet(12, 1):
        stage.add(guest)
    stage.finish(12)
    assert len(stage.log) == 12 * 20
    assert not stage.defects
    assert stage.most_at_once <= (cores if not deterministic else 8)


@settings(max_examples=15, deadline=None)
@given(count=st.integers(1, 12), seed=st.integers(0, 1000), weights=st.lists(st.integers(1, 50), min_size=12))
def test_the_log_is_the_same_on_one_core_and_on_more(count: int, seed: int, weights: list[int]) -> None:
    logs = []
    for cores in (1, 2, 3):
        stage = Stage(cores, deterministic=True, dawdle=yielding)
        for number, guest in enumerate(fleet(count, seed, turns=10)):
            stage.add(guest, weight=weights[number], writes=frozenset(["/v"] if number % 3 == 0 else []))
        stage.finish(count)
        logs.append(stage.log)
    assert logs[0] == logs[1] == logs[2]


def test_who_writes_the_same_never_shares_an_epoch() -> None:
    stage = Stage(3, deterministic=True, dawdle=yielding)
    inside: list[str] = []

    def enter(name: str) -> Callable[[], None]:
        return lambda: inside.append(name)

    together: list[int] = []
    stage._dawdle = lambda: together.append(len(stage.running))
    for guest in fleet(4, 3):
        guest.hooks.append(enter(guest.name))
        stage.add(guest, writes=frozenset(["/volume"]))
    stage.finish(4)
    assert set(together) == {1}
    assert set(inside) == {"vm0", "vm1", "vm2", "vm3"}


def test_a_defect_ends_one_vm_only() -> None:
    for deterministic in (False, True):
        stage = Stage(2, deterministic)
        guests = fleet(5, 4)

        def fail() -> None:
            raise ValueError("a bug")

        guests[2].hooks.append(fail)
        for guest in guests:
            stage.add(guest)
        stage.finish(5)
        assert stage.defects == ["vm2: a bug"]
        assert len(stage.log) == 4 * 20


def test_virtual_time_stands_still_unless_somebody_waits() -> None:
    stage = Stage(2, deterministic=True)
    sleeper = stage.add(Guest("sleeper", 10**9, random.Random(1)))
    before = stage.clock.monotonic()
    assert stage.log == [] and sleeper.time_in(Phase.RUNNING, before) == 0
    with stage.monitor:
        assert not stage.drive.wait_until(lambda: False, 1_000_000)
    first = len(stage.log)
    assert first > 0
    assert stage.clock.monotonic() >= before + 1_000_000
    with stage.monitor:
        assert not stage.drive.wait_until(lambda: False, 1_000_000)
    assert len(stage.log) > first
    stage.drive.close()


def test_the_virtual_clock_jumps_when_all_sleep() -> None:
    stage = Stage(1, deterministic=True)
    with stage.monitor:
        assert not stage.drive.wait_until(lambda: False, 3600 * 10**9)
    assert stage.clock.monotonic() == VirtualClock().monotonic() + 3600 * 10**9
    stage.drive.close()


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_callback_cannot_wait(deterministic: bool) -> None:
    stage = Stage(1, deterministic)
    guest = fleet(1, 5)[0]

    def wait_inside() -> None:
        stage.drive.wait_until(lambda: False, None)

    guest.hooks.append(wait_inside)
    stage.add(guest)
    stage.finish(1)
    assert "callback" in stage.defects[0]
    with pytest.raises(StateError):
        stage.drive._mine.turn = Share(None)  # type: ignore[attr-defined]
        stage.drive.wait_until(lambda: False, None)


def test_ctrl_c_in_a_turn_reaches_the_caller() -> None:
    """In virtual time turns run in the thread that waits; its VM is lost, the others are not."""
    stage = Stage(1, deterministic=True)
    guests = fleet(4, 8)

    def interrupt() -> None:
        guests[0].hooks.clear()
        raise KeyboardInterrupt

    guests[0].hooks.append(interrupt)
    for guest in guests:
        stage.add(guest)
    with pytest.raises(KeyboardInterrupt), stage.monitor:
        stage.drive.wait_until(lambda: stage.ended == 4, PATIENCE)
    assert len(stage.defects) == 1
    stage.finish(4)


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_wake_from_outside_ends_an_idle_wait(deterministic: bool) -> None:
    stage = Stage(1, deterministic)
    guest = Guest("late", 3, random.Random(1))
    share = Share(guest)
    with stage.monitor:
        stage.queue.admit(share, stage.clock.monotonic())
        stage.queue.free(share, stage.clock.monotonic())
    stage.drive.start()

    def wake() -> None:
        with stage.monitor:
            stage.queue.wake(share, stage.clock.monotonic())
            stage.drive.kick()

    other = threading.Thread(target=wake)
    with stage.monitor:
        other.start()
        # (in virtual time a wait with an end would jump to it at once)
        assert stage.drive.wait_until(lambda: stage.ended == 1, None if deterministic else PATIENCE)
    other.join()
    stage.drive.close()


def test_several_threads_may_wait_in_virtual_time() -> None:
    stage = Stage(2, deterministic=True, dawdle=yielding)
    for guest in fleet(6, 6):
        stage.add(guest)
    results: list[bool] = []

    def wait(count: int) -> None:
        with stage.monitor:
            results.append(stage.drive.wait_until(lambda: stage.ended >= count, PATIENCE))

    threads = [threading.Thread(target=wait, args=(count,)) for count in (1, 3, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True, True, True]
    stage.drive.close()


def test_visitors_get_in_while_workers_are_busy() -> None:
    """Guests that never sleep and hardly let go of the lock: still every visit succeeds."""
    stage = Stage(2, deterministic=False)
    for guest in fleet(2, 7, turns=10**9):
        stage.add(guest)
    visits = 0
    for _ in range(200):
        with stage.monitor, stage.monitor:
            assert stage.monitor.mine
            visits += 1
    assert visits == 200
    assert not stage.monitor.mine
    stage.drive.close()


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (("", "/a"), ("", "/a"), True), (("", "/a"), ("/a", ""), True), (("/a", ""), ("", "/a/b"), True),
        (("/a", ""), ("/a", ""), False), (("", "/a"), ("", "/ab"), False), (("", ""), ("", "/a"), False),
    ],
)  # fmt: skip
def test_who_clashes(one: tuple[str, str], other: tuple[str, str], expected: bool) -> None:
    first, second = (
        Share(None, reads=frozenset(filter(None, [reads])), writes=frozenset(filter(None, [writes])))
        for reads, writes in (one, other)
    )
    assert clash(first, second) is clash(second, first) is expected


# Leases


class FakeEngine:
    opened = 0

    def __init__(self, kind: object) -> None:
        self.kind = kind
        self.closed = 0
        FakeEngine.opened += 1

    def close(self) -> None:
        self.closed += 1


def leases(limit: int = 3) -> Leases[FakeEngine]:
    return Leases(FakeEngine, limit)


def test_few_vms_have_an_engine_each_and_keep_it() -> None:
    desk = leases()
    vms = [desk.admit("x86_64") for _ in range(3)]
    homes = []
    for vm in vms:
        slot = desk.take(vm)
        desk.give_back(slot)
        homes.append(slot)
    assert len(set(homes)) == 3
    for _ in range(3):
        for vm, home in zip(vms, homes, strict=True):
            slot = desk.take(vm)
            assert slot is home
            desk.give_back(slot)
    assert [slot.switches for slot in homes] == [1, 1, 1]


def test_many_vms_share_evenly() -> None:
    desk = leases()
    vms = [desk.admit(kind) for kind in ("arm64", "riscv64") for _ in range(30)]
    for vm in vms:
        desk.give_back(desk.take(vm))
    assert sorted(slot.homes for slot in desk.slots()) == [10] * 6
    for vm in vms[:15]:
        desk.leave(vm)
        desk.leave(vm)
    assert sum(slot.homes for slot in desk.slots() if slot.kind == "arm64") == 15


def test_a_busy_home_is_left_for_a_free_engine() -> None:
    desk = leases(limit=2)
    first, second, third = (desk.admit("arm") for _ in range(3))
    a, b = desk.take(first), desk.take(second)
    desk.give_back(b)
    assert third.home is None
    c = desk.take(third)  # its home is a's engine, which is busy
    assert c is b
    d = desk.take(second)  # now both are busy: one more than the limit rather than a wait
    assert d not in (a, b)
    for slot in (a, c, d):
        desk.give_back(slot)


def test_dedicated_engines_are_nobody_elses_and_end_with_the_vm() -> None:
    desk = leases(limit=1)
    alone = desk.admit("i386", dedicated=True)
    slot = desk.take(alone)
    desk.give_back(slot)
    for _ in range(5):
        other = desk.take(desk.admit("i386"))
        assert other is not slot
        desk.give_back(other)
    assert desk.take(alone) is slot
    desk.give_back(slot)
    desk.leave(alone)
    assert slot.engine.closed == 1


def test_a_broken_engine_is_replaced() -> None:
    desk = leases()
    vm = desk.admit("arm64")
    slot = desk.take(vm)
    desk.give_back(slot, broken=True)
    assert slot.engine.closed == 1
    assert desk.take(vm) is not slot
    desk.close()
    desk.close()
    assert desk.slots() == []


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["take", "back", "break", "leave", "admit"]), st.integers(0, 9)), max_size=80),
    st.integers(1, 4),
)
def test_no_engine_is_lost_or_used_twice(script: list[tuple[str, int]], limit: int) -> None:
    made: list[FakeEngine] = []

    def make(kind: object) -> FakeEngine:
        made.append(FakeEngine(kind))
        return made[-1]

    desk: Leases[FakeEngine] = Leases(make, limit)
    vms = [desk.admit(number % 2, dedicated=number == 9) for number in range(10)]
    out: dict[int, object] = {}
    for action, number in script:
        vm: Tenancy[FakeEngine] = vms[number]
        slot = out.get(number)
        if action == "take" and slot is None and len(out) < limit:
            taken = desk.take(vm)
            assert taken not in out.values() and not taken.closed and taken.kind == vm.kind
            out[number] = taken
        elif action in ("back", "break") and slot is not None:
            desk.give_back(out.pop(number), broken=action == "break")  # type: ignore[arg-type]
        elif action == "leave" and slot is None:
            desk.leave(vm)
        elif action == "admit" and slot is None:
            desk.leave(vm)
            vms[number] = desk.admit(vm.kind, vm.dedicated)
        shared = [each for each in desk.slots() if not each.dedicated]
        assert all(each.homes >= 0 for each in shared)
    desk.close()
    assert all(engine.closed == 1 for engine in made)
