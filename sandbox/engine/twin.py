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
from ctypes import POINTER, c_int, c_uint16, c_uint32, c_uint64, c_void_p
from typing import TYPE_CHECKING, Any, cast

import unicorn

from sandbox.engine import layout, library, x86
from sandbox.engine.context import FILL, INTERRUPT, Context, TlbEntry
from sandbox.engine.layout import COPY, DEVICE, LEAF_ENTRIES, PAGE_SIZE, PRESENT, ZERO

if TYPE_CHECKING:
    from sandbox.engine.engine import Engine, Table

_NEED = {16: layout.READ, 17: layout.WRITE, 18: layout.EXECUTE}  # UC_MEM_READ, UC_MEM_WRITE, UC_MEM_FETCH
_GOLDEN, _WORD = 0x9E3779B97F4A7C15, (1 << 64) - 1
_FLUSH_AFTER = 200
_IT_BITS = 0x0600FC00

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


class _TranslatedBlock(ctypes.Structure):
    """uc_tb."""

    _fields_ = [("pc", c_uint64), ("icount", c_uint16), ("size", c_uint16)]


_TRANSLATION = ctypes.CFUNCTYPE(None, c_void_p, POINTER(_TranslatedBlock), c_void_p, c_void_p)


_ANSWER = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p)


class _Budget(ctypes.Structure):
    _fields_ = [("left", ctypes.c_int64), ("skip", c_uint64), ("emu_stop", c_void_p), ("stopped", c_uint64)]


