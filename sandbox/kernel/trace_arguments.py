"""What the kind of an argument does not say: how single arguments of single calls are shown in a trace.

`BEFORE` has those that are known before the call is made, `AFTER` those that the call writes; keys are (call,
argument). Each function may raise Errno where the guest's memory is not there: the address is shown then.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.abi.flag_names import choice_text, flag_text
from sandbox.abi.signals import signal_name
from sandbox.abi.structs import BITS

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

SHOWN = 32  # bytes of a string or a buffer, items of a list
PATH_SHOWN = 255
_ESCAPES = {
    0x07: "\\a",
    0x08: "\\b",
    0x09: "\\t",
    0x0A: "\\n",
    0x0B: "\\v",
    0x0C: "\\f",
    0x0D: "\\r",
    0x22: '\\"',
    0x5C: "\\\\",
}


def quoted(data: bytes, limit: int = SHOWN) -> str:
    """A C string literal; `...` follows when it was cut. Octal escapes never swallow a digit that follows."""
    parts = []
    for index, byte in enumerate(data[:limit]):
        if byte in _ESCAPES:
            parts.append(_ESCAPES[byte])
        elif 0x20 <= byte < 0x7F:
            parts.append(chr(byte))
        else:
            digit_follows = data[index + 1 : index + 2].isdigit()
            parts.append(f"\\{byte:03o}" if digit_follows else f"\\{byte:o}")
    return '"' + "".join(parts) + '"' + ("..." if len(data) > limit else "")


def _pointers(task: Task, address: int, most: int) -> list[int]:
    """Those before the NULL, and at most so many."""
    size = BITS[task.isa] // 8
    found: list[int] = []
    while len(found) < most:
        pointer = int.from_bytes(task.space.copy_in(address + size * len(found), size), "little")
        if not pointer:
            break
        found.append(pointer)
    return found


def _arguments(task: Task, address: int) -> str:
    found = _pointers(task, address, SHOWN + 1)
    texts = [quoted(task.space.copy_string(pointer)) for pointer in found[:SHOWN]]
    return "[" + ", ".join(texts + ["..."] * (len(found) > SHOWN)) + "]"


def _environment(task: Task, address: int) -> str:
    count = len(_pointers(task, address, 1000))
    return f"{address:#x} /* {count} var{'s' * (count != 1)} */"


def _clone(task: Task, word: int) -> str:
    flags, number = word & 0xFFFFFF00, word & 0xFF
    parts = [flag_text("clone", flags)] if flags else []
    return "|".join([*parts, signal_name(number)] if number else parts) or "0"


def _descriptor_flags(task: Task, word: int) -> str:
    return flag_text("open", word & 0xFFFFFFFF & ~3).removeprefix("O_RDONLY").removeprefix("|") or "0"


BEFORE: dict[tuple[str, str], Callable[[Task, int], str]] = {
    ("execve", "argv"): _arguments,
    ("execveat", "argv"): _arguments,
    ("execve", "environment"): _environment,
    ("execveat", "environment"): _environment,
    ("clone", "flags"): _clone,
    ("pipe2", "flags"): _descriptor_flags,
    ("dup3", "flags"): _descriptor_flags,
    ("ioctl", "request"): lambda task, number: choice_text("ioctl", number & 0xFFFFFFFF),
    ("ioctl", "argument"): lambda task, word: hex(word),
    ("arch_prctl", "address"): lambda task, word: hex(word),
}


def _pair(task: Task, address: int, result: int) -> str:
    return "[{}, {}]".format(*struct.unpack("<ii", task.space.copy_in(address, 8)))


def _wait_status(task: Task, address: int, result: int) -> str:
    if not result:
        return hex(address)
    (status,) = struct.unpack("<I", task.space.copy_in(address, 4))
    number, code = status & 0x7F, status >> 8 & 0xFF
    if not number:
        return f"[{{WIFEXITED(s) && WEXITSTATUS(s) == {code}}}]"
    if number != 0x7F:
        dumped = " && WCOREDUMP(s)" if status & 0x80 else ""
        return f"[{{WIFSIGNALED(s) && WTERMSIG(s) == {signal_name(number)}{dumped}}}]"
    return "[{WIFCONTINUED(s)}]" if status == 0xFFFF else f"[{{WIFSTOPPED(s) && WSTOPSIG(s) == {signal_name(code)}}}]"


def _filled(task: Task, address: int, result: int) -> str:
    data = task.space.copy_in(address, min(result, SHOWN + 1)) if result else b""
    return quoted(data)


def _path(task: Task, address: int, result: int) -> str:
    return quoted(task.space.copy_in(address, min(result, PATH_SHOWN + 1)).rstrip(b"\0"), PATH_SHOWN)


def _name(task: Task, address: int, result: int) -> str:
    return quoted(task.space.copy_string(address))


_RESULT_COUNTS = (  # the bytes of a buffer
    "read pread64 recv recvfrom readlink readlinkat getrandom "
    "getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr"
)
AFTER: dict[tuple[str, str], Callable[[Task, int, int], str]] = {
    **{(call, argument): _filled for call in _RESULT_COUNTS.split() for argument in ("buffer", "value", "list")},
    ("getcwd", "buffer"): _path,
    ("pipe", "descriptors"): _pair,
    ("pipe2", "descriptors"): _pair,
    ("socketpair", "pair"): _pair,
    ("wait4", "status"): _wait_status,
    ("waitpid", "status"): _wait_status,
    ("prctl", "first"): _name,
}
