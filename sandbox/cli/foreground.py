"""The host's standard streams as those of one VM: lazily in, at once and in order out, with back-pressure both ways.

Nothing is read ahead: the host's stdin is read when the guest asks, at most as much as it asks for, so that what
the guest leaves is there for the next program. Output is written by the thread that runs the guest; when the
reader is slow the guest sleeps in its write, as it would on a pipe, and when the reader has gone it gets EPIPE. The
main thread waits here for the end, for whatever could not be done at once, and for signals.
A deterministic VM must not see how fast the host is: its reads wait until all that was asked for is there, and its
writes until they are done.

With a terminal (`sandbox run -t`) keys are typed as they come, also those that the guest does not ask for: it may be a
Ctrl-C. What the guest has shown when it ends is still brought out.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import stat
from contextlib import ExitStack
from types import FrameType

from sandbox.abi.errno import EAGAIN, EIO, ENOSPC, EPIPE, Errno
from sandbox.cli.raw_terminal import RawTerminal
from sandbox.events import Event
from sandbox.hypervisor import Hypervisor
from sandbox.vm import VM

_CHUNK = 65536
_POLLED = 4096  # what a guest gets that only polls; a pipe that is writable takes as much without waiting
_GONE = {errno.EPIPE: EPIPE, errno.ENOSPC: ENOSPC, errno.ECONNRESET: EPIPE}
ENDING = (signal.SIGTERM, signal.SIGHUP)


def heard() -> list[signal.Signals]:
    """Those of ENDING that we were not started to ignore, as by nohup(1)."""
    return [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]


class Ended(BaseException):
    """A signal wants us to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Foreground:
    """As a context manager around the VM's life: signals that end us become `Ended` in the main thread."""

    def __init__(self, hypervisor: Hypervisor, vm: VM) -> None:
        self._screen = RawTerminal(0, self._resized) if vm.config.tty else None
        self._size: tuple[int, int] | None = None  # what the guest has been told
        self._leave = ExitStack()
        self._hypervisor = hypervisor
        self._vm = vm
        self._wake_reader, self._wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wanted: int | None = None  # bytes that the guest sleeps for
        self._full: set[int] = set()  # descriptors that the guest sleeps for
        self._cancelled = False
        self._chunk = {stream: _CHUNK if _is_file(stream) else _POLLED for stream in (1, 2)}
        self._handlers: dict[int, object] = {}
        vm.console.sink = self._write_all if hypervisor.deterministic else self._write
        if self._screen is None:
            vm.console.input.on_wanted = self._read_all if hypervisor.deterministic else self._want
        else:
            vm.console.input.on_room = self._wake
            self._tell_size()
        self._forget = hypervisor.observe(self._notice)

    def __enter__(self) -> Foreground:
        # A signal may be given to a thread that runs the guest: the main thread, which waits, must wake up for it.
        self._leave.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False))
        for number in heard():
            self._handlers[number] = signal.signal(number, self._end)
        if self._screen is not None:
            self._handlers[signal.SIGQUIT] = signal.signal(signal.SIGQUIT, self._end)
            self._leave.enter_context(self._screen)
        return self

    def __exit__(self, *_: object) -> None:
        self._cancelled = True
        self._leave.close()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._forget()
        self._vm.console.sink = None
        self._vm.console.input.on_wanted = self._vm.console.input.on_room = None
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    @staticmethod
    def _end(number: int, frame: FrameType | None) -> None:
        raise Ended(number)

    def wait(self) -> int:
        """Until the VM has ended; its exit status."""
        try:
            if self._hypervisor.deterministic:
                return self._vm.wait()
            while not self._vm.over or self._shown():
                self._serve()
        except BaseException:
            self._cancelled = True  # let go of a thread that waits for our reader
            raise
        return self._vm.exit_status or 0

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self._wake_reader, select.POLLIN)
        if self._screen is not None:
            self._tell_size()
        if self._wanted is not None or self._takes_keys():
            poll.register(0, select.POLLIN)
        full = tuple(self._full)
        for descriptor in full:
            poll.register(descriptor, select.POLLOUT)
        for descriptor, _ in poll.poll():
            if descriptor == self._wake_reader:
                os.read(self._wake_reader, 4096)
            elif descriptor == 0 and self._screen is not None:
                self._type()
            elif descriptor == 0:
                with self._hypervisor.enter():
                    wanted, self._wanted = self._wanted, None
                    self._feed(_read(wanted or _POLLED))
            else:
                with self._hypervisor.enter():
                    self._full.discard(descriptor)
                    self._vm.console.flush()

    # With a terminal

    def _resized(self) -> None:
        self._size = None
        self._wake()

    def _tell_size(self) -> None:
        assert self._screen is not None
        if self._size is None:
            self._size = self._screen.size()
            self._vm.console.resize(*self._size)

    def _takes_keys(self) -> bool:
        return self._screen is not None and not self._vm.over and self._vm.console.room > 0

    def _type(self) -> None:
        data = _read(min(_POLLED, self._vm.console.room))
        if data:
            self._vm.console.write(data)
        else:
            self._vm.console.hang_up()

    def _shown(self) -> bool:
        """Whether its terminal shows something that could not be brought out yet."""
        terminal = self._vm.console.terminal
        return terminal is not None and bool(self._full) and terminal.shown > 0

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake; closed: it is over
            os.write(self._wake_writer, b"!")

    def _notice(self, event: Event) -> None:
        if event.kind in ("stopped", "crashed"):
            self._wake()

    # Called by the thread that runs the guest, inside the lock

    def _want(self, count: int) -> None:
        if _ready(0, select.POLLIN):
            self._feed(_read(min(count or _POLLED, _CHUNK)))
        elif self._wanted is None:
            self._wanted = min(count or _POLLED, _CHUNK)
            self._wake()

    def _feed(self, data: bytes) -> None:
        if data:
            self._vm.console.write(data)
        else:
            self._vm.console.close()

    def _read_all(self, count: int) -> None:
        data = b""
        wanted = min(count or _POLLED, _CHUNK)
        while len(data) < wanted and self._patience(0, select.POLLIN):
            piece = _read(wanted - len(data))
            data += piece
            if not piece or (piece.endswith(b"\n") and os.isatty(0)):
                break
        self._feed(data)

    def _write(self, stream: int, data: bytes) -> int:
        if not _ready(stream, select.POLLOUT):
            self._full.add(stream)
            self._wake()
            raise Errno(EAGAIN)
        return self._put(stream, data)

    def _put(self, stream: int, data: bytes) -> int:
        try:
            return os.write(stream, data[: self._chunk[stream]])
        except BlockingIOError:
            self._full.add(stream)
            self._wake()
            raise Errno(EAGAIN) from None
        except OSError as error:
            raise Errno(_GONE.get(error.errno or 0, EIO)) from None

    def _write_all(self, stream: int, data: bytes) -> int:
        done = 0
        while done < len(data) and self._patience(stream, select.POLLOUT):
            try:
                done += self._put(stream, data[done:])
            except Errno as error:
                if error.number != EAGAIN:
                    raise
        return len(data)

    def _patience(self, descriptor: int, event: int) -> bool:
        """Wait until it is ready; False when nobody wants it any more."""
        while not self._cancelled:
            if _ready(descriptor, event, 100):
                return True
        return False


def _ready(descriptor: int, event: int, milliseconds: int = 0) -> bool:
    """Whether an operation would not wait: also when it would fail at once."""
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(milliseconds))


def _read(count: int) -> bytes:
    """Empty at the end of the input, and when there is none to read."""
    try:
        return os.read(0, count)
    except OSError:
        return b""


def _is_file(descriptor: int) -> bool:
    try:
        return stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:
        return False
