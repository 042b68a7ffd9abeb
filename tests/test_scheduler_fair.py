"""The fair policy: its bound against an independent model in exact fractions, and what it follows from it."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sandbox.scheduler.clip import UNIT
from sandbox.scheduler.fair import ELIGIBLE, GHOST, LATER, OUT, RUNNING, SCALE, FairPolicy
from sandbox.scheduler.share import LATENCY_CLASSES, Share
from tests.campaign import cases

QUANTUM = 1000


class Model:
    """The rules of fair.py with exact fractions and no cleverness: it learns who ran and how long, and keeps score."""

    def __init__(self) -> None:
        self.virtual = Fraction(0)
        self.even: dict[Share, Fraction] = {}  # who competes, and the V at which its lag is 0
        self.weight: dict[Share, int] = {}
        self.next_weight: dict[Share, int] = {}
        self.ghosts: set[Share] = set()

    def lag(self, share: Share) -> Fraction:
        return self.weight[share] * (self.virtual - self.even[share])

    def enter(self, share: Share) -> None:
        if share in self.ghosts:
            self.ghosts.discard(share)
            return
        self.weight[share] = self.next_weight.pop(share, self.weight.get(share, share.weight))
        self.even[share] = self.virtual

    def leave(self, share: Share) -> None:
        if self.even[share] > self.virtual:
            self.ghosts.add(share)
        else:
            del self.even[share]

    def reweigh(self, share: Share, weight: int) -> None:
        self.next_weight[share] = weight
        if share not in self.even:
            self.weight[share] = self.next_weight.pop(share)
        elif share not in self.ghosts and weight > self.weight[share]:
            self.even[share] = max(self.even[share], self.virtual)
        self.arrivals()

    def jump(self) -> None:
        """A turn begins: when nobody is owed anything, V goes to the first of whom this will be true."""
        waiting = [even for share, even in self.even.items() if share not in self.ghosts]
        if waiting and min(waiting) > self.virtual:
            self.virtual = min(waiting)
        self.arrivals()

    def idle(self) -> None:
        """Nobody wants the turn that is to be had: V catches up with all ghosts."""
        self.virtual = max([self.virtual, *(self.even[share] for share in self.ghosts)])
        self.arrivals()

    def serve(self, share: Share, used: int) -> None:
        self.even[share] += Fraction(used, self.weight[share])
        left = Fraction(used)
        while self.even:
            total = sum(self.weight[each] for each in self.even)
            later = [even for even in self.even.values() if even > self.virtual]
            step = min([left, *[(even - self.virtual) * total for even in later]])
            self.virtual += step / total
            left -= step
            self.arrivals(besides=share)
            if left == 0:
                break
        self.arrivals(besides=share)

    def arrivals(self, besides: Share | None = None) -> None:
        for share in [share for share, even in self.even.items() if even <= self.virtual and share is not besides]:
            if share in self.ghosts:
                self.ghosts.discard(share)
                del self.even[share]
                self.weight[share] = self.next_weight.pop(share, self.weight[share])
            elif share in self.next_weight:
                lag = self.lag(share)
                self.weight[share] = self.next_weight.pop(share)
                self.even[share] = self.virtual - lag / self.weight[share]


def pick(policy: FairPolicy) -> Share:
    share = policy.pick()
    assert share is not None
    return share


weights = st.one_of(st.integers(1, 8), st.sampled_from([1, 2, 64, 1024]))
indices = st.integers(0, 11)
steps = st.one_of(
    st.tuples(st.just("turn"), st.integers(1, QUANTUM), st.sampled_from(["on", "on", "on", "sleep"])),
    st.tuples(st.just("full"), st.integers(1, 20), st.just("on")),
    st.tuples(st.just("enter"), indices, st.none()),
    st.tuples(st.just("leave"), indices, st.none()),
    st.tuples(st.just("reweigh"), indices, weights),
)


def check(policy: FairPolicy, model: Model, context: object) -> None:
    for share in model.even:
        lag = model.lag(share)
        assert -QUANTUM - 1 <= lag <= QUANTUM + 1, (context, float(lag))


GROWN: list[tuple[str, int, object]] = [
    ("leave", 2, None),
    ("turn", 1, "sleep"),
    *[("full", 1, "on")] * 3,
    ("full", 19, "on"),
]
GROWN += [("reweigh", 0, 1024), ("full", 4, "on")]


@settings(max_examples=cases(300), deadline=None)
@example([(1, "normal"), (1, "interactive"), *[(weight, "normal") for weight in (1, 1, 1, 2, 2, 4, 64)]], GROWN)
@given(
    claims=st.lists(st.tuples(weights, st.sampled_from(list(LATENCY_CLASSES))), min_size=2, max_size=12),
    script=st.lists(steps, max_size=60),
)
def test_lag_never_exceeds_one_quantum(claims: list[tuple[int, str]], script: list[tuple[str, int, object]]) -> None:
    policy, model = FairPolicy(QUANTUM), Model()
    shares = [Share(number, weight=weight, latency=latency) for number, (weight, latency) in enumerate(claims)]
    wants: set[int] = set()

    def turn(used: int | None, after: object) -> None:
        share = policy.pick()
        if share is None:
            assert not wants
            model.idle()
            assert not model.even
            return
        model.jump()
        check(policy, model, "before")
        took = min(used or QUANTUM, policy.slice(share))
        model.serve(share, took)
        check(policy, model, "after")
        runnable = after == "on"
        policy.settle(share, took, runnable, 0)
        if not runnable:
            wants.discard(share.owner)
            model.leave(share)
        model.arrivals()

    for action, number, detail in [("enter", index, None) for index in range(len(shares))] + script:
        if action == "turn":
            turn(number, detail)
            continue
        if action == "full":
            for _ in range(number):
                turn(None, detail)
            continue
        share = shares[number % len(shares)]
        if action == "enter" and share.owner not in wants:
            wants.add(share.owner)
            policy.enter(share, 0)
            model.enter(share)
        elif action == "leave" and share.owner in wants:
            wants.discard(share.owner)
            policy.leave(share)
            model.leave(share)
        elif action == "reweigh":
            assert isinstance(detail, int)
            policy.reweigh(share, detail)
            model.reweigh(share, detail)
    assert policy.largest_lag <= QUANTUM + 1
    assert abs(Fraction(policy.virtual, SCALE // UNIT) - model.virtual) < Fraction(1, 1000)


@settings(max_examples=50, deadline=None)
@given(st.lists(weights, min_size=1, max_size=40), st.integers(1, 400))
def test_backlogged_shares_get_what_their_weight_says(chosen: list[int], turns: int) -> None:
    """Against the definition itself: the fluid share w / W of all service, at every turn."""
    policy = FairPolicy(QUANTUM)
    shares = [Share(number, weight=weight) for number, weight in enumerate(chosen)]
    for share in shares:
        policy.enter(share, 0)
    got = [0] * len(shares)
    for turn in range(1, turns + 1):
        share = pick(policy)
        got[share.owner] += QUANTUM
        policy.settle(share, QUANTUM, True, 0)
        for each in shares:
            lag = Fraction(turn * QUANTUM * each.weight, sum(chosen)) - got[each.owner]
            assert abs(lag) <= QUANTUM


@settings(max_examples=30, deadline=None)
@given(weight=st.integers(1, 100), others=st.integers(1, 8), early=st.integers(1, QUANTUM - 1))
def test_sleeping_just_before_the_turn_ends_gains_nothing(weight: int, others: int, early: int) -> None:
    """One sleeps `early` units before its turn ends and wakes at once; it gets no more than its weight's share."""
    policy = FairPolicy(QUANTUM)
    gamer = Share("gamer", weight=weight)
    for share in [gamer, *(Share(number, weight=weight) for number in range(others))]:
        policy.enter(share, 0)
    total = mine = 0
    for _ in range(60 * (others + 1)):
        share = pick(policy)
        used = QUANTUM - early if share is gamer else QUANTUM
        total += used
        mine += used if share is gamer else 0
        policy.settle(share, used, share is not gamer, 0)
        if share is gamer:
            policy.enter(gamer, 0)
        assert mine <= Fraction(total, others + 1) + QUANTUM


