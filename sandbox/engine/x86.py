"""The x86 code that Unicorn cannot be trusted with, found by walking straight lines: the Python side of `_x86.h`,
whose comments give the reasons and sources. Used by the twin; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MOST_TEMPORARIES = 420
_PREFIXES = frozenset(b"\xf0\x2e\x36\x3e\x26\x64\x65\x67\xf2\xf3\x66")


def _one_byte_shapes() -> list[str]:
    shapes = ["m", "m", "m", "m", "b", "z", "", ""] * 8 + [""] * 32
    shapes += ["", "", "m", "m", "x", "x", "x", "x", "z", "mz", "b", "mb", "", "", "", ""]
    shapes += ["bj"] * 16
    shapes += ["mb", "mz", "mb", "mb"] + ["m"] * 12
    shapes += [""] * 10 + ["pj"] + [""] * 5
    shapes += ["a", "a", "a", "a", "", "", "", "", "b", "z", "", "", "", "", "", ""]
    shapes += ["b"] * 8 + ["v"] * 8
    shapes += ["mb", "mb", "wj", "j", "m", "m", "mb", "mz", "e", "", "wj", "j", "j", "bj", "", "j"]
    shapes += ["m", "m", "m", "m", "b", "b", "", ""] + ["m"] * 8
    shapes += ["bj", "bj", "bj", "bj", "b", "b", "b", "b", "zj", "zj", "pj", "bj", "", "", "", ""]
    shapes += ["x", "j", "x", "x", "j", "", "m", "m", "", "", "", "", "", "", "m", "m"]
    return shapes


_ONE_BYTE = _one_byte_shapes()
_TWO_BYTE_BARE = frozenset(
    [0x06, 0x08, 0x09, 0x0E, 0x77, 0xA0, 0xA1, 0xA2, 0xA8, 0xA9, 0xAA, *range(0x30, 0x38), *range(0xC8, 0xD0)]
)
_TWO_BYTE_IMMEDIATE = frozenset([0x0F, 0x70, 0x71, 0x72, 0x73, 0xA4, 0xAC, 0xBA, 0xC2, 0xC4, 0xC5, 0xC6])
_VEX_IMMEDIATE = frozenset([0x70, 0x71, 0x72, 0x73, 0xC2, 0xC4, 0xC5, 0xC6])


@dataclass(slots=True)
class Instruction:
    length: int = 0
    ends_block: bool = False
    vex: bool = False
    avx: bool = False
    map: int = 0
    opcode: int = 0
    modrm: int = 0

    @property
    def temporaries(self) -> int:
        """How many of the translator's temporaries it uses up for the rest of its block."""
        if self.map == 0:
            if self.opcode & 0xF8 == 0xD8 and not self.vex:
                return 2 if self.modrm >= 0xC0 else 1
            return int(self.opcode in (0x8E, 0xCE, 0xD4, 0xD5))
        if self.map == 1:
            return 2 if self.opcode == 0x78 else int(self.opcode in (0x20, 0x70, 0xC6))
        if self.map == 2:
            return int(self.opcode in (0xF0, 0xF1))
        return 1


def decode(code: bytes, at: int, end: int, long_mode: bool) -> Instruction:
    """The instruction at `at`; length 0 when it runs beyond `end` or 15 bytes."""
    found, start, limit = Instruction(), at, min(end, at + 15)
    try:
        return _decode(found, code, start, limit, long_mode)
    except IndexError:
        found.length = 0
        return found


def _decode(found: Instruction, code: bytes, start: int, limit: int, long_mode: bool) -> Instruction:
    at, operand16, address_small, wide, repne = start, False, False, False, False

    def byte(position: int) -> int:
        if position >= limit:
            raise IndexError
        return code[position]

    while True:
        value = byte(at)
        if long_mode and value & 0xF0 == 0x40:
            wide = bool(value & 8)
        elif value in _PREFIXES:
            operand16 |= value == 0x66
            repne |= value == 0xF2
            address_small |= value == 0x67
        else:
            break
        at += 1
    opcode, at = value, at + 1
    shape = _ONE_BYTE[opcode]
    if opcode in (0xC4, 0xC5, 0x62):
        if long_mode or byte(at) & 0xC0 == 0xC0:
            more = {0xC5: 1, 0xC4: 2, 0x62: 3}[opcode]
            byte(at + more)
            evex = opcode == 0x62
            found.vex = True
            found.map = 1 if opcode == 0xC5 else code[at] & (3 if evex else 31)
            wide_vector = code[at + more - 1] & 4
            at += more
            opcode, at = code[at], at + 1
            immediate = found.map == 3 or (found.map == 1 and opcode in _VEX_IMMEDIATE)
            shape = "mb" if immediate else "" if found.map == 1 and opcode == 0x77 else "m"
            general = (found.map == 2 and 0xF2 <= opcode <= 0xF7) or (found.map == 3 and opcode == 0xF0)
            found.avx = not evex and not wide_vector and not general
    elif opcode == 0x0F:
        found.map, opcode, at = 1, byte(at), at + 1
        if opcode in (0x38, 0x3A):
            found.map, shape = (2, "m") if opcode == 0x38 else (3, "mb")
            opcode, at = byte(at), at + 1
        elif opcode & 0xF0 == 0x80:
            shape = "zj"
        elif opcode in _TWO_BYTE_BARE:
            shape = "j" if opcode in (0x34, 0x35) else ""
        elif opcode in (0x05, 0x07, 0x0B):
            shape = "j"
        elif opcode == 0x78 and (operand16 or repne):  # extrq, insertq: Unicorn reads no address after ModRM
            shape = "bw"
        else:
            shape = "mb" if opcode in _TWO_BYTE_IMMEDIATE else "m"
    elif long_mode and opcode in (0x9A, 0xEA):
        shape = ""
    found.opcode = opcode
    at = _operands(found, shape, byte, at, (operand16 and not wide, address_small, wide), long_mode)
    byte(at - 1)
    found.length = at - start
    return found


