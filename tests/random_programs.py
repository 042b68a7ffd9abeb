"""Random programs for test_differential.py and test_twin.py: lists of parts that become code, shrunk by hypothesis.

A part is an instruction (by its number in instructions.py), a branch over the next parts, a bounded loop or a
syscall. A program works on eight pages of data through pointers that begin at the borders of pages, and its code may
stand over one.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from tests import riscv_assembler
from tests.instruction_templates import FAMILIES
from tests.instructions import instructions

LAST_CALL = 93  # the syscall that ends a program
MOST_PARTS = 24
COUNTERS = {"x86_64": "r15", "i386": "ebp", "arm64": "x28", "arm": "r11", "thumb": "r11", "riscv64": "s11"}  # of rounds

ALIGNMENT = {"x86_64": 1, "i386": 1, "thumb": 2}

Part = tuple[
    str, int, int
]  # ("do", number, 0), ("skip", condition, parts), ("loop", rounds, parts), ("call", number, 0)


@dataclass(frozen=True)
class Program:
    machine: str
    parts: tuple[Part, ...]
    pointers: tuple[int, ...]  # page borders that the pointer registers begin at, in pages from DATA
    seed: int  # of the contents of registers and memory
    child: bool = False  # it runs in a forked child, or in the parent of one
    before: int = 0  # bytes of its code that stand on the first page; 0: all of them

    def __str__(self) -> str:
        pool = instructions(self.machine)
        texts = [pool[part[1]].text if part[0] == "do" else " ".join(map(str, part)) for part in self.parts]
        return (
            f"{self.machine} pointers={self.pointers} seed={self.seed} child={self.child} before={self.before}:\n  "
            + "\n  ".join(texts)
        )

    __repr__ = __str__

    @property
    def code(self) -> bytes:
        return _joined(self.machine, self.parts) + _call(self.machine, LAST_CALL)


def programs(machine: str) -> st.SearchStrategy[Program]:
    count = len(instructions(machine))
    do = st.tuples(st.just("do"), st.integers(0, count - 1), st.just(0))
    part = st.one_of(
        *[do] * 12,
        st.tuples(st.just("skip"), st.integers(0, 13), st.integers(1, 4)),
        st.tuples(st.just("loop"), st.integers(1, 5), st.integers(1, 6)),
        st.tuples(st.just("call"), st.integers(0, 92), st.just(0)),
    )
    border = st.sampled_from([1, 1, 2, 2, 3, 4, 4, 5, 6, 6, 7, 7, 8])
    pointers = st.tuples(*[border] * len(FAMILIES[machine].classes["p"]))  # type: ignore[arg-type]
    return st.builds(
        Program,
        st.just(machine),
        st.lists(part, min_size=1, max_size=MOST_PARTS).map(tuple),
        pointers,
        st.integers(0, 1 << 30),
        st.booleans(),
        st.integers(0, 40).map(lambda units: units * ALIGNMENT.get(machine, 4)),
    )


# ---- encoding


def _joined(machine: str, parts: Sequence[Part], looping: bool = False) -> bytes:
    """There is one register to count rounds with, so a loop within a loop is run through once."""
    pool = instructions(machine)
    code, index = b"", 0
    while index < len(parts):
        kind, value, count = parts[index]
        index += 1
        if kind == "do":
            code += pool[value].code
        elif kind == "call":
            code += _call(machine, value)
        else:
            body = _joined(machine, parts[index : index + count], looping or kind == "loop")
            index += count
            if kind == "skip":
                code += _skip(machine, value, len(body)) + body
            else:
                code += body if looping else _loop(machine, value, body)
    return code


def _branch(machine: str, condition: int, offset: int) -> bytes:
    """A conditional branch to `offset` from its own address; condition 1 is "not equal" on all but riscv64."""
    if machine in ("x86_64", "i386"):
        code = {0: 4, 1: 5}.get(condition, condition)
        return bytes([0x0F, 0x80 | code]) + struct.pack("<i", offset - 6)
    if machine == "arm64":
        return struct.pack("<I", 0x54000000 | (offset // 4 & 0x7FFFF) << 5 | condition)
    if machine == "arm":
        return struct.pack("<I", condition << 28 | 0x0A000000 | ((offset - 8) // 4 & 0xFFFFFF))
    if machine == "thumb":
        far = offset - 4
        first = 0xF000 | (far < 0) << 10 | condition << 6 | far >> 12 & 0x3F
        second = 0x8000 | (far >> 18 & 1) << 13 | (far >> 19 & 1) << 11 | far >> 1 & 0x7FF
        return struct.pack("<HH", first, second)
    a0, a1 = riscv_assembler.REGISTERS["a0"], riscv_assembler.REGISTERS["a1"]
    return struct.pack("<I", riscv_assembler.b_type((0, 1, 4, 5, 6, 7)[condition % 6], a0, a1, offset))


def _skip(machine: str, condition: int, size: int) -> bytes:
    length = 6 if machine in ("x86_64", "i386") else 4
    return _branch(machine, condition, length + size)


def _loop(machine: str, rounds: int, body: bytes) -> bytes:
    if machine == "riscv64":
        s11 = riscv_assembler.REGISTERS["s11"]
        begin = struct.pack("<I", riscv_assembler.i_type(0x13, 0, s11, 0, rounds))
        count = struct.pack("<I", riscv_assembler.i_type(0x13, 0, s11, s11, -1))
        back = struct.pack("<I", riscv_assembler.b_type(1, s11, 0, -len(body) - 4))
        return begin + body + count + back
    begin, count = {
        "x86_64": (b"\x41\xbf" + struct.pack("<I", rounds), b"\x41\xff\xcf"),  # r15d
        "i386": (b"\xbd" + struct.pack("<I", rounds), b"\x4d"),  # ebp
        "arm64": (struct.pack("<I", 0x5280001C | rounds << 5), struct.pack("<I", 0x7100079C)),  # w28
        "arm": (struct.pack("<I", 0xE3A0B000 | rounds), struct.pack("<I", 0xE25BB001)),  # r11
        "thumb": (struct.pack("<HH", 0xF04F, 0x0B00 | rounds), struct.pack("<HH", 0xF1BB, 0x0B01)),
    }[machine]
    return begin + body + count + _branch(machine, 1, -len(body) - len(count))


def _call(machine: str, number: int) -> bytes:
    if machine in ("x86_64", "i386"):
        return b"\xb8" + struct.pack("<I", number) + (b"\x0f\x05" if machine == "x86_64" else b"\xcd\x80")
    if machine == "arm64":
        return struct.pack("<II", 0xD2800008 | number << 5, 0xD4000001)
    if machine == "arm":
        return struct.pack("<II", 0xE3A07000 | number, 0xEF000000)
    if machine == "thumb":
        return struct.pack("<HHH", 0xF04F, 0x0700 | number, 0xDF00)
    return struct.pack("<II", riscv_assembler.i_type(0x13, 0, 17, 0, number), 0x73)
