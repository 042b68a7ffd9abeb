"""`sandbox run -t`: a guest lived in by hand, on a pty, and the terminal given back whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import termios
import threading

import pytest

import sandbox
from sandbox.errors import ConfigurationError
from tests import debian, program_roots
from tests.guest_terminal import GuestTerminal
from tests.terminal import ROOT

PROMPT = "/ #"


def busybox(isa: str) -> str:
    try:
        return str(debian.root_with_busybox(isa))
    except debian.Unavailable as reason:
        pytest.skip(str(reason))


def shell(isa: str, *options: str) -> GuestTerminal:
    return GuestTerminal("run", "-t", *options, "--rootfs", busybox(isa), "/bin/busybox", "sh")


def test_job_control() -> None:
    with shell("arm64") as terminal:
        terminal.wait_for(PROMPT)
        assert not terminal.is_restored()
        terminal.line("tty; echo $TERM", "/dev/pts/0\r\nxterm\r\n")
        terminal.line("busybox sh -c 'echo runn\"\"ing; while :; do :; done'", "running\r\n")
        terminal.press("\x03")
        terminal.wait_for(lambda: terminal.screen.plain.endswith(PROMPT + " \x1b[6n"))
        terminal.line("echo st''atus $?", "status 130")
        terminal.line("busybox sh -c 'echo read\"\"y; busybox cat'", "ready\r\n")
        terminal.press("\x1a")
        terminal.wait_for("[1]+  Stopped")
        terminal.line("fg; echo en''ded", "\r\nbusybox sh -c")
        terminal.line("once", "once\r\nonce\r\n")
        terminal.press("\x04")
        terminal.wait_for("ended")
        terminal.press("exit 7\r")
        assert terminal.wait_for_end() == 7
        assert terminal.is_restored()


def test_line_editing() -> None:
    with shell("i386") as terminal:
        terminal.wait_for(PROMPT)
        terminal.line("echo a''b > /tmp/longname; cd /tmp; echo in $PWD", "in /tmp\r\n")
        terminal.line("busybox cat lon\t", "\r\nab\r\n")  # completed
        terminal.line("echo wr\x7f\x7fright; echo $((6*7))", "right\r\n42\r\n")
        terminal.press("\x1b[A\x1b[A\r")  # history
        terminal.wait_for(lambda: terminal.screen.plain.count("\r\nab\r\n") == 2)
        terminal.press("exit\r")
        assert terminal.wait_for_end() == 0


def test_full_screen_programs() -> None:
    with shell("riscv64") as terminal:
        terminal.wait_for(PROMPT)
        terminal.press("busybox vi /tmp/text\r")
        terminal.wait_for("- /tmp/text")
        terminal.press("ione\rtwo\rthree\x1b")
        terminal.wait_for(lambda: terminal.screen.lines[:4] == ["one", "two", "three", "~"])
        terminal.press("1Gdd:wq\r")
        terminal.wait_for(lambda: "2L, 10C" in terminal.screen.plain)
        terminal.wait_for(lambda: terminal.screen.plain.endswith(PROMPT + " \x1b[6n"))
        terminal.line("busybox cat /tmp/text", "two\r\nthree\r\n")
        terminal.press("busybox seq 200 | busybox less\r")
        terminal.wait_for(lambda: terminal.screen.lines[:2] == ["1", "2"])
        terminal.press(" ")
        terminal.wait_for(lambda: terminal.screen.lines[0] == "24")
        terminal.press("G")
        terminal.wait_for(lambda: "200" in terminal.screen.lines)
        terminal.press("q")
        terminal.press("busybox top\r")
        heads = "PID PPID USER STAT VSZ %VSZ %CPU COMMAND".split()
        terminal.wait_for(lambda: terminal.screen.lines[3].split() == heads)
        terminal.wait_for(lambda: any(line.endswith("busybox top") for line in terminal.screen.lines[4:6]))
        terminal.press("q")
        terminal.line("echo ba''ck", "back")
        terminal.press("exit\r")
        assert terminal.wait_for_end() == 0
        assert terminal.is_restored()


def test_the_window() -> None:
    with shell("x86_64") as terminal:
        terminal.wait_for(PROMPT)
        terminal.line("busybox stty size", "24 80\r\n")
        terminal.line('busybox sh -c \'trap "echo changed" WINCH; echo re""ady; while :; do :; done\'', "ready\r\n")
        terminal.resize(100, 30)
        terminal.wait_for(lambda: "changed\r\n" in terminal.screen.plain)
        terminal.press("\x03")
        terminal.line("busybox stty size", "30 100\r\n")
        terminal.press("exit\r")
        assert terminal.wait_for_end() == 0


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGQUIT, 131), (signal.SIGINT, 130)],
)
def test_signals_from_elsewhere_restore_the_terminal(number: signal.Signals, status: int) -> None:
    with GuestTerminal("run", "-t", "cat") as terminal:
        terminal.line("x", "x\r\nx\r\n")
        assert not terminal.is_restored()
        terminal.process.send_signal(number)
        assert terminal.wait_for_end() == status
        assert terminal.is_restored()


# A shell with one job, since nobody stops the processes of a session that has none.
SHELL = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = os.fork()
if not job:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpgrp())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, "-m", "sandbox", "run", "-t", "cat"])
print(f"job {job}.", flush=True)
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


@pytest.mark.parametrize("number", [signal.SIGTSTP, signal.SIGSTOP])
def test_a_stop_from_elsewhere(number: signal.Signals) -> None:
    """The terminal is given back where that is possible, and is taken again."""
    with GuestTerminal(script=SHELL) as terminal:
        terminal.wait_for(lambda: "." in terminal.screen.plain)
        job = int(terminal.screen.plain.partition("job ")[2].partition(".")[0])
        terminal.wait_for(lambda: not terminal.is_restored())
        terminal.line("x", "x\r\nx\r\n")
        os.kill(job, number)
        terminal.wait_for(lambda: "stopped" in terminal.screen.plain)
        assert terminal.is_restored() or number == signal.SIGSTOP
        termios.tcsetattr(terminal.slave, termios.TCSANOW, terminal.before)
        terminal.press("fg\n")
        terminal.wait_for(lambda: not terminal.is_restored())
        terminal.line("y", "y\r\ny\r\n")
        terminal.press("\x04")
        assert terminal.wait_for_end() == 0
        assert terminal.is_restored()


ENDS = {
    "a crash": (["wild"], 139, "killed by SIGSEGV"),
    "the timeout": (["--timeout", "0.3", "loop"], 124, "timeout"),
    "not found": (["/nonexistent"], 127, "no such program"),
    "a trace over the screen": (["--trace", "hello"], 125, "--trace=FILE"),
    "deterministic": (["--deterministic", "hello"], 125, "--deterministic"),
}


@pytest.mark.parametrize(("arguments", "status", "said"), ENDS.values(), ids=ENDS)
def test_ends_restore_the_terminal(arguments: list[str], status: int, said: str) -> None:
    with GuestTerminal("run", "-t", *arguments) as terminal:
        assert terminal.wait_for_end() == status
        assert said.lower() in terminal.screen.plain.lower()
        assert terminal.is_restored()


DEFECT = """
import sys
from sandbox import cli
from sandbox.cli import foreground
def fail(self):
    raise RuntimeError("a defect")
