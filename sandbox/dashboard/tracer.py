"""The system calls of one VM while their tab is open: lines of its trace, cut into the parts that are shown."""

from __future__ import annotations

from collections import Counter, deque

from sandbox.dashboard.view import SyscallsView, SyscallView
from sandbox.vm import VM

_KEPT = 500


class Tracer:
    def __init__(self) -> None:
        self._vm: VM | None = None
        self._calls: deque[SyscallView] = deque(maxlen=_KEPT)
        self._count = 0
        self._errors: Counter[str] = Counter()

    def watch(self, vm: VM | None) -> None:
        """Follow this VM and no other; None: nobody."""
        if vm is self._vm:
            return
        if self._vm is not None:
            self._vm.trace(None)
        self._vm = vm
        self._calls.clear()
        self._errors.clear()
        self._count = 0
        if vm is not None:
            vm.trace(self._write)

    def _write(self, line: str) -> None:
        """Called by the thread that runs the guest."""
        call = parse(line, self._count)
        self._count += 1
        if call.error:
            self._errors[call.name] += 1
        self._calls.append(call)

    def view(self, vm: VM) -> SyscallsView:
        figures = vm.stats
        errors = self._errors
        top = Counter(figures.syscalls).most_common(10)
        return SyscallsView(
            recent=tuple(self._calls),
            top=tuple((name, calls, errors[name]) for name, calls in top),
            total=figures.syscall_count,
            unknown=tuple(sorted(figures.unknown_syscalls.items())),
        )


def parse(line: str, sequence: int) -> SyscallView:
    """A line of the trace: `[tid] name(arguments)   = result`."""
    task = 1
    if line.startswith("["):
        number, _, line = line[1:].partition("] ")
        task = int(number) if number.isdigit() else 1
    head, _, result = line.rpartition(" = ")
    name, _, arguments = head.partition("(")
    value, _, error = result.partition(" ")
    return SyscallView(
        sequence, task, name, arguments.rstrip().removesuffix(")").encode("utf-8", "surrogateescape"), value, error
    )
