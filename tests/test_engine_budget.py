"""Budgets: an exact one stops at the same places with the same work on every run, whatever else happened to the engine;
one of time ends where the guest can go on; and ten thousands of either lose nothing (a million, at length).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from sandbox.engine import Context, Engine, StopReason
from sandbox.memory import FramePool
from tests import campaign
from tests.programs import CODE, DATA, KINDS, MACHINES, Bench, assembled, choose_engine, code, register

PAGE = 4096
Trace = list[tuple[int, int, int]]  # PC, work, counter


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    choose_engine(monkeypatch, request.param)
    return str(request.param)


@pytest.fixture(params=MACHINES)
def bench(request: pytest.FixtureRequest, kind: str) -> Iterator[Bench]:
    with Bench(request.param) as bench:
        yield bench


def trace(bench: Bench, budget: int = 100, between: Callable[[int], None] = lambda turn: None) -> Trace:
    """Where a walk over 24 pages stops, turn by turn."""
    bench.start("walk", pointer=DATA, counter=120, step=PAGE // 5)
    stops: Trace = []
    for turn in range(10_000):
        stop = bench.run(budget)
        stops.append((stop.pc, stop.work, bench.get("counter")))
        if stop.reason is not StopReason.BUDGET:
            assert stop.reason is StopReason.SYSCALL
            return stops
        between(turn)
    raise AssertionError("it does not end")


def test_what_a_block_costs(bench: Bench) -> None:
    """The code bytes of each block that was begun."""
    works = []
    for rounds in (1, 101, 201):
        bench.start("count", counter=rounds)
        works.append(bench.run().work)
    once = works[1] - works[0]
    assert once == works[2] - works[1]
    last = 2 if bench.machine in ("x86_64", "i386", "thumb") else 4  # the jump at the end, and the syscall before it
    assert works[0] == len(code(bench.machine, "count")) - last
    assert once == 100 * (works[0] - last)


def test_a_budget_of_one_makes_progress(bench: Bench) -> None:
    bench.start("count", counter=10)
    turns = 0
    while bench.run(budget=1).reason is StopReason.BUDGET:
        turns += 1
    assert bench.get("counter") == 0 and 9 <= turns <= 11


def test_turns_add_up_to_the_whole(bench: Bench) -> None:
    stops = trace(bench)
    assert len(stops) > 10
    bench.start("walk", pointer=DATA, counter=120, step=PAGE // 5)
    assert bench.run().work == sum(work for _, work, _ in stops)


def flush_always(bench: Bench) -> Callable[[int], None]:
    return lambda turn: bench.space.table.shrunk()


def drop_pages(bench: Bench) -> Callable[[int], None]:
    """Reclaim, as the guest's own pages know it: what it wrote stays, everything else comes back by faults."""

    def between(turn: int) -> None:
        bench.space.protect(CODE, 0x4000, 0)
        bench.space.protect(CODE, 0x4000, 5)
        bench.space.protect(DATA, 0x20000, 0)
        bench.space.protect(DATA, 0x20000, 3)

    return between


def fork_between(bench: Bench) -> Callable[[int], None]:
    return lambda turn: bench.space.fork().release() if turn % 3 else None


def host_reads(bench: Bench) -> Callable[[int], None]:
    def between(turn: int) -> None:
        bench.space.copy_in(DATA, 3 * PAGE)
        bench.registers()

    return between


DISTURBANCES = {
    "flushed": flush_always,
    "pages to be mapped again": drop_pages,
    "forked": fork_between,
    "read by the host": host_reads,
}


@pytest.mark.parametrize("disturb", DISTURBANCES.values(), ids=DISTURBANCES)
def test_stops_do_not_depend_on(bench: Bench, disturb: Callable[[Bench], Callable[[int], None]]) -> None:
    expected = trace(bench)
    assert trace(bench) == expected, "warm translations, pages that are there"
    with Bench(bench.machine) as other:
        assert trace(other, between=disturb(other)) == expected


PAGES = {
    "all there": lambda space: space.copy_out(DATA, bytes(0x20000)),
    "only read so far": lambda space: space.copy_in(DATA, 0x20000),
    "code written": lambda space: space.write(CODE, bytes(PAGE)),
    "to be copied": lambda space: space.copy_out(DATA, bytes(0x20000)),
}


@pytest.mark.parametrize("pages", PAGES)
def test_stops_do_not_depend_on_pages_that_are(bench: Bench, pages: str) -> None:
    expected = trace(bench)
    with Bench(bench.machine) as other:
        PAGES[pages](other.space)
        child = other.space.fork() if pages == "to be copied" else None
        assert trace(other) == expected
        if child is not None:
            child.release()


