"""x86-64: `struct rt_sigframe` (return address, ucontext, siginfo) with an FXSAVE image above it.

Source: `arch/x86/kernel/signal_64.c`, `asm/sigcontext.h`, Intel SDM vol. 1, 10.5.1 (FXSAVE).
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from sandbox.abi.signal_structs import SIGINFO_SIZE
from sandbox.engine import ISAS, RegisterSet
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
_REGISTERS = RegisterSet(ISAS["x86_64"], _GENERAL)
_WORDS = Struct("<18Q")
_ENTERED = RegisterSet(ISAS["x86_64"], ("rdi", "rsi", "rdx", "rax", "rsp", "rip", "eflags"))
_ENTRY = Struct("<7Q")
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
    values = _WORDS.unpack(_REGISTERS.read(context))
    head = _HEAD.pack(_FLAGS, 0, *stack)
    body = _CONTEXT.pack(
        *values, _USER_CS, 0, 0, _USER_SS, info.error, info.trap, mask, info.address if info.trap == 14 else 0, image
    )
    returns = return_address(task, action)
    space.copy_out(image, fxsave.save(context)[0])
    space.copy_out(frame, returns.to_bytes(8, "little") + head + body + _MASK.pack(mask) + packed_info(task.isa, info))
    flags = values[-1] & ~_CLEARED_FLAGS
    entry = _ENTRY.pack(info.number, frame + 8 + _UCONTEXT, frame + 8, 0, frame, action.handler, flags)
    _ENTERED.write(context, entry)


def restore(task: Task) -> Restored:
    context, space = task.context, task.space
    frame = context.sp - 8
    data = space.copy_in(frame + 8, _UCONTEXT)
    _, _, *stack = _HEAD.unpack_from(data)
    values = _CONTEXT.unpack_from(data, _HEAD.size)
    image = values[-1]
    if image:
        fxsave.restore(context, space.copy_in(image, fxsave.SIZE))
    target = min(values[16], _TOP)  # an address that cannot exist faults at the first fetch
    flags = values[17] & _RESTORED_FLAGS | _FIXED_FLAGS
    _REGISTERS.write(context, _WORDS.pack(*values[:16], target, flags))
    return Restored(_MASK.unpack_from(data, _HEAD.size + _CONTEXT.size)[0], (stack[0], stack[1], stack[2]))


def restore_old(task: Task) -> Restored:
    return restore(task)
