"""Signal frames: what the kernel leaves on a task's stack when it enters a handler, and takes back at sigreturn.

The layouts are those of Linux, byte for byte, because programs read and change them (ucontext). One file per ISA
builds and restores its frame; what they have in common is here: which stack, which mask. Source: sigaction(2),
sigaltstack(2), `arch/*/kernel/signal.c`.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from sandbox.abi.errno import Errno
from sandbox.abi.signals import SA_ONSTACK, SIGSEGV, SS_AUTODISARM, SS_DISABLE, SS_ONSTACK, UNBLOCKABLE
from sandbox.kernel.frames import arm, arm64, i386, riscv64, x86_64
from sandbox.kernel.frames.frame import Restored
from sandbox.kernel.signals import Action, AlternateStack, SignalInfo, force, kernel_signal

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

_BUILDERS: dict[str, ModuleType] = {
    "x86_64": x86_64,
    "i386": i386,
    "arm64": arm64,
    "arm": arm,
    "riscv64": riscv64,
}
THUMB = 1 << 5


def repeat_call(task: Task) -> None:
    """Go back to the instruction that made the call. In Thumb state it has two bytes, and bit 0 of the PC stays set:
    writing an even one leaves that state."""
    context = task.context
    if task.isa == "arm" and context["cpsr"] & THUMB:
        context.pc = context.pc - 2 | 1
    else:
        context.pc -= task.kernel.isa.syscall_length


def enter(task: Task, info: SignalInfo, action: Action, saved_mask: int) -> None:
    """Make the task continue in its handler. Raises Errno(EFAULT) when the frame cannot be written."""
    task.context.settle()
    builder = _BUILDERS[task.isa]
    stack = task.signals.stack
    sp = task.context.sp - builder.RED_ZONE
    on_stack = stack.holds(task.context.sp) and not stack.flags & SS_AUTODISARM
    switch = bool(action.flags & SA_ONSTACK) and stack.size and not stack.flags & SS_DISABLE and not on_stack
    if switch:
        sp = stack.base + stack.size
    shown = (stack.base, _mode(stack, on_stack), stack.size)
    lowest = stack.base if switch or on_stack else 0
    builder.build(task, info, action, sp, lowest, saved_mask, shown)
    if stack.flags & SS_AUTODISARM and stack.size:
        task.signals.stack = AlternateStack()


def _mode(stack: AlternateStack, on_stack: bool) -> int:
    if not stack.size:
        return SS_DISABLE
    return (SS_ONSTACK if on_stack else 0) | stack.flags & SS_AUTODISARM


def leave(task: Task) -> None:
    """rt_sigreturn."""
    _restore(task, "restore")


def leave_old(task: Task) -> None:
    """sigreturn, for frames of handlers without SA_SIGINFO on i386 and arm."""
    _restore(task, "restore_old")


def _restore(task: Task, way: str) -> None:
    try:
        restored: Restored = getattr(_BUILDERS[task.isa], way)(task)
    except Errno:
        force(task, kernel_signal(SIGSEGV, "the signal frame to return from is not readable"))
        return
    task.signals.mask = restored.mask & ~UNBLOCKABLE
    task.attention = True
    if restored.stack is not None:
        base, mode, size = restored.stack
        if mode & SS_DISABLE:
            task.signals.stack = AlternateStack()
        else:
            task.signals.stack = AlternateStack(base, size, mode & SS_AUTODISARM)
