"""Signal frames: what the kernel leaves on a task's stack when it enters a handler, and takes back at rt_sigreturn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi.errno import EFAULT, Errno
from sandbox.kernel.signals import Action, SignalInfo

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

THUMB = 1 << 5


def syscall_length(task: Task) -> int:
    """Bytes of the instruction that made the call: a restart goes back so far."""
    if task.isa == "arm" and task.context["cpsr"] & THUMB:
        return 2
    return task.kernel.isa.syscall_length


def enter(task: Task, info: SignalInfo, action: Action, saved_mask: int) -> None:
    """Make the task continue in its handler. Raises Errno(EFAULT) when the frame cannot be written."""
    raise Errno(EFAULT)


def leave(task: Task) -> None:
    """rt_sigreturn."""


def leave_old(task: Task) -> None:
    """sigreturn."""
