"""One instruction at a time: a machine's own run loop on an engine that steps.

The machine cannot tell: it hands the stepping engine a budget of 1 and serves whatever stops it, so a system call,
a page fault or a signal in the middle of stepping is what it would be at full speed.
"""

from __future__ import annotations

from typing import Any

from sandbox.engine import Context, Engine, Stop, StopReason
from sandbox.errors import StateError
from sandbox.machine import Activity, Machine, Outcome

TRIES = 64  # stops without an instruction (page faults of one instruction, signals) before something must be wrong


class SteppingEngine:
    """What a machine uses of an engine; `done` counts instructions."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.exact = True
        self.done = 0

    def run(self, context: Context, space: Any, budget: int) -> Stop:
        stop = self._engine.step(context, space)
        if stop.reason is not StopReason.FAULT:
            self.done += 1
        stop.work = max(1, stop.work)
        return stop

    def step(self, context: Context, space: Any) -> Stop:
        return self.run(context, space, 1)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def step(machine: Machine, engine: Engine, count: int) -> Outcome:
    """Run `count` instructions, or fewer when the machine ends or all of its tasks wait."""
    stepping: Any = SteppingEngine(engine)
    getattr(machine, "passed", {}).clear()  # a step passes breakpoints by itself
    outcome = Outcome(Activity.RUNNABLE, 0)
    while stepping.done < count:
        before = stepping.done
        for _ in range(TRIES):
            outcome = machine.run(stepping, 1)
            if stepping.done > before or outcome.activity is not Activity.RUNNABLE:
                break
        else:
            raise StateError("the instruction does not come to an end")
        if outcome.activity is not Activity.RUNNABLE:
            break
    return outcome
