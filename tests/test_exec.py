"""Programs that are started in a VM that runs already: `VM.exec`, `VM.spawn`, `sandbox exec`."""

from __future__ import annotations

import os
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sandbox
from sandbox.control import Client, Service
from sandbox.errors import ConfigurationError, LoadError, StateError
from tests import debian
from tests.guest_terminal import GuestTerminal
from tests.terminal import ROOT

PATIENCE = 60
SLEEP = ["/bin/busybox", "sleep", "1000"]
SPIN = ["/bin/busybox", "sh", "-c", "while :; do :; done"]


def root(isa: str = "arm64") -> str:
    try:
        return str(debian.root_with_busybox(isa))
    except debian.Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(params=[(SLEEP, False), (SPIN, False), (SPIN, True)], ids=["asleep", "busy", "deterministic"])
def vm(request: pytest.FixtureRequest) -> Iterator[sandbox.VM]:
    program, deterministic = request.param
    with sandbox.Hypervisor(deterministic=deterministic) as hypervisor:
        yield hypervisor.create("vm", program, rootfs=root(), env={"WHO": "vm"}, cwd="/tmp", max_tasks=20).start()


def script(vm: sandbox.VM, text: str, **options: object) -> tuple[int, bytes, bytes]:
    done = vm.exec(["/bin/busybox", "sh", "-c", text], timeout=PATIENCE, **options)  # type: ignore[arg-type]
    return done.returncode, done.stdout, done.stderr


# script, options, (status, stdout, stderr)
RUNS: dict[str, tuple[str, dict[str, object], tuple[int, bytes, bytes]]] = {
    "streams": ("busybox cat; echo two >&2; exit 3", {"input": b"one\n"}, (3, b"one\n", b"two\n")),
    "what the VM has": ("echo $WHO $PWD; busybox id -u", {}, (0, b"vm /tmp\n0\n", b"")),
    "what is given": (
        "echo $WHO $A $PWD; busybox id",
        {"env": {"A": "b"}, "cwd": "/etc", "user": "7:8"},
        (0, b"vm b /etc\nuid=7 gid=8\n", b""),
    ),
    "a fatal signal": ("kill -9 $$", {}, (137, b"", b"")),
    "its place": ("echo $PPID; busybox tty", {}, (1, b"0\nnot a tty\n", b"")),
    "a terminal": ("busybox tty; echo $TERM >&2", {"tty": True}, (0, b"/dev/pts/0\r\nxterm\r\n", b"")),
    "much": ("busybox wc -c", {"input": bytes(3 << 20)}, (0, b"3145728\n", b"")),
    "children of its own": ("(busybox sleep 0.01; exit 4) & wait $!; echo $?", {}, (0, b"4\n", b"")),
}


def test_runs(vm: sandbox.VM) -> None:
    for name, (text, options, expected) in RUNS.items():
        assert script(vm, text, **options) == expected, name
    assert vm.exec(["busybox", "true"], env={"PATH": "/bin"}, timeout=PATIENCE).returncode == 0


def test_refusals(vm: sandbox.VM) -> None:
    vm.pause()
    with pytest.raises(StateError, match="paused"):
        vm.exec(["/bin/busybox"])
    vm.resume()
    with pytest.raises(LoadError) as error:
        vm.exec(["/bin/nope"])
    assert error.value.status == 127
    with pytest.raises(LoadError) as error:
        vm.exec(["/etc/passwd"])
    assert error.value.status == 126
    wrong: dict[str, Any]
    for wrong in ({"program": []}, {"program": ["x"], "cwd": "relative"}, {"program": ["x"], "tty": 1}):
        with pytest.raises(ConfigurationError):
            vm.exec(**wrong)
    with pytest.raises(ConfigurationError):
        vm.exec(SLEEP, cwd="/nowhere")
    begun = []
    with pytest.raises(StateError, match="as many tasks"):
        for _ in range(30):
            begun.append(vm.spawn(SLEEP))
    assert len(begun) == 19
    for execution in begun:
        execution.kill()
        assert execution.wait(PATIENCE) == 137
    vm.kill()
    with pytest.raises(StateError, match="stopped"):
        vm.exec(SLEEP)


def test_a_timeout_kills_it(vm: sandbox.VM) -> None:
    assert vm.exec(SPIN, timeout=0.2).returncode == 124
    assert script(vm, "busybox ps | busybox grep -c 'busybox s[hl]'")[1] in (b"2\n", b"3\n")


