"""`sandbox run`: one program in one VM, in the foreground, with the caller's standard streams."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import IO, TYPE_CHECKING

from sandbox.cli.options import (
    ARCHES,
    Parser,
    assignment,
    count,
    positive,
    scratch,
    seconds,
    size,
    user,
    volume,
)
from sandbox.errors import ConfigurationError

if TYPE_CHECKING:
    from sandbox.hypervisor import Hypervisor
    from sandbox.vm import VM

_BESIDE = 256 << 20  # bytes of the pool beside the VM's own: page cache, room to reclaim
_EXAMPLES = """\
  sandbox run hello                                     a guest that comes with the package
  sandbox run --stats ./hello.s                         assemble and run, figures at the end
  echo hi | sandbox run ./program arg                   a static ELF program of any of the five ISAs
  sandbox run --rootfs / /bin/ls -l /etc                a dynamic one, which may read your files
  sandbox run --rootfs DIR /bin/busybox ls -l /         in a root filesystem, which is never written
  sandbox run --rootfs root.tar -v ./data:/data:ro sh -c 'wc -c /data/*'
  sandbox run -t --rootfs DIR /bin/bash                 by hand: job control, line editing, vi
  sandbox run --memory 64M --timeout 5 --cpus 0.5 --trace=calls.txt ./suspicious
  sandbox run --deterministic --seed 7 ./program        the same output and trace every time
