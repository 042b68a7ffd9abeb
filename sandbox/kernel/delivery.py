"""Where a pending signal takes effect: just before its task goes back to user code.

Default actions are carried out here; a handler of the guest is entered through a frame that `sandbox.kernel.frames`
builds. A call that the signal found asleep ends with EINTR or is issued anew (signal(7), "Interruption of system
calls by signal handlers").
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sandbox.abi.errno import EINTR, Errno
from sandbox.abi.signals import (
    DEFAULTS,
    SA_NODEFER,
    SA_RESETHAND,
    SA_RESTART,
    SI_TIMER,
    SIG_DFL,
    SIG_IGN,
    SIGKILL,
    SIGSEGV,
    SIGSTOP,
    UNBLOCKABLE,
    Default,
    bit,
    signal_name,
)
from sandbox.kernel import crash, frames
from sandbox.kernel.lifecycle import end_process, is_orphaned_group, signal_word
from sandbox.kernel.signals import DEFAULT_ACTION, Action, SignalInfo, kernel_signal

if TYPE_CHECKING:
    from sandbox.kernel.task import Task


def take_signal(task: Task, allowed: int) -> SignalInfo | None:
    """The next pending signal in `allowed`: the task's own before the process's."""
    info = task.signals.pending.take(allowed) or task.process.pending.take(allowed)
    if info is not None and info.code == SI_TIMER:
        timer = task.process.timers.get(info.timer)
        if timer is not None:
            timer.taken(info)
    return info


def deliver(task: Task) -> None:
    """Act on what is pending until the task may run, is stopped, or has ended."""
    process = task.process
    while task.state == "ready":
        info = take_signal(task, ~task.signals.mask)
        if info is None:
            break
        number = info.number
        task.kernel.stats.signals[signal_name(number)] += 1
        action = process.actions[number]
        if number in (SIGKILL, SIGSTOP):
            action = DEFAULT_ACTION
        if action.handler == SIG_IGN:
            continue
        if action.handler == SIG_DFL:
            _default(task, info)
            continue
        _enter_handler(task, info, action)  # what this frame's mask lets through comes before its first instruction
    task.attention = False
    if task.state == "ready" and task.call is None and task.signals.saved_mask is not None:
        # A call that had swapped the mask has ended without a handler.
        task.signals.mask, task.signals.saved_mask = task.signals.saved_mask, None
        task.attention = True


def _default(task: Task, info: SignalInfo) -> None:
    process, number = task.process, info.number
    match DEFAULTS[number]:
        case Default.TERMINATE | Default.CORE:
            crash.note_fatal_signal(task, info)
            end_process(process, signal_word(number))
        case Default.STOP:
            if number == SIGSTOP or not is_orphaned_group(process, process.group):
                process.stop(number)
        case Default.IGNORE | Default.CONTINUE:
            pass


def _enter_handler(task: Task, info: SignalInfo, action: Action) -> None:
    signals = task.signals
    end_interrupted_call(task, restart=bool(action.flags & SA_RESTART))
    saved_mask = signals.mask if signals.saved_mask is None else signals.saved_mask
    signals.saved_mask = None
    try:
        frames.enter(task, info, action, saved_mask)
    except Errno:
        # No room for the frame: the process dies of SIGSEGV, unless another handler takes that.
        if info.number == SIGSEGV:
            task.process.actions[SIGSEGV] = DEFAULT_ACTION
        signals.mask = saved_mask & ~bit(SIGSEGV)
        signals.pending.add(kernel_signal(SIGSEGV, "the stack has no room for a signal frame"))
        return
    blocked = action.mask if action.flags & SA_NODEFER else action.mask | bit(info.number)
    signals.mask = (signals.mask | blocked) & ~UNBLOCKABLE
    if action.flags & SA_RESETHAND:
        task.process.actions[info.number] = replace(action, handler=SIG_DFL)  # its flags stay, for sigaction to see


def end_interrupted_call(task: Task, restart: bool) -> None:
    """The call the task slept in is over: issue it anew after the handler, or answer EINTR."""
    if task.call is None:
        return
    context = task.context
    done = task.restart.get("done", 0)
    if done:  # a transfer that had begun counts as a short one
        context.set_result(done)
    elif restart and task.restartable:
        frames.repeat_call(task)
    else:
        context.set_result(-EINTR)
    task.kernel.finish_call(task)
