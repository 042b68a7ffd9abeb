"""The table of tabs: name, key, short title for narrow screens, who draws it, and what it needs of a source.

A new panel is a file in `panels/` and a row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.text import Text

from sandbox.dashboard.interface import Interface
from sandbox.dashboard.palette import Look
from sandbox.dashboard.panels import console, devices, events, files, memory, registers, scheduler, syscalls, tasks
from sandbox.dashboard.view import View

Render = Callable[[View, Interface, int, int, Look], list[Text]]


@dataclass(frozen=True, slots=True)
class Tab:
    name: str
    short: str
    render: Render
    parts: frozenset[str]  # of view.DetailView, or "events", "scheduler"
    help: str
    from_end: bool = False  # scrolls up from its newest row


def _tab(name: str, short: str, render: Render, parts: str, words: str, from_end: bool = False) -> Tab:
    return Tab(name, short, render, frozenset(parts.split()), words, from_end)


TABS = (
    _tab("console", "console", console.render, "console", "console: what it printed", True),
    _tab("registers", "regs", registers.render, "processor", "registers, code, stack"),
    _tab("tasks", "tasks", tasks.render, "tasks", "tasks: processes, threads"),
    _tab("memory", "mem", memory.render, "memory", "memory: regions, pages, hex"),
    _tab("syscalls", "calls", syscalls.render, "syscalls", "system calls as they happen", True),
    _tab("files", "files", files.render, "files", "files: mounts, open, tree"),
    _tab("devices", "dev", devices.render, "devices", "devices of a board"),
    _tab("events", "events", events.render, "events", "events of all VMs", True),
    _tab("scheduler", "sched", scheduler.render, "scheduler", "scheduler: who ran when"),
)
BY_NAME = {tab.name: tab for tab in TABS}


def next_tab(name: str, by: int) -> str:
    names = [tab.name for tab in TABS]
    return names[(names.index(name) + by) % len(names)]
