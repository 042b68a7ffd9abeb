"""`sandbox doctor`: what is built, what the host offers, what is missing and how to get it.

Each check is a row: what it looks at, how it stands, what was found, and what to do. Nothing is changed and
nothing is sent anywhere. Exit status 0 when everything that the sandbox needs is there, 1 otherwise.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata

from sandbox.cli.listing import show_json
from sandbox.cli.options import Parser
from sandbox.errors import SandboxError

GOOD, OPTIONAL, BAD = "ok", "optional", "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    subject: str
    status: str  # GOOD; OPTIONAL: something more is possible; BAD: the sandbox cannot work without it
    found: str
    advice: str = ""


def doctor(arguments: list[str]) -> int:
    parser = Parser(
        "doctor",
        "What is built, what the host offers, what is missing and how to get it.",
        "  sandbox doctor\n  sandbox doctor --json | jq '.[] | select(.status != \"ok\")'",
    )
    parser.json_option()
    given = parser.parse_args(arguments)
    findings = examine()
    if given.json:
        show_json([asdict(finding) for finding in findings])
    else:
        width = max(len(finding.subject) for finding in findings)
        for finding in findings:
            print(f"{finding.status:<9} {finding.subject:<{width}}  {finding.found}")
            if finding.advice:
                print(f"{'':<{width + 11}} {finding.advice}")
        missing = sum(finding.status == BAD for finding in findings)
        print(f"\n{missing} missing" if missing else "\neverything that the sandbox needs is there")
    return int(any(finding.status == BAD for finding in findings))


def examine() -> list[Finding]:
    findings: list[Finding] = []
    for check in CHECKS:
        try:
            findings += check()
        except Exception as error:  # a doctor does not faint
            findings.append(Finding(check.__name__.strip("_"), BAD, f"{type(error).__name__}: {error}"))
    return findings


def _python() -> list[Finding]:
    version = platform.python_version()
    old = sys.version_info < (3, 11)
    return [Finding("Python", BAD if old else GOOD, version, "the sandbox needs 3.11 or later" if old else "")]


_PACKAGES = (
    ("unicorn", "runs the guests"),
    ("capstone", "disassembles"),
    ("keystone-engine", "assembles"),
    ("rich", "draws the dashboard"),
    ("zstandard", "compresses snapshots and archives"),
)
_TESTED_UNICORN = "2.1.4"


def _packages() -> list[Finding]:
    findings = []
    for name, purpose in _PACKAGES:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            findings.append(Finding(name, BAD, f"not installed; it {purpose}", f"pip install {name}"))
            continue
        other = name == "unicorn" and version != _TESTED_UNICORN
        advice = f"the sandbox is made and measured for {_TESTED_UNICORN}" if other else ""
        findings.append(Finding(name, OPTIONAL if other else GOOD, f"{version}, {purpose}", advice))
    return findings


def _engine() -> list[Finding]:
    from sandbox.engine import ISAS, accelerator, engine_kind

    chosen = os.environ.get("SANDBOX_ENGINE", "")
    try:
        library = accelerator()
    except SandboxError as error:
        return [Finding("accelerator", BAD, str(error), "unset SANDBOX_ENGINE, or build it: see below")]
    if library is not None:
        found = [Finding("accelerator", GOOD, f"built: {library.path}")]
    elif chosen == "python":
        found = [Finding("accelerator", OPTIONAL, "not used: SANDBOX_ENGINE=python", "unset it for full speed")]
    else:
        compiler = next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
        advice = "reinstall the package: " if compiler else "install a C compiler (apt-get install gcc), then "
        found = [
            Finding(
                "accelerator",
                OPTIONAL,
                "not built: the twin in Python does its work, several times slower",
                advice + "pip install --force-reinstall --no-deps unicorn-sandbox (-e . in a checkout)",
            )
        ]
    return [*found, Finding("engine", GOOD, f"{engine_kind()}; ISAs: {', '.join(ISAS)}")]


def _host() -> list[Finding]:
    system = platform.system()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    findings = [
        Finding(
            "host",
            GOOD if system == "Linux" else BAD,
            f"{system} {platform.release()} on {platform.machine()}",
            "" if system == "Linux" else "only Linux hosts are supported",
        ),
        Finding("cores", GOOD, f"{usable} usable"),
        _memory(),
        _executable_memory(),
    ]
    return findings


def _memory() -> Finding:
    fields: dict[str, int] = {}
    with open("/proc/meminfo", encoding="ascii", errors="replace") as file:
        for row in file:
            name, _, rest = row.partition(":")
            words = rest.split()
            if words and words[0].isdigit():
                fields[name] = int(words[0]) << 10
    available, total = fields.get("MemAvailable", 0), fields.get("MemTotal", 0)
    low = available < 512 << 20
    return Finding(
        "memory",
        OPTIONAL if low else GOOD,
        f"{available >> 20} MiB available of {total >> 20}",
        "give the sandbox less with --memory, or close something" if low else "",
    )


def _executable_memory() -> Finding:
    """Unicorn translates guest code into pages that are writable and executable."""
    import mmap

    try:
        mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
    except OSError as error:
        return Finding(
            "executable memory",
            BAD,
            f"refused: {error.strerror}",
            "a security policy (SELinux execmem, systemd MemoryDenyWriteExecute) forbids it to this process",
        )
    return Finding("executable memory", GOOD, "allowed")


def _terminal() -> list[Finding]:
    from sandbox.dashboard.palette import ASCII, look_for

    if not sys.stdout.isatty():
        return [Finding("terminal", OPTIONAL, "stdout is no terminal", "the dashboard prints a summary table instead")]
    columns, rows = shutil.get_terminal_size()
    colors = "no colours (NO_COLOR)" if os.environ.get("NO_COLOR") else os.environ.get("TERM", "no TERM")
    signs = "ASCII only" if look_for().signs is ASCII else "Unicode"
    small = columns < 80 or rows < 24
    return [
        Finding(
            "terminal",
            OPTIONAL if small else GOOD,
            f"{columns}x{rows}, {colors}, {signs}",
            "the dashboard is at its best from 80x24 on" if small else "",
        )
    ]


_TOOLS = (
    ("riscv64-linux-gnu-as", "assembles riscv64 sources of your own", "apt-get install binutils-riscv64-linux-gnu"),
    ("qemu-aarch64", "what guests of other ISAs are compared with in tests", "apt-get install qemu-user"),
)


def _tools() -> list[Finding]:
    findings = []
    for name, purpose, advice in _TOOLS:
        path = shutil.which(name) or shutil.which(f"{name}-static")
        if path:
            findings.append(Finding(name, GOOD, f"{path}; {purpose}"))
        else:
            findings.append(Finding(name, OPTIONAL, f"not there; {purpose}", advice))
    return findings


def _home() -> list[Finding]:
    """Where images, volumes and sockets live: SANDBOX_HOME, or the XDG directories."""
    given = os.environ.get("SANDBOX_HOME")
    place = given or os.path.join(os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share"), "sandbox")
    parent = place
    while not os.path.exists(parent) and os.path.dirname(parent) != parent:
        parent = os.path.dirname(parent)
    if os.access(parent, os.W_OK):
        return [Finding("home", GOOD, f"{place}{'' if os.path.exists(place) else ' (made when it is needed)'}")]
    return [Finding("home", OPTIONAL, f"{place} cannot be written", "set SANDBOX_HOME for volumes and images")]


CHECKS: tuple[Callable[[], list[Finding]], ...] = (_python, _packages, _engine, _host, _terminal, _tools, _home)
