"""Real dynamic programs of Debian in the sandbox and where the truth is: the same stdout and the same exit status.

The truth is the host kernel for x86 (the same files, in a chroot). For the other ISAs it is qemu-user, for as long as
a run is one process: without binfmt_misc qemu-user hands an execve to the host, so a run that begins with a program of
`STARTS_OTHERS` is compared with the same release of Debian for amd64 instead, whose versions are the same.

Each line of program_runs.txt is one run, by shell quoting; a word `<NAME` at its end is stdin.
By default every ISA takes its share of the table;
SANDBOX_TEST_PROGRAMS=arm64 takes all of one ISA; where SANDBOX_TEST_MANY is set, all of all.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import sandbox
from tests import campaign, debian, native, program_roots, scene

RUNS = Path(__file__).with_name("program_runs.txt").read_text()

SCRIPTS = {"data.json": '[{"a": 1, "s": "x"}, {"a": 2, "s": "yy"}, {"a": 3.5, "s": "z\\u00e4", "n": null}]\n'}
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/root", "TZ": "UTC0", "LC_ALL": "C.UTF-8"}
STARTS_OTHERS = ("bash", "dash", "sh", "xargs", "env", "timeout", "find", "split", "diff3", "python3", "perl", "tar")
IN_ANY_ORDER = ("find ", "grep -r", "xargs -P")
SHARE = 32  # by default each ISA takes one of so many runs


def invocations() -> dict[str, tuple[list[str], str | None]]:
    found: dict[str, tuple[list[str], str | None]] = {}
    pending = ""
    for line in RUNS.splitlines():
        if not pending and (not line or line.startswith("# ")):
            continue
        pending += line
        try:
            words = shlex.split(pending)
        except ValueError:  # a quotation that goes on in the next line
            pending += "\n"
            continue
        assert pending not in found, f"twice: {pending}"
        stdin = words.pop()[1:] if words[-1].startswith("<") and len(words[-1]) > 1 else None
        found[pending] = words, stdin
        pending = ""
    return found


INVOCATIONS = invocations()


def selected() -> Iterator[tuple[str, str]]:
    wanted = os.environ.get("SANDBOX_TEST_PROGRAMS", "")
    for place, isa in enumerate(debian.PORTS):
        for number, command in enumerate(INVOCATIONS):
            share = not wanted and number % SHARE == place * SHARE // len(debian.PORTS)
            if campaign.AT_LENGTH or wanted == isa or share:
                yield isa, command


@pytest.fixture
def directory_name() -> str:
    return f"run-{os.getpid()}"


def prepare(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    scene.build(directory)
    for name, contents in SCRIPTS.items():
        (directory / name).write_text(contents)


def by_oracle(isa: str, words: list[str], stdin: bytes, name: str) -> native.Outcome:
    if isa not in ("x86_64", "i386") and words[0] not in STARTS_OTHERS:
        root = program_roots.root(isa)
        program = root / "usr" / "bin" / words[0]
        libraries = {**ENVIRONMENT, "QEMU_LD_PREFIX": str(root)}
        return native.run(isa, program, words, stdin=stdin, cwd=root / "work" / name, environment=libraries)
    return program_roots.run_in_chroot(program_roots.twin(isa), words, stdin, f"/work/{name}", ENVIRONMENT)


@pytest.mark.parametrize(("isa", "command"), list(selected()), ids=lambda value: value.replace("\n", "; "))
def test_run(isa: str, command: str, directory_name: str) -> None:
    words, stdin_name = INVOCATIONS[command]
    try:
        root = program_roots.root(isa)
        twin = program_roots.twin(isa)
    except debian.Unavailable as reason:
        pytest.skip(str(reason))
    for place in {root, twin}:
        prepare(place / "work" / directory_name)
    directory = root / "work" / directory_name
    try:
        stdin = (directory / stdin_name).read_bytes() if stdin_name else b""
        # The sandbox first: it writes to a layer of its own, the oracle to the directory.
        done = sandbox.run(words, input=stdin, rootfs=root, cwd=f"/work/{directory_name}", env=ENVIRONMENT, timeout=120)
        try:
            expected = by_oracle(isa, words, stdin, directory_name)
        except native.NoOracle as reason:
            pytest.skip(str(reason))
    finally:
        for place in {root, twin}:
            shutil.rmtree(place / "work" / directory_name, ignore_errors=True)
    outcome = native.Outcome(done.stdout, b"", done.returncode)
    expected = native.Outcome(expected.stdout, b"", expected.status)
    if command.startswith(IN_ANY_ORDER):
        outcome, expected = outcome.sorted(), expected.sorted()
    assert (outcome.status, outcome.stdout) == (expected.status, expected.stdout), done.stderr.decode(errors="replace")
