"""The twin of `_engine.c` in Python, for machines without a C compiler: the same structures, the same
decisions, the same reports, slower. Read the C file's comments for the reasons; here are only the differences.

The instruction budget is counted by a dozen machine instructions of our own (`_BLOCK_STUB`), since a Python
callback per block would cost 400 ns; on hosts other than x86-64 it is a Python callback.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import struct
import time
from ctypes import POINTER, c_int, c_uint32, c_uint64, c_void_p
from typing import TYPE_CHECKING, Any

import unicorn

from sandbox.engine import layout, library
from sandbox.engine.context import FILL, INTERRUPT, Context
from sandbox.engine.layout import PAGE_SIZE
from sandbox.engine.twin_mmu import TranslatedBlock, TwinMmu

if TYPE_CHECKING:
    from sandbox.engine.engine import Engine, Table


# void block(uc, address, uint32 size, struct {int64 left; u64 skip; void *emu_stop; u64 stopped} *data), System V
_BLOCK_STUB = bytes.fromhex(
    "48 83 79 08 00"  # cmp qword [rcx+8], 0
    "75 12"  # jne skip
    "48 83 39 00"  # cmp qword [rcx], 0
    "7e 15"  # jle stop
    "89 d0"  # mov eax, edx
    "83 f8 01"  # cmp eax, 1
    "83 d0 00"  # adc eax, 0: an empty block counts one
    "48 29 01"  # sub [rcx], rax
    "c3"
    "48 c7 41 08 00 00 00 00 c3"  # skip: mov qword [rcx+8], 0; ret
    "48 c7 41 18 01 00 00 00 ff 61 10"  # stop: mov qword [rcx+24], 1; jmp [rcx+16]
)
_BLOCK = ctypes.CFUNCTYPE(None, c_void_p, c_uint64, c_uint32, c_void_p)
_SYSCALL = ctypes.CFUNCTYPE(None, c_void_p, c_void_p)


_TRANSLATION = ctypes.CFUNCTYPE(None, c_void_p, POINTER(TranslatedBlock), c_void_p, c_void_p)


_ANSWER = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p)


# What the guest's clocks are to the host: see HostClock.
_CLOCKS = {
    number: time.CLOCK_REALTIME if number in (0, 5) else time.CLOCK_MONOTONIC for number in (0, 1, 4, 5, 6, 7)
}  # fmt: skip


class TwinCore(TwinMmu):
    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        isa = engine.isa
        self._numbers = [isa.numbers[name] for name in (isa.syscall_number, *isa.syscall_arguments)]
        self._captured = (c_uint64 * 7)()
        self._capture_ids = (c_int * 7)(*self._numbers)
        base = ctypes.addressof(self._captured)
        self._capture_at = (c_void_p * 7)(*(base + 8 * index for index in range(7)))
        self._vector = 0
        self._granted = 0
        self._callbacks = [
            FILL(self._fill),
            self._block_hook(),
            _SYSCALL(self._on_syscall),
            INTERRUPT(self._on_interrupt),
            _TRANSLATION(self._on_translation),
            _ANSWER(self._on_cpuid),
            _ANSWER(self._on_rdtsc),
            _ANSWER(self._on_rdtscp),
        ]
        engine.install(self._callback_address, 0)

    # ---- hooks

    def _callback_address(self, index: int) -> int:
        callback = self._callbacks[index]
        if isinstance(callback, int):
            return callback
        return int(ctypes.cast(callback, c_void_p).value or 0)

    def _block_hook(self) -> Any:
        if platform.machine() == "x86_64":
            protection = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
            try:
                self._stub = mmap.mmap(-1, PAGE_SIZE, prot=protection)
            except OSError:
                return _BLOCK(self._on_block)
            # the data pointer is part of the code, because all hooks of the twin are installed without one
            load = b"\x48\xb9" + struct.pack("<Q", ctypes.addressof(self._budget))  # mov rcx, data
            self._stub.write(load + _BLOCK_STUB)
            return ctypes.addressof(ctypes.c_char.from_buffer(self._stub))
        return _BLOCK(self._on_block)

    def _on_block(self, uc: int, address: int, size: int, data: int) -> None:
        budget = self._budget
        if budget.skip:
            budget.skip = 0
        elif budget.left <= 0:
            budget.stopped = 1
            library.emu_stop(self._uc)
        else:
            budget.left -= size or 1

    def _on_syscall(self, uc: int, data: int) -> None:
        context = self._live
        assert context is not None
        if context.words.constants_count and self._answer(context):
            return
        self._reason = layout.STOP_SYSCALL
        library.emu_stop(self._uc)

    def _on_cpuid(self, uc: int, data: int) -> int:
        words = self._words
        leaf, subleaf = (self._read(words.cpuid_registers[index]) & 0xFFFFFFFF for index in (0, 2))
        if leaf != 1 and (leaf != 7 or subleaf):
            return 0
        for index in range(4):
            self._write(words.cpuid_registers[index], words.cpuid[4 * (leaf == 7) + index])
        return 1

    def _on_rdtsc(self, uc: int, data: int) -> int:
        assert self._table is not None
        self._table.words.work += 1
        ticks = self._table.words.work + self._granted - self._budget.left
        self._write(self._words.cpuid_registers[0], ticks & 0xFFFFFFFF)
        self._write(self._words.cpuid_registers[3], ticks >> 32)
        return 1

    def _on_rdtscp(self, uc: int, data: int) -> int:
        self._write(self._words.cpuid_registers[2], 0)
        return self._on_rdtsc(uc, data)

    def _answer(self, context: Context) -> bool:
        number = self._read(self._numbers[0]) & self._mask
        words = context.words
        if number >= words.constants_count or not words.constants[number].valid:
            return False
        constant = words.constants[number]
        if constant.valid != layout.CONSTANT and not self._tell_time(constant.valid):
            return False
        constant.count += 1
        self._write(self._words.result_register, constant.value)
        if self._words.sysret:
            self._leave_as_sysret((self._read(self._words.pc_register) & self._mask) + layout.SYSCALL_LENGTH)
        return True

    def _leave_as_sysret(self, following: int) -> None:
        flags = self._read(self._words.flags_register)
        self._write(self._words.sysret_registers[0], following)
        self._write(self._words.sysret_registers[1], flags)

    def _tell_time(self, kind: int) -> bool:
        first, second = (self._read(register) & self._mask for register in self._numbers[1:3])
        timeval = kind in (layout.TIMEVAL_64, layout.TIMEVAL_32)
        if timeval and second:
            return False
        clock = time.CLOCK_REALTIME if timeval else _CLOCKS.get(first & 0xFFFFFFFF)
        if clock is None:
            return False
        seconds, nanoseconds = divmod(time.clock_gettime_ns(clock), 1_000_000_000)
        wide = kind in (layout.TIMESPEC_64, layout.TIMEVAL_64)
        if not wide and seconds >> 31:
            return False
        pair = struct.pack("=qq" if wide else "=ii", seconds, nanoseconds // 1000 if timeval else nanoseconds)
        return self._store_plainly(first if timeval else second, pair)

    def _on_interrupt(self, uc: int, number: int, data: int) -> None:
        if number == self._words.syscall_vector:
            self._on_syscall(uc, data)
            return
        self._reason = layout.STOP_TRAP
        self._vector = number
        library.emu_stop(self._uc)

    # ---- contexts

    def park(self, context: Context) -> None:
        library.check(library.context_save(self._uc, context.words.saved), "saving a context")
        self.forget(context)

    def forget(self, context: Context) -> None:
        context.twin = None
        if self._live is context:
            self._live = None

    def _bring_in(self, context: Context) -> None:
        if self._live is context:
            return
        if self._live is not None:
            self.park(self._live)
        if context.twin is not None:
            context.twin.park(context)
        library.check(library.context_restore(self._uc, context.words.saved), "restoring a context")
        context.twin = self
        self._live = context

    # ---- the run loop

    def run(self, context: Context, table: Table, budget: int, count: int) -> int:
        self._bring_in(context)
        self._table = table
        loaded = (table.words.identity, table.words.epoch, self._pool.words.code_epoch)
        if loaded != self._loaded or table.words.engine != self._identity or self._tlb_is_full():
            self._flush()
            self._loaded = loaded
            table.words.engine = self._identity
        words, report = context.words, self._words.report
        if words.has_result:
            self._write(self._words.result_register, words.result)
            words.has_result = 0
        pc = self._read(self._words.pc_register) & self._mask
        counter = self._budget
        counter.stopped = 0
        counter.skip = words.resume == pc
        words.resume = layout.NO_RESUME
        exact = self._engine.exact
        self._words.interrupted = 0
        self._granted = counter.left = budget if exact else layout.CHUNK
        self._deadline = time.monotonic() + budget / 1e9
        if self._words.breaks_changed:
            self._words.breaks_changed = 0
            self._breaks = set(self._words.breaks[: self._words.breaks_count])
            self._renew_exits()
        while True:
            if self._words.interrupted:
                self._reason, report[layout.ERROR] = layout.STOP_ERROR, layout.INTERRUPTED
                break
            self._reason = layout.STOP_NONE
            if self._words.thumb:
                pc |= self._read(self._words.flags_register) >> 5 & 1
            begun = pc & ~self._words.thumb
            if not self._loaded[0]:
                self._flush()
                self._loaded = loaded
            error = self._start(pc, count)
            pc = self._read(self._words.pc_register) & self._mask
            if self._stepped(count, begun, pc):
                break
            if self._reason == layout.STOP_GUARD:
                self._renew_exits()
                continue
            if not count and pc in self._breaks and self._stopped_at_exit(pc, error):
                self._reason = layout.STOP_BREAKPOINT
                report[layout.ADDRESS] = pc
                break
            if pc in self._exits and (not count or pc == begun) and self._stopped_at_exit(pc, error):
                self._reason = layout.STOP_NONE
                if self._at_locked_bit(pc):
                    self._reason, self._vector = layout.STOP_TRAP, layout.UNDEFINED_OPCODE
                    break
                error = self._pass_exit(pc)
                pc = self._read(self._words.pc_register) & self._mask
                if self._stepped(count, begun, pc):
                    break
                if self._try_again(pc) or (self._reason == layout.STOP_NONE and not error and not count):
                    continue
            if count and pc == begun and pc in self._breaks and self._stopped_at_exit(pc, error):
                error = self._pass_exit(pc)
                pc = self._read(self._words.pc_register) & self._mask
                if self._stepped(count, begun, pc):
                    break
                if self._try_again(pc):
                    continue
            if self._reason == layout.STOP_FLIP:
                if self._resolve_flip(pc):
                    counter.skip |= self._flip[1] != layout.EXECUTE
                    if counter.left > -layout.MOST_OVERDRAWN:
                        continue
                    self._reason = layout.STOP_BUDGET
                    break
                error = self._step_over(pc)
                pc = self._read(self._words.pc_register) & self._mask
                if self._stepped(count, begun, pc):
                    break
                if self._try_again(pc):
                    continue
                if self._reason == layout.STOP_NONE and not error and not count:
                    counter.skip = counter.left > 0
                    continue
            if self._reason == layout.STOP_ERROR:
                if report[layout.ERROR] == layout.KILLER_AVX:
                    self._drop_translations(self._killer_frame)
            elif self._reason == layout.STOP_NONE:
                if counter.stopped:
                    if not exact and time.monotonic() < self._deadline:
                        counter.stopped = 0
                        counter.left += layout.CHUNK
                        self._granted += layout.CHUNK
                        continue
                    self._reason = layout.STOP_BUDGET
                elif error == unicorn.UC_ERR_INSN_INVALID:
                    self._reason, self._vector = layout.STOP_TRAP, layout.ILLEGAL_VECTOR
                elif error:
                    self._reason = layout.STOP_ERROR
                    report[layout.ERROR] = error
                elif count:
                    self._reason = layout.STOP_BUDGET
                elif self._words.interrupted:
                    self._reason = layout.STOP_ERROR
                    report[layout.ERROR] = layout.INTERRUPTED
                else:
                    self._reason = layout.STOP_HALT
            break
        report[layout.PC] = pc
        report[layout.WORK] = self._granted - counter.left if self._engine.preemptible else 0
        table.words.work += report[layout.WORK]
        if self._reason == layout.STOP_FAULT:
            report[layout.ADDRESS], report[layout.ACCESS], report[layout.OUT_OF_MEMORY] = self._fault
            if counter.skip or self._fault[1] << 1 != layout.EXECUTE:
                words.resume = pc
        elif self._reason == layout.STOP_SYSCALL:
            self._capture(pc)
        elif self._reason == layout.STOP_TRAP:
            report[layout.VECTOR] = self._vector
        return self._reason

    def run_inside(self, context: Context, table: Table, budget: int) -> int:
        return self.run(context, table, budget, 0)

    def _capture(self, pc: int) -> None:
        report, mask = self._words.report, self._mask
        ctypes.memset(self._captured, 0, 56)
        library.reg_read_batch(self._uc, self._capture_ids, self._capture_at, 7)
        report[layout.NUMBER : layout.NUMBER + 7] = [value & mask for value in self._captured]
        if self._words.sysret:
            self._leave_as_sysret(pc)

    def interrupt(self) -> None:
        self._words.interrupted = 1
        library.emu_stop(self._uc)

    def close(self) -> None:
        if self._live is not None:
            self.park(self._live)
        self._seen.release()
        self._callbacks.clear()
