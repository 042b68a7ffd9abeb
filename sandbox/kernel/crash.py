"""What is known of a process that died of a fatal signal, taken before its memory is given back. Plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sandbox.abi.errno import Errno
from sandbox.abi.numbers import NAMES
from sandbox.abi.signals import signal_name
from sandbox.errors import SandboxError

if TYPE_CHECKING:
    from sandbox.kernel.signals import SignalInfo
    from sandbox.kernel.task import Task

CODE_BEFORE, CODE_AFTER = 32, 64
STACK_SHOWN = 128


@dataclass(frozen=True, slots=True)
class CrashReport:
    isa: str
    pid: int
    tid: int
    name: bytes
    signal: int
    reason: str  # one sentence
    registers: dict[str, int]
    pc: int
    sp: int
    code: tuple[int, bytes]  # address of the first byte, and the bytes around the pc
    stack: bytes  # from the stack pointer upwards
    regions: tuple[str, ...]  # as in /proc/PID/maps
    last_syscalls: tuple[str, ...] = field(default=())

    @property
    def signal_name(self) -> str:
        return signal_name(self.signal)

    def __str__(self) -> str:
        """What a person wants to see of it."""
        from sandbox.kernel.crash_text import text  # with a disassembler, which nobody else here needs

        return text(self)


def _peek(task: Task, address: int, length: int) -> bytes:
    """As much as is mapped, from `address` on."""
    pieces = []
    while length > 0:
        size = min(4096 - (address & 4095), length)
        try:
            pieces.append(task.space.read(address, size))
        except (Errno, SandboxError):
            break
        address += size
        length -= size
    return b"".join(pieces)


def region_line(start: int, end: int, protection: int, shared: bool, offset: int, name: bytes) -> str:
    """A line of /proc/PID/maps, without device and inode."""
    bits = "".join(letter if protection & bit else "-" for letter, bit in (("r", 1), ("w", 2), ("x", 4)))
    text = f"{start:08x}-{end:08x} {bits}{'s' if shared else 'p'} {offset:08x}"
    return f"{text} {name.decode('utf-8', 'backslashreplace')}" if name else text


def recent_calls(task: Task) -> tuple[str, ...]:
    names = NAMES[task.isa]
    lines = []
    for tid, number, arguments, result in task.kernel.recent:
        shown = ", ".join(hex(value) for value in arguments)
        lines.append(f"[{tid}] {names.get(number, f'syscall_{number}')}({shown}) = {result}")
    return tuple(lines)


def report(task: Task, number: int, reason: str) -> CrashReport:
    context = task.context
    pc, sp = context.pc, context.sp
    first = max(pc - CODE_BEFORE, pc & ~4095)  # never before the page: it may not be mapped
    return CrashReport(
        isa=task.isa,
        pid=task.tgid,
        tid=task.tid,
        name=task.name,
        signal=number,
        reason=reason,
        registers={name: context[name] for name in task.kernel.isa.registers},
        pc=pc,
        sp=sp,
        code=(first, _peek(task, first, pc + CODE_AFTER - first)),
        stack=_peek(task, sp, STACK_SHOWN),
        regions=tuple(
            region_line(region.start, region.end, region.protection, region.shared, region.offset, region.name)
            for region in task.space.regions()
        ),
        last_syscalls=recent_calls(task),
    )


def note_fatal_signal(task: Task, info: SignalInfo) -> None:
    """A process is about to die of a signal: say why, and keep what is known if it brought that on itself."""
    kernel = task.kernel
    name = signal_name(info.number)
    why = f"killed by {name}: {info.reason}" if info.reason else f"killed by {name}"
    if task.process.pid == 1:
        kernel.death = why if info.reason else f"process 1 was {why}"
    if info.reason:
        task.context.settle()
        kernel.crash = report(task, info.number, why)
