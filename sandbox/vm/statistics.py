"""What a VM has used, as one frozen picture.

Times are seconds. `work` counts what the guest executed, in `work_unit`; None when nothing counted it
(free-running engines count nothing). `cpu_seconds` includes the kernel's work for the VM; virtual seconds when
deterministic.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from sandbox.machine import Machine

PAGE = 4096
WORK_UNIT = "code bytes"


@dataclass(frozen=True, slots=True)
class Statistics:
    """One VM's figures; plain data that can be kept."""

    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0  # since it was first started
    work: int | None = None
    work_unit: str | None = None
    wait_seconds: float = 0.0  # asleep: nothing to run
    steal_seconds: float = 0.0  # something to run, and other VMs had the processors
    throttled_seconds: float = 0.0  # something to run, and its own cap used up
    paused_seconds: float = 0.0
    turns: int = 0
    starts: int = 0
    memory: int = 0  # bytes
    peak_memory: int = 0
    memory_limit: int = 0
    tasks: int = 0
    files: int = 0
    syscall_count: int = 0
    fault_count: int = 0
    tlb_misses: int = 0
    input_bytes: int = 0  # through the console
    output_bytes: int = 0
    syscalls: dict[str, int] = field(default_factory=dict)
    unknown_syscalls: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    signals: dict[str, int] = field(default_factory=dict)
    kernel_bugs: int = 0

    @property
    def peak_frames(self) -> int:
        return self.peak_memory // PAGE

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for `--stats` and the control protocol."""
        return {**asdict(self), "peak_frames": self.peak_frames}


def machine_figures(machine: Machine) -> dict[str, Any]:
    """What the machine itself counts, as far as its kind does."""
    figures: dict[str, Any] = {}
    stats = getattr(machine, "stats", None)
    if stats is not None and hasattr(stats, "as_dict"):
        counted = stats.as_dict()
        for name in ("syscalls", "unknown_syscalls", "faults", "signals", "kernel_bugs"):
            if name in counted:
                figures[name] = counted[name]
        figures["syscall_count"] = sum(figures.get("syscalls", {}).values())
        figures["fault_count"] = sum(figures.get("faults", {}).values())
    tasks = getattr(machine, "tasks", None)
    if tasks is not None:
        figures["tasks"] = len(tasks)
    budget = getattr(machine, "file_budget", None)
    if budget is not None:
        figures["files"] = budget.used
    return figures


def syscall_count(machine: Machine) -> int | None:
    """Cheap enough to ask after every turn; None for machines without system calls."""
    stats = getattr(machine, "stats", None)
    calls = getattr(stats, "calls", None)
    return sum(calls.values()) if calls is not None else None
