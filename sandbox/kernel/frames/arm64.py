"""arm64: siginfo, ucontext with a tagged record of the vector registers, and a frame record for unwinders.

Source: `arch/arm64/kernel/signal.c`, `asm/sigcontext.h`.
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

_HEAD = Struct("<QQQi4xQQ128x")  # uc_flags, uc_link, uc_stack, uc_sigmask, room for larger masks, alignment
_REGISTERS = Struct("<Q31QQQQ8x")  # fault address, x0..x30, sp, pc, pstate; the reserved area is aligned to 16
_RESERVED = 4096
_VECTORS = Struct("<IIII")  # magic, size, fpsr, fpcr, then q0..q31
_FPSIMD_MAGIC, _FPSIMD_SIZE = 0x46508001, 528
_ESR = Struct("<IIQ")
_ESR_MAGIC = 0x45535201
_UCONTEXT = _HEAD.size + _REGISTERS.size + _RESERVED
_FRAME = SIGINFO_SIZE + _UCONTEXT
_NAMES = tuple(f"x{index}" for index in range(31))
_GENERAL = RegisterSet(ISAS["arm64"], (*_NAMES, "sp", "pc", "pstate"))
_WORDS = Struct("<34Q")
_WIDE = RegisterSet(ISAS["arm64"], (f"q{index}" for index in range(32)))

assert (_HEAD.size, _REGISTERS.size) == (176, 288)


def build(task: Task, info: SignalInfo, action: Action, sp: int, lowest: int, mask: int, stack: StackTriple) -> None:
    context, space = task.context, task.space
    record = (sp - 16) & -16
    frame = check_room(record - _FRAME, lowest)
    values = _WORDS.unpack(_GENERAL.read(context))
    address = info.address if info.trap else 0
    data = _HEAD.pack(0, 0, *stack, mask)
    data += _REGISTERS.pack(address, *values)
    data += _vectors(context)
    if info.trap:
        data += _ESR.pack(_ESR_MAGIC, _ESR.size, _syndrome(info))
    space.copy_out(frame + SIGINFO_SIZE, data.ljust(_UCONTEXT, b"\0"))
    space.copy_out(frame, packed_info(task.isa, info))
    space.copy_out(record, values[29].to_bytes(8, "little") + values[30].to_bytes(8, "little"))
    context["x0"] = info.number
    if action.flags & SA_SIGINFO:
        context["x1"] = frame
        context["x2"] = frame + SIGINFO_SIZE
    context["sp"] = frame
    context["x29"] = record
    context["x30"] = return_address(task, action)
    context["pc"] = action.handler


def _vectors(context: Context) -> bytes:
    status, control = (int.from_bytes(context.read_wide(name), "little") for name in ("fpsr", "fpcr"))
    head = _VECTORS.pack(_FPSIMD_MAGIC, _FPSIMD_SIZE, status, control)
    return head + _WIDE.read(context)


def _syndrome(info: SignalInfo) -> int:
    """ESR_EL1 of a lower-level abort: class, and for data whether it was a write, with a level 3 fault."""
    fault = 0x0F if info.error & 1 else 0x07
    if info.error & 16:
        return 0x20 << 26 | 1 << 25 | fault
    return 0x24 << 26 | 1 << 25 | (1 << 6 if info.error & 2 else 0) | fault


def restore(task: Task) -> Restored:
    context, space = task.context, task.space
    frame = context.sp
    data = space.copy_in(frame + SIGINFO_SIZE, _UCONTEXT)
    _, _, base, mode, size, mask = _HEAD.unpack_from(data)
    _, *values = _REGISTERS.unpack_from(data, _HEAD.size)
    _restore_vectors(context, data[_HEAD.size + _REGISTERS.size :])
    flags = context["pstate"] & ~0xF0000000 | values[33] & 0xF0000000
    _GENERAL.write(context, _WORDS.pack(*values[:33], flags))
    return Restored(mask, (base, mode, size))


def _restore_vectors(context: Context, area: bytes) -> None:
    """Walk the tagged records; what is not known is passed over."""
    position = 0
    while position + 8 <= len(area):
        magic, size = Struct("<II").unpack_from(area, position)
        if magic == 0 or size < 8 or position + size > len(area):
            return
        if magic == _FPSIMD_MAGIC and size == _FPSIMD_SIZE:
            _, _, status, control = _VECTORS.unpack_from(area, position)
            context.write_wide("fpsr", status.to_bytes(4, "little"))
            context.write_wide("fpcr", control.to_bytes(4, "little"))
            start = position + _VECTORS.size
            _WIDE.write(context, area[start : start + _WIDE.size])
        position += size


def restore_old(task: Task) -> Restored:
    return restore(task)