exit status: the guest's own; 128+n when signal n killed it; 124 on timeout; 125 when the sandbox
itself failed; 126 not executable; 127 not found."""


def parser() -> Parser:
    made = Parser(
        "run",
        "Run one program in a virtual machine of its own; its standard streams are yours.\n"
        "PROGRAM is a .s file (x86 in Intel syntax; `# arch: NAME` in its first lines says which ISA),\n"
        "a static ELF program on the host, a guest that comes with the package, or, with --rootfs, a path\n"
        "or a name on PATH in the guest: dynamic programs need one. All that follows it is the guest's.",
        _EXAMPLES,
        usage="sandbox run [options] PROGRAM [ARG ...]",
    )
    made.add_argument("--arch", choices=ARCHES, help="default: from the program")
    made.add_argument("--board", metavar="NAME", help="a bare-metal board instead of Linux; sandbox boards lists them")
    root = made.add_argument_group("files")
    root.add_argument("--rootfs", metavar="DIR|TAR", help="read-only base; the VM writes to a private layer over it")
    root.add_argument("-v", "--volume", action="append", type=volume, default=[], metavar="SRC:GUEST[:ro|rw]",
                      help="SRC with a slash is a host directory, without one a volume's name")  # fmt: skip
    root.add_argument("--tmpfs", action="append", type=scratch, default=[], metavar="GUEST[:SIZE]",
                      help="an empty directory in memory")  # fmt: skip
    inside = made.add_argument_group("inside")
    inside.add_argument("-e", "--env", action="append", type=assignment, default=[], metavar="K=V",
                        help="environment variable; K alone: as it is here")  # fmt: skip
    inside.add_argument("-w", "--workdir", metavar="DIR", help="default: /")
    inside.add_argument("--hostname", metavar="NAME", help="default: sandbox")
    inside.add_argument("--user", type=user, metavar="UID[:GID]", help="default: 0")
    inside.add_argument("-t", "--tty", action="store_true", help="a terminal: yours, all keys go to the guest")
    limits = made.add_argument_group("limits")
    limits.add_argument("--memory", type=size, metavar="SIZE", default=256 << 20, help="default: 256M")
    limits.add_argument("--timeout", type=seconds, metavar="S", help="seconds, or 250ms; ends with 124")
    limits.add_argument("--cpus", type=positive, metavar="F", help="at most this part of a core")
    limits.add_argument("--weight", type=count, metavar="N", help="share beside other VMs")
    limits.add_argument("--max-tasks", type=count, metavar="N", help="processes and threads")
    limits.add_argument("--max-files", type=count, metavar="N", help="open files")
    limits.add_argument("--disk", type=size, metavar="SIZE", help="what it may write")
    looking = made.add_argument_group("looking")
    looking.add_argument("--stats", action="store_true", help="figures as JSON on stderr at the end")
    looking.add_argument("--trace", nargs="?", const="-", metavar="FILE",
                         help="system calls, strace-like, to stderr; --trace=FILE: to a file")  # fmt: skip
    looking.add_argument("--dashboard", action="store_true", help="watch it in the dashboard; its output goes there")
    looking.add_argument("--deterministic", action="store_true", help="same input, same output, same trace")
    looking.add_argument("--seed", metavar="N", help="of a deterministic run; default: 0")
    return made


def run(arguments: list[str]) -> int:
    made = parser()
    ours, words = made.divide(arguments)
    given = made.parse_args(ours)
    if not words:
        made.error("which program?")
    if given.seed is not None and not given.deterministic:
        made.error("--seed is for --deterministic runs")

    from sandbox.cli.foreground import Ended, Foreground
    from sandbox.hypervisor import Hypervisor

    if given.dashboard and (given.deterministic or given.trace):
        made.error("--dashboard goes with neither --deterministic nor --trace: it has its own panel of system calls")
    if given.board and given.trace:
        made.error("--trace shows system calls, and a board makes none")
    if given.tty and (given.deterministic or given.dashboard):
        made.error("--tty goes with neither --deterministic nor --dashboard")
    if given.tty and given.trace == "-" and sys.stderr.isatty():
        made.error("--trace would write over what the guest shows: --trace=FILE, or 2>FILE")
    if given.tty and not sys.stdin.isatty():
        raise ConfigurationError("--tty needs a terminal, and standard input is none")
    trace = _open_trace(given.trace)
    pool = given.memory + _BESIDE
    with Hypervisor(memory=pool, deterministic=given.deterministic, seed=given.seed or 0) as hypervisor:
        vm = _create(hypervisor, given, words)
        if trace is not None:
            vm.trace(_tracer(trace))
        if given.dashboard:
            return _watch(hypervisor, vm)
        with Foreground(hypervisor, vm) as foreground:
            interrupted = True
            try:
                vm.start()
                status = foreground.wait()
                interrupted = False
            except Ended as signal:
                status = 128 + signal.number
            except KeyboardInterrupt:
                status = 130
        if vm.lifecycle.ended and not interrupted:
            _explain(vm, status)
        if trace is not None:
            trace.flush()
        if given.stats:
            _print_stats(vm, status)
    return status


def _watch(hypervisor: Hypervisor, vm: VM) -> int:
    """In the dashboard; leaving it ends the VM."""
    from sandbox.dashboard.app import run as run_dashboard
    from sandbox.dashboard.collector import Collector

    if not sys.stdout.isatty():
        raise ConfigurationError("the dashboard needs a terminal")
    vm.start()
    collector = Collector(hypervisor)
    try:
        status = run_dashboard(collector)
    finally:
        collector.close()
    if not vm.lifecycle.ended:
        return status or 130
    _explain(vm, vm.exit_status or 0)
    return status or vm.exit_status or 0


def _create(hypervisor: Hypervisor, given: argparse.Namespace, words: list[str]) -> VM:
    options = {
        "arch": given.arch,
        "rootfs": given.rootfs,
        "board": given.board,
        "volumes": [f"{source}:{path}:{'ro' if read_only else 'rw'}" for source, path, read_only in given.volume],
        "tmpfs": [path if limit is None else f"{path}:{limit}" for path, limit in given.tmpfs],
        "tty": given.tty,
        "env": {**_default_environment(), **dict(filter(None, given.env))},
        "cwd": given.workdir,
        "hostname": given.hostname,
        "user": given.user,
        "memory": given.memory,
        "timeout": given.timeout,
        "cpus": given.cpus,
        "weight": given.weight,
        "max_tasks": given.max_tasks,
        "max_files": given.max_files,
        "disk": given.disk,
    }
    return hypervisor.create("run", words, **options)


def _default_environment() -> dict[str, str]:
    """What a guest has anyway: -e adds to it."""
    from sandbox.vm.configuration import DEFAULT_ENVIRONMENT

    return {os.fsdecode(name): os.fsdecode(value) for name, value in DEFAULT_ENVIRONMENT.items()}


def _open_trace(name: str | None) -> IO[str] | None:
    if name is None:
        return None
    if name == "-":
        return sys.stderr
    try:
        return open(name, "w", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{name} cannot be written: {error.strerror}") from None


def _tracer(file: IO[str]) -> Callable[[str], None]:
    def write(line: str) -> None:
        file.write(line + "\n")
        if file is sys.stderr:
            file.flush()

    return write


def _explain(vm: VM, status: int) -> None:
    """Why it ended, when it did not end by itself."""
    from sandbox.cli import complain

    if vm.crash is not None:
        print(vm.crash, file=sys.stderr)
    if vm.reason:
        complain(vm.reason)


def _print_stats(vm: VM, status: int) -> None:
    import json

    figures = {"status": status, "reason": vm.reason, "arch": vm.isa_name, **vm.stats.as_dict()}
    print(json.dumps(figures, indent=2), file=sys.stderr)
