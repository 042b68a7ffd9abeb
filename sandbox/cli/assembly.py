"""`sandbox asm` and `sandbox disasm`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sandbox.cli.options import ARCHES, Parser
from sandbox.errors import ConfigurationError, LoadError


def asm(arguments: list[str]) -> int:
    parser = Parser(
        "asm",
        "Assemble a .s file to a static ELF program. x86 is in Intel syntax (mov eax, 60); // begins a comment;\n"
        ".text, .data, .rodata and .bss are the sections. A source stands alone: for more, build an ELF with gcc.",
        "  sandbox asm hello.s                 writes hello.elf\n"
        "  sandbox asm hello.s -o - | wc -c\n"
        "  sandbox asm --arch arm64 code.s -o code && sandbox run ./code",
    )
    parser.add_argument("file", metavar="FILE", help="the source; may begin with `# arch: NAME`")
    parser.add_argument("-o", "--output", metavar="ELF", help="where to (default: FILE with .elf; -: stdout)")
    parser.add_argument("--arch", choices=ARCHES, help="overrides the header")
    given = parser.parse_args(arguments)

    from sandbox.assembler import assemble_file

    _must_exist(given.file)
    program = assemble_file(given.file, given.arch)
    output = given.output or str(Path(given.file).with_suffix(".elf"))
    if output == "-":
        if sys.stdout.isatty():
            raise ConfigurationError("a program is not for a terminal: send it into a file or a pipe")
        sys.stdout.buffer.write(program)
        return 0
    if os.path.exists(output) and os.path.samefile(output, given.file):
        raise ConfigurationError(f"{output} is the source itself; name another output")
    try:
        Path(output).write_bytes(program)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(output, 0o777 & ~mask)
    except OSError as error:
        raise ConfigurationError(f"{output} cannot be written: {error.strerror}") from None
    return 0


def disasm(arguments: list[str]) -> int:
    parser = Parser(
        "disasm",
        "List the code of an ELF program, or of a .s file once assembled, with its symbols.",
        "  sandbox disasm hello.s\n  sandbox disasm /bin/busybox | less\n  sandbox disasm --arch riscv64 raw.bin\n"
        "  sandbox disasm --arch arm64 hello           a guest that comes with the package",
    )
    parser.add_argument("file", metavar="FILE", help="an ELF program, a .s file, or raw code with --arch; - is stdin")
    parser.add_argument("--arch", choices=ARCHES, help="whose code a raw file is; overrides a .s file's header")
    parser.json_option()
    given = parser.parse_args(arguments)

    from sandbox.loader.listing import list_program

    given.file = _guest(given.file, given.arch) or given.file
    if given.file == "-":
        data = sys.stdin.buffer.read()
    elif given.file.endswith(".s"):
        from sandbox.assembler import assemble_file

        _must_exist(given.file)
        data = assemble_file(given.file, given.arch)
    else:
        _must_exist(given.file)
        try:
            data = Path(given.file).read_bytes()
        except OSError as error:
            raise LoadError(f"{given.file} cannot be read: {error.strerror}") from None
    lines = list_program(data, given.file, given.arch)
    if given.json:
        from sandbox.cli.listing import show_json

        show_json(list(lines))
    else:
        sys.stdout.writelines(line + "\n" for line in lines)
    return 0


def _guest(name: str, arch: str | None) -> str | None:
    """The source of the guest that this names, when it is no file; for x86_64 when there is a choice."""
    if "/" in name or name == "-" or os.path.isfile(name):
        return None
    from sandbox.guests import guests

    found = [guest for guest in guests() if guest.name == name and arch in (None, guest.arch)]
    return str(max(found, key=lambda guest: guest.arch == "x86_64").path) if found else None


def _must_exist(path: str) -> None:
    if not os.path.exists(path):
        raise LoadError(f"{path}: there is no such file", status=127)
