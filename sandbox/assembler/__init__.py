"""Assembly source to ELF programs: the one door to keystone, and to GNU as for riscv64.

source.py             the form of a source file: header, text part, data part
local_labels.py       labels that are numbers           operands.py   what keystone would get wrong
keystone_process.py   x86_64, i386, arm64, arm: keystone, in a process of its own (keystone_child.py)
gnu.py                riscv64: GNU as, or the ELF file kept beside the source
image.py              writing the ELF file
"""

from __future__ import annotations

from pathlib import Path

from sandbox.assembler import gnu, image, keystone_process
from sandbox.assembler.source import Source, header_fields, parse
from sandbox.errors import AssemblyError

__all__ = ["Source", "assemble", "assemble_file", "header_fields", "parse"]


def assemble(text: str, name: str = "<source>", arch: str | None = None) -> bytes:
    """An ELF program of the source. Raises AssemblyError that names the line."""
    source = parse(text, name, arch)
    if not source.text:
        raise AssemblyError(f"{name}: there is no instruction in it")
    if source.arch == "riscv64":
        done = gnu.assemble(source, text)
    else:
        done = keystone_process.assemble(source)
    entry = done.symbols.get("_start", done.text_address) | source.thumb
    program = image.write_program(
        source.arch, entry, done.text_address, done.text, done.data_address, done.data, done.symbols
    )
    return program + gnu.digest_mark(text) if source.arch == "riscv64" else program


def assemble_file(path: Path | str, arch: str | None = None) -> bytes:
    """The same for a file. A riscv64 source with an up-to-date ELF file beside it needs no assembler."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AssemblyError(f"{path}: the source cannot be read: {error}") from None
    kept = gnu.kept_program(text, path)
    if kept is not None and parse(text, str(path), arch).arch == "riscv64":
        return kept
    return assemble(text, str(path), arch)
