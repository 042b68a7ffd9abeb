"""What a VM is made from, as frozen plain data, and the one table of options.

`OPTIONS` names each option with the function that checks its value; `Hypervisor.create`, fleet files and the
control protocol use the same table, so an option is added in one place. `LIMITS` are those that can be changed
while the VM exists. Mistakes are ConfigurationErrors that name the option.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sandbox.errors import ConfigurationError
from sandbox.quantity import parse_duration, parse_size

ARCHES = ("x86_64", "i386", "arm64", "arm", "riscv64")
DEFAULT_ENVIRONMENT: dict[bytes, bytes] = {
    b"PATH": b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    b"HOME": b"/root",
}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


@dataclass(frozen=True, slots=True)
class Restart:
    """`mode`: never, on-failure (a status other than 0), always (unless the operator ended it)."""

    mode: str = "never"
    retries: int | None = None


@dataclass(frozen=True, slots=True)
class Volume:
    """`source` with a slash is a host directory or file, without one a volume's name."""

    source: str
    path: bytes
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class VmConfig:
    name: str
    program: tuple[bytes, ...] = ()
    arch: str | None = None
    rootfs: str | None = None
    board: str | None = None
    environment: tuple[tuple[bytes, bytes], ...] = tuple(DEFAULT_ENVIRONMENT.items())  # all of it, when given
    cwd: bytes = b"/"
    user: tuple[int, int] = (0, 0)
    hostname: bytes = b"sandbox"
    volumes: tuple[Volume, ...] = ()
    tmpfs: tuple[tuple[bytes, int | None], ...] = ()
    tty: bool = False  # a terminal for its standard streams
    memory: int = 256 << 20
    weight: int = 1
    cpus: float | None = None
    latency: str = "normal"
    period: int = 100_000_000  # nanoseconds; for the earliest-deadline policy
    max_tasks: int = 1024
    max_files: int = 4096
    disk: int | None = None  # bytes it may write to its root filesystem
    output: int | None = None  # bytes a second it may write to its console
    timeout: int | None = None  # nanoseconds from its start; then it is ended with 124
    cpu_timeout: int | None = None  # nanoseconds of CPU time; then it is ended with 137
    watchdog: int | None = None  # nanoseconds of CPU time without a system call; then it is ended with 137
    restart: Restart = Restart()
    grace: int = 10_000_000_000  # nanoseconds between being asked to stop and being killed
    dedicated: bool = False  # an engine of its own


def configure(name: str, program: Any = (), **options: Any) -> VmConfig:
    """Check everything; None means the default."""
    values: dict[str, Any] = {"name": check_name(name)}
    for option, value in {"program": program, **options}.items():
        if value is not None or option not in OPTIONS:
            field, parsed = parse_option(option, value)
            values[field] = parsed
    if not values.get("program") and not values.get("board"):
        raise ConfigurationError(f"{name}: what shall it run? program is missing")
    return VmConfig(**values)


def parse_option(option: str, value: Any) -> tuple[str, Any]:
    """(field of VmConfig, checked value)."""
    entry = OPTIONS.get(option)
    if entry is None:
        near = difflib.get_close_matches(str(option), OPTIONS, 1)
        raise ConfigurationError(f"there is no option {option!r}" + (f"; do you mean {near[0]!r}?" if near else ""))
    field, parse = entry
    return field, parse(value, option)


def change(config: VmConfig, limit: str, value: Any) -> VmConfig:
    """The configuration with one limit changed; None takes an optional limit away."""
    if limit not in OPTIONS and (near := difflib.get_close_matches(limit, LIMITS, 1)):
        raise ConfigurationError(f"there is no limit {limit!r}; do you mean {near[0]!r}?")
    if limit not in LIMITS:
        raise ConfigurationError(f"{limit!r} cannot be changed while a VM exists; what can: {', '.join(LIMITS)}")
    changed: dict[str, Any] = {OPTIONS[limit][0]: None}
    if value is not None or limit not in OPTIONAL:
        field, parsed = parse_option(limit, value)
        changed = {field: parsed}
    return replace(config, **changed)


