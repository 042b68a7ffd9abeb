"""A syscall as a line of text, in the style people know from strace, derived from the table's argument kinds.

Strings are quoted and cut, flag words decoded, errors named. The bytes are the guest's, so everything that is not
printable ASCII is escaped: a line is safe to show on a terminal.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from sandbox.abi.errno import ERESTARTSYS, NAMES, Errno
from sandbox.abi.flag_names import choice_text, flag_text
from sandbox.abi.flags import AT_FDCWD, O_CREAT, O_DIRECTORY, O_TMPFILE, PR_GET_NAME, PR_SET_NAME, open_flags
from sandbox.abi.numbers import NAMES as SYSCALLS
from sandbox.abi.signals import signal_name
from sandbox.abi.structs import BITS
from sandbox.kernel.calling import places
from sandbox.kernel.row import INT32, TEXT, WIDE, Argument, Row
from sandbox.kernel.trace_arguments import AFTER, BEFORE, PATH_SHOWN, SHOWN, quoted

if TYPE_CHECKING:
    from sandbox.kernel.table import Entry
    from sandbox.kernel.task import Task

_WITH_MODE = O_CREAT | (O_TMPFILE & ~O_DIRECTORY)
_DEFERRED = "\0"  # stands for an output argument until the call has returned


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


class TraceFormatter:
    """`before` gives the arguments as texts, `after` the whole line."""

    def before(self, task: Task, entry: Entry | None, raw: tuple[int, ...]) -> list[str]:
        if entry is None:
            return [hex(value) for value in raw]
        arguments = entry.row.parsed()
        texts = []
        for index, (argument, register) in enumerate(zip(arguments, places(task.isa, arguments), strict=True)):
            following = arguments[index + 1] if index + 1 < len(arguments) else None
            length = raw[register + 1] if following is not None and following.kind == "size" else None
            texts.append(self._argument(task, entry.row.name, argument, raw, register, length))
        if entry.row.name in ("open", "openat") and not open_flags(task.isa, raw[len(texts) - 2]) & _WITH_MODE:
            texts.pop()
        if entry.row.name == "prctl" and raw[0] in (PR_SET_NAME, PR_GET_NAME):
            texts[1:] = [self._text(task, raw[1]) if raw[0] == PR_SET_NAME else _DEFERRED]
        return texts

    def _argument(
        self, task: Task, call: str, argument: Argument, raw: tuple[int, ...], register: int, length: int | None
    ) -> str:
        kind, value, bits = argument.kind, raw[register], BITS[task.isa]
        if (call, argument.name) in BEFORE and (value or kind != "in"):
            try:
                return BEFORE[call, argument.name](task, value)
            except Errno:
                return hex(value)
        if kind in TEXT:
            return self._text(task, value)
        if kind in ("in", "out", "inout", "address"):
            if kind == "out" and value and (call, argument.name) in AFTER:
                return _DEFERRED
            if kind == "in" and length is not None and value:
                return self._data(task, value, length)
            return hex(value) if value else "NULL"
        if kind == "flags":
            word = value & 0xFFFFFFFF
            return flag_text(argument.words, open_flags(task.isa, word) if argument.words == "open" else word)
        if kind == "choice":
            return choice_text(argument.words, _signed(value, 32))
        if kind == "dirfd" and _signed(value, 32) == AT_FDCWD:
            return "AT_FDCWD"
        if kind == "signal":
            return signal_name(_signed(value, 32))
        if kind == "mode":
            return f"0{value & 0xFFFFFFFF:o}"
        if kind in INT32:
            return str(_signed(value, 32))
        if kind in WIDE and bits == 32:
            return str(_signed(value | raw[register + 1] << 32, 64))
        if kind in ("long", "offset", "loff"):
            return str(_signed(value, bits))
        if kind in ("uid", "gid") and value & 0xFFFFFFFF == 0xFFFFFFFF:
            return "-1"
        return str(value & 0xFFFFFFFF) if kind in ("uint", "uid", "gid", "dev", "uid16", "gid16") else _number(value)

    def _text(self, task: Task, address: int) -> str:
        if not address:
            return "NULL"
        try:
            return quoted(task.space.copy_string(address), PATH_SHOWN)
        except Errno:
            return hex(address)

    def _data(self, task: Task, address: int, length: int) -> str:
        try:
            data = task.space.copy_in(address, min(length, SHOWN + 1))
        except Errno:
            return hex(address)
        return quoted(data) if len(data) == length or len(data) <= SHOWN else quoted(data[:SHOWN]) + "..."

    def after(
        self,
        task: Task,
        entry: Entry | None,
        number: int,
        texts: list[str],
        raw: tuple[int, ...],
        result: int | None,
    ) -> str:
        name = SYSCALLS[task.isa].get(number, f"syscall_{number:#x}")
        if _DEFERRED in texts and entry is not None:
            texts = self._outputs(task, entry.row, texts, raw, result)
        line = f"{name}({', '.join(texts)})"
        prefix = f"[{task.tid}] " if task.kernel.many_tasks else ""
        if result is None and name in ("execve", "execveat") and task.state not in ("dead", "zombie"):
            result = 0  # of the new program, which has its registers to itself
        return f"{prefix}{line:<39} = {self._result(entry, result)}"

    def _outputs(self, task: Task, row: Row, texts: list[str], raw: tuple[int, ...], result: int | None) -> list[str]:
        arguments = row.parsed()
        shown = list(texts)
        for index, register in enumerate(places(task.isa, arguments)[: len(texts)]):
            if shown[index] == _DEFERRED:
                address = raw[register]
                shown[index] = hex(address)
                if result is not None and result >= 0 and task.state not in ("dead", "zombie"):
                    with suppress(Errno):
                        shown[index] = AFTER[row.name, arguments[index].name](task, address, result)
        return shown

    def _result(self, entry: Entry | None, result: int | None) -> str:
        if result is None:
            return "?"
        if result < 0:
            number = -result
            if number == ERESTARTSYS:
                return "? ERESTARTSYS"
            return f"-1 {NAMES.get(number, number)}"
        return hex(result) if entry is not None and entry.row.name in _ADDRESSES else str(result)


_ADDRESSES = frozenset(("mmap", "mmap2", "brk", "mremap", "shmat"))


def _number(value: int) -> str:
    return str(value) if value < 1 << 31 else hex(value)
