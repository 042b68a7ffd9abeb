"""Random bytes as code, run by a child process that may die of them: `python -m tests.random_code ISA SEED SECONDS`.

Case number n of a seed is always the same code, so a death is reproduced by `--only n`. The child writes the number of
the case it is about to run into the file named by `--mark`; the parent (`hunt`) reads from there what killed it, and
starts another child behind it. Cases are of several kinds, because pure noise rarely gets far: noise; one or a few
random instructions repeated to the end of a page (long blocks); real code with some bytes changed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from sandbox import guests
from sandbox.engine import ISAS, Context, Engine, StopReason
from sandbox.errors import EngineError
from sandbox.memory import AddressSpace, FramePool

ROOT = Path(__file__).parent.parent
CODE, CODE_SIZE, DATA, DATA_SIZE, STACK = 0x10000, 0x3000, 0x40000, 0x4000, 0x80000
MACHINES = ("x86_64", "i386", "arm64", "arm", "thumb", "riscv64")
SKIPS = {"x86_64": (1, 2, 3), "i386": (1, 2, 3), "arm64": (4,), "arm": (4,), "thumb": (2, 4), "riscv64": (2, 4)}
BUDGET = 60_000  # code bytes a case
STOPS = 100  # syscalls, traps and faults a case may have
SKIPPED = 8  # traps and faults a case goes on behind
CASES_PER_ENGINE = 3_000
STUCK = 30.0  # seconds without a new case: the host hangs, which counts as a death


def isa_name(machine: str) -> str:
    return "arm" if machine == "thumb" else machine


def _instruction(machine: str, chance: random.Random) -> bytes:
    """Something that has the outline of an instruction."""
    if machine in ("x86_64", "i386"):
        prefixes = b"".join(
            chance.choice((b"", b"", b"", b"\x66", b"\xf2", b"\xf3", b"\xf0", b"\x67")) for _ in range(2)
        )
        if machine == "x86_64" and chance.random() < 0.4:
            prefixes += bytes([0x40 | chance.randrange(16)])
        escape = chance.choice((b"", b"", b"", b"\x0f", b"\x0f", b"\x0f", b"\x0f\x38", b"\x0f\x3a"))
        if chance.random() < 0.05:
            escape = chance.choice((b"\xc4", b"\xc5", b"\x62", b"\xd9", b"\xdf"))
        tail = chance.randbytes(chance.randrange(1, 5))
        if chance.random() < 0.6:  # registers only: more of them run to the end
            tail = tail[:1] + bytes([0xC0 | chance.randrange(64)]) + tail[2:]
        return prefixes + escape + tail
    if machine == "thumb":
        return (
            chance.randbytes(2)
            if chance.random() < 0.5
            else struct.pack("<H", chance.randrange(0xE800, 0x10000)) + chance.randbytes(2)
        )
    word = chance.getrandbits(32)
    if machine == "arm" and chance.random() < 0.7:
        word = word & 0x0FFFFFFF | 0xE0000000
    if machine == "riscv64":
        if chance.random() < 0.3:
            return struct.pack("<H", word & 0xFFFC | chance.randrange(3))
        word |= 3
        if chance.random() < 0.7:
            word = word & ~0x7F | chance.choice(
                (0x33, 0x3B, 0x13, 0x1B, 0x53, 0x43, 0x2F, 0x07, 0x27, 0x73, 0x03, 0x23, 0x0F)
            )
    if machine == "arm64" and chance.random() < 0.6:  # data processing and vectors rather than what is unallocated
        word = word & ~(0xF << 25) | chance.choice((5, 13, 7, 15, 8, 9, 4, 6, 12, 14)) << 25
    return struct.pack("<I", word)


def code_of(machine: str, seed: int, number: int, real: bytes) -> tuple[bytes, random.Random]:
    chance = random.Random(f"{machine} {seed} {number}")
    kind = chance.randrange(6)
    if kind == 0:
        code = chance.randbytes(CODE_SIZE)
    elif kind == 1:
        code = b"".join(_instruction(machine, chance) for _ in range(800))
    elif kind in (2, 3):
        pieces = [_instruction(machine, chance) for _ in range(1 if kind == 2 else chance.randrange(2, 6))]
        code = b"".join(chance.choice(pieces) for _ in range(chance.choice((30, 300, 700, 1200))))
    else:
        changed = bytearray((real * (CODE_SIZE // len(real) + 1))[:CODE_SIZE])
        for _ in range(chance.choice((1, 10, 100, 500))):
            piece = _instruction(machine, chance) if kind == 4 else chance.randbytes(chance.randrange(1, 4))
            at = chance.randrange(len(changed) - 16) & (~3 if machine in ("arm64", "arm") else ~0)
            changed[at : at + len(piece)] = piece
        code = bytes(changed)
    return code[:CODE_SIZE].ljust(CODE_SIZE, b"\0"), chance


def real_code(machine: str) -> bytes:
    program = guests.guest("burner", isa_name(machine)).program()
    return program[64:][:4096]


def run_case(engine: Engine, pool: FramePool, machine: str, code: bytes, chance: random.Random) -> str:
    isa = engine.isa
    account = pool.account(2 << 20)
    space = AddressSpace(pool, account, isa.bits)
    context = Context(isa)
    try:
        protection = chance.choice((5, 5, 5, 7))
        space.map(CODE, CODE_SIZE, protection, fixed=True)
        space.map(DATA, DATA_SIZE, 3, fixed=True)
        space.map(STACK - 0x4000, 0x4000, 3, fixed=True)
        space.write(CODE, code)
        for name in isa.registers:
            if name not in (isa.pc, isa.sp, isa.flags):
                pointer = chance.choice((DATA, DATA, CODE, STACK - 0x1000)) + chance.randrange(0x1000)
                context[name] = chance.choice(
                    (pointer, pointer & ~15, chance.getrandbits(isa.bits), chance.randrange(40), 0)
                )
        context.sp = STACK - 0x800
        start = CODE + (chance.randrange(CODE_SIZE) & ~3 if chance.random() < 0.3 else 0)
        context.pc = start | (machine == "thumb")
        left, last, skipped = BUDGET, "", 0
        for _ in range(STOPS):
            step = chance.random() < 0.02
            stop = engine.step(context, space) if step else engine.run(context, space, left)
            left -= max(1, stop.work) if engine.exact and not step else 1
            last = stop.reason.name
            if stop.reason is StopReason.SYSCALL:
                context.set_result(chance.choice((0, -14, DATA, 3)))
            elif stop.reason is StopReason.FAULT and space.resolve(stop.address, stop.access):
                continue
            elif stop.reason in (StopReason.FAULT, StopReason.TRAP):  # behind it may be something better
                last = stop.trap.value if stop.reason is StopReason.TRAP else last
                ahead = context.pc + chance.choice(SKIPS[machine])
                skipped += 1
                if skipped > SKIPPED or not CODE <= ahead < CODE + CODE_SIZE:
                    break
                context.pc = ahead | (isa.name == "arm" and bool(context["cpsr"] & 0x20))
            elif stop.reason is StopReason.BUDGET:
                if left <= 0 or not engine.exact:
                    break
            else:
                last = stop.error or last
                break
            if left <= 0:
                break
        return last
    finally:
        context.release()
        space.release()
        account.close()


def child(machine: str, seed: int, seconds: float, first: int, last: int, only: int | None, mark: str) -> int:
    """Returns the number of cases; prints how they ended."""
    real = real_code(machine)
    marks = os.open(mark, os.O_RDWR | os.O_CREAT) if mark else -1
    pool = FramePool(16 << 20)
    engine: Engine | None = None
    ends: dict[str, int] = {}
    deadline = time.monotonic() + seconds
    number, done = first if only is None else only, 0
    while time.monotonic() < deadline and (number <= last or only is not None):
        if engine is None or done % CASES_PER_ENGINE == 0:
            if engine is not None:
                engine.close()
            engine = Engine(ISAS[isa_name(machine)], pool)
        if marks >= 0:
            os.pwrite(marks, struct.pack("<Q", number), 0)
        code, chance = code_of(machine, seed, number, real)
        if only is not None:
            print(hashlib.sha1(code).hexdigest(), file=sys.stderr)
        try:
            how = run_case(engine, pool, machine, code, chance)
        except EngineError as error:
            how = f"EngineError: {error}"
        ends[how.split(" at 0x")[0]] = ends.get(how.split(" at 0x")[0], 0) + 1
        done += 1
        if only is not None:
            break
        number += 1
    if engine is not None:
        engine.close()
    assert pool.used == 0, pool.used
    print(done, ends, flush=True)
    return done


@dataclass
class Catch:
    machine: str
    cases: int = 0
    deaths: list[tuple[int, str]] = field(default_factory=list)  # case number, how


def hunt(machine: str, seed: int, seconds: float, cases: int = 1 << 60, engine: str = "", log: bool = False) -> Catch:
    """Run children until the time is over or so many cases are done; every one that dies or hangs is in `deaths`."""
    catch = Catch(machine)
    deadline = time.monotonic() + seconds
    first = 0
    with tempfile.NamedTemporaryFile() as mark:
        while (left := deadline - time.monotonic()) > 0.2 and first < cases and len(catch.deaths) < 100:
            mark.seek(0)
            mark.write(struct.pack("<Q", first))
            mark.flush()
            command = [sys.executable, "-m", "tests.random_code", machine, str(seed), str(left)]
            command += ["--first", str(first), "--last", str(cases - 1)]
            environment = {**os.environ, "PYTHONPATH": str(ROOT), **({"SANDBOX_ENGINE": engine} if engine else {})}
            process = subprocess.Popen(
                [*command, "--mark", mark.name],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=ROOT,
                env=environment,
            )
            how = _watch(process, mark.name)
            output, errors = process.communicate()
            number = struct.unpack("<Q", Path(mark.name).read_bytes()[:8])[0]
            catch.cases += number - first + 1
            if how or process.returncode:
                how = how or f"status {process.returncode}: {errors[-300:].decode(errors='replace')}"
                catch.deaths.append((number, how))
            if log:
                print(machine, "cases", catch.cases, how, output.decode()[-2000:], flush=True)
            first = number + 1
    return catch


def _watch(process: subprocess.Popen[bytes], mark: str) -> str:
    """Until the child has ended; ends it when it has been at one case for too long, and says so."""
    last, since = b"", time.monotonic()
    while True:
        try:
            process.wait(1)
            return ""
        except subprocess.TimeoutExpired:
            now = Path(mark).read_bytes()[:8]
            if now != last:
                last, since = now, time.monotonic()
            elif time.monotonic() - since > STUCK:
                process.kill()
                return "stuck"


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("machine", choices=MACHINES)
    arguments.add_argument("seed", type=int)
    arguments.add_argument("seconds", type=float)
    arguments.add_argument("--first", type=int, default=0)
    arguments.add_argument("--last", type=int, default=1 << 60)
    arguments.add_argument("--only", type=int)
    arguments.add_argument("--mark", default="")
    arguments.add_argument("--hunt", action="store_true")
    chosen = arguments.parse_args()
    if chosen.hunt:
        print(hunt(chosen.machine, chosen.seed, chosen.seconds, log=True))
    else:
        child(chosen.machine, chosen.seed, chosen.seconds, chosen.first, chosen.last, chosen.only, chosen.mark)
