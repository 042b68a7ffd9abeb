"""RISC-V sources, which keystone does not know: GNU as and ld for riscv64.

Their output is reduced to what keystone gives as well (bytes of the two parts, addresses of the labels), so that one
writer makes all ELF files. Where the tools are not installed, the ELF file that is kept beside a source is
used as long as it was built from exactly that source: its last bytes hold the source's digest.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from sandbox.assembler.assembled import Assembled
from sandbox.assembler.source import DATA, Source, without_comment
from sandbox.errors import AssemblyError

_TOOL = "riscv64-linux-gnu-"
_MARK = b"\nassembled from sha256 "
_SCRIPT = """ENTRY(_start)
SECTIONS {{
  . = {address:#x};
  .text : {{ *(.text .text.* .rodata .rodata.*) }}
  __sandbox_text_end = .;
  . = ALIGN(4096);
  __sandbox_data = .;
  .data : {{ *(.data .data.* .sdata .sdata.* .bss .bss.* .sbss .sbss.*) }}
  /DISCARD/ : {{ *(.riscv.attributes .comment .note*) }}
}}
"""


def available() -> bool:
    return all(shutil.which(_TOOL + tool) for tool in ("as", "ld", "nm", "objcopy"))


def digest_mark(text: str) -> bytes:
    """What ends the ELF file that was built from this source."""
    return _MARK + hashlib.sha256(text.encode()).hexdigest().encode() + b"\n"


def kept_program(text: str, path: Path) -> bytes | None:
    """The ELF file beside the source, when it was built from this text."""
    beside = path.with_suffix(".elf")
    try:
        data = beside.read_bytes()
    except OSError:
        return None
    return data if data.endswith(digest_mark(text)) else None


def assemble(source: Source, text: str) -> Assembled:
    """Raises AssemblyError."""
    if not available():
        raise AssemblyError(
            f"{source.name}: riscv64 is assembled by {_TOOL}as, which is not installed;"
            " on Debian: apt install binutils-riscv64-linux-gnu"
        )
    with tempfile.TemporaryDirectory(prefix="sandbox-as-") as name:
        folder = Path(name)
        (folder / "program.s").write_text(_as_sections(text))
        (folder / "script").write_text(_SCRIPT.format(address=source.address))
        _run(folder, source, "as", "-march=rv64gc", "-mabi=lp64d", "-o", "program.o", "program.s")
        _run(folder, source, "ld", "-melf64lriscv", "--no-relax", "-T", "script", "-o", "program", "program.o")
        symbols = {}
        for line in _run(folder, source, "nm", "program").splitlines():
            address, kind, symbol = line.split(" ", 2)
            if kind not in "aA" or symbol.startswith("__sandbox_"):
                symbols[symbol] = int(address, 16)
        parts = []
        for section in (".text", ".data"):
            _run(folder, source, "objcopy", "-O", "binary", "-j", section, "program", "part")
            parts.append((folder / "part").read_bytes())
    text_end, data_address = symbols.pop("__sandbox_text_end"), symbols.pop("__sandbox_data")
    kept = {label: symbols[label] for label in dict.fromkeys(source.labels) if label in symbols}
    return Assembled(source.address, parts[0][: text_end - source.address], data_address, parts[1], kept)


def _as_sections(text: str) -> str:
    """The text without `//` comments, `# data` turned into what GNU as wants; the line numbers stay."""
    lines = [".data; .balign 16" if DATA.match(line) else without_comment(line) for line in text.splitlines()]
    return "\n".join(lines) + "\n"


def _run(folder: Path, source: Source, tool: str, *arguments: str) -> str:
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run([_TOOL + tool, *arguments], cwd=folder, capture_output=True, text=True, env=environment)
    if done.returncode == 0:
        return done.stdout
    errors = [line for line in done.stderr.splitlines() if "rror" in line or "undefined" in line]
    message = (errors or [*done.stderr.splitlines(), "it does not assemble"])[0]
    message = message.replace("program.s", source.name).replace("Error: ", "")
    raise AssemblyError(message if message.startswith(source.name) else f"{source.name}: {message}")
