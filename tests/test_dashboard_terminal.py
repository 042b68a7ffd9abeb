"""The dashboard on a real pty: drawn, resized, suspended, ended in every way; the terminal is restored each time."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.terminal import Terminal

SESSION = """
import sys
from sandbox.dashboard.app import run
from tests.test_dashboard_app import FakeSource
class Source(FakeSource):
    def perform(self, request):
        if request.verb == "resume" or request.verb == "pause":
            raise RuntimeError("a defect")
        return super().perform(request)
sys.exit(run(Source()))
"""


def session(columns: int = 80, rows: int = 24, **environment: str) -> Terminal:
    return Terminal(["-c", SESSION], columns, rows, **environment)


def test_draws_and_quits() -> None:
    with session() as terminal:
        terminal.wait_for("? help")
        assert "sieve-1" in terminal.screen.text
        assert terminal.screen.lines[0].startswith(" sandbox  12 VMs")
        assert not terminal.is_restored()
        terminal.press("j")
        terminal.press("3")
        terminal.wait_for("WAITS FOR")
        terminal.press("9")
        terminal.wait_for("BEHIND")  # the last cells of a row are drawn, too
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert terminal.is_restored()
        assert terminal.screen.plain == ""


def test_resizing() -> None:
    with session(200, 60) as terminal:
        terminal.wait_for("WHY IT ENDED")
        terminal.resize(80, 24)
        terminal.wait_for(lambda: "9 sched" in terminal.screen.text and "WHY IT" not in terminal.screen.text)
        terminal.resize(200, 60)
        terminal.wait_for("WHY IT ENDED")
        terminal.resize(20, 5)
        terminal.wait_for("make the")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert terminal.is_restored()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 0)])
def test_signals_restore_the_terminal(number: signal.Signals, status: int) -> None:
    with session() as terminal:
        terminal.wait_for("? help")
        terminal.process.send_signal(number)
        assert terminal.wait_for_end() == status
        assert terminal.is_restored()


def test_ctrl_c_leaves() -> None:
    with session() as terminal:
        terminal.wait_for("? help")
        terminal.press("\x03")
        assert terminal.wait_for_end() == 0
        assert terminal.is_restored()


def test_an_exception_restores_the_terminal() -> None:
    with session() as terminal:
        terminal.wait_for("? help")
        terminal.press(" ")
        assert terminal.wait_for_end() == 1
        assert terminal.is_restored()
        assert "RuntimeError: a defect" in terminal.screen.plain


# A shell of a few lines: a job in the foreground, told when it stops, continued by "fg".
SHELL = f"""
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = os.fork()
if job == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, "-c", {SESSION!r}])
os.setpgid(job, job)
while True:
    _, status = os.waitpid(job, os.WUNTRACED)
    os.tcsetpgrp(0, os.getpgrp())
    if not os.WIFSTOPPED(status):
        sys.exit(os.waitstatus_to_exitcode(status))
    print("stopped", flush=True)
    assert sys.stdin.readline() == "fg\\n"
    os.tcsetpgrp(0, job)
    os.killpg(job, signal.SIGCONT)
"""


def test_suspend_and_continue() -> None:
    with Terminal(["-c", SHELL]) as terminal:
        for _ in range(2):
            terminal.wait_for("? help")
            terminal.press("\x1a")
            terminal.wait_for(lambda: "stopped" in terminal.screen.plain)
            assert terminal.is_restored()
            terminal.screen.plain = ""
            terminal.press("fg\n")
            terminal.wait_for(lambda: terminal.screen.modes.get("1049", False))
        terminal.wait_for("? help")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert terminal.is_restored()


def test_a_terminal_that_goes_away_ends_it() -> None:
    with session() as terminal:
        terminal.wait_for("? help")
        os.close(terminal.slave)
        os.close(terminal.master)
        assert terminal.process.wait(timeout=30) == 129
        terminal.master, terminal.slave = os.pipe()  # for the end of the context


def test_typing_passes_ctrl_c_on() -> None:
    with session() as terminal:
        terminal.wait_for("? help")
        terminal.press("i")
        terminal.wait_for("typing into")
        terminal.press("\x03\x1a")
        terminal.press("\x1d")
        terminal.wait_for("? help")
        assert terminal.process.poll() is None
        terminal.press("\x03")
        assert terminal.wait_for_end() == 0


def test_no_color_and_no_unicode() -> None:
    with session(NO_COLOR="1", PYTHONIOENCODING="ascii", LC_ALL="C", PYTHONUTF8="0") as terminal:
        terminal.wait_for("? help")
        assert terminal.screen.text.isascii()
        terminal.press("q")
        assert terminal.wait_for_end() == 0


def test_only_changed_rows_are_sent(tmp_path: Path) -> None:
    """A picture that is the same sends nothing; one changed row sends one row."""
    from rich.text import Text

    from sandbox.dashboard.screen import Screen

    path = tmp_path / "out"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    screen = Screen(descriptor, environment={"TERM": "xterm"})
    screen.enter()
    rows = [Text(f"row {index}", end="") for index in range(24)]
    assert screen.paint(rows) == 24
    size = path.stat().st_size
    assert screen.paint(list(rows)) == 0
    assert path.stat().st_size == size
    rows[5] = Text("row 5", style="", end="", spans=[])
    assert screen.paint(rows) == 0
    rows[5] = Text("changed", end="")
    assert screen.paint(rows) == 1
    screen.repaint()
    assert screen.paint(rows) == 24
    screen.leave()
    os.close(descriptor)
