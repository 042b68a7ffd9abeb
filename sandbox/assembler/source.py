"""The form of an assembly source file, the same for every ISA.

- A line whose first character is `#` is a comment. Comments before the first statement are the header;
  `# key: value` lines in it are its fields: `arch` (the ISA's name), `mode: thumb` (arm), `address` (where
  the text goes, for boards). guests.py reads further ones.
- `//` to the end of the line is a comment.
- A line `# data` ends the text part; what follows is the data part. They become two segments, text
  read-execute and data read-write, each on pages of its own: a page that is written and executed makes
  every store slow. Labels are shared. Zeros at the end of the data take no room in the file.
- Labels may be numbers outside of macros: `1:`, and `1b`, `1f` for the last and the next one.
- The program starts at `_start`, or at its first instruction.
- As for GNU as, `.text`, `.data`, `.bss`, `.rodata` and `.section` with one of these names say to which part the
  following lines go, too; `.rodata` stands behind the code.
- Directives are those of `DIRECTIVES`, and `IGNORED` ones, which change nothing here (to keystone, a global label is
  one that a linker would fill in: its address would be 0); keystone ignores others without a word, and some crash it.
  Sources for riscv64 go to GNU as, which knows all of its own.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from sandbox.abi import elf
from sandbox.assembler import local_labels, operands
from sandbox.errors import AssemblyError

_DIRECTIVE_NAMES = """
    byte short hword 2byte word long int 4byte quad 8byte xword single float double ascii asciz string
    space skip zero fill align balign p2align equ set equiv macro endm endmacro exitm purgem rept endr irp irpc
    if ifeq ifne ifge ifgt ifle iflt ifb ifnb ifc ifnc ifdef ifndef ifnotdef else elseif endif
    arm thumb code thumb_func ltorg pool
"""
DIRECTIVES = frozenset(_DIRECTIVE_NAMES.split())
_OPENERS = {"macro": "endm", "rept": "endr", "irp": "endr", "irpc": "endr"}
_CLOSERS = {"endm", "endmacro", "endr"}
_LABEL = re.compile(r"\s*([A-Za-z_.][\w.$]*)\s*:(?!:)")
_DIRECTIVE = re.compile(r"\.([A-Za-z_0-9]+)")
_FIELD = re.compile(r"#+\s*([a-z][a-z0-9_-]*)\s*:\s*(.*?)\s*$")
DATA = re.compile(r"#\s*data\s*$")

DEFAULT_ADDRESS = {"x86_64": 0x401000, "i386": 0x08049000, "arm64": 0x401000, "arm": 0x11000, "riscv64": 0x11000}

IGNORED = re.compile(
    r"\.(intel_syntax(\s+noprefix)?|syntax\s+unified|globa?l\s.*|(type|size)\s+[\w.$]+\s*,.*|(file|ident)\s.*)$",
    re.IGNORECASE,
)
_SECTION = re.compile(r"\.(?:section\s+\.?)?(text|rodata|data|bss)(?:\.[\w.]+)?\s*(?:,.*)?$", re.IGNORECASE)
_PARTS = {"text": 0, "data": 1, "bss": 1, "rodata": 2}
_BUILD = "or build it with gcc and run the ELF file"
_ADVICE = {
    "section": f"there are .text, .data, .bss and .rodata, {_BUILD}",
    "att_syntax": f"x86 is in Intel syntax: mov eax, 60, {_BUILD}",
    **dict.fromkeys(("arch", "cpu", "fpu", "syntax", "p2alignl", "line", "loc"), "leave it out"),
    **dict.fromkeys(("extern", "include", "incbin"), f"a source stands alone, {_BUILD}"),
    **dict.fromkeys(("comm", "lcomm"), "write `.bss` and `NAME: .space SIZE`"),
}


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    text: str  # without comments, stripped
    opens: tuple[str, ...]  # what would have to close the blocks that are open after this line
    labels: tuple[str, ...]  # labels that this line defines outside of any block


@dataclass(frozen=True, slots=True)
class Source:
    name: str
    arch: str
    thumb: bool
    address: int
    fields: tuple[tuple[str, str], ...]  # the header's, in order; a key may come again
    text: tuple[Line, ...]
    data: tuple[Line, ...]

    @property
    def labels(self) -> list[str]:
        return [label for line in (*self.text, *self.data) for label in line.labels]


def header_fields(source: str) -> list[tuple[str, str]]:
    """The `# key: value` fields of the header; a line `#   more` after a field continues its value."""
    fields: list[tuple[str, str]] = []
    for line in source.splitlines():
        if not line.startswith("#"):
            if line.strip():
                break
            continue
        match = _FIELD.match(line)
        if match:
            fields.append((match[1], match[2]))
        elif fields and line.startswith("#   ") and line.strip("# "):
            fields[-1] = (fields[-1][0], f"{fields[-1][1]} {line[1:].strip()}".strip())
    return fields


def parse(source: str, name: str, arch: str | None = None) -> Source:
    """Raises AssemblyError. `arch` overrides the header's."""
    fields = header_fields(source)
    header = dict(fields)
    chosen = arch or header.get("arch")
    known = ", ".join(elf.MACHINES)
    if chosen is None:
        raise AssemblyError(
            f"{name}: which ISA is this for? Begin the file with '# arch: NAME', or use --arch ({known})"
        )
    if chosen not in elf.MACHINES:
        raise AssemblyError(f"{name}: there is no ISA '{chosen}'; known are {known}")
    mode = header.get("mode", "")
    if mode not in ("", "arm", "thumb") or (mode and chosen != "arm"):
        raise AssemblyError(f"{name}: the header's mode is '{mode}'; it may be 'arm' or 'thumb', for arm only")
    try:
        address = int(header.get("address", str(DEFAULT_ADDRESS[chosen])), 0)
    except ValueError:
        raise AssemblyError(f"{name}: the header's address is no number") from None
    if address % 4096 or not 0 <= address < 1 << (64 if elf.MACHINES[chosen][1] == elf.CLASS64 else 32):
        raise AssemblyError(f"{name}: the header's address {address:#x} is not that of a page")
    text, data = _lines(source, name, chosen)
    return Source(name, chosen, mode == "thumb", address, tuple(fields), tuple(text), tuple(data))


