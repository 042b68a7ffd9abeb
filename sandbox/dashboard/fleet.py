"""All VMs as rows, rates and an order: what the list and the header show.

Gauges are sums; two of them make a rate. Rates and the order are made anew twice a second (less often when there are
very many), so that rows do not jump about; shares are of the last few seconds.
"""

from __future__ import annotations

import re
import time
from collections import deque
from dataclasses import replace

from sandbox.dashboard.shares import Claim, entitled, received
from sandbox.dashboard.view import ABILITIES, HISTORY, STATES, HostView, Meter, VmView
from sandbox.engine import engine_kind
from sandbox.hypervisor import Hypervisor
from sandbox.hypervisor.gauges import Gauge
from sandbox.scheduler import POLICIES
from sandbox.vm import VM

_EVERY = 0.5  # seconds between two readings, at least
_PART = 50  # and so many times as long as one takes: with thousands of VMs readings cost one core 2 %
_OLDEST = 5.0  # but never longer
_WINDOW = 10  # readings that a share looks back
_ALIVE = ("running", "paused")
_DIGITS = re.compile("([0-9]+)")


class Fleet:
    def __init__(self, hypervisor: Hypervisor) -> None:
        self._hypervisor = hypervisor
        self._watched_since = hypervisor.clock.monotonic()
        self.rows: dict[str, VmView] = {}
        self.vms: dict[str, VM] = {}
        self.matching: frozenset[str] = frozenset()
        self._engine = engine_kind()
        self._readings: deque[tuple[int, dict[str, Gauge]]] = deque(maxlen=_WINDOW + 1)
        self._read_at = float("-inf")
        self._took = 0.0
        self._order: tuple[tuple[str, bool, str], tuple[str, ...]] | None = None
        self._history: dict[str, deque[float]] = {
            name: deque(maxlen=HISTORY) for name in ("busy", "memory", "work", "syscalls", "faults", "events")
        }
        self._events = hypervisor.log.next_sequence

    def refresh(self) -> None:
        """Read the gauges when it is time to; new and vanished VMs are noticed then."""
        now = time.monotonic()
        if now - self._read_at < max(_EVERY, min(_PART * self._took, _OLDEST)):
            return
        self._read_at = now
        begun = time.thread_time()
        stamp = self._hypervisor.clock.monotonic()
        gauges = {gauge.identity: gauge for gauge in self._hypervisor.gauges()}
        self._readings.append((stamp, gauges))
        self.vms = {vm.identity: vm for vm in self._hypervisor.vms}
        self._make_rows()
        self._make_history()
        self._order = None
        self._took = time.thread_time() - begun

    def _make_rows(self) -> None:
        now, gauges = self._readings[-1]
        before, earlier = self._readings[-2] if len(self._readings) > 1 else (self._watched_since, {})
        long_ago, oldest = self._readings[0] if len(self._readings) > 1 else (self._watched_since, {})
        seconds = max((now - before) / 1e9, 1e-9)
        claims = [self._claim(gauge, oldest.get(identity)) for identity, gauge in gauges.items()]
        got = received(claims)
        due = entitled(claims, now - long_ago, self._hypervisor.cores)
        rows = {}
        for (identity, gauge), share, entitlement in zip(gauges.items(), got, due, strict=True):
            last = earlier.get(identity)
            rows[identity] = VmView(
                identity=identity,
                name=gauge.name,
                state=gauge.state,
                isa=gauge.isa,
                kind="board" if gauge.board else "linux",
                weight=gauge.weight,
                cpu=max(0, gauge.cpu - (last.cpu if last else 0)) / 1e9 / seconds,
                received=share if entitlement is not None and gauge.state in _ALIVE else None,
                entitled=entitlement if gauge.state in _ALIVE else None,
                memory=gauge.memory,
                memory_limit=gauge.memory_limit,
                faults=max(0, gauge.faults - (last.faults if last else 0)) / seconds,
                syscalls=max(0, gauge.syscalls - (last.syscalls if last else 0)) / seconds,
                tasks=gauge.tasks,
                uptime=gauge.uptime / 1e9,
                exit_status=gauge.exit_status,
                reason=(gauge.reason or "").encode("utf-8", "surrogateescape"),
            )
        self.rows = rows

    def _claim(self, gauge: Gauge, old: Gauge | None) -> Claim:
        # Shares are of what the scheduler charges: code bytes when turns are exact, CPU time when not.
        if self._hypervisor.exact:
            used = gauge.work - (old.work if old else 0)
        else:
            used = gauge.cpu - (old.cpu if old else 0)
        wanted = gauge.running + gauge.ready - (old.running + old.ready if old else 0)
        return Claim(max(0, used), max(0, wanted), gauge.weight)

    def _make_history(self) -> None:
        rows = self.rows.values()
        now, gauges = self._readings[-1]
        before, earlier = self._readings[-2] if len(self._readings) > 1 else (now, gauges)
        seconds = max((now - before) / 1e9, 1e-9)
        done = sum(gauge.work for gauge in gauges.values()) - sum(gauge.work for gauge in earlier.values())
        happened = self._hypervisor.log.next_sequence - self._events
        self._events += happened
        pool, _ = self._hypervisor.pool_use()
        figures = {
            "busy": sum(row.cpu or 0.0 for row in rows),
            "memory": float(pool or sum(row.memory for row in rows)),
            "work": max(0, done) / seconds,
            "syscalls": sum(row.syscalls or 0.0 for row in rows),
            "faults": sum(row.faults or 0.0 for row in rows),
            "events": happened / seconds,
        }
        for name, value in figures.items():
            self._history[name].append(value)

    def now(self, identity: str) -> VmView:
        """The row with what may have changed since the gauges were read, and what an answer to a key must show."""
        row, vm = self.rows[identity], self.vms.get(identity)
        if vm is None or (vm.state, vm.config.weight, vm.name) == (row.state, row.weight, row.name):
            return row
        reason = (vm.reason or "").encode("utf-8", "surrogateescape")
        return replace(
            row,
            state=vm.state,
            weight=vm.config.weight,
            name=vm.name,
            memory_limit=vm.config.memory,
            exit_status=vm.exit_status,
            reason=reason,
        )

    def order(self, sort: str, descending: bool, wanted: str) -> tuple[str, ...]:
        """Identities of those that match, sorted; equal ones in the order of their creation."""
        key = (sort, descending, wanted)
        if self._order is None or self._order[0] != key:
            words = wanted.lower().split()
            rows = [row for row in self.rows.values() if all(_matches(row, word) for word in words)]
            field = {"limit": "memory_limit"}.get(sort, sort)
            if field == "name":
                rows.sort(key=lambda row: _natural(row.name), reverse=descending)
            elif field in ("state", "isa"):
                rows.sort(key=lambda row: str(getattr(row, field)), reverse=descending)
            else:
                rows.sort(key=lambda row: float(getattr(row, field) or 0), reverse=descending)
            order = tuple(row.identity for row in rows)
            self._order = (key, order)
            self.matching = frozenset(order)
        return self._order[1]

    def host(self, events: int) -> HostView:
        history = {name: tuple(values) for name, values in self._history.items()}
        last = {name: values[-1] if values else 0.0 for name, values in history.items()}
        used, size = self._hypervisor.pool_use()
        shared = min(self._hypervisor.pool_shared(), used)
        states = [row.state for row in self.rows.values()]
        room = self._hypervisor
        meter = Meter(last["work"], None, history["work"])
        return HostView(
            cores=room.cores,
            busy=Meter(last["busy"], float(room.cores), history["busy"]),
            memory=Meter(last["memory"], float(size) if size else None, history["memory"]),
            memory_shared=shared if size else None,
            memory_private=used - shared if size else None,
            work=replace(meter),
            work_unit="code bytes" if room.exact else "",
            syscalls=Meter(last["syscalls"], None, history["syscalls"]),
            faults=Meter(last["faults"], None, history["faults"]),
            events=Meter(last["events"], None, history["events"]),
            states=tuple((state, states.count(state)) for state in STATES),
            uptime=round((room.clock.monotonic() - room.began) / 1e9, 1),
            engine=self._engine,
            mode="deterministic" if room.deterministic else "",
            abilities=tuple(name for name in ABILITIES if hasattr(VM, name) or hasattr(room, f"set_{name}")),
            policies=tuple(POLICIES),
        )


def _matches(row: VmView, word: str) -> bool:
    return word in row.name.lower() or row.state.startswith(word) or word == row.isa


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """web before web-2 before web-10."""
    parts: list[tuple[bool, int, str]] = []
    for piece in _DIGITS.split(name):
        if piece.isdigit():
            parts.append((False, int(piece[:18]), ""))
        else:
            parts += [(True, 0, character) for character in piece]
    return [*parts, (False, -1, "")]
