"""The loop that runs the tasks of a Linux machine.

`run_tasks` takes the next ready task, lets the engine run it, and serves the stop: a syscall is dispatched, a fault
resolved or turned into a signal. It returns when the budget is used up, when every task waits, or when process 1 has
ended, which ends the machine. Tasks of one machine never run at the same moment.

Every turn of every VM passes here, and every syscall: the loop keeps to local names and allocates nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.engine import Engine, StopReason
from sandbox.kernel import breakpoints, constant_calls
from sandbox.kernel.delivery import deliver
from sandbox.kernel.dispatch import dispatch, dispatch_observed
from sandbox.kernel.faults import serve_stop
from sandbox.kernel.interval import check_cpu_time
from sandbox.machine import Activity, Outcome

if TYPE_CHECKING:
    from sandbox.kernel.linux import LinuxMachine
    from sandbox.kernel.task import Task

QUANTUM = 100_000  # code bytes a task runs before the next one has its turn
QUANTUM_NANOSECONDS = 1_000_000
CALL_CHARGE = 300  # code bytes of the budget that a syscall costs: the kernel's work is charged to its machine
CALL_TIME = 200  # nanoseconds of virtual time that a syscall takes
SLEEP_CHARGE = 2_000  # for jumping to a deadline, so that a machine that only sleeps lets others run
MOST_FAULTS = 1 << 16  # page faults in a row without a block between them before a turn ends: no guest needs so many

# Names of what every turn needs: an enumeration's members are slow to look up.
_RUNNABLE, _WAITING, _EXITED = Activity.RUNNABLE, Activity.WAITING, Activity.EXITED
_SYSCALL, _BUDGET = StopReason.SYSCALL, StopReason.BUDGET


def run_tasks(kernel: LinuxMachine, engine: Engine, budget: int) -> Outcome:
    """The machine's turn; the outcome is valid until the next one."""
    quantum = QUANTUM if engine.exact else QUANTUM_NANOSECONDS
    left = budget
    work = 0
    outcome = kernel.outcome
    outcome.deadline = None
    ready = kernel.ready
    while True:
        now = kernel.clock.monotonic()
        kernel.timers.expire(now)
        task = None
        while ready:
            first = ready.popleft()
            first.queued = False
            if first.state == "ready":
                task = first
                break
        if task is None:
            deadline = kernel.timers.next()
            if kernel.virtual is None or not kernel.virtual.jumps or deadline is None:
                outcome.activity = _WAITING
                outcome.deadline = deadline
                break
            kernel.virtual.advance(max(0, deadline - now))
            left -= SLEEP_CHARGE
        else:
            share = left
            if left > quantum and (ready or task.process.cpu_timers or kernel.timers.next() is not None):
                share = quantum
            used, done = _run_task(kernel, engine, task, share if share > 0 else 1, now)
            left -= used
            work += done
            if kernel.doomed is not None:
                kernel.die(*kernel.doomed)
            if kernel.exit_status is not None:
                outcome.activity = _EXITED
                break
            if task.state == "ready" and not task.queued:
                task.queued = True
                ready.append(task)
        if left <= 0 or kernel.halted:
            kernel.halted = False
            outcome.activity = _RUNNABLE
            break
    outcome.work = work
    outcome.used = budget - left
    return outcome


def _run_task(kernel: LinuxMachine, engine: Engine, task: Task, budget: int, now: int) -> tuple[int, int]:
    """Run one task until it sleeps, ends or has used `budget`; return (budget used, code bytes done).

    A page fault that is resolved costs nothing in exact mode, and the block that it interrupted is finished even when
    nothing of the budget is left: so a turn ends at the same place, whatever pages were missing."""
    kernel.current = task
    kernel.slice_start = now
    kernel.stats.switches += 1
    if task.tls_entries:
        kernel.show_tls(task)
    observed: bool | None = None  # found out at the first syscall
    if task.constant_calls and (kernel.trace is not None or kernel.observers):
        constant_calls.forget(task)
    exact = engine.exact
    virtual = kernel.virtual
    context = task.context
    end = now + budget
    left = budget
    work = faults = 0
    while left > 0 or faults:
        pending = task.call
        if pending is not None:  # it was asleep in this call
            number, arguments = pending
        else:
            if task.attention:
                deliver(task)
                if task.state != "ready":
                    break
            wanted = kernel.breakpoints
            if engine.breakpoints is not wanted and engine.breakpoints != wanted:
                engine.set_breakpoints(wanted)
            given = left if left > 0 else 0
            stop = (
                breakpoints.leave(kernel, engine, task, given)
                if kernel.passed
                else engine.run(context, task.space, given)
            )
            done = stop.work
            work += done
            if virtual is not None:
                virtual.advance(done)
            reason = stop.reason
            if exact:
                left -= done
            elif reason is not _BUDGET:
                left = end - kernel.clock.monotonic()
            if kernel.doomed is not None:
                break
            if reason is not _SYSCALL:
                if reason is _BUDGET:
                    if not exact:
                        left = 0
                    break
                resolved = serve_stop(kernel, engine, task, stop)
                if task.state != "ready" or kernel.exit_status is not None or kernel.doomed is not None:
                    break
                if kernel.halted:
                    break
                if resolved and exact:
                    faults = 1 if done and left > 0 else faults + 1
                    if faults > MOST_FAULTS:
                        left = 0
                        break
                else:
                    left -= 1
                    faults = 0
                continue
            faults = 0
            number, arguments = stop.number, stop.arguments
            counts = kernel.stats.calls
            counts[number] = counts.get(number, 0) + 1
        if observed is None:
            observed = kernel.trace is not None or bool(kernel.observers)
        result = dispatch_observed(task, number, arguments) if observed else dispatch(task, number, arguments)
        kernel.recent.append((task.tid, number, arguments, result))
        if exact:
            left -= CALL_CHARGE
            if virtual is not None:
                virtual.advance(CALL_TIME)
        if result is not None:
            context.set_result(result)
            if pending is not None or task.restart:
                kernel.finish_call(task)
            if kernel.yielded or task.state != "ready":
                kernel.yielded = False
                break
        elif task.state != "ready":
            if kernel.gave_way:
                kernel.gave_way = False
                if exact:
                    left = 0  # what a piece of a long call costs: the rest of the turn
            break
        elif task.call is not None:
            deliver(task)  # a signal interrupts the call
            if task.state != "ready":
                break
        else:
            context = task.context
        if kernel.doomed is not None or kernel.exit_status is not None or kernel.halted:
            break
    finished = kernel.clock.monotonic()
    task.usage.user += finished - kernel.slice_start
    if not exact and end - finished < left:
        left = end - finished  # a call that went to sleep has cost something, too
    if task.constant_calls:
        constant_calls.count(task)
    kernel.current = None
    if task.process.cpu_timers or task.process.cpu_limited:
        check_cpu_time(task)
    return budget - left, work