def test_interactive_is_served_soon_and_gains_no_share() -> None:
    """Among 30 hogs, one that wakes now and then is served within few turns, and computes no more than its share."""
    policy = FairPolicy(QUANTUM)
    shell = Share("shell", latency="interactive")
    hogs = [Share(number) for number in range(30)]
    for share in hogs:
        policy.enter(share, 0)

    def turns_until_served() -> int:
        policy.enter(shell, 0)
        for count in range(1000):
            share = pick(policy)
            if share is shell:
                policy.settle(shell, 10, False, 0)
                return count
            policy.settle(share, QUANTUM, True, 0)
        raise AssertionError("never served")

    waits = []
    for _ in range(40):
        for _ in range(7):
            share = pick(policy)
            policy.settle(share, QUANTUM, True, 0)
        waits.append(turns_until_served())
    assert max(waits) <= 1

    got = total = 0
    policy.enter(shell, 0)
    for _ in range(3000):
        share = pick(policy)
        used = policy.slice(share)
        got += used if share is shell else 0
        total += used
        policy.settle(share, used, True, 0)
    assert got <= total / 31 + QUANTUM


def test_a_turn_taken_back_changes_nothing() -> None:
    policy = FairPolicy(QUANTUM)
    first, second = Share("first"), Share("second")
    policy.enter(first, 0)
    policy.enter(second, 0)
    for _ in range(3):
        picked = policy.pick()
        assert picked is first
        policy.settle(picked, 0, True, 0)


