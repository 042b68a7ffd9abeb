"""A CPU core: one Unicorn instance of one ISA, which runs one context in one address space for a bounded
budget and says why it stopped. It knows no syscalls, files or virtual machines.

Two implementations of the inner loop stand behind it: `_engine.c` (NativeCore) and twin.py (TwinCore).
They share the structures of layout.py and behave alike; the first is ten times faster at the edges.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from collections.abc import Callable
from ctypes import c_uint8, c_uint32, c_uint64, c_void_p
from typing import Protocol

import unicorn
from unicorn import x86_const

from sandbox.abi.errno import Errno
from sandbox.engine import layout, library
from sandbox.engine.context import Context, template
from sandbox.engine.gate import Gate
from sandbox.engine.isa import Access, Isa, Trap
from sandbox.engine.native import Accelerator, accelerator
from sandbox.engine.stop import Stop, StopReason
from sandbox.engine.window import DEVICE_WINDOW, Bus, open_window
from sandbox.errors import EngineError

TRANSLATION_BUFFER = 32 << 20  # bytes: Unicorn's default of 1 GiB costs 6 ms and an exit(1) when it is refused
BRIEF = 20_000  # nanoseconds that a run may take which does not let others in
BRIEF_WORK = 8192  # code bytes: who did no more before its last call will do no more before the next
SCRATCH_64, SCRATCH_32 = 0xFFFF_8000_0000_0000, 0xFFFF_E000  # never a guest's page

KILLERS = {
    layout.KILLER_OVERRUN: "the code page at {:#x} holds a run of instructions that overruns Unicorn's translator",
    layout.KILLER_AVX: "the AVX instruction at {:#x} would be computed wrongly by Unicorn: the program needs a build "
    "without AVX, or one that asks CPUID first",
    layout.KILLER_LOCKED: "the code page at {:#x} holds too many locked bit tests of registers, which abort Unicorn",
    layout.INTERRUPTED: "interrupted from outside",
}

_CPUID_REGISTERS = (
    x86_const.UC_X86_REG_EAX,
    x86_const.UC_X86_REG_EBX,
    x86_const.UC_X86_REG_ECX,
    x86_const.UC_X86_REG_EDX,
)
_UNPACK = struct.Struct(f"={layout.REPORT_WORDS}Q").unpack_from
_REASONS = {reason.value: reason for reason in StopReason}
_ACCESS = {access.value: access for access in Access}
_BUDGET = StopReason.BUDGET
_MEMORY = {0: None, 1: "vm", 2: "pool"}
_BRING = ctypes.CFUNCTYPE(c_uint64, c_uint64, c_uint64)


class Pool(Protocol):
    """What an engine needs of memory.FramePool."""

    frames: int
    address: int
    words: layout.PoolWords

    @property
    def pointer(self) -> int: ...


class Table(Protocol):
    leaves: dict[int, int]
    words: layout.TableWords
    pointer: int


class Space(Protocol):
    """What an engine needs of memory.AddressSpace."""

    running: bool

    @property
    def table(self) -> Table: ...
    def resolve(self, address: int, access: int) -> bool: ...
    def read(self, address: int, length: int) -> bytes: ...


class Core(Protocol):
    """The inner loop: runs until a stop and leaves the report in the words of the engine."""

    def run(self, context: Context, table: Table, budget: int, count: int) -> int: ...
    def run_inside(self, context: Context, table: Table, budget: int) -> int: ...
    def interrupt(self) -> None: ...
    def close(self) -> None: ...


class NativeCore:
    def __init__(self, engine: Engine, native: Accelerator) -> None:
        self._native = native
        self._words = engine.words
        self._pointer = ctypes.addressof(engine.words)
        engine.install(lambda index: int(native.callback(index)), self._pointer)
        enter, stay, pointer = native.run, native.run_inside, self._pointer

        def run_inside(context: Context, table: Table, budget: int) -> int:
            return stay(pointer, context.pointer, table.pointer, budget, 0)  # type: ignore[no-any-return]

        self.run_inside = run_inside

        def run(context: Context, table: Table, budget: int, count: int) -> int:
            return enter(pointer, context.pointer, table.pointer, budget, count)  # type: ignore[no-any-return]

        self.run = run  # a closure: this is where every syscall passes

    def interrupt(self) -> None:
        self._native.interrupt(self._pointer)

    def close(self) -> None:
        if self._words.live:
            self._native.park(self._words.live)


class Engine:
    """`exact`: budgets are code bytes, counted block by block, and every run repeats; otherwise they are nanoseconds.

    `preemptible=False` is free-running: without the count, which takes 10 to 35 % of the time. Nothing is counted then,
    and a run over its budget ends at its next syscall, fault or TLB miss; code that has none of them goes on until it
    is interrupted, and cannot be resumed then. (Unicorn can be stopped from another thread, but not precisely: it
    leaves between an instruction's memory access and the rest of it.)

    `privileged`: for boards, the CPU's reset privilege instead of user mode.

    Raises EngineError when Unicorn cannot be had. Close engines explicitly."""

    def __init__(
        self, isa: Isa, pool: Pool, *, exact: bool = True, preemptible: bool = True, privileged: bool = False
    ) -> None:
        self.isa = isa
        self.pool = pool
        self.exact = exact
        self.preemptible = preemptible or exact
        self.privileged = privileged
        self.gate: Gate | None = None  # let go while guest code runs
        self._brief = False  # guest code will not run for long
        self.bus: Bus | None = None
        self.closed = False
        self._stop = Stop()
        self._callbacks: list[object] = []
        self.uc = library.open_unicorn(isa.unicorn_arch, isa.unicorn_mode, isa.cpu_model, TRANSLATION_BUFFER)
        self._functions = layout.FunctionWords(
            *(
                library.address_of(getattr(library, name) if name != "ctl" else library.PY.uc_ctl)
                for name in layout.FUNCTIONS
            )
        )
        self._seen = mmap.mmap(-1, pool.frames * 4)
        self._guards = mmap.mmap(-1, max(1, pool.frames if isa.unicorn_arch == unicorn.UC_ARCH_X86 else 0))
        self._exits = (c_uint64 * layout.MOST_EXITS)()
        self._breaks = (c_uint64 * layout.MOST_BREAKS)()
        self.breakpoints: frozenset[int] = frozenset()
        self._space: Space | None = None  # that runs now
        self._opened: Gate | None = None  # the gate, while it is let go
        self._within = _BRING(self.bring)
        self._interrupted: BaseException | None = None
        self.words = self._fill_words()
        self._report_bytes = memoryview(self.words).cast("B")
        self._report = self._report_bytes.cast("Q")
        library.check(
            library.mem_map_ptr(self.uc, 0, pool.frames * layout.PAGE_SIZE, 7, pool.address), "the guests' memory"
        )
        native = accelerator()
        self._may_be_brief = native is not None and not exact and self.preemptible
        try:
            if native:
                self._core: Core = NativeCore(self, native)
            else:
                from sandbox.engine.twin import TwinCore

                self._core = TwinCore(self)
            if self.words.scan:
                self._first_block()
        except EngineError:
            library.uc_close(self.uc)
            raise

    def _fill_words(self) -> layout.EngineWords:
        isa, words = self.isa, layout.EngineWords()
        words.uc = self.uc
        words.tlb_entries = layout.FEWEST_TLB_ENTRIES
        words.call = ctypes.pointer(self._functions)
        words.pool = ctypes.cast(self.pool.pointer, ctypes.POINTER(layout.PoolWords))
        words.seen = ctypes.cast(ctypes.addressof(ctypes.c_char.from_buffer(self._seen)), ctypes.POINTER(c_uint32))
        words.guards = ctypes.cast(ctypes.addressof(ctypes.c_char.from_buffer(self._guards)), ctypes.POINTER(c_uint8))
        words.exits = ctypes.cast(self._exits, ctypes.POINTER(c_uint64))
        words.breaks = ctypes.cast(self._breaks, ctypes.POINTER(c_uint64))
        words.exact, words.preemptible, words.privileged = self.exact, self.preemptible, self.privileged
        words.thumb = isa.name == "arm"
        words.sysret = isa.name == "x86_64" and not self.privileged
        words.syscall_vector = -1 if self.privileged else isa.syscall_vector
        words.number_register = isa.numbers[isa.syscall_number]
        words.result_register = isa.numbers[isa.syscall_result]
        words.pc_register = isa.numbers[isa.pc]
        words.flags_register = isa.numbers[isa.flags]
        for index, name in enumerate(isa.syscall_arguments):
            words.argument_registers[index] = isa.numbers[name]
        if words.sysret:
            words.sysret_registers[0] = isa.numbers["rcx"]
            words.sysret_registers[1] = isa.numbers["r11"]
        words.word_mask = isa.word_mask
        if isa.unicorn_arch == unicorn.UC_ARCH_X86:
            for index, number in enumerate(_CPUID_REGISTERS):
                words.cpuid_registers[index] = number
            for index, value in enumerate(template(isa, self.privileged).cpuid):
                words.cpuid[index] = value
        words.scan = isa.bits if isa.unicorn_arch == unicorn.UC_ARCH_X86 else 0
        if words.scan:
            words.bring = ctypes.cast(self._within, c_void_p)
        words.scratch_address = SCRATCH_64 if isa.bits == 64 else SCRATCH_32
        return words

    def install(self, callback: Callable[[int], int], data: int) -> None:
        """Hook the core's callbacks in: 0 TLB fill, 1 block, 2 syscall, 3 interrupt, 4 translation, 5 CPUID,
        6 RDTSC, 7 RDTSCP."""
        add = library.add_hook
        add(self.uc, unicorn.UC_HOOK_TLB_FILL, callback(0), data)
        if self.preemptible:
            add(self.uc, unicorn.UC_HOOK_BLOCK, callback(1), data)
        if not self.privileged:
            if self.isa.name == "x86_64":
                add(self.uc, unicorn.UC_HOOK_INSN, callback(2), data, x86_const.UC_X86_INS_SYSCALL)
            elif self.isa.name == "i386":
                add(self.uc, unicorn.UC_HOOK_INSN, callback(2), data, x86_const.UC_X86_INS_SYSENTER)
        add(self.uc, unicorn.UC_HOOK_INTR, callback(3), data)
        if self.words.scan:
            add(self.uc, unicorn.UC_HOOK_EDGE_GENERATED, callback(4), data)
            add(self.uc, unicorn.UC_HOOK_INSN, callback(5), data, x86_const.UC_X86_INS_CPUID)
            if self.exact:
                add(self.uc, unicorn.UC_HOOK_INSN, callback(6), data, x86_const.UC_X86_INS_RDTSC)
                add(self.uc, unicorn.UC_HOOK_INSN, callback(7), data, x86_const.UC_X86_INS_RDTSCP)

    def _first_block(self) -> None:
        """x86: run `jmp .+2; ud2` in frame 0, because Unicorn reports no translation before it has run a block."""
        ctypes.memmove(self.pool.address, b"\xeb\x00\x0f\x0b", 4)
        self.words.left, self.words.scratch_on = 1 << 40, 1
        library.emu_start(self.uc, layout.PAGE_SIZE, 0, 0, 0)
        self.words.scratch_on = 0
        library.control(self.uc, unicorn.UC_CTL_TLB_FLUSH)

    # ---- running

    def run(self, context: Context, space: Space, budget: int) -> Stop:
        """Run for about `budget`: code bytes when exact, nanoseconds otherwise. An exact budget of 0 finishes the block
        that a fault interrupted, and nothing else: so a turn ends at the same place whatever pages were missing."""
        gate = self.gate
        self._space = space
        before = 0  # work of a run that was not as brief as it seemed
        space.running = True
        try:
            if self._brief and budget > BRIEF and gate is not None and gate.may_stay():
                self._opened = None
                reason = self._core.run_inside(context, space.table, BRIEF)
                if reason == layout.STOP_BUDGET:
                    before = self._report[layout.WORK]
                    reason = self._run_outside(context, space, budget - BRIEF, gate)
            else:
                reason = self._run_outside(context, space, budget, gate)
        finally:
            space.running = False
        if reason == layout.STOP_SYSCALL:
            stop, words = self._stop, _UNPACK(self._report_bytes)
            stop.reason = StopReason.SYSCALL
            stop.number = words[layout.NUMBER]
            stop.arguments = words[layout.ARGUMENT_0 : layout.ARGUMENT_0 + 6]
            stop.work = work = words[layout.WORK] + before
            stop.pc = words[layout.PC]
            self._brief = work < BRIEF_WORK and self._may_be_brief
            return stop
        if reason == layout.STOP_BUDGET:
            self._brief = False
            stop, report = self._stop, self._report
            stop.reason = _BUDGET
            stop.work = report[layout.WORK] + before
            stop.pc = report[layout.PC]
            return stop
        stop = self._read_report(reason, context, space)
        stop.work += before
        return stop

    def _run_outside(self, context: Context, space: Space, budget: int, gate: Gate | None) -> int:
        self._opened = gate
        if gate is None:
            return self._core.run(context, space.table, budget, 0)
        gate.lock.release()
        try:
            return self._core.run(context, space.table, budget, 0)
        finally:
            gate.come_in(self)

    def step(self, context: Context, space: Space) -> Stop:
        """Run exactly one instruction; BUDGET when it simply went well. Slow: for debuggers."""
        self._space, self._opened = space, None
        space.running = True
        try:
            reason = self._core.run(context, space.table, 1 << 24 if self.exact else 1 << 40, 1)
        finally:
            space.running = False
        return self._read_report(reason, context, space)

    def bring(self, address: int, access: int) -> int:
        """From within the guest's load or store: make it possible, if it is. What cannot be done here is refused; the
        run then ends with the fault, and whoever serves it meets the same error where it can be told."""
        gate, space = self._opened, self._space
        assert space is not None
        try:
            if gate is None:
                return int(space.resolve(address, access))
            gate.come_in(self)
            try:
                return int(space.resolve(address, access))
            finally:
                gate.lock.release()
        except Exception:
            return 0
        except BaseException as error:  # Ctrl-C came just now
            self._interrupted = error
            return 0

    def set_breakpoints(self, addresses: frozenset[int]) -> None:
        """Stop with BREAKPOINT before the instructions at these addresses, in whatever space, until others are set. A
        step passes them. What was translated is forgotten: not for a switch between VMs that must be quick."""
        if len(addresses) > layout.MOST_BREAKS:
            raise EngineError(f"an engine has at most {layout.MOST_BREAKS} breakpoints")
        if addresses != self.breakpoints:
            for index, address in enumerate(sorted(addresses)):
                self._breaks[index] = address & self.isa.word_mask
            self.words.breaks_count = len(addresses)
            self.words.breaks_changed = 1
        self.breakpoints = addresses

    def hurry(self) -> None:
        """From another thread: end the run under way soon, as if its time were up. A wish: it is lost when no run has
        begun; exact runs and the twin do not listen."""
        self.words.deadline = 0

    def interrupt(self) -> None:
        """From another thread, to kill what runs: it ends with ERROR and cannot go on. Repeat until `run` returns."""
        self._core.interrupt()

    def _read_report(self, reason: int, context: Context, space: Space) -> Stop:
        stop, report = self._stop, self._report
        stop.work = report[layout.WORK]
        stop.pc = report[layout.PC]
        stop.reason = _REASONS[reason]
        if reason == layout.STOP_SYSCALL:
            stop.number = report[layout.NUMBER]
            stop.arguments = tuple(report[layout.ARGUMENT_0 : layout.ARGUMENT_0 + 6])
        if reason == layout.STOP_FAULT:
            if self._interrupted is not None:
                interrupted, self._interrupted = self._interrupted, None
                raise interrupted
            stop.address = report[layout.ADDRESS]
            stop.access = _ACCESS[report[layout.ACCESS]]
            stop.out_of_memory = _MEMORY[report[layout.OUT_OF_MEMORY]]
        elif reason == layout.STOP_TRAP:
            stop.vector = report[layout.VECTOR]
            stop.trap = self.isa.traps.get(stop.vector, Trap.OTHER)
            if stop.vector == layout.ILLEGAL_VECTOR and self._is_breakpoint(space, stop.pc):
                stop.trap = Trap.BREAKPOINT
            context.forget_exception()
            past = self.isa.trap_pc_after.get(stop.vector)
            if past and not self.privileged:
                context.pc = stop.pc = stop.pc - past
        elif reason == layout.STOP_BREAKPOINT:
            stop.address = report[layout.ADDRESS]
        elif reason == layout.STOP_ERROR:
            code = report[layout.ERROR]
            stop.address = report[layout.ADDRESS]
            stop.error = KILLERS[code].format(stop.address) if code in KILLERS else library.strerror(code).decode()
        return stop

    def _is_breakpoint(self, space: Space, pc: int) -> bool:
        try:
            return any(space.read(pc, len(code)) == code for code in self.isa.breakpoints)
        except Errno:
            return False

    # ---- devices

    @property
    def device_base(self) -> int:
        """The guest-physical address at which the device window begins."""
        size = self.pool.frames * layout.PAGE_SIZE
        return (size + DEVICE_WINDOW - 1) & ~(DEVICE_WINDOW - 1)

    def open_devices(self) -> None:
        """Map the device window: from now on `self.bus` answers there. Idempotent."""
        if not self._callbacks:
            self._callbacks = open_window(self, self.device_base)

    # ---- figures

    @property
    def tlb_misses(self) -> int:
        return int(self.words.fills)

    @property
    def tlb_flushes(self) -> int:
        return int(self.words.flushes)

    @property
    def faults_resolved(self) -> int:
        """Demand-zero and copy-on-write faults served without leaving the inner loop."""
        return int(self.words.faults_resolved)

    @property
    def flips(self) -> int:
        return int(self._report[layout.FLIPS])

    def close(self) -> None:
        """Park what runs here and free the instance. Idempotent."""
        if not self.closed:
            self.closed = True
            self._core.close()
            library.uc_close(self.uc)
            self._report.release()
            self._report_bytes.release()
