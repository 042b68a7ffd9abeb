"""What is done to the VMs of a running fleet from another terminal: look at them, steer them, change their limits."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from sandbox.cli.listing import show, show_json
from sandbox.cli.options import Parser, count, positive, seconds, size
from sandbox.errors import SandboxError

if TYPE_CHECKING:
    from sandbox.control import Client


def _connect() -> Client:
    from sandbox.control import Client

    return Client()


def ps(arguments: list[str]) -> int:
    parser = Parser("ps", "The VMs of the fleet that is up.", "  sandbox ps\n  sandbox ps --json | jq '.[].name'")
    parser.json_option()
    given = parser.parse_args(arguments)
    with _connect() as client:
        rows = client.call("ps")
    from sandbox.quantity import format_size

    shown = rows
    if not given.json:
        shown = [
            {
                **row,
                "program": " ".join(row["program"]) or "-",
                "memory": f"{format_size(row['memory'])} / {format_size(row['memory_limit'])}",
                "cpu": f"{row['cpu_seconds']:.1f}s",
            }
            for row in rows
        ]
    columns = {"name": "NAME", "arch": "ARCH", "status": "STATUS", "cpu": "CPU", "memory": "MEMORY",
               "weight": "WEIGHT", "program": "PROGRAM"}  # fmt: skip
    show(shown, columns, given.json, "no VMs")
    return 0


def inspect(arguments: list[str]) -> int:
    parser = Parser("inspect", "Everything about one VM, as JSON.", "  sandbox inspect web-1 | jq .stats")
    parser.add_argument("vm", metavar="VM")
    parser.json_option()
    given = parser.parse_args(arguments)
    with _connect() as client:
        show_json(client.call("inspect", vm=given.vm))
    return 0


def logs(arguments: list[str]) -> int:
    parser = Parser(
        "logs",
        "What a VM printed. On a terminal control characters are made visible.",
        "  sandbox logs web-1\n  sandbox logs -f web-1\n  sandbox logs --tail 4096 web-1 > end.txt",
    )
    parser.add_argument("vm", metavar="VM")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until it has ended")
    parser.add_argument("--tail", type=size, metavar="SIZE", help="only the last bytes")
    given = parser.parse_args(arguments)
    harmless = _harmless if sys.stdout.isatty() else bytes
    with _connect() as client:
        for piece in client.logs(given.vm, follow=given.follow, tail=given.tail):
            sys.stdout.buffer.write(harmless(piece))
            sys.stdout.buffer.flush()
    return 0


def _harmless(data: bytes) -> bytes:
    from sandbox.dashboard.text import visible

    lines = data.replace(b"\r\n", b"\n").split(b"\n")
    return "\n".join("\t".join(visible(cell) for cell in line.split(b"\t")) for line in lines).encode(
        "utf-8", "replace"
    )


def _each(name: str, summary: str, arguments: list[str], **options: Any) -> int:
    """One verb for any number of VMs: all are tried, and the status says whether all succeeded."""
    parser = Parser(name, summary, f"  sandbox {name} web-1 web-2")
    parser.add_argument("vms", metavar="VM", nargs="+")
    for flag, settings in options.items():
        parser.add_argument(f"--{flag}", *settings.pop("also", ()), dest=flag, **settings)
    given = parser.parse_args(arguments)
    extra = {flag: getattr(given, flag) for flag in options if getattr(given, flag)}
    status = 0
    with _connect() as client:
        for vm in given.vms:
            try:
                client.call(name, vm=vm, **extra)
            except SandboxError as error:
                from sandbox.cli import FAILED, complain

                complain(str(error))
                status = FAILED
    return status


def start(arguments: list[str]) -> int:
    return _each("start", "Start VMs that were only created, or have ended.", arguments)


def pause(arguments: list[str]) -> int:
    return _each("pause", "Let VMs stand still.", arguments)


def resume(arguments: list[str]) -> int:
    return _each("resume", "Let paused VMs run again.", arguments)


def stop(arguments: list[str]) -> int:
    grace = {"type": seconds, "metavar": "S", "help": "how long to wait before it is killed; default: 10"}
    return _each("stop", "Ask VMs to end, and kill those that do not.", arguments, grace=grace)


def kill(arguments: list[str]) -> int:
    return _each("kill", "End VMs at once.", arguments)


def rm(arguments: list[str]) -> int:
    force = {"action": "store_true", "also": ("-f",), "help": "also those that run"}
    return _each("rm", "Remove VMs that have ended.", arguments, force=force)


def set_(arguments: list[str]) -> int:
    parser = Parser(
        "set",
        "Change a VM's limits while it runs: all of those named, or none.",
        "  sandbox set web-1 --weight 5 --cpus 0.5\n  sandbox set web-1 --cpus none --memory 128M",
    )
    parser.add_argument("vm", metavar="VM")
    parser.add_argument("--weight", type=count, metavar="N")
    parser.add_argument("--cpus", type=lambda text: text if text == "none" else positive(text), metavar="F|none")
    parser.add_argument("--memory", type=size, metavar="SIZE")
    parser.add_argument("--max-tasks", type=count, metavar="N")
    parser.add_argument("--max-files", type=count, metavar="N")
    parser.add_argument("--disk", type=size, metavar="SIZE")
    given = vars(parser.parse_args(arguments))
    vm = given.pop("vm")
    limits = {name: None if value == "none" else value for name, value in given.items() if value is not None}
    if not limits:
        parser.error("which limit?")
    with _connect() as client:
        client.call("set", vm=vm, limits=limits)
    return 0


def top(arguments: list[str]) -> int:
    parser = Parser(
        "top",
        "The dashboard of the fleet that is up (? there explains the keys). When stdout is no terminal: a picture.",
        "  sandbox top\n  sandbox top --once --svg fleet.svg --size 120x40\n  sandbox top --once --json | jq .host",
    )
    parser.add_argument("--read-only", action="store_true", help="look, but change nothing")
    parser.add_argument("--once", action="store_true", help="one picture, then end")
    parser.add_argument("--svg", metavar="FILE", help="with --once: as SVG")
    parser.add_argument("--html", metavar="FILE", help="with --once: as HTML")
    parser.add_argument("--size", metavar="COLSxROWS", help="of the picture; default: the terminal's")
    parser.add_argument("--tab", metavar="PANEL", default="console", help="which panel is open")
    parser.json_option()
    given = parser.parse_args(arguments)

    from sandbox.dashboard.remote import Remote

    with _connect() as client:
        source = Remote(client, given.read_only)
        try:
            if given.once or given.json or given.svg or given.html or not sys.stdout.isatty():
                from sandbox.cli.picture import take

                return take(source, given, "", warm_up=1.2)
            from sandbox.dashboard.app import run
            from sandbox.dashboard.interface import Interface

            return run(source, Interface(tab=given.tab))
        finally:
            with contextlib.suppress(SandboxError):  # the service has gone
                source.close()
