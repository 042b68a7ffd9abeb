"""`sandbox run` as a user has it: a process of its own, real pipes, real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from sandbox.cli.run import parser
from tests.terminal import Terminal

ROOT = Path(__file__).parent.parent
PATIENCE = 120


def run(
    *arguments: str, stdin: bytes = b"", cwd: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command(*arguments), input=stdin, capture_output=True, timeout=PATIENCE, cwd=cwd, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip


def shell(script: str, stdin: bytes = b"", **streams: Any) -> subprocess.CompletedProcess[bytes]:
    """`SANDBOX` in the script is the command."""
    script = script.replace("SANDBOX", f"{sys.executable} -m sandbox")
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.run(["bash", "-c", script], input=stdin, timeout=PATIENCE, cwd=ROOT, check=False, **streams)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "sandbox", "run", *arguments]


RUNS = {
    "hello": (["hello"], b"", b"hello from x86_64\n", 0),
    "arguments": (["echo", "a", "b c", "--stats"], b"", b"a b c --stats\n", 0),
    "the end of the options": (["--", "echo", "-e", "x"], b"", b"-e x\n", 0),
    "another ISA": (["--arch", "riscv64", "echo", "x"], b"", b"x\n", 0),
    "stdin": (["cat"], b"one\ntwo\n", b"one\ntwo\n", 0),
    "much": (["cat"], bytes(range(256)) * 4096, bytes(range(256)) * 4096, 0),
    "a fatal signal": (["wild"], b"", b"going wild\n", 139),
    "timeout": (["--timeout", "0.3", "loop"], b"", b"", 124),
    "no such program": (["/nonexistent"], b"", b"", 127),
    "not executable": ([__file__], b"", b"", 126),
    "a directory": (["/tmp"], b"", b"", 126),
    "no program": ([], b"", b"", 125),
    "unknown option": (["--frobnicate", "hello"], b"", b"", 125),
    "a terminal that is none": (["-t", "hello"], b"", b"", 125),
    "a wrong value": (["--memory", "lots", "hello"], b"", b"", 125),
    "a seed for nothing": (["--seed", "1", "hello"], b"", b"", 125),
    "deterministic": (["--deterministic", "cat"], b"x\n" * 1000, b"x\n" * 1000, 0),
}


@pytest.mark.parametrize(("arguments", "stdin", "stdout", "status"), RUNS.values(), ids=RUNS)
def test_run(arguments: list[str], stdin: bytes, stdout: bytes, status: int) -> None:
    done = run(*arguments, stdin=stdin)
    assert (done.stdout, done.returncode) == (stdout, status), done.stderr.decode()
    assert bool(done.stderr) == (status != 0)
    if status in (125, 126, 127):
        assert done.stderr.startswith(b"sandbox") and done.stderr.count(b"\n") == 1


def test_stats_are_json_on_stderr() -> None:
    done = run("--stats", "echo", "hi")
    figures = json.loads(done.stderr)
    assert done.stdout == b"hi\n"
    assert figures["status"] == 0 and figures["arch"] == "x86_64"
    wanted = "cpu_seconds wall_seconds work work_unit syscalls faults peak_frames tlb_misses"
    assert set(wanted.split()) <= set(figures)
    assert figures["syscalls"]["write"] == 2


def test_trace_on_stderr_and_in_a_file(tmp_path: Path) -> None:
    done = run("--trace", "echo", "hi")
    assert done.stdout == b"hi\n"
    assert b'write(1, "hi' in done.stderr and b"exit_group(0)" in done.stderr
    done = run(f"--trace={tmp_path / 'calls'}", "echo", "hi")
    assert done.stderr == b""
    assert 'write(1, "hi' in (tmp_path / "calls").read_text()


def test_a_deterministic_run_repeats_itself(tmp_path: Path) -> None:
    outcomes = set()
    for _ in range(2):
        done = run("--deterministic", "--seed", "7", "--stats", f"--trace={tmp_path / 't'}", "counter", "3")
        outcomes.add((done.stdout, done.stderr, (tmp_path / "t").read_text()))
    assert len(outcomes) == 1


def test_a_crash_leaves_a_report() -> None:
    done = run("wild")
    report = done.stderr.decode()
    for part in ("SIGSEGV", "rip", "code:", "->", "memory:", "sandbox: killed by SIGSEGV"):
        assert part in report, report


def test_nothing_is_read_ahead() -> None:
    """What the guest does not read is left for the next program."""
    done = shell("SANDBOX run hello; cat", b"left\n")
    assert done.stdout == b"hello from x86_64\nleft\n"


def test_output_comes_at_once() -> None:
    with subprocess.Popen(command("cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdin is not None and process.stdout is not None
        for word in (b"one\n", b"two\n"):
            process.stdin.write(word)
            process.stdin.flush()
            assert process.stdout.readline() == word
        process.stdin.close()
        assert process.wait(PATIENCE) == 0


def test_a_slow_reader_holds_the_guest_back() -> None:
    """More than pipes hold: nothing is lost, and nothing piles up."""
    data = bytes(range(256)) * 16384
    with subprocess.Popen(command("cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdin is not None and process.stdout is not None
        feeder = threading.Thread(target=lambda: (process.stdin.write(data), process.stdin.close()))  # type: ignore[union-attr]
        feeder.start()
        received = b""
        while piece := process.stdout.read(50_000):
            received += piece
        feeder.join()
        assert received == data
        assert process.wait(PATIENCE) == 0


def test_a_reader_that_goes_away_is_sigpipe() -> None:
    done = shell("SANDBOX run counter | head -1; echo ${PIPESTATUS[0]}")
    assert done.stdout.splitlines() == [b"count 1", b"141"], done.stderr


@pytest.mark.parametrize("options", [[], ["--deterministic"]], ids=["free", "deterministic"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_clean_up(number: signal.Signals, status: int, options: list[str]) -> None:
    """Also while nobody takes the output."""
    with subprocess.Popen(
        command(*options, "counter", "0", "1000"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.read(1)
        process.send_signal(number)
        assert process.wait(PATIENCE) == status
        assert process.stderr.read() == b""


def test_a_blocked_reader_does_not_outlive_the_timeout() -> None:
    """The guest sleeps in a write that nobody takes; the timeout ends it all the same."""
    reader, writer = os.pipe()
    done = shell("SANDBOX run --timeout 1 counter 0 1", stdout=writer)
    os.close(reader)
    os.close(writer)
    assert done.returncode == 124, done.stderr


def test_closed_streams() -> None:
    done = shell("SANDBOX run cat <&-")
    assert (done.stdout, done.returncode) == (b"", 0), done.stderr


def test_on_a_terminal() -> None:
    with Terminal(["-m", "sandbox", "run", "cat"]) as terminal:
        terminal.press("hello\n")
        terminal.wait_for(lambda: terminal.screen.plain.count("hello") == 2)
        terminal.press("\x04")
        assert terminal.wait_for_end() == 0
        assert terminal.is_restored()


def test_a_source_file_and_an_elf_file(tmp_path: Path) -> None:
    source = tmp_path / "seven.s"
    source.write_text("# arch: arm64\n_start:\n mov x0, #7\n mov x8, #93\n svc #0\n")
    assert run(str(source)).returncode == 7
    subprocess.run([sys.executable, "-m", "sandbox", "asm", str(source)], check=True, cwd=ROOT, timeout=PATIENCE)
    assert run("./seven.elf", cwd=tmp_path).returncode == 7


DIVISIONS = {
    "nothing": ([], [], []),
    "program only": (["a"], [], ["a"]),
    "options are ours until the program": (["--stats", "a", "--stats"], ["--stats"], ["a", "--stats"]),
    "a value": (["--arch", "arm", "a"], ["--arch", "arm"], ["a"]),
    "an attached value": (["--arch=arm", "a"], ["--arch=arm"], ["a"]),
    "short": (["-e", "A=B", "a"], ["-e", "A=B"], ["a"]),
    "short attached": (["-eA=B", "a"], ["-eA=B"], ["a"]),
    "trace takes no word": (["--trace", "a"], ["--trace"], ["a"]),
    "trace with a file": (["--trace=f", "a"], ["--trace=f"], ["a"]),
    "the end of options": (["--stats", "--", "-a"], ["--stats"], ["-a"]),
    "a dash": (["-", "x"], [], ["-", "x"]),
}


@pytest.mark.parametrize(("arguments", "ours", "words"), DIVISIONS.values(), ids=DIVISIONS)
def test_options_end_at_the_program(arguments: list[str], ours: list[str], words: list[str]) -> None:
    assert parser().divide(arguments) == (ours, words)
