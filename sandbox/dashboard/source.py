"""Where views come from and where actions go: the seam between the dashboard and the machines.

`Source` is implemented by `collector.Collector` for a hypervisor in this process, and by the client of the
control socket for a fleet elsewhere; tests use one made of samples. Only plain data crosses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sandbox.dashboard.view import View


@dataclass(frozen=True, slots=True)
class Wish:
    """What the next picture needs, so that a source does no work for panels that are closed."""

    first: int = 0
    count: int = 20  # rows of the VM list
    sort: str = "name"
    descending: bool = False
    filter: str = ""
    selected: str = ""
    parts: frozenset[str] = frozenset()  # fields of DetailView, and "events", "scheduler"
    address: int | str | None = None  # for the hex view: a number, a symbol, or the stack pointer
    hex_bytes: int = 256
    instructions: int = 16


@dataclass(frozen=True, slots=True)
class Request:
    """An action on one VM (or, with an empty `vm`, on the scheduler)."""

    verb: str
    vm: str = ""
    value: str | int | float | bytes | None = None


@dataclass(frozen=True, slots=True)
class Done:
    message: str = ""
    undo: Request | None = None


class Source(Protocol):
    read_only: bool

    def observe(self, wish: Wish) -> View:
        """A picture of now. Cheap: it is called ten times a second."""

    def perform(self, request: Request) -> Done:
        """Carry it out or raise SandboxError with a sentence."""

    def symbols(self, vm: str, prefix: str, limit: int = 20) -> list[str]:
        """Names in the VM's program that begin with `prefix`, for completion."""

    def version(self) -> int:
        """Changes whenever something happened that is worth a new picture."""
