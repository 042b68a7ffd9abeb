"""The standard streams of a VM: a queue of bytes in, the newest bytes out, and who listens.

What the guest writes to stdout and stderr is kept together in a bounded buffer, as a terminal would show it: the
newest `KEPT` bytes, each with its place in the whole, so that a reader that comes late knows what it missed.
Listeners get every piece as it is written, with its stream (1 or 2). Input is bounded as well: `write` takes
what there is room for.

A `sink` takes the output away at the moment it is written, and may take less than all or raise Errno(EAGAIN): the
guest then sleeps in its write until somebody calls `flush`. That is how a foreground VM gets back-pressure.

With a terminal (`connect`) the guest has that instead of streams: what is typed goes through its line discipline, and
what it shows, echo included, is the output, as stream 1.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from sandbox.abi.errno import EAGAIN, Errno
from sandbox.vfs.stream import ByteQueue
from sandbox.vfs.terminal import Terminal
from sandbox.vfs.termios import VEOF
from sandbox.wait import WaitQueue

KEPT = 1 << 20
Listener = Callable[[int, bytes], None]
Sink = Callable[[int, bytes], int]


class Console:
    def __init__(self, enter: Callable[[], AbstractContextManager[object]], kept: int = KEPT) -> None:
        self._enter = enter
        self._kept = kept
        self._buffer = bytearray()
        self._listeners: list[Listener] = []
        self._position = 0
        self.sink: Sink | None = None
        self.output = WaitQueue()  # where a guest sleeps whose output the sink does not take
        self.input = ByteQueue()
        self._used_input = False
        self._whole: bytes | None = None
        self.total = 0  # bytes ever written by the guest
        self.total_input = 0
        self.terminal: Terminal | None = None
        self.window = (24, 80)  # rows, columns

    # The operator's side

    def read(self) -> bytes:
        """What the guest has written since the last `read` (at most the newest mebibyte of it)."""
        with self._enter():
            data, self._position = self._since(self._position)
            return data

    def since(self, position: int) -> tuple[bytes, int]:
        """What was written from `position` on (or is left of it), and the position after it."""
        with self._enter():
            return self._since(position)

    def tail(self, count: int = KEPT) -> bytes:
        with self._enter():
            return bytes(self._buffer[-self._kept :][-count:]) if count > 0 else b""

    def write(self, data: bytes | str) -> int:
        """Type `data` into the guest's standard input; returns how many bytes there was room for."""
        if isinstance(data, str):
            data = data.encode()
        with self._enter():
            taken = self.input.feed(data)
            self.total_input += taken
            self._type()
            return taken

    def close(self) -> None:
        """End of file on the guest's standard input; on a terminal, the key for it whenever somebody reads."""
        with self._enter():
            self.input.close()
            if self.terminal is not None and len(self.terminal.queue):
                self._end()

    def resize(self, rows: int, columns: int) -> None:
        """The window of its terminal, of this one and of those of later starts."""
        with self._enter():
            self.window = (rows, columns)
            if self.terminal is not None:
                self.terminal.resize(rows, columns)

    def hang_up(self) -> None:
        """Nobody sits at its terminal any more."""
        with self._enter():
            self.input.close()
            if self.terminal is not None:
                self.terminal.hang_up()

    def flush(self) -> None:
        """The sink takes output again."""
        with self._enter():
            self.output.wake()
            if self.terminal is not None:
                self.terminal.drain(self._show)

    @property
    def room(self) -> int:
        """How many bytes `write` would take now."""
        return self.input.room

    @property
    def accepts_input(self) -> bool:
        return not self.input.closed

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener(stream, data)` with all output from now on, inside the lock: be quick, do not raise."""
        with self._enter():
            self._listeners.append(listener)

        def forget() -> None:
            with self._enter():
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return forget

    # The guest's side

    def put(self, stream: int, data: bytes) -> int:
        """How many bytes were taken. Raises Errno(EAGAIN) when the sink is full, Errno(EPIPE) when it is gone."""
        if self.sink is not None:
            data = data[: self.sink(stream, data)]
        self.total += len(data)
        self._buffer += data
        if len(self._buffer) > 2 * self._kept:
            del self._buffer[: -self._kept]
        if self._listeners:
            for listener in tuple(self._listeners):
                try:
                    listener(stream, data)
                except Exception:  # a listener's mistake must not look like the guest's
                    self._listeners.remove(listener)
        return len(data)

    def set_input(self, data: bytes) -> None:
        """All of the standard input of every start to come: `data`, then end of file."""
        with self._enter():
            self._whole = data

    def renew_input(self) -> ByteQueue:
        """A new start, a new standard input; what was typed before the first one is in it."""
        if self._whole is not None:
            self.input = ByteQueue(self._whole, closed=True)
            self.total_input += len(self._whole)
        elif self._used_input:
            wanted, self.input = self.input.on_wanted, ByteQueue()
            self.input.on_wanted = wanted
        self._used_input = True
        return self.input

    def connect(self, terminal: Terminal) -> None:
        """A new start, with a terminal for streams."""
        self.renew_input()
        self.terminal = terminal
        terminal.resize(*self.window)
        terminal.on_output = self.flush
        terminal.on_room = self._type
        terminal.on_wanted = self._end
        self._type()

    def _type(self) -> None:
        """As much of the input as the terminal has room for."""
        terminal = self.terminal
        if terminal is None:
            return
        while terminal.room and len(self.input):
            terminal.type(self.input.take(terminal.room))

    def _end(self) -> None:
        terminal = self.terminal
        if terminal is not None and self.input.closed and not len(self.input):
            terminal.type(bytes((terminal.settings.characters[VEOF],)))

    def _show(self, data: bytes) -> int:
        try:
            return self.put(1, data)
        except Errno as error:
            if error.number == EAGAIN:
                return 0
            if self.terminal is not None:  # who looked at it has gone
                self.terminal.hang_up()
            return len(data)

    def _since(self, position: int) -> tuple[bytes, int]:
        unread = min(max(0, self.total - position), self._kept, len(self._buffer))
        return (bytes(self._buffer[-unread:]) if unread else b""), self.total
