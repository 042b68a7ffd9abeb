"""Fleet files: many VMs described in TOML.

    [fleet]                      # options of the hypervisor; all may be left out
    cores = 2
    memory = "2G"

    [vm.db]
    program = ["./db.s"]         # relative to this file; or the name of a guest that comes with the package
    restart = "on-failure"

    [vm.web]
    program = "./web.s 8080"
    count = 3                    # web-1, web-2, web-3
    depends-on = ["db"]          # started after it; {db = "finished"}: after it has ended with status 0
    weight = 2
    env = {PORT = "8080"}

Every option of `Hypervisor.create` is a key (with `-` or `_`), checked by the same table. Mistakes are
ConfigurationErrors that begin with file, line and key. Neighbours: hypervisor below; control above.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from sandbox.errors import ConfigurationError, LoadError, SandboxError, StateError
from sandbox.events import Event, Note
from sandbox.guests import meant
from sandbox.hypervisor import Hypervisor
from sandbox.quantity import parse_size
from sandbox.vm import OPTIONS, VM, VmConfig, configure, parse_option

LARGEST_FILE = 1 << 20
MOST_COPIES = 100_000
CONDITIONS = ("started", "finished")
HYPERVISOR_KEYS = ("cores", "memory", "deterministic", "seed", "policy", "quantum", "engine_mode", "isolation")


@dataclass(frozen=True, slots=True)
class Member:
    """One VM of a fleet. `depends` maps names of other members to a condition."""

    config: VmConfig
    depends: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fleet:
    path: str
    options: dict[str, Any]
    members: tuple[Member, ...]  # in an order in which they can be started

    def hypervisor(self, **overrides: Any) -> Hypervisor:
        return Hypervisor(**{**self.options, **overrides})


def load_fleet(path: str | os.PathLike[str]) -> Fleet:
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigurationError(f"{name}: {(error.strerror or 'cannot be read').lower()}") from None
    if len(data) > LARGEST_FILE:
        raise ConfigurationError(f"{name}: larger than {LARGEST_FILE} bytes, which no fleet needs")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{name}: is not UTF-8 text") from None
    return parse_fleet(text, name, Path(path).parent)


def parse_fleet(text: str, name: str = "fleet", directory: Path | None = None) -> Fleet:
    """`directory` is what relative paths are relative to."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line ([0-9]+)", str(error))
        line = int(found[1]) if found else len(text.splitlines())
        raise ConfigurationError(f"{name}:{line}: {error}") from None
    except RecursionError:
        raise ConfigurationError(f"{name}: nested too deeply") from None
    return _Reader(text, name, directory or Path()).read(document)


