"""What a kernel counts. Cheap while running (integers by number), named when somebody asks."""

from __future__ import annotations

from collections import Counter

from sandbox.abi.numbers import NAMES

MOST_UNKNOWN = 256  # numbers told apart: a guest may call as many as it likes
OTHERS = -1


class KernelStats:
    """`calls` counts by syscall number, `faults` and `signals` by kind, `unknown` by the name or number refused."""

    __slots__ = ("bugs", "calls", "faults", "isa", "signals", "switches", "unknown")

    def __init__(self, isa: str) -> None:
        self.isa = isa
        self.calls: dict[int, int] = {}
        self.unknown: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.signals: Counter[str] = Counter()
        self.switches = 0  # a task was given the CPU
        self.bugs = 0  # handlers that raised what they must not: our mistakes

    def refuse(self, number: int, name: str) -> None:
        """There is no such call; it has been counted among `calls`."""
        if name not in self.unknown and len(self.unknown) >= MOST_UNKNOWN:
            self.calls[OTHERS] = self.calls.get(OTHERS, 0) + self.calls.pop(number, 0)
            name = "others"
        self.unknown[name] += 1

    @property
    def syscalls(self) -> Counter[str]:
        """By name, most frequent first in `most_common`."""
        names = {**NAMES[self.isa], OTHERS: "others"}
        return Counter({names.get(number, f"syscall_{number}"): count for number, count in self.calls.items()})

    def as_dict(self) -> dict[str, object]:
        """Plain data for `--stats`."""
        return {
            "syscalls": dict(sorted(self.syscalls.items(), key=lambda item: (-item[1], item[0]))),
            "unknown_syscalls": dict(sorted(self.unknown.items())),
            "faults": dict(sorted(self.faults.items())),
            "signals": dict(sorted(self.signals.items())),
            "task_switches": self.switches,
            "kernel_bugs": self.bugs,
        }
