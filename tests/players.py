"""Who runs random programs, and what comes of it as one record that can be compared: an Engine, or plain Unicorn
(`mem_map`, its default TLB, no hook on memory).

Of the eight pages of data some are there, some come on demand, some have to be copied first. On both sides of them
is nothing: an access there ends the run, the page is mapped, and the program goes on with the instruction that failed.
Plain Unicorn has everything mapped from the start, so that it never faults.
"""

from __future__ import annotations

import ctypes
import itertools
import random
from collections.abc import Sequence
from ctypes import c_size_t, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass, field
from typing import Any

import unicorn
from unicorn import x86_const

from sandbox.engine import Context, Engine, StopReason, library
from sandbox.engine.context import INTERRUPT
from sandbox.memory import PAGE_SIZE, AddressSpace, FramePool
from tests.instruction_templates import FAMILIES
from tests.memory import File
from tests.programs import isa_of
from tests.random_programs import LAST_CALL, Program

CODE, DATA, STACK = 0x1_0000, 0x10_0000, 0x20_0000
CODE_PAGES, DATA_PAGES, LATE_PAGES, STACK_PAGES = 4, 8, 4, 2
_names = itertools.count()


@dataclass
class Record:
    """What a run left behind. `pages` is what the soft MMU alone can know; plain Unicorn leaves it empty."""

    stops: list[tuple[Any, ...]] = field(default_factory=list)
    registers: dict[str, bytes] = field(default_factory=dict)
    memory: bytes = b""
    faults: list[tuple[str, int, int]] = field(default_factory=list)  # access, page, PC of what was mapped late
    turns: list[tuple[int, int]] = field(default_factory=list)  # PC and work at each end of a budget
    pages: dict[str, int] = field(default_factory=dict)


def initial_memory(program: Program) -> bytes:
    chance = random.Random(program.seed)
    content = [chance.randbytes(PAGE_SIZE) for _ in range(DATA_PAGES)]
    content[4] = content[5] = bytes(PAGE_SIZE)
    return b"".join(content)


def initial_context(program: Program) -> Context:
    isa, chance = isa_of(program.machine), random.Random(program.seed + 1)
    context = Context(isa)
    special = {isa.pc, isa.flags, isa.tp, "zero", "cs", "ss", "ds", "es", "fs", "gs", "fs_base", "gs_base"}
    for name in isa.numbers.keys() - special:
        bits = chance.choice((4, 31, isa.bits, isa.bits))
        context[name] = chance.getrandbits(bits)
    for name, (_, size) in sorted(isa.wide.items()):
        if name[0] in "xqdf" and not name.startswith("fp") and name != "fcsr":
            context.write_wide(name, chance.randbytes(size))
    pointers = FAMILIES[program.machine].classes["p"]
    assert not callable(pointers)
    for name, border in zip(pointers, program.pointers, strict=True):
        context[name] = DATA + border * PAGE_SIZE
    if program.machine == "riscv64":
        context["s1"] = DATA + PAGE_SIZE - 8
    context.sp = STACK + PAGE_SIZE
    context.pc = begin(program) | (program.machine == "thumb")
    return context


def begin(program: Program) -> int:
    return CODE + PAGE_SIZE - program.before if program.before else CODE


def answer(number: int) -> int:
    """The result of a syscall."""
    return number * 0x0101_0101 if number % 3 else -number


SPANS = (
    (DATA - LATE_PAGES * PAGE_SIZE, (DATA_PAGES + 2 * LATE_PAGES) * PAGE_SIZE),
    (STACK, STACK_PAGES * PAGE_SIZE),
)


def _late_pages() -> list[int]:
    border = DATA + DATA_PAGES * PAGE_SIZE
    late = range(LATE_PAGES)
    return [DATA - (index + 1) * PAGE_SIZE for index in late] + [border + index * PAGE_SIZE for index in late]


