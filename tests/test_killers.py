"""x86 code that crashes stock Unicorn or that it computes wrongly ends a run with a reason instead.

The corpus runs in child processes, so that a miss is a failed test and not the end of the test run. Each fatal
sequence is a straight line that overruns the translator's 512 temporaries (issue texts and sweep: `_x86.h`).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys

import pytest

from sandbox.engine import ISAS, x86
from sandbox.engine.native import Accelerator

FXCH, FADDP, FLD_MEMORY, FMUL_MEMORY = "d9c9", "dec1", "dd442408", "dc4c2410"
RUN = """
import json, sys
from sandbox.engine import ISAS, Context, Engine, StopReason
from sandbox.memory import AddressSpace, FramePool
pool = FramePool(16 << 20)
for isa_name, code in json.load(sys.stdin):
    isa = ISAS[isa_name]
    space = AddressSpace(pool, pool.account(4 << 20), isa.bits)
    space.map(0x10000, 0x4000, 7, fixed=True)
    space.map(0x20000, 0x1000, 3, fixed=True)
    space.write(0x10000, bytes.fromhex(code))
    engine, context = Engine(isa, pool), Context(isa)
    context.pc, context.sp = 0x10000, 0x20800
    for _ in range(20):
        stop = engine.run(context, space, 1_000_000)
        if not (stop.reason is StopReason.FAULT and space.resolve(stop.address, stop.access)):
            break
    print(json.dumps(stop.error or stop.reason.name == "BUDGET" and "BUDGET" or stop.trap.value), flush=True)
    engine.close()
    space.release()
