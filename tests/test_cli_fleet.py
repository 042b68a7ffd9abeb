"""A fleet from the command line: up, and everything that is done to it from another terminal."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.dashboard import sample, wire
from sandbox.dashboard.source import Done, Request, Wish
from sandbox.dashboard.view import View
from sandbox.errors import ConfigurationError
from tests.terminal import Terminal

ROOT = Path(__file__).parent.parent
PATIENCE = 120
FLEET = """
[fleet]
memory = "256M"
[vm.count]
program = ["counter", "0", "100000"]
count = 2
memory = "16M"
[vm.cat]
program = "cat"
memory = "16M"
"""


class Shell:
    """The command, with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.fleet = home / "fleet.toml"
        self.fleet.write_text(FLEET)
        self.environment = {**os.environ, "SANDBOX_HOME": str(home / "home"), "PYTHONPATH": str(ROOT)}
        (home / "home").mkdir()

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "sandbox", *arguments],
            capture_output=True, text=True, timeout=PATIENCE, cwd=self.home, env=self.environment, check=False,
        )  # fmt: skip

    def rows(self) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in json.loads(self("ps", "--json").stdout)}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def fleet(shell: Shell) -> Iterator[Shell]:
    done = shell("up", "fleet.toml", "--detach")
    assert done.returncode == 0, done.stderr
    yield shell
    assert shell("down").returncode == 0