class Player:
    """Runs programs on one Engine, all on the same pool: frames and translations of one are met by the next."""

    def __init__(self, machine: str, budgets: Sequence[int] = (1 << 30,)) -> None:
        self.isa = isa_of(machine)
        self.pool = FramePool(8 << 20)
        self.account = self.pool.account(4 << 20)
        self.engine = Engine(self.isa, self.pool)
        self.budgets = budgets

    def close(self) -> None:
        self.engine.close()
        self.account.close()
        self.pool.close()

    def play(self, program: Program) -> Record:
        memory = initial_memory(program)
        file = File(memory[2 * PAGE_SIZE : 4 * PAGE_SIZE], f"differential {next(_names)}")
        space = AddressSpace(self.pool, self.account, self.isa.bits)
        space.map(CODE, CODE_PAGES * PAGE_SIZE, 5, fixed=True)
        space.write(begin(program), program.code)
        space.map(DATA, DATA_PAGES * PAGE_SIZE, 3, fixed=True)
        space.map(DATA + 2 * PAGE_SIZE, 2 * PAGE_SIZE, 3, fixed=True, source=file)
        space.map(STACK, STACK_PAGES * PAGE_SIZE, 3, fixed=True)
        space.copy_out(DATA, memory[: 2 * PAGE_SIZE])
        space.copy_out(DATA + 6 * PAGE_SIZE, memory[6 * PAGE_SIZE :])
        other = space.fork()
        if program.child:
            space, other = other, space
        other.copy_in(DATA, 8)
        space.write(STACK + PAGE_SIZE, bytes(8))  # the leaf is its own; copies are made within the engine
        context = initial_context(program)
        record = Record()
        resolved = self.engine.faults_resolved, self.engine.flips
        try:
            self._run(program, context, space, record)
            record.registers = context.save()
            for page in _late_pages():
                if not any(page == fault[1] for fault in record.faults):
                    space.map(page, PAGE_SIZE, 3, fixed=True)
            record.memory = b"".join(space.read(address, size) for address, size in SPANS)
            record.pages = space.faults | {
                "resolved": self.engine.faults_resolved - resolved[0],
                "flips": self.engine.flips - resolved[1],
                "resident": space.resident,
            }
        finally:
            context.release()
            space.release()
            other.release()
            space.cache.forget(file.identity)
        assert self.account.used == 0, "frames have leaked"
        return record

    def _run(self, program: Program, context: Context, space: AddressSpace, record: Record) -> None:
        budgets = itertools.cycle(self.budgets)
        left = next(budgets)
        for _ in range(100_000):
            stop = self.engine.run(context, space, max(0, left))
            left -= stop.work
            if stop.reason is StopReason.BUDGET:
                record.turns.append((stop.pc, left))
                left = next(budgets)
            elif stop.reason is StopReason.SYSCALL:
                record.stops.append(("syscall", stop.number, stop.arguments, stop.pc))
                if stop.number == LAST_CALL:
                    return
                context.set_result(answer(stop.number))
            elif stop.reason is StopReason.FAULT and space.resolve(stop.address, stop.access):
                continue
            elif stop.reason is StopReason.FAULT:
                record.faults.append((stop.access.name, stop.address, stop.pc))
                if stop.address not in _late_pages():
                    record.stops.append(("fault",))
                    return
                space.map(stop.address, PAGE_SIZE, 3, fixed=True, replace=False)
            elif stop.reason is StopReason.TRAP:
                record.stops.append(("trap", stop.vector, stop.pc))
                return
            else:
                record.stops.append((stop.reason.name, stop.error, stop.pc))
                return
        raise AssertionError("it does not end")


_FAULTS = (unicorn.UC_ERR_READ_UNMAPPED, unicorn.UC_ERR_WRITE_UNMAPPED, unicorn.UC_ERR_FETCH_UNMAPPED)
_map, _write, _read = library.PY.uc_mem_map, library.PY.uc_mem_write, library.PY.uc_mem_read
_map.argtypes = (c_void_p, c_uint64, c_size_t, c_uint32)
_write.argtypes = _read.argtypes = (c_void_p, c_uint64, c_void_p, c_size_t)
_SYSCALL = ctypes.CFUNCTYPE(None, c_void_p, c_void_p)


