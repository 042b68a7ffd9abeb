"""Contexts on every ISA and both implementations: registers by name, parked and live, copies, names and bytes, and the
syscall convention.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from sandbox.engine import ISAS, Context, Engine, RegisterSet, StopReason, engine_kind
from sandbox.errors import EngineError
from sandbox.memory import AddressSpace, FramePool
from tests.programs import DATA, KINDS, MACHINES, STACK, Bench, choose_engine, isa_of, register

PAGE = 4096
# Registers whose bits are not all free.
SPECIAL = {"eflags", "pstate", "cpsr", "zero", "cs", "ss", "ds", "es", "fs", "gs"}
CONTROL = {"mxcsr", "fpcw", "fpsw", "fptag", "fpcr", "fpsr", "fpscr", "fcsr"}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    choose_engine(monkeypatch, request.param)
    assert engine_kind() == request.param
    return str(request.param)


@pytest.fixture(params=MACHINES)
def bench(request: pytest.FixtureRequest, kind: str) -> Iterator[Bench]:
    bench = Bench(request.param)
    yield bench
    pool = bench.pool
    bench._own_pool = False
    bench.close()
    assert pool.used == 0, "frames have leaked"
    pool.close()


def settled(bench: Bench) -> set[str]:
    """General registers, the PC and the stack pointer. i386 has its segment bases in descriptors only."""
    return set(bench.isa.numbers) - SPECIAL - ({"fs_base", "gs_base"} if bench.machine == "i386" else set())


def distinct(bench: Bench, seed: int) -> dict[str, int]:
    chance = random.Random(seed)
    values = {name: chance.getrandbits(bench.isa.bits) for name in sorted(settled(bench))}
    for name in ("fs_base", "gs_base"):  # canonical, or the CPU refuses
        if name in values:
            values[name] &= 0x7FFF_FFFF_FFFF
    values[bench.isa.pc] &= ~3
    return values


def distinct_wide(bench: Bench, seed: int) -> dict[str, bytes]:
    chance = random.Random(seed)
    wide = {name: size for name, (_, size) in bench.isa.wide.items() if name not in CONTROL}
    return {name: chance.randbytes(size) for name, size in wide.items()}


# ---- registers


@pytest.mark.parametrize("live", [False, True])
def test_registers_by_name(bench: Bench, live: bool) -> None:
    if live:
        bench.start("count", counter=3)
        bench.run()
    values = distinct(bench, 1)
    for name, value in values.items():
        bench.context[name] = value
    assert {name: bench.context[name] for name in values} == values
    assert bench.context.pc == values[bench.isa.pc] and bench.context.sp == values[bench.isa.sp]
    if bench.machine != "i386":
        assert bench.context["tp"] == values[bench.isa.tp]
        bench.context["tp"] = 0x1234
        assert bench.context[bench.isa.tp] == 0x1234


@pytest.mark.parametrize("live", [False, True])
def test_vector_registers_by_name(bench: Bench, live: bool) -> None:
    if live:
        bench.start("count", counter=3)
        bench.run()
    values = distinct_wide(bench, 2)
    for name, value in values.items():
        bench.context.write_wide(name, value)
    assert {name: bench.context.read_wide(name) for name in values} == values


# Bits of each that a guest may set.
CONTROLS = {
    "mxcsr": b"\x80\x7f\0\0",
    "fpcw": b"\x7f\x0f",
    "fpcr": b"\0\0\xc0\0",
    "fpsr": b"\x1f\0\0\x08",
    "fpscr": b"\x1f\0\xc0\x03",
    "fcsr": b"\x5f" + bytes(7),
}


@pytest.mark.parametrize("live", [False, True])
def test_floating_point_control_by_name(bench: Bench, live: bool) -> None:
    if live:
        bench.start("count", counter=3)
        bench.run()
    for name in CONTROLS.keys() & bench.isa.wide.keys():
        before = bench.registers()
        for _ in range(20):
            bench.context.write_wide(name, CONTROLS[name])
            assert bench.context.read_wide(name) == CONTROLS[name]
        assert bench.registers() == before
        assert bench.context.save()[name] == CONTROLS[name]


def test_registers_are_those_the_guest_sees(bench: Bench) -> None:
    """The guest stores a register that was written by name, and loads one that is read by name."""
    bench.start("store", pointer=DATA + 16, value=0x5A5A_1234)
    bench.run()
    assert bench.word(DATA + 16) == 0x5A5A_1234
    bench.space.write(DATA + 32, b"\x77\x66\x55\x44")
    bench.start("load", pointer=DATA + 32)
    bench.run()
    assert bench.get("value") == 0x4455_6677


VECTORS = {"x86_64": ("xmm1", 16), "i386": ("xmm1", 16), "arm64": ("q1", 16), "arm": ("d1", 8), "riscv64": ("f1", 8)}


def test_vectors_are_those_the_guest_sees(bench: Bench) -> None:
    name, size = VECTORS[bench.isa.name]
    pattern = bytes(range(1, size + 1))
    bench.start("vstore", pointer=DATA)
    bench.context.write_wide(name, pattern)
    bench.run()
    assert bench.space.read(DATA, size) == pattern
    bench.space.write(DATA + 64, pattern[::-1])
    bench.start("vload", pointer=DATA + 64)
    bench.run()
    assert bench.context.read_wide(name) == pattern[::-1]


def test_unknown_registers_are_refused(bench: Bench) -> None:
    for name in ("r99", "", "XMM0"):
        with pytest.raises(KeyError):
            bench.context[name]
        with pytest.raises(KeyError):
            bench.context[name] = 1
        with pytest.raises(KeyError):
            bench.context.load({name: b"\0"})
    wide = next(iter(distinct_wide(bench, 0)))
    with pytest.raises(ValueError):
        bench.context.write_wide(wide, b"short")


def test_a_new_context_is_all_zeros(bench: Bench) -> None:
    """Also when the template instance has been used for other contexts, which it is for some registers."""
    bench.start("count", counter=3)
    bench.context["tp"] = 0x1234
    bench.run()
    fresh = Context(bench.isa)
    general = settled(bench) - {bench.isa.pc}
    assert {name: fresh[name] for name in general} == dict.fromkeys(general, 0)
    assert all(
        fresh.read_wide(name) == bytes(size) for name, (_, size) in bench.isa.wide.items() if name not in CONTROL
    )


def test_a_copy_is_independent(bench: Bench) -> None:
    bench.start("count", counter=5)
    bench.run(budget=1)
    for name, value in distinct_wide(bench, 3).items():
        bench.context.write_wide(name, value)
    before, wide = bench.registers(), distinct_wide(bench, 3)
    child = bench.context.copy()
    bench.run()
    assert {name: child[name] for name in bench.isa.registers} == before
    assert {name: child.read_wide(name) for name in wide} == wide
    ended = bench.registers()
    child[register(bench.machine, "pointer")] = 77
    assert bench.get("pointer") != 77
    child[register(bench.machine, "pointer")] = 0
    bench.context, parent = child, bench.context
    bench.run()
    assert bench.registers() == ended, "it goes on where its original was"
    bench.context = parent
    child.release()


def test_save_and_load_by_name(bench: Bench) -> None:
    """A task moved to another process: all it has are names and bytes."""
    bench.start("walk", pointer=DATA, counter=100, step=8)
    bench.run(budget=200)
    for name, value in distinct_wide(bench, 4).items():
        bench.context.write_wide(name, value)
    saved = bench.context.save()
    assert all(isinstance(value, bytes) for value in saved.values())
    loaded = Context(bench.isa)
    loaded.load(saved)
    assert loaded.save() == saved
    bench.run()
    memory, ended = bench.space.read(DATA, 800), bench.registers()
    bench.space.write(DATA, bytes(800))
    bench.start("walk", pointer=DATA, counter=100, step=8)
    bench.run(budget=200)
    bench.context, original = loaded, bench.context
    bench.run()
    assert (bench.space.read(DATA, 800), bench.registers()) == (memory, ended)
    bench.context = original
    loaded.release()


def test_a_released_context_may_be_live(bench: Bench) -> None:
    bench.start("count", counter=5)
    bench.run()
    bench.context.release()
    bench.context.release()
    bench.context = Context(bench.isa)
    bench.start("count", counter=5)
    assert bench.run().reason is StopReason.SYSCALL


def test_registers_outlive_their_engine(bench: Bench) -> None:
    bench.start("count", counter=5)
    bench.run()
    before = bench.registers()
    bench.engine.close()
    bench.engine.close()
    assert bench.registers() == before


# ---- syscalls


def test_a_syscall_stop(bench: Bench) -> None:
    """Number and arguments, the PC behind the instruction, and the result when the task runs next."""
    isa = bench.isa
    bench.start("calls")
    arguments = tuple(0x1111 * (index + 1) for index in range(6))
    for name, value in zip(isa.syscall_arguments, arguments, strict=True):
        bench.context[name] = value
    bench.set(other=321)
    taken = dict(zip(isa.syscall_arguments, arguments, strict=True)) | {
        register(bench.machine, "other"): 321,
        isa.syscall_number: 321,
    }
    stop = bench.run()
    assert stop.reason is StopReason.SYSCALL
    assert (stop.number, stop.arguments) == (321, tuple(taken[name] for name in isa.syscall_arguments))
    length = 2 if bench.machine == "thumb" else isa.syscall_length
    call = {"x86_64": "0f05", "i386": "cd80", "thumb": "00df"}.get(bench.machine)
    if call:
        assert bench.space.read(stop.pc - length, length).hex() == call
    assert stop.pc == bench.context.pc
    before = bench.get("counter")
    bench.context.set_result(1000)
    assert bench.run().reason is StopReason.SYSCALL
    assert bench.get("counter") == before + 1000
    bench.context.set_result(-38)
    bench.run()
    assert bench.get("counter") == before + 1000 - 38


def test_a_result_is_written_once(bench: Bench) -> None:
    bench.start("calls", counter=0)
    bench.run()
    bench.context.set_result(5)
    bench.run()
    bench.context[bench.isa.syscall_result] = 7  # what a signal handler left there
    bench.run()
    assert bench.get("counter") == 12


def test_a_pending_result_can_be_settled_and_is_copied(bench: Bench) -> None:
    bench.start("calls", counter=0)
    bench.run()
    bench.context.set_result(-4)
    child = bench.context.copy()
    assert child[bench.isa.syscall_result] == bench.context[bench.isa.syscall_result] == -4 & bench.isa.word_mask
    child.release()
    bench.context[bench.isa.syscall_result] = 9
    bench.run()
    assert bench.get("counter") == 9


def test_the_syscall_instruction_of_x86_64_leaves_rip_and_flags(kind: str) -> None:
    with Bench("x86_64") as bench:
        bench.start("count", counter=1)
        stop = bench.run()
        assert bench.context["rcx"] == stop.pc
        assert bench.context["r11"] == bench.context["eflags"]


def test_constants_are_answered_inside(bench: Bench) -> None:
    bench.start("calls", other=20, counter=0)
    bench.context.set_constants({20: 3, 7: -1})
    assert bench.run(budget=3000).reason is StopReason.BUDGET
    counts = bench.context.take_constant_counts()
    assert list(counts) == [20] and counts[20] > 50
    assert bench.context.take_constant_counts() == {}
    assert bench.get("counter") in (3 * counts[20], 3 * (counts[20] - 1)), "the last sum may be still to come"
    bench.set(other=7, counter=0)
    bench.run(budget=100)
    assert bench.get("counter") > 1 << 31, "negative results are errors"
    for number in (8, 21, 1 << 30):
        bench.set(other=number)
        stop = bench.run()
        while stop.reason is not StopReason.SYSCALL or stop.number != number:
            stop = bench.run()
        assert stop.reason is StopReason.SYSCALL
    bench.context.set_constants({})
    bench.set(other=20)
    assert bench.run().number == 20


# ---- refusals


def test_an_unknown_engine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_ENGINE", "turbo")
    with pytest.raises(EngineError, match="native or python"):
        engine_kind()


def test_every_machine_is_described() -> None:
    for machine in MACHINES:
        isa = isa_of(machine)
        assert isa.pc in isa.registers and isa.sp in isa.registers
        assert {isa.syscall_number, isa.syscall_result, *isa.syscall_arguments, isa.tp, isa.flags} <= {
            *isa.numbers,
            *isa.hidden,
        }
        assert len(isa.syscall_arguments) == 6
    assert STACK % PAGE == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["x86_64", "i386"])
def test_x86_says_the_same_whenever_it_is_asked(kind: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """CPUID hides RDRAND, RDSEED and AVX; the time stamp counter of an exact engine depends on the code alone."""
    choose_engine(monkeypatch, kind)
    program = bytes.fromhex("b801000000 31c9 0fa2 89cf b807000000 31c9 0fa2 89de 0f31 89c5 0f31 f4")
    isa, seen = ISAS[name], []
    for _ in range(2):
        pool = FramePool(4 << 20)
        account = pool.account(1 << 20)
        space, context, engine = AddressSpace(pool, account, isa.bits), Context(isa), Engine(isa, pool)
        space.map(0x10000, PAGE, 5, fixed=True)
        space.write(0x10000, program)
        context.pc = 0x10000
        for _ in range(3):
            engine.run(context, space, 1000)
            space.resolve(0x10000, 4)
        wide = name == "x86_64"
        ecx1, ebx7, first, second = (context[("r" if wide else "e") + it] for it in ("di", "si", "bp", "ax"))
        assert not ecx1 & (1 << 30 | 1 << 28) and not ebx7 & (1 << 18)
        assert second == first + 1
        seen.append((ecx1, ebx7, first, context.save()))
        engine.close()
        context.release()
        space.release()
        pool.close()
    assert seen[0] == seen[1]


def test_many_at_once_are_what_each_is(bench: Bench) -> None:
    """Live and parked, whatever their sizes; the context remembers no interrupted block then."""
    isa = bench.isa
    names = sorted(settled(bench) - isa.indirect) + sorted(set(isa.wide) - isa.indirect)
    sizes = [isa.wide[name][1] if name in isa.wide else 8 for name in names]
    many, other = RegisterSet(isa, names), RegisterSet(isa, names[::-1])
    assert many.size == sum(sizes)
    for seed in range(3):
        for name, value in distinct(bench, seed).items():
            bench.context[name] = value
        for name, contents in distinct_wide(bench, seed).items():
            bench.context.write_wide(name, contents)
        if seed:
            bench.start("count", counter=1)
            bench.run()
        each = [
            bench.context.read_wide(name) if name in isa.wide else bench.context[name].to_bytes(8, "little")
            for name in names
        ]
        assert many.read(bench.context) == b"".join(each)
        assert other.read(bench.context) == b"".join(each[::-1])
        copy = Context(isa)
        copy.words.resume = 0
        many.write(copy, b"".join(each))
        assert many.read(copy) == b"".join(each)
        assert copy.words.resume != 0
        copy.release()
    with pytest.raises(ValueError, match="bytes"):
        many.write(bench.context, bytes(many.size + 1))
    for name in isa.indirect | isa.hidden:
        with pytest.raises(KeyError):
            RegisterSet(isa, [name])
