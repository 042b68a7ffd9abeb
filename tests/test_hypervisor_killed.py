"""kill -9 of a service that has VMs, engines, an assembler, a locked volume: nothing is in the next one's way."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from sandbox.control import Client
from sandbox.errors import StateError
from sandbox.hypervisor.volumes import volume_store
from tests.test_cli_fleet import PATIENCE, Shell

FLEET = """
[fleet]
memory = "256M"
cores = 2
[vm.burner]
program = "spin.s"
count = 3
[vm.keeper]
program = "cat"
volumes = ["data:/data"]
engine = "dedicated"
"""
NAMES = ("burner-1", "burner-2", "burner-3", "keeper")
SPIN = "# arch: x86_64\n_start:\n        jmp _start\n"


def children_of(parent: int) -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == parent:
                found.add(int(entry.name))
    return found


def gone(process: int) -> bool:
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def eventually(found: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not found():
        assert time.monotonic() < end
        time.sleep(0.01)


def everyone_gone(family: set[int]) -> bool:
    return all(map(gone, family))


def nobody_is_up() -> bool:
    try:
        Client().close()
    except StateError as error:
        return "no fleet is up" in str(error)
    return False


def states(client: Client) -> dict[str, str]:
    return {row["name"]: row["state"] for row in client.call("ps")}


def test_a_killed_service_leaves_nothing_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Shell(tmp_path)
    shell.fleet.write_text(FLEET)
    (tmp_path / "spin.s").write_text(SPIN)
    monkeypatch.setenv("SANDBOX_HOME", shell.environment["SANDBOX_HOME"])
    volume_store().create("data", 1 << 20)
    services = []
    for kill in (True, False):
        up = shell("up", "fleet.toml", "--detach")
        assert up.returncode == 0, up.stderr
        with Client() as client:
            service = client.call("hello")["pid"]
            try:
                eventually(lambda: states(client) == dict.fromkeys(NAMES, "running"))
                family = {service, *children_of(service)}
                if not kill:
                    client.call("down")
            finally:
                if kill:
                    os.kill(service, signal.SIGKILL)
        services.append(service)
        eventually(partial(everyone_gone, family))
        eventually(nobody_is_up)  # a zombie's threads may still be dying
    assert services[0] != services[1]