class _Reader:
    def __init__(self, text: str, name: str, directory: Path) -> None:
        self._lines = _key_lines(text)
        self._name = name
        self._directory = directory

    def read(self, document: dict[str, Any]) -> Fleet:
        for key in document:
            if key not in ("fleet", "vm"):
                raise self._error((key,), f"there is no {key!r} here; a file has [fleet] and [vm.NAME]")
        options = self._hypervisor_options(self._table(document, ("fleet",)))
        members: dict[str, Member] = {}
        groups: dict[str, list[str]] = {}
        wishes: dict[str, dict[str, str]] = {}
        for name, table in self._table(document, ("vm",)).items():
            if not isinstance(table, dict):
                raise self._error(("vm", name), "is a table: [vm.NAME]")
            groups[name] = []
            for config in self._configurations(name, table):
                if config.name in members:
                    raise self._error(("vm", name), f"there are two VMs named {config.name}")
                members[config.name] = Member(config)
                groups[name].append(config.name)
            wishes[name] = self._dependencies(name, table)
        if not members:
            raise ConfigurationError(f"{self._name}: there is no VM in it: add a table [vm.NAME]")
        return Fleet(self._name, options, self._ordered(members, groups, wishes))

    def _hypervisor_options(self, table: dict[str, Any]) -> dict[str, Any]:
        options: dict[str, Any] = {}
        for key, value in table.items():
            option = key.replace("-", "_")
            if option not in HYPERVISOR_KEYS:
                raise self._unknown(("fleet", key), option, HYPERVISOR_KEYS)
            if option == "memory":
                try:
                    parse_size(value, key)
                except ConfigurationError as error:
                    raise self._error(("fleet", key), str(error)) from None
            options[option] = value
        return options

    def _configurations(self, name: str, table: dict[str, Any]) -> list[VmConfig]:
        given: dict[str, Any] = {}
        for key, value in table.items():
            option = key.replace("-", "_")
            if option in ("count", "depends_on"):
                continue
            if option not in OPTIONS:
                raise self._unknown(("vm", name, key), option, (*OPTIONS, "count", "depends-on"))
            try:
                parse_option(option, value)
            except ConfigurationError as error:
                raise self._error(("vm", name, key), str(error)) from None
            given[option] = value
        try:
            self._make_absolute(given)
        except LoadError as error:
            raise self._error(("vm", name, "program"), str(error)) from None
        count = table.get("count")
        if count is not None and (
            isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST_COPIES
        ):
            raise self._error(("vm", name, "count"), f"is a number from 1 to {MOST_COPIES}, not {count!r}")
        names = [name] if count is None else [f"{name}-{number}" for number in range(1, count + 1)]
        try:
            return [configure(each, **given) for each in names]
        except ConfigurationError as error:
            raise self._error(("vm", name), str(error)) from None

    def _make_absolute(self, given: dict[str, Any]) -> None:
        """Host paths are relative to the file."""
        if "rootfs" in given:
            given["rootfs"] = str(self._directory / given["rootfs"])
        elif given.get("program"):
            words = list(parse_option("program", given["program"])[1])
            first = os.fsdecode(words[0])
            path = self._directory / first
            if path.exists() or "/" in first or first.endswith(".s"):
                words[0] = os.fsencode(path)
            else:
                guest = meant(first, given.get("arch"), given.get("board"))
                words[0] = os.fsencode(guest.path) if guest is not None else words[0]
            given["program"] = words
        if "volumes" in given:
            given["volumes"] = [
                self._beside(volume) if volume.startswith(".") else volume for volume in given["volumes"]
            ]

    def _beside(self, volume: str) -> str:
        """With a slash in any case: without one it would be a volume's name."""
        path = str(self._directory / volume)
        return path if path.startswith(("/", ".")) else f"./{path}"

    def _dependencies(self, name: str, table: dict[str, Any]) -> dict[str, str]:
        key = "depends_on" if "depends_on" in table else "depends-on"
        value = table.get(key, [])
        if isinstance(value, list):
            value = dict.fromkeys((str(each) for each in value), "started")
        if not isinstance(value, dict):
            raise self._error(("vm", name, key), "is a list of names, or a table of name = condition")
        for other, condition in value.items():
            if condition not in CONDITIONS:
                raise self._error(("vm", name, key), f"{other}: a condition is one of {', '.join(CONDITIONS)}")
        return value

    def _ordered(
        self, members: dict[str, Member], groups: dict[str, list[str]], wishes: dict[str, dict[str, str]]
    ) -> tuple[Member, ...]:
        graph: dict[str, set[str]] = {name: set() for name in members}
        depends: dict[str, dict[str, str]] = {name: {} for name in members}
        for group, wish in wishes.items():
            for other, condition in wish.items():
                targets = groups.get(other) or ([other] if other in members else [])
                if not targets:
                    raise self._error(("vm", group, "depends-on"), f"there is no VM named {other!r}")
                for name in groups[group]:
                    graph[name].update(targets)
                    depends[name].update(dict.fromkeys(targets, condition))
        try:
            order = list(TopologicalSorter(graph).static_order())
        except CycleError as error:
            circle = " -> ".join(error.args[1])
            raise self._error(("vm", error.args[1][0], "depends-on"), f"goes in a circle: {circle}") from None
        return tuple(Member(members[name].config, depends[name]) for name in order)

    def _table(self, document: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        value = document.get(path[0], {})
        if not isinstance(value, dict):
            raise self._error(path, "is a table")
        return value

    def _unknown(self, path: tuple[str, ...], option: str, known: tuple[str, ...]) -> ConfigurationError:
        near = difflib.get_close_matches(option, known, 1)
        return self._error(path, "there is no such key" + (f"; do you mean {near[0]!r}?" if near else ""))

    def _error(self, path: tuple[str, ...], sentence: str) -> ConfigurationError:
        line = next((self._lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self._lines), 1)
        return ConfigurationError(f"{self._name}:{line}: {'.'.join(path)}: {sentence}")


_HEADER = re.compile(r"\s*\[\[?\s*(?P<key>[^\]]+?)\s*\]\]?\s*(#.*)?")
_ENTRY = re.compile(
    r"""\s*(?P<key>(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""
)
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")


def _key_lines(text: str) -> dict[tuple[str, ...], int]:
    """The line on which each key stands. tomllib does not tell; good enough for messages: keys inside inline tables
    are found by the key before them."""
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    inside: str | None = None  # the quotes of a string that goes over lines
    for number, line in enumerate(text.splitlines(), 1):
        if inside is not None:
            if line.count(inside) % 2:
                inside = None
            continue
        header, entry = _HEADER.fullmatch(line), _ENTRY.match(line)
        if entry is not None:
            lines.setdefault(table + _parts(entry["key"]), number)
        elif header is not None:
            table = _parts(header["key"])
            for end in range(1, len(table) + 1):
                lines.setdefault(table[:end], number)
        inside = next((quotes for quotes in ('"""', "'''") if line.count(quotes) % 2), None)
    return lines


def _parts(key: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _PART.findall(key))


def launch(fleet: Fleet, hypervisor: Hypervisor) -> list[VM]:
    """Create all members, then start them: those that wait for others when these are ready. When one cannot be
    made, none is left; when one cannot be started, it is the caller's to close the hypervisor."""
    vms: dict[str, VM] = {}
    try:
        for member in fleet.members:
            vms[member.config.name] = hypervisor.create_from(member.config)
    except SandboxError:
        for vm in vms.values():
            vm.remove(force=True)
        raise
    _Launch(fleet, hypervisor, vms).begin()
    return list(vms.values())


def unstarted(fleet: Fleet, hypervisor: Hypervisor) -> dict[str, str]:
    """The members that have never been started, and what they wait for; without those that could not be."""
    found = {}
    for member in fleet.members:
        with contextlib.suppress(StateError), hypervisor.enter():  # removed
            vm = hypervisor.vm(member.config.name)
            if vm.state == "created" and vm.reason is None:
                others = (f"{other} to be {condition}" for other, condition in member.depends.items())
                found[vm.name] = f"it waited for {', '.join(others)}"
    return found


class _Launch:
    """Starts members as their conditions become true; listens to events until all have been started."""

    def __init__(self, fleet: Fleet, hypervisor: Hypervisor, vms: dict[str, VM]) -> None:
        self._hypervisor = hypervisor
        self._vms = vms
        self._waiting = {member.config.name: dict(member.depends) for member in fleet.members}
        self._names = {vm.identity: name for name, vm in vms.items()}
        self._forget: Callable[[], None] = lambda: None

    def begin(self) -> None:
        with self._hypervisor.enter():
            self._forget = self._hypervisor.observe(self._hear)
            try:
                self._start_ready(at_once=True)
            except SandboxError:
                self._forget()
                raise

    def _hear(self, event: Event) -> None:
        if event.kind == "started":
            self._fulfil(event.vm, "started")
        elif event.kind == "stopped" and getattr(event.record, "status", 1) == 0:
            self._fulfil(event.vm, "finished")

    def _fulfil(self, name: str, condition: str) -> None:
        met = False
        for depends in self._waiting.values():
            if depends.get(name) == condition:
                del depends[name]
                met = True
        if met:
            self._start_ready()

    def _start_ready(self, at_once: bool = False) -> None:
        """`at_once`: while somebody waits, who is told of a VM that cannot be started; later it is a note."""
        for name in [name for name, depends in self._waiting.items() if not depends]:
            if name not in self._waiting:
                continue  # started from within the loop: starting one may make others ready
            del self._waiting[name]
            vm = self._vms[name]
            try:
                if vm.state == "created":
                    vm.start()
            except SandboxError as error:
                if at_once:
                    raise
                vm.reason = f"it cannot be started: {error}"
                self._hypervisor.log.record(vm.name, Note("fleet", vm.reason))
        if not self._waiting:
            self._forget()
