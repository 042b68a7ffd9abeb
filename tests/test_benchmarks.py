"""The benchmark programs are what their sources say, compute the same everywhere, and the report reads right."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import sandbox
from benchmarks import report
from benchmarks.figure import RATIOS, Result, Row, geometric_mean, ratio
from benchmarks.figures import all_figures
from benchmarks.peers import ISAS, OURS, PROGRAMS, QEMU_USER, STOCK, Job, standard
from tests import native

GNU_PREFIX = {
    "x86_64": "x86_64-linux-gnu-",
    "i386": "i686-linux-gnu-",
    "arm64": "aarch64-linux-gnu-",
    "arm": "arm-linux-gnueabihf-",
    "riscv64": "riscv64-linux-gnu-",
}
NAMES = ("mix", "walk", "getppid", "tasks")
REPRODUCED_BY = "12.2.0"  # the gcc of Debian 12

# argv, and the checksum that every ISA prints.
RUNS = {
    "integer": (["mix", "i", "1"], b"33f4f16d\n"),
    "memory": (["mix", "m", "1"], b"62c34dd8\n"),
    "calls": (["mix", "c", "1"], b"f6750e00\n"),
    "floating point": (["mix", "f", "1"], b"02d89d80\n"),
    "walk": (["walk", "1000"], b"e87be9c3\n"),
    "getppid": (["getppid", "10"], b"00000000\n"),
    "getpid": (["tasks", "g", "10"], b"00000000\n"),
    "fork": (["tasks", "f", "3"], b"00000000\n"),
    "ping-pong": (["tasks", "p", "10"], b"00000000\n"),
    "threads": (["tasks", "t", "3"], b"00000000\n"),
}


@pytest.mark.parametrize("isa", ISAS)
def test_programs_are_built_from_their_sources(isa: str, tmp_path: Path) -> None:
    compiler = shutil.which(GNU_PREFIX[isa] + "gcc")
    if compiler is None or shutil.which("make") is None:
        pytest.skip(f"{GNU_PREFIX[isa]}gcc or make is not installed")
    version = subprocess.run([compiler, "-dumpfullversion"], capture_output=True, text=True, check=True).stdout.strip()
    if version != REPRODUCED_BY:
        pytest.skip(f"gcc {version} makes other code than {REPRODUCED_BY}")
    subprocess.run(["make", "-s", "-C", str(PROGRAMS), f"OUT={tmp_path}", isa], check=True)
    for name in NAMES:
        assert (tmp_path / isa / name).read_bytes() == (PROGRAMS / isa / name).read_bytes(), name


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("isa", ISAS)
def test_oracle_agrees(isa: str, run: str) -> None:
    argv, expected = RUNS[run]
    try:
        outcome = native.run(isa, PROGRAMS / isa / argv[0], argv)
    except native.NoOracle as reason:
        pytest.skip(str(reason))
    assert (outcome.stdout, outcome.status) == (expected, 0)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("isa", ISAS)
def test_sandbox_agrees(isa: str, run: str) -> None:
    argv, expected = RUNS[run]
    result = sandbox.run([str(PROGRAMS / isa / argv[0]), *argv[1:]], memory="128M", timeout=120)
    assert (result.stdout, result.returncode) == (expected, 0)


@pytest.mark.parametrize("isa", ISAS)
def test_stock_peer_agrees(isa: str) -> None:
    stock = next(peer for peer in standard(None) if peer.name == STOCK)
    jobs = [Job(isa, argv[0], tuple(argv[1:])) for argv, _ in RUNS.values() if argv[0] not in ("walk", "tasks")]
    expected = [output.decode() for argv, output in RUNS.values() if argv[0] not in ("walk", "tasks")]
    assert [measured.output for measured in stock.measure(jobs, 1)] == expected


def result() -> Result:
    rows = [
        Row("x86_64", {OURS: 1.0, STOCK: 4.0, QEMU_USER: 0.5}),
        Row("arm64", {OURS: 2.0, STOCK: 2.0}, {QEMU_USER: "qemu-aarch64 is not installed"}),
    ]
    return Result("cpu", "CPU mix", "seconds", rows, RATIOS)


def test_ratios_say_how_many_times_as_fast() -> None:
    rows = result().rows
    assert [ratio(row, OURS, STOCK) for row in rows] == [4.0, 1.0]
    assert [ratio(row, OURS, QEMU_USER) for row in rows] == [0.5, None]
    assert geometric_mean([4.0, 1.0, None]) == pytest.approx(2.0)
    assert geometric_mean([None]) is None


def test_table_puts_ratios_first_and_names_what_is_missing() -> None:
    text = report.table(result(), 3)
    lines = text.splitlines()
    assert re.fullmatch(r" *x86_64 +4\.00 +0\.50 +1 +4 +0\.5", lines[3]), lines[3]
    assert re.fullmatch(r" *arm64 +1\.00 +- +2 +2 +not measured", lines[4]), lines[4]
    assert re.fullmatch(r" *geometric mean +2\.00 +0\.50 *", lines[5]), lines[5]
    assert "qemu-user on arm64: qemu-aarch64 is not installed" in text


def test_json_is_json() -> None:
    data = json.loads(json.dumps(report.as_json([result()], 3)))
    assert data["figures"][0]["geometric_mean"][f"{OURS} / {STOCK}"] == pytest.approx(2.0)
    assert data["machine"]["cores"] >= 1


def test_figures_are_found() -> None:
    known = "cpu walk getppid switch fairness cores crowd processes userland"
    assert set(known.split()) <= set(all_figures())