def _operands(
    found: Instruction,
    shape: str,
    byte: Callable[[int], int],
    at: int,
    sizes: tuple[bool, bool, bool],
    long_mode: bool,
) -> int:
    operand16, address_small, wide = sizes
    full = 2 if operand16 else 4
    for kind in shape:
        if kind == "m":
            at = _modrm(found, byte, at, address_small and not long_mode)
        elif kind == "j":
            found.ends_block = True
        elif kind == "a":
            at += (4 if address_small else 8) if long_mode else (2 if address_small else 4)
        else:
            at += {"b": 1, "w": 2, "e": 3, "z": full, "v": 8 if wide else full, "p": full + 2}.get(kind, 0)
        byte(at - 1)
    if found.map == 0 and not found.vex:
        register = found.modrm >> 3 & 7
        if found.opcode in (0xF6, 0xF7) and register < 2:
            at += 1 if found.opcode == 0xF6 else full
        elif found.opcode == 0xFF and 2 <= register <= 5:
            found.ends_block = True
    return at


def _modrm(found: Instruction, byte: Callable[[int], int], at: int, small: bool) -> int:
    found.modrm = byte(at)
    at += 1
    mode, rm = found.modrm >> 6, found.modrm & 7
    if mode == 3 or (found.map == 1 and not found.vex and found.opcode & 0xFC == 0x20):
        return at
    displacement = 1 if mode == 1 else 0
    if small:
        displacement = 1 if mode == 1 else 2 if mode == 2 or rm == 6 else 0
    else:
        if rm == 4:
            rm = byte(at) & 7
            at += 1
        if mode == 2 or (mode == 0 and rm == 5):
            displacement = 4
    return at + displacement


_SUSPECTS = bytes(
    2 if value & 0xF8 == 0xD8 else 1 if value in (0x8E, 0xCE, 0xD4, 0xD5, 0xC4, 0xC5) else 0 for value in range(256)
)


def overruns(page: bytes, long_mode: bool) -> bool:
    """True when some straight line of code in the page, begun anywhere, would overrun the translator's table."""
    bound = sum(page.translate(_SUSPECTS))
    bound += sum(page.count(b"\x0f" + bytes([second])) for second in (0x20, 0x70, 0xC6, 0x38, 0x3A, 0x78, 0x78))
    if bound < MOST_TEMPORARIES // 2:
        return False
    size = len(page)
    cost = [0] * (size + 16)
    leaves = [True] * (size + 16)
    for at in range(size - 1, -1, -1):
        found = decode(page, at, size, long_mode)
        if not found.length:
            total = 2
        else:
            total = found.temporaries + (0 if found.ends_block else cost[at + found.length])
        leaves[at] = not found.length or (not found.ends_block and leaves[at + found.length])
        if total > (MOST_TEMPORARIES // 2 if leaves[at] or at < 15 else MOST_TEMPORARIES):
            return True
        cost[at] = total
    return False


_LOCKED_BITS = frozenset((0xA3, 0xAB, 0xB3, 0xBB, 0xBA))


def _is_prefix(byte: int, long_mode: bool) -> bool:
    return byte in _PREFIXES or (long_mode and byte & 0xF0 == 0x40)


def locked_bit(code: bytes, at: int, long_mode: bool) -> bool:
    """A locked bit test of a register begins with the lock prefix at `at`."""
    start, size = at, len(code)
    if at >= size or code[at] != 0xF0:
        return False
    at += 1
    while at < size and at - start < 13 and _is_prefix(code[at], long_mode):
        at += 1
    return at + 3 <= size and code[at] == 0x0F and code[at + 1] in _LOCKED_BITS and code[at + 2] >= 0xC0


def locked_starts(code: bytes, long_mode: bool) -> list[int]:
    """Where instructions can begin, with whatever prefixes, that are locked bit tests of registers."""
    starts = []
    at = code.find(0xF0)
    while at >= 0:
        if locked_bit(code, at, long_mode):
            first = at
            starts.append(first)
            while first > 0 and at - first + 1 < 13 and _is_prefix(code[first - 1], long_mode):
                first -= 1
                starts.append(first)
        at = code.find(0xF0, at + 1)
    return starts


def is_locked_bit(code: bytes, long_mode: bool) -> bool:
    """The instruction at the beginning of `code` is one."""
    for at, byte in enumerate(code):
        if not _is_prefix(byte, long_mode):
            return False
        if locked_bit(code, at, long_mode):
            return True
    return False


def first_avx(code: bytes, long_mode: bool) -> int | None:
    """Offset of the first instruction of a block that Unicorn decodes as something else, or None."""
    at = 0
    while at < len(code):
        found = decode(code, at, len(code), long_mode)
        if found.avx:
            return at
        if not found.length:
            return None
        at += found.length
    return None
