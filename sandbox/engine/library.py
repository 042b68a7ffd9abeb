"""Unicorn's C functions with their types: the binding's own wrappers cost ten times as much.

`PY` keeps the GIL (for calls of nanoseconds), `C` gives it up (for emu_start).
"""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_uint64, c_void_p

# Writing the RISC-V privilege level warns on stderr unless this is set before the library reads it.
os.environ.setdefault("UC_IGNORE_REG_BREAK", "1")

import unicorn
from unicorn.unicorn_py3 import unicorn as _binding

from sandbox.errors import EngineError

_PATH = _binding.uclib._name
C = ctypes.CDLL(_PATH)
PY = ctypes.PyDLL(_PATH)


def _declare(library: ctypes.CDLL, name: str, *arguments: type, result: type = c_int) -> ctypes._NamedFuncPointer:
    function: ctypes._NamedFuncPointer = getattr(library, name)
    function.argtypes = arguments
    function.restype = result
    return function


emu_start = _declare(C, "uc_emu_start", c_void_p, c_uint64, c_uint64, c_uint64, c_size_t)
emu_stop = _declare(PY, "uc_emu_stop", c_void_p)
reg_read = _declare(PY, "uc_reg_read", c_void_p, c_int, c_void_p)
reg_write = _declare(PY, "uc_reg_write", c_void_p, c_int, c_void_p)
reg_read_batch = _declare(PY, "uc_reg_read_batch", c_void_p, POINTER(c_int), POINTER(c_void_p), c_int)
context_alloc = _declare(PY, "uc_context_alloc", c_void_p, POINTER(c_void_p))
context_free = _declare(PY, "uc_context_free", c_void_p)
context_save = _declare(PY, "uc_context_save", c_void_p, c_void_p)
context_restore = _declare(PY, "uc_context_restore", c_void_p, c_void_p)
context_size = _declare(PY, "uc_context_size", c_void_p, result=c_size_t)
context_reg_read = _declare(PY, "uc_context_reg_read", c_void_p, c_int, c_void_p)
context_reg_write = _declare(PY, "uc_context_reg_write", c_void_p, c_int, c_void_p)
context_reg_read_batch = _declare(PY, "uc_context_reg_read_batch", c_void_p, c_void_p, c_void_p, c_int)
context_reg_write_batch = _declare(PY, "uc_context_reg_write_batch", c_void_p, c_void_p, c_void_p, c_int)
mem_map_ptr = _declare(PY, "uc_mem_map_ptr", c_void_p, c_uint64, c_uint64, c_int, c_void_p)
mmio_map = _declare(PY, "uc_mmio_map", c_void_p, c_uint64, c_uint64, c_void_p, c_void_p, c_void_p, c_void_p)
uc_open = _declare(PY, "uc_open", c_int, c_int, POINTER(c_void_p))
uc_close = _declare(C, "uc_close", c_void_p)
strerror = _declare(PY, "uc_strerror", c_int, result=c_char_p)
hook_add = PY.uc_hook_add  # variadic
hook_del = _declare(PY, "uc_hook_del", c_void_p, c_size_t)
_ctl = PY.uc_ctl  # variadic


def address_of(function: ctypes._NamedFuncPointer) -> int:
    return int(ctypes.cast(function, c_void_p).value or 0)


def check(error: int, doing: str) -> None:
    """Raises EngineError for an error code of Unicorn."""
    if error:
        raise EngineError(f"Unicorn refused {doing}: {strerror(error).decode()}")


def control(uc: int, kind: int, *arguments: int) -> None:
    """uc_ctl with a write of whole numbers. Raises EngineError."""
    command = kind | len(arguments) << 26 | unicorn.UC_CTL_IO_WRITE << 30
    check(_ctl(c_void_p(uc), ctypes.c_uint(command), *map(c_uint64, arguments)), f"setting {kind}")


def add_hook(uc: int, kind: int, callback: int, data: int, *extra: int) -> int:
    """Install a native callback; return its handle. Raises EngineError."""
    handle = c_size_t()
    more = [c_int(value) for value in extra]
    check(
        hook_add(
            c_void_p(uc),
            ctypes.byref(handle),
            c_int(kind),
            c_void_p(callback),
            c_void_p(data),
            c_uint64(1),
            c_uint64(0),
            *more,
        ),
        "a hook",
    )
    return handle.value


def open_plain(arch: int, mode: int, cpu_model: int | None, buffer: int) -> int:
    """A new instance with a small translation buffer (bytes) and 4 KiB pages, whose addresses are physical.

    Raises EngineError."""
    handle = c_void_p()
    check(uc_open(arch, mode, ctypes.byref(handle)), "a new instance")
    uc = int(handle.value or 0)
    try:
        control(uc, unicorn.UC_CTL_TCG_BUFFER_SIZE, buffer)
        if cpu_model is not None:
            control(uc, unicorn.UC_CTL_CPU_MODEL, cpu_model)
        if arch in (unicorn.UC_ARCH_ARM, unicorn.UC_ARCH_ARM64):
            control(uc, unicorn.UC_CTL_UC_PAGE_SIZE, 4096)
        control(uc, unicorn.UC_CTL_UC_USE_EXITS, 1)
    except EngineError:
        uc_close(uc)
        raise
    return uc


def open_unicorn(arch: int, mode: int, cpu_model: int | None, buffer: int) -> int:
    """The same with a virtual TLB, for a fill hook to answer. Raises EngineError."""
    uc = open_plain(arch, mode, cpu_model, buffer)
    try:
        control(uc, unicorn.UC_CTL_TLB_TYPE, unicorn.UC_TLB_VIRTUAL)
    except EngineError:
        uc_close(uc)
        raise
    return uc
