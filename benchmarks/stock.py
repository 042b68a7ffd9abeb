"""The peer "stock Unicorn": what one writes after reading its tutorial.

Segments and a stack are mapped with `mem_map`, readable, writable and executable; one Python callback serves system
calls. Nothing else: no page tables, no preemption, no isolation. Started by `benchmarks.peers` as a child process.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import unicorn as uc
from unicorn import arm64_const, arm_const, riscv_const, x86_const

from benchmarks.peers import serve

STACK_TOP, STACK_SIZE = 0x7FFF0000, 0x100000


@dataclass(frozen=True)
class Stock:
    architecture: int
    mode: int
    sp: int
    number: int
    arguments: tuple[int, int, int]
    result: int
    calls: dict[int, str]


I386_CALLS = {1: "exit", 4: "write", 64: "getppid"}
GENERIC_CALLS = {93: "exit", 64: "write", 173: "getppid"}
X, A32, A64, R = x86_const, arm_const, arm64_const, riscv_const
STOCK = {
    "x86_64": Stock(
        uc.UC_ARCH_X86,
        uc.UC_MODE_64,
        X.UC_X86_REG_RSP,
        X.UC_X86_REG_RAX,
        (X.UC_X86_REG_RDI, X.UC_X86_REG_RSI, X.UC_X86_REG_RDX),
        X.UC_X86_REG_RAX,
        {60: "exit", 1: "write", 110: "getppid"},
    ),
    "i386": Stock(
        uc.UC_ARCH_X86,
        uc.UC_MODE_32,
        X.UC_X86_REG_ESP,
        X.UC_X86_REG_EAX,
        (X.UC_X86_REG_EBX, X.UC_X86_REG_ECX, X.UC_X86_REG_EDX),
        X.UC_X86_REG_EAX,
        I386_CALLS,
    ),
    "arm64": Stock(
        uc.UC_ARCH_ARM64,
        uc.UC_MODE_ARM,
        A64.UC_ARM64_REG_SP,
        A64.UC_ARM64_REG_X8,
        (A64.UC_ARM64_REG_X0, A64.UC_ARM64_REG_X1, A64.UC_ARM64_REG_X2),
        A64.UC_ARM64_REG_X0,
        GENERIC_CALLS,
    ),
    "arm": Stock(
        uc.UC_ARCH_ARM,
        uc.UC_MODE_ARM,
        A32.UC_ARM_REG_SP,
        A32.UC_ARM_REG_R7,
        (A32.UC_ARM_REG_R0, A32.UC_ARM_REG_R1, A32.UC_ARM_REG_R2),
        A32.UC_ARM_REG_R0,
        I386_CALLS,
    ),
    "riscv64": Stock(
        uc.UC_ARCH_RISCV,
        uc.UC_MODE_RISCV64,
        R.UC_RISCV_REG_SP,
        R.UC_RISCV_REG_A7,
        (R.UC_RISCV_REG_A0, R.UC_RISCV_REG_A1, R.UC_RISCV_REG_A2),
        R.UC_RISCV_REG_A0,
        GENERIC_CALLS,
    ),
}


def run(isa: str, argv: list[str]) -> bytes:
    stock = STOCK[isa]
    image = Path(argv[0]).read_bytes()
    entry, segments, word = _segments(image)
    # The binding's types do not name its main class.
    cpu: Any = uc.Uc(stock.architecture, stock.mode)  # type: ignore[attr-defined, no-untyped-call]
    if isa == "arm":
        cpu.reg_write(A32.UC_ARM_REG_C1_C0_2, cpu.reg_read(A32.UC_ARM_REG_C1_C0_2) | 0xF << 20)
        cpu.reg_write(A32.UC_ARM_REG_FPEXC, 0x40000000)
    elif isa == "riscv64":
        cpu.reg_write(R.UC_RISCV_REG_MSTATUS, 0x6000)
    elif isa == "i386":
        cpu.reg_write(X.UC_X86_REG_FPCW, 0x37F)  # Unicorn resets the x87 to single precision, Linux does not
    pages = sorted({page for address, size, _ in segments for page in (address >> 12, (address + size - 1) >> 12)})
    cpu.mem_map(pages[0] << 12, (pages[-1] - pages[0] + 1) << 12)
    for address, _, data in segments:
        cpu.mem_write(address, data)
    cpu.mem_map(STACK_TOP - STACK_SIZE, STACK_SIZE)
    strings = [argument.encode() + b"\0" for argument in argv]
    place = STACK_TOP - 64 - sum(map(len, strings))
    pointers = []
    for string in strings:
        cpu.mem_write(place, string)
        pointers.append(place)
        place += len(string)
    words = [len(argv), *pointers, 0, 0, 0, 0]
    sp = (STACK_TOP - 0x10000) & -16
    cpu.mem_write(sp, struct.pack(f"<{len(words)}{word}", *words))
    cpu.reg_write(stock.sp, sp)

    output = bytearray()

    def system_call(cpu: Any, *_: Any) -> None:
        name = stock.calls[cpu.reg_read(stock.number)]
        if name == "exit":
            cpu.emu_stop()
        elif name == "write":
            count = cpu.reg_read(stock.arguments[2])
            output.extend(cpu.mem_read(cpu.reg_read(stock.arguments[1]), count))
            cpu.reg_write(stock.result, count)
        else:
            cpu.reg_write(stock.result, 1)

    if isa == "x86_64":
        cpu.hook_add(uc.UC_HOOK_INSN, system_call, None, 1, 0, X.UC_X86_INS_SYSCALL)
    else:
        cpu.hook_add(uc.UC_HOOK_INTR, system_call)
    cpu.emu_start(entry, 0)
    return bytes(output)


def _segments(image: bytes) -> tuple[int, list[tuple[int, int, bytes]], str]:
    """Entry point, (address, size in memory, bytes in the file) of every PT_LOAD, and struct's letter for a word."""
    if image[4] == 2:
        entry, offset = struct.unpack_from("<QQ", image, 24)
        size, count = struct.unpack_from("<HH", image, 54)
        word = "Q"
    else:
        entry, offset = struct.unpack_from("<II", image, 24)
        size, count = struct.unpack_from("<HH", image, 42)
        word = "I"
    segments = []
    for index in range(count):
        if word == "Q":
            kind, _, start, address, _, length, total, _ = struct.unpack_from("<IIQQQQQQ", image, offset + index * size)
        else:
            kind, start, address, _, length, total, _, _ = struct.unpack_from("<8I", image, offset + index * size)
        if kind == 1 and total:
            segments.append((address, total, image[start : start + length]))
    return entry, segments, word


if __name__ == "__main__":
    serve(run)