class Stock:
    """Runs programs on plain Unicorn, with everything mapped from the start: it never faults."""

    def __init__(self, machine: str) -> None:
        self.isa = isa_of(machine)
        self.thumb = machine == "thumb"
        self.uc = library.open_plain(self.isa.unicorn_arch, self.isa.unicorn_mode, self.isa.cpu_model, 16 << 20)
        self.blocks: dict[int, ctypes.Array[ctypes.c_char]] = {}
        for address, size in ((CODE, CODE_PAGES * PAGE_SIZE), *SPANS):
            library.check(_map(self.uc, address, size, 7), "memory")
        self.vector = -1
        self.called = False
        self._callbacks = (INTERRUPT(self._interrupt), _SYSCALL(self._syscall))
        interrupt, syscall = (int(ctypes.cast(callback, c_void_p).value or 0) for callback in self._callbacks)
        library.add_hook(self.uc, unicorn.UC_HOOK_INTR, interrupt, 0)
        if machine == "x86_64":
            library.add_hook(self.uc, unicorn.UC_HOOK_INSN, syscall, 0, x86_const.UC_X86_INS_SYSCALL)

    def close(self) -> None:
        library.uc_close(self.uc)

    def _interrupt(self, uc: int, number: int, data: int) -> None:
        self.called = number == self.isa.syscall_vector
        self.vector = -1 if self.called else number
        library.emu_stop(self.uc)

    def _syscall(self, uc: int, data: int) -> None:
        self.called = True
        library.emu_stop(self.uc)

    def play(self, program: Program) -> Record:
        for address, data in (
            (begin(program), program.code),
            *((address, bytes(size)) for address, size in SPANS),
            (DATA, initial_memory(program)),
        ):
            library.check(_write(self.uc, address, data, len(data)), "memory")
        library.control(self.uc, unicorn.UC_CTL_TB_FLUSH)
        context = initial_context(program)
        record = Record()
        try:
            library.check(library.context_restore(self.uc, context.park()), "restoring a context")
            self._run(record)
            library.check(library.context_save(self.uc, context.words.saved), "saving a context")
            record.registers = context.save()
            for address, size in SPANS:
                buffer = ctypes.create_string_buffer(size)
                library.check(_read(self.uc, address, buffer, size), "memory")
                record.memory += buffer.raw
        finally:
            context.release()
        return record

    def _register(self, name: str) -> int:
        value = ctypes.c_uint64()
        library.reg_read(self.uc, self.isa.numbers[name], ctypes.byref(value))
        return value.value & self.isa.word_mask

    def _set_register(self, name: str, value: int) -> None:
        number = ctypes.c_uint64(value & self.isa.word_mask)
        library.reg_write(self.uc, self.isa.numbers[name], ctypes.byref(number))

    def _run(self, record: Record) -> None:
        isa = self.isa
        while True:
            self.called, self.vector = False, -1
            error = library.emu_start(self.uc, self._register(isa.pc) | self.thumb, 0, 0, 0)
            pc = self._register(isa.pc)
            if self.called and not error:
                number = self._register(isa.syscall_number)
                arguments = tuple(self._register(name) for name in isa.syscall_arguments)
                record.stops.append(("syscall", number, arguments, pc))
                if isa.name == "x86_64":
                    self._set_register("rcx", pc)
                    self._set_register("r11", self._register(isa.flags))
                if number == LAST_CALL:
                    return
                self._set_register(isa.syscall_result, answer(number))
            elif error == unicorn.UC_ERR_INSN_INVALID or self.vector >= 0:
                vector = self.vector if self.vector >= 0 else 0xFFFF
                past = isa.trap_pc_after.get(vector)
                if past:
                    pc -= past
                    self._set_register(isa.pc, pc)
                record.stops.append(("trap", vector, pc))
                return
            elif error in _FAULTS:
                record.stops.append(("fault",))
                return
            else:
                record.stops.append(("ERROR", error, pc))
                return
