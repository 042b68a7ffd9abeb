"""The run queue as pure logic in a time of its own: caps, sleepers, holds, policies; and its agenda."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.errors import ConfigurationError
from sandbox.scheduler import (
    CAP_PERIOD,
    POLICIES,
    After,
    Agenda,
    Cap,
    Phase,
    RunQueue,
    Share,
    check_latency,
    check_weight,
    policy_named,
)

MS = 1_000_000
QUANTUM = 2 * MS


@dataclass
class Host:
    """One core in simulated nanoseconds: service is CPU time, `overrun` is what a turn takes beyond its budget."""

    queue: RunQueue
    now: int = 0
    overrun: int = 0
    idle: int = 0

    def admit(self, *shares: Share) -> None:
        for share in shares:
            self.queue.admit(share, self.now)
            self.queue.free(share, self.now)
            self.queue.wake(share, self.now)

    def turn(self) -> Share | None:
        """One turn of a share that computes without end, or the sleep until the next timer."""
        share = self.queue.next(self.now)
        if share is None:
            timer = self.queue.timer()
            if timer is not None:
                self.idle += timer - self.now
                self.now = timer
            return None
        used = share.budget + self.overrun
        self.now += used
        self.queue.settle(share, self.now, used, used, After.RUNNABLE)
        return share

    def run_until(self, time: int) -> None:
        while self.now < time:
            self.turn()


def host(policy: str = "fair", **options: int) -> Host:
    return Host(RunQueue(policy_named(policy, QUANTUM)), **options)


def next_of(queue: RunQueue, now: int) -> Share:
    share = queue.next(now)
    assert share is not None
    return share


def running(share: Share, now: int) -> int:
    return share.time_in(Phase.RUNNING, now)


@pytest.mark.parametrize("percent", [1, 5, 10, 25, 50, 90])
@pytest.mark.parametrize("overrun", [0, 50_000, 3 * MS])
@pytest.mark.parametrize("rivals", [0, 1])
def test_cap_is_kept_on_average(percent: int, overrun: int, rivals: int) -> None:
    machine = host(overrun=overrun)
    capped = Share("capped", weight=1000)
    machine.admit(capped, *(Share(number, weight=1) for number in range(rivals)))
    machine.queue.set_cap(capped, CAP_PERIOD * percent // 100, machine.now)
    machine.run_until(20_000 * MS)
    assert running(capped, machine.now) / machine.now == pytest.approx(percent / 100, rel=0.02)
    assert capped.time_in(Phase.THROTTLED, machine.now) > 0


def test_a_cap_above_what_it_gets_changes_nothing() -> None:
    machine = host()
    capped, other = Share("capped"), Share("other")
    machine.admit(capped, other)
    machine.queue.set_cap(capped, CAP_PERIOD * 3 // 4, 0)
    machine.run_until(2_000 * MS)
    assert running(capped, machine.now) / machine.now == pytest.approx(0.5, rel=0.01)


def test_caps_change_while_throttled() -> None:
    machine = host()
    capped = Share("capped")
    machine.admit(capped)
    machine.queue.set_cap(capped, MS, 0)
    machine.turn()
    assert capped.throttled and machine.queue.next(machine.now) is None
    machine.queue.set_cap(capped, None, machine.now)
    assert not capped.throttled and machine.queue.next(machine.now) is capped


@given(st.lists(st.tuples(st.integers(0, 5 * MS), st.integers(0, 3 * MS)), max_size=200))
def test_cap_never_gives_more_than_its_quota(steps: list[tuple[int, int]]) -> None:
    """Whatever the pattern of use: since the start, at most a quota per period begun, plus one overrun."""
    cap = Cap(10 * MS, CAP_PERIOD, 0)
    now = used = 0
    for pause, amount in steps:
        now += pause
        if cap.left(now) > 0:
            cap.charge(amount)
            used += amount
        else:
            assert cap.refill_time() > now
        assert used <= 10 * MS * (now // CAP_PERIOD + 1) + 3 * MS


def test_refill_time_is_when_something_is_left() -> None:
    cap = Cap(10, 100, 0)
    cap.charge(35)
    assert cap.left(0) == -25
    assert cap.refill_time() == 300
    assert cap.left(299) == -5
    assert cap.left(300) == 5


def test_sleepers_wake_by_timer_or_by_call() -> None:
    queue = RunQueue(policy_named("fair", QUANTUM))
    share = Share("sleeper")
    queue.admit(share, 0)
    queue.free(share, 0)
    queue.wake(share, 0)
    assert queue.next(0) is share
    queue.settle(share, 10, 10, 10, After.ASLEEP, 500)
    assert queue.next(499) is None
    assert queue.timer() == 500
    assert queue.next(500) is share
    queue.settle(share, 510, 10, 10, After.ASLEEP, None)
    assert queue.timer() is None
    queue.wake(share, 600)
    queue.wake(share, 600)
    assert queue.next(600) is share
    assert queue.next(600) is None
    assert [share.spent[phase.value] for phase in (Phase.ASLEEP, Phase.RUNNING)] == [490 + 90, 20]


def test_a_wake_during_the_turn_is_not_lost() -> None:
    queue = RunQueue(policy_named("fair", QUANTUM))
    share = Share("pipe")
    queue.admit(share, 0)
    queue.free(share, 0)
    queue.wake(share, 0)
    assert queue.next(0) is share
    queue.wake(share, 5)
    queue.settle(share, 10, 10, 10, After.ASLEEP)
    assert queue.next(10) is share


def test_hold_and_free() -> None:
    queue = RunQueue(policy_named("fair", QUANTUM))
    share = Share("held")
    queue.admit(share, 0)
    queue.wake(share, 0)
    assert queue.next(0) is None
    queue.free(share, 0)
    assert queue.next(0) is share
    queue.hold(share, 5)
    queue.settle(share, 10, 10, 10, After.RUNNABLE)
    assert queue.next(10) is None
    queue.free(share, 20)
    assert queue.next(20) is share
    queue.settle(share, 30, 10, 10, After.GONE)
    queue.wake(share, 30)
    assert queue.next(30) is None
    queue.revive(share, 40)
    assert queue.next(40) is share


def test_a_turn_that_did_nothing_is_charged_all_the_same() -> None:
    queue = RunQueue(policy_named("fair", QUANTUM), minimum_charge=QUANTUM // 100)
    idle, honest = Share("idle"), Share("honest")
    for share in (idle, honest):
        queue.admit(share, 0)
        queue.free(share, 0)
        queue.wake(share, 0)
    turns = {idle: 0, honest: 0}
    for now in range(300):
        share = next_of(queue, now)
        turns[share] += 1
        queue.settle(share, now, QUANTUM if share is honest else 0, 1, After.RUNNABLE)
    assert turns[honest] >= 2


def test_round_robin_takes_turns() -> None:
    machine = host("round-robin")
    shares = [Share(number, weight=number + 1) for number in range(4)]
    machine.admit(*shares)
    order = [share.owner for share in (machine.turn() for _ in range(12)) if share is not None]
    assert order == [0, 1, 2, 3] * 3


def test_earliest_deadline_keeps_feasible_deadlines() -> None:
    """Three tasks that want 2 ms every 10, 20 and 40 ms beside a hog: all are served within their periods."""
    machine = host("earliest-deadline")
    tasks = [Share(period, period=period * MS) for period in (10, 20, 40)]
    hog = Share("hog", period=1000 * MS)
    machine.admit(hog, *tasks)
    released = dict.fromkeys(tasks, 0)
    waiting = set(tasks)
    while machine.now < 2_000 * MS:
        for task in tasks:
            if task not in waiting and machine.now >= released[task] + task.period:
                released[task] += task.period
                waiting.add(task)
                machine.queue.wake(task, machine.now)
        share = next_of(machine.queue, machine.now)
        machine.now += share.budget
        if share is hog:
            machine.queue.settle(share, machine.now, share.budget, share.budget, After.RUNNABLE)
        else:
            # one turn of the hog cannot be interrupted, and a release is seen when it ends
            assert machine.now <= released[share] + share.period + 2 * QUANTUM
            waiting.discard(share)
            machine.queue.settle(share, machine.now, share.budget, share.budget, After.ASLEEP)
    assert running(hog, machine.now) > 0.5 * machine.now


def test_earliest_deadline_starves_nobody() -> None:
    machine = host("earliest-deadline")
    eager, patient = Share("eager", period=1 * MS), Share("patient", period=100 * MS)
    machine.admit(eager)
    machine.run_until(5_000 * MS)
    machine.admit(patient)
    machine.run_until(machine.now + 5_000 * MS)
    assert running(patient, machine.now) > 0
    assert running(eager, machine.now) > running(patient, machine.now)


@settings(max_examples=60, deadline=None)
@given(
    policy=st.sampled_from(sorted(POLICIES)),
    script=st.lists(
        st.tuples(
            st.sampled_from(["turn", "sleep", "nap", "wake", "hold", "free", "gone", "revive", "cap", "tick", "weigh"]),
            st.integers(0, 4),
            st.integers(1, 50),
        ),
        max_size=120,
    ),
)
def test_nobody_runs_who_may_not(policy: str, script: list[tuple[str, int, int]]) -> None:
    """A plain model of who may run, beside the queue, over random calls; all who may run do within bounded turns."""
    queue = RunQueue(policy_named(policy, QUANTUM))
    shares = [Share(number) for number in range(5)]
    wants = [False] * 5
    held = [True] * 5
    gone = [False] * 5
    now = 0
    for share in shares:
        queue.admit(share, 0)
    for action, index, amount in script:
        share = shares[index]
        if action in ("turn", "sleep", "nap"):
            picked = queue.next(now)
            if picked is None:
                continue
            number = picked.owner
            assert not held[number] and not gone[number] and not picked.throttled
            now += picked.budget
            wake_at = now + amount * MS if action == "nap" else None
            wants[number] = action == "turn"
            after = After.RUNNABLE if action == "turn" else After.ASLEEP
            queue.settle(picked, now, picked.budget, picked.budget, after, wake_at)
        elif action == "wake":
            queue.wake(share, now)
            wants[index] = not gone[index]
        elif action == "hold":
            queue.hold(share, now)
            held[index] = True
        elif action == "free":
            queue.free(share, now)
            held[index] = False
        elif action == "gone":
            queue.dismiss(share, now)
            gone[index], wants[index] = True, False
        elif action == "revive":
            queue.revive(share, now)
            gone[index], wants[index] = False, True
        elif action == "cap":
            queue.set_cap(share, amount * MS if amount > 10 else None, now)
        elif action == "weigh":
            queue.policy.reweigh(share, amount)
        else:
            now += amount * MS
    able = {index for index in range(5) if wants[index] and not held[index] and not gone[index]}
    seen: set[int] = set()
    for _ in range(20_000):
        if able <= seen:
            break
        picked = queue.next(now)
        if picked is None:
            timer = queue.timer()
            assert timer is not None, "somebody may run and nothing will ever happen"
            now = max(now, timer)
            continue
        seen.add(picked.owner)
        now += picked.budget
        queue.settle(picked, now, picked.budget, picked.budget, After.RUNNABLE)
    assert able <= seen


def test_agenda_runs_in_order_and_forgets() -> None:
    agenda = Agenda()
    done: list[str] = []
    for name, time in [("c", 30), ("a", 10), ("b", 20), ("b2", 20), ("never", 25)]:
        agenda.set(name, time, lambda now, name=name: done.append(f"{name}@{now}"))  # type: ignore[misc]
    agenda.cancel("never")
    agenda.set("a", 40, lambda now: done.append(f"a@{now}"))
    assert agenda.next_time() == 20
    assert agenda.run(30)
    assert done == ["b@30", "b2@30", "c@30"]
    assert not agenda.run(39)
    assert len(agenda) == 1
    for count in range(1000):
        agenda.set("moving", 100 + count, lambda now: None)
    assert len(agenda.heap) < 200


@pytest.mark.parametrize("weight", [0, -1, 10_001, 1.5, True, "3"])
def test_weights_are_checked(weight: object) -> None:
    with pytest.raises(ConfigurationError):
        check_weight(weight)  # type: ignore[arg-type]


def test_names_are_checked() -> None:
    with pytest.raises(ConfigurationError, match="interactive"):
        check_latency("quick")
    with pytest.raises(ConfigurationError, match="round-robin"):
        policy_named("lottery", QUANTUM)


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(POLICIES)), st.sampled_from([QUANTUM // 8, QUANTUM, 4 * QUANTUM])), max_size=5
    ),
    st.lists(st.integers(0, 5), max_size=40),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_a_policy_may_be_replaced_at_any_time(changes: list[tuple[str, int]], turns: list[int], ahead: bool) -> None:
    """In the middle of turns, of caps and of new weights: nobody is lost, and afterwards shares are as due as ever."""
    machine = host()
    shares = [Share(number, weight=number + 1) for number in range(4)]
    machine.admit(*shares)
    machine.queue.set_cap(shares[3], CAP_PERIOD // 4, machine.now)
    for name, quantum in [*changes, ("fair", QUANTUM)]:
        under_way = [share for share in (machine.queue.next(machine.now) for _ in range(2)) if share is not None]
        machine.queue.policy.reweigh(shares[0], 2)
        machine.queue.replace_policy(policy_named(name, quantum, ahead=ahead), shares, machine.now, 0, 1)
        machine.queue.policy.reweigh(shares[0], 1)
        for number, share in enumerate(under_way):
            machine.now += share.budget
            after = After.RUNNABLE if number else After.ASLEEP
            machine.queue.settle(share, machine.now, share.budget, share.budget, after, machine.now + MS)
        for number in turns[:8]:
            if number < 4 and not shares[number].running:
                machine.queue.hold(shares[number], machine.now)
                machine.turn()
                machine.queue.free(shares[number], machine.now)
            machine.turn()
    machine.queue.set_cap(shares[3], None, machine.now)
    machine.run_until(machine.now + 4 * CAP_PERIOD)
    before, begun = [running(share, machine.now) for share in shares], machine.now
    machine.run_until(machine.now + 1000 * MS)
    for share, used in zip(shares, before, strict=True):
        due = (machine.now - begun) * share.weight / sum(other.weight for other in shares)
        assert abs(running(share, machine.now) - used - due) <= 2 * QUANTUM