class TwinCore:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._words = engine.words
        self._uc = engine.uc
        self._pool = cast(Any, engine.pool)  # a FramePool, which is above us: the twin does its bookkeeping through it
        self._seen = memoryview(engine._seen).cast("I")
        self._entries: memoryview[int] = self._pool.entries
        self._live: Context | None = None
        self._table: Table | None = None
        self._scratch: int | None = None
        self._flip = (0, 0)
        self._flip_shared = self._flip_whole = False
        self._identity = ctypes.addressof(engine.words)
        self._step_frame = self._killer_frame = 0
        self._reason = 0
        self._fault = (0, 0, 0)
        self._vector = 0
        self._loaded = (0, 0, 0)
        self._fills_since_flush = 0
        self._value = c_uint64()
        self._value_at = ctypes.byref(self._value)
        self._budget = _Budget(1 << 40, 0, library.address_of(library.emu_stop), 0)
        isa = engine.isa
        self._mask = isa.word_mask
        self._numbers = [isa.numbers[name] for name in (isa.syscall_number, *isa.syscall_arguments)]
        self._captured = (c_uint64 * 7)()
        self._capture_ids = (c_int * 7)(*self._numbers)
        base = ctypes.addressof(self._captured)
        self._capture_at = (c_void_p * 7)(*(base + 8 * index for index in range(7)))
        self._deadline = 0.0
        self._granted = 0
        self._exits: set[int] = set()
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
        constant.count += 1
        self._write(self._words.result_register, constant.value)
        return True

    def _on_interrupt(self, uc: int, number: int, data: int) -> None:
        if number == self._words.syscall_vector:
            self._on_syscall(uc, data)
            return
        self._reason = layout.STOP_TRAP
        self._vector = number
        library.emu_stop(self._uc)

    # ---- registers of the live context

    def _read(self, register: int) -> int:
        self._value.value = 0
        library.reg_read(self._uc, register, self._value_at)
        return self._value.value

    def _write(self, register: int, value: int) -> None:
        self._value.value = value
        library.reg_write(self._uc, register, self._value_at)

    # ---- soft MMU

    def _fill(self, uc: int, address: int, kind: int, result: ctypes._Pointer[TlbEntry], data: int) -> bool:
        entry = result[0]
        if self._scratch is not None or self._words.scratch_on:
            entry.paddr, entry.perms = self._scratch or 0, 7
            return True
        if self._reason in (layout.STOP_GUARD, layout.STOP_FLIP):
            return False
        need = _NEED[kind]
        address &= ~(PAGE_SIZE - 1)
        table = self._table
        assert table is not None
        if address >= table.words.end:
            return self._faulted(address, need, 0)
        leaf = table.leaves.get(address >> 21)
        if leaf is None:
            return self._faulted(address, need, 0)
        index = leaf * LEAF_ENTRIES + (address >> 12 & 511)
        value = self._entries[index]
        if not value & need:
            return self._faulted(address, need, 0)
        self._words.fills += 1
        self._fills_since_flush += 1
        if not self._engine.preemptible and not self._words.fills & 15 and time.monotonic() >= self._deadline:
            self._reason = layout.STOP_BUDGET
            return False
        if value & DEVICE:
            entry.paddr, entry.perms = value & ~0xFFF, 3
            return True
        pool = self._pool
        private = pool.references[leaf] == 1
        if not value & PRESENT or (need == layout.WRITE and (value & COPY or not private)):
            if not private or not value & (PRESENT | ZERO):
                return self._faulted(address, need, 0)
            out_of_memory = self._materialise(index, value)
            if out_of_memory:
                return self._faulted(address, need, out_of_memory)
            self._words.faults_resolved += 1
            value = self._entries[index]
        if not value & layout.ACCESSED and private:
            value |= layout.ACCESSED
            self._entries[index] = value
        permissions = self._permissions(address, value, need, private)
        if permissions is None:
            return False
        entry.paddr, entry.perms = value >> 12 << 12, permissions
        if self._words.thumb:
            flags = self._read(self._words.flags_register)
            if flags & _IT_BITS:
                self._write(self._words.flags_register, flags & ~_IT_BITS)
        return True

    def _permissions(self, address: int, value: int, need: int, private: bool) -> int | None:
        """What the TLB entry may allow now; None when the frame has to change sides first."""
        pool, frame = self._pool, value >> 12
        state, seen = pool.state[frame], self._seen[frame]
        current = pool.generation[frame] + 1 & 0xFFFFFFFF
        if self._step_frame == frame and frame:
            return 7
        writable = value & layout.WRITE and not value & COPY and private
        permissions = 1 if value & layout.READ else 0
        if state == layout.MIXED:
            whole = writable and value & layout.EXECUTE
            if need == layout.READ and not whole:
                return permissions
            if seen != current or (need == layout.WRITE and not whole):
                return self._flipped(value, need, private)
            permissions |= 6 if whole else 4
        elif need == layout.EXECUTE:
            if state == layout.WRITABLE or (seen and seen != current):
                return self._flipped(value, need, private)
            scan = self._words.scan
            if scan and state != layout.EXECUTABLE and x86.overruns(pool.read(frame), scan == 64):
                return self._refused(layout.KILLER_OVERRUN, address)
            self._seen[frame] = current
            pool.state[frame] = layout.EXECUTABLE
            if scan and not self._guarded(address, frame):
                return None
            permissions |= 4
        elif state == layout.EXECUTABLE:
            if need == layout.WRITE:
                return self._flipped(value, need, private)
            permissions |= 4 if value & layout.EXECUTE and seen == current and not self._words.scan else 0
        elif writable:
            pool.state[frame] = layout.WRITABLE
            permissions |= 2
        return permissions

    def _faulted(self, address: int, need: int, out_of_memory: int) -> bool:
        self._reason = layout.STOP_FAULT
        self._fault = (address, need >> 1, out_of_memory)
        return False

    def _refused(self, killer: int, address: int) -> int | None:
        self._reason = layout.STOP_ERROR
        self._words.report[layout.ERROR] = killer
        self._words.report[layout.ADDRESS] = address
        return None

    def _guarded(self, address: int, frame: int) -> bool:
        """Like `guard` in C, which remembers what it has looked at; here every fetch looks."""
        long_mode, edge = self._words.scan == 64, layout.EDGE
        page = self._pool.read(frame)
        found = [address + at for at in x86.locked_starts(page, long_mode)]
        for side in (-1, 1):
            value = self._entry(address + side * PAGE_SIZE)
            if value & (PRESENT | layout.EXECUTE | DEVICE) != PRESENT | layout.EXECUTE:
                continue
            other = self._pool.read(value >> 12)
            first, second = (other, page) if side < 0 else (page, other)
            start = (address if side < 0 else address + PAGE_SIZE) - edge
            both = bytes(first[-edge:]) + bytes(second[:edge])
            found += [start + at for at in x86.locked_starts(both, long_mode)]
        if len(found) > layout.MOST_EXITS_OF_PAGE:
            self._refused(layout.KILLER_LOCKED, address)
            return False
        news = {at & self._mask for at in found} - self._exits
        if not news:
            return True
        if len(self._exits) + len(news) > layout.MOST_EXITS:
            self._exits.clear()
        self._exits |= news
        self._reason = layout.STOP_GUARD
        return False

    def _set_exits(self, addresses: set[int]) -> None:
        for index, address in enumerate(sorted(addresses)):
            self._words.exits[index] = address
        pointer = ctypes.cast(self._words.exits, c_void_p).value or 0
        library.control(self._uc, unicorn.UC_CTL_UC_EXITS, pointer, len(addresses))

    def _renew_exits(self) -> None:
        library.control(self._uc, unicorn.UC_CTL_TB_FLUSH)  # what was cleared may stand in translations
        self._flush()
        self._set_exits(self._exits)

    def _at_locked_bit(self, pc: int) -> bool:
        code = bytearray()
        while len(code) < 2 * layout.EDGE:
            address = pc + len(code) & self._mask
            value = self._entry(address)
            if not value & PRESENT or value & DEVICE:
                break
            code += self._pool.read(value >> 12, address & (PAGE_SIZE - 1), 1)
        return x86.is_locked_bit(bytes(code), self._words.scan == 64)

    def _stopped_at_exit(self, pc: int, error: int) -> bool:
        if self._reason == layout.STOP_FAULT:
            before = pc - 1 & self._mask & ~(PAGE_SIZE - 1)
            return self._fault[1] << 1 == layout.EXECUTE and self._fault[0] == before and not pc & (PAGE_SIZE - 1)
        return self._reason == layout.STOP_NONE and not error and not self._budget.stopped

    def _pass_exit(self, pc: int) -> int:
        self._exits.discard(pc)
        self._set_exits(self._exits)
        error = self._start(pc, 1)
        if self._reason == layout.STOP_FLIP and not self._resolve_flip(pc):
            error = self._step_over(pc)
        self._exits.add(pc)
        self._set_exits(self._exits)
        return error

    def _stepped(self, count: int, begun: int, pc: int) -> bool:
        met = self._reason in (layout.STOP_GUARD, layout.STOP_FLIP)
        met = met or (self._reason == layout.STOP_FAULT and self._fault[1] << 1 == layout.EXECUTE)
        if not count or pc == begun or not met:
            return False
        if self._reason == layout.STOP_GUARD:
            self._renew_exits()
        self._reason = layout.STOP_BUDGET
        return True

    def _try_again(self, pc: int) -> bool:
        if self._reason == layout.STOP_FLIP:
            self._resolve_flip(pc)
        elif self._reason == layout.STOP_GUARD:
            self._renew_exits()
        else:
            return False
        if self._budget.left > 0:
            return True
        self._reason = layout.STOP_BUDGET
        return False

    def _on_translation(self, uc: int, block: ctypes._Pointer[_TranslatedBlock], previous: int, data: int) -> None:
        if self._table is None:
            return
        pc, size = block[0].pc, block[0].size
        code = bytearray()
        while len(code) < size:
            address = pc + len(code)
            value = self._entry(address)
            if not value & PRESENT or value & DEVICE:
                return
            offset = address & (PAGE_SIZE - 1)
            code += self._pool.read(value >> 12, offset, min(PAGE_SIZE - offset, size - len(code)))
        at = x86.first_avx(bytes(code), self._words.scan == 64)
        if at is not None:
            self._killer_frame = self._entry(pc) >> 12
            self._refused(layout.KILLER_AVX, pc + at)
            library.emu_stop(self._uc)

    def _entry(self, address: int) -> int:
        assert self._table is not None
        leaf = self._table.leaves.get((address & self._mask) >> 21)
        return 0 if leaf is None else self._entries[leaf * LEAF_ENTRIES + (address >> 12 & 511)]

    def _flipped(self, value: int, need: int, private: bool) -> int | None:
        self._reason = layout.STOP_FLIP
        self._flip = (value >> 12, need)
        self._flip_shared = not private or self._pool.references[value >> 12] > 1
        self._flip_whole = bool(value & layout.WRITE and value & layout.EXECUTE)
        self._words.report[layout.FLIPS] += 1
        return None

    def _materialise(self, index: int, value: int) -> int:
        """Demand zero or copy on write; 0, or 1 when the VM and 2 when the pool has no frame left."""
        pool, table = self._pool, self._table
        assert table is not None
        owner = table.words.account
        if not value & PRESENT:
            frame = pool.take(owner, zero=True)
            if frame >= 0:
                self._entries[index] = frame << 12 | (value & layout.FLAGS & ~ZERO) | PRESENT
        elif pool.references[value >> 12] == 1:
            frame = value >> 12
            self._entries[index] = value & ~(COPY | layout.CLEAN)
        else:
            frame = pool.take(owner, zero=False)
            if frame >= 0:
                old = value >> 12 << 12
                pool.memory[frame << 12 : (frame << 12) + PAGE_SIZE] = pool.memory[old : old + PAGE_SIZE]
                pool.release(value >> 12)
                self._entries[index] = frame << 12 | (value & layout.FLAGS & ~(COPY | layout.CLEAN))
        return 0 if frame >= 0 else -frame

    def _outdate_others(self) -> None:
        words = self._pool.words
        words.code_epoch += 1
        identity, epoch, code_epoch = self._loaded
        if code_epoch == words.code_epoch - 1:
            self._loaded = (identity, epoch, code_epoch + 1)

    def _flush(self) -> None:
        library.control(self._uc, unicorn.UC_CTL_TLB_FLUSH)
        self._fills_since_flush = 0
        self._words.flushes += 1

    def _drop_translations(self, frame: int) -> None:
        self._flush()
        if self._words.thumb and frame >> 20:
            library.control(self._uc, unicorn.UC_CTL_TB_FLUSH)
            return
        self._scratch = frame << 12
        address = self._words.scratch_address
        library.control(self._uc, unicorn.UC_CTL_TB_REMOVE_CACHE, address, address + PAGE_SIZE)
        self._scratch = None
        self._flush()

    def _resolve_flip(self, pc: int) -> bool:
        pool = self._pool
        frame, need = self._flip
        before = after = pool.state[frame]
        if before == layout.WRITABLE and need == layout.EXECUTE:
            after = layout.EXECUTABLE
        elif need == layout.WRITE and (before == layout.EXECUTABLE or not self._flip_whole):
            after = layout.WRITABLE
        if after != before:
            pool.flip_count[frame] += 1
            if pool.flip_count[frame] >= layout.FLIPS_UNTIL_MIXED:
                pool.flip_count[frame] = layout.FLIPS_UNTIL_MIXED
                if self._words.scan:
                    self._budget.left -= layout.SELF_MODIFICATION
                if not self._words.scan:
                    after = layout.MIXED if self._flip_whole else after
                elif after == layout.WRITABLE and frame in (self._entry(pc) >> 12, self._entry(pc + 15) >> 12):
                    return False
        if after != before or before == layout.MIXED:
            if before >= layout.EXECUTABLE:
                pool.generation[frame] = pool.generation[frame] + 1 & 0xFFFFFFFF
            if self._flip_shared:
                self._outdate_others()
        pool.state[frame] = layout.IDLE if before == layout.WRITABLE and after == layout.EXECUTABLE else after
        if after != layout.WRITABLE:
            current = pool.generation[frame] + 1 & 0xFFFFFFFF
            if self._seen[frame] and self._seen[frame] != current:
                self._drop_translations(frame)
            self._seen[frame] = current
        self._flush()
        return True

    def _start(self, pc: int, count: int) -> int:
        if count and not self._words.counting:
            library.control(self._uc, unicorn.UC_CTL_TB_FLUSH)
        self._words.counting = count != 0
        return int(library.emu_start(self._uc, pc, 0, 0, count))

    def _step_over(self, pc: int) -> int:
        pool, frame = self._pool, self._flip[0]
        self._step_frame = frame
        self._budget.skip = 1
        self._reason = layout.STOP_NONE
        self._flush()
        error = self._start(pc, 1)
        self._step_frame = 0
        pool.generation[frame] = pool.generation[frame] + 1 & 0xFFFFFFFF
        pool.state[frame] = layout.WRITABLE
        if self._flip_shared:
            self._outdate_others()
        self._flush()
        return int(error)

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
        if loaded != self._loaded or table.words.engine != self._identity or self._fills_since_flush > _FLUSH_AFTER:
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
        while True:
            self._reason = layout.STOP_NONE
            if self._words.thumb:
                pc |= self._read(self._words.flags_register) >> 5 & 1
            begun = pc & ~self._words.thumb
            error = self._start(pc, count)
            pc = self._read(self._words.pc_register) & self._mask
            if self._stepped(count, begun, pc):
                break
            if self._reason == layout.STOP_GUARD:
                self._renew_exits()
                continue
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
            if self._reason == layout.STOP_FLIP:
                if self._resolve_flip(pc):
                    counter.skip |= self._flip[1] != layout.EXECUTE
                    continue
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

    def _capture(self, pc: int) -> None:
        report, mask = self._words.report, self._mask
        ctypes.memset(self._captured, 0, 56)
        library.reg_read_batch(self._uc, self._capture_ids, self._capture_at, 7)
        report[layout.NUMBER : layout.NUMBER + 7] = [value & mask for value in self._captured]
        if self._words.sysret:
            flags = self._read(self._words.flags_register)
            self._write(self._words.sysret_registers[0], pc)
            self._write(self._words.sysret_registers[1], flags)

    def interrupt(self) -> None:
        self._words.interrupted = 1
        library.emu_stop(self._uc)

    def close(self) -> None:
        if self._live is not None:
            self.park(self._live)
        self._seen.release()
        self._callbacks.clear()
