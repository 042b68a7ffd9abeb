"""The source of views for a hypervisor in this process.

All VMs are read as gauges a few times a second (`fleet.py` turns them into rates, shares and an order); what the open
tabs need of the selected VM is read at every picture, at the end of its turn when it runs, so that watching stops
nothing. Bounded: a picture of ten thousand VMs builds only the rows that are on screen.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from sandbox.dashboard.deeds import Deeds
from sandbox.dashboard.fleet import Fleet
from sandbox.dashboard.portraits.crash import crash_view
from sandbox.dashboard.portraits.devices import devices_view
from sandbox.dashboard.portraits.kernel import files_view, program_symbols, task_views, tree_view
from sandbox.dashboard.portraits.memory import memory_view
from sandbox.dashboard.portraits.processor import processor_view
from sandbox.dashboard.source import Done, Request, Wish
from sandbox.dashboard.tracer import Tracer
from sandbox.dashboard.view import (
    ConsoleView,
    DetailView,
    EntryView,
    EventView,
    LagView,
    LeaseView,
    SchedulerView,
    SliceView,
    View,
    VmView,
)
from sandbox.errors import SandboxError, StateError
from sandbox.events import Defect
from sandbox.hypervisor import Hypervisor
from sandbox.loader import Symbols
from sandbox.vm import VM
from sandbox.vm.inspection import task_of

_EVENTS = 500
_TAIL = 1 << 16  # bytes of console that are looked at
_LANES = 64  # rows of the scheduler's strip
_TREE_EVERY = 5.0  # seconds
_PATIENCE = 1.0  # seconds to wait for the end of a turn when somebody has asked for it
_STILL = ("processor", "tasks", "memory", "files", "devices")  # what needs a machine that stands still


class Collector:
    def __init__(self, hypervisor: Hypervisor, read_only: bool = False) -> None:
        self.read_only = read_only
        self._hypervisor = hypervisor
        self._fleet = Fleet(hypervisor)
        self._deeds = Deeds(hypervisor)
        self._tracer = Tracer()
        self._events: deque[EventView] = deque(maxlen=_EVENTS)
        self._next_event = 0
        self._turns_watched = False
        self._registers: dict[str, tuple[dict[str, int], dict[str, int]]] = {}  # (before, now) by identity
        self._symbols: dict[tuple[str, bytes], Symbols] = {}
        self._tree: tuple[str, float, tuple[EntryView, ...]] = ("", 0.0, ())
        self._defects: set[tuple[str, str]] = set()  # told already
        self._kept: dict[tuple[str, str], Any] = {}  # the last portrait, for turns that are too long to wait for

    # --- views ---

    def observe(self, wish: Wish) -> View:
        fleet = self._fleet
        fleet.refresh()
        self._read_events()
        order = fleet.order(wish.sort, wish.descending, wish.filter)
        selected = wish.selected if wish.selected in fleet.rows else ""
        if selected and order and selected not in fleet.matching:
            selected = ""
        selected = selected or (order[0] if order else "")
        if "scheduler" not in wish.parts and self._turns_watched:
            self._turns_watched = False
            self._hypervisor.watch_turns(False)
        first = _window(order.index(selected) if selected in fleet.matching else 0, wish.first, wish.count, len(order))
        return View(
            host=fleet.host(self._next_event),
            order=order,
            total=len(fleet.rows),
            first=first,
            rows=tuple(fleet.now(identity) for identity in order[first : first + wish.count]),
            detail=self._detail(fleet.now(selected), wish) if selected else None,
            events=tuple(self._events) if "events" in wish.parts else (),
            scheduler=self._scheduler(order) if "scheduler" in wish.parts else None,
        )

    def version(self) -> int:
        return self._hypervisor.log.next_sequence

    def _vm(self, identity: str) -> VM:
        return self._hypervisor.vm_with_identity(identity)

    def _detail(self, row: VmView, wish: Wish) -> DetailView:
        try:
            vm = self._vm(row.identity)
        except StateError:  # removed since the gauges were read
            return DetailView(row)
        parts = wish.parts
        console = None
        if "console" in parts:
            console = ConsoleView(vm.console.tail(_TAIL), vm.console.total, vm.console.accepts_input)
        found = self._portraits(vm, row, wish)
        self._tracer.watch(vm if "syscalls" in parts and row.kind == "linux" else None)
        return DetailView(
            row,
            stopped_at=self._deeds.stopped_at(row.identity) if row.state == "paused" else b"",
            console=console,
            processor=found.get("processor"),
            tasks=found.get("tasks"),
            memory=found.get("memory"),
            syscalls=self._tracer.view(vm) if "syscalls" in parts and row.kind == "linux" else None,
            files=found.get("files"),
            devices=found.get("devices"),
        )

    def _portraits(self, vm: VM, row: VmView, wish: Wish) -> dict[str, Any]:
        """What must be looked at while the machine stands still; of a VM whose turn lasts, the last picture."""
        wanted = [part for part in _STILL if part in wish.parts]
        if not wanted:
            return {}
        found: dict[str, Any] = {}

        def look(machine: Any) -> None:
            for part in wanted:
                try:
                    found[part] = self._portrait(part, machine, vm, row, wish)
                except Exception as error:  # of ours, about one panel of one VM: the others go on
                    self._tell_defect(vm, part, error)

        try:
            seen = self._hypervisor.glance(vm, look)
        except SandboxError:
            seen = False
        identity = vm.identity
        if seen:
            self._kept = {key: kept for key, kept in self._kept.items() if key[0] == identity}
            self._kept |= {(identity, part): view for part, view in found.items()}
        elif vm.crash is not None and "processor" in wanted:
            found["processor"] = crash_view(vm.crash)
        elif row.state in ("running", "paused"):
            found = {part: self._kept[identity, part] for part in wanted if (identity, part) in self._kept}
        return found

    def _tell_defect(self, vm: VM, part: str, error: Exception) -> None:
        if (vm.identity, part) not in self._defects:
            self._defects.add((vm.identity, part))
            self._hypervisor.log.record(vm.name, Defect(f"the panel {part}", f"{type(error).__name__}: {error}"))

    def _portrait(self, part: str, machine: Any, vm: VM, row: VmView, wish: Wish) -> Any:
        if part == "devices":
            return devices_view(machine) if row.kind == "board" else None
        linux = row.kind == "linux"
        if part == "tasks":
            return task_views(machine) if linux else None
        if part == "files":
            return files_view(machine, vm.console, self._tree_of(machine, vm)) if linux else None
        try:
            task = task_of(machine)
        except SandboxError:  # no task lives
            return None
        symbols = self._symbols_of(machine, task, vm) if linux else Symbols({})
        if part == "memory":
            where = self._address(wish.address, symbols, task)
            return memory_view(task.space, where, wish.hex_bytes, row.memory_limit)
        number = task.tid if linux else None
        view = processor_view(
            machine.isa,
            task.context,
            task.space,
            self._before(vm.identity, machine, task),
            symbols,
            self._deeds.breakpoints(vm.identity),
            wish.instructions,
            number,
            row.state == "running",
        )
        return view

    def _before(self, identity: str, machine: Any, task: Any) -> dict[str, int]:
        """The registers before the last change: marks stay until the next step."""
        task.context.settle()
        now = {name: int(task.context[name]) for name in machine.isa.registers}
        before, last = self._registers.get(identity, ({}, {}))
        if now != last:
            before = last
            self._registers = {identity: (before, now)}
        return before

    def _symbols_of(self, machine: Any, task: Any, vm: VM) -> Symbols:
        key = (vm.identity, task.process.executable)
        if key not in self._symbols:
            self._symbols = {key: program_symbols(machine, task)}
        return self._symbols[key]

    def _tree_of(self, machine: Any, vm: VM) -> tuple[EntryView, ...]:
        identity, read, entries = self._tree
        now = time.monotonic()
        if identity != vm.identity or now - read > _TREE_EVERY:
            entries = tree_view(machine)
            self._tree = (vm.identity, now, entries)
        return entries

    @staticmethod
    def _address(wanted: int | str | None, symbols: Symbols, task: Any) -> int:
        if isinstance(wanted, str):
            found = symbols.address(wanted)
            return found if found is not None else 0
        return int(task.context.sp) & ~15 if wanted is None else wanted

    def _read_events(self) -> None:
        log = self._hypervisor.log
        if log.next_sequence == self._next_event:
            return
        for event in self._hypervisor.events(max(self._next_event, log.next_sequence - _EVENTS)):
            self._next_event = event.sequence + 1
            seconds = (event.time - self._hypervisor.began) / 1e9
            text = event.record.text().encode("utf-8", "surrogateescape")
            self._events.append(EventView(event.sequence, seconds, event.vm, event.kind, text))

    def _scheduler(self, order: tuple[str, ...]) -> SchedulerView:
        picture = self._hypervisor.scheduler_picture()
        identities = {row.name: identity for identity, row in self._fleet.rows.items()}
        self._turns_watched = True
        stretches = self._hypervisor.watch_turns(True)
        ran = {stretch.vm for stretch in stretches}
        rows = self._fleet.rows
        shown = order if len(order) <= _LANES else [vm for vm in rows if vm in ran and vm in self._fleet.matching]
        return SchedulerView(
            policy=picture.policy,
            quantum=f"{picture.quantum:,} {picture.unit}",
            now=max((stretch.start + stretch.length for stretch in stretches), default=0) / 1e9,
            slices=tuple(
                SliceView(item.vm, item.lane, item.start / 1e9, (item.start + item.length) / 1e9) for item in stretches
            ),
            lags=tuple(LagView(identities.get(name, name), lag, True) for name, lag in picture.lags),
            queue=tuple(identities.get(name, name) for name, _ in picture.lags),
            leases=tuple(
                LeaseView(
                    f"{lease.kind}-{lease.engine}", lease.kind, identities.get(lease.vm, lease.vm), lease.switches
                )
                for lease in picture.leases
            ),
            switches=picture.turns,
            largest_lag=max((abs(lag) for _, lag in picture.lags), default=None),
            names=tuple((identity, rows[identity].name) for identity in shown[:_LANES]),
        )

    # --- deeds ---

    def perform(self, request: Request) -> Done:
        return self._deeds.perform(request, self._resolver(request.vm))

    def _resolver(self, identity: str) -> Callable[[str], int | None]:
        return lambda name: self._known_symbols(identity).address(name)

    def symbols(self, vm: str, prefix: str, limit: int = 20) -> list[str]:
        return sorted(name for name in self._known_symbols(vm).by_name if name.startswith(prefix))[:limit]

    def _known_symbols(self, identity: str) -> Symbols:
        """Of the program that it runs; of one that does not come to rest, those read before."""
        found: list[Symbols] = []

        def look(machine: Any) -> None:
            if hasattr(machine, "tasks"):  # a board's program has no file to read them from
                found.append(self._symbols_of(machine, task_of(machine), self._vm(identity)))

        with contextlib.suppress(SandboxError):
            self._hypervisor.glance(self._vm(identity), look, _PATIENCE)
        kept = [symbols for (owner, _), symbols in self._symbols.items() if owner == identity]
        return (found or kept or [Symbols({})])[0]

    def close(self) -> None:
        """Stop watching: nothing of the spectator stays in the hypervisor."""
        self._tracer.watch(None)
        self._deeds.close()
        self._hypervisor.watch_turns(False)


def _window(at: int, first: int, count: int, total: int) -> int:
    """The top row: `first`, moved as little as it takes to have row `at` on the screen."""
    if at < first:
        first = at
    elif at >= first + count:
        first = at - count + 1
    return max(0, min(first, total - count))
