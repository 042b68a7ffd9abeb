"""Exceptions that come while C calls Python back.

Python runs signal handlers in the main thread wherever it next executes Python code, and when guests run there that
is most likely one of Unicorn's callbacks. What a handler raises (Ctrl-C's KeyboardInterrupt, say) cannot pass through
the C code: ctypes gives it to `sys.unraisablehook`, which prints it, and the program goes on as if nothing had been
asked. `heard` keeps it and raises it where it can be caught.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs


@contextmanager
def heard() -> Iterator[None]:
    """While this runs in the main thread, the first exception that is no `Exception` and leaves a ctypes callback is
    raised at the end of it. In other threads there are no signals, and nothing is done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, lost = sys.unraisablehook, []

    def hook(unraisable: UnraisableHookArgs) -> None:
        error = unraisable.exc_value
        mine = threading.current_thread() is threading.main_thread() and "ctypes callback" in (unraisable.err_msg or "")
        if mine and error is not None and not isinstance(error, Exception):
            lost.append(error)
            interrupt = getattr(getattr(unraisable.object, "__self__", None), "interrupt", None)
            if interrupt is not None:  # whose method it was ends its run now, not when its time is up
                interrupt()
        else:
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
    if lost:
        raise lost[0]