def test_not_eager_serves_only_who_is_owed_something() -> None:
    policy = FairPolicy(QUANTUM)
    heavy, light = Share("heavy", weight=3), Share("light", weight=1)
    policy.enter(heavy, 0)
    policy.enter(light, 0)
    turns = []
    for _ in range(40):
        together = []
        picked = policy.pick()
        while picked is not None:
            together.append(picked)
            picked = policy.pick(eager=False)
        for each in together:
            policy.settle(each, QUANTUM, True, 0)
        turns.append("".join(str(each.owner)[0] for each in together))
    everything = "".join(turns)
    assert abs(everything.count("h") - 3 * everything.count("l")) <= 4
    assert turns[0] == "hl"


@pytest.mark.parametrize("cores", [2, 3, 8])
@settings(max_examples=40, deadline=None)
@given(chosen=st.lists(weights, min_size=2, max_size=20), seed=st.integers(0, 10**6))
def test_several_cores_weights_clipped_to_one_core(cores: int, chosen: list[int], seed: int) -> None:
    """Turns of uneven length overlap on several cores; everybody gets the clipped entitlement within 2 quanta."""
    policy = FairPolicy(QUANTUM, cores)
    lengths = random.Random(seed)
    shares = [Share(number, weight=weight) for number, weight in enumerate(chosen)]
    for share in shares:
        policy.enter(share, 0)
    entitled = clipped(chosen, cores)
    got = [0] * len(shares)
    busy: list[tuple[int, int, int, Share]] = []  # end, order, begin
    now = 0
    for count in range(300):
        while len(busy) < cores:
            picked = policy.pick()
            if picked is None:
                break
            length = lengths.choice([QUANTUM, QUANTUM, lengths.randint(1, QUANTUM)])
            busy.append((now + length, count * cores + len(busy), now, picked))
        busy.sort(key=lambda turn: turn[:2])
        now, _, begin, share = busy.pop(0)
        got[share.owner] += now - begin
        policy.settle(share, now - begin, True, 0)
        under_way = {share.owner: now - begin for _, _, begin, share in busy}
        for each in shares:
            received = got[each.owner] + under_way.get(each.owner, 0)
            assert abs(entitled[each.owner] * now - received) <= 2 * QUANTUM, (each.owner, count)


@settings(max_examples=60, deadline=None)
@given(
    cores=st.sampled_from([1, 2, 3]),
    ahead=st.booleans(),
    script=st.lists(
        st.tuples(st.sampled_from(["pick", "settle", "sleep", "back", "enter", "leave", "weigh"]), indices, weights),
        max_size=150,
    ),
)
def test_overlapping_turns_keep_the_books(cores: int, ahead: bool, script: list[tuple[str, int, int]]) -> None:
    """Random calls, turns overlapping: the weight is the sum of those who compete, and V never runs backwards."""
    policy = FairPolicy(QUANTUM, cores, ahead)
    shares = [Share(number) for number in range(12)]
    wants: set[Share] = set()
    running: list[Share] = []
    for action, number, amount in script:
        share = shares[number]
        before = policy.virtual
        if action == "pick" and len(running) < cores:
            picked = policy.pick(eager=amount < 8)
            if picked is not None:
                assert picked in wants and picked not in running
                running.append(picked)
        elif action in ("settle", "sleep", "back") and running:
            share = running.pop(number % len(running))
            used = 0 if action == "back" else amount * QUANTUM // 1024 + 1
            policy.settle(share, used, action != "sleep", 0)
            if action == "sleep":
                wants.discard(share)
        elif action == "enter" and share not in wants:
            wants.add(share)
            policy.enter(share, 0)
        elif action == "leave" and share in wants and share not in running:
            wants.discard(share)
            policy.leave(share)
        elif action == "weigh":
            policy.reweigh(share, amount)
        assert policy.virtual >= before
        assert policy.weight == sum(each.effective for each in shares if each.state != OUT)
        assert {each for each in shares if each.state in (LATER, ELIGIBLE, RUNNING)} == wants
        for each in shares:
            if each.state in (LATER, GHOST):
                assert each.eligible > policy.virtual
            elif each.state == ELIGIBLE:
                assert each.eligible <= policy.virtual
        if cores > 1 and policy.weight:
            assert all(each.effective * cores <= policy.weight + cores for each in wants if len(wants) >= cores)


def clipped(chosen: list[int], cores: int) -> list[float]:
    """Cores each is entitled to: in proportion to weight, nobody more than one."""
    entitled = [0.0] * len(chosen)
    left, free = set(range(len(chosen))), float(cores)
    while left:
        total = sum(chosen[index] for index in left)
        over = [index for index in left if chosen[index] * free >= total]
        if not over:
            for index in left:
                entitled[index] = chosen[index] * free / total
            break
        for index in over:
            entitled[index] = 1.0
            left.discard(index)
            free -= 1
    return entitled
