"""RISC-V sources, which keystone does not know: GNU as and ld for riscv64.

Where they are not installed, the ELF file that is kept beside a source is used as long as it was built from
exactly that source: its last bytes hold the source's digest.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from sandbox.assembler.source import Source
from sandbox.errors import AssemblyError

_AS, _LD = "riscv64-linux-gnu-as", "riscv64-linux-gnu-ld"
_MARK = b"\nassembled from sha256 "


def available() -> bool:
    return shutil.which(_AS) is not None and shutil.which(_LD) is not None


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


def assemble(source: Source, text: str) -> bytes:
    """Raises AssemblyError."""
    if not available():
        raise AssemblyError(
            f"{source.name}: riscv64 is assembled by {_AS}, which is not installed;"
            " on Debian: apt install binutils-riscv64-linux-gnu"
        )
    with tempfile.TemporaryDirectory(prefix="sandbox-as-") as folder:
        name = Path(folder, "program.s")
        name.write_text(_as_sections(text))
        _run([_AS, "-march=rv64gc", "-mabi=lp64d", "-o", f"{folder}/program.o", str(name)], source, str(name))
        link = [_LD, "-m", "elf64lriscv", "-nostdlib", "-static", "--build-id=none", "--strip-debug", "--no-relax"]
        link += ["-z", "max-page-size=4096", "-z", "noexecstack", f"-Ttext={source.address:#x}"]
        if "_start" not in source.labels:
            link += [f"--entry={source.address:#x}"]
        _run([*link, "-o", f"{folder}/program", f"{folder}/program.o"], source, str(name))
        return Path(folder, "program").read_bytes() + digest_mark(text)


def _as_sections(text: str) -> str:
    """The text with `# data` turned into what GNU as wants; the line numbers stay."""
    lines = text.splitlines()
    lines = [".data" if line.startswith("#") and line[1:].strip() == "data" else line for line in lines]
    return ".globl _start;" + "\n".join(lines) + "\n"


def _run(command: list[str], source: Source, temporary: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "rror" in line or "undefined" in line]
        message = (errors or [*done.stderr.splitlines(), "it does not assemble"])[0]
        message = message.replace(temporary, source.name).replace("Error: ", "")
        raise AssemblyError(message if message.startswith(source.name) else f"{source.name}: {message}")
