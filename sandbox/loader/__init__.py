"""Program files to a running image: ELF programs and scripts for Linux VMs, flat and ELF images for boards.

`program.load` is what `execve` calls; `identify` says which ISA a file is for; `Symbols` name addresses.
Everything a file says is checked before it is believed: `elf.py`.
"""

from __future__ import annotations

from sandbox.loader.elf import BadProgram, ElfImage, Segment, identify, parse
from sandbox.loader.flat import FlatImage, flat_image
from sandbox.loader.layout import LAYOUTS, Layout
from sandbox.loader.program import Identity, LoadedProgram, for_operator, load
from sandbox.loader.source import BytesSource
from sandbox.loader.symbols import Symbols, read_symbols

__all__ = [
    "LAYOUTS",
    "BadProgram",
    "BytesSource",
    "ElfImage",
    "FlatImage",
    "Identity",
    "Layout",
    "LoadedProgram",
    "Segment",
    "Symbols",
    "flat_image",
    "for_operator",
    "identify",
    "load",
    "parse",
    "read_symbols",
]
