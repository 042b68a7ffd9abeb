"""Labels that are numbers, as GNU as has them and keystone has not: `1:`, `jnz 1b` (the last one), `jmp 1f` (the next).

Each definition gets a name of its own and each reference that of its definition; line numbers stay. Inside of macros
and repetitions they are left as they are, and keystone refuses them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

_DEFINITION = re.compile(r"((?:\s*[A-Za-z_.$][\w.$]*\s*:)*\s*)(\d+)(\s*:)(?!:)")
_REFERENCE = re.compile(r"(?<![\w.$])(\d+)([bf])(?![\w.])")
_QUOTED = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])'|//.*)""")
_BLOCK = re.compile(r"\s*\.(?:(macro|rept|irpc?)|(endm|endmacro|endr))\b", re.IGNORECASE)


def rename(lines: list[str]) -> list[str]:
    outside = list(_outside(lines))
    total, defined = Counter[str](), Counter[str]()
    renamed, made = list(lines), {index: Counter[str]() for index in outside}
    for index in outside:
        while found := _DEFINITION.match(renamed[index]):
            number, rest = found[2], renamed[index][found.end() :]
            total[number] += 1
            made[index][number] += 1
            renamed[index] = f"{found[1]}{_name(number, total[number])}{found[3]}{rest}"

    def refer(found: re.Match[str]) -> str:
        number, direction = found.groups()
        which = defined[number] + (direction == "f")
        return _name(number, which) if 0 < which <= total[number] else found[0]

    for index in outside:
        defined.update(made[index])
        pieces = _QUOTED.split(renamed[index])
        pieces[::2] = [_REFERENCE.sub(refer, piece) for piece in pieces[::2]]
        renamed[index] = "".join(pieces)
    return renamed


def _outside(lines: list[str]) -> Iterator[int]:
    """The lines of no macro, repetition or comment."""
    depth = 0
    for index, line in enumerate(lines):
        if block := _BLOCK.match(line):
            depth += 1 if block[1] else -1
        if depth <= 0 and not line.startswith("#"):
            yield index


def _name(number: str, which: int) -> str:
    return f".L{number}_{which}"
