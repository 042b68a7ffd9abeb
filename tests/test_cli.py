"""The command line without any VM: parsing, help, exit statuses, listings, doctor, asm and disasm."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import cli
from sandbox.cli import COMMANDS, main, options
from sandbox.cli.listing import show

ROOT = Path(__file__).parent.parent
SERVED = [command.name for command in COMMANDS if command.module]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as a user has it."""
    return subprocess.run(
        [sys.executable, "-m", "sandbox", *arguments],
        capture_output=True, text=True, timeout=120, cwd=ROOT, env={**os.environ, **environment}, check=False,
    )  # fmt: skip


STATUSES = {
    "no argument": ([], 0),
    "help": (["--help"], 0),
    "help of a command": (["help", "asm"], 0),
    "version": (["--version"], 0),
    "unknown command": (["frobnicate"], 125),
    "help of an unknown command": (["help", "frobnicate"], 125),
    "disassemble a guest": (["disasm", "hello"], 0),
    "disassemble a guest for a board": (["disasm", "--arch", "riscv64", "timer"], 0),
    "disassemble no guest": (["disasm", "--arch", "arm", "timer"], 127),
    "unknown option": (["asm", "--frobnicate"], 125),
    "missing argument": (["asm"], 125),
    "abbreviated option": (["syscalls", "--js"], 125),
    "not served yet": (["restore", "x"], 125),
    "no such file": (["asm", "/nonexistent.s"], 127),
    "nothing to list": (["disasm", "/nonexistent"], 127),
    "not a program": (["disasm", __file__], 126),
}


@pytest.mark.parametrize(("arguments", "expected"), STATUSES.values(), ids=STATUSES)
def test_status(arguments: list[str], expected: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == expected
    captured = capsys.readouterr()
    if expected:
        assert captured.out == "" and captured.err.startswith("sandbox")
        assert captured.err.count("\n") == 1, "one clear sentence"
    else:
        assert captured.out and not captured.err


@pytest.mark.parametrize("name", SERVED)
def test_help_teaches_by_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"usage: sandbox {name}" in shown
    assert f"  sandbox {name}" in shown.partition("examples:")[2]
    assert max(map(len, shown.splitlines())) <= 110


def test_the_overview_lists_what_is_served_and_nothing_else() -> None:
    shown = cli.overview()
    for command in COMMANDS:
        assert (f"\n  {command.name} " in shown) == bool(command.module), command


def test_a_typing_error_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["syscals"]) == 125
    assert "'syscalls'" in capsys.readouterr().err


def test_complaints_cannot_disturb_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    main(["\x1b[2J\n\x07"])
    error = capsys.readouterr().err
    assert "\x1b" not in error and error.count("\n") == 1


def test_a_defect_is_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(arguments: list[str]) -> int:
        raise ValueError("boo")

    monkeypatch.setattr("sandbox.cli.catalogue.guests", broken)
    monkeypatch.delenv("SANDBOX_TRACEBACK", raising=False)
    assert main(["guests"]) == 125
    assert "ValueError: boo" in capsys.readouterr().err


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("sandbox.cli.catalogue.guests", interrupted)
    assert main(["guests"]) == 130


def test_a_reader_that_goes_away() -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m sandbox syscalls --json | head -1; true"],
        capture_output=True, text=True, timeout=60, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.stdout == "[\n" and "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["guests", "syscalls", "doctor"])
def test_json(name: str) -> None:
    done = run(name, "--json")
    rows = json.loads(done.stdout)
    assert isinstance(rows, list) and all(isinstance(row, dict) for row in rows) and rows


def test_guests_name_and_arch() -> None:
    rows = json.loads(run("guests", "--json").stdout)
    assert {"name", "arch", "purpose", "path"} <= set(rows[0])
    assert "hello" in {row["name"] for row in rows}


