"""What can be asked of a service: one table of verbs, with the arguments each takes.

A verb is a function of the service and its arguments that returns plain data, or yields pieces of it (a stream).
Arguments are checked against the table before it is called. To add a verb: a function and a row.
"""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sandbox.control import executions
from sandbox.errors import ConfigurationError, StateError
from sandbox.events import EventLog
from sandbox.quantity import parse_duration
from sandbox.vm import LIMITS, VM, Statistics

if TYPE_CHECKING:
    from sandbox.control.service import Service

PIECE = 256 << 10  # bytes of console output in one message
LOOK = 0.5  # seconds between looks whether a follower's service is still there


@dataclass(frozen=True, slots=True)
class Argument:
    name: str
    types: tuple[type, ...]
    required: bool = False


@dataclass(frozen=True, slots=True)
class Verb:
    name: str
    run: Callable[..., Any]
    arguments: tuple[Argument, ...] = ()
    help: str = ""


def check(verb: Verb, given: dict[str, Any]) -> dict[str, Any]:
    known = {argument.name: argument for argument in verb.arguments}
    for name, value in given.items():
        argument = known.get(name)
        if argument is None:
            raise ConfigurationError(f"{verb.name} takes no {name!r:.40}")
        if not isinstance(value, argument.types) or (isinstance(value, bool) and bool not in argument.types):
            raise ConfigurationError(f"{verb.name}: {name} is not {value!r:.40}")
    for argument in verb.arguments:
        if argument.required and argument.name not in given:
            raise ConfigurationError(f"{verb.name} needs {argument.name!r}")
    return given


# Looking


def hello(service: Service) -> dict[str, Any]:
    room = service.hypervisor
    return {
        "pid": os.getpid(),
        "cores": room.cores,
        "deterministic": room.deterministic,
        "vms": len(room.vms),
        "name": service.name,
    }


def ps(service: Service) -> list[dict[str, Any]]:
    room, rows = service.hypervisor, []
    now = room.clock.monotonic()
    for vm in room.vms:
        with room.enter():
            if not vm.lifecycle.removed:  # by another client, a moment ago
                rows.append(_row(service, vm, now))
    return rows


def top(service: Service) -> dict[str, Any]:
    """Cheap figures of all VMs, for a display that asks every second."""
    room = service.hypervisor
    used, size = room.pool_use()
    return {
        "time": room.clock.monotonic(),
        "cores": room.cores,
        "memory": used,
        "memory_size": size,
        "vms": [gauge._asdict() for gauge in room.gauges()],
    }


def inspect(service: Service, vm: str) -> dict[str, Any]:
    found = service.hypervisor.vm(vm)
    row = _row(service, found, service.hypervisor.clock.monotonic())
    events = [event.to_plain() for event in service.hypervisor.events() if event.vm == found.name]
    return {**row, "config": _plain(found.config), "stats": found.stats.as_dict(), "events": events[-50:]}


def events(service: Service, since: int = 0, follow: bool = False) -> Iterator[Any]:
    log = service.hypervisor.log
    while True:
        news = service.hypervisor.log.since(since)
        for event in news:
            yield event.to_plain()
            since = event.sequence + 1
        if not follow or service.closing:
            return
        service.wait(partial(_reached, log, since), LOOK)


def _reached(log: EventLog, since: int) -> bool:
    return log.next_sequence > since


def logs(service: Service, vm: str, follow: bool = False, tail: int | None = None) -> Iterator[Any]:
    """Pieces of what the VM has written, {"data": base64, "missed": bytes lost before it}."""
    found = service.hypervisor.vm(vm)
    console = found.console
    news = threading.Event()
    ends = []
    if follow:
        ends = [console.listen(lambda stream, data: news.set()), service.hypervisor.observe(lambda event: news.set())]
    try:
        position = max(0, console.total - tail) if tail is not None else 0
        while True:
            news.clear()
            over = found.over
            data, end = console.since(position)
            missed, position = end - len(data) - position, end
            for start in range(0, len(data), PIECE):
                piece = data[start : start + PIECE]
                yield {"data": base64.b64encode(piece).decode(), "missed": missed}
                missed = 0
            if not follow or over or service.closing:
                return
            if not news.wait(LOOK):
                yield None  # a sign of life, by which a follower that has gone is noticed
    finally:
        for forget in ends:
            forget()


# Steering


def start(service: Service, vm: str) -> None:
    service.hypervisor.vm(vm).start()


def pause(service: Service, vm: str) -> None:
    service.hypervisor.vm(vm).pause()


def resume(service: Service, vm: str) -> None:
    service.hypervisor.vm(vm).resume()


def stop(service: Service, vm: str, grace: float | str | None = None) -> int | None:
    return service.hypervisor.vm(vm).stop(grace)


def kill(service: Service, vm: str) -> None:
    service.hypervisor.vm(vm).kill()


