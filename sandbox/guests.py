"""The programs that come with the package, and what each promises.

One file per program and ISA: `guests/NAME.ARCH.s`, for boards `guests/board/NAME.ARCH.s`. The header comment is
the contract: `arch`, `purpose`, `args`, `stdin`, `stdout`, `status`, for bare-metal programs `board`, and any number of
`test` lines, which the tests run and compare, in the sandbox and where the truth is:

    # test: args="3 10" stdin="..." stdout="count 1\\n" status=0 memory="16M" endless

`stdout~"..."` is a regular expression that has to match all of it; `memory` is the limit to run under; `endless`
says that the program is to be stopped. Left out: no arguments, empty input and output, status 0. A riscv64
program is kept assembled beside its source (`NAME.riscv64.elf`, see `sandbox.assembler.gnu`).
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sandbox import assembler
from sandbox.errors import ConfigurationError, LoadError

_ITEM = re.compile(r"""(\w+)(?:([=~])(?:"((?:[^"\\]|\\.)*)"|([^\s"]\S*)))?\s*""")
_KEYS = {"args", "stdin", "stdout", "status", "memory", "endless"}
_FIELDS = ("arch", "purpose", "args", "stdin", "stdout", "status")


@dataclass(frozen=True, slots=True)
class Case:
    """One run of a guest and what has to come of it."""

    args: tuple[str, ...] = ()
    stdin: bytes = b""
    stdout: bytes = b""
    pattern: bool = False  # stdout is a regular expression
    status: int = 0
    memory: str | None = None
    endless: bool = False

    def accepts(self, stdout: bytes, status: int) -> bool:
        if status != self.status:
            return False
        return re.fullmatch(self.stdout, stdout) is not None if self.pattern else stdout == self.stdout


@dataclass(frozen=True, slots=True)
class Guest:
    name: str
    arch: str
    purpose: str
    args: str
    stdin: str
    stdout: str
    status: str
    board: str | None  # the board it runs on; None: a Linux program
    cases: tuple[Case, ...]
    path: Path

    def source(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def program(self) -> bytes:
        """The ELF file; assembled once per process. Raises AssemblyError."""
        return _program(self.path)

    def row(self) -> dict[str, object]:
        """What `sandbox guests --json` prints."""
        row: dict[str, object] = {"name": self.name, **{field: getattr(self, field) for field in _FIELDS}}
        return {**row, "board": self.board, "path": str(self.path)}


def directory() -> Path:
    """Inside an installed package the guests are `sandbox/_guests`; in a checkout they stand beside it."""
    installed = Path(__file__).with_name("_guests")
    return installed if installed.is_dir() else Path(__file__).parent.parent / "guests"


@cache
def guests() -> tuple[Guest, ...]:
    """All of them, by name and ISA. Raises ConfigurationError for a header that breaks the form."""
    found = [read_guest(path) for path in sorted(directory().rglob("*.s"))]
    return tuple(sorted(found, key=lambda guest: (guest.name, guest.arch)))


def guest(name: str, arch: str) -> Guest:
    """Raises ConfigurationError that names what there is."""
    for candidate in guests():
        if (candidate.name, candidate.arch) == (name, arch):
            return candidate
    choices = ", ".join(sorted({candidate.name for candidate in guests() if candidate.arch == arch}))
    raise ConfigurationError(f"there is no guest '{name}' for {arch}; there are: {choices or 'none for this ISA'}")


def meant(name: str, arch: str | None, board: str | None) -> Guest | None:
    """The guest that a program's name stands for, when it is no file; for x86_64 when nothing says which ISA. None when
    there is no such name; LoadError when there is, and not for this ISA or board."""
    named = [candidate for candidate in guests() if candidate.name == name]
    if not named:
        return None
    here = [candidate for candidate in named if candidate.board == board]
    if not here and board is None:
        home = named[0].board
        raise LoadError(f"{name} is a guest for a board: add --board {home} (from Python: board={home!r})")
    if not here:
        others = ", ".join(sorted({candidate.name for candidate in guests() if candidate.board == board}))
        raise LoadError(f"{name} is a guest for Linux, not for a board; for {board} there are: {others or 'none'}")
    wanted = arch or ("x86_64" if board is None else None)
    for candidate in here:
        if wanted in (None, candidate.arch):
            return candidate
    raise LoadError(f"the guest {name} is for {', '.join(candidate.arch for candidate in here)}, not for {wanted}")


def read_guest(path: Path) -> Guest:
    name, _, arch = path.stem.partition(".")
    fields = assembler.header_fields(path.read_text(encoding="utf-8"))
    header = dict(fields)
    missing = [field for field in _FIELDS if field not in header]
    if missing:
        raise ConfigurationError(f"{path}: the header lacks: {', '.join(missing)}")
    if header["arch"] != arch:
        raise ConfigurationError(f"{path}: the header says arch {header['arch']}, the file's name {arch}")
    cases = tuple(parse_case(value, str(path)) for key, value in fields if key == "test")
    if not cases:
        raise ConfigurationError(f"{path}: the header has no test line")
    texts = {field: header[field] for field in _FIELDS[1:]}
    return Guest(name=name, arch=arch, board=header.get("board"), cases=cases, path=path, **texts)


def parse_case(text: str, where: str) -> Case:
    values: dict[str, str] = {}
    pattern = False
    position = 0
    while position < len(text):
        match = _ITEM.match(text, position)
        if match is None or match[1] not in _KEYS:
            raise ConfigurationError(f"{where}: the test line is not understood at: {text[position:]}")
        key, relation, quoted, bare = match.groups()
        if key in values:
            raise ConfigurationError(f"{where}: the test line says {key} twice")
        values[key] = quoted if quoted is not None else bare or ""
        pattern |= relation == "~"
        position = match.end()
    stdout = values.get("stdout", "")
    return Case(
        args=tuple(shlex.split(values.get("args", ""))),
        stdin=_unescape(values.get("stdin", "")),
        stdout=stdout.encode() if pattern else _unescape(stdout),
        pattern=pattern,
        status=int(values.get("status", "0")),
        memory=values.get("memory"),
        endless="endless" in values,
    )


def _unescape(text: str) -> bytes:
    return text.encode("latin-1").decode("unicode_escape").encode("latin-1")


@cache
def _program(path: Path) -> bytes:
    return assembler.assemble_file(path)
