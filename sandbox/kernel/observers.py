"""Who watches the syscalls of a machine, and who is told when our own code fails. Free when nobody listens.

A spectator must not stop the play: an observer that raises is dropped, and that is said.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.events import Defect, Recorder

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

# Asked before a call that it observes; returning a number replaces the call by that result.
SyscallObserver = Callable[["Task", str, tuple[int, ...]], "int | None"]


EVERY = "*"  # in place of a name: all calls


class Observers:
    __slots__ = ("_by_name", "_events")

    def __init__(self, events: Recorder | None) -> None:
        self._by_name: dict[str, list[SyscallObserver]] = {}
        self._events = events

    def __bool__(self) -> bool:
        return bool(self._by_name)

    def add(self, name: str, observer: SyscallObserver) -> Callable[[], None]:
        """The function returned ends it."""
        self._by_name.setdefault(name, []).append(observer)
        return lambda: self._remove(name, observer)

    def _remove(self, name: str, observer: SyscallObserver) -> None:
        observers = self._by_name.get(name, [])
        if observer in observers:
            observers.remove(observer)
            if not observers:
                del self._by_name[name]

    def ask(self, task: Task, name: str, arguments: tuple[int, ...]) -> int | None:
        """The result that replaces the call (the last observer's word counts), or None."""
        result = None
        for wanted in (name, EVERY):
            for observer in tuple(self._by_name.get(wanted, ())):
                try:
                    answer = observer(task, name, arguments)
                except Exception as error:
                    self._remove(wanted, observer)
                    self.defect(f"observer of {name}", error)
                    continue
                if answer is not None:
                    result = answer
        return result

    def defect(self, where: str, error: BaseException) -> None:
        """Our own code failed while it served this machine."""
        if self._events is not None:
            self._events.record(Defect(where, f"{type(error).__name__}: {error}"))