"""


def outcomes(cases: list[tuple[str, str]], engine: str = "") -> list[str]:
    """What became of each (ISA, code); a child that dies leaves its line and those after it out."""
    environment = {"SANDBOX_ENGINE": engine} if engine else {}
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps(cases).encode(),
        capture_output=True,
        env={**os.environ, **environment},
        timeout=300,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"child died after {len(lines)} of {len(cases)}: {done.stderr[-500:].decode()}"
    return lines


OVERRUN = "overruns Unicorn's translator"
HLT, STORES = "f4", "004500"  # add [ebp], al
CASES = [
    # name, code, what the run ends with
    ("240 fxch", FXCH * 240 + HLT, OVERRUN),
    ("300 fxch in the middle of a page", "90" * 1000 + FXCH * 300 + HLT, OVERRUN),
    ("x87 mix", (FLD_MEMORY + FMUL_MEMORY + FADDP) * 130 + HLT, OVERRUN),
    ("470 pshufd", "660f70c101" * 470 + HLT, OVERRUN),
    ("470 crc32", "f20f38f0c1" * 470 + HLT, OVERRUN),
    ("470 roundsd", "660f3a0bc101" * 470 + HLT, OVERRUN),
    ("233 insertq with constants", "f20f78e99267" * 233 + HLT, OVERRUN),
    ("400 insertq as if it had an address", "f2f00f786782e8" * 400 + HLT, OVERRUN),
    ("233 extrq with constants", "660f78c19267" * 233 + HLT, OVERRUN),
    ("300 fxch across the end of a page", "90" * 3796 + FXCH * 300 + HLT, OVERRUN),
    (
        "across the end of the page, the second run first",
        "e9fb0f0000" + "90" * 3791 + FXCH * 300 + "e9a1ecffff",
        OVERRUN,
    ),
    ("100 fxch across the end of a page", "90" * 3996 + FXCH * 100 + HLT, "protection fault"),
    ("100 fxch are no problem", FXCH * 100 + HLT, "protection fault"),
    ("300 fxch with a branch between", (FXCH * 100 + "eb00") * 3 + HLT, "protection fault"),
    # mov ebp, 0x11800; stores to the page that the block runs on into, mov eax, 0x12345678 lying across the border
    ("stores to the next page of its block", "bd00180100" + "90" * 4059 + STORES * 10 + "90b878563412" + HLT, "protec"),
    # mov ebp, 0x10ffd; mov [ebp], eax: lies in two pages and stores to both; it never ends, but each turn of it does
    ("two pages that it stores to and runs from", "bdfd0f0100" + "90" * 4089 + "894500" + HLT, "BUDGET"),
    ("a killer written by the guest itself", "bf00100100b92c01000066b8d9c9fcf366ab" + "e9e90f0000", OVERRUN),
]


@pytest.mark.parametrize("engine", ["native", "python"])
@pytest.mark.parametrize("isa", ["x86_64", "i386"])
def test_fatal_runs_are_refused(isa: str, engine: str, request: pytest.FixtureRequest) -> None:
    if engine == "native":
        request.getfixturevalue("built_accelerator")
    found = outcomes([(isa, code) for _, code, _ in CASES], engine)
    for (name, _, expected), got in zip(CASES, found, strict=True):
        assert expected in got, (name, got)


LOCKED = [
    ("lock bts rcx, rcx", "f0480fabc9", "illegal instruction"),
    ("lock bt ecx, 1 behind other prefixes", "66f30fbae101" + "66f0f30fbae101", "illegal instruction"),
    ("lock bts [rsp], ecx works", "f00fab0c24" + HLT, "protection fault"),
    ("or eax, esi; bts rax, rdx: the same bytes", "09f0480fabd0" + HLT, "protection fault"),
    ("into the middle of the same bytes", "eb0109f0480fabd0" + HLT, "illegal instruction"),
    ("across the end of a page", "90" * 4094 + "f00fabc9", "illegal instruction"),
    ("across it, where no instruction begins", "90" * 4093 + "09f00fabc9" + HLT, "protection fault"),
    ("lock xadd across it is not one", "90" * 4094 + "f00fc10c24" + HLT, "protection fault"),
    (
        "written by the guest itself",
        "c70510000000f00fabc9" + "eb0a" + "90" * 10 + "90909090" + HLT,
        "illegal instruction",
    ),
    ("more of them than are guarded", "f00fabc9" * 70, "too many locked bit tests"),
]


@pytest.mark.parametrize("engine", ["native", "python"])
def test_locked_bit_tests_are_illegal_where_they_are_reached(engine: str, request: pytest.FixtureRequest) -> None:
    if engine == "native":
        request.getfixturevalue("built_accelerator")
    found = outcomes([("x86_64", code) for _, code, _ in LOCKED], engine)
    for (name, _, expected), got in zip(LOCKED, found, strict=True):
        assert expected in got, (name, got)


STEPS = """
import json, sys
from sandbox.engine import ISAS, Context, Engine
from sandbox.memory import AddressSpace, FramePool
pool, isa = FramePool(16 << 20), ISAS["x86_64"]
engine = Engine(isa, pool)
for code, offset, steps in json.load(sys.stdin):
    space = AddressSpace(pool, pool.account(4 << 20), 64)
    space.map(0x10000, 0x4000, 7, fixed=True)
    space.write(0x10000, bytes.fromhex(code))
    context = Context(isa)
    context.pc, context.sp, context["rax"] = 0x10000 + offset, 0x12000, 0x11000
    seen = []
    for _ in range(steps):
        stop = engine.step(context, space)
        if stop.reason.name == "FAULT" and space.resolve(stop.address, stop.access):
            stop = engine.step(context, space)
        seen.append((stop.reason.name, context.pc - 0x10000))
    print(json.dumps(seen), flush=True)
    context.release()
    space.release()
