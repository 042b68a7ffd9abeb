"""A small RISC-V assembler for tests: encodings of RV64GC instructions, and text to bytes.

keystone knows no RISC-V and GNU as may be missing, so the test programs of riscv64 are encoded here. The functions
(`r_type` and relatives, The RISC-V Instruction Set Manual vol. I, chapter 34) also serve the random programs of
test_differential.py. The text form is GNU as's, without directives but `.word` and `.half`.
"""

from __future__ import annotations

import re
import struct

REGISTERS = {
    name: number
    for number, name in enumerate(
        ("zero ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6").split()
    )
} | {f"f{number}": number for number in range(32)}


def r_type(opcode: int, funct3: int, funct7: int, rd: int, rs1: int, rs2: int) -> int:
    return opcode | rd << 7 | funct3 << 12 | rs1 << 15 | rs2 << 20 | funct7 << 25


def i_type(opcode: int, funct3: int, rd: int, rs1: int, immediate: int) -> int:
    return opcode | rd << 7 | funct3 << 12 | rs1 << 15 | (immediate & 0xFFF) << 20


def s_type(opcode: int, funct3: int, rs1: int, rs2: int, immediate: int) -> int:
    low, high = immediate & 31, immediate >> 5 & 127
    return opcode | low << 7 | funct3 << 12 | rs1 << 15 | rs2 << 20 | high << 25


def b_type(funct3: int, rs1: int, rs2: int, offset: int) -> int:
    low = (offset >> 1 & 15) << 8 | (offset >> 11 & 1) << 7
    high = (offset >> 5 & 63) << 25 | (offset >> 12 & 1) << 31
    return 0x63 | low | funct3 << 12 | rs1 << 15 | rs2 << 20 | high


def u_type(opcode: int, rd: int, immediate: int) -> int:
    """`immediate`: the upper 20 bits, as a number of 4 KiB."""
    return opcode | rd << 7 | (immediate & 0xFFFFF) << 12


def j_type(rd: int, offset: int) -> int:
    immediate = (offset >> 12 & 255) << 12 | (offset >> 11 & 1) << 20 | (offset >> 1 & 1023) << 21
    return 0x6F | rd << 7 | immediate | (offset >> 20 & 1) << 31


_IMMEDIATE = {"addi": (0x13, 0), "xori": (0x13, 4), "andi": (0x13, 7), "slli": (0x13, 1), "addiw": (0x1B, 0)}
_ARITHMETIC = {"add": (0, 0), "sub": (0, 32), "xor": (4, 0), "or": (6, 0), "and": (7, 0), "mul": (0, 1)}
_LOADS = {"lb": (0x03, 0), "lw": (0x03, 2), "ld": (0x03, 3), "lbu": (0x03, 4), "fld": (0x07, 3)}
_STORES = {"sb": (0x23, 0), "sh": (0x23, 1), "sw": (0x23, 2), "sd": (0x23, 3), "fsd": (0x27, 3)}
_BRANCHES = {"beq": 0, "bne": 1, "blt": 4, "bge": 5, "bltu": 6, "bgeu": 7}
_FIXED = {"ecall": 0x73, "ebreak": 0x100073, "fence.i": 0x100F, "wfi": 0x10500073, "nop": 0x13}


def assemble(text: str) -> tuple[bytes, dict[str, int]]:
    """The bytes, and the offsets of the labels. Raises KeyError or ValueError for what it does not know."""
    lines: list[str] = []
    labels: dict[str, int] = {}
    for line in text.splitlines():
        line = line.strip()
        if line.endswith(":"):
            labels[line[:-1]] = _size(lines)
        elif line:
            lines.append(line)
    code = b""
    for line in lines:
        name, *rest = line.split(None, 1)
        operands = [part.strip() for part in rest[0].split(",")] if rest else []
        if name == ".half":
            code += struct.pack("<H", int(operands[0], 0))
        else:
            code += struct.pack("<I", _encode(name, operands, len(code), labels))
    return code, labels


def _size(lines: list[str]) -> int:
    return sum(2 if line.startswith(".half") else 4 for line in lines)


def _encode(name: str, operands: list[str], here: int, labels: dict[str, int]) -> int:
    if name in _FIXED:
        return _FIXED[name]
    if name == ".word":
        return int(operands[0], 0)
    if name == "j":
        return j_type(0, labels[operands[0]] - here)
    first = REGISTERS[operands[0]]
    if name == "jal":
        return j_type(first, labels[operands[1]] - here)
    if name == "lui":
        return u_type(0x37, first, int(operands[1], 0))
    if name in _BRANCHES:
        return b_type(_BRANCHES[name], first, REGISTERS[operands[1]], labels[operands[2]] - here)
    if name in _IMMEDIATE:
        opcode, funct3 = _IMMEDIATE[name]
        return i_type(opcode, funct3, first, REGISTERS[operands[1]], int(operands[2], 0))
    if name in _ARITHMETIC:
        funct3, funct7 = _ARITHMETIC[name]
        return r_type(0x33, funct3, funct7, first, REGISTERS[operands[1]], REGISTERS[operands[2]])
    match = re.fullmatch(r"(-?\w+)\((\w+)\)", operands[1])
    if match is None:
        raise ValueError(f"{name} {operands}")
    offset, base = int(match[1], 0), REGISTERS[match[2]]
    if name == "jalr":
        return i_type(0x67, 0, first, base, offset)
    if name in _LOADS:
        opcode, funct3 = _LOADS[name]
        return i_type(opcode, funct3, first, base, offset)
    opcode, funct3 = _STORES[name]
    return s_type(opcode, funct3, base, first, offset)
