"""`sandbox up` and `sandbox down`: a fleet of VMs, in the foreground or left running."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from sandbox.cli.options import Parser, count

if TYPE_CHECKING:
    from sandbox.fleet import Fleet
    from sandbox.hypervisor import Hypervisor
    from sandbox.vm import VM

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
        output = _Output()
        forget = hypervisor.observe(output.event)
        with hypervisor.enter():
            vms = launch(fleet, hypervisor)
            for vm in vms:
                output.follow(vm)
        try:
            return _attend(hypervisor, fleet, vms)
        finally:
            forget()
            output.finish()


def _watch(hypervisor: Hypervisor, vms: list[VM]) -> int:
    from sandbox.dashboard.app import run
    from sandbox.dashboard.collector import Collector

    collector = Collector(hypervisor)
    try:
        status = run(collector)
    finally:
        collector.close()
    return status or _verdict(vms)


def _attend(hypervisor: Hypervisor, fleet: Fleet, vms: list[VM]) -> int:
    """Until all that can be started have ended for good; signals end them all."""
    ended = threading.Event()
    signals: list[int] = []

    def end(number: int, frame: object) -> None:
        signals.append(number)
        ended.set()

    watcher = threading.Thread(target=_wait, args=(hypervisor, vms, ended), daemon=True)
    handlers = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        watcher.start()
        ended.wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if signals:
        return 128 + signals[0]
    from sandbox.fleet import unstarted

    for name, reason in unstarted(fleet, hypervisor).items():
        print(f"{name} was not started: {reason}", file=sys.stderr)
    return _verdict(vms)


def _wait(hypervisor: Hypervisor, vms: list[VM], ended: threading.Event) -> None:
    from sandbox.errors import SandboxError

    with contextlib.suppress(SandboxError):  # the hypervisor was closed
        while True:
            with hypervisor.enter():  # what one's end starts has been started before the lock is let go of
                alive = [vm for vm in vms if vm.state != "created" and not vm.over]
            if not alive:
                break
            for vm in alive:
                vm.wait()
    ended.set()


def _verdict(vms: list[VM]) -> int:
    return int(any(vm.exit_status != 0 for vm in vms))


class _Output:
    """Lines of all VMs on stdout, each whole and behind the VM's name; ends and crashes on stderr. What a guest
    writes is made visible when stdout is a terminal."""

    def __init__(self) -> None:
        from sandbox.dashboard.text import visible

        self._visible = visible if sys.stdout.isatty() else None
        self._pending: dict[str, bytes] = {}
        self._width = 0

    def follow(self, vm: VM) -> None:
        self._width = max(self._width, len(vm.name))

        def take(stream: int, data: bytes) -> None:
            *lines, rest = (self._pending.get(vm.name, b"") + data).split(b"\n")
            self._pending[vm.name] = rest[-65536:]
            for line in lines:
                self._write(vm.name, line)

        vm.console.listen(take)

    def event(self, event: object) -> None:
        kind, name = getattr(event, "kind", ""), getattr(event, "vm", "")
        record = getattr(event, "record", None)
        if kind in ("stopped", "crashed"):
            status, reason = getattr(record, "status", 0), getattr(record, "reason", "")
            words = f"{kind} with status {status}" + (f": {reason}" if reason else "")
            if kind == "crashed" or status or reason:
                print(f"{name} {words}", file=sys.stderr)
        elif kind == "note" and getattr(record, "source", "") == "fleet":
            print(f"{name}: {getattr(record, 'message', '')}", file=sys.stderr)

    def finish(self) -> None:
        for name, rest in self._pending.items():
            if rest:
                self._write(name, rest)
        sys.stdout.flush()

    def _write(self, name: str, line: bytes) -> None:
        if self._visible is not None:
            line = self._visible(line.rstrip(b"\r")).encode("utf-8", "replace")
        sys.stdout.buffer.write(f"{name:<{self._width}} | ".encode() + line + b"\n")
        sys.stdout.buffer.flush()


def down(arguments: list[str]) -> int:
    parser = Parser("down", "End the fleet that is up: all its VMs and its service.", "  sandbox down")
    parser.parse_args(arguments)
    from sandbox.control import Client

    with Client() as client:
        client.call("down")
    return 0
