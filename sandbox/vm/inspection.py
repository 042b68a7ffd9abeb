"""Registers, memory, tasks and code of a VM that stands still (paused, or inside a callback).

Each object here borrows the machine through `Host.inspect` for the length of one call; that refuses when guest
code may be running. A VM has one address space and one set of registers per task; without a number the first task
that lives is meant, inside a callback the one that called. Addresses are ints, contents bytes.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sandbox.abi.errno import Errno
from sandbox.disassembler import Instruction, disassemble
from sandbox.errors import ConfigurationError, StateError
from sandbox.loader import BytesSource, parse, read_symbols
from sandbox.machine import Machine
from sandbox.memory import Region

Borrow = Callable[[], AbstractContextManager[Machine]]

LONGEST_INSTRUCTION = 16
MOST_GUESSES = 5000  # symbols that one which is not there is compared with: the file may hold a million
LARGEST_PROGRAM = 256 << 20  # bytes that are searched for symbols


@dataclass(frozen=True, slots=True)
class TaskView:
    tid: int
    tgid: int
    parent: int
    name: bytes
    state: str
    pc: int


@dataclass(frozen=True, slots=True)
class Syscall:
    """A call that is about to be made, as `on_syscall` shows it."""

    name: str
    arguments: tuple[int, ...]
    tid: int


@dataclass(frozen=True, slots=True)
class Hit:
    """A task has come to a breakpoint; the instruction there has not been executed."""

    address: int
    tid: int


class Registers:
    """`vm.registers["x0"]`, `vm.registers["pc"] = 0x1000`, `vm.registers.of(12)["sp"]`."""

    def __init__(self, borrow: Borrow, tid: int | None = None) -> None:
        self._borrow = borrow
        self._tid = tid

    def of(self, tid: int) -> Registers:
        return Registers(self._borrow, tid)

    def __getitem__(self, name: str) -> int:
        with self._borrow() as machine:
            return int(_context(machine, self._tid)[_register(machine, name)])

    def __setitem__(self, name: str, value: int) -> None:
        with self._borrow() as machine:
            _context(machine, self._tid)[_register(machine, name)] = value & ((1 << machine.isa.bits) - 1)

    def __iter__(self) -> Iterator[str]:
        with self._borrow() as machine:
            return iter(machine.isa.registers)

    def as_dict(self) -> dict[str, int]:
        with self._borrow() as machine:
            context = _context(machine, self._tid)
            return {name: context[name] for name in machine.isa.registers}


def _context(machine: Machine, tid: int | None) -> Any:
    """With the result of the last call in its register, which otherwise waits until the task runs."""
    context = task_of(machine, tid).context
    context.settle()
    return context


def _register(machine: Machine, name: str) -> str:
    """`pc`, `sp` and `tp` work on every ISA."""
    isa = machine.isa
    if name not in isa.registers and name not in ("pc", "sp", "tp"):
        raise ConfigurationError(f"{isa.name} has no register {name!r}: {', '.join(isa.registers)}")
    return {"pc": isa.pc, "sp": isa.sp}.get(name, name)


class Memory:
    """Debugger access: protections do not matter, what is not mapped does."""

    def __init__(self, borrow: Borrow, tid: int | None = None) -> None:
        self._borrow = borrow
        self._tid = tid

    def of(self, tid: int) -> Memory:
        return Memory(self._borrow, tid)

    def read(self, address: int, length: int) -> bytes:
        with self._borrow() as machine:
            try:
                return bytes(task_of(machine, self._tid).space.read(address, length))
            except Errno:
                raise ConfigurationError(f"there is no memory at {address:#x} (+{length})") from None

    def string(self, address: int, limit: int = 4096) -> bytes:
        """The bytes from `address` up to a NUL, or `limit` of them, or to where memory ends."""
        with self._borrow() as machine:
            space, found = task_of(machine, self._tid).space, bytearray()
            while len(found) < limit and b"\0" not in found:
                at = address + len(found)
                try:
                    found += space.read(at, min(limit - len(found), 4096 - at % 4096))
                except Errno:
                    if not found:
                        raise ConfigurationError(f"there is no memory at {address:#x}") from None
                    break
            return bytes(found).split(b"\0", 1)[0]

    def write(self, address: int, data: bytes) -> None:
        with self._borrow() as machine:
            try:
                task_of(machine, self._tid).space.write(address, data)
            except Errno:
                raise ConfigurationError(f"there is no memory at {address:#x} (+{len(data)})") from None

    def regions(self) -> list[Region]:
        with self._borrow() as machine:
            return list(task_of(machine, self._tid).space.regions())


def task_of(machine: Machine, tid: int | None = None) -> Any:
    """What has `context` and `space`: a Linux machine's task; a board is its own."""
    tasks = getattr(machine, "tasks", None)
    if tasks is None:
        return machine
    if tid is None:
        current = getattr(machine, "current", None)
        if current is not None:
            return current
        if tasks:
            return tasks[min(tasks)]
        raise StateError("no task of the VM lives")
    if tid not in tasks:
        raise ConfigurationError(f"the VM has no task {tid}")
    return tasks[tid]


def address_of(machine: Machine, symbol: str) -> int:
    """Where a symbol of the program is. Raises ConfigurationError."""
    process: Any = getattr(task_of(machine), "process", None)
    place = getattr(process, "executable_place", None)
    if process is None or place is None:
        raise ConfigurationError("the VM runs no program that has symbols: give an address")
    source = place.node.page_source()
    size = min(source.size, LARGEST_PROGRAM) if source is not None else 0
    data = b"".join(source.load(page) for page in range(-(-size // 4096))) if source is not None else b""
    symbols = read_symbols(data)
    address = symbols.address(symbol)
    if address is None:
        near = difflib.get_close_matches(symbol, islice(symbols.by_name, MOST_GUESSES), 1)
        advice = f"do you mean {near[0]!r}?" if near else "" if symbols.by_name else "it is stripped: give an address"
        where = process.executable.decode(errors="replace")
        raise ConfigurationError(f"there is no symbol {symbol!r} in {where}" + (f": {advice}" if advice else ""))
    first = min((segment.address for segment in parse(BytesSource(data)).segments), default=0) & ~4095
    mapped = [region.start for region in task_of(machine).space.regions() if region.name == process.executable]
    return address + (min(mapped, default=first) - first)


def task_views(machine: Machine) -> list[TaskView]:
    views = []
    for tid, task in sorted(getattr(machine, "tasks", {}).items()):
        parent = task.process.parent
        views.append(
            TaskView(tid, task.tgid, parent.pid if parent is not None else 0, task.name, task.state, task.context.pc)
        )
    return views


def code_at(machine: Machine, address: int | None, count: int, tid: int | None = None) -> list[Instruction]:
    """`count` instructions from `address` (None: the pc), fewer where memory ends."""
    task = task_of(machine, tid)
    start = task.context.pc if address is None else address
    wanted = max(0, count) * LONGEST_INSTRUCTION
    code = b""
    while len(code) < wanted:
        piece = min(wanted - len(code), 4096 - (start + len(code)) % 4096)
        try:
            code += task.space.read(start + len(code), piece)
        except Errno:
            break
    thumb = machine.isa.name == "arm" and bool(task.context["cpsr"] & 0x20)
    return list(disassemble(machine.isa.name, code, start, count, thumb=thumb)) if code and count > 0 else []
