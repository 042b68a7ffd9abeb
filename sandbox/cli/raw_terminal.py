"""The user's terminal, lent to a guest: raw, so that every key reaches it, and given back whatever happens.

Raw means that Ctrl-C, Ctrl-Z and Ctrl-\\ are keys, not signals for us. What comes from elsewhere still is one: a signal
that ends us is raised in the main thread by whoever installed a handler (foreground.py), and the way out of the
`with` gives the terminal back; SIGTSTP gives it back, stops us, and takes it again when we are continued.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import termios
from collections.abc import Callable
from types import FrameType
from typing import Any

from sandbox.errors import ConfigurationError

_HELD = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP}  # while modes change


class RawTerminal:
    """The terminal at `descriptor`, as a context manager; main thread only. `on_resize` is called in a signal handler:
    it must do no more than note that."""

    def __init__(self, descriptor: int = 0, on_resize: Callable[[], None] = lambda: None) -> None:
        if not os.isatty(descriptor):
            raise ConfigurationError("--tty needs a terminal, and standard input is none")
        self._descriptor = descriptor
        self._on_resize = on_resize
        self._saved: list[Any] | None = None
        self._handlers: dict[int, Any] = {}

    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        try:
            columns, rows = os.get_terminal_size(self._descriptor)
        except OSError:
            return 24, 80
        return rows or 24, columns or 80

    def __enter__(self) -> RawTerminal:
        atexit.register(self._give_back)
        wanted = {signal.SIGWINCH: self._resized, signal.SIGTSTP: self._suspend, signal.SIGCONT: self._continued}
        for number, handler in wanted.items():
            self._handlers[number] = signal.signal(number, handler)
        try:
            self._take()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
        try:
            self._give_back()
            atexit.unregister(self._give_back)
            while self._handlers:
                number, handler = self._handlers.popitem()
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _take(self) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
        try:
            if self._saved is None:
                self._saved = termios.tcgetattr(self._descriptor)
            self._apply()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _apply(self) -> None:
        """As cfmakeraw(3) does."""
        if self._saved is None:
            return
        mode = [*self._saved[:6], list(self._saved[6])]
        mode[0] &= ~(
            termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP
            | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON
        )  # fmt: skip
        mode[1] &= ~termios.OPOST
        mode[2] = mode[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        mode[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        with contextlib.suppress(termios.error):  # the terminal has gone: reading from it will tell
            termios.tcsetattr(self._descriptor, termios.TCSANOW, mode)

    def _give_back(self) -> None:
        if self._saved is not None:
            saved, self._saved = self._saved, None
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._descriptor, termios.TCSANOW, saved)

    # Signals

    def _resized(self, number: int, frame: FrameType | None) -> None:
        self._on_resize()

    def _suspend(self, number: int, frame: FrameType | None) -> None:
        self._give_back()
        mine = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, mine)
        self._take()
        self._on_resize()  # it may have another size by now

    def _continued(self, number: int, frame: FrameType | None) -> None:
        """After a stop that could not be caught, in which a shell has changed the modes."""
        self._apply()
        self._on_resize()
