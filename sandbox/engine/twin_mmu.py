"""The twin's soft MMU: TLB fills from the page table, the writable-or-executable rule, what is refused. See `_engine.c`
for the reasons; here are only the differences. twin.py has the hooks and the run loop.
"""

from __future__ import annotations

import ctypes
import time
from ctypes import c_uint16, c_uint64, c_void_p
from typing import TYPE_CHECKING, Any, cast

import unicorn

from sandbox.engine import layout, library, x86
from sandbox.engine.context import Context, TlbEntry
from sandbox.engine.layout import COPY, DEVICE, LEAF_ENTRIES, PAGE_SIZE, PRESENT, ZERO

if TYPE_CHECKING:
    from sandbox.engine.engine import Engine, Table

_NEED = {16: layout.READ, 17: layout.WRITE, 18: layout.EXECUTE}  # UC_MEM_READ, UC_MEM_WRITE, UC_MEM_FETCH
_FETCH = 18
_IT_BITS = 0x0600FC00


class TranslatedBlock(ctypes.Structure):
    """uc_tb."""

    _fields_ = [("pc", c_uint64), ("icount", c_uint16), ("size", c_uint16)]


class Budget(ctypes.Structure):
    _fields_ = [("left", ctypes.c_int64), ("skip", c_uint64), ("emu_stop", c_void_p), ("stopped", c_uint64)]


class TwinMmu:
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
        self._loaded = (0, 0, 0)
        self._flip_shared = self._flip_whole = False
        self._identity = ctypes.addressof(engine.words)
        self._step_frame = self._killer_frame = 0
        self._reason = 0
        self._fault = (0, 0, 0)
        self._fills_since_flush = 0
        self._value = c_uint64()
        self._value_at = ctypes.byref(self._value)
        self._budget = Budget(1 << 40, 0, library.address_of(library.emu_stop), 0)
        self._mask = engine.isa.word_mask
        self._deadline = 0.0
        self._exits: set[int] = set()  # of guards; _breaks are a debugger's
        self._breaks: set[int] = set()
        self._bring = engine.bring if engine.words.bring else None
        self._told = (ctypes.c_uint64 * (layout.MOST_EXITS + layout.MOST_BREAKS))()

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
        if (self._exits or self._breaks) and kind == _FETCH:
            if self._not_for_guest(address):
                entry.paddr, entry.perms = 0, 5
                self._loaded = (0, *self._loaded[1:])
                return True
            if self._reason != layout.STOP_NONE:
                return False
        need = _NEED[kind]
        address &= ~(PAGE_SIZE - 1)
        table = self._table
        assert table is not None
        if address >= table.words.end:
            return self._faulted(address, need, 0)
        index = self._within_reach(table, address, need)
        if index is None and self._bring is not None and self._bring(address, need >> 1):
            index = self._within_reach(table, address, need)
        if index is None:
            return self._faulted(address, need, 0)
        value = self._entries[index]
        self._words.fills += 1
        self._fills_since_flush += 1
        if not self._engine.preemptible and not self._words.fills & 15 and time.monotonic() >= self._deadline:
            self._reason = layout.STOP_BUDGET
            return False
        if value & DEVICE:
            entry.paddr, entry.perms = value & ~0xFFF, 3
            self._forget_condition()
            return True
        private = self._pool.references[index // LEAF_ENTRIES] == 1
        if not value & PRESENT or (need == layout.WRITE and (value & COPY or not private)):
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
        if need != layout.EXECUTE:
            self._forget_condition()
        return True

    def _forget_condition(self) -> None:
        if self._words.thumb:
            flags = self._read(self._words.flags_register)
            if flags & _IT_BITS:
                self._write(self._words.flags_register, flags & ~_IT_BITS)

    def _within_reach(self, table: Table, address: int, need: int) -> int | None:
        """Where the entry is; None when only AddressSpace.resolve can serve the access, or nobody."""
        leaf = table.leaves.get(address >> 21)
        if leaf is None:
            return None
        index = leaf * LEAF_ENTRIES + (address >> 12 & 511)
        value = self._entries[index]
        if not value & need:
            return None
        if value & DEVICE:
            return index
        private = self._pool.references[leaf] == 1
        if value & PRESENT and (need != layout.WRITE or (not value & COPY and private)):
            return index
        return index if private and value & (PRESENT | ZERO) else None

    def _store_plainly(self, address: int, data: bytes) -> bool:
        """For the guest, where it might store at once, without a fault or anything to be noted."""
        table = self._table
        assert table is not None
        if address >= table.words.end or (address & (PAGE_SIZE - 1)) + len(data) > PAGE_SIZE:
            return False
        value = self._entry(address)
        leaf = table.leaves.get(address >> 21)
        wanted = PRESENT | layout.WRITE
        if leaf is None or self._pool.references[leaf] != 1 or value & (wanted | COPY | DEVICE) != wanted:
            return False
        if self._pool.state[value >> 12] != layout.WRITABLE:
            return False
        place = (value >> 12 << 12) + (address & (PAGE_SIZE - 1))
        self._pool.memory[place : place + len(data)] = data
        return True

    def _not_for_guest(self, address: int) -> bool:
        """Unicorn looks up the pages of its exits when a run ends; see the C side."""
        pc = self._read(self._words.pc_register) & self._mask
        return not 0 <= (address & -PAGE_SIZE) - (pc & -PAGE_SIZE) <= PAGE_SIZE

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
            self._told[index] = address
        library.control(self._uc, unicorn.UC_CTL_UC_EXITS, ctypes.addressof(self._told), len(addresses))

    def _renew_exits(self) -> None:
        library.control(self._uc, unicorn.UC_CTL_TB_FLUSH)  # what was cleared may stand in translations
        self._flush()
        self._set_exits(self._exits | self._breaks)

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
        self._set_exits((self._exits | self._breaks) - {pc})
        self._reason = layout.STOP_NONE
        thumb = self._read(self._words.flags_register) >> 5 & 1 if self._words.thumb else 0
        error = self._start(pc | thumb, 1)
        if self._reason == layout.STOP_FLIP and not self._resolve_flip(pc):
            error = self._step_over(pc)
        self._set_exits(self._exits | self._breaks)
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

    def _on_translation(self, uc: int, block: ctypes._Pointer[TranslatedBlock], previous: int, data: int) -> None:
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

    def _tlb_is_full(self) -> bool:
        """So many fills that a flush would find it well used, and let it grow."""
        return bool(self._fills_since_flush > 2 * self._words.tlb_entries)

    def _flush(self) -> None:
        words = self._words
        if self._tlb_is_full() and words.tlb_entries < layout.MOST_TLB_ENTRIES:
            words.tlb_entries *= 2
        elif self._fills_since_flush < words.tlb_entries // 4 and words.tlb_entries > layout.FEWEST_TLB_ENTRIES:
            words.tlb_entries //= 2
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
                elif after == layout.WRITABLE and frame in (self._entry(pc) >> 12, self._entry(pc + PAGE_SIZE) >> 12):
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
        if not self._loaded[0] and self._table is not None:
            self._flush()
            self._loaded = (self._table.words.identity, *self._loaded[1:])
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
