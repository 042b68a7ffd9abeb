"""Programs that the operator starts in a VM that runs already: between two turns, when no guest code is under way."""

from __future__ import annotations

from collections.abc import Callable

from sandbox.errors import StateError
from sandbox.hypervisor import streams
from sandbox.hypervisor.tenant import Tenant
from sandbox.kernel.job_control import acquire, signal_group
from sandbox.kernel.linux import LinuxMachine
from sandbox.kernel.start import enter
from sandbox.kernel.task import Credentials
from sandbox.machine import Machine
from sandbox.scheduler import Drive, Monitor
from sandbox.vfs.terminal import Terminal
from sandbox.vm.execution import Execution

LOOK = 0.01  # seconds between looks whether a VM that hardly ever runs has ended its turn


def spawn(monitor: Monitor, drive: Drive, tenant: Tenant, execution: Execution) -> None:
    """Under the monitor's lock, which is let go of until the turn ends that is under way. Raises LoadError,
    ConfigurationError, StateError."""
    vm, machine = tenant.vm, tenant.machine
    if drive.inside_turn():
        raise StateError("a callback cannot start a program: return, and start it outside")
    if vm.state not in ("running", "paused"):
        raise StateError(f"{vm.name} is {vm.state}: no program can be started in it before it is itself")
    if not isinstance(machine, LinuxMachine):
        raise StateError(f"{vm.name} is a board, which runs one program")
    _between_turns(monitor, tenant, lambda: _enter(monitor, drive, tenant, machine, execution))


def _between_turns(monitor: Monitor, tenant: Tenant, action: Callable[[], None]) -> None:
    outcome: list[Exception | None] = []

    def act(found: Machine | None) -> None:
        try:
            action()
            outcome.append(None)
        except Exception as error:  # the caller's, not the VM's
            outcome.append(error)
        monitor.changed.notify_all()

    if tenant.share.running:
        tenant.glances.waiting.append(act)
        while not outcome and tenant.share.running:
            monitor.changed.wait(LOOK)
        if act in tenant.glances.waiting:
            tenant.glances.waiting.remove(act)
    if not outcome:
        act(tenant.machine)
    if outcome[0] is not None:
        raise outcome[0]


def _enter(monitor: Monitor, drive: Drive, tenant: Tenant, machine: LinuxMachine, execution: Execution) -> None:
    order, console = execution.order, execution.console
    terminal: Terminal | None = None
    if order.tty:
        terminal, stdio = streams.terminal(machine, console, order.user[0], first=False)
    else:
        stdio = streams.pipes(machine, console)

    def ended(word: int) -> None:
        killed = word & 0x7F
        execution.exit_status = 128 + killed if killed else word >> 8
        if terminal is not None:
            _close(machine, terminal)
        monitor.changed.notify_all()

    def send(number: int) -> None:
        process = machine.processes.get(execution.pid)
        if process is not None:
            signal_group(machine, process.group, number)

    def signal(number: int) -> None:
        if drive.inside_turn():
            send(number)
        else:
            _between_turns(monitor, tenant, lambda: send(number))

    try:
        task = enter(
            machine, order.program, order.environment,
            cwd=order.cwd, credentials=Credentials(*order.user), stdio=stdio, on_end=ended,
        )  # fmt: skip
    except BaseException:
        for file in stdio:
            file.release()
        if terminal is not None:
            _close(machine, terminal)
        raise
    if terminal is not None:
        acquire(task.process, terminal)
    execution.pid = task.process.pid
    execution.signal = signal


def _close(machine: LinuxMachine, terminal: Terminal) -> None:
    terminal.hang_up()
    machine.terminals.forget(terminal.device & 0xFF)
