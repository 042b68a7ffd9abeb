"""`sandbox exec` on the service's side: programs that clients run in VMs, and their streams.

`exec` is a stream of messages for as long as the program runs: where it is ({"session", "pid"}), what it writes
({"stream", "data"}), that it wants input ({"wanted"}: bytes, 0 when it only polls), that the VM has been paused or
resumed meanwhile ({"paused"}), and how it ended ({"status"}).
Input and window sizes come by other connections, with the session's number. A client that takes no output holds the
program back; when it has gone, the program is sent SIGHUP.
"""

from __future__ import annotations

import base64
import threading
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sandbox.abi.errno import EAGAIN, Errno
from sandbox.errors import ConfigurationError, StateError
from sandbox.vm.execution import Execution

if TYPE_CHECKING:
    from sandbox.control.service import Service

OUTPUT_ROOM = 1 << 20  # bytes that wait for a client
LOOK = 0.5  # seconds between signs of life


class Outbox:
    """What is on its way to the client. All but `news` under the hypervisor's lock."""

    def __init__(self, execution: Execution) -> None:
        self.news = threading.Event()
        self._execution = execution
        self._output: deque[tuple[int, bytes]] = deque()
        self._waiting = 0
        self._wanted: int | None = None
        execution.console.sink = self._take
        if not execution.order.tty:
            execution.console.input.on_wanted = self._want

    def _take(self, stream: int, data: bytes) -> int:
        room = OUTPUT_ROOM - self._waiting
        self.news.set()
        if room <= 0:
            raise Errno(EAGAIN)
        self._output.append((stream, data[:room]))
        self._waiting += len(data[:room])
        return len(data[:room])

    def _want(self, count: int) -> None:
        self._wanted = count
        self.news.set()

    def collect(self) -> list[dict[str, Any]]:
        """The messages since the last call."""
        self.news.clear()
        pieces: list[dict[str, Any]] = []
        while self._output:
            while self._output:
                stream, data = self._output.popleft()
                pieces.append({"stream": stream, "data": base64.b64encode(data).decode()})
            self._waiting = 0
            self._execution.console.flush()
        if self._wanted is not None:
            pieces.append({"wanted": self._wanted})
            self._wanted = None
        return pieces


def execute(
    service: Service,
    vm: str,
    program: list[str],
    env: dict[str, str] | None = None,
    cwd: str | None = None,
    user: str | None = None,
    tty: bool = False,
    rows: int = 24,
    columns: int = 80,
) -> Iterator[Any]:
    room = service.hypervisor
    outboxes: list[Outbox] = []

    def prepare(execution: Execution) -> None:
        execution.console.resize(rows, columns)
        outboxes.append(Outbox(execution))
        execution.console.input.on_room = room.monitor.changed.notify_all

    machine = room.vm(vm)
    if machine.state == "paused":
        raise StateError(f"{machine.name} is paused: `sandbox resume {machine.name}` lets it run again")
    execution = machine.spawn(program, env=env, cwd=cwd, user=user, tty=tty, prepare=prepare)
    outbox = outboxes[0]
    session = service.open_execution(execution)
    forget = room.observe(lambda event: outbox.news.set())
    try:
        yield {"session": session, "pid": execution.pid}
        paused = False
        while not service.closing:
            with room.enter():
                over = execution.exit_status is not None
                pieces = outbox.collect()
            yield from pieces
            if (machine.state == "paused") != paused:
                paused = not paused
                yield {"paused": paused}
            if over and not pieces:
                break
            if not over and not outbox.news.wait(LOOK):
                yield None  # a sign of life, by which a client that has gone is noticed
        if execution.exit_status is None:
            raise StateError("the fleet is going down")
        yield {"status": execution.exit_status}
    finally:
        forget()
        service.close_execution(session)
        execution.console.sink = None
        execution.hang_up()


def feed(service: Service, session: int, data: str = "", end: bool = False) -> None:
    """Type into it; returns when all of that has been taken, or nobody takes it any more."""
    execution = service.execution(session)
    try:
        left = base64.b64decode(data, validate=True)
    except ValueError:
        raise ConfigurationError("data is base64") from None
    console = execution.console

    def ready() -> bool:
        return console.room > 0 or not console.accepts_input or execution.exit_status is not None

    while left:
        taken = console.write(left)
        left = left[taken:]
        if left and (not service.wait(ready, None) or not console.room):
            raise StateError("it takes no more input")
    if end and execution.order.tty:
        execution.hang_up()
    elif end:
        console.close()


def resize(service: Service, session: int, rows: int, columns: int) -> None:
    if not (0 <= rows < 1 << 16 and 0 <= columns < 1 << 16):
        raise ConfigurationError("a window has fewer than 65536 rows and columns")
    service.execution(session).console.resize(rows, columns)
