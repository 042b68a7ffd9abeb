"""A guest that comes with the package is named the same way everywhere: `sandbox run`, Python, fleet files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import sandbox
from sandbox.cli import main
from sandbox.errors import ConfigurationError, LoadError
from sandbox.fleet import parse_fleet

BOARD = "riscv64-virt"
SOURCE = "# arch: x86_64\n_start:\n mov edi, 7\n mov eax, 60\n syscall\n"


@pytest.mark.parametrize(
    ("program", "options", "stdout"),
    [
        ("hello", {}, b"hello from x86_64\n"),
        ("hello", {"arch": "riscv64"}, b"hello from riscv64\n"),
        (["echo", "a", "b c"], {"arch": "arm"}, b"a b c\n"),
        ("timer", {"board": BOARD, "deterministic": True}, b"timer 1\ntimer 2\ntimer 3\ntimer 4\ntimer 5\n"),
    ],
)
def test_a_name_from_python(
    program: str | list[str], options: dict[str, Any], stdout: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert sandbox.run(program, **options).stdout == stdout
    options.pop("deterministic", None)
    with sandbox.Hypervisor() as room:
        vm = room.create("it", program, **options)
        assert vm.start().wait() == 0
        assert vm.console.read() == stdout


REFUSED: list[tuple[str, dict[str, str], int, str]] = [
    ("timer", {}, 126, "timer is a guest for a board: add --board riscv64-virt"),
    ("timer", {"arch": "riscv64"}, 126, "timer is a guest for a board: add --board riscv64-virt"),
    ("hello", {"board": BOARD}, 126, "hello is a guest for Linux, not for a board; for riscv64-virt there are: serial"),
    ("helo", {}, 127, "helo: no such program on the host (do you mean the guest 'hello'?)"),
    ("hello.s", {}, 127, "hello.s: no such program on the host (do you mean the guest 'hello'?)"),
    ("./hello", {}, 127, "./hello: no such program on the host"),
    ("qqq", {}, 127, "qqq: no such program on the host (with rootfs"),
]


@pytest.mark.parametrize(("name", "options", "status", "message"), REFUSED)
def test_a_name_that_stands_for_nothing_here(
    name: str,
    options: dict[str, str],
    status: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LoadError) as caught:
        sandbox.run(name, **options)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)
    words = [word for option, value in options.items() for word in (f"--{option}", value)]
    assert main(["run", *words, name]) == status
    assert message in capsys.readouterr().err


def test_a_file_goes_before_a_guest_and_a_directory_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hello").mkdir()
    assert sandbox.run("hello").stdout == b"hello from x86_64\n"
    (tmp_path / "echo.s").write_text(SOURCE)
    assert main(["asm", "echo.s", "-o", "echo"]) == 0
    assert sandbox.run("echo").returncode == 7


def test_a_forgotten_suffix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sum.s").write_text(SOURCE)
    with pytest.raises(LoadError, match=r"sum: no such program on the host \(do you mean sum\.s\?\)"):
        sandbox.run("sum")


def test_a_board_has_no_calls_to_trace(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--trace", "--board", BOARD, "timer"]) == 125
    assert "a board makes none" in capsys.readouterr().err


def test_a_name_in_a_fleet_file(tmp_path: Path) -> None:
    text = f'[vm.it]\nprogram = "timer"\nboard = "{BOARD}"\n'
    (member,) = parse_fleet(text, "fleet", tmp_path).members
    assert member.config.program[0].endswith(b"/timer.riscv64.s")
    with pytest.raises(ConfigurationError, match=r"fleet:2: vm\.it\.program: timer is a guest for a board"):
        parse_fleet('[vm.it]\nprogram = "timer"\n', "fleet", tmp_path)
