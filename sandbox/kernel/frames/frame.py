"""What the frame builders share: the result of a restore, room on the stack, and where a handler returns to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.abi.errno import EFAULT, Errno
from sandbox.abi.signals import SA_RESTORER
from sandbox.kernel.frames import trampoline

if TYPE_CHECKING:
    from sandbox.kernel.signals import Action
    from sandbox.kernel.task import Task

StackTriple = tuple[int, int, int]  # base, flags, size


@dataclass(frozen=True, slots=True)
class Restored:
    mask: int
    stack: StackTriple | None = None  # None: the frame holds none (old sigreturn)


def check_room(address: int, lowest: int) -> int:
    """A frame that would start below the alternate stack it belongs to does not fit."""
    if address < lowest or address < 0:
        raise Errno(EFAULT)
    return address


def return_address(task: Task, action: Action, real_time: bool = True) -> int:
    """The restorer of the C library, or the kernel's own trampoline."""
    if action.flags & SA_RESTORER and action.restorer:
        return action.restorer
    return trampoline.address(task.isa, real_time)
