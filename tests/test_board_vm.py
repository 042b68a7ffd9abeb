"""Boards as VMs: through the hypervisor and from the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import sandbox
from sandbox import guests
from sandbox.errors import ConfigurationError, LoadError

TIMER = guests.guest("timer", "riscv64")
SERIAL = guests.guest("serial", "riscv64")
NAME = "riscv64-virt"


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("guest", [TIMER, SERIAL], ids=lambda guest: guest.name)
def test_board_guests_as_vms(guest: guests.Guest, deterministic: bool) -> None:
    for case in guest.cases:
        done = sandbox.run(
            [str(guest.path)], board=NAME, input=case.stdin, deterministic=deterministic, memory="4M", timeout=20
        )
        assert case.accepts(done.stdout, done.returncode), done


def test_an_elf_file_serves_as_well(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(TIMER.program())
    assert sandbox.run([str(image)], board=NAME, deterministic=True).stdout == TIMER.cases[0].stdout


def test_a_deterministic_board_repeats() -> None:
    runs = [sandbox.run([str(TIMER.path)], board=NAME, deterministic=True).stats for _ in range(2)]
    assert runs[0].work == runs[1].work
    assert runs[0].wall_seconds == runs[1].wall_seconds
    assert 0.005 < runs[0].wall_seconds < 0.006, "five milliseconds of its own time"


@pytest.mark.parametrize(
    ("program", "options", "error", "message"),
    [
        (str(TIMER.path), {"board": "none"}, ConfigurationError, "there is no board 'none'; there are: riscv64-virt"),
        ([str(TIMER.path), "x"], {}, ConfigurationError, "a board runs one image, without arguments"),
        (str(TIMER.path), {"arch": "arm64"}, ConfigurationError, "the board riscv64-virt is riscv64, not arm64"),
        (str(TIMER.path), {"rootfs": "/"}, ConfigurationError, "a board has no files"),
        (str(guests.guest("hello", "arm64").path), {}, LoadError, "the program is for arm64"),
        (str(guests.guest("hello", "riscv64").path), {}, LoadError, "the image stands at 0x11000"),
        ("nowhere.elf", {}, LoadError, "no such program"),
    ],
)
def test_what_no_board_runs(
    program: str | list[str], options: dict[str, str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        sandbox.run(program, **{"board": NAME, **options})  # type: ignore[arg-type]


def test_from_the_command_line() -> None:
    command = [sys.executable, "-m", "sandbox", "run", "--deterministic", "--board", NAME]
    done = subprocess.run([*command, "timer"], capture_output=True, stdin=subprocess.DEVNULL, check=False)
    assert (done.returncode, done.stdout) == (0, TIMER.cases[0].stdout)
    case = SERIAL.cases[1]
    done = subprocess.run([*command, str(SERIAL.path)], capture_output=True, input=case.stdin, check=False)
    assert (done.returncode, done.stdout) == (0, case.stdout)
