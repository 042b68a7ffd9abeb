"""The dashboard on a real pty: drawn, resized, suspended, ended in every way; the terminal is restored each time."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.text import Text

from sandbox.dashboard.app import App, _loop
from sandbox.dashboard.keys import Decoder, Key, Keyboard
from sandbox.dashboard.screen import Screen
from tests.terminal import Terminal
from tests.test_dashboard_app import FakeSource

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


def test_the_mode_is_set_before_it_is_shown() -> None:
    """Who reads "typing into" may press Ctrl-C at once: it must not meet the mode before. And the other way round."""
    happened: list[str] = []
    keys = iter("i\x1dq")

    class Watched(Screen):
        def paint(self, rows: Sequence[Text]) -> int:
            happened.append("shown: typing" if "typing into" in rows[-1].plain else "shown: keys")
            return 0

    class Scripted(Keyboard):
        def pass_signals_as_keys(self, on: bool) -> None:
            happened.append(f"signals as keys: {on}")

        def read(self, timeout: float) -> list[Key]:
            return Decoder().feed(next(keys).encode(), 0.0)

    descriptor = os.open(os.devnull, os.O_RDWR)
    try:
        screen = Watched(descriptor, environment={"TERM": "xterm"})
        assert _loop(App(FakeSource()), screen, Scripted(descriptor), lambda: False) == 0
    finally:
        os.close(descriptor)
    assert happened == [
        "signals as keys: False",
        "shown: keys",
        "signals as keys: True",
        "shown: typing",
        "signals as keys: False",
        "shown: keys",
    ]


@pytest.mark.parametrize("ahead", ["\x1d\x03", "\x1d\x1a\x03", "x\x03y\x1dq"])
def test_keys_typed_ahead_of_the_mode(ahead: str) -> None:
    """Ctrl-C and Ctrl-Z right behind the end of typing are keys still; they do what they always do."""
    with session() as terminal:
        terminal.wait_for("? help")
        terminal.press("i")
        terminal.wait_for("typing into")
        terminal.press(ahead)
        assert terminal.wait_for_end() == 0
        assert terminal.is_restored()


def test_no_color_and_no_unicode() -> None:
    with session(NO_COLOR="1", PYTHONIOENCODING="ascii", LC_ALL="C", PYTHONUTF8="0") as terminal:
        terminal.wait_for("? help")
        assert terminal.screen.text.isascii()
        terminal.press("q")
        assert terminal.wait_for_end() == 0


def test_only_changed_rows_are_sent(tmp_path: Path) -> None:
    """A picture that is the same sends nothing; one changed row sends one row."""
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
