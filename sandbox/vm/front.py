"""VM: the object a person holds. Thin: it asks its host, and keeps what outlives the machine.

Everything may be called from any thread. In a callback (of `on_syscall` and its like) the VM is the caller's to
look at and to change, but not to wait for.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sandbox.abi.numbers import NUMBERS
from sandbox.disassembler import Instruction
from sandbox.errors import ConfigurationError, GuestTimeout, StateError
from sandbox.machine import Machine
from sandbox.quantity import parse_duration
from sandbox.vm.configuration import VmConfig
from sandbox.vm.console import Console
from sandbox.vm.execution import Collector, Executed, Execution, order
from sandbox.vm.host import Host
from sandbox.vm.inspection import Hit, Memory, Registers, Syscall, TaskView, address_of, code_at, task_views
from sandbox.vm.lifecycle import Lifecycle

if TYPE_CHECKING:
    from sandbox.kernel.crash import CrashReport
    from sandbox.vm.statistics import Statistics

MOST_BREAKPOINTS = 256

BreakpointCallback = Callable[[Hit], object]
SyscallCallback = Callable[[Syscall], "int | None"]


@dataclass(slots=True, eq=False)
class _Breakpoint:
    """A symbol until the VM is started, the symbol's address from then on."""

    where: int | str
    callback: BreakpointCallback | None


class Files:
    def __init__(self, vm: VM, host: Host) -> None:
        self._vm = vm
        self._host = host

    def read(self, path: str | bytes) -> bytes:
        """The contents of a file as the guest sees it (before it runs, while it does, and until it is removed)."""
        return self._host.read_file(self._vm, path.encode() if isinstance(path, str) else path)


