"""What poll, select and epoll share: deadlines that survive a sleep, and signal masks that hold only meanwhile.

A call that waits is run again from the start whenever one of its queues is woken, so what must stay the same is kept
in `task.restart`: "deadline" (absolute, the machine's monotonic clock) and "mask" (it has been swapped already).
Source: fs/select.c, kernel/signal.c (`set_user_sigmask`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from sandbox.abi.errno import EINVAL, Errno
from sandbox.kernel.signals import set_mask
from sandbox.wait import Block, WaitQueue

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

SIGSET_SIZE = 8


def deadline_after(task: Task, timeout: int | None) -> int | None:
    """The absolute deadline of a call that waits at most `timeout` nanoseconds; None waits for ever."""
    if timeout is None:
        return None
    deadline = task.restart.get("deadline")
    if deadline is None:
        deadline = task.restart["deadline"] = task.kernel.clock.monotonic() + timeout
    return int(deadline)


def wait(task: Task, deadline: int | None, queues: Iterable[WaitQueue]) -> None:
    """Sleep until any of `queues` is woken; return when the deadline has passed."""
    if deadline is not None and task.kernel.clock.monotonic() >= deadline:
        return
    raise Block(*dict.fromkeys(queues), deadline=deadline, restart=False)


def remaining(task: Task, deadline: int | None) -> int:
    return 0 if deadline is None else max(0, deadline - task.kernel.clock.monotonic())


def with_mask(task: Task, address: int, size: int, call: Callable[[], int]) -> int:
    """Run `call` with the signal mask at `address` (0: the present one) in force. When a handler of the guest ends
    the sleep, it is entered with that mask and returns to the old one: `Task.signals.saved_mask`."""
    if address and "mask" not in task.restart:
        if size != SIGSET_SIZE:
            raise Errno(EINVAL)
        mask = int.from_bytes(task.space.copy_in(address, SIGSET_SIZE), "little")
        task.restart["mask"] = True
        task.signals.saved_mask = task.signals.mask
        set_mask(task, mask)
    try:
        result = call()
    except Block:
        raise
    except BaseException:
        _restore_mask(task)
        raise
    _restore_mask(task)
    return result


def _restore_mask(task: Task) -> None:
    if task.restart.pop("mask", False) and task.signals.saved_mask is not None:
        set_mask(task, task.signals.saved_mask)
        task.signals.saved_mask = None
