"""Who runs a program: this package in its modes, stock Unicorn, Qiling, qemu-user and the host itself.

Peers that live in a Python process run in a child of their own, which executes all jobs of a figure and times each
from the creation of the machine to its end; qemu-user and native are timed around their process. Every peer's output
is compared: a figure of a program that went wrong would be worth nothing.

Seconds are those of the wall clock, or with `--clock cpu` those of CPU time, which other work on the machine disturbs
less but which do not show waiting.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).parent.parent
PROGRAMS = Path(__file__).parent / "programs"
ISAS = ("x86_64", "i386", "arm64", "arm", "riscv64")
QEMU = {
    "x86_64": "qemu-x86_64",
    "i386": "qemu-i386",
    "arm64": "qemu-aarch64",
    "arm": "qemu-arm",
    "riscv64": "qemu-riscv64",
}
NATIVE = {"x86_64": ("x86_64", "i386"), "aarch64": ("arm64",), "riscv64": ("riscv64",)}
CHILD_TIMEOUT = 1200.0
CLOCK = "BENCHMARK_CLOCK"  # in the environment, so that child processes measure alike


@dataclass(frozen=True)
class Job:
    isa: str
    program: str  # a name below programs/ISA
    arguments: tuple[str, ...]

    @property
    def path(self) -> Path:
        return PROGRAMS / self.isa / self.program


@dataclass(frozen=True)
class Measurement:
    seconds: float  # the minimum of the runs
    output: str


class NotMeasured(Exception):
    """The peer is not here or cannot run the program; the message says why."""


class Peer(Protocol):
    name: str

    def measure(self, jobs: Sequence[Job], runs: int) -> list[Measurement]:
        """One measurement a job, in order. Raises NotMeasured."""


def wall_clock() -> bool:
    return os.environ.get(CLOCK, "wall") == "wall"


def children_seconds() -> float:
    """A clock for what runs in child processes, read before and after."""
    if wall_clock():
        return time.perf_counter()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def own_seconds() -> float:
    """The same for what runs in this process."""
    return time.perf_counter() if wall_clock() else time.process_time()


@dataclass
class Process:
    """Runs the ELF file as a process of the host: natively, or under qemu-user."""

    name: str
    through_qemu: bool

    def measure(self, jobs: Sequence[Job], runs: int) -> list[Measurement]:
        return [self._measure(job, runs) for job in jobs]

    def _measure(self, job: Job, runs: int) -> Measurement:
        command = [str(job.path), *job.arguments]
        if self.through_qemu:
            qemu = shutil.which(QEMU[job.isa])
            if qemu is None:
                raise NotMeasured(f"{QEMU[job.isa]} is not installed")
            command.insert(0, qemu)
        elif job.isa not in NATIVE.get(platform.machine(), ()):
            raise NotMeasured("not an ISA of the host")
        best, output = float("inf"), ""
        for _ in range(runs):
            started = children_seconds()
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=CHILD_TIMEOUT, check=True)
            except (OSError, subprocess.SubprocessError) as error:
                raise NotMeasured(str(error)) from error
            best, output = min(best, children_seconds() - started), done.stdout
        return Measurement(best, output)


@dataclass
class Child:
    """Runs all jobs in one Python process: `interpreter -m module` reads jobs and writes measurements as JSON."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)

    def measure(self, jobs: Sequence[Job], runs: int) -> list[Measurement]:
        request = {"runs": runs, "jobs": [{"isa": job.isa, "argv": [str(job.path), *job.arguments]} for job in jobs]}
        try:
            done = subprocess.run(
                self.command,
                input=json.dumps(request),
                capture_output=True,
                text=True,
                cwd=ROOT,
                env={**os.environ, **self.environment},
                timeout=CHILD_TIMEOUT,
                check=False,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise NotMeasured(str(error)) from error
        if done.returncode:
            raise NotMeasured((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
        return [Measurement(item["seconds"], item["output"]) for item in json.loads(done.stdout.splitlines()[-1])]


def serve(run: object) -> None:
    """The child's side: read the request on stdin, call `run(isa, argv) -> bytes` and print the measurements."""
    assert callable(run)
    request = json.load(sys.stdin)
    first = request["jobs"][0]
    run(first["isa"], first["argv"])  # what is imported when it is first used is nobody's figure
    results = []
    for job in request["jobs"]:
        best, output = float("inf"), b""
        for _ in range(request["runs"]):
            started = own_seconds()
            output = run(job["isa"], job["argv"])
            best = min(best, own_seconds() - started)
        results.append({"seconds": best, "output": output.decode("latin-1")})
    print(json.dumps(results))


def ours(name: str, *arguments: str, engine: str = "") -> Child:
    environment = {"SANDBOX_ENGINE": engine} if engine else {}
    return Child(name, [sys.executable, "-m", "benchmarks.ours", *arguments], environment)


OURS = "sandbox"  # free-running
EXACT = "sandbox, exact"
TWIN = "sandbox, twin"
STOCK = "stock Unicorn"
QEMU_USER = "qemu-user"
HOST = "native"
QILING = "Qiling"


def standard(qiling: str | None) -> list[Peer]:
    """The columns of every figure that runs a program."""
    peers: list[Peer] = [
        ours(OURS),
        ours(EXACT, "--exact"),
        Child(STOCK, [sys.executable, "-m", "benchmarks.stock"]),
        Process(QEMU_USER, through_qemu=True),
        Process(HOST, through_qemu=False),
    ]
    if qiling:
        peers.append(Child(QILING, [qiling, "-m", "benchmarks.with_qiling"]))
    return peers
