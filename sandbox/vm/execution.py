"""A program that runs in a VM beside its first process: what `VM.spawn` gives, and `VM.exec` waits for.

It has standard streams of its own, in a `Console` of its own, or a terminal. It ends with the VM, at the latest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sandbox.abi.signals import SIGHUP, SIGKILL
from sandbox.errors import ConfigurationError, GuestTimeout
from sandbox.quantity import parse_duration
from sandbox.vm.configuration import VmConfig, parse_option
from sandbox.vm.console import Console

if TYPE_CHECKING:
    from sandbox.vm.front import VM
    from sandbox.vm.host import Host

OUTPUT_LIMIT = 64 << 20


@dataclass(frozen=True, slots=True)
class Executed:
    """`returncode`: the program's exit status; 128+n when signal n ended it; 124 after the timeout. With a terminal all
    output is in `stdout`."""

    args: tuple[bytes, ...]
    returncode: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run, checked."""

    program: tuple[bytes, ...]
    environment: dict[bytes, bytes]
    cwd: bytes
    user: tuple[int, int]
    tty: bool


def order(config: VmConfig, program: Any, env: Any, cwd: Any, user: Any, tty: Any) -> Order:
    """Raises ConfigurationError."""
    environment = dict(config.environment)
    if tty:
        environment.setdefault(b"TERM", b"xterm")
    if env is not None:
        environment |= dict(parse_option("env", env)[1])
    words = parse_option("program", program)[1]
    if not words:
        raise ConfigurationError("what shall it run? program is empty")
    return Order(
        words,
        environment,
        config.cwd if cwd is None else parse_option("cwd", cwd)[1],
        config.user if user is None else parse_option("user", user)[1],
        parse_option("tty", tty)[1],
    )


class Execution:
    """`pid` is its number in the guest."""

    def __init__(self, host: Host, vm: VM, wanted: Order) -> None:
        self._host = host
        self._vm = vm
        self.order = wanted
        self.console = Console(host.enter)
        self.pid = 0
        self.exit_status: int | None = None
        self.signal: Callable[[int], None] = lambda number: None  # to its process group; given by the host

    def wait(self, timeout: float | str | None = None) -> int:
        """Until it has ended; its exit status. Raises GuestTimeout after `timeout` seconds."""
        limit = None if timeout is None else parse_duration(timeout, "timeout")
        if not self._host.wait_for(self._vm, lambda: self.exit_status is not None, limit):
            raise GuestTimeout(f"process {self.pid} of {self._vm.name} has not ended within {timeout} s")
        assert self.exit_status is not None
        return self.exit_status

    def hang_up(self) -> None:
        """Nobody is interested any more: no more input, and SIGHUP."""
        with self._host.enter():
            self.console.hang_up()
            if self.exit_status is None:
                self.signal(SIGHUP)

    def kill(self) -> None:
        with self._host.enter():
            if self.exit_status is None:
                self.signal(SIGKILL)


class Collector:
    """A console's sink: both streams, up to a limit; what exceeds it is dropped."""

    def __init__(self, limit: int = OUTPUT_LIMIT) -> None:
        self.streams = {1: bytearray(), 2: bytearray()}
        self._room = limit

    def __call__(self, stream: int, data: bytes) -> int:
        self.streams[stream] += data[: max(0, self._room)]
        self._room -= len(data)
        return len(data)