"""
OR, BTS, STORE = "09f0", "0fabd0", "0000"  # or eax, esi; bts eax, edx; add [rax], al
STEPPED = [
    ("the same bytes as a locked one", OR + BTS + HLT, 0, [("BUDGET", 2), ("BUDGET", 5), ("TRAP", 5)]),
    ("into their middle", OR + BTS + HLT, 1, [("TRAP", 1)]),
    (
        "where one was in an engine's earlier program",
        "90" + STORE * 4,
        0,
        [("BUDGET", 1), ("BUDGET", 3), ("BUDGET", 5)],
    ),
    (
        "stores to the next page of its block",
        "90" * 0xFF5 + "008080000000" + "90" * 4 + "b878563412" + HLT,  # add [rax + 0x80], al
        0xFF5,
        [("BUDGET", at) for at in (0xFFB, 0xFFC, 0xFFD, 0xFFE, 0xFFF, 0x1004)] + [("TRAP", 0x1004)],
    ),
    (
        "stores to its own page",
        "89e0" + "4889e0" + STORE * 8,
        0,
        [("BUDGET", 2), ("BUDGET", 5), ("BUDGET", 7), ("BUDGET", 9)],
    ),
]


@pytest.mark.parametrize("engine", ["native", "python"])
def test_steps_are_single(engine: str, request: pytest.FixtureRequest) -> None:
    if engine == "native":
        request.getfixturevalue("built_accelerator")
    done = subprocess.run(
        [sys.executable, "-c", STEPS],
        input=json.dumps([(code, offset, len(steps)) for _, code, offset, steps in STEPPED]).encode(),
        capture_output=True,
        env={**os.environ, "SANDBOX_ENGINE": engine},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    for (name, _, _, steps), line in zip(STEPPED, done.stdout.splitlines(), strict=True):
        assert [tuple(step) for step in json.loads(line)] == steps, name


AVX = [
    ("vpaddd xmm", "c5f1fec2", "AVX"),
    ("vpaddd ymm is an illegal instruction to Unicorn", "c5f5fec2", "illegal instruction"),
    ("vpaddd xmm after a branch", "eb00c5f1fec2", "AVX"),
    ("andn works on general registers", "c4e278f2c2f4", "protection fault"),
    ("AVX that is never reached", "eb04c5f1fec2f4", "protection fault"),
]


@pytest.mark.parametrize("engine", ["native", "python"])
def test_avx_that_would_be_wrong_is_refused(engine: str, request: pytest.FixtureRequest) -> None:
    if engine == "native":
        request.getfixturevalue("built_accelerator")
    found = outcomes([("x86_64", code) for _, code, _ in AVX], engine)
    for (name, _, expected), got in zip(AVX, found, strict=True):
        assert expected in got, (name, got)


PIECES = (
    "d9c9 d9c0 dec1 dd442408 dc4c2408 d8c9 d9fa d9e8 0f70c101 dbf1 dfe0 0fc6c100 f20f38f0c1 660f3a0bc101"
    " 01c8 0fafc1 f7642408 d9442408 dd5c2410 660fefc1"
    " f30f10442404 0fa4c103 d3e0 c1c005 db442404 d84c2408 d97c2408 0fc2c101"
).split()


@pytest.mark.parametrize("isa", ["x86_64", "i386"])
def test_no_mixture_slips_through(isa: str) -> None:
    """Random straight lines of suspicious and harmless instructions: refused or survived, never a crash."""
    chance = random.Random(7)
    cases = []
    for _ in range(150):
        pieces = chance.sample(PIECES, chance.randrange(1, 6))
        code = ""
        for _ in range(chance.randrange(80, 500)):
            code += chance.choice(pieces)
            if len(code) > 7800:
                break
        cases.append((isa, code + HLT))
    found = outcomes(cases)
    refused = sum(OVERRUN in line for line in found)
    assert 10 < refused < 140, refused


def test_both_decoders_agree(built_accelerator: Accelerator) -> None:
    """The C and the Python decoder give the same length for random bytes, and the same verdict on random pages."""
    native = built_accelerator
    chance = random.Random(3)
    for bits in (32, 64):
        for _ in range(20_000):
            lead = chance.choice((b"", b"\x0f", b"\x66", b"\x0f\x3a", b"\xc5", b"\xc4", b"\x48"))
            code = lead + chance.randbytes(16 - len(lead))
            assert x86.decode(code, 0, 16, bits == 64).length == native.x86_length(code, 16, bits), (bits, code.hex())
            locked = (
                chance.choice((b"\xf0", b"\xf0\x48", b"\xf0\x66\xf0"))
                + b"\x0f"
                + chance.choice((b"\xa3", b"\xbb", b"\xba"))
            )
            code = locked[: chance.randrange(6)] + code
            assert x86.locked_bit(code, 0, bits == 64) == bool(native.x86_locked_bit(code, len(code), bits)), code.hex()
        for fraction in range(0, 100, 5):
            page = bytes(
                chance.choice(b"\xd8\xd9\xc9\xde\xc1") if chance.randrange(100) < fraction else chance.randrange(256)
                for _ in range(4096)
            )
            assert x86.overruns(page, bits == 64) == bool(native.x86_overruns(page, bits)), (bits, fraction)


def test_isas_that_need_no_scan() -> None:
    """Sweeps of the other ISAs found no such sequence (facts); the scan costs them nothing."""
    from sandbox.engine import Engine
    from sandbox.memory import FramePool

    pool = FramePool(1 << 20)
    for name in ("arm64", "arm", "riscv64"):
        engine = Engine(ISAS[name], pool)
        assert engine.words.scan == 0
        engine.close()