def test_stops_do_not_depend_on_who_shares_the_engine(bench: Bench) -> None:
    expected = trace(bench)
    pool = FramePool(32 << 20)
    engine = Engine(bench.isa, pool)
    guests = [Bench(bench.machine, pool=pool, engine=engine) for _ in range(3)]
    for guest in guests:
        guest.start("walk", pointer=DATA, counter=120, step=PAGE // 5)
    stops: list[Trace] = [[] for _ in guests]
    waiting = list(range(3))
    while waiting:
        for number in list(waiting):
            stop = guests[number].run(100)
            stops[number].append((stop.pc, stop.work, guests[number].get("counter")))
            if stop.reason is StopReason.SYSCALL:
                waiting.remove(number)
    assert stops == [expected] * 3
    for guest in guests:
        guest.close()
    engine.close()
    pool.close()


def test_stops_do_not_depend_on_the_engine(bench: Bench) -> None:
    expected = trace(bench)
    with Bench(bench.machine) as moved:
        engines = [moved.engine, *(Engine(bench.isa, moved.pool) for _ in range(2))]

        def between(turn: int) -> None:
            moved.engine = engines[turn % 3]

        assert trace(moved, between=between) == expected
        moved.engine = engines[0]
        for engine in engines[1:]:
            engine.close()


def test_stops_do_not_depend_on_flips(bench: Bench) -> None:
    """Code beside its data: how its page changes sides is part of the run, and the same each time."""
    results = []
    for _ in range(2):
        with Bench(bench.machine) as one:
            page = 0x60_0000
            one.space.map(page, PAGE, 7, fixed=True)
            one.place("return", page + 0x400)
            one.start("beside", page, pointer=page + 0x800, counter=30, target=one.entry(page + 0x400))
            stops = []
            while True:
                stop = one.run(50)
                stops.append((stop.reason, stop.pc, stop.work))
                if stop.reason is not StopReason.BUDGET:
                    break
            assert one.word(page + 0x800) == 30
            results.append(stops)
    assert results[0] == results[1]


def test_work_is_the_twins_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for machine in MACHINES:
        traces = []
        for kind in KINDS:
            choose_engine(monkeypatch, kind)
            with Bench(machine) as bench:
                traces.append(trace(bench))
        assert traces[0] == traces[1], machine


def test_long_blocks_are_charged_once_when_they_fault(bench: Bench) -> None:
    """A block that faults at each of its stores costs what it costs without a fault."""
    missing = 0x60_0000
    bench.space.map(missing, 16 * PAGE, 3, fixed=True)
    program = "\n".join(["store value pointer 0", "addr pointer step"] * 12 + ["syscall"])
    encoded = assembled(bench.machine, program)
    works: list[int] = []
    for _ in range(2):
        bench.space.write(CODE, encoded)
        bench.context.pc = bench.entry(CODE)
        bench.set(pointer=missing, value=7, step=PAGE)
        if not works:
            bench.space.advise(missing, 16 * PAGE)
        stop = bench.run()
        assert stop.reason is StopReason.SYSCALL
        works.append(stop.work)
    assert works[0] == works[1] == len(encoded)
    assert [bench.word(missing + page * PAGE) for page in range(13)] == [7] * 12 + [0]


# ---- budgets of time


def test_a_turn_of_time_ends(bench: Bench) -> None:
    with Bench(bench.machine, exact=False) as timed:
        timed.start("invariant", pointer=DATA, step=0)
        for _ in range(20):
            stop = timed.run(200_000)
            assert stop.reason is StopReason.BUDGET and stop.work > 0
            assert (timed.get("counter") + timed.get("other")) & timed.isa.word_mask == 0
        timed.start("count", counter=100_000)
        work = 0
        while (stop := timed.run(50_000)).reason is StopReason.BUDGET:
            work += stop.work
        bench.start("count", counter=100_000)
        assert work + stop.work == bench.run().work, "time decides where it stops, not what it does"


def test_a_free_runner_ends_at_its_next_syscall_fault_or_miss(bench: Bench) -> None:
    engine = Engine(bench.isa, bench.pool, exact=False, preemptible=False)
    bench.engine, kept = engine, bench.engine
    bench.start("count", counter=100_000)
    stop = bench.run(1)
    while stop.reason is StopReason.BUDGET:  # it was over its budget when it wanted a page
        stop = bench.run(1)
    assert (stop.reason, stop.work, bench.get("counter")) == (StopReason.SYSCALL, 0, 0)
    bench.engine = kept
    engine.close()


# ---- many


ROUNDS = 50 * campaign.cases(400)


@pytest.mark.parametrize("exact", [True, False])
def test_many_stops_lose_nothing(monkeypatch: pytest.MonkeyPatch, exact: bool) -> None:
    """Two threads, an engine each, a third that keeps a core busy, contexts that take turns and change engines; a guest
    that ends itself when its registers and memory disagree. Every stop comes, no register is lost."""
    choose_engine(monkeypatch, "native")
    pool, done = FramePool(64 << 20), threading.Event()
    failures: list[object] = []
    counts = [0, 0]

    def load() -> None:
        while not done.is_set():
            sum(range(10_000))
            time.sleep(0)

    def work(which: int, machine: str) -> None:
        with Bench(machine, pool=pool, exact=exact) as bench:
            bench.place("invariant")
            other = Engine(bench.isa, pool, exact=exact)
            engines, contexts = [bench.engine, other], []
            for number in range(3):
                context = Context(bench.isa)
                context.pc = bench.entry(CODE)
                for role, value in {"pointer": DATA + number * PAGE, "counter": 0, "other": 0, "step": 0}.items():
                    context[register(machine, role)] = value
                contexts.append(context)
            for turn in range(ROUNDS // 2):
                stop = engines[turn // 5 % 2].run(contexts[turn % 3], bench.space, 200 if exact else 1000)
                if stop.reason is StopReason.FAULT:
                    if not bench.space.resolve(stop.address, stop.access):
                        failures.append(stop)
                        return
                elif stop.reason is not StopReason.BUDGET:
                    failures.append((machine, turn, str(stop)))
                    return
                counts[which] += 1
            other.close()
            for context in contexts:
                context.release()

    threads = [threading.Thread(target=work, args=pair) for pair in ((0, "x86_64"), (1, "arm64"))]
    busy = threading.Thread(target=load)
    for thread in [*threads, busy]:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    busy.join()
    assert not failures and sum(counts) > ROUNDS * 0.99
    pool.close()
