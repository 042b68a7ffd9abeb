"""The system calls of one VM while their tab is open: lines of its trace, cut into the parts that are shown, and how
long each took. Nothing is traced or timed while nobody looks."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

from sandbox.dashboard.view import FrequentView, SyscallsView, SyscallView
from sandbox.vm import VM

_KEPT = 500
_MOST_NAMES = 1000


@dataclass(slots=True)
class _Seen:
    """Calls of one name."""

    timed: int = 0
    nanoseconds: int = 0
    longest: int = 0
    errors: int = 0


class Tracer:
    def __init__(self) -> None:
        self._vm: VM | None = None
        self._calls: deque[SyscallView] = deque(maxlen=_KEPT)
        self._count = 0
        self._seen: dict[str, _Seen] = {}

    def watch(self, vm: VM | None) -> None:
        """Follow this VM and no other; None: nobody."""
        if vm is self._vm:
            return
        if self._vm is not None:
            self._vm.trace(None)
        self._vm = vm
        self._calls.clear()
        self._seen = {}
        self._count = 0
        if vm is not None:
            vm.trace(self._write, timed=True)

    def _write(self, line: str, took: int | None) -> None:
        """Called by the thread that runs the guest."""
        call = parse(line, self._count, took)
        self._count += 1
        seen = self._seen.get(call.name)
        if seen is None:
            if len(self._seen) >= _MOST_NAMES:  # a guest may call what there is not, under any number
                self._seen.clear()
            seen = self._seen[call.name] = _Seen()
        seen.errors += bool(call.error)
        if took is not None:
            seen.timed += 1
            seen.nanoseconds += took
            seen.longest = max(seen.longest, took)
        self._calls.append(call)

    def view(self, vm: VM) -> SyscallsView:
        figures = vm.stats
        return SyscallsView(
            recent=tuple(self._calls),
            top=tuple(self._frequent(name, calls) for name, calls in Counter(figures.syscalls).most_common(10)),
            total=figures.syscall_count,
            unknown=tuple(sorted(figures.unknown_syscalls.items())),
        )

    def _frequent(self, name: str, calls: int) -> FrequentView:
        seen = self._seen.get(name)
        if seen is None:
            return FrequentView(name, calls)
        if not seen.timed:
            return FrequentView(name, calls, seen.errors)
        return FrequentView(name, calls, seen.errors, seen.nanoseconds / seen.timed, seen.longest)


def parse(line: str, sequence: int, took: int | None = None) -> SyscallView:
    """A line of the trace: `[tid] name(arguments)   = result`."""
    task = 1
    if line.startswith("["):
        number, _, line = line[1:].partition("] ")
        task = int(number) if number.isdigit() else 1
    head, _, result = line.rpartition(" = ")
    name, _, arguments = head.partition("(")
    value, _, error = result.partition(" ")
    return SyscallView(
        sequence,
        task,
        name,
        arguments.rstrip().removesuffix(")").encode("utf-8", "surrogateescape"),
        value,
        error,
        took,
    )
