"""What keystone would leave out without a word, or encode wrongly: refused before it sees it.

It drops lines in AT&T syntax and with numbers beyond 64 bits, computes `adrp` wrongly, and cuts x86's numbers to the
width of what they go to. Only what is certain from the text is refused: literal numbers, registers, `dword ptr`.
"""

from __future__ import annotations

import re

from sandbox.errors import AssemblyError

_STRING = re.compile(r"""\"(?:\\.|[^"\\])*\"|'(?:\\.|[^'\\])'?""")
_AT_AND_T = re.compile(r"(?:^|[\s,(\[*])[%$][A-Za-z0-9_(-]")
_ADRP = re.compile(r"adrp\s", re.IGNORECASE)
_LITERAL = r"-?\s*(?:0x[0-9a-f]+|0b[01]+|[1-9][0-9]*|0)"
_NUMBER = re.compile(rf"(?<![\w.]){_LITERAL}(?![\w.])", re.IGNORECASE)
_TO_REGISTER = re.compile(
    rf"(?:lock\s+)?(?:mov|add|or|adc|sbb|and|sub|xor|cmp|test|imul)\s+([^,]+),\s*(?:[^,]+,\s*)?({_LITERAL})$",
    re.IGNORECASE,
)
_ALONE = re.compile(rf"(?:push|retf?|enter)\s+({_LITERAL})(?:\s*,.*)?$", re.IGNORECASE)
_POINTER = re.compile(r"(byte|word|dword|qword)\s+ptr\b", re.IGNORECASE)
_INSIDE = re.compile(r"\[([^\]]*)\]")
_BASE = re.compile(r"\b(?:(r)(?:[a-ds][xip]|bp|\d+|ip)|e[a-ds][xip]|ebp|r\d+d)\b", re.IGNORECASE)

_WIDTHS = {"byte": 8, "word": 16, "dword": 32, "qword": 64}
_WIDTHS |= dict.fromkeys("al bl cl dl ah bh ch dh sil dil bpl spl".split(), 8)
for _name in "ax bx cx dx si di bp sp".split():
    _WIDTHS |= {_name: 16, f"e{_name}": 32, f"r{_name}": 64}
for _number in range(8, 16):
    _WIDTHS |= {f"r{_number}b": 8, f"r{_number}w": 16, f"r{_number}d": 32, f"r{_number}": 64}


def check(statements: str, arch: str, where: str) -> None:
    """One line's instructions or directive. Raises AssemblyError."""
    plain = _STRING.sub("''", statements)
    directive = plain.startswith(".")
    if not directive and _AT_AND_T.search(plain):
        raise AssemblyError(f"{where}: operands have no % and no $ (x86 is in Intel syntax: mov eax, 60): {statements}")
    if _ADRP.match(plain):
        raise AssemblyError(f"{where}: keystone computes adrp wrongly: use adr, or ldr with =label: {statements}")
    for number in _NUMBER.findall(plain):
        _check_range(number, 64, "64 bits", where, statements)
    if arch in ("x86_64", "i386") and not directive:
        for statement in plain.split(";"):
            _check_x86(statement.strip(), arch == "x86_64", where)


def _check_x86(statement: str, wide: bool, where: str) -> None:
    if found := _TO_REGISTER.match(statement):
        target = found[1].strip().lower()
        pointer = _POINTER.match(target)
        width = _WIDTHS.get(pointer[1] if pointer else target)
        if width:
            _check_range(found[2], width, f"the {width} bits of {target}", where, statement)
    elif found := _ALONE.match(statement):
        if not statement.lower().startswith("push"):
            _check_range(found[1], 16, "16 bits", where, statement)
        elif wide:
            _check_range(found[1], 32, "the 32 bits that push extends by their sign", where, statement, signed=True)
    for inside in _INSIDE.findall(statement):
        base = _BASE.search(inside)  # without one, an address of 64 bits has a form of its own
        for number in _NUMBER.findall(inside) if base else ():
            signed = base is not None and base[1] in ("r", "R")
            _check_range(number, 32, "the 32 bits of a displacement", where, statement, signed)


def _check_range(literal: str, width: int, what: str, where: str, statement: str, signed: bool = False) -> None:
    literal = "".join(literal.split())
    number = int(literal, 0)
    if not -1 << (width - 1) <= number < 1 << (width - 1 if signed else width):
        raise AssemblyError(f"{where}: {literal} does not fit {what}: {statement}")