def eventually(found: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not found():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def test_a_detached_fleet(fleet: Shell) -> None:
    assert list(fleet.rows()) == ["cat", "count-1", "count-2"] or set(fleet.rows()) == {"cat", "count-1", "count-2"}
    listed = fleet("ps").stdout.splitlines()
    assert listed[0].split()[:3] == ["NAME", "ARCH", "STATUS"] and len(listed) == 4
    eventually(lambda: "count 3\n" in fleet("logs", "count-1").stdout)
    assert fleet("logs", "--tail", "8", "count-1").stdout.count("\n") <= 2

    assert fleet("pause", "count-1", "count-2").returncode == 0
    assert {fleet.rows()[name]["state"] for name in ("count-1", "count-2")} == {"paused"}
    assert fleet("resume", "count-1").returncode == 0
    assert fleet("set", "count-1", "--weight", "7", "--cpus", "0.5").returncode == 0
    assert fleet.rows()["count-1"]["weight"] == 7 and fleet.rows()["count-1"]["cpus"] == 0.5
    assert fleet("set", "count-1", "--cpus", "none").returncode == 0
    assert fleet.rows()["count-1"]["cpus"] is None
    assert json.loads(fleet("inspect", "count-1").stdout)["config"]["weight"] == 7

    done = fleet("kill", "count-2", "nobody")
    assert done.returncode == 125 and "nobody" in done.stderr
    assert fleet.rows()["count-2"]["state"] == "stopped"
    assert fleet("rm", "count-2").returncode == 0
    assert "count-2" not in fleet.rows()
    assert fleet("rm", "count-1").returncode == 125
    assert fleet("stop", "count-1", "--grace", "1").returncode == 0
    assert fleet("start", "count-1").returncode == 0
    assert fleet.rows()["count-1"]["state"] == "running"
    assert fleet("up", "fleet.toml", "--detach").returncode == 125, "one at a time"


def test_top_of_a_fleet_elsewhere(fleet: Shell) -> None:
    picture = fleet("top", "--once", "--size", "120x30").stdout
    assert "count-1" in picture and len(picture.splitlines()) == 30
    view = json.loads(fleet("top", "--json").stdout)
    assert {row["name"] for row in view["rows"]} == {"cat", "count-1", "count-2"}
    environment = {"SANDBOX_HOME": fleet.environment["SANDBOX_HOME"]}
    with Terminal(["-m", "sandbox", "top"], 120, 40, **environment) as terminal:
        terminal.wait_for("count-2", PATIENCE)
        terminal.press("i")
        terminal.wait_for("typing into cat")
        terminal.press("typed-9036\r")
        terminal.wait_for("typed-9036")
        terminal.press("\x1d")
        terminal.press("j2")
        terminal.wait_for("rip")
        terminal.press(" ")
        terminal.wait_for("count-1 is paused")
        terminal.press("+")
        terminal.wait_for("weight of count-1: 2")
        terminal.press("u")
        terminal.wait_for("undone: weight of count-1: 1")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert terminal.is_restored()
    assert fleet.rows()["count-1"]["state"] == "paused"


def test_nothing_is_up(shell: Shell) -> None:
    for arguments in (["ps"], ["top"], ["down"], ["logs", "x"], ["kill", "x"]):
        done = shell(*arguments)
        assert done.returncode == 125
        assert "no fleet is up" in done.stderr and done.stderr.count("\n") == 1


def test_in_the_foreground(shell: Shell) -> None:
    shell.fleet.write_text('[vm.a]\nprogram = ["echo", "from a"]\n[vm.bcd]\nprogram = ["echo", "from b"]\n')
    done = shell("up", "fleet.toml")
    assert sorted(done.stdout.splitlines()) == ["a   | from a", "bcd | from b"], done.stderr
    assert done.returncode == 0


def test_a_failure_is_told(shell: Shell) -> None:
    shell.fleet.write_text('[vm.a]\nprogram = "wild"\n')
    done = shell("up", "fleet.toml")
    assert done.returncode == 1
    assert "a crashed with status 139: killed by SIGSEGV" in done.stderr


@pytest.mark.parametrize("way", [(), ("--detach",)])
def test_a_vm_that_cannot_be_started_is_told(shell: Shell, way: tuple[str, ...]) -> None:
    shell.fleet.write_text('[vm.a]\nprogram = "burner"\n[vm.b]\nprogram = "hello"\nvolumes = ["nosuch:/d"]\n')
    done = shell("up", "fleet.toml", *way)
    assert done.returncode == 125
    assert "there is no volume named nosuch" in done.stderr
    assert "no fleet is up" in shell("ps").stderr


DEPENDENTS = """
[vm.first]
program = ["{program}", "x"]
[vm.second]
program = "hello"
depends-on = {{first = "finished"}}
volumes = ["{volume}:/d"]
[vm.third]
program = "hello"
depends-on = ["second"]
"""


@pytest.mark.parametrize(
    ("program", "volume", "told"),
    [
        (
            "echo",
            "nosuch",
            [
                "second: it cannot be started: there is no volume named nosuch: "
                "'sandbox volume create nosuch --size 64M' makes it",
                "third was not started: it waited for second to be started",
            ],
        ),
        (
            "wild",
            "./here",
            [
                "first crashed with status 139: killed by SIGSEGV",
                "second was not started: it waited for first to be finished",
                "third was not started: it waited for second to be started",
            ],
        ),
    ],
    ids=["cannot be started", "waits in vain"],
)
def test_a_foreground_fleet_does_not_wait_for_what_never_starts(
    shell: Shell, program: str, volume: str, told: list[str]
) -> None:
    (shell.home / "here").mkdir()
    shell.fleet.write_text(DEPENDENTS.format(program=program, volume=volume))
    done = shell("up", "fleet.toml")
    assert done.returncode == 1
    assert [line.partition(": write at")[0] for line in done.stderr.splitlines()] == told


def test_dependents_that_start_are_waited_for(shell: Shell) -> None:
    (shell.home / "here").mkdir()
    shell.fleet.write_text(DEPENDENTS.format(program="echo", volume="./here"))
    done = shell("up", "fleet.toml")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(line.split()[0] for line in done.stdout.splitlines()) == ["first", "second", "third"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_fleet_in_the_foreground(shell: Shell, number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "sandbox", "up", "fleet.toml"],
        stdout=subprocess.PIPE, cwd=shell.home, env=shell.environment,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        assert process.wait(PATIENCE) == 128 + number
    assert "no fleet is up" in shell("ps").stderr


YES = """# arch: x86_64
_start: mov eax, 1
        mov edi, 1
        lea rsi, [rip + line]
        mov edx, 60
        syscall
        test eax, eax
        jns _start
        ud2
line:   .ascii "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\\n"
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("options", ["", "deterministic = true"], ids=["free", "deterministic"])
def test_a_reader_who_has_stopped_keeps_nobody_up(shell: Shell, number: signal.Signals, options: str) -> None:
    """The pipe is full; the fleet can be looked at all the same, and ends when it is told to."""
    (shell.home / "yes.s").write_text(YES)
    shell.fleet.write_text(f'[fleet]\n{options}\n[vm.yes]\nprogram = "./yes.s"\nmemory = "16M"\n')
    reader, writer = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-m", "sandbox", "up", "fleet.toml"],
        stdout=writer, stderr=writer, cwd=shell.home, env=shell.environment,
    ) as process:  # fmt: skip
        eventually(lambda: not select.select([], [writer], [], 0)[1])
        if not options:
            assert shell.rows()["yes"]["state"] == "running"
        process.send_signal(number)
        assert process.wait(PATIENCE) == 128 + number
    assert os.read(reader, 60).startswith(b"yes | yyy")
    os.close(reader)
    os.close(writer)


def test_a_reader_who_has_gone_ends_a_fleet(shell: Shell) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "sandbox", "up", "fleet.toml"],
        stdout=subprocess.PIPE, cwd=shell.home, env=shell.environment,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(PATIENCE) == 128 + signal.SIGPIPE


def test_nohup_is_heeded(shell: Shell) -> None:
    with subprocess.Popen(
        ["nohup", sys.executable, "-m", "sandbox", "up", "fleet.toml"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        cwd=shell.home, env=shell.environment,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        for _ in range(3):
            assert b" | count " in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM


MISTAKES = {
    "no file": (["up", "missing.toml"], "no such file"),
    "a mistake in it": (["up", "bad.toml"], "bad.toml:2"),
    "which limit": (["set", "x"], "which limit"),
    "a wrong limit": (["set", "x", "--weight", "much"], "whole number"),
    "no name": (["kill"], "VM"),
}


@pytest.mark.parametrize(("arguments", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(shell: Shell, arguments: list[str], expected: str) -> None:
    (shell.home / "bad.toml").write_text('[vm.a]\nprogam = "hello"\n')
    done = shell(*arguments)
    assert done.returncode == 125
    assert expected in done.stderr and done.stderr.count("\n") == 1


# Views on the wire


def test_views_survive_the_wire() -> None:
    view = sample.view()
    assert wire.decode(View, json.loads(json.dumps(wire.encode(view)))) == view
    wish = Wish(parts=frozenset({"console", "memory"}), address="main")
    assert wire.decode(Wish, json.loads(json.dumps(wire.encode(wish)))) == wish
    done = Done("said", Request("weight", "vm-1", 3))
    assert wire.decode(Done, json.loads(json.dumps(wire.encode(done)))) == done


WRONG: dict[str, tuple[type, Any]] = {
    "no object": (Wish, []),
    "wrong type": (Wish, {"first": "many"}),
    "a truth is no number": (Wish, {"first": True}),
    "no list": (Wish, {"parts": "console"}),
    "no base64": (View, {"detail": {"vm": {"identity": "a", "name": "a"}, "console": {"tail": "%"}}}),
}


@pytest.mark.parametrize(("kind", "value"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused(kind: type, value: Any) -> None:
    with pytest.raises(ConfigurationError):
        wire.decode(kind, value)
