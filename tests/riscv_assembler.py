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


_IMMEDIATE = {"addi": 0, "slti": 2, "sltiu": 3, "xori": 4, "ori": 6, "andi": 7}
_SHIFTS = {"slli": (0x13, 1, 0), "srli": (0x13, 5, 0), "srai": (0x13, 5, 0x400), "sraiw": (0x1B, 5, 0x400)}
_BASE = {"add": (0, 0), "sub": (0, 32), "sll": (1, 0), "slt": (2, 0), "sltu": (3, 0), "xor": (4, 0), "srl": (5, 0)}
_BASE |= {"sra": (5, 32), "or": (6, 0), "and": (7, 0)}
_BASE |= {name: (index, 1) for index, name in enumerate("mul mulh mulhsu mulhu div divu rem remu".split())}
_OPERATIONS = {name: (0x33, *code) for name, code in _BASE.items()}
_OPERATIONS |= {
    f"{name}w": (0x3B, *_BASE[name])
    for name in ("add", "sub", "sll", "srl", "sra", "mul", "div", "divu", "rem", "remu")
}
_LOADS = {name: (0x03, index) for index, name in enumerate("lb lh lw ld lbu lhu lwu".split())} | {
    "flw": (7, 2),
    "fld": (7, 3),
}
_STORES = {name: (0x23, index) for index, name in enumerate("sb sh sw sd".split())} | {
    "fsw": (0x27, 2),
    "fsd": (0x27, 3),
}
_BRANCHES = {"beq": 0, "bne": 1, "blt": 4, "bge": 5, "bltu": 6, "bgeu": 7}
_FIXED = {"ecall": 0x73, "ebreak": 0x100073, "fence.i": 0x100F, "wfi": 0x10500073, "nop": 0x13}
_AMO = {"amoadd": 0, "amoswap": 1, "lr": 2, "sc": 3, "amoxor": 4, "amoor": 8, "amoand": 12}
_AMO |= {"amomin": 16, "amomax": 20, "amominu": 24, "amomaxu": 28}
_FLOAT = {"fadd": (0, 7), "fsub": (4, 7), "fmul": (8, 7), "fdiv": (12, 7), "fsgnj": (16, 0), "fsgnjx": (16, 2)}
_FLOAT |= {"fmin": (20, 0), "fmax": (20, 1), "feq": (80, 2), "flt": (80, 1), "fle": (80, 0)}
_FUSED = {"fmadd": 0x43, "fnmsub": 0x4B}
# funct7, rs2, rounding mode or funct3
_CONVERSIONS = {"fsqrt.d": (0x2D, 0, 7), "fcvt.d.l": (0x69, 2, 7), "fcvt.l.d": (0x61, 2, 1), "fcvt.w.s": (0x60, 0, 1)}
_CONVERSIONS |= {"fcvt.s.d": (0x20, 1, 7), "fcvt.d.s": (0x21, 0, 0), "fmv.x.d": (0x71, 0, 0), "fmv.d.x": (0x79, 0, 0)}
_CONVERSIONS |= {"fclass.d": (0x71, 0, 1)}


def assemble(text: str) -> tuple[bytes, dict[str, int]]:
    """The bytes, and the offsets of the labels. Raises KeyError or ValueError for what it does not know."""
    lines: list[str] = []
    labels: dict[str, int] = {}
    size = 0
    for line in text.splitlines():
        line = line.strip()
        if line.endswith(":"):
            labels[line[:-1]] = size
        elif line:
            lines.append(line)
            size += 2 if line.startswith(("c.", ".half")) else 4
    code = b""
    for line in lines:
        name, _, rest = line.partition(" ")
        operands = [part.strip() for part in rest.split(",")] if rest else []
        if name == ".half" or name.startswith("c."):
            code += struct.pack("<H", int(operands[0], 0) if name == ".half" else _compressed(name, operands))
        else:
            code += struct.pack("<I", _encode(name, operands, len(code), labels))
    return code, labels


def _place(operand: str) -> tuple[int, int]:
    """(offset, base register) of `8(sp)`."""
    match = re.fullmatch(r"(-?\w*)\((\w+)\)", operand)
    if match is None:
        raise ValueError(operand)
    return int(match[1] or "0", 0), REGISTERS[match[2]]


def _compressed(name: str, operands: list[str]) -> int:
    if name == "c.nop":
        return 0x0001
    rd = REGISTERS[operands[0]]
    if name in ("c.mv", "c.add"):
        return (0x8002 if name == "c.mv" else 0x9002) | rd << 7 | REGISTERS[operands[1]] << 2
    if name == "c.li":
        immediate = int(operands[1], 0)
        return 0x4001 | rd << 7 | (immediate & 31) << 2
    if name == "c.xor":
        return 0x8C21 | (rd & 7) << 7 | (REGISTERS[operands[1]] & 7) << 2
    offset, base = _place(operands[1])
    if name == "c.sw":
        return 0xC000 | (offset >> 3 & 7) << 10 | (base & 7) << 7 | (offset >> 2 & 1) << 6 | (rd & 7) << 2
    if name == "c.ld":
        return 0x6000 | (offset >> 3 & 7) << 10 | (base & 7) << 7 | (offset >> 6 & 3) << 5 | (rd & 7) << 2
    raise KeyError(name)


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
    if name in ("lui", "auipc"):
        return u_type(0x37 if name == "lui" else 0x17, first, int(operands[1], 0))
    if name in _BRANCHES:
        return b_type(_BRANCHES[name], first, REGISTERS[operands[1]], labels[operands[2]] - here)
    if name in _IMMEDIATE:
        return i_type(0x13, _IMMEDIATE[name], first, REGISTERS[operands[1]], int(operands[2], 0))
    if name == "addiw":
        return i_type(0x1B, 0, first, REGISTERS[operands[1]], int(operands[2], 0))
    if name in _SHIFTS:
        opcode, funct3, kind = _SHIFTS[name]
        return i_type(opcode, funct3, first, REGISTERS[operands[1]], int(operands[2], 0) | kind)
    if name in _CONVERSIONS:
        funct7, rs2, funct3 = _CONVERSIONS[name]
        return r_type(0x53, funct3, funct7, first, REGISTERS[operands[1]], rs2)
    if name in _OPERATIONS:
        opcode, funct3, funct7 = _OPERATIONS[name]
        return r_type(opcode, funct3, funct7, first, REGISTERS[operands[1]], REGISTERS[operands[2]])
    if name == "jalr":
        offset, base = _place(operands[1])
        return i_type(0x67, 0, first, base, offset)
    if name in _LOADS:
        offset, base = _place(operands[1])
        return i_type(*_LOADS[name], first, base, offset)
    if name in _STORES:
        offset, base = _place(operands[1])
        return s_type(*_STORES[name], base, first, offset)
    return _suffixed(name, operands, first)


def _suffixed(name: str, operands: list[str], first: int) -> int:
    """amoadd.w, fadd.d and relatives."""
    stem, width = name.split(".")
    if stem in _AMO:
        second = REGISTERS[operands[1]] if stem != "lr" else 0
        return r_type(0x2F, 2 if width == "w" else 3, _AMO[stem] << 2, first, _place(operands[-1])[1], second)
    precision = {"s": 0, "d": 1}[width]
    registers = [REGISTERS[operand] for operand in operands[1:]]
    if stem in _FUSED:
        return r_type(_FUSED[stem], 7, registers[2] << 2 | precision, first, registers[0], registers[1])
    funct7, funct3 = _FLOAT[stem]
    return r_type(0x53, funct3, funct7 | precision, first, registers[0], registers[1])
