"""`sandbox volume`: what is made is listed, mounted by name, exported and removed; misuse is a sentence."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import pytest

import sandbox
from sandbox.cli import main
from sandbox.guests import guest


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SANDBOX_HOME", str(tmp_path))
    return tmp_path


def test_a_volume_from_its_making_to_its_end(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["volume", "ls"]) == 0
    assert "sandbox volume create" in capsys.readouterr().err
    assert main(["volume", "create", "data", "--size", "1M"]) == 0
    program = home / "keep.s"
    program.write_text(KEEPER)
    assert sandbox.run([str(program)], volumes=["data:/data"]).returncode == 0
    assert main(["volume", "ls", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["name"], row["size"], row["in_use"]) == ("data", 1 << 20, False)
    target = home / "data.tar"
    assert main(["volume", "export", "data", str(target)]) == 0
    with tarfile.open(target) as archive:
        kept = archive.extractfile("kept")
        assert kept is not None and kept.read() == b"kept\n"
    assert main(["volume", "rm", "data"]) == 0
    assert main(["volume", "ls"]) == 0
    captured = capsys.readouterr()
    assert not captured.out


def test_an_export_replaces_nothing_unasked(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = home / "data.tar"
    target.write_text("mine")
    assert main(["volume", "create", "data", "--size", "1M"]) == 0
    assert main(["volume", "export", "data", str(target)]) == 125
    assert "exists already" in capsys.readouterr().err and target.read_text() == "mine"
    assert main(["volume", "export", "--force", "data", str(target)]) == 0
    assert tarfile.is_tarfile(target)
    fifo = home / "fifo"
    os.mkfifo(fifo)
    assert main(["volume", "export", "-f", "data", str(fifo)]) == 125
    assert "no regular file" in capsys.readouterr().err and fifo.is_fifo()


def test_sizes_have_units_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["volume", "create", "data", "--size", "64M"]) == 0
    assert main(["volume", "ls"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["data", "64M"]


def test_what_is_said_of_a_volume_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only who wants to mount one may want to make one."""
    monkeypatch.chdir(tmp_path)
    assert main(["volume", "create", "data", "--size", "1M"]) == 0
    for arguments in (["rm", "dada"], ["export", "dada", "x.tar"]):
        assert main(["volume", *arguments]) == 125
        assert capsys.readouterr().err == (
            "sandbox: there is no volume named dada: do you mean data? 'sandbox volume ls' lists those there are\n"
        )
    assert main(["run", "-v", "other:/data", "hello"]) == 125
    assert "other: 'sandbox volume create other --size 64M' makes it" in capsys.readouterr().err
    Path("x").mkdir()
    assert main(["run", "-v", "x:/data", "hello"]) == 125
    assert "no volume named x: the host's directory is written ./x, and" in capsys.readouterr().err
    assert main(["volume", "rm", "none", "data", "no"]) == 125
    assert capsys.readouterr().err.count("\n") == 2
    assert main(["volume", "ls", "--json"]) == 0 and capsys.readouterr().out == "[]\n"


def test_export_to_a_pipe(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["volume", "create", "data", "--size", "1M"]) == 0
    assert main(["volume", "export", "data", "-"]) == 0
    with tarfile.open(fileobj=io.BytesIO(capsysbinary.readouterr().out)) as archive:
        assert archive.getnames() == []


def test_a_volume_in_use_stays(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["volume", "create", "data", "--size", "1M"]) == 0
    with sandbox.Hypervisor(memory="64M") as hypervisor:
        vm = hypervisor.create("user", [str(guest("burner", "arm64").path)], volumes=["data:/data"]).start()
        assert main(["volume", "rm", "data"]) == 125
        assert "in use" in capsys.readouterr().err
        vm.kill()
    assert main(["volume", "rm", "data"]) == 0


MISUSE = {
    "no verb": [],
    "unknown verb": ["frobnicate"],
    "no size": ["create", "data"],
    "no such size": ["create", "data", "--size", "much"],
    "too small": ["create", "data", "--size", "1K"],
    "a path": ["create", "../data", "--size", "1M"],
    "nothing to remove": ["rm", "data"],
    "nothing to export": ["export", "data", "data.tar"],
}


@pytest.mark.parametrize("arguments", MISUSE.values(), ids=MISUSE)
def test_misuse_is_a_sentence(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["volume", *arguments]) == 125
    captured = capsys.readouterr()
    assert not captured.out and captured.err.startswith("sandbox") and captured.err.count("\n") == 1


@pytest.mark.parametrize("place", ["no/such/directory/data.tar", "."])
def test_an_export_that_fails_leaves_nothing(place: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["volume", "create", "data", "--size", "1M"]) == 0
    assert main(["volume", "export", "data", str(home / place)]) == 125
    assert "cannot be written" in capsys.readouterr().err
    assert sorted(entry.name for entry in home.iterdir()) == ["volumes"]


KEEPER = """\
# arch: x86_64
    mov eax, 2
    lea rdi, [rip + name]
    mov esi, 0x41
    mov edx, 0x1a4
    syscall
    mov edi, eax
    mov eax, 1
    lea rsi, [rip + text]
    mov edx, 5
    syscall
    mov eax, 60
    xor edi, edi
    syscall
name: .asciz "/data/kept"
text: .ascii "kept\\n"
"""
