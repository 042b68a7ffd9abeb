"""riscv64: siginfo and ucontext with the integer and the double precision registers.

Source: `arch/riscv/kernel/signal.c`, `asm/sigcontext.h`, `asm/ptrace.h`.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from sandbox.abi.signal_structs import SIGINFO_SIZE
from sandbox.engine import ISAS, RegisterSet
from sandbox.kernel.frames import trampoline
from sandbox.kernel.frames.frame import Restored, StackTriple, check_room
from sandbox.kernel.frames.siginfo import packed_info
from sandbox.kernel.signals import Action, SignalInfo

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

RED_ZONE = 0

_HEAD = Struct("<QQQi4xQQ128x")  # uc_flags, uc_link, uc_stack, uc_sigmask, room for larger masks, alignment
_FLOATING = Struct("<256sI")
_FLOATING_SIZE = 528
_NAMES = (
    "pc", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7",
    "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
)  # fmt: skip
_GENERAL = RegisterSet(ISAS["riscv64"], _NAMES)
_DOUBLES = RegisterSet(ISAS["riscv64"], (f"f{index}" for index in range(32)))
_UCONTEXT = _HEAD.size + _GENERAL.size + _FLOATING_SIZE
_FRAME = SIGINFO_SIZE + _UCONTEXT

assert (_HEAD.size, _UCONTEXT) == (176, 960)


def build(task: Task, info: SignalInfo, action: Action, sp: int, lowest: int, mask: int, stack: StackTriple) -> None:
    context, space = task.context, task.space
    frame = check_room((sp - _FRAME) & -16, lowest)
    data = packed_info(task.isa, info) + _HEAD.pack(0, 0, *stack, mask)
    data += _GENERAL.read(context)
    data += _FLOATING.pack(_DOUBLES.read(context), int.from_bytes(context.read_wide("fcsr")[:4], "little"))
    space.copy_out(frame, data.ljust(_FRAME, b"\0"))
    context["ra"] = trampoline.address(task.isa)
    context["sp"] = frame
    context["a0"] = info.number
    context["a1"] = frame
    context["a2"] = frame + SIGINFO_SIZE
    context["pc"] = action.handler


def restore(task: Task) -> Restored:
    context = task.context
    data = task.space.copy_in(context.sp + SIGINFO_SIZE, _UCONTEXT)
    _, _, base, mode, size, mask = _HEAD.unpack_from(data)
    floats, status = _FLOATING.unpack_from(data, _HEAD.size + _GENERAL.size)
    _DOUBLES.write(context, floats)
    context.write_wide("fcsr", status.to_bytes(8, "little"))
    _GENERAL.write(context, data[_HEAD.size : _HEAD.size + _GENERAL.size])
    return Restored(mask, (base, mode, size))


def restore_old(task: Task) -> Restored:
    return restore(task)