class VM:
    """Made by `Hypervisor.create`. `identity` never changes and is never used again; the name may change."""

    def __init__(self, host: Host, identity: str, config: VmConfig) -> None:
        self._host = host
        self.identity = identity
        self.config = config
        self.lifecycle = Lifecycle()
        self.isa_name = config.arch or ""
        self.exit_status: int | None = None
        self.last_status = 0  # of the last run that has ended
        self.starts = 0
        self.reason: str | None = None  # why it ended, when it did not exit by itself
        self.crash: CrashReport | None = None
        self.restart_pending = False
        self.console = Console(host.enter)
        self.files = Files(self, host)
        self.registers = Registers(self._borrow)
        self.memory = Memory(self._borrow)
        self.observers: list[tuple[str, Any]] = []
        self._breakpoints: list[_Breakpoint] = []
        self._attached: Machine | None = None
        self._tracer: Callable[..., None] | None = None
        self._timed = False

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def state(self) -> str:
        """ "created", "running", "paused", "stopped" (it ended, or was ended) or "crashed"."""
        return self.lifecycle.state

    @property
    def over(self) -> bool:
        """It has ended and will not be started again by its restart policy, or it has been removed."""
        return self.lifecycle.removed or (self.lifecycle.ended and not self.restart_pending)

    @property
    def stats(self) -> Statistics:
        return self._host.statistics(self)

    # Steering

    def start(self) -> VM:
        """From the beginning; also what has ended may be started again. Raises LoadError."""
        self._host.start(self)
        return self

    def pause(self) -> VM:
        """Stand still at the next block boundary; returns when it does."""
        self._host.pause(self)
        return self

    def resume(self) -> VM:
        self._host.resume(self)
        return self

    def stop(self, grace: float | str | None = None, wait: bool = True) -> int | None:
        """Ask it to end, and end it when it has not after `grace` (default: its option). Returns the exit status."""
        self._host.stop(self, None if grace is None else parse_duration(grace, "grace"), wait)
        return self.exit_status

    def kill(self, reason: str = "killed by the operator") -> None:
        """End it at once."""
        self._host.kill(self, reason, 137)

    def wait(self, timeout: float | str | None = None) -> int:
        """Until it has ended; returns its exit status. One that was not started yet is waited for as well: somebody
        else may start it. Raises GuestTimeout after `timeout` seconds."""
        limit = None if timeout is None else parse_duration(timeout, "timeout")
        run = self.starts
        restarts = self.config.restart.mode != "never"
        # Without a restart policy, a new start means that this run has ended and somebody else was quicker to look.
        if not self._host.wait_for(self, lambda: self.over or (run != self.starts and run > 0 and not restarts), limit):
            raise GuestTimeout(f"{self.name} has not ended within {timeout} s")
        return self.last_status

    def remove(self, force: bool = False) -> None:
        """Forget it and free everything it holds. It must have ended, unless `force`."""
        self._host.remove(self, force)

    def rename(self, name: str) -> None:
        self._host.rename(self, name)

    def set(self, **limits: Any) -> None:
        """Change limits while it runs: `vm.set(weight=3, cpus=0.5, memory="64M")`; all or none of them."""
        from sandbox.vm.configuration import change

        config = self.config
        for limit, value in limits.items():
            config = change(config, limit, value)
        for limit, value in limits.items():
            self._host.change_limit(self, limit, value)

    # Programs beside its first process

    def exec(
        self,
        program: Any,
        *,
        input: bytes | str = b"",
        env: Any = None,
        cwd: str | bytes | None = None,
        user: Any = None,
        tty: bool = False,
        timeout: float | str | None = None,
    ) -> Executed:
        """Run a program of the guest's to its end, like `subprocess.run`. `env` is added to the VM's own; `cwd` and
        `user` are the VM's unless given. After `timeout` seconds it is killed. Raises LoadError, and StateError, also
        when the VM is paused, since nothing would run (`spawn` waits for its turn)."""
        if self.state == "paused":
            raise StateError(f"{self.name} is paused: resume it first")
        collector = Collector()
        begun = Execution(self._host, self, order(self.config, program, env, cwd, user, tty))
        begun.console.sink = collector
        begun.console.set_input(input.encode() if isinstance(input, str) else bytes(input))
        self._host.spawn(self, begun)
        try:
            status = begun.wait(timeout)
        except GuestTimeout:
            begun.kill()
            status = 124
        except BaseException:
            begun.kill()
            raise
        return Executed(begun.order.program, status, bytes(collector.streams[1]), bytes(collector.streams[2]))

    def spawn(
        self,
        program: Any,
        *,
        env: Any = None,
        cwd: str | bytes | None = None,
        user: Any = None,
        tty: bool = False,
        prepare: Callable[[Execution], None] = lambda execution: None,
    ) -> Execution:
        """Start a program of the guest's, and do not wait for it. `prepare` is called with it before it runs."""
        begun = Execution(self._host, self, order(self.config, program, env, cwd, user, tty))
        prepare(begun)
        self._host.spawn(self, begun)
        return begun

    # Looking inside

    def step(self, count: int = 1) -> None:
        """Run exactly `count` instructions of the paused VM, system calls and page faults included; fewer when it ends
        or falls asleep."""
        self._host.step(self, count)

    def tasks(self) -> list[TaskView]:
        with self._borrow() as machine:
            return task_views(machine)

    def disassemble(self, address: int | str | None = None, count: int = 8) -> list[Instruction]:
        """`count` instructions from an address or a symbol; without it, from where the VM stands."""
        with self._borrow() as machine:
            start = address_of(machine, address) if isinstance(address, str) else address
            return code_at(machine, start, count)

    def on_syscall(self, name: str, callback: SyscallCallback) -> Callable[[], None]:
        """Call `callback(call)` before every system call of that name ("*": of any): None lets it happen, a number is
        its result instead (negative: an errno). The function returned ends that. Raises ConfigurationError for a name
        that the VM's ISA does not have; one without a name is "syscall_" and its number."""
        if not callable(callback):
            raise ConfigurationError("on_syscall wants a function that takes the call")
        if name != "*":
            self._check_syscall(name)

        def observer(task: Any, called: str, arguments: tuple[int, ...]) -> int | None:
            return callback(Syscall(called, arguments, task.tid))

        entry = (name, observer)
        with self._host.enter():
            self.observers.append(entry)
            ends = [self._observe(self._attached, entry)]

        def forget() -> None:
            with self._host.enter():
                if entry in self.observers:
                    self.observers.remove(entry)
                for end in ends:
                    end()

        return forget

    def _check_syscall(self, name: str) -> None:
        if not isinstance(name, str):
            raise ConfigurationError(f"on_syscall wants a call's name, not {name!r}")
        if self.config.board is not None:
            raise ConfigurationError(f"{self.name} is a board: it makes no system calls")
        known = NUMBERS.get(self.isa_name)
        if known is None or name in known or re.fullmatch(r"syscall_\d+", name):
            return
        near = difflib.get_close_matches(name, known, 1)
        advice = f"do you mean {near[0]!r}?" if near else f"`sandbox syscalls --arch {self.isa_name}` lists them"
        raise ConfigurationError(f"{self.isa_name} has no system call {name!r}: {advice}")

    def step_syscall(self, seen: Callable[[Syscall], None] | None = None) -> Callable[[], None]:
        """Let the paused VM run until it makes its next system call, tell `seen` of it, and pause right after it, or
        while the VM sleeps in it. Returns at once; the function returned ends the wait."""
        if self.state != "paused":
            raise StateError(f"{self.name} is {self.state}: pause it first")

        def stop(call: Syscall) -> None:
            forget()
            self._host.pause(self)
            if seen is not None:
                seen(call)

        forget = self.on_syscall("*", stop)
        self.resume()
        return forget

    def breakpoint(self, where: int | str, callback: BreakpointCallback | None = None) -> Callable[[], None]:
        """Stop before the instruction at an address, or at a symbol of the program: call `callback(hit)`, with the VM
        to look at and to change, and go on; without a callback, pause there. A VM that has not been started yet
        resolves a symbol when it is: `start` raises ConfigurationError when its program has none of that name. The
        function returned ends it."""
        if callback is not None and not callable(callback):
            raise ConfigurationError("breakpoint wants a function that takes the hit, or nothing")
        if not isinstance(where, (int, str)) or isinstance(where, bool):
            raise ConfigurationError(f"breakpoint wants an address or a symbol, not {where!r}")
        with self._host.enter():
            entry = _Breakpoint(self._locate(where) if self._attached is not None else where, callback)
            self._breakpoints.append(entry)
            try:
                self._arm()
            except ConfigurationError:
                self._breakpoints.remove(entry)
                raise

        def forget() -> None:
            with self._host.enter():
                if entry in self._breakpoints:
                    self._breakpoints.remove(entry)
                    self._arm()

        return forget

    def _locate(self, where: int | str) -> int:
        assert self._attached is not None
        return where if isinstance(where, int) else address_of(self._attached, where)

    def _arm(self) -> None:
        machine = self._attached
        if machine is None:
            return
        if self._breakpoints and not hasattr(machine, "breakpoints"):
            raise ConfigurationError("a board has no breakpoints yet: step it")
        if hasattr(machine, "breakpoints"):
            for entry in self._breakpoints:
                entry.where = self._locate(entry.where)
            wanted = frozenset(entry.where for entry in self._breakpoints if isinstance(entry.where, int))
            if len(wanted) > MOST_BREAKPOINTS:
                raise ConfigurationError(f"a VM has at most {MOST_BREAKPOINTS} breakpoints")
            machine.breakpoints, machine.on_breakpoint = wanted, self._at_breakpoint  # type: ignore[attr-defined]

    def _at_breakpoint(self, task: Any, address: int) -> None:
        for entry in tuple(self._breakpoints):
            if entry.where != address:
                continue
            if entry.callback is None:
                self._host.pause(self)
                continue
            try:
                entry.callback(Hit(address, task.tid))
            except Exception as error:  # a spectator must not stop the play: it is dropped, and that is said
                if entry in self._breakpoints:
                    self._breakpoints.remove(entry)
                    self._arm()
                task.kernel.observers.defect(f"breakpoint at {address:#x}", error)

    def trace(self, write: Callable[..., None] | None, timed: bool = False) -> None:
        """Call `write` with a line for every system call, in the style of strace; None ends that. `timed`: and with
        the nanoseconds that it took, sleep included; None for one that had begun before."""
        with self._host.enter():
            self._tracer, self._timed = write, timed
            self._follow(self._attached)

    def _follow(self, machine: Any) -> None:
        if machine is not None:  # a board ignores it
            machine.trace, machine.call_began = self._tracer, {} if self._timed and self._tracer is not None else None

    def attach(self, machine: Machine | None) -> None:
        """The host has built a machine (or freed it): instrumentation follows."""
        self._attached = machine
        if self._tracer is not None:
            self._follow(machine)
        for entry in self.observers:
            self._observe(machine, entry)
        self._arm()

    def _observe(self, machine: Machine | None, entry: tuple[str, Any]) -> Callable[[], None]:
        observers = getattr(machine, "observers", None)
        if observers is None:
            return lambda: None
        end: Callable[[], None] = observers.add(*entry)
        return end

    def _borrow(self) -> AbstractContextManager[Machine]:
        return self._host.inspect(self)

    def __repr__(self) -> str:
        return f"<VM {self.name} ({self.isa_name or '?'}): {self.state}>"
