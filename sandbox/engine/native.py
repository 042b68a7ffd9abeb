"""Finds and loads the accelerator (`_engine.c`), when it was built.

`accelerator()` gives the loaded library or None; SANDBOX_ENGINE=python hides it, SANDBOX_ENGINE=native
insists on it. Functions are loaded twice: without the GIL for the run loop (`CDLL`), with it for the short
ones (`PyDLL`), which saves its release and re-acquisition.
"""

from __future__ import annotations

import ctypes
import functools
import os
from ctypes import c_char_p, c_int, c_int64, c_size_t, c_uint64, c_void_p
from pathlib import Path

from sandbox.engine import layout
from sandbox.errors import EngineError


class Accelerator:
    """The C functions with their types."""

    def __init__(self, path: Path) -> None:
        self.path = path
        slow, fast = ctypes.CDLL(str(path)), ctypes.PyDLL(str(path))
        fast.sandbox_layout.restype = c_size_t
        found = [fast.sandbox_layout(index) for index in range(len(layout.STRUCTURES))]
        if found != layout.sizes():
            raise EngineError(f"{path.name} is of another version of the package: reinstall it")

        def declare(library: ctypes.CDLL, name: str, result: type | None, *arguments: type) -> ctypes._NamedFuncPointer:
            function: ctypes._NamedFuncPointer = getattr(library, f"sandbox_{name}")
            function.restype = result
            function.argtypes = arguments
            return function

        self.run = declare(slow, "run", c_int64, c_void_p, c_void_p, c_void_p, c_int64, c_uint64)
        self.run_inside = declare(fast, "run", c_int64, c_void_p, c_void_p, c_void_p, c_int64, c_uint64)
        self.callback = declare(fast, "callback", c_void_p, c_int)
        self.park = declare(fast, "park", c_int, c_void_p)
        self.forget = declare(fast, "forget", None, c_void_p)
        self.interrupt = declare(fast, "interrupt", None, c_void_p)
        self.trim = declare(slow, "trim", c_uint64, c_void_p)
        self.allocate = declare(fast, "allocate", c_int64, c_void_p, c_uint64)
        self.retain = declare(fast, "retain", None, c_void_p, c_uint64)
        self.release = declare(fast, "release", c_uint64, c_void_p, c_uint64)
        self.clear_entries = declare(fast, "clear_entries", None, c_void_p, c_uint64, c_uint64, c_uint64)
        self.x86_overruns = declare(fast, "x86_overruns", c_int, c_char_p, c_int)
        self.x86_length = declare(fast, "x86_length", c_int, c_char_p, c_size_t, c_int)
        self.x86_locked_bit = declare(fast, "x86_locked_bit", c_int, c_char_p, c_size_t, c_int)
        self.protect_entries = declare(fast, "protect_entries", None, c_void_p, c_uint64, c_uint64, c_uint64, c_uint64)
        self.release_leaf = declare(fast, "release_leaf", None, c_void_p, c_uint64)
        self.copy_leaf = declare(fast, "copy_leaf", c_int64, c_void_p, c_uint64, c_uint64)
        self.share_leaf = declare(fast, "share_leaf", None, c_void_p, c_uint64)


@functools.cache
def _load() -> Accelerator | None:
    for path in sorted(Path(__file__).parent.glob("_engine*.so")):
        try:
            return Accelerator(path)
        except (OSError, AttributeError):
            continue
    return None


def accelerator() -> Accelerator | None:
    """The loaded accelerator; None when it was not built or SANDBOX_ENGINE=python.

    Raises EngineError when SANDBOX_ENGINE=native asks for one that is not there."""
    wanted = os.environ.get("SANDBOX_ENGINE", "")
    if wanted not in ("", "native", "python"):
        raise EngineError(f"SANDBOX_ENGINE is {wanted!r}; it may be native or python")
    if wanted == "python":
        return None
    found = _load()
    if found is None and wanted == "native":
        raise EngineError("the accelerator was not built: install a C compiler and reinstall the package")
    return found


def engine_kind() -> str:
    """ "native" or "python": which implementation new engines are of."""
    return "native" if accelerator() else "python"
