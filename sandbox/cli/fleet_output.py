"""What the VMs of a foreground fleet write, line by line behind their names, on our standard streams.

A thread of its own writes, so that a reader who takes his time, or has stopped reading, holds up neither the
hypervisor nor our end. What waits for him is bounded: a VM that has more to say then sleeps in its write. When time is
virtual, nobody may notice how fast he is: then all wait with the VM.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

from sandbox.abi.errno import EAGAIN, EPIPE, Errno
from sandbox.events import Crashed, Event, Note, Stopped

if TYPE_CHECKING:
    from sandbox.vm import VM

_ROOM = 1 << 20  # bytes that wait for the reader
_LONGEST_LINE = 65536  # what is longer is cut into several
_PIECE = 4096  # what a pipe that is ready takes without waiting
_PATIENCE = 500  # milliseconds, for a reader, once we are to end


class FleetOutput:
    """As a context manager around the fleet's life; `abandon` it first to end without waiting for the reader.

    Lines of guests go to stdout, made visible when that is a terminal; ends and failures to stderr."""

    def __init__(self, patient: bool, on_broken: Callable[[], None]) -> None:
        """`patient`: let a VM wait with the lock held. `on_broken` is called when nobody reads any more."""
        from sandbox.dashboard.text import visible

        self._visible = visible if sys.stdout.isatty() else None
        self._patient = patient
        self._on_broken = on_broken
        self._names: dict[str, bytes] = {}  # by identity, padded
        self._pending: dict[str, bytes] = {}  # what is no line yet
        self._queue: deque[tuple[int, bytes]] = deque()
        self._waiting = 0  # bytes in the queue
        self._changed = threading.Condition()
        self._refused: set[VM] = set()
        self._over = self._abandoned = self.broken = False
        self._thread = threading.Thread(target=self._run, name="sandbox-output", daemon=True)

    def follow(self, vms: list[VM]) -> None:
        width = max(len(vm.name) for vm in vms)
        for vm in vms:
            self._names[vm.identity] = f"{vm.name:<{width}} | ".encode()
            vm.console.sink = partial(self._take, vm)

    def tell(self, event: Event) -> None:
        """An observer of the hypervisor's."""
        record, words = event.record, ""
        if isinstance(record, Crashed):
            words = f"{event.vm} crashed with status {record.status}: {record.reason}"
        elif isinstance(record, Stopped) and (record.status or record.reason):
            words = f"{event.vm} stopped with status {record.status}" + (f": {record.reason}" if record.reason else "")
        elif isinstance(record, Note) and record.source == "fleet":
            words = f"{event.vm}: {record.message}"
        if words:
            self.say(words)

    def say(self, words: str) -> None:
        with self._changed:
            self._put(2, words.encode("utf-8", "backslashreplace") + b"\n")

    def abandon(self) -> None:
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def __enter__(self) -> FleetOutput:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._changed:
            for identity, rest in self._pending.items():
                if rest:
                    self._put(1, self._line(identity, rest))
            self._over = True
            self._abandoned |= error is not None
            self._changed.notify_all()
        self._thread.join()

    # Called by the threads that run guests, inside the hypervisor's lock

    def _take(self, vm: VM, stream: int, data: bytes) -> int:
        with self._changed:
            if self._patient:
                self._changed.wait_for(lambda: self._waiting < _ROOM or self._abandoned)
            if self.broken:
                raise Errno(EPIPE)
            if self._abandoned:
                return len(data)
            if self._waiting >= _ROOM:
                self._refused.add(vm)
                raise Errno(EAGAIN)
            data = data[:_LONGEST_LINE]
            *lines, rest = (self._pending.get(vm.identity, b"") + data).split(b"\n")
            if len(rest) > _LONGEST_LINE:
                lines, rest = [*lines, rest], b""
            self._pending[vm.identity] = rest
            for line in lines:
                self._put(1, self._line(vm.identity, line))
            return len(data)

    def _line(self, identity: str, line: bytes) -> bytes:
        if self._visible is not None:
            line = self._visible(line.rstrip(b"\r")).encode("utf-8", "replace")
        return self._names[identity] + line + b"\n"

    def _put(self, descriptor: int, data: bytes) -> None:
        self._queue.append((descriptor, data))
        self._waiting += len(data)
        self._changed.notify_all()

    # The writer

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._over or self._abandoned)
                if not self._queue:
                    return
                descriptor, data = self._queue[0]
                while len(self._queue) > 1 and self._queue[1][0] == descriptor and len(data) < _PIECE:
                    self._queue.popleft()
                    data += self._queue[0][1]
                self._queue[0] = (descriptor, data)
            if not self._write(descriptor, data):
                return
            with self._changed:
                self._queue.popleft()
                self._waiting -= len(data)
                refused = self._refused if self._waiting < _ROOM // 2 else set()
                self._refused = self._refused - refused
                self._changed.notify_all()
            for vm in refused:
                vm.console.flush()

    def _write(self, descriptor: int, data: bytes) -> bool:
        """False when nobody takes it."""
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        while data:
            if not poll.poll(_PATIENCE):
                if self._abandoned:
                    return False
                continue
            try:
                data = data[os.write(descriptor, data[:_PIECE]) :]
            except BlockingIOError:
                continue
            except OSError:
                break
        if data and descriptor == 1:
            with self._changed:
                self.broken = self._abandoned = True
                self._changed.notify_all()
            self._on_broken()
            return False
        return True