def test_syscalls_of_one_isa(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["syscalls", "--arch", "riscv64", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["write"]["number"] == 64 and "open" not in rows


def test_doctor_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["doctor", "--json"])
    findings = json.loads(capsys.readouterr().out)
    assert status == int(any(finding["status"] == "missing" for finding in findings))
    for finding in findings:
        assert finding["status"] in ("ok", "optional", "missing")
        assert finding["advice"] or finding["status"] == "ok", finding


def test_doctor_knows_the_engine() -> None:
    findings = {
        finding["subject"]: finding for finding in json.loads(run("doctor", "--json", SANDBOX_ENGINE="python").stdout)
    }
    assert findings["engine"]["found"].startswith("python")
    assert findings["accelerator"]["status"] == "optional"


def test_asm_and_disasm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "seven.s"
    source.write_text("# arch: x86_64\n_start:\n mov edi, 7\n mov eax, 60\n syscall\n")
    assert main(["asm", str(source)]) == 0
    program = tmp_path / "seven.elf"
    assert program.read_bytes()[:4] == b"\x7fELF"
    assert os.access(program, os.X_OK)
    capsys.readouterr()
    assert main(["disasm", str(program)]) == 0
    listed = capsys.readouterr().out
    assert "mov edi, 7" in listed and "_start" in listed
    assert main(["disasm", str(source)]) == 0
    assert capsys.readouterr().out == listed


def test_asm_never_overwrites_its_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "a.s"
    source.write_text("# arch: x86_64\n nop\n")
    assert main(["asm", str(source), "-o", str(source)]) == 125
    assert source.read_text().startswith("# arch")


def test_asm_names_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "a.s"
    source.write_text("# arch: x86_64\n nop\n frobnicate eax\n")
    assert main(["asm", str(source)]) == 125
    assert "3" in capsys.readouterr().err
    assert not (tmp_path / "a.elf").exists()


VALUES = {
    "size": (options.size, "64M", 64 << 20),
    "count": (options.count, "12", 12),
    "seconds": (options.seconds, "250ms", 0.25),
    "seconds plain": (options.seconds, "5", 5.0),
    "assignment": (options.assignment, "A=b=c", ("A", "b=c")),
    "empty value": (options.assignment, "A=", ("A", "")),
    "what is set here": (options.assignment, "PATH", ("PATH", os.environ["PATH"])),
    "what is not set here": (options.assignment, "NOBODY_SETS_THIS", None),
    "user": (options.user, "1000", (1000, 1000)),
    "user and group": (options.user, "1000:50", (1000, 50)),
    "volume": (options.volume, "/host:/guest", ("/host", "/guest", False)),
    "volume read-only": (options.volume, "data:/guest:ro", ("data", "/guest", True)),
    "scratch": (options.scratch, "/tmp", ("/tmp", None)),
    "scratch with a size": (options.scratch, "/tmp:16M", ("/tmp", 16 << 20)),
}


@pytest.mark.parametrize(("parse", "text", "expected"), VALUES.values(), ids=VALUES)
def test_values(parse: object, text: str, expected: object) -> None:
    assert callable(parse) and parse(text) == expected


WRONG = {
    "size": (options.size, "many"),
    "count": (options.count, "0"),
    "count in letters": (options.count, "٣"),
    "negative": (options.positive, "-1"),
    "nan": (options.positive, "nan"),
    "no time": (options.seconds, "0"),
    "assignment": (options.assignment, "=b"),
    "user by name": (options.user, "root"),
    "volume": (options.volume, "/host"),
    "volume to nowhere": (options.volume, "/host:guest"),
    "scratch": (options.scratch, "tmp"),
}


@pytest.mark.parametrize(("parse", "text"), WRONG.values(), ids=WRONG)
def test_wrong_values(parse: object, text: str) -> None:
    assert callable(parse)
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        parse(text)
    assert len(str(caught.value)) > 10


def test_listing(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"name": "a\x1b[2J", "size": 5}, {"name": "bcd", "size": 1200}]
    show(rows, {"name": "NAME", "size": "SIZE"}, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "NAME      SIZE",
        "a\\x1b[2J     5",
        "bcd       1200",
    ]


def test_imports_are_lazy() -> None:
    """Help and mistakes answer at once: nothing heavy is loaded for them."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys, sandbox.cli; sandbox.cli.main(['--help']); print(*sys.modules)"],
        capture_output=True, text=True, timeout=60, cwd=ROOT, check=True,
    )  # fmt: skip
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {"unicorn", "capstone", "keystone", "rich", "elftools", "zstandard", "argparse", "asyncio"}
