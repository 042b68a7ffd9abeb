"""`load`: a program file into an empty address space, ready to run. What `execve` and the first process use.

The caller gives an `open_program` that turns a guest path into the file's `PageSource` after checking that
it exists and may be executed (it raises Errno); everything else is read through that. All failures are
`Errno`, mostly `BadProgram` with a sentence; `for_operator` turns one into the `LoadError` that the command
line shows. On failure the address space is left half filled: throw it away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sandbox.abi import elf
from sandbox.abi.errno import EACCES, EINVAL, ELIBBAD, ENOENT, ENOEXEC, ENOMEM, ENOTDIR, Errno
from sandbox.errors import LoadError
from sandbox.loader import kuser, stack
from sandbox.loader.elf import PAGE, PROT_EXEC, PROT_READ, PROT_WRITE, BadProgram, ElfImage, parse
from sandbox.loader.layout import LAYOUTS, Layout
from sandbox.loader.place import choose_bias, place
from sandbox.loader.script import resolve
from sandbox.memory import AddressSpace, PageSource

_STACK_EXTRA = 128 * 1024  # mapped below the strings at once; the rest grows on demand
_CLOCK_TICKS = 100


@dataclass(frozen=True, slots=True)
class Identity:
    """The credentials that the auxiliary vector tells the program."""

    uid: int = 0
    euid: int = 0
    gid: int = 0
    egid: int = 0
    secure: bool = False


@dataclass(frozen=True, slots=True)
class LoadedProgram:
    """Where everything is. `pc` and `sp` start the program; an odd `pc` on arm means Thumb."""

    isa_name: str
    path: bytes  # of the file that was mapped (a script's interpreter, not the script)
    argv: list[bytes]
    pc: int
    sp: int
    entry: int  # the program's own, where its interpreter will jump to
    bias: int
    interpreter_base: int  # AT_BASE; 0 when there is none
    start_code: int
    end_code: int
    start_data: int
    end_data: int
    start_brk: int
    stack: stack.InitialStack


def load(
    space: AddressSpace,
    isa_name: str,
    open_program: Callable[[bytes], PageSource],
    path: bytes,
    argv: Sequence[bytes],
    environment: Sequence[bytes],
    *,
    random: bytes,
    identity: Identity = Identity(),
    stack_limit: int = 8 << 20,
) -> LoadedProgram:
    """`path` is executed with `argv`; `environment` holds K=V strings; `random` is 16 bytes."""
    layout = LAYOUTS[isa_name]
    resolved = resolve(open_program, path, list(argv) or [b""])
    image = parse(resolved.source)
    if image.isa_name != isa_name:
        raise BadProgram(ENOEXEC, f"is a program for {image.isa_name}, and this virtual machine is {isa_name}")
    stack.check_size(resolved.argv, environment, image.bits // 8, stack_limit)

    space.mmap_top, space.stack_limit = layout.mmap_top, stack_limit
    interpreter = None if image.interpreter is None else _open_interpreter(open_program, image)
    bias = choose_bias(space, image, layout, below_top=interpreter is None)
    place(space, image, bias, layout, resolved.source, resolved.path)
    entry = image.entry + bias
    pc, interpreter_base = entry, 0
    if interpreter is not None:
        interpreter_image, interpreter_source, interpreter_path = interpreter
        interpreter_bias = choose_bias(space, interpreter_image, layout, below_top=True)
        place(space, interpreter_image, interpreter_bias, layout, interpreter_source, interpreter_path)
        pc = interpreter_image.entry + interpreter_bias
        interpreter_base = interpreter_bias if interpreter_image.relocatable else interpreter_image.low
    if isa_name == "arm":
        space.map(kuser.ADDRESS, PAGE, PROT_READ | PROT_EXEC, fixed=True, source=kuser.KuserPage(), name=b"[vectors]")

    code = [segment for segment in image.segments if segment.protection & PROT_EXEC] or list(image.segments)
    end_data = max(segment.address + segment.file_size for segment in image.segments) + bias
    start_brk = _start_brk(image, bias, layout)
    space.start_brk = space.brk = start_brk
    initial = stack.build(
        layout.stack_top,
        image.bits,
        resolved.argv,
        environment,
        path,
        layout.platform,
        random,
        _auxiliary_entries(image, bias, interpreter_base, layout, identity),
    )
    _map_stack(space, initial, layout.stack_top, image.executable_stack, stack_limit)
    return LoadedProgram(
        isa_name=isa_name,
        path=resolved.path,
        argv=resolved.argv,
        pc=pc,
        sp=initial.pointer,
        entry=entry,
        bias=bias,
        interpreter_base=interpreter_base,
        start_code=min(segment.address for segment in code) + bias,
        end_code=max(segment.address + segment.file_size for segment in code) + bias,
        start_data=max(segment.address for segment in image.segments) + bias,
        end_data=end_data,
        start_brk=start_brk,
        stack=initial,
    )


def for_operator(error: Errno, path: str) -> LoadError:
    """The same failure for the person who named the program; `path` is as they wrote it."""
    if isinstance(error, BadProgram):
        return LoadError(f"{path}: the file {error.reason}")
    if error.number in (ENOENT, ENOTDIR):
        return LoadError(f"{path}: no such program", 127)
    if error.number == EACCES:
        return LoadError(f"{path}: the file may not be executed; is it a regular file with an execute permission?")
    return LoadError(f"{path}: the program cannot be loaded ({error})")


def _open_interpreter(
    open_program: Callable[[bytes], PageSource], image: ElfImage
) -> tuple[ElfImage, PageSource, bytes]:
    path = image.interpreter or b""
    named = path.decode("utf-8", "backslashreplace")
    try:
        source = open_program(path)
    except Errno as error:
        raise BadProgram(error.number, f"needs the interpreter {named}, which cannot be opened ({error})") from None
    try:
        interpreter = parse(source)
    except BadProgram as error:
        number = ELIBBAD if error.number in (ENOEXEC, EINVAL) else error.number
        raise BadProgram(number, f"needs the interpreter {named}, and that file {error.reason}") from None
    if interpreter.isa_name != image.isa_name:
        raise BadProgram(ELIBBAD, f"needs the interpreter {named}, which is for {interpreter.isa_name}")
    return interpreter, source, path


def _start_brk(image: ElfImage, bias: int, layout: Layout) -> int:
    if image.relocatable and image.interpreter is None:
        return layout.pie_base  # the image stands among the mappings, where a heap could not grow
    return (image.high + bias + PAGE - 1) & -PAGE


def _auxiliary_entries(
    image: ElfImage, bias: int, interpreter_base: int, layout: Layout, identity: Identity
) -> list[tuple[int, int]]:
    return [
        (stack.AT_HWCAP, layout.hwcap),
        (stack.AT_PAGESZ, PAGE),
        (stack.AT_CLKTCK, _CLOCK_TICKS),
        (stack.AT_PHDR, image.headers_address + bias if image.headers_address else 0),
        (stack.AT_PHENT, elf.PROGRAM_HEADER[elf.CLASS64 if image.bits == 64 else elf.CLASS32].size),
        (stack.AT_PHNUM, image.headers_count),
        (stack.AT_BASE, interpreter_base),
        (stack.AT_FLAGS, 0),
        (stack.AT_ENTRY, image.entry + bias),
        (stack.AT_UID, identity.uid),
        (stack.AT_EUID, identity.euid),
        (stack.AT_GID, identity.gid),
        (stack.AT_EGID, identity.egid),
        (stack.AT_SECURE, int(identity.secure)),
        (stack.AT_HWCAP2, layout.hwcap2),
    ]


def _map_stack(space: AddressSpace, initial: stack.InitialStack, top: int, executable: bool, limit: int) -> None:
    protection = PROT_READ | PROT_WRITE | (PROT_EXEC if executable else 0)
    low = max(initial.pointer - _STACK_EXTRA, top - max(limit, len(initial.data) + PAGE)) & -PAGE
    try:
        space.map(low, top - low, protection, fixed=True, grows_down=True, replace=False, name=b"[stack]")
    except Errno as error:
        raise BadProgram(ENOMEM, "leaves no room for its stack") from error
    try:
        space.copy_out(initial.pointer, initial.data)
    except Errno:
        raise BadProgram(ENOMEM, "does not fit into the memory of the virtual machine") from None