def _lines(source: str, name: str, arch: str) -> tuple[list[Line], list[Line]]:
    checked = arch != "riscv64"
    parts: tuple[list[Line], list[Line], list[Line]] = ([], [], [])
    part = 0
    blocks: list[tuple[str, int]] = []  # (what closes it, the line that opened it)
    conditions: list[int] = []
    defined: dict[str, int] = {}
    lines = source.splitlines()
    for number, raw in enumerate(local_labels.rename(lines) if checked else lines, 1):
        where = f"{name}:{number}"
        text = "" if raw.startswith("#") else without_comment(raw).strip()
        section = _SECTION.match(text) if checked else None
        if section or DATA.match(raw):
            if not section and part == 1:
                raise AssemblyError(f"{where}: the data part has begun already")
            if blocks or conditions:
                raise AssemblyError(f"{where}: the {section[1] if section else 'data'} part begins inside a block")
            part = _PARTS[section[1].lower()] if section else 1
            continue
        if not text or (checked and IGNORED.match(text)):
            continue
        labels, rest = _split_labels(text)
        directive = _DIRECTIVE.match(rest)
        if checked:
            operands.check(rest, arch, where)
        outside = not blocks and not conditions
        if directive:
            word = directive[1].lower()
            if checked and word not in DIRECTIVES:
                raise _refuse(word, where)
            if word in _OPENERS:
                blocks.append(("." + _OPENERS[word], number))
            elif word in _CLOSERS and blocks:
                blocks.pop()
            elif word.startswith("if"):
                conditions.append(number)
            elif word == "endif" and conditions:
                conditions.pop()
        opens = (*(closer for closer, _ in reversed(blocks)), *(".endif" for _ in conditions))
        for label in labels if outside else ():
            if label in defined:
                raise AssemblyError(f"{where}: the label '{label}' stands in line {defined[label]} already")
            defined[label] = number
        parts[part].append(Line(number, text, opens, tuple(labels) if outside else ()))
    if checked and (blocks or conditions):
        number = [*(line for _, line in blocks), *conditions][-1]
        raise AssemblyError(f"{name}:{number}: the block that begins here is never closed")
    return parts[0] + parts[2], parts[1]


def _refuse(word: str, where: str) -> AssemblyError:
    advice = "leave it out" if word.startswith("cfi_") else _ADVICE.get(word)
    near = difflib.get_close_matches(word, DIRECTIVES, 1)
    advice = advice or (f"do you mean '.{near[0]}'?" if near else f"sources are simple, {_BUILD}")
    return AssemblyError(f"{where}: there is no directive '.{word}' here: {advice}")


def without_comment(line: str) -> str:
    quote = escaped = False
    for index, character in enumerate(line):
        if escaped:
            escaped = False
        elif character == "\\" and quote:
            escaped = True
        elif character == '"':
            quote = not quote
        elif character == "/" and not quote and line.startswith("//", index):
            return line[:index]
    return line


def _split_labels(text: str) -> tuple[list[str], str]:
    labels = []
    while match := _LABEL.match(text):
        labels.append(match[1])
        text = text[match.end() :].strip()
    return labels, text