def test_it_ends_with_the_vm(vm: sandbox.VM) -> None:
    execution, at_terminal = vm.spawn(SLEEP), vm.spawn(SLEEP, tty=True)
    vm.kill()
    assert (execution.wait(PATIENCE), at_terminal.wait(PATIENCE)) == (137, 137)


def test_hanging_up(vm: sandbox.VM) -> None:
    execution = vm.spawn(SLEEP)
    execution.hang_up()
    assert execution.wait(PATIENCE) == 129
    at_terminal = vm.spawn(["/bin/busybox", "cat"], tty=True)
    at_terminal.hang_up()
    assert at_terminal.wait(PATIENCE) in (0, 129)
    assert script(vm, "busybox tty", tty=True)[1] == b"/dev/pts/0\r\n"  # its number is free again


def test_nothing_stays() -> None:
    with sandbox.Hypervisor() as hypervisor:
        vm = hypervisor.create("vm", SLEEP, rootfs=root()).start()
        script(vm, "true", tty=True)
        before = vm.stats.memory
        for _ in range(10):
            script(vm, "busybox ls / > /dev/null", tty=True)
        assert vm.stats.memory <= before + 65536


# From another terminal

FLEET = """
[vm.quiet]
program = ["/bin/busybox", "sleep", "1000"]
rootfs = "{root}"
[vm.shell]
program = ["/bin/busybox", "sh"]
tty = true
rootfs = "{root}"
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    home = tmp_path_factory.mktemp("h")
    (home / "fleet.toml").write_text(FLEET.format(root=root()))
    environment = {**os.environ, "SANDBOX_HOME": str(home), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "sandbox"]
    subprocess.run(
        [*command, "up", str(home / "fleet.toml"), "--detach"], env=environment, check=True, timeout=PATIENCE
    )
    yield environment
    subprocess.run([*command, "down"], env=environment, check=True, timeout=PATIENCE)


def shell(fleet: dict[str, str], text: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    text = text.replace("EXEC", f"{sys.executable} -m sandbox exec")
    done = subprocess.run(["bash", "-c", text], input=stdin, capture_output=True, timeout=PATIENCE, env=fleet, cwd=ROOT)
    return done.returncode, done.stdout, done.stderr


COMMANDS: dict[str, tuple[str, bytes, tuple[int, bytes, bytes]]] = {
    "streams": ("EXEC quiet /bin/busybox sh -c 'echo a; echo b >&2; exit 5'", b"", (5, b"a\n", b"b\n")),
    "options": (
        "EXEC -e A=b -w /tmp --user 7:8 quiet /bin/busybox sh -c 'echo $A $PWD; busybox id -g'",
        b"",
        (0, b"b /tmp\n8\n", b""),
    ),
    "input": ("EXEC quiet /bin/busybox cat", bytes(range(256)) * 8192, (0, bytes(range(256)) * 8192, b"")),
    "nothing is read ahead": ("EXEC quiet /bin/busybox echo x; cat", b"left\n", (0, b"x\nleft\n", b"")),
    "a reader that goes away": (
        "EXEC quiet /bin/busybox yes | head -1; echo ${PIPESTATUS[0]}", b"", (0, b"y\n141\n", b"")
    ),
    "not found": ("EXEC quiet nope", b"", (127, b"", b"sandbox: nope: no such program\n")),
    "no such VM": ("EXEC loud true", b"", (125, b"", b"sandbox: there is no VM named loud\n")),
    "no terminal": (
        "EXEC -t quiet true", b"", (125, b"", b"sandbox: --tty needs a terminal, and standard input is none\n")
    ),
    "no program": ("EXEC quiet", b"", (125, b"", b"sandbox exec: which program? (--help explains)\n")),
}  # fmt: skip


@pytest.mark.parametrize(("text", "stdin", "expected"), COMMANDS.values(), ids=COMMANDS)
def test_command(fleet: dict[str, str], text: str, stdin: bytes, expected: tuple[int, bytes, bytes]) -> None:
    assert shell(fleet, text, stdin) == expected


def test_a_terminal_in_a_running_vm(fleet: dict[str, str]) -> None:
    with GuestTerminal("exec", "-t", "quiet", "/bin/busybox", "sh", home=fleet["SANDBOX_HOME"]) as terminal:
        terminal.wait_for("/ #")
        terminal.line("busybox tty; busybox stty size", "/dev/pts/0\r\n24 80\r\n")
        terminal.line("busybox sh -c 'echo read\"\"y; busybox cat'", "ready\r\n")
        terminal.press("\x1a")
        terminal.wait_for("[1]+  Stopped")
        terminal.resize(100, 30)
        terminal.line("until busybox stty size | busybox grep 30; do :; done", "30 100\r\n")
        terminal.press("exit\rexit 3\r")
        assert terminal.wait_for_end() == 3
        assert termios.tcgetattr(terminal.slave) == terminal.before


def test_the_protocol(fleet: dict[str, str]) -> None:
    with Client(f"{fleet['SANDBOX_HOME']}/control") as client, Client(f"{fleet['SANDBOX_HOME']}/control") as other:
        pieces = client.stream("exec", vm="quiet", program=["/bin/busybox", "cat"])
        session = next(pieces)["session"]
        with pytest.raises(ConfigurationError):
            other.call("exec-feed", session=session, data="?")
        with pytest.raises(ConfigurationError):
            other.call("exec-resize", session=session, rows=-1, columns=1)
        other.call("exec-resize", session=session, rows=1, columns=1)  # without a terminal: for nobody
        other.call("exec-feed", session=session, data="aGkK", end=True)
        assert [piece for piece in pieces if "wanted" not in piece] == [{"stream": 1, "data": "aGkK"}, {"status": 0}]
        with pytest.raises(StateError):
            other.call("exec-feed", session=session, end=True)


def test_a_fleet_that_goes_down(tmp_path: Path) -> None:
    with sandbox.Hypervisor() as hypervisor:
        hypervisor.create("vm", SLEEP, rootfs=root()).start()
        with Service(hypervisor, tmp_path) as service, Client(tmp_path) as client:
            pieces = client.stream("exec", vm="vm", program=["/bin/busybox", "sleep", "1000"])
            assert next(pieces)["session"]
            service.closing = True
            with pytest.raises(StateError, match="going down"):
                list(pieces)


def test_a_paused_vm_is_said_to_be(fleet: dict[str, str]) -> None:
    advice = "quiet is paused: `sandbox resume quiet` lets it run again"
    with Client(f"{fleet['SANDBOX_HOME']}/control") as client, Client(f"{fleet['SANDBOX_HOME']}/control") as other:
        pieces = client.stream("exec", vm="quiet", program=["/bin/busybox", "cat"])
        session = next(pieces)["session"]
        assert "wanted" in next(pieces)
        other.call("pause", vm="quiet")
        assert next(piece for piece in pieces if "paused" in piece)["paused"]
        assert shell(fleet, "EXEC quiet /bin/busybox true") == (125, b"", f"sandbox: {advice}\n".encode())
        other.call("resume", vm="quiet")
        assert not next(piece for piece in pieces if "paused" in piece)["paused"]
        other.call("exec-feed", session=session, end=True)
        assert list(pieces)[-1] == {"status": 0}


def test_a_command_tells_that_its_vm_is_paused_meanwhile(fleet: dict[str, str]) -> None:
    command = [sys.executable, "-m", "sandbox", "exec", "quiet", "/bin/busybox", "cat"]
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with (
        Client(f"{fleet['SANDBOX_HOME']}/control") as client,
        subprocess.Popen(command, env=fleet, cwd=ROOT, bufsize=0, **streams) as process,  # type: ignore[call-overload]
    ):
        process.stdin.write(b"x")
        assert process.stdout.read(1) == b"x"
        client.call("pause", vm="quiet")
        assert process.stderr.readline() == b"sandbox: quiet is paused: `sandbox resume quiet` lets it run again\n"
        client.call("resume", vm="quiet")
        assert process.stderr.readline() == b"sandbox: quiet runs again\n"
        process.stdin.close()
        assert process.wait(PATIENCE) == 0


def test_a_client_that_goes_away(fleet: dict[str, str]) -> None:
    """What it ran is sent SIGHUP."""
    wait = "while busybox ps | busybox grep '[s]leep 99'; do busybox sleep 0.02; done"
    with GuestTerminal("exec", "-t", "quiet", "/bin/busybox", "sh", home=fleet["SANDBOX_HOME"]) as terminal:
        terminal.wait_for("/ #")
        terminal.line("echo r''un; exec busybox sleep 99", "run\r\n")
        terminal.process.kill()
    assert shell(fleet, f'EXEC quiet /bin/busybox sh -c "{wait}" > /dev/null')[0] == 0
