"""`sandbox demo`: a mixed fleet of every ISA in the dashboard, and who got what in the end.

The burners count their turns in their own memory; the table at the end compares what they counted with what their
weights entitle them to. So the figures are the guests', not the scheduler's. When somebody has changed weights, caps or
the policy meanwhile, or let a VM stand still, the weights do not say what was due, and nor does the table.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import TYPE_CHECKING, Any, ClassVar

from sandbox.cli.listing import show, show_json
from sandbox.cli.options import Parser, count, seconds
from sandbox.events import Event, LimitChanged, Note, Renamed

if TYPE_CHECKING:
    from sandbox.hypervisor import Hypervisor
    from sandbox.vm import VM

_SECONDS = 5.0  # when nobody watches
_MOST_CORES = 4
_QUANTUM = 1 << 20  # code bytes
_BURNER_WEIGHTS = (1, 2, 3, 4, 5, 8, 6, 4, 2, 1)  # of the burners, ISA after ISA
# What runs beside them: (guest, arguments, weight, which ISA of those there are). They show other sides of a VM.
_OTHERS = (
    ("counter", (), 2, 0),
    ("counter", (), 2, 1),
    ("sieve", ("200000",), 1, 2),
    ("cat", (), 1, 0),  # waits for what one types
    ("wild", (), 1, 1),  # dies
)


def demo(arguments: list[str]) -> int:
    parser = Parser(
        "demo",
        "A mixed fleet of VMs of every ISA in the dashboard (? there explains the keys). When stdout is no terminal\n"
        f"it runs for {_SECONDS:g} seconds and prints what each VM received beside what it was entitled to.",
        "  sandbox demo\n  sandbox demo --seconds 3 | cat\n  sandbox demo --json --seconds 2",
    )
    parser.add_argument("--seconds", type=seconds, metavar="S", help="end by itself after so long")
    parser.add_argument("--cores", type=count, metavar="N", help="host cores to use (default: all, at most 4)")
    parser.add_argument("--read-only", action="store_true", help="look, but change nothing")
    picture = parser.add_argument_group("a still picture instead")
    picture.add_argument("--once", action="store_true", help="run a moment, print one picture of the dashboard")
    picture.add_argument("--svg", metavar="FILE", help="with --once: as SVG")
    picture.add_argument("--html", metavar="FILE", help="with --once: as HTML")
    picture.add_argument("--size", metavar="COLSxROWS", help="of the picture; default: the terminal's")
    picture.add_argument("--tab", metavar="PANEL", default="console", help="which panel is open")
    parser.json_option()
    given = parser.parse_args(arguments)

    from sandbox.hypervisor import Hypervisor

    cores = given.cores or min(_MOST_CORES, len(os.sched_getaffinity(0)))
    # Short turns: after a few seconds the counts are close to the shares.
    with Hypervisor(cores=cores, engine_mode="exact", quantum=_QUANTUM) as hypervisor:
        burners, others = build(hypervisor)
        for vm in (*burners, *others):
            vm.start()
        if given.once:
            return _picture(hypervisor, given, others[0].identity if others else "")
        changes = Changes(hypervisor, burners)
        status = _watch(hypervisor, given, others[0].identity if others else "")
        changes.forget()
        rows = received(hypervisor, burners)
    _print(rows, given.json, changes.words)
    return status


def build(hypervisor: Hypervisor) -> tuple[list[VM], list[VM]]:
    """The fleet: what counts in its memory, and the others."""
    from sandbox.guests import guests

    shipped = {(guest.name, guest.arch): guest for guest in guests() if guest.board is None}
    arches = [arch for name, arch in shipped if name == "burner"]
    burners, names = [], set()

    def create(guest: str, arch: str, words: tuple[str, ...], weight: int) -> VM:
        number = 1
        while (name := f"{guest}-{arch}" + (f"-{number}" if number > 1 else "")) in names:
            number += 1
        names.add(name)
        program = [str(shipped[guest, arch].path), *words]
        return hypervisor.create(name, program, weight=weight, memory="16M")

    for index, weight in enumerate(_BURNER_WEIGHTS):
        burners.append(create("burner", arches[index % len(arches)], (), weight))
    others = [
        create(guest, arch, words, weight)
        for guest, words, weight, which in _OTHERS
        if (guest, arch := arches[which % len(arches)]) in shipped
    ]
    others += [
        hypervisor.create("serial-board", [str(guest.path)], board=guest.board, memory="16M")
        for guest in guests()
        if guest.name == "serial"
    ]
    return burners, others


class Changes:
    """What was done to the burners while they ran, for the summary. `words`: in the order of the deeds."""

    _STILL: ClassVar = dict.fromkeys(("paused", "stop-asked", "stopped", "crashed"), "VMs were paused or ended")

    def __init__(self, hypervisor: Hypervisor, burners: list[VM]) -> None:
        self.words: list[str] = []
        self._names = {vm.name for vm in burners}
        self.forget = hypervisor.observe(self._hear)

    def _hear(self, event: Event) -> None:
        word = None
        if isinstance(event.record, Renamed) and event.record.before in self._names:
            self._names.add(event.vm)
        elif isinstance(event.record, Note) and event.record.source == "scheduler":
            word = "the policy was changed"
        elif event.vm in self._names and isinstance(event.record, LimitChanged):
            word = "limits were changed"
        elif event.vm in self._names:
            word = self._STILL.get(event.kind)
        if word is not None and word not in self.words:
            self.words.append(word)


def _watch(hypervisor: Hypervisor, given: argparse.Namespace, selected: str) -> int:
    """Until the operator leaves, or the time is over. `selected`: a VM whose console moves."""
    limit = given.seconds
    dumb = os.environ.get("TERM", "dumb") == "dumb"
    if given.json or dumb or not sys.stdout.isatty():
        try:
            time.sleep(limit or _SECONDS)
        except KeyboardInterrupt:
            return 130
        return 0
    from sandbox.dashboard.app import run
    from sandbox.dashboard.collector import Collector
    from sandbox.dashboard.interface import Interface

    end = time.monotonic() + limit if limit is not None else None
    collector = Collector(hypervisor, read_only=given.read_only)
    try:
        start = Interface(selected=selected, tab=given.tab)
        return run(collector, start, until=lambda: end is not None and time.monotonic() >= end)
    finally:
        collector.close()


def _picture(hypervisor: Hypervisor, given: argparse.Namespace, selected: str) -> int:
    from sandbox.cli.picture import take
    from sandbox.dashboard.collector import Collector

    return take(Collector(hypervisor), given, selected, warm_up=given.seconds or 1.5)


def received(hypervisor: Hypervisor, burners: list[VM]) -> list[dict[str, Any]]:
    """What each burner counted in its memory, as a share of what all of them did, beside what its weight entitles
    it to. A turn of a burner is one block of known length, so turns of different ISAs can be compared."""
    from sandbox.guests import guest
    from sandbox.loader import read_symbols

    with hypervisor.enter():  # nobody begins another turn while they are being paused
        for vm in burners:
            if vm.state == "running":
                vm.pause()
    work = []
    for vm in burners:
        symbols = read_symbols(guest("burner", vm.isa_name).program()).by_name
        if vm.state != "paused":
            work.append((0, 0))
            continue
        turns = int.from_bytes(vm.memory.read(symbols["iterations"], 8), "little")
        work.append((turns, turns * (symbols["turn_end"] - symbols["turn"])))
    total = sum(done for _, done in work) or 1
    weights = sum(vm.config.weight for vm in burners)
    rows = []
    for vm, (turns, done) in zip(burners, work, strict=True):
        share, due = done / total, vm.config.weight / weights
        rows.append(
            {
                "name": vm.name,
                "arch": vm.isa_name,
                "weight": vm.config.weight,
                "counted": turns,
                "code_bytes": done,
                "received": share,
                "entitled": due,
                "ratio": share / due,
            }
        )
    return rows


_COLUMNS = {
    "name": "VM",
    "arch": "ISA",
    "weight": "WEIGHT",
    "counted": "GUEST'S COUNT",
    "received": "RECEIVED",
    "entitled": "ENTITLED",
    "ratio": "RATIO",
}


def _print(rows: list[dict[str, Any]], as_json: bool, changes: list[str]) -> None:
    """Without what was due, when `changes` say that the weights were not all there was to it."""
    if changes:
        rows = [{**row, "entitled": None, "ratio": None} for row in rows]
    if as_json:
        show_json(rows)
        return
    shown = []
    for row in rows:
        percents = {name: f"{row[name]:.2%}" for name in ("received", "entitled") if row[name] is not None}
        ratio = None if row["ratio"] is None else f"{row['ratio']:.4f}"
        shown.append({**row, **percents, "counted": f"{row['counted']:,}", "ratio": ratio})
    columns = {key: title for key, title in _COLUMNS.items() if not changes or key not in ("entitled", "ratio")}
    show(shown, columns, False)
    if changes:
        print(f"{' and '.join(changes)} meanwhile: the weights do not say what was due", file=sys.stderr)
        return
    worst = max(abs(row["ratio"] - 1) for row in rows)
    print(f"the largest difference from the due share is {worst:.2%}", file=sys.stderr)
