"""The guests that come with the package: each keeps its contract, in the sandbox and where the truth is.

A new file in `guests/` is found by itself; its header's `test` lines are the cases.
"""

from __future__ import annotations

import re
import resource
import subprocess
from pathlib import Path

import pytest

import sandbox
from sandbox import assembler, guests
from sandbox.abi import elf
from sandbox.assembler import gnu
from sandbox.engine import ISAS
from sandbox.errors import ConfigurationError
from sandbox.loader import BytesSource, parse, read_symbols
from tests import native

LINUX = [guest for guest in guests.guests() if guest.board is None]
RISCV = [guest for guest in guests.guests() if guest.arch == "riscv64"]


def case_rows(native_too: bool = False) -> list[object]:
    """Every case of the Linux guests; `native_too`: only those that end by themselves wherever they run."""
    return [
        pytest.param(guest, case, id=f"{guest.name}-{guest.arch}-{number}")
        for guest in LINUX
        for number, case in enumerate(guest.cases)
        if not (native_too and (case.endless or case.memory))
    ]


# ---- contracts


def test_every_program_is_there_for_every_isa() -> None:
    wanted = "hello cat echo sort sieve wc burner hog wild loop storm counter check"
    for name in wanted.split():
        assert {guest.arch for guest in LINUX if guest.name == name} == set(ISAS), name


@pytest.mark.parametrize("name", sorted({guest.name for guest in LINUX}))
def test_the_contract_is_the_same_on_every_isa(name: str) -> None:
    family = [guest for guest in LINUX if guest.name == name]
    contracts = {
        (guest.args, guest.stdin, guest.stdout, guest.status, repr(guest.cases).replace(guest.arch, "ARCH"))
        for guest in family
    }
    assert len(contracts) == 1
    if name != "check":  # which says what it checks there
        assert len({guest.purpose for guest in family}) == 1


@pytest.mark.parametrize("guest", guests.guests(), ids=lambda guest: f"{guest.name}-{guest.arch}")
def test_text_is_executed_and_data_is_written_never_both(guest: guests.Guest) -> None:
    for segment in parse(BytesSource(guest.program())).segments:
        assert segment.protection in (elf.PF_R | 4, 5, 3), "read-execute or read-write"


@pytest.mark.parametrize(
    ("name", "symbol", "arches"), [("burner", "iterations", ISAS), ("storm", "calls", ISAS), ("wild", "crash", ISAS)]
)
def test_documented_symbols(name: str, symbol: str, arches: dict[str, object]) -> None:
    for arch in arches:
        symbols = read_symbols(guests.guest(name, arch).program())
        assert symbols.address(symbol) is not None
        if name == "burner":
            turn, end = symbols.address("turn"), symbols.address("turn_end")
            assert turn is not None
            assert end is not None
            assert 20 < end - turn < 60


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('stdout="x', "is not understood at"),
        ('output="x"', "is not understood at: output"),
        ("status=0 status=1", "says status twice"),
        ("!", "is not understood at: !"),
    ],
)
def test_bad_test_lines_are_refused(line: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        guests.parse_case(line, "file.s")


def test_test_lines() -> None:
    case = guests.parse_case(r"""args="a 'b c' ''" stdin="\x00\n" stdout="\"q\"\t" status=7""", "file.s")
    assert case == guests.Case(("a", "b c", ""), b"\0\n", b'"q"\t', status=7)
    case = guests.parse_case('memory="16M" stdout~"1?[0-9] MiB\\n" endless', "file.s")
    assert case.pattern
    assert case.endless
    assert case.memory == "16M"
    assert case.accepts(b"15 MiB\n", 0)
    assert not case.accepts(b"25 MiB\n", 0)
    assert not case.accepts(b"15 MiB\n", 1)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.arm64.s", "# arch: arm64\n", "the header lacks: purpose, args, stdin, stdout, status"),
        (
            "x.arm64.s",
            "# arch: arm\n# purpose: p\n# args: a\n# stdin: s\n# stdout: s\n# status: 0\n",
            "header says arch",
        ),
        ("x.arm.s", "# arch: arm\n# purpose: p\n# args: a\n# stdin: s\n# stdout: s\n# status: 0\n", "has no test line"),
    ],
)
def test_bad_headers_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        guests.read_guest(path)


