"""arm: `struct sigframe` (ucontext and return code), preceded by siginfo when the handler wants it.

Source: `arch/arm/kernel/signal.c`, `asm/sigcontext.h`, `asm/ucontext.h`.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from sandbox.abi.signal_structs import SIGINFO_SIZE
from sandbox.abi.signals import SA_SIGINFO
from sandbox.engine import ISAS, RegisterSet
from sandbox.kernel.frames.frame import Restored, StackTriple, check_room, return_address
from sandbox.kernel.frames.siginfo import packed_info
from sandbox.kernel.signals import Action, SignalInfo

if TYPE_CHECKING:
    from sandbox.engine import Context
    from sandbox.kernel.task import Task

RED_ZONE = 0

_HEAD = Struct("<IIIiI")  # uc_flags, uc_link, uc_stack
_REGISTERS = Struct("<21I")  # trap_no error_code oldmask r0..r10 fp ip sp lr pc cpsr fault_address
_TAIL = Struct("<Q120x")  # uc_sigmask and room for larger ones
_SPACE = 512
_VFP_HEAD = Struct("<II")
_VFP_MAGIC, _VFP_SIZE = 0x56465001, 288
_VFP_TAIL = Struct("<I4xIII4x")  # fpscr, fpexc, fpinst, fpinst2
_UCONTEXT = _HEAD.size + _REGISTERS.size + _TAIL.size + _SPACE
_FRAME = _UCONTEXT + 16
_NAMES = (*(f"r{index}" for index in range(13)), "sp", "lr", "pc", "cpsr")
_GENERAL = RegisterSet(ISAS["arm"], _NAMES[:15])
_WORDS = Struct("<15Q")
_DOUBLES = RegisterSet(ISAS["arm"], (f"d{index}" for index in range(32)))
_THUMB, _IT, _JAZELLE = 1 << 5, 0x0600FC00, 1 << 24
_RESTORED_FLAGS = 0xF80F0000 | _THUMB | _IT  # NZCVQ, GE, T, IT
_NO_INFO = 0x5AC3C35A  # uc_flags of a frame without siginfo

assert _UCONTEXT == 744


def build(task: Task, info: SignalInfo, action: Action, sp: int, lowest: int, mask: int, stack: StackTriple) -> None:
    context, space = task.context, task.space
    with_info = bool(action.flags & SA_SIGINFO)
    size = _FRAME + (SIGINFO_SIZE if with_info else 0)
    frame = check_room((sp - size) & -8, lowest)
    ucontext = frame + (SIGINFO_SIZE if with_info else 0)
    values = *_WORDS.unpack(_GENERAL.read(context)), context["pc"], context["cpsr"]
    data = _HEAD.pack(0 if with_info else _NO_INFO, 0, *stack)
    data += _REGISTERS.pack(info.trap, info.error, mask & 0xFFFFFFFF, *values, info.address & 0xFFFFFFFF)
    data += _TAIL.pack(mask) + _floating_point(context)
    if with_info:
        space.copy_out(frame, packed_info(task.isa, info))
    space.copy_out(ucontext, data.ljust(_FRAME, b"\0"))
    context["r0"] = info.number
    if with_info:
        context["r1"] = frame
        context["r2"] = ucontext
    context["sp"] = frame
    context["lr"] = return_address(task, action, real_time=with_info)
    status = values[16] & ~(_IT | _JAZELLE | _THUMB)
    context["cpsr"] = status | _THUMB if action.handler & 1 else status
    context["pc"] = action.handler


def _floating_point(context: Context) -> bytes:
    status = int.from_bytes(context.read_wide("fpscr"), "little")
    return _VFP_HEAD.pack(_VFP_MAGIC, _VFP_SIZE) + _DOUBLES.read(context) + _VFP_TAIL.pack(status, 1 << 30, 0, 0)


def restore(task: Task) -> Restored:
    return _restore(task, task.context.sp + SIGINFO_SIZE)


def restore_old(task: Task) -> Restored:
    return _restore(task, task.context.sp)


def _restore(task: Task, ucontext: int) -> Restored:
    context = task.context
    data = task.space.copy_in(ucontext, _UCONTEXT)
    _, _, base, mode, size = _HEAD.unpack_from(data)
    values = _REGISTERS.unpack_from(data, _HEAD.size)[3:20]
    mask = _TAIL.unpack_from(data, _HEAD.size + _REGISTERS.size)[0]
    area = data[_UCONTEXT - _SPACE :]
    if _VFP_HEAD.unpack_from(area) == (_VFP_MAGIC, _VFP_SIZE):
        _DOUBLES.write(context, area[8 : 8 + _DOUBLES.size])
        context.write_wide("fpscr", area[264:268])
    _GENERAL.write(context, _WORDS.pack(*values[:15]))
    status = context["cpsr"] & ~_RESTORED_FLAGS | values[16] & _RESTORED_FLAGS
    context["cpsr"] = status
    context["pc"] = values[15] | 1 if status & _THUMB else values[15] & ~1
    context["cpsr"] = status  # writing the pc chooses the instruction set and may touch the rest
    return Restored(mask, (base, mode, size))
