"""`sandbox exec`: a program in a VM of the fleet that is up, with the caller's standard streams or terminal.

The main thread takes what the service sends; a second one, with a connection of its own, sends input: keys as they
come, without a terminal what the program asks for, so that what it leaves is there for the next one.
"""

from __future__ import annotations

import base64
import contextlib
import os
import select
import signal
import sys
import threading
from types import FrameType
from typing import Any

from sandbox.cli.foreground import Ended, heard
from sandbox.cli.options import Parser, assignment
from sandbox.cli.raw_terminal import RawTerminal
from sandbox.control import Client
from sandbox.errors import ConfigurationError, SandboxError

_CHUNK = 65536
_POLLED = 4096
_EXAMPLES = """\
  sandbox exec web-1 /bin/busybox ps
  sandbox exec -t web-1 /bin/bash                       a shell in it, in your terminal
  tar c data | sandbox exec web-1 tar x -C /srv
exit status: the program's own; 128+n when signal n killed it; 126 not executable; 127 not found;
125 when the sandbox itself failed."""


def parser() -> Parser:
    made = Parser(
        "exec",
        "Run a program in a running VM of the fleet that is up; its standard streams are yours.",
        _EXAMPLES,
        usage="sandbox exec [options] VM PROGRAM [ARG ...]",
    )
    made.add_argument("-t", "--tty", action="store_true", help="a terminal: yours, all keys go to the program")
    made.add_argument("-e", "--env", action="append", type=assignment, default=[], metavar="K=V",
                      help="environment variable, added to the VM's own")  # fmt: skip
    made.add_argument("-w", "--workdir", metavar="DIR", help="default: the VM's")
    made.add_argument("--user", metavar="UID[:GID]", help="default: the VM's")
    return made


def exec_(arguments: list[str]) -> int:
    made = parser()
    ours, words = made.divide(arguments)
    given = made.parse_args(ours)
    if len(words) < 2:
        made.error("which program?" if words else "which VM?")
    if given.tty and not os.isatty(0):
        raise ConfigurationError("--tty needs a terminal, and standard input is none")
    order = {
        "vm": words[0],
        "program": words[1:],
        "env": dict(filter(None, given.env)),
        "cwd": given.workdir,
        "user": given.user,
    }
    handlers = {number: signal.signal(number, _end) for number in heard()}
    try:
        with Client() as client:
            return _follow(client, order, given.tty)
    except Ended as ended:
        return 128 + ended.number
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    raise Ended(number)


def _follow(client: Client, order: dict[str, Any], tty: bool) -> int:
    feeder = Feeder(tty)
    screen = RawTerminal(0, feeder.resized) if tty else None
    feeder.screen = screen
    if screen is not None:
        order["rows"], order["columns"] = screen.size()
    pieces = client.stream("exec", tty=tty, **order)
    with screen if screen is not None else contextlib.nullcontext():
        try:
            for piece in pieces:
                if "session" in piece:
                    feeder.begin(piece["session"])
                elif "data" in piece:
                    _write(2 if piece.get("stream") == 2 else 1, base64.b64decode(piece["data"]))
                elif "paused" in piece:
                    _say_paused(order["vm"], piece["paused"], tty)
                elif "wanted" in piece:
                    feeder.want(int(piece["wanted"]))
                elif "status" in piece:
                    return int(piece["status"])
        finally:
            feeder.finish()
    raise SandboxError("the service has ended")


def _say_paused(vm: str, paused: bool, raw: bool) -> None:
    """So that one who waits knows for what. `raw`: the terminal is, and needs to be told where a line begins."""
    words = f"{vm} is paused: `sandbox resume {vm}` lets it run again" if paused else f"{vm} runs again"
    start, end = ("\r\n", "\r\n") if raw else ("", "\n")
    _write(2, f"{start}sandbox: {words}{end}".encode())


def _write(stream: int, data: bytes) -> None:
    sys.stdout.flush()
    while data:
        data = data[os.write(stream, data) :]


class Feeder:
    """The thread that sends input."""

    def __init__(self, tty: bool) -> None:
        self.screen: RawTerminal | None = None
        self._tty = tty
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wanted: int | None = None
        self._resized = self._over = False
        self._thread: threading.Thread | None = None

    def begin(self, session: int) -> None:
        self._thread = threading.Thread(target=self._run, args=(session,), name="sandbox-feeder", daemon=True)
        self._thread.start()

    def want(self, count: int) -> None:
        self._wanted = min(count or _POLLED, _CHUNK)
        self._wake()

    def resized(self) -> None:
        self._resized = True
        self._wake()

    def finish(self) -> None:
        self._over = True
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it is awake
            os.write(self._writer, b"!")

    def _run(self, session: int) -> None:
        with contextlib.suppress(SandboxError), Client() as client:  # it has ended: the main thread hears of it
            while not self._over:
                self._turn(client, session)

    def _turn(self, client: Client, session: int) -> None:
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        wanted = _POLLED if self._tty else self._wanted
        if wanted is not None:
            poll.register(0, select.POLLIN)
        ready = dict(poll.poll())
        if self._reader in ready:
            os.read(self._reader, 4096)
        if self._resized and self.screen is not None:
            self._resized = False
            rows, columns = self.screen.size()
            client.call("exec-resize", session=session, rows=rows, columns=columns)
        if 0 in ready and wanted is not None and not self._over:
            self._wanted = None
            try:
                data = os.read(0, wanted)
            except OSError:
                data = b""
            client.call("exec-feed", session=session, data=base64.b64encode(data).decode(), end=not data)
            if not data:
                self._over = True
