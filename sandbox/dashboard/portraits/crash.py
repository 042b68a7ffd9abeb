"""What is left of a VM that died of a fatal signal: the registers, code and stack of its last moment."""

from __future__ import annotations

from sandbox.dashboard.view import InstructionView, ProcessorView, RegisterView, StackSlot
from sandbox.disassembler import disassemble
from sandbox.engine import isa_named
from sandbox.kernel.crash import CrashReport


def crash_view(crash: CrashReport) -> ProcessorView:
    isa = isa_named(crash.isa)
    start, code = crash.code
    thumb = crash.isa == "arm" and bool(crash.registers.get(isa.flags, 0) & 0x20)
    at = min(max(0, crash.pc - start), len(code))
    listed = [*disassemble(crash.isa, code[:at], start, thumb=thumb)]
    listed += disassemble(crash.isa, code[at:], crash.pc, thumb=thumb)
    word = isa.bits // 8
    slots = range(0, len(crash.stack) - word + 1, word)
    return ProcessorView(
        isa=crash.isa,
        bits=isa.bits,
        pc=crash.pc,
        sp=crash.sp,
        registers=tuple(RegisterView(name, value) for name, value in crash.registers.items()),
        code=tuple(InstructionView(item.address, item.code, item.text) for item in listed),
        stack=tuple(StackSlot(crash.sp + at, int.from_bytes(crash.stack[at : at + word], "little")) for at in slots),
        task=crash.tid,
    )
