"""The exact address of a data fault. The soft MMU knows only its page, so the one instruction is replayed on a
scratch instance without it, where an access outside the pages it was given says where it went.

The scratch instance sees copies of the pages that the guest may access in the way it asks for, brought in one by one;
the first access that the guest may not make is the answer. Nothing the guest owns is touched.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import c_bool, c_int, c_int64, c_uint64, c_void_p

import unicorn

from sandbox.engine import library
from sandbox.engine.context import INTERRUPT, Context
from sandbox.engine.isa import Access, Isa
from sandbox.engine.layout import PAGE_SIZE
from sandbox.errors import EngineError

# Bytes of the page at an address, if the guest may access it in that way; else None.
PageReader = Callable[[int, Access], bytes | None]

_MOST_PAGES = 64  # one instruction touches few
_BUFFER = 1 << 20
_UNMAPPED = unicorn.UC_HOOK_MEM_READ_UNMAPPED | unicorn.UC_HOOK_MEM_WRITE_UNMAPPED | unicorn.UC_HOOK_MEM_FETCH_UNMAPPED
_PROTECTED = unicorn.UC_HOOK_MEM_READ_PROT | unicorn.UC_HOOK_MEM_WRITE_PROT | unicorn.UC_HOOK_MEM_FETCH_PROT
_ACCESS = {
    unicorn.UC_MEM_READ_UNMAPPED: Access.READ,
    unicorn.UC_MEM_READ_PROT: Access.READ,
    unicorn.UC_MEM_WRITE_UNMAPPED: Access.WRITE,
    unicorn.UC_MEM_WRITE_PROT: Access.WRITE,
    unicorn.UC_MEM_FETCH_UNMAPPED: Access.FETCH,
    unicorn.UC_MEM_FETCH_PROT: Access.FETCH,
}
_PROTECTION_KINDS = (unicorn.UC_MEM_READ_PROT, unicorn.UC_MEM_WRITE_PROT, unicorn.UC_MEM_FETCH_PROT)
_MEMORY = ctypes.CFUNCTYPE(c_bool, c_void_p, c_int, c_uint64, c_int, c_int64, c_void_p)


class Probe:
    """One scratch instance; made for one fault and closed."""

    def __init__(self, isa: Isa, pages: PageReader) -> None:
        self._pages = pages
        self._mapped: dict[int, ctypes.Array[ctypes.c_char]] = {}
        self.found: tuple[int, Access] | None = None
        self.uc = library.open_plain(isa.unicorn_arch, isa.unicorn_mode, isa.cpu_model, _BUFFER)
        self._callbacks = (_MEMORY(self._missing), INTERRUPT(self._interrupt))
        memory, interrupt = (int(ctypes.cast(callback, c_void_p).value or 0) for callback in self._callbacks)
        library.add_hook(self.uc, _UNMAPPED | _PROTECTED, memory, 0)
        library.add_hook(self.uc, unicorn.UC_HOOK_INTR, interrupt, 0)

    def _interrupt(self, uc: int, number: int, data: int) -> None:
        library.emu_stop(self.uc)

    def _missing(self, uc: int, kind: int, address: int, size: int, value: int, data: int) -> bool:
        access = _ACCESS[kind]
        first, last = address & -PAGE_SIZE, (address + max(size, 1) - 1) & -PAGE_SIZE
        for page in range(first, last + 1, PAGE_SIZE):
            if page in self._mapped and kind not in _PROTECTION_KINDS:
                continue
            if page in self._mapped or not self._bring(page, access):
                self.found = (max(address, page), access)
                library.emu_stop(self.uc)
                return False
        return True

    def _bring(self, page: int, access: Access) -> bool:
        content = self._pages(page, access) if len(self._mapped) < _MOST_PAGES else None
        if content is None:
            return False
        buffer = ctypes.create_string_buffer(2 * PAGE_SIZE)
        address = (ctypes.addressof(buffer) + PAGE_SIZE - 1) & -PAGE_SIZE
        ctypes.memmove(address, content, PAGE_SIZE)
        allowed = sum(other for other in Access if other is access or self._pages(page, other) is not None)
        if library.mem_map_ptr(self.uc, page, PAGE_SIZE, allowed, address):
            return False
        self._mapped[page] = buffer
        return True

    def run(self, context: Context) -> None:
        library.check(library.context_restore(self.uc, context.park()), "restoring a context")
        pc = context.pc
        if self._bring(pc & -PAGE_SIZE, Access.FETCH):
            thumb = context.isa.name == "arm" and context[context.isa.flags] >> 5 & 1
            library.emu_start(self.uc, pc | thumb, 0, 0, 1)

    def close(self) -> None:
        library.uc_close(self.uc)


def fault_address(context: Context, pages: PageReader) -> tuple[int, Access] | None:
    """Where the instruction at the PC accesses what it may not, and how; None when a replay does not fault.

    `pages` gives the 4096 bytes of a page, or None when the guest may not access it in that way."""
    try:
        probe = Probe(context.isa, pages)
    except EngineError:
        return None
    try:
        probe.run(context)
        return probe.found
    finally:
        probe.close()