def rm(service: Service, vm: str, force: bool = False) -> None:
    service.hypervisor.vm(vm).remove(force)


def rename(service: Service, vm: str, name: str) -> None:
    service.hypervisor.vm(vm).rename(name)


def change(service: Service, vm: str, limits: dict[str, Any]) -> None:
    service.hypervisor.vm(vm).set(**limits)


def wait(service: Service, vm: str, timeout: float | str | None = None) -> int:
    found = service.hypervisor.vm(vm)
    limit = None if timeout is None else parse_duration(timeout, "timeout")
    if not service.wait(lambda: found.over, None if limit is None else limit / 1e9):
        raise StateError(f"{vm} has not ended")
    return found.last_status


def type_in(service: Service, vm: str, data: str = "", end: bool = False) -> int:
    console = service.hypervisor.vm(vm).console
    try:
        content = base64.b64decode(data, validate=True)
    except ValueError:
        raise ConfigurationError("data is base64") from None
    taken = console.write(content)
    if end:
        console.close()
    return taken


def down(service: Service) -> None:
    service.ending = True  # once this has been answered


# Rows


def _row(service: Service, vm: VM, now: int) -> dict[str, Any]:
    stats = vm.stats
    return {
        "identity": vm.identity,
        "name": vm.name,
        "arch": vm.isa_name,
        "program": [word.decode("utf-8", "backslashreplace") for word in vm.config.program],
        "state": vm.state,
        "status": status_text(vm, stats),
        "exit_status": vm.exit_status,
        "reason": vm.reason,
        "restarts": max(0, vm.starts - 1),
        "uptime": stats.wall_seconds,
        "cpu_seconds": stats.cpu_seconds,
        "memory": stats.memory,
        "memory_limit": stats.memory_limit,
        "weight": vm.config.weight,
        "cpus": vm.config.cpus,
    }


def status_text(vm: VM, stats: Statistics) -> str:
    """As `docker ps` says it."""
    since = span(stats.wall_seconds)
    if vm.state == "created":
        return "Created" if vm.reason is None else "Not started"
    if vm.state in ("running", "paused"):
        return f"Up {since}" + (" (Paused)" if vm.state == "paused" else "")
    ended = f"{'Exited' if vm.state == 'stopped' else 'Crashed'} ({vm.exit_status})"
    return f"{ended}, restarting" if vm.restart_pending else ended


def span(seconds: float) -> str:
    """A time as people say it: "5 seconds", "3 minutes", "2 hours"."""
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count != 1 else ''}"
    return "less than a second"


def _plain(value: Any) -> Any:
    """A configuration as what JSON can hold."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value


VM_NAME = Argument("vm", (str,), required=True)
FOLLOW = Argument("follow", (bool,))
TIME = (int, float, str, type(None))
SESSION = Argument("session", (int,), required=True)
WINDOW = (Argument("rows", (int,), required=True), Argument("columns", (int,), required=True))
EXECUTION = (
    VM_NAME,
    Argument("program", (list,), required=True),
    Argument("env", (dict, type(None))),
    Argument("cwd", (str, type(None))),
    Argument("user", (str, type(None))),
    Argument("tty", (bool,)),
    Argument("rows", (int,)),
    Argument("columns", (int,)),
)

VERBS = {
    verb.name: verb
    for verb in (
        Verb("hello", hello, help="who is there"),
        Verb("ps", ps, help="the VMs"),
        Verb("top", top, help="their figures"),
        Verb("inspect", inspect, (VM_NAME,), "everything about one"),
        Verb("events", events, (Argument("since", (int,)), FOLLOW), "what happened"),
        Verb("logs", logs, (VM_NAME, FOLLOW, Argument("tail", (int, type(None)))), "what it has written"),
        Verb("start", start, (VM_NAME,)),
        Verb("pause", pause, (VM_NAME,)),
        Verb("resume", resume, (VM_NAME,)),
        Verb("stop", stop, (VM_NAME, Argument("grace", TIME))),
        Verb("kill", kill, (VM_NAME,)),
        Verb("rm", rm, (VM_NAME, Argument("force", (bool,)))),
        Verb("rename", rename, (VM_NAME, Argument("name", (str,), required=True))),
        Verb("set", change, (VM_NAME, Argument("limits", (dict,), required=True)), f"limits: {', '.join(LIMITS)}"),
        Verb("wait", wait, (VM_NAME, Argument("timeout", TIME)), "until it has ended"),
        Verb("type", type_in, (VM_NAME, Argument("data", (str,)), Argument("end", (bool,))), "into its console"),
        Verb("exec", executions.execute, EXECUTION, "run a program in it"),
        Verb("exec-feed", executions.feed, (SESSION, Argument("data", (str,)), Argument("end", (bool,))), "its input"),
        Verb("exec-resize", executions.resize, (SESSION, *WINDOW), "its terminal's window"),
        Verb("down", down, help="end everything"),
    )
}
