"""The examples of README.md do what it says, in any directory."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from tests import debian

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
ACTIVATE = ". .venv/bin/activate"


def commands(section: str) -> str:
    """What a section's blocks for a shell hold, but for what needs a terminal."""
    text = README.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    blocks = [block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "sudo" not in block]
    lines = "".join(blocks).splitlines()
    assert lines[0].startswith(ACTIVATE)
    return "\n".join(line for line in lines[1:] if not line.startswith("sandbox run -t "))


def test_the_commands(tmp_path: Path) -> None:
    """Typed one after the other, each a process of its own."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "sandbox").write_text(f'#!/bin/sh\nexec {sys.executable} -m sandbox "$@"\n')
    (tools / "sandbox").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "SANDBOX_HOME": str(tmp_path / "home"),
    }
    script = f"trap 'sandbox down' ERR\nset -e\n{commands('From the command line')}\n"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=300, cwd=tmp_path, env=environment
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = done.stdout
    for part in ("hello\nhello\n", "9592\n", "timer 5\n", "passwd", "count-3", "riscv64-virt", "pidfd_open", "uid=0"):
        assert part in told, part
    assert 'write(1, "hello\\n", 6)' in done.stderr and '"syscalls"' in done.stderr
    assert "3 VMs" not in done.stderr and "4 VMs are up" in done.stderr


def test_the_first_example_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = re.search(r"## From Python\n\n```python\n(.*?)```", README, re.DOTALL)
    assert found is not None
    output = io.StringIO()
    with redirect_stdout(output):
        exec(compile(found[1], "README.md", "exec"), {})
    first, _, *code = output.getvalue().splitlines()
    assert first.startswith("0 b'box\\n' {") and len(code) == 4


def test_the_example_for_reverse_engineers() -> None:
    """It prints what the block behind it shows. A busybox of Debian stands in for the machine's own."""
    section = README.partition("### For reverse engineers")[2].partition("\n#")[0]
    found = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", section, re.DOTALL)
    assert found is not None
    code, printed = found.groups()
    assert code.count('"/bin/busybox"') == 1
    try:
        code = code.replace('"/bin/busybox"', repr(str(debian.busybox("x86_64"))))
    except debian.Unavailable as reason:
        pytest.skip(str(reason))
    output = io.StringIO()
    with redirect_stdout(output):
        exec(compile(code, "README.md", "exec"), {})
    assert output.getvalue() == printed
