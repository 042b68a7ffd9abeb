"""Which program a VM runs, where it is in its tree, and which ISA it is for.

Without a root filesystem the first word names a file of the host, which is put into /bin of the built-in root, or,
when there is no such file, a guest that comes with the package; with one it is a path in the guest, or a name that is
looked for on PATH. Everything here is before the first instruction, so failures are LoadErrors for the operator: 127
not found, 126 found and not to be run.
"""

from __future__ import annotations

import difflib
import os
import stat

from sandbox.abi.errno import Errno
from sandbox.errors import ConfigurationError, LoadError
from sandbox.kernel.program import executable
from sandbox.kernel.start import DEFAULT_PATH, find_program
from sandbox.kernel.task import Credentials, FsContext
from sandbox.loader import for_operator, identify, parse
from sandbox.loader.elf import read_range
from sandbox.loader.script import resolve
from sandbox.memory import PageSource
from sandbox.vfs.mount import Mounts
from sandbox.vfs.walk import walk
from sandbox.vm import VmConfig

HEADER = 64


def host_program(config: VmConfig) -> str:
    """The path on the host of the program that is named first: a file's, or that of a guest that comes with the
    package. Raises LoadError."""
    word = os.fsdecode(config.program[0])
    if "/" not in word and (os.path.isdir(word) or not os.path.exists(word)):
        from sandbox import guests  # with the assembler: not for those who run an ELF file

        found = guests.meant(word, config.arch, config.board)
        if found is not None:
            return str(found.path)
    try:
        status = os.stat(word)
    except (FileNotFoundError, NotADirectoryError):
        from sandbox import guests

        near = difflib.get_close_matches(word.removesuffix(".s"), {guest.name for guest in guests.guests()}, 1)
        advice = f"do you mean the guest {near[0]!r}?" if near else "with rootfs it would be one of the guest's"
        if os.path.isfile(f"{word}.s"):
            advice = f"do you mean {word}.s?"
        raise LoadError(f"{word}: no such program on the host ({advice})", 127) from None
    except OSError as error:
        raise LoadError(f"{word}: {(error.strerror or 'cannot be read').lower()}") from None
    if not stat.S_ISREG(status.st_mode):
        raise LoadError(f"{word}: the file is not a regular file")
    return word


def place_in_guest(path: str) -> bytes:
    """Where a program of the host is put."""
    name = os.path.basename(os.path.realpath(path) if not os.path.basename(path) else path)
    return b"/bin/" + os.fsencode(name.removesuffix(".s"))


def find_isa(
    mounts: Mounts,
    cwd: bytes,
    credentials: Credentials,
    name: bytes,
    environment: dict[bytes, bytes],
    wanted: str | None,
    complete: bool,
) -> str:
    """The ISA of the program, through `#!` lines. `complete`: the tree may hold an interpreter that it needs."""
    root = mounts.root.top()
    shown = name.decode("utf-8", "backslashreplace")
    try:
        fs = FsContext(root, walk(mounts, root, root, cwd, credentials))
    except Errno as error:
        where, why = cwd.decode("utf-8", "backslashreplace"), os.strerror(error.number).lower()
        raise ConfigurationError(f"the working directory {where} cannot be entered in the guest: {why}") from None

    def open_program(path: bytes) -> PageSource:
        return executable(walk(mounts, fs.root, fs.cwd, path, credentials), credentials)

    try:
        path = find_program(mounts, fs, credentials, name, environment.get(b"PATH", DEFAULT_PATH))
        source = resolve(open_program, path, [name]).source
        isa = identify(read_range(source, 0, HEADER))
        interpreter = None if complete else parse(source).interpreter
    except Errno as error:
        raise for_operator(error, shown) from None
    if interpreter is not None:
        needs = interpreter.decode("utf-8", "backslashreplace")
        ours = " (--rootfs / is this machine's own)" if os.path.exists(interpreter) else ""
        raise LoadError(
            f"{shown}: the program is dynamically linked and needs {needs}: give it a root filesystem{ours}"
        )
    if wanted is not None and wanted != isa:
        raise ConfigurationError(f"{shown} is a program for {isa}, not for {wanted}")
    return isa
