"""Breakpoints of a machine: a task that comes to one is shown to the debugger, once, and then goes past it.

The engine stops before the instruction (`Engine.set_breakpoints`). `kernel.passed` remembers, by task, the breakpoint
that it stands at and that the debugger has been told of; whoever moves the pc away from it forgets it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.engine import StopReason

if TYPE_CHECKING:
    from sandbox.engine import Engine, Stop
    from sandbox.kernel.linux import LinuxMachine
    from sandbox.kernel.task import Task


def serve(kernel: LinuxMachine, task: Task, address: int) -> None:
    """Tell the debugger; the task goes on from there, unless the debugger has sent it elsewhere."""
    kernel.passed[task.tid] = address
    if kernel.on_breakpoint is not None:
        kernel.on_breakpoint(task, address)


def leave(kernel: LinuxMachine, engine: Engine, task: Task, budget: int) -> Stop:
    """As engine.run, but past the breakpoint that the task stands at."""
    context = task.context
    if kernel.passed.get(task.tid) != context.pc:
        kernel.passed.pop(task.tid, None)
        return engine.run(context, task.space, budget)
    stop = engine.step(context, task.space)
    if stop.reason is not StopReason.FAULT:
        kernel.passed.pop(task.tid, None)
    return stop
