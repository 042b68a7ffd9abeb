"""Engines on lease: each VM has a home engine of its kind, and few engines serve many VMs.

A lease is sticky: a VM comes back to its home, whose translations and TLB know it, unless another VM is running
there on another host core. While engines are few a new VM gets a new one; beyond `limit` of a kind, VMs share
homes evenly, and with them the translated code. `dedicated` gives a VM an engine that nobody else uses and that
is closed when the VM ends. A kind is whatever `open_engine` takes: an ISA and its privilege.

Not locked: called under the monitor.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    def close(self) -> None: ...


E = TypeVar("E", bound=Closable)


@dataclass(slots=True, eq=False)
class Slot(Generic[E]):
    """One engine. `homes` VMs live here; `last` is the tenant that ran here last, by number."""

    engine: E
    kind: Hashable
    number: int
    dedicated: bool
    busy: bool = False
    closed: bool = False
    homes: int = 0
    last: int = 0
    switches: int = 0
    misses: int = 0  # of the engine's TLB, when somebody last looked


@dataclass(slots=True, eq=False)
class Tenancy(Generic[E]):
    """What a VM remembers of its engine."""

    kind: Hashable
    dedicated: bool = False
    home: Slot[E] | None = None
    number: int = field(default=0)


class Leases(Generic[E]):
    def __init__(self, open_engine: Callable[[Hashable], E], limit: int) -> None:
        """`limit` shared engines of each kind, at least the number of host cores."""
        self._open = open_engine
        self._limit = limit
        self._shared: dict[Hashable, list[Slot[E]]] = {}
        self._dedicated: list[Slot[E]] = []
        self._slots = 0
        self._tenancies = 0

    def admit(self, kind: Hashable, dedicated: bool = False) -> Tenancy[E]:
        self._tenancies += 1
        return Tenancy(kind, dedicated, None, self._tenancies)

    def take(self, tenancy: Tenancy[E]) -> Slot[E]:
        """An engine to run on; `give_back` follows. Raises EngineError when none can be opened."""
        home = tenancy.home
        if home is None or home.closed:
            home = tenancy.home = self._find_home(tenancy)
            home.homes += 1
        slot = home
        if slot.busy:
            slot = next((other for other in self._shared[tenancy.kind] if not other.busy), home)
            if slot is home:  # more turns at a time than engines allowed: never wait with the lock held
                slot = self._new(tenancy.kind, dedicated=False)
        slot.busy = True
        if slot.last != tenancy.number:
            slot.switches += 1
            slot.last = tenancy.number
        return slot

    def give_back(self, slot: Slot[E], broken: bool = False) -> None:
        """`broken`: it cannot be trusted any more and is closed; its tenants find another."""
        slot.busy = False
        if broken:
            self._close(slot)

    def leave(self, tenancy: Tenancy[E]) -> None:
        """The VM has ended. Idempotent."""
        home, tenancy.home = tenancy.home, None
        if home is not None and not home.closed:
            home.homes -= 1
            if home.dedicated:
                self._close(home)

    def slots(self) -> list[Slot[E]]:
        return [slot for slots in self._shared.values() for slot in slots] + self._dedicated

    def close(self) -> None:
        """All of them; nobody runs any more. Idempotent."""
        for slot in self.slots():
            self._close(slot)

    def _find_home(self, tenancy: Tenancy[E]) -> Slot[E]:
        if tenancy.dedicated:
            return self._new(tenancy.kind, dedicated=True)
        slots = self._shared.setdefault(tenancy.kind, [])
        emptiest = min(slots, key=lambda slot: slot.homes, default=None)
        if emptiest is None or (emptiest.homes > 0 and len(slots) < self._limit):
            return self._new(tenancy.kind, dedicated=False)
        return emptiest

    def _new(self, kind: Hashable, dedicated: bool) -> Slot[E]:
        engine = self._open(kind)
        self._slots += 1
        slot = Slot(engine, kind, self._slots, dedicated)
        (self._dedicated if dedicated else self._shared.setdefault(kind, [])).append(slot)
        return slot

    def _close(self, slot: Slot[E]) -> None:
        if slot.closed:
            return
        slot.closed = True
        (self._dedicated if slot.dedicated else self._shared[slot.kind]).remove(slot)
        slot.engine.close()
