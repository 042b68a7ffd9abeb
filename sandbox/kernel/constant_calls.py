"""Calls that the engine can answer: getpid and its like, whose answer is known beforehand, the time, and
sched_yield of a task that is alone. They take no stop.

A task that makes such a call more than a few times gets its answers put into its `Context`, from where the engine
gives them in the midst of translated code; counts are fetched when the task's turn ends. Whatever changes an answer
(setuid, execve, a new parent) calls `forget`: the next call comes here again and finds the new truth. Nobody is left
out who watches: under a trace or observers every call stops. So it is in a deterministic machine, where a call takes
virtual time, which must not depend on who answers it.
Neighbours: `sys_process`, `sys_identity` and `sys_time` (the rows), `linux` (the loop), `engine.context` (the table).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from sandbox.abi.numbers import NUMBERS
from sandbox.clock import HostClock
from sandbox.engine import layout

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

Getter = Callable[["Task"], int]
CALLS_BEFORE = 4  # most programs ask once or twice: a table (some KiB) is for those that go on asking

_getters: dict[tuple[str, str], Getter] = {}
_TIMES = {
    **{(isa, "clock_gettime"): layout.TIMESPEC_64 for isa in ("x86_64", "arm64", "riscv64")},
    **{(isa, "gettimeofday"): layout.TIMEVAL_64 for isa in ("x86_64", "arm64", "riscv64")},
    **{(isa, "clock_gettime"): layout.TIMESPEC_32 for isa in ("i386", "arm")},
    **{(isa, "clock_gettime64"): layout.TIMESPEC_64 for isa in ("i386", "arm")},
    **{(isa, "gettimeofday"): layout.TIMEVAL_32 for isa in ("i386", "arm")},
}


def constant(name: str, isas: tuple[str, ...], getter: Getter) -> Getter:
    """The handler to put into the row of `name`, which answers what `getter` says."""
    for isa in isas or tuple(NUMBERS):
        if name in NUMBERS[isa]:
            _getters[isa, name] = getter

    def answer(task: Task) -> int:
        asked(task)
        return getter(task)

    return answer


def asked(task: Task) -> None:
    """It has made a call that the engine might answer from now on."""
    task.constant_calls += 1
    if task.constant_calls > CALLS_BEFORE and not task.context.words.constants_count:
        _leave_to_engine(task)


@cache
def _of_isa(isa: str) -> tuple[tuple[int, Getter], ...]:
    return tuple((NUMBERS[isa][name], getter) for (known, name), getter in _getters.items() if known == isa)


@cache
def _times_of_isa(isa: str) -> dict[int, int]:
    return {NUMBERS[isa][name]: kind for (known, name), kind in _TIMES.items() if known == isa}


def _leave_to_engine(task: Task) -> None:
    kernel = task.kernel
    if kernel.deterministic or kernel.trace is not None or kernel.observers:
        return
    values = {number: getter(task) for number, getter in _of_isa(task.isa)}
    if len(kernel.tasks) == 1:
        values[NUMBERS[task.isa]["sched_yield"]] = 0  # there is nobody to make way for
    task.context.set_constants(values, _times_of_isa(task.isa) if isinstance(kernel.clock, HostClock) else None)


def end_solitude(task: Task) -> None:
    """It is not the only task any more: sched_yield means something."""
    task.context.withdraw_constant(NUMBERS[task.isa]["sched_yield"])


def count(task: Task) -> None:
    """Add what the engine has answered to the statistics."""
    if task.context.words.constants_count:
        calls = task.kernel.stats.calls
        for number, times in task.context.take_constant_counts().items():
            calls[number] = calls.get(number, 0) + times


def forget(task: Task) -> None:
    """The answers may have changed, or somebody wants to see the calls."""
    if task.context.words.constants_count:
        count(task)
        task.context.set_constants({})
