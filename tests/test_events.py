"""Records, the ring, counters, observers and the pens that can be held."""

from __future__ import annotations

import json

import pytest

from sandbox import events
from sandbox.clock import VirtualClock
from sandbox.events import KINDS, Event, EventLog

SAMPLES: list[events.Record] = [
    events.Created("x86_64", "hello"), events.Started(0), events.Paused(), events.Resumed(), events.Stopped(0),
    events.Stopped(137, "the operator killed it"), events.Crashed(139, "SIGSEGV at 0x0"), events.RestartPlanned(1, 0.1),
    events.StopAsked(10.0), events.LimitChanged("weight", "1", "2"), events.LimitReached("memory", "64M"),
    events.Renamed("old"), events.Removed(), events.Defect("read", "ValueError: x"), events.Note("kernel", "hm"),
    events.ObserverDropped("ValueError: x"),
]  # fmt: skip


def log(capacity: int = 100) -> EventLog:
    return EventLog(VirtualClock(start=0), capacity)


def test_every_kind_has_a_sample() -> None:
    kinds = {sample.kind for sample in SAMPLES}
    assert kinds == set(KINDS)
    # (by name: a dataclass with slots is made anew, and the class it was made from is still a subclass)
    assert {kind.__name__ for kind in KINDS.values()} == {kind.__name__ for kind in events.Record.__subclasses__()}


@pytest.mark.parametrize("record", SAMPLES, ids=lambda record: record.kind)
def test_records_cross_a_socket(record: events.Record) -> None:
    event = Event(7, 1_500_000_000, "web", record)
    assert Event.from_plain(json.loads(json.dumps(event.to_plain()))) == event
    assert event.line().startswith(f"1.500000000 web {record.kind}")


def test_the_ring_is_bounded_and_counted() -> None:
    book = log(capacity=10)
    for attempt in range(25):
        book.record("a", events.Started(attempt))
    assert [event.sequence for event in book] == list(range(15, 25))
    assert [event.sequence for event in book.since(22)] == [22, 23, 24]
    assert book.since(25) == []
    assert book.counters == {"started": 25}


def test_observers_hear_and_are_dropped_when_they_raise() -> None:
    book = log()
    heard: list[str] = []

    def broken(event: Event) -> None:
        raise ValueError("boo")

    book.observe(broken)
    forget = book.observe(lambda event: heard.append(event.kind))
    book.record("a", events.Paused())
    book.record("a", events.Resumed())
    forget()
    forget()
    book.record("a", events.Removed())
    assert heard == ["observer-dropped", "paused", "resumed"]
    assert book.counters["observer-dropped"] == 1


def test_an_observer_may_record() -> None:
    book = log()
    book.observe(lambda event: book.record("b", events.Resumed()) if event.kind == "paused" else None)
    book.record("a", events.Paused())
    assert [(event.vm, event.kind) for event in book] == [("a", "paused"), ("b", "resumed")]


def test_a_held_pen_writes_when_let_go() -> None:
    book = log()
    first, second = book.recorder("first"), book.recorder("second")
    first.hold()
    first.record(events.Paused())
    second.record(events.Resumed())
    assert [event.vm for event in book] == ["second"]
    first.vm = "renamed"
    first.let_go()
    first.record(events.Removed())
    assert [(event.vm, event.kind) for event in book][1:] == [("renamed", "paused"), ("renamed", "removed")]
