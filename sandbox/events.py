"""What happened, as typed records: a bounded ring, counters, and observers.

A part of the machine room calls `log.record(vm, Paused())`; the log stamps the record with a sequence
number and the time of the hypervisor's clock and keeps the newest few thousand. Observers are called at
once with each event; nobody listening costs one truth test, and an observer that raises is dropped and
said so, because a spectator must not stop the play. Nothing here knows what a VM is: a VM is a name.

`Recorder` is the pen one VM writes with. While it is held, its records wait; the deterministic scheduler
holds the pens of VMs that run side by side and lets them go in a fixed order, so that the log does not
depend on which host core was faster. Records are plain data: `to_plain` and `from_plain` carry them over
the control socket. Neighbours: clock below; vm, scheduler, hypervisor and control above.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from sandbox.clock import Clock

RING_CAPACITY = 4096


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that happened. Subclasses add fields of plain data (str, int, float, bool or None)."""

    kind: ClassVar[str] = ""

    def text(self) -> str:
        return " ".join(f"{field.name}={getattr(self, field.name)}" for field in fields(self))


@dataclass(frozen=True, slots=True)
class Created(Record):
    kind: ClassVar[str] = "created"
    arch: str
    program: str


@dataclass(frozen=True, slots=True)
class Started(Record):
    kind: ClassVar[str] = "started"
    attempt: int


@dataclass(frozen=True, slots=True)
class Paused(Record):
    kind: ClassVar[str] = "paused"


@dataclass(frozen=True, slots=True)
class Resumed(Record):
    kind: ClassVar[str] = "resumed"


@dataclass(frozen=True, slots=True)
class Stopped(Record):
    """It ended by itself (no reason), or the operator or a limit ended it (with one)."""

    kind: ClassVar[str] = "stopped"
    status: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Crashed(Record):
    """A fatal signal or a defect of ours ended it."""

    kind: ClassVar[str] = "crashed"
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class RestartPlanned(Record):
    kind: ClassVar[str] = "restart-planned"
    attempt: int
    delay: float  # seconds


@dataclass(frozen=True, slots=True)
class StopAsked(Record):
    kind: ClassVar[str] = "stop-asked"
    grace: float  # seconds until it is killed


@dataclass(frozen=True, slots=True)
class LimitChanged(Record):
    kind: ClassVar[str] = "limit-changed"
    limit: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class LimitReached(Record):
    kind: ClassVar[str] = "limit-reached"
    limit: str
    detail: str


@dataclass(frozen=True, slots=True)
class Renamed(Record):
    kind: ClassVar[str] = "renamed"
    before: str


@dataclass(frozen=True, slots=True)
class Removed(Record):
    kind: ClassVar[str] = "removed"


@dataclass(frozen=True, slots=True)
class Defect(Record):
    """Our own code failed while it served this VM: `where` is the handler, `error` what it raised."""

    kind: ClassVar[str] = "defect"
    where: str
    error: str


@dataclass(frozen=True, slots=True)
class Note(Record):
    """Anything else worth a line."""

    kind: ClassVar[str] = "note"
    source: str
    message: str


@dataclass(frozen=True, slots=True)
class ObserverDropped(Record):
    kind: ClassVar[str] = "observer-dropped"
    error: str


KINDS: dict[str, type[Record]] = {
    record.kind: record
    for record in (
        Created, Started, Paused, Resumed, Stopped, Crashed, RestartPlanned, StopAsked, LimitChanged,
        LimitReached, Renamed, Removed, Defect, Note, ObserverDropped,
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """A record with its stamp. `vm` is "" for what concerns no VM; `time` is monotonic nanoseconds."""

    sequence: int
    time: int
    vm: str
    record: Record

    @property
    def kind(self) -> str:
        return self.record.kind

    def line(self) -> str:
        """One line of the event log; equal runs give equal lines."""
        return f"{self.time / 1e9:.9f} {self.vm or '-'} {self.kind} {self.record.text()}".rstrip()

    def to_plain(self) -> dict[str, Any]:
        plain: dict[str, Any] = {"sequence": self.sequence, "time": self.time, "vm": self.vm, "kind": self.kind}
        plain["fields"] = {field.name: getattr(self.record, field.name) for field in fields(self.record)}
        return plain

    @staticmethod
    def from_plain(plain: dict[str, Any]) -> Event:
        record = KINDS[plain["kind"]](**plain["fields"])
        return Event(plain["sequence"], plain["time"], plain["vm"], record)


Observer = Callable[[Event], None]


class EventLog:
    """The newest `capacity` events, a count of each kind ever seen, and the observers."""

    def __init__(self, clock: Clock, capacity: int = RING_CAPACITY) -> None:
        self._clock = clock
        self._ring: deque[Event] = deque(maxlen=capacity)
        self._next = 0
        self._observers: list[Observer] = []
        self.counters: Counter[str] = Counter()

    def record(self, vm: str, record: Record) -> None:
        event = Event(self._next, self._clock.monotonic(), vm, record)
        self._next += 1
        self._ring.append(event)
        self.counters[event.kind] += 1
        if self._observers:
            self._tell(event)

    def recorder(self, vm: str) -> Recorder:
        return Recorder(self, vm)

    def since(self, sequence: int = 0) -> list[Event]:
        """The events from `sequence` on that are still in the ring."""
        if sequence >= self._next:
            return []
        return [event for event in self._ring if event.sequence >= sequence]

    @property
    def next_sequence(self) -> int:
        return self._next

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Call `observer` with every event from now on; the function returned ends that."""
        self._observers.append(observer)

        def forget() -> None:
            if observer in self._observers:
                self._observers.remove(observer)

        return forget

    def _tell(self, event: Event) -> None:
        for observer in tuple(self._observers):
            try:
                observer(event)
            except Exception as error:  # a spectator's mistake is not ours to die of
                if observer in self._observers:
                    self._observers.remove(observer)
                self.record("", ObserverDropped(f"{type(error).__name__}: {error}"))

    def __iter__(self) -> Iterator[Event]:
        return iter(tuple(self._ring))

    def __len__(self) -> int:
        return len(self._ring)


class Recorder:
    """One VM's pen: `record(...)` without naming the VM; `hold` and `let_go` delay it (see above)."""

    __slots__ = ("_held", "_holding", "_log", "vm")

    def __init__(self, log: EventLog, vm: str) -> None:
        self._log = log
        self._held: list[Record] = []
        self._holding = False
        self.vm = vm

    def record(self, record: Record) -> None:
        if self._holding:
            self._held.append(record)
        else:
            self._log.record(self.vm, record)

    def hold(self) -> None:
        self._holding = True

    def let_go(self) -> None:
        self._holding = False
        held, self._held = self._held, []
        for record in held:
            self._log.record(self.vm, record)
