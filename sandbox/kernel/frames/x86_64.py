"""x86-64: `struct rt_sigframe` (return address, ucontext, siginfo) with an FXSAVE image above it.

Source: `arch/x86/kernel/signal_64.c`, `asm/sigcontext.h`, Intel SDM vol. 1, 10.5.1 (FXSAVE).
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from sandbox.abi.signal_structs import SIGINFO_SIZE
from sandbox.kernel.frames import fxsave
from sandbox.kernel.frames.frame import Restored, StackTriple, check_room, return_address
from sandbox.kernel.frames.siginfo import packed_info
from sandbox.kernel.signals import Action, SignalInfo

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

RED_ZONE = 128

# The order of struct sigcontext_64, up to eflags.
_GENERAL = (
    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rdi", "rsi", "rbp", "rbx", "rdx", "rax", "rcx", "rsp",
    "rip", "eflags",
)  # fmt: skip
_HEAD = Struct("<QQQi4xQ")  # uc_flags, uc_link, uc_stack
_CONTEXT = Struct("<18QHHHHQQQQQ64x")  # registers, cs gs fs ss, err, trapno, oldmask, cr2, fpstate
_MASK = Struct("<Q")
_UCONTEXT = _HEAD.size + _CONTEXT.size + _MASK.size
_FRAME = 8 + _UCONTEXT + SIGINFO_SIZE
_FLAGS = 2 | 4  # UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS
_USER_CS, _USER_SS = 0x33, 0x2B
_FIXED_FLAGS = 0x202
_RESTORED_FLAGS = 0x50DD5  # CF PF AF ZF SF TF DF OF RF AC
_CLEARED_FLAGS = 0x10500  # TF DF RF
_TOP = 0x7FFFFFFFF000

assert (_UCONTEXT, _FRAME) == (304, 440)


def build(task: Task, info: SignalInfo, action: Action, sp: int, lowest: int, mask: int, stack: StackTriple) -> None:
    context, space = task.context, task.space
    image = (sp - fxsave.SIZE) & -64
    frame = check_room(((image - _FRAME) & -16) - 8, lowest)
    values = [context[name] for name in _GENERAL]
    head = _HEAD.pack(_FLAGS, 0, *stack)
    body = _CONTEXT.pack(
        *values, _USER_CS, 0, 0, _USER_SS, info.error, info.trap, mask, info.address if info.trap == 14 else 0, image
    )
    returns = return_address(task, action)
    space.copy_out(image, fxsave.save(context, 16))
    space.copy_out(frame, returns.to_bytes(8, "little") + head + body + _MASK.pack(mask) + packed_info(task.isa, info))
    context["rdi"] = info.number
    context["rsi"] = frame + 8 + _UCONTEXT
    context["rdx"] = frame + 8
    context["rax"] = 0
    context["rsp"] = frame
    context["rip"] = action.handler
    context["eflags"] = values[-1] & ~_CLEARED_FLAGS


def restore(task: Task) -> Restored:
    context, space = task.context, task.space
    frame = context.sp - 8
    data = space.copy_in(frame + 8, _UCONTEXT)
    _, _, *stack = _HEAD.unpack_from(data)
    values = _CONTEXT.unpack_from(data, _HEAD.size)
    image = values[-1]
    if image:
        fxsave.restore(context, space.copy_in(image, fxsave.SIZE), 16)
    for name, value in zip(_GENERAL[:-1], values, strict=False):
        context[name] = value
    context["rip"] = min(values[16], _TOP)  # an address that cannot exist faults at the first fetch
    context["eflags"] = values[17] & _RESTORED_FLAGS | _FIXED_FLAGS
    return Restored(_MASK.unpack_from(data, _HEAD.size + _CONTEXT.size)[0], (stack[0], stack[1], stack[2]))


def restore_old(task: Task) -> Restored:
    return restore(task)