foreground.Foreground._serve = fail
sys.exit(cli.main(["run", "-t", "cat"]))
"""


def test_a_defect_restores_the_terminal() -> None:
    with GuestTerminal(script=DEFECT) as terminal:
        assert terminal.wait_for_end() == 125
        assert "RuntimeError: a defect" in terminal.screen.plain
        assert terminal.is_restored()


def test_nothing_shown_is_lost_when_the_reader_is_slow() -> None:
    with GuestTerminal("run", "-t", "--rootfs", busybox("x86_64"), "/bin/busybox", "seq", "20000") as terminal:
        assert terminal.wait_for_end() == 0
        assert terminal.screen.plain.count("\r\n") == 20000
        assert terminal.is_restored()


def test_without_a_terminal() -> None:
    command = [sys.executable, "-m", "sandbox", "run", "-t", "hello"]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=60, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (125, b"")
    assert done.stderr == b"sandbox: --tty needs a terminal, and standard input is none\n"


def test_bash() -> None:
    try:
        root = str(program_roots.root("x86_64"))
    except debian.Unavailable as reason:
        pytest.skip(str(reason))
    with GuestTerminal("run", "-t", "-e", "PS1=$ ", "--rootfs", root, "/bin/bash", "--norc") as terminal:
        terminal.wait_for("$")
        terminal.line("echo $((6 * 7))", "\r\n42\r\n")
        terminal.press("ls /usr/bin/sha51\t\r")
        terminal.wait_for("/usr/bin/sha512sum\n")
        terminal.line("(echo runn''ing; sleep 1000)", "running\r\n")
        terminal.press("\x1a")
        terminal.wait_for("[1]+  Stopped")
        terminal.line("bg; kill %1; wait; echo en''ded", "ended\r\n")
        terminal.line("echo re''ady | cat - /dev/tty | cat", "ready\r\n")
        terminal.press("\x03")
        terminal.wait_for(lambda: terminal.screen.plain.endswith("$ "))
        terminal.line("echo 'st'atus $?", "status 130")
        terminal.wait_for(lambda: terminal.screen.plain.endswith("$ "))
        terminal.press("\x04")
        assert terminal.wait_for_end() == 0
        assert terminal.is_restored()


# From Python


def test_a_terminal_for_any_vm() -> None:
    with sandbox.Hypervisor() as hypervisor:
        vm = hypervisor.create("shell", ["/bin/busybox", "sh"], rootfs=busybox("arm"), tty=True)
        vm.console.write(b"busybox stty size; busybox cat\n")
        vm.console.resize(10, 20)
        seen = threading.Event()
        vm.console.listen(lambda stream, data: seen.set() if b"10 20\r\n" in vm.console.tail() else None)
        vm.start()
        assert seen.wait(60)
        vm.console.write(b"\x04exit 3\n")
        assert vm.wait(60) == 3
        vm.start()
        vm.console.close()  # the key for the end of a file
        assert vm.wait(60) == 0


def test_much_typed_ahead_is_not_lost() -> None:
    """More than the line discipline holds."""
    with sandbox.Hypervisor() as hypervisor:
        vm = hypervisor.create("wc", ["/bin/busybox", "wc"], rootfs=busybox("x86_64"), tty=True)
        assert vm.console.write(b"x" * 79 + b"\n" * 1) == 80
        for _ in range(2500):
            assert vm.console.write(b"y" * 79 + b"\n") == 80
        vm.console.close()
        vm.start()
        assert vm.wait(60) == 0
        assert vm.console.tail().endswith(b"  2501      2501    200080\r\n")


def test_a_board_has_none() -> None:
    with sandbox.Hypervisor() as hypervisor, pytest.raises(ConfigurationError, match="serial port"):
        hypervisor.create("board", ["serial"], board="riscv64-virt", tty=True)