def test_unknown_guests_are_named() -> None:
    with pytest.raises(ConfigurationError, match="there is no guest 'none' for arm; there are: burner, cat"):
        guests.guest("none", "arm")
    row = guests.guest("timer", "riscv64").row()
    assert (row["name"], row["arch"], row["board"]) == ("timer", "riscv64", "riscv64-virt")


# ---- in the sandbox


@pytest.mark.parametrize(("guest", "case"), case_rows())
def test_in_the_sandbox(guest: guests.Guest, case: guests.Case) -> None:
    done = sandbox.run(
        [str(guest.path), *case.args],
        arch=guest.arch,
        input=case.stdin,
        memory=case.memory or "32M",
        deterministic=True,
        timeout=0.005 if case.endless else 10,  # of virtual time: a nanosecond for each code byte
    )
    if case.endless:
        assert done.timed_out, done
    else:
        assert case.accepts(done.stdout, done.returncode), done


# ---- where the truth is


@pytest.mark.parametrize(("guest", "case"), case_rows(native_too=True))
def test_where_the_truth_is(guest: guests.Guest, case: guests.Case, tmp_path: Path) -> None:
    program = tmp_path / guest.name
    program.write_bytes(guest.program())
    program.chmod(0o755)
    try:
        there = native.run(guest.arch, program, [guest.name, *case.args], stdin=case.stdin, cwd=tmp_path)
    except native.NoOracle as missing:
        pytest.skip(str(missing))
    assert case.accepts(there.stdout, there.status), there


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_the_hog_is_refused_natively_too(arch: str, tmp_path: Path) -> None:
    guest = guests.guest("hog", arch)
    program = tmp_path / "hog"
    program.write_bytes(guest.program())
    program.chmod(0o755)
    limit = 16 << 20
    try:
        done = subprocess.run(
            [program],
            capture_output=True,
            check=False,
            timeout=20,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        )
    except OSError as error:
        pytest.skip(f"the host runs no {arch} programs: {error}")
    (case,) = (case for case in guest.cases if case.memory)
    assert case.accepts(done.stdout, done.returncode), done


# ---- the checks check

SPOILT = {
    "x86_64": ("expect  rax, 0xffffffffffff0005", "expect  rax, 6"),
    "i386": ("expect  eax, 0xffff05ff", "expect  eax, 6"),
    "arm64": ("expect  x0, 0x1234000056780000", "expect  x0, 6"),
    "arm": ("expect_flags N+V\n", "expect_flags N\n"),
    "riscv64": ("expect  a1, -1\n", "expect  a1, 6\n"),
}
NUMBER = {"x86_64": 2, "i386": 2, "arm64": 2, "arm": 1, "riscv64": 2}


@pytest.mark.parametrize("arch", list(ISAS))
def test_a_wrong_result_is_found_and_numbered(arch: str, tmp_path: Path) -> None:
    if arch == "riscv64" and not gnu.available():
        pytest.skip("riscv64-linux-gnu-as is not installed")
    good, bad = SPOILT[arch]
    source = guests.guest("check", arch).source()
    assert good in source
    path = tmp_path / "spoilt.s"
    path.write_text(source.replace(good, bad, 1))
    done = sandbox.run([str(path)], arch=arch, timeout=10)
    assert done.returncode == NUMBER[arch]
    assert done.stderr == b"failed: assertion %3d\n" % NUMBER[arch]


@pytest.mark.parametrize("arch", list(ISAS))
def test_the_check_is_thorough(arch: str) -> None:
    source = guests.guest("check", arch).source()
    assertions = re.findall(r"^ +expect", source, re.MULTILINE)
    assert 100 < len(assertions) < 256, "their numbers are exit statuses"


# ---- riscv64, which is kept assembled


@pytest.mark.parametrize("guest", RISCV, ids=lambda guest: guest.name)
def test_the_kept_elf_is_up_to_date(guest: guests.Guest) -> None:
    kept = gnu.kept_program(guest.source(), guest.path)
    assert kept is not None, f"rebuild it: sandbox asm {guest.path} -o {guest.path.with_suffix('.elf')}"


@pytest.mark.skipif(not gnu.available(), reason="riscv64-linux-gnu-as is not installed")
@pytest.mark.parametrize("guest", RISCV, ids=lambda guest: guest.name)
def test_the_kept_elf_is_what_is_built(guest: guests.Guest) -> None:
    assert guest.path.with_suffix(".elf").read_bytes() == assembler.assemble(guest.source(), guest.path.name)
