"""The states of a VM and the legal ways between them, as a table.

Operations that arrive too late (`stop` of a VM that has just ended by itself) are not errors; the table says so by
leading from the state to itself. Everything not in it is refused with a sentence.
"""

from __future__ import annotations

from sandbox.errors import StateError

STATES = ("created", "running", "paused", "stopped", "crashed")
ENDED = ("stopped", "crashed")

TRANSITIONS: dict[tuple[str, str], str] = {
    ("created", "start"): "running",
    ("running", "pause"): "paused",
    ("paused", "pause"): "paused",
    ("paused", "resume"): "running",
    ("running", "resume"): "running",
    ("running", "stop"): "running",  # asked to end; it goes on until it does, or until the grace is over
    ("paused", "stop"): "running",  # it must run to hear of it
    ("running", "exit"): "stopped",
    ("paused", "exit"): "stopped",  # stepped to its end
    ("running", "crash"): "crashed",
    ("paused", "crash"): "crashed",
    ("running", "kill"): "stopped",
    ("paused", "kill"): "stopped",
    ("stopped", "start"): "running",
    ("crashed", "start"): "running",
    ("stopped", "stop"): "stopped",
    ("stopped", "kill"): "stopped",
    ("crashed", "stop"): "crashed",
    ("crashed", "kill"): "crashed",
    ("created", "remove"): "created",
    ("stopped", "remove"): "stopped",
    ("crashed", "remove"): "crashed",
}

ADVICE = {
    "start": "it has been started already",
    "pause": "only a running VM can be paused",
    "resume": "only a paused VM can be resumed",
    "stop": "it has not been started",
    "kill": "it has not been started",
    "remove": "stop or kill it first",
}


class Lifecycle:
    """Where one VM stands. `removed` is for ever."""

    __slots__ = ("removed", "state")

    def __init__(self) -> None:
        self.state = "created"
        self.removed = False

    def check(self, action: str, name: str) -> str:
        """The state that `action` leads to; StateError when it is not legal now."""
        if self.removed:
            raise StateError(f"{name} has been removed")
        target = TRANSITIONS.get((self.state, action))
        if target is None:
            raise StateError(f"cannot {action} {name}, which is {self.state}: {ADVICE.get(action, 'not possible now')}")
        return target

    def move(self, action: str, name: str) -> str:
        self.state = self.check(action, name)
        return self.state

    @property
    def ended(self) -> bool:
        return self.state in ENDED
