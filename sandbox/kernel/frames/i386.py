"""i386: two frames, with siginfo (`struct rt_sigframe`) and without (`struct sigframe`); arguments on the stack and,
for handlers compiled with regparm, in registers as well. Source: `arch/x86/kernel/signal_32.c`, `asm/sigcontext.h`.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from sandbox.abi.signal_structs import SIGINFO_SIZE
from sandbox.abi.signals import SA_SIGINFO
from sandbox.engine import ISAS, RegisterSet
from sandbox.kernel.frames import fxsave
from sandbox.kernel.frames.frame import Restored, StackTriple, check_room, return_address
from sandbox.kernel.frames.siginfo import packed_info
from sandbox.kernel.signals import Action, SignalInfo

if TYPE_CHECKING:
    from sandbox.engine import Context
    from sandbox.kernel.task import Task

RED_ZONE = 0

_GENERAL = ("edi", "esi", "ebp", "esp", "ebx", "edx", "ecx", "eax")
# gs fs es ds, general, trapno err eip cs eflags esp_at_signal ss fpstate oldmask cr2
_REGISTERS = RegisterSet(ISAS["i386"], (*_GENERAL, "eip", "eflags"))
_WORDS = Struct("<10Q")
_CONTEXT = Struct("<4I8I10I")
_RT_HEAD = Struct("<IIII")  # return address, number, &info, &ucontext
_UC_HEAD = Struct("<IIIiI")  # uc_flags, uc_link, uc_stack
_UCONTEXT = _UC_HEAD.size + _CONTEXT.size + 8
_RT_FRAME = _RT_HEAD.size + SIGINFO_SIZE + _UCONTEXT + 8
_FSAVE = Struct("<7I")
_CONTROL = Struct("<HH")  # at the beginning of FXSAVE's image
_FP_STATE = 112 + fxsave.SIZE
_OLD_FRAME = 8 + _CONTEXT.size + _FP_STATE + 4 + 8
_CS, _DS = 0x23, 0x2B
_FIXED_FLAGS = 0x202
_RESTORED_FLAGS = 0x50DD5
_CLEARED_FLAGS = 0x10500

assert (_CONTEXT.size, _UCONTEXT, _OLD_FRAME) == (88, 116, 732)


def build(task: Task, info: SignalInfo, action: Action, sp: int, lowest: int, mask: int, stack: StackTriple) -> None:
    context, space = task.context, task.space
    with_info = bool(action.flags & SA_SIGINFO)
    state = (sp - _FP_STATE) & -16
    size = _RT_FRAME if with_info else _OLD_FRAME
    frame = check_room(((state - size + 4) & -16) - 4, lowest)
    *general, pc, flags = _WORDS.unpack(_REGISTERS.read(context))
    registers = _CONTEXT.pack(
        context["gs"], context["fs"], _DS, _DS, *general, info.trap, info.error,
        pc, _CS, flags, general[3], _DS, state, mask & 0xFFFFFFFF,
        info.address & 0xFFFFFFFF if info.trap == 14 else 0,
    )  # fmt: skip
    returns = return_address(task, action, real_time=with_info)
    space.copy_out(state, _floating_point(context))
    info_address = ucontext = 0
    if with_info:
        info_address = frame + _RT_HEAD.size
        ucontext = info_address + SIGINFO_SIZE
        data = _RT_HEAD.pack(returns, info.number, info_address, ucontext) + packed_info(task.isa, info)
        data += _UC_HEAD.pack(0, 0, *stack) + registers + mask.to_bytes(8, "little")
    else:
        data = Struct("<II").pack(returns, info.number) + registers
        data = data.ljust(8 + _CONTEXT.size + _FP_STATE, b"\0") + (mask >> 32).to_bytes(4, "little")
    space.copy_out(frame, data)
    context["eax"] = info.number
    context["edx"] = info_address
    context["ecx"] = ucontext
    context["esp"] = frame
    context["eip"] = action.handler
    context["eflags"] = flags & ~_CLEARED_FLAGS


def _floating_point(context: Context) -> bytes:
    """struct _fpstate_32: the old FSAVE form, then the FXSAVE image."""
    image, tags = fxsave.save(context)
    control, status = _CONTROL.unpack_from(image)
    environment = _FSAVE.pack(0xFFFF0000 | control, 0xFFFF0000 | status, 0xFFFF0000 | tags, 0, 0, 0, 0xFFFF0000)
    floats = b"".join(image[32 + 16 * index : 42 + 16 * index] for index in range(8))
    return environment + floats + bytes((status & 0xFF, status >> 8, 0, 0)) + image  # magic 0: FXSAVE data follow


def restore(task: Task) -> Restored:
    frame = task.context.sp - 4
    data = task.space.copy_in(frame + _RT_HEAD.size + SIGINFO_SIZE, _UCONTEXT)
    _, _, base, mode, size = _UC_HEAD.unpack_from(data)
    _registers(task, data[_UC_HEAD.size : _UC_HEAD.size + _CONTEXT.size])
    return Restored(int.from_bytes(data[-8:], "little"), (base, mode, size))


def restore_old(task: Task) -> Restored:
    frame = task.context.sp - 8
    data = task.space.copy_in(frame + 8, _CONTEXT.size)
    high = task.space.copy_in(frame + 8 + _CONTEXT.size + _FP_STATE, 4)
    mask = _CONTEXT.unpack(data)[20] | int.from_bytes(high, "little") << 32
    _registers(task, data)
    return Restored(mask)


def _registers(task: Task, data: bytes) -> None:
    context = task.context
    values = _CONTEXT.unpack(data)
    state = values[19]
    if state:
        fxsave.restore(context, task.space.copy_in(state + 112, fxsave.SIZE))
    _REGISTERS.write(context, _WORDS.pack(*values[4:12], values[14], values[16] & _RESTORED_FLAGS | _FIXED_FLAGS))