# Values


def check_name(name: Any) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigurationError(f"a name is up to 63 letters, digits, '_', '.' and '-', not {name!r}")
    return name


def _text(value: Any, what: str) -> bytes:
    if isinstance(value, (str, os.PathLike)):
        value = os.fsencode(value)
    if not isinstance(value, bytes) or b"\0" in value:
        raise ConfigurationError(f"{what} is text without NUL, not {value!r}")
    return value


def _program(value: Any, what: str) -> tuple[bytes, ...]:
    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError as error:
            raise ConfigurationError(f"{what}: {error} in {value!r}") from None
    elif isinstance(value, (bytes, os.PathLike)):
        value = [value]
    if not isinstance(value, Iterable):
        raise ConfigurationError(f"{what} is a list of words, not {value!r}")
    words = tuple(_text(word, f"{what}: each word") for word in value)
    if words and not words[0]:
        raise ConfigurationError(f"{what}: the first word, the program, is empty")
    return words


def _arch(value: Any, what: str) -> str:
    if value not in ARCHES:
        raise ConfigurationError(f"{what} is one of {', '.join(ARCHES)}, not {value!r}")
    return str(value)


def _host_path(value: Any, what: str) -> str:
    return os.fsdecode(_text(value, what))


def _word(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{what} is a word, not {value!r}")
    return value


def _guest_path(value: Any, what: str) -> bytes:
    path = _text(value, what)
    if not path.startswith(b"/") or len(path) > 4095:
        raise ConfigurationError(f"{what} is an absolute path in the guest, not {value!r}")
    return path


def _environment(value: Any, what: str) -> tuple[tuple[bytes, bytes], ...]:
    pairs: list[tuple[Any, Any]]
    if isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        pairs = []
        for entry in value:
            name, equals, content = _text(entry, what).partition(b"=")
            if not equals:
                raise ConfigurationError(f"{what}: {entry!r} is not NAME=VALUE")
            pairs.append((name, content))
    else:
        raise ConfigurationError(f"{what} is a table or a list of NAME=VALUE, not {value!r}")
    checked = {}
    for name, content in pairs:
        variable = _text(name, f"{what}: a name")
        if not variable or b"=" in variable:
            raise ConfigurationError(f"{what}: {name!r} cannot be a variable's name")
        checked[variable] = _text(content, f"{what}: {name}")
    return tuple(checked.items())


def _user(value: Any, what: str) -> tuple[int, int]:
    numbers = str(value).split(":") if isinstance(value, (int, str)) and not isinstance(value, bool) else value
    try:
        uid, *rest = (int(number) for number in numbers)
    except (TypeError, ValueError):
        raise ConfigurationError(f"{what} is UID or UID:GID in numbers, not {value!r}") from None
    gid = rest[0] if rest else uid
    if len(rest) > 1 or not all(0 <= number < 2**32 - 1 for number in (uid, gid)):
        raise ConfigurationError(f"{what} is UID or UID:GID in numbers, not {value!r}")
    return uid, gid


def _hostname(value: Any, what: str) -> bytes:
    name = _text(value, what)
    if not 0 < len(name) <= 64:
        raise ConfigurationError(f"{what} has 1 to 64 characters, not {value!r}")
    return name


def _volumes(value: Any, what: str) -> tuple[Volume, ...]:
    return tuple(entry if isinstance(entry, Volume) else _volume(entry, what) for entry in _list(value, what))


def _volume(value: Any, what: str) -> Volume:
    text = _host_path(value, what)
    pieces = text.rsplit(":", 2) if text.endswith((":ro", ":rw")) else [*text.rsplit(":", 1), "rw"]
    if len(pieces) != 3 or not pieces[0]:
        raise ConfigurationError(f"{what} is written SOURCE:/PATH or SOURCE:/PATH:ro, not {value!r}")
    return Volume(pieces[0], _guest_path(pieces[1], what), pieces[2] == "ro")


def _tmpfs(value: Any, what: str) -> tuple[tuple[bytes, int | None], ...]:
    mounts = []
    for entry in _list(value, what):
        path, colon, size = _host_path(entry, what).partition(":")
        mounts.append((_guest_path(path, what), parse_size(size, what) if colon else None))
    return tuple(mounts)


def _list(value: Any, what: str) -> list[Any]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise ConfigurationError(f"{what} is a list, not {value!r}")
    return list(value)


def _switch(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{what} is true or false, not {value!r}")
    return value


def _memory(value: Any, what: str) -> int:
    size = parse_size(value, what)
    if size < 64 << 10:
        raise ConfigurationError(f"{what} is at least 64K, not {value!r}")
    return size


def _count(smallest: int, largest: int) -> Callable[[Any, str], int]:
    def parse(value: Any, what: str) -> int:
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not smallest <= value <= largest:
            raise ConfigurationError(f"{what} is a whole number from {smallest} to {largest}, not {value!r}")
        return value

    return parse


def _cpus(value: Any, what: str) -> float:
    try:
        cores = float(value)
    except (TypeError, ValueError):
        cores = 0.0
    if isinstance(value, bool) or not 0.001 <= cores <= 1024:
        raise ConfigurationError(f"{what} is a number of cores such as 0.5, not {value!r}")
    return cores


def _choice(*choices: str) -> Callable[[Any, str], str]:
    def parse(value: Any, what: str) -> str:
        if value not in choices:
            raise ConfigurationError(f"{what} is one of {', '.join(choices)}, not {value!r}")
        return str(value)

    return parse


def _restart(value: Any, what: str) -> Restart:
    if isinstance(value, Restart):
        return value
    mode, colon, count = str(value).partition(":")
    if mode not in ("never", "on-failure", "always") or (colon and not (mode == "on-failure" and count.isdigit())):
        raise ConfigurationError(f"{what} is never, on-failure, on-failure:N or always, not {value!r}")
    return Restart(mode, int(count[:9]) if colon else None)


def _engine(value: Any, what: str) -> bool:
    return _choice("shared", "dedicated")(value, what) == "dedicated"


# The table: option -> (field of VmConfig, its check)
OPTIONS: dict[str, tuple[str, Callable[[Any, str], Any]]] = {
    "program": ("program", _program),
    "arch": ("arch", _arch),
    "rootfs": ("rootfs", _host_path),
    "board": ("board", _word),
    "env": ("environment", _environment),
    "cwd": ("cwd", _guest_path),
    "user": ("user", _user),
    "hostname": ("hostname", _hostname),
    "volumes": ("volumes", _volumes),
    "tmpfs": ("tmpfs", _tmpfs),
    "tty": ("tty", _switch),
    "memory": ("memory", _memory),
    "weight": ("weight", _count(1, 10_000)),
    "cpus": ("cpus", _cpus),
    "latency": ("latency", _choice("normal", "interactive")),
    "period": ("period", parse_duration),
    "max_tasks": ("max_tasks", _count(1, 32_000)),
    "max_files": ("max_files", _count(3, 1_000_000)),
    "disk": ("disk", parse_size),
    "output": ("output", parse_size),
    "timeout": ("timeout", parse_duration),
    "cpu_timeout": ("cpu_timeout", parse_duration),
    "watchdog": ("watchdog", parse_duration),
    "restart": ("restart", _restart),
    "grace": ("grace", parse_duration),
    "engine": ("dedicated", _engine),
}

LIMITS = (
    "weight", "cpus", "latency", "memory", "max_tasks", "max_files", "disk", "output",
    "timeout", "cpu_timeout", "watchdog", "restart", "grace",
)  # fmt: skip
OPTIONAL = ("cpus", "disk", "output", "timeout", "cpu_timeout", "watchdog")
