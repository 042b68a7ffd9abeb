"""`#!` scripts: which program really runs, and with which arguments (`fs/binfmt_script.c`, `execve(2)`).

The first line is read from the first 256 bytes. It names an interpreter and at most one argument (the rest
of the line, blanks inside it included). The interpreter may be a script itself, to a limit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sandbox.abi.errno import EACCES, ELOOP, ENOEXEC, Errno
from sandbox.loader.elf import BadProgram, read_range
from sandbox.memory import PageSource

_BUFFER = 256
_DEPTH = 5  # rewrites; the sixth is ELOOP, as on Linux since 3.8 (its manual page says four)
_BLANKS = b" \t"


@dataclass(frozen=True, slots=True)
class Resolved:
    """The program to load for a path: `path` differs from what was asked when a script named it."""

    path: bytes
    source: PageSource
    argv: list[bytes]


def parse_line(buffer: bytes) -> tuple[bytes, bytes | None] | None:
    """(interpreter, argument or None) of a file's first bytes; None: not a script. Raises BadProgram."""
    if not buffer.startswith(b"#!"):
        return None
    buffer = buffer[:_BUFFER].ljust(_BUFFER, b"\0")
    line, newline, _ = buffer[2:].partition(b"\n")
    if not newline:
        if not any(byte in line.lstrip(_BLANKS) for byte in b" \t\0"):
            raise BadProgram(ENOEXEC, "is a script whose interpreter's name is cut off at 255 bytes")
        line = line[:-1]  # Linux keeps the last byte of its buffer for a NUL
    line = line.strip(_BLANKS)
    end = next((index for index, byte in enumerate(line) if byte in b" \t\0"), len(line))
    interpreter, rest = line[:end], line[end:]
    if not interpreter:  # a NUL there is an empty path to Linux, and that is not a regular file
        raise BadProgram(EACCES if line else ENOEXEC, "is a script that names no interpreter")
    if rest[:1] in (b"", b"\0"):
        return interpreter, None
    return interpreter, rest.lstrip(_BLANKS).split(b"\0", 1)[0]


def resolve(open_program: Callable[[bytes], PageSource], path: bytes, argv: list[bytes]) -> Resolved:
    """Follow `#!` lines from `path` until something that is no script. `open_program` raises Errno."""
    source = open_program(path)
    for _ in range(_DEPTH + 1):
        script = parse_line(read_range(source, 0, _BUFFER))
        if script is None:
            return Resolved(path, source, argv)
        interpreter, argument = script
        argv = [interpreter, *([] if argument is None else [argument]), path, *argv[1:]]
        path = interpreter
        try:
            source = open_program(path)
        except Errno as error:
            named = path.decode("utf-8", "backslashreplace")
            raise BadProgram(error.number, f"is a script for {named}, which cannot be opened ({error})") from None
    raise BadProgram(ELOOP, "is a script whose interpreters are scripts too many times over")
