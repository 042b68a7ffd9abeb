"""Malformed programs: the loader gives an errno or a process, never anything else, and agrees with the host kernel.

Each spoilt file of `elf_files` is also executed natively. Where Linux refuses with an errno, so does the
loader, with the same; where Linux runs it to the end, so does the engine; where Linux kills it half way,
either will do.
"""

from __future__ import annotations

import platform
import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import sandbox
from sandbox import guests
from sandbox.abi.errno import ENOMEM, Errno
from sandbox.engine import Context, Engine, StopReason, isa_named
from sandbox.errors import LoadError
from sandbox.kernel import descriptors
from sandbox.loader import BytesSource, LoadedProgram, identify, load, parse, read_symbols
from sandbox.memory import AddressSpace, FramePool
from tests import campaign
from tests.elf_files import mutated, variants

ARCHITECTURES = ("x86_64", "i386", "arm64", "arm", "riscv64")
WRITE = {"x86_64": 1, "i386": 4}
MOST_CODE = 20_000  # code bytes; the program has fifty


@dataclass
class Bench:
    pool: FramePool
    engines: dict[str, Engine]

    def engine(self, isa: str) -> Engine:
        if isa not in self.engines:
            self.engines[isa] = Engine(isa_named(isa), self.pool)
        return self.engines[isa]


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    bench = Bench(FramePool(64 << 20), {})
    yield bench
    for engine in bench.engines.values():
        engine.close()
    bench.pool.close()


def load_bytes(space: AddressSpace, isa: str, data: bytes) -> LoadedProgram:
    def open_program(path: bytes) -> BytesSource:
        return BytesSource(data)

    return load(space, isa, open_program, b"/program", [b"program"], [], random=bytes(16))


def outcome_here(bench: Bench, isa: str, data: bytes) -> str:
    """ "ok": it said so and exited; "errno N"; "dies"."""
    account = bench.pool.account(16 << 20)
    space = AddressSpace(bench.pool, account, isa_named(isa).bits)
    try:
        try:
            loaded = load_bytes(space, isa, data)
        except Errno as error:
            return f"errno {error.number}"
        if isa == "i386":
            descriptors.install(space)
        return run_until_exit(bench.engine(isa), space, loaded)
    finally:
        space.release()
        assert account.used == 0
        account.close()


def run_until_exit(engine: Engine, space: AddressSpace, loaded: LoadedProgram) -> str:
    context = Context(engine.isa)
    context.pc, context.sp = loaded.pc, loaded.sp
    said = b""
    left = MOST_CODE
    try:
        while left > 0:
            stop = engine.run(context, space, left)
            left -= max(1, stop.work)
            if stop.reason is StopReason.SYSCALL:
                if stop.number != WRITE[engine.isa.name]:
                    return "ok" if said == b"ok\n" else "dies"
                said += space.copy_in(stop.arguments[1], min(stop.arguments[2], 100))
                context.set_result(stop.arguments[2])
            elif stop.reason is not StopReason.FAULT or not space.resolve(stop.address, stop.access):
                return "dies"
        return "dies"
    except Errno:
        return "dies"
    finally:
        context.release()


def outcome_natively(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    path.chmod(0o755)
    try:
        done = subprocess.run([path], capture_output=True, timeout=10, check=False)
    except OSError as error:
        return f"errno {error.errno}"
    return "ok" if done.stdout == b"ok\n" and done.returncode == 0 else "dies"


@pytest.mark.parametrize("isa", ["x86_64", "i386"])
def test_spoilt_headers(bench: Bench, isa: str, tmp_path: Path) -> None:
    native = platform.machine() == "x86_64"
    count = 0
    disagreements = []
    for name, data in variants(isa):
        count += 1
        here = outcome_here(bench, isa, data)
        assert bench.pool.used == 0 or here, name
        if not native:
            continue
        there = outcome_natively(tmp_path / f"program{count}", data)
        agree = here == there if there != "dies" else here != "ok"
        too_large = "memsz" in name and here == f"errno {ENOMEM}"  # for the VM; the host has more
        if not agree and not too_large:
            disagreements.append(f"{name}: here {here}, natively {there}")
    assert count >= 150
    assert not disagreements, "\n".join(disagreements)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_mutated_files(bench: Bench, arch: str) -> None:
    """Up to four numbers of the headers changed: no exception but Errno, nothing leaks."""
    good = guests.guest("burner", arch).program()
    chance = random.Random(arch)
    account = bench.pool.account(4 << 20)
    loaded, count = 0, campaign.cases(500)
    for _ in range(count):
        data = mutated(good, chance)
        space = AddressSpace(bench.pool, account, isa_named(arch).bits)
        try:
            load_bytes(space, arch, data)
            loaded += 1
        except Errno:
            pass
        finally:
            space.release()
        assert account.used == 0
        read_symbols(data)
    assert 0.05 < loaded / count < 0.95, "neither all nor none of them should load"
    account.close()


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_mutated_files_are_run(arch: str, tmp_path: Path) -> None:
    """Whole VMs: a status between 0 and 255 with its reason where there is one, or one sentence that names the file."""
    good = guests.guest("burner", arch).program()
    chance = random.Random(arch)
    program = tmp_path / "program"
    program.touch(0o755)
    ends = {"refused": 0, "exited": 0, "killed": 0}
    for number in range(campaign.cases(30)):
        program.write_bytes(mutated(good, chance))
        try:
            done = sandbox.run([program, "1"], memory="8M", timeout=10)
        except LoadError as error:
            assert "program: " in str(error) and "\n" not in str(error), number
            ends["refused"] += 1
        else:
            assert 0 <= done.returncode <= 255, number
            assert done.returncode < 128 or done.crash is not None or done.timed_out, number
            assert (done.returncode < 128) == (not done.reason) or done.timed_out, (number, done.reason)
            ends["exited" if done.returncode < 128 else "killed"] += 1
    assert all(ends.values()), ends


def test_random_bytes_behind_the_magic() -> None:
    chance = random.Random(3)
    for _ in range(campaign.cases(500)):
        data = (
            b"\x7fELF"
            + chance.choice((b"\x01\x01\x01", b"\x02\x01\x01", b""))
            + chance.randbytes(chance.randrange(400))
        )
        with pytest.raises(Errno):
            identify(data)
        with pytest.raises(Errno):
            parse(BytesSource(data))
        read_symbols(data)


def test_a_segment_larger_than_the_memory_is_refused_before_it_is_filled(bench: Bench) -> None:
    good = guests.guest("burner", "x86_64").program()
    data = next(data for name, data in variants("x86_64") if name == "segment2.memsz=0x7fffffffffffffff")
    assert data != good
    account = bench.pool.account(1 << 20)
    space = AddressSpace(bench.pool, account, 64)
    with pytest.raises(Errno) as caught:
        load_bytes(space, "x86_64", data)
    assert caught.value.number == ENOMEM
    space.release()
    account.close()
