"""`sandbox up` and `sandbox down`: a fleet of VMs, in the foreground or left running."""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import sys
import threading
from typing import TYPE_CHECKING

from sandbox.cli.fleet_output import FleetOutput
from sandbox.cli.options import Parser, count

if TYPE_CHECKING:
    from sandbox.fleet import Fleet
    from sandbox.hypervisor import Hypervisor
    from sandbox.vm import VM

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_EXAMPLE = """\
  sandbox up fleet.toml               in the foreground, output with the VM's name before each line
  sandbox up fleet.toml --detach      left running; sandbox ps, top, logs, stop ... from any terminal
  sandbox up fleet.toml --dashboard   in the dashboard
a fleet file:
  [fleet]
  cores = 2
  [vm.hello]
  program = "hello"                   # a guest that comes with the package, a .s file or an ELF file
  [vm.worker]
  program = ["./worker", "--fast"]
  rootfs = "./root"
  count = 3                           # worker-1, worker-2, worker-3
  weight = 2
  restart = "on-failure"
  [vm.shell]
  program = ["/bin/sh"]
  rootfs = "./root"
  tty = true                          # a terminal; i in the dashboard types into it
  [vm.after]
  program = "./report.s"
  depends-on = {hello = "finished"}   # after it has ended with status 0; ["hello"]: after it was started
exit status: 0 when every VM was started and ended with 0, 1 otherwise; 125 when the file or the
first start fails; 130 after Ctrl-C."""


def up(arguments: list[str]) -> int:
    parser = Parser("up", "Start the VMs of a fleet file. One fleet at a time can be up.", _EXAMPLE)
    parser.add_argument("file", metavar="FLEET.toml")
    parser.add_argument("-d", "--detach", action="store_true", help="leave it running in the background")
    parser.add_argument("--dashboard", action="store_true", help="watch and steer it here; q ends it")
    parser.add_argument("--cores", type=count, metavar="N", help="host cores to use, instead of what the file says")
    parser.add_argument("--service", action="store_true", help=argparse.SUPPRESS)  # what --detach starts
    given = parser.parse_args(arguments)
    if given.detach and given.dashboard:
        parser.error("--detach leaves no dashboard; `sandbox top` opens one")

    from sandbox.control.detach import run_service, spawn
    from sandbox.dashboard.remote import install
    from sandbox.fleet import launch, load_fleet

    fleet = load_fleet(given.file)
    overrides = {"cores": given.cores} if given.cores else {}
    if given.service:
        install()
        run_service(fleet, **overrides)
        return 0
    if given.detach:
        command = [sys.executable, "-m", "sandbox", "up", os.path.abspath(given.file), "--service"]
        command += ["--cores", str(given.cores)] if given.cores else []
        spawn(command)
        print(f"{len(fleet.members)} VMs are up: `sandbox ps` shows them, `sandbox down` ends them", file=sys.stderr)
        return 0

    from sandbox.control import Service

    install()
    with fleet.hypervisor(**overrides) as hypervisor, Service(hypervisor, name=given.file):
        if given.dashboard:
            vms = launch(fleet, hypervisor)
            return _watch(hypervisor, vms)
        end = End()
        with FleetOutput(hypervisor.deterministic, end.come) as output:
            forget = hypervisor.observe(output.tell)
            try:
                with hypervisor.enter():  # nothing runs before the lock is let go of
                    vms = launch(fleet, hypervisor)
                    output.follow(vms)
                    listening = end.listen()
                with listening:
                    return _attend(hypervisor, fleet, vms, output, end)
            finally:
                forget()


def _watch(hypervisor: Hypervisor, vms: list[VM]) -> int:
    from sandbox.dashboard.app import run
    from sandbox.dashboard.collector import Collector

    collector = Collector(hypervisor)
    try:
        status = run(collector)
    finally:
        collector.close()
    return status or _verdict(vms)


class End:
    """What the main thread waits for: somebody says that it has come, or a signal arrives, whichever thread gets it."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._come = False
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._leave = contextlib.ExitStack()

    def come(self) -> None:
        self._come = True
        with contextlib.suppress(BlockingIOError):  # full: it is awake
            os.write(self._writer, b"!")

    def listen(self) -> contextlib.ExitStack:
        """To signals, until the stack that is returned is left."""
        self._leave.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False))
        for number in _ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup(1) has it
                self._leave.callback(signal.signal, number, signal.signal(number, self._hear))
        return self._leave

    def wait(self) -> None:
        while not self._come and self.signal is None:
            select.select([self._reader], [], [])
            os.read(self._reader, 4096)

    def _hear(self, number: int, frame: object) -> None:
        self.signal = number


def _attend(hypervisor: Hypervisor, fleet: Fleet, vms: list[VM], output: FleetOutput, end: End) -> int:
    """Until all that can be started have ended for good; signals end them all."""
    from sandbox.fleet import unstarted

    threading.Thread(target=_wait, args=(hypervisor, vms, end), daemon=True).start()
    end.wait()
    if end.signal is not None:
        output.abandon()
        return 128 + end.signal
    if output.broken:
        return 128 + signal.SIGPIPE
    for name, reason in unstarted(fleet, hypervisor).items():
        output.say(f"{name} was not started: {reason}")
    return _verdict(vms)


def _wait(hypervisor: Hypervisor, vms: list[VM], end: End) -> None:
    from sandbox.errors import SandboxError

    with contextlib.suppress(SandboxError):  # the hypervisor was closed
        while True:
            with hypervisor.enter():  # what one's end starts has been started before the lock is let go of
                alive = [vm for vm in vms if vm.state != "created" and not vm.over]
            if not alive:
                break
            for vm in alive:
                vm.wait()
    end.come()


def _verdict(vms: list[VM]) -> int:
    return int(any(vm.exit_status != 0 for vm in vms))


def down(arguments: list[str]) -> int:
    parser = Parser("down", "End the fleet that is up: all its VMs and its service.", "  sandbox down")
    parser.parse_args(arguments)
    from sandbox.control import Client

    with Client() as client:
        client.call("down")
    return 0
