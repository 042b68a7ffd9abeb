"""The registers of one task. Parked, they are a Unicorn context of their own; while the task runs they
live in an engine. Reading or writing by name parks them first, so a caller need not know which it is.

Everything that leaves the process goes by name (`save`, `load`): Unicorn's own contexts trust their input.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Mapping
from ctypes import POINTER, c_bool, c_int, c_uint32, c_uint64, c_void_p
from typing import TYPE_CHECKING

import unicorn
from unicorn import x86_const

from sandbox.engine import layout, library, privilege
from sandbox.engine.isa import Isa
from sandbox.engine.native import Accelerator, accelerator
from sandbox.errors import EngineError

if TYPE_CHECKING:
    from sandbox.engine.twin import TwinCore

_CPUID_REGISTERS = (
    x86_const.UC_X86_REG_EAX,
    x86_const.UC_X86_REG_EBX,
    x86_const.UC_X86_REG_ECX,
    x86_const.UC_X86_REG_EDX,
)
TEMPLATE_BUFFER = 1 << 20  # bytes of translation buffer: a template runs two instructions in its life


class TlbEntry(ctypes.Structure):
    """uc_tlb_entry."""

    _fields_ = [("paddr", c_uint64), ("perms", c_int)]


FILL = ctypes.CFUNCTYPE(c_bool, c_void_p, c_uint64, c_int, POINTER(TlbEntry), c_void_p)
INTERRUPT = ctypes.CFUNCTYPE(None, c_void_p, c_uint32, c_void_p)


class Template:
    """A Unicorn instance in the state in which contexts of an ISA begin."""

    def __init__(self, isa: Isa, privileged: bool) -> None:
        self._map = mmap.mmap(-1, layout.PAGE_SIZE)
        memory = memoryview(self._map)
        self.uc = library.open_unicorn(isa.unicorn_arch, isa.unicorn_mode, isa.cpu_model, TEMPLATE_BUFFER)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        library.check(library.mem_map_ptr(self.uc, 0, layout.PAGE_SIZE, 7, address), "a page")

        def fill(uc: int, address: int, kind: int, entry: ctypes._Pointer[TlbEntry], data: int) -> bool:
            entry[0].paddr, entry[0].perms = 0, 7
            return True

        def interrupt(uc: int, number: int, data: int) -> None:
            library.emu_stop(uc)

        self._callbacks = FILL(fill), INTERRUPT(interrupt)
        for kind, callback in zip((unicorn.UC_HOOK_TLB_FILL, unicorn.UC_HOOK_INTR), self._callbacks, strict=True):
            library.add_hook(self.uc, kind, int(ctypes.cast(callback, c_void_p).value or 0), 0)
        self._initial = 0
        self.context_bytes = int(library.context_size(self.uc))
        self.exception_offset: int | None = None
        self.hidden: dict[str, int] = {}  # registers without a number: where they lie in a context
        self.cpuid: tuple[int, ...] = ()  # x86: leaves 1 and 7, four registers each
        if isa.unicorn_arch == unicorn.UC_ARCH_X86:
            self.cpuid = self._ask_cpuid(memory)
        if privileged:
            privilege.enable_floating_point(isa.name, self.uc)
        else:
            before = self._image()
            privilege.ENTER_USER[isa.name](self.uc, memory)
            if isa.unicorn_arch == unicorn.UC_ARCH_X86:
                self.exception_offset = _old_exception(before, self._image())
            if isa.hidden:
                self.hidden = self._find_segment_bases(memory)
            for name in isa.numbers:  # a program starts with zeros
                if name not in (isa.flags, "cs", "ss", "ds", "es", "fs", "gs", "zero"):
                    library.reg_write(self.uc, isa.numbers[name], ctypes.byref(c_uint64()))
        self._initial = self.new()
        if self.exception_offset is not None:
            ctypes.memset(self._initial + self.exception_offset, 0xFF, 4)

    def _ask_cpuid(self, memory: memoryview) -> tuple[int, ...]:
        """What the instance says of itself, without RDRAND (leaf 1, ECX bit 30) and RDSEED (leaf 7, EBX bit 18)."""
        saved = self.new()
        answers = []
        for leaf in (1, 7):
            at = 0x280 + leaf * 16
            memory[at : at + 10] = bytes((0xB8, leaf, 0, 0, 0, 0x31, 0xC9, 0x0F, 0xA2, 0xF4))  # mov eax; xor ecx; cpuid
            library.emu_start(self.uc, privilege.SCRATCH + at, 0, 0, 0)
            for register in _CPUID_REGISTERS:
                value = c_uint64()
                library.reg_read(self.uc, register, ctypes.byref(value))
                answers.append(value.value & 0xFFFFFFFF)
        answers[2] &= ~(1 << 30)
        answers[5] &= ~(1 << 18)
        library.check(library.context_restore(self.uc, saved), "restoring a context")
        library.context_free(saved)
        return tuple(answers)

    def _find_segment_bases(self, memory: memoryview) -> dict[str, int]:
        """i386: where the bases of FS and GS lie, which Unicorn neither reads nor writes by name in 32-bit mode: load
        them from descriptors with known bases, and look for those."""
        saved = self.new()
        bases = {"fs_base": 0x5A5A1230, "gs_base": 0x5A5A4560}
        for base, (slot, opcode) in zip(bases.values(), ((6, 0xE0), (7, 0xE8)), strict=True):
            memory[slot * 8 : slot * 8 + 8] = privilege.flat_data_descriptor(base)
            at = 0x200 + slot * 16
            # mov eax, selector; mov fs or gs, eax; hlt
            memory[at : at + 8] = bytes((0xB8, slot * 8 + 3, 0, 0, 0, 0x8E, opcode, 0xF4))
            library.emu_start(self.uc, privilege.SCRATCH + at, 0, 0, 0)
        image = self._image()
        library.check(library.context_restore(self.uc, saved), "restoring a context")
        library.context_free(saved)
        return {register: image.index(base.to_bytes(4, "little")) for register, base in bases.items()}

    def _image(self) -> bytes:
        saved = self.new()
        image = ctypes.string_at(saved, self.context_bytes)
        library.context_free(saved)
        return image

    def new(self) -> int:
        """A uc_context in the initial state."""
        handle = c_void_p()
        library.check(library.context_alloc(self.uc, ctypes.byref(handle)), "a context")
        address = int(handle.value or 0)
        if self._initial:
            ctypes.memmove(address, self._initial, self.context_bytes)
        else:
            library.check(library.context_save(self.uc, address), "saving a context")
        return address


def _old_exception(before: bytes, after: bytes) -> int | None:
    """Where Unicorn keeps the x86 exception under delivery: -1 before the template's `hlt`, 13 after it. It never
    takes it back, so that the next exception would count as a double fault; contexts reset it."""
    size = min(len(before), len(after)) & ~3
    for offset in range(0, size, 4):
        if before[offset : offset + 4] == b"\xff\xff\xff\xff" and after[offset : offset + 4] == b"\r\0\0\0":
            return offset
    return None


_TEMPLATES: dict[tuple[str, bool], Template] = {}


def template(isa: Isa, privileged: bool) -> Template:
    """Made at first use, kept for the life of the process."""
    found = _TEMPLATES.get((isa.name, privileged))
    if found is None:
        found = _TEMPLATES[isa.name, privileged] = Template(isa, privileged)
    return found


class Context:
    """A new context has its general registers at zero. `release` it when the task is gone."""

    __slots__ = (
        "_buffer",
        "_constants",
        "_mask",
        "_numbers",
        "_reference",
        "isa",
        "pointer",
        "privileged",
        "twin",
        "words",
    )

    def __init__(self, isa: Isa, privileged: bool = False) -> None:
        self.isa = isa
        self.privileged = privileged
        self.words = layout.ContextWords()
        self.words.saved = template(isa, privileged).new()
        self.words.resume = layout.NO_RESUME
        self.pointer = ctypes.addressof(self.words)
        self.twin: TwinCore | None = None  # where the registers live when the engine is the Python twin
        self._buffer = c_uint64()
        self._reference = ctypes.byref(self._buffer)
        self._constants: ctypes.Array[layout.ConstantWords] | None = None
        self._numbers: tuple[int, ...] = ()
        self._mask = isa.word_mask

    def park(self) -> int:
        """Bring the registers home from the engine, if they are in one; return the uc_context."""
        words = self.words
        if words.engine:
            native = accelerator_loaded()
            if native.park(self.pointer):
                raise EngineError("the registers of a task cannot be saved")
        elif self.twin is not None:
            self.twin.park(self)
        return words.saved  # type: ignore[no-any-return]

    # ---- by name

    def __getitem__(self, name: str) -> int:
        """An integer register; "tp" is the thread pointer on every ISA. Raises KeyError."""
        if name == "tp":
            name = self.isa.tp
        number = self.isa.numbers.get(name)
        if number is None:
            if name in self.isa.hidden:
                place = self.park() + template(self.isa, self.privileged).hidden[name]
                return int.from_bytes(ctypes.string_at(place, 4), "little")
            number = self._wide_number(name)
        self._buffer.value = 0
        library.context_reg_read(self.park(), number, self._reference)
        return self._buffer.value & self._mask

    def __setitem__(self, name: str, value: int) -> None:
        if name == "tp":
            name = self.isa.tp
        number = self.isa.numbers.get(name)
        if number is None:
            if name in self.isa.hidden:
                place = self.park() + template(self.isa, self.privileged).hidden[name]
                ctypes.memmove(place, (value & self._mask).to_bytes(4, "little"), 4)
                return
            number = self._wide_number(name)
        self._buffer.value = value & self._mask
        if name in self.isa.indirect:
            self._write_indirectly(number, self._reference)
        else:
            library.context_reg_write(self.park(), number, self._reference)
        self.words.resume = layout.NO_RESUME

    def _write_indirectly(self, number: int, value: object) -> None:
        """Registers that need the CPU around them (Unicorn looks for it before the bare context, in memory that is not
        its own): through the template."""
        saved, uc = self.park(), template(self.isa, self.privileged).uc
        library.check(library.context_restore(uc, saved), "restoring a context")
        library.check(library.reg_write(uc, number, value), "a register write")
        library.check(library.context_save(uc, saved), "saving a context")

    def _wide_number(self, name: str) -> int:
        number, size = self.isa.wide[name]
        if size > 8:
            raise KeyError(f"{name} has {size} bytes: use read_wide")
        return number

    def read_wide(self, name: str) -> bytes:
        """A vector or floating point register as little-endian bytes."""
        number, size = self.isa.wide[name]
        buffer = (ctypes.c_uint8 * 64)()
        if name in self.isa.indirect:
            uc = template(self.isa, self.privileged).uc
            library.check(library.context_restore(uc, self.park()), "restoring a context")
            library.check(library.reg_read(uc, number, buffer), "a register read")
        else:
            library.context_reg_read(self.park(), number, buffer)
        return bytes(buffer[:size])

    def write_wide(self, name: str, value: bytes) -> None:
        number, size = self.isa.wide[name]
        if len(value) != size:
            raise ValueError(f"{name} has {size} bytes, not {len(value)}")
        buffer = (ctypes.c_uint8 * 64)(*value)
        if name in self.isa.indirect:
            self._write_indirectly(number, buffer)
        else:
            library.context_reg_write(self.park(), number, buffer)

    @property
    def pc(self) -> int:
        return self[self.isa.pc]

    @pc.setter
    def pc(self, value: int) -> None:
        self[self.isa.pc] = value

    @property
    def sp(self) -> int:
        return self[self.isa.sp]

    @sp.setter
    def sp(self, value: int) -> None:
        self[self.isa.sp] = value

    # ---- for the kernel

    def set_result(self, value: int) -> None:
        """What the syscall returns (-errno for an error); written when the task next runs."""
        words = self.words
        words.result = value & self._mask
        words.has_result = 1

    def settle(self) -> None:
        """Write a pending result into the registers now (before a signal frame is built from them)."""
        if self.words.has_result:
            self.words.has_result = 0
            self[self.isa.syscall_result] = self.words.result

    def set_constants(self, values: Mapping[int, int], times: Mapping[int, int] | None = None) -> None:
        """Syscalls that the accelerator may answer by itself: number -> result, and number -> layout (TIMESPEC_64 and
        so on in layout.py) of those that ask for the time. Replaces what was set."""
        times = times or {}
        size = max((*values, *times), default=-1) + 1
        array = (layout.ConstantWords * max(1, size))()
        for number, value in values.items():
            array[number].valid, array[number].value = layout.CONSTANT, value & self._mask
        for number, kind in times.items():
            array[number].valid = kind
        self._constants = array
        self._numbers = (*values, *times)
        self.words.constants = ctypes.cast(array, POINTER(layout.ConstantWords))
        self.words.constants_count = size

    def withdraw_constant(self, number: int) -> None:
        """The accelerator answers this one no more."""
        if self._constants is not None and number < len(self._constants):
            self._constants[number].valid = 0

    def take_constant_counts(self) -> dict[int, int]:
        """How often each of them was answered since the last call."""
        counts = {}
        if self._constants is not None:
            for number in self._numbers:
                if self._constants[number].count:
                    counts[number] = int(self._constants[number].count)
                    self._constants[number].count = 0
        return counts

    def forget_exception(self) -> None:
        """After a trap on x86: the exception is no longer under delivery."""
        offset = template(self.isa, self.privileged).exception_offset
        if offset is not None:
            ctypes.memset(self.park() + offset, 0xFF, 4)

    # ---- whole contexts

    def copy(self) -> Context:
        """The same registers for a new task (fork, clone)."""
        self.settle()
        other = Context(self.isa, self.privileged)
        ctypes.memmove(other.words.saved, self.park(), template(self.isa, self.privileged).context_bytes)
        other.words.resume = self.words.resume
        return other

    def save(self) -> dict[str, bytes]:
        """All registers by name, little-endian."""
        self.settle()
        size = self.isa.word_bytes
        saved = {name: self[name].to_bytes(size, "little") for name in self.isa.numbers if name != "zero"}
        saved |= {name: self[name].to_bytes(size, "little") for name in self.isa.hidden}
        saved |= {name: self.read_wide(name) for name in self.isa.wide}
        return saved

    def load(self, saved: Mapping[str, bytes]) -> None:
        """Set registers by name. Raises KeyError or ValueError for one that does not exist or fit."""
        for name, value in saved.items():
            if name in self.isa.wide:
                self.write_wide(name, value)
            elif name not in ("cs", "ss", "ds", "es", "fs", "gs"):
                self[name] = int.from_bytes(value, "little")

    def release(self) -> None:
        """Idempotent."""
        saved = self.words.saved
        if saved:
            if self.words.engine:
                accelerator_loaded().forget(self.pointer)
            elif self.twin is not None:
                self.twin.forget(self)
            self.words.saved = None
            library.context_free(saved)

    def __del__(self) -> None:
        if getattr(self, "words", None) is not None:
            self.release()


def accelerator_loaded() -> Accelerator:
    native = accelerator()
    if native is None:
        raise EngineError("the accelerator has gone while its engines run")
    return native
