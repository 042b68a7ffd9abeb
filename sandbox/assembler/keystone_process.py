"""The door to keystone: a parsed source to bytes and the addresses of its labels.

Both parts are assembled as one unit, the data part on a page boundary, so that labels work across. What
keystone does not tell (where the parts end, what address a label got) is appended to the source as words
behind it, and cut off again.
"""

from __future__ import annotations

import importlib.util
import json
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from sandbox.abi import elf
from sandbox.assembler.assembled import Assembled
from sandbox.assembler.source import Line, Source
from sandbox.errors import AssemblyError

_CHILD = Path(__file__).with_name("keystone_child.py")
_TEXT_END, _DATA, _END = "__sandbox_text_end", "__sandbox_data", "__sandbox_end"
_SECONDS = 60


def assemble(source: Source) -> Assembled:
    """Raises AssemblyError with the line that keystone does not take."""
    labels = list(dict.fromkeys(source.labels))
    marks = [_TEXT_END, _DATA, _END]
    wide = elf.MACHINES[source.arch][1] == elf.CLASS64
    pool = [_added(".ltorg")] if source.arch in ("arm", "arm64") else []
    cpu = []
    if source.arch == "arm":  # the engine's CPU; keystone's default lacks udiv. It goes back to A32 by that
        cpu = [_added(".cpu cortex-a15"), _added(".thumb" if source.thumb else ".arm")]
    lines = [
        *cpu,
        *source.text,
        *pool,
        _added(f"{_TEXT_END}:", _TEXT_END),
        _added(".p2align 12, 0"),
        _added(f"{_DATA}:", _DATA),
        *source.data,
        _added(f"{_END}:", _END),
        _added(".p2align 3, 0"),
        *(_added(f"{'.quad' if wide else '.long'} {label}") for label in (*marks, *labels)),
    ]
    answer = _ask(source, lines)
    if answer["error"]:
        raise AssemblyError(_explain(source, lines, answer["line"], answer["error"]))
    encoded = bytes.fromhex(answer["bytes"])
    count = len(marks) + len(labels)
    word = 8 if wide else 4
    values = struct.unpack_from(f"<{count}{'Q' if wide else 'I'}", encoded, len(encoded) - count * word)
    text_end, data, end = (value - source.address for value in values[:3])
    return Assembled(
        text_address=source.address,
        text=encoded[:text_end],
        data_address=source.address + data,
        data=encoded[data:end],
        symbols=dict(zip(labels, values[3:], strict=True)),
    )


def _added(text: str, *labels: str) -> Line:
    return Line(0, text, (), labels)


def _ask(source: Source, lines: list[Line]) -> dict[str, Any]:
    place = importlib.util.find_spec("keystone")
    if place is None or place.origin is None:
        raise AssemblyError("the assembler is not installed; install it with: pip install keystone-engine")
    request = {
        "arch": source.arch,
        "thumb": source.thumb,
        "address": source.address,
        "lines": [[line.text, line.opens, line.labels] for line in lines],
    }
    folder = Path(place.origin).parent.parent
    try:
        child = subprocess.run(
            [sys.executable, "-I", str(_CHILD), str(folder)],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise AssemblyError(f"{source.name}: keystone did not finish within {_SECONDS} s") from None
    if child.returncode:
        last = child.stderr.strip().splitlines()[-1:] or [f"status {child.returncode}"]
        raise AssemblyError(f"{source.name}: keystone cannot be run: {last[0]}")
    answer: dict[str, Any] = json.loads(child.stdout)
    return answer


def _explain(source: Source, lines: list[Line], index: int | None, error: str) -> str:
    if index is None:
        return f"{source.name}: {error}"
    line = lines[index]
    if line.number:
        error, hint = _advise(source.arch, error, line.text)
        return f"{source.name}:{line.number}: {error}: {line.text}" + (f" ({hint})" if hint else "")
    label = line.text.split()[-1]
    if label in source.labels:
        return f"{source.name}: '{label}' cannot be the name of a label here ({error})"
    return f"{source.name}: {error}"


# (ISAs, what keystone says, what stands in the line, what to look at); the first that fits is said
_X86 = "x86_64 i386"
_HINTS: tuple[tuple[str, str, str, str], ...] = (
    (f"{_X86} arm64", "", r"(^|\s)[@;]", "a comment begins with //"),
    ("arm", "", r"(^|\s);", "a comment begins with //"),
    ("arm64", "", r"\s#\s", "a comment begins with //"),
    (f"{_X86} arm64 arm", "", r"^\d+:|\s\d+[bf]$", "labels that are numbers work outside of macros, once defined"),
    (_X86, "", r"^(global|section|extern|bits|default)\s", "that is NASM's: here .global NAME, .text, .data"),
    (_X86, "", r"\b(d[bwdq]|res[bwdq]|equ)\s", 'that is NASM\'s: here .ascii "TEXT", .byte N, .quad N, .space N'),
    ("x86_64", "operand", r"\boffset\b|\[\s*rel\b", "an address is loaded with lea rsi, [rip + LABEL]"),
    ("i386", "operand", r"\boffset\b|\[\s*rel\b", "an address is loaded with lea esi, [LABEL]"),
    (_X86, "operand", r"^(?!.*\bptr\b)\w+\s+\[[^\]]*\](,\s*-?\w+)?$", "how wide is it? dword ptr [...], byte ptr, ..."),
    (
        "arm64",
        "unknown error",
        r"[\s,\[]#?-?\d",
        "does the number fit? ldr x0, =NUMBER loads any; are all registers x, or w?",
    ),
    ("arm64", "unknown error", "", "are all registers x, or all w?"),
    ("arm", "operand", r"[\s,]#-?\d", "does the number fit? ldr r0, =NUMBER loads any"),
)
_UNSAID = {"unknown error": "the operands do not fit", "keystone refuses it": "it is not understood"}


def _advise(arch: str, error: str, text: str) -> tuple[str, str]:
    """What keystone says, or better where it says nothing, and what to look at."""
    plain = re.sub(r'"[^"]*"', '""', text)
    for arches, said, pattern, hint in _HINTS if "symbol" not in error else ():
        if arch in arches.split() and said in error and re.search(pattern, plain, re.IGNORECASE):
            return _UNSAID.get(error, error), hint
    return _UNSAID.get(error, error), ""
