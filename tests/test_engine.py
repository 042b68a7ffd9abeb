"""The CPU core on every ISA and both implementations: faults, traps, halts, steps, engines that share, devices.

Registers and syscalls are in test_engine_registers.py, budgets in test_engine_budget.py.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import pytest

from sandbox.engine import Access, Context, Engine, Gate, StopReason, Trap, engine_kind
from sandbox.memory import FramePool
from tests.programs import CODE, DATA, KINDS, MACHINES, Bench, choose_engine, code, register

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


VECTORS = {"x86_64": ("xmm1", 16), "i386": ("xmm1", 16), "arm64": ("q1", 16), "arm": ("d1", 8), "riscv64": ("f1", 8)}


# ---- faults


FAULTS = {
    "nothing there": (0x60_0000, 0, Access.WRITE, "store"),
    "read-only": (0x60_1000, 1, Access.WRITE, "store"),
    "not to be read": (0x60_2000, 0, Access.READ, "load"),
    "a vector to nothing": (0x60_0000, 0, Access.WRITE, "vstore"),
    "a vector from nothing": (0x60_0000, 0, Access.READ, "vload"),
}


@pytest.mark.parametrize(("address", "protection", "access", "program"), FAULTS.values(), ids=FAULTS)
def test_a_fault_names_page_access_and_pc(
    bench: Bench, address: int, protection: int, access: Access, program: str
) -> None:
    if protection:
        bench.space.map(address, PAGE, protection, fixed=True)
    bench.start(program, pointer=address + 0x128, value=55, other=0)
    stop = bench.run()
    assert stop.reason is StopReason.FAULT
    assert (stop.address, stop.access, stop.out_of_memory) == (address, access, None)
    first = 1 if program == "store" else 0
    assert bench.get("other") == first, "what came before is done, what comes after is not"
    assert stop.pc == bench.context.pc
    again = bench.run()
    assert (again.reason, again.address, again.pc) == (StopReason.FAULT, address, stop.pc)
    bench.space.map(address, PAGE, 3, fixed=True)
    assert bench.run().reason is StopReason.SYSCALL, "it goes on with the instruction that faulted"
    assert bench.get("other") == 2 * first
    if program == "store":
        assert bench.word(address + 0x128) == 55


def test_a_fetch_fault_names_the_target(bench: Bench) -> None:
    wild = 0x60_0000
    bench.start("visit", target=bench.entry(wild))
    stop = bench.run()
    assert (stop.reason, stop.address, stop.access, stop.pc) == (StopReason.FAULT, wild, Access.FETCH, wild)
    bench.space.map(wild, PAGE, 3, fixed=True)  # there, but not to be executed
    bench.space.write(wild, code(bench.machine, "two"))
    assert bench.run().access is Access.FETCH
    bench.space.protect(wild, PAGE, 5)
    assert bench.run().reason is StopReason.SYSCALL
    assert bench.get("value") == 2


ABSURD = [0, 8, 0x7FFF_FFFF_F000, 0x8000_0000_0000, 0xFFFF_8000_0000_0000, 0x1234_5678_1234_5678, (1 << 64) - PAGE]


@pytest.mark.parametrize("address", ABSURD)
def test_absurd_addresses_fault(bench: Bench, address: int) -> None:
    address &= bench.isa.word_mask
    bench.start("load", pointer=address)
    stop = bench.run()
    assert (stop.reason, stop.access) == (StopReason.FAULT, Access.READ)
    assert stop.address == address & ~(PAGE - 1)
    bench.start("visit", target=bench.entry(address) & ~2)
    assert bench.run().reason in (StopReason.FAULT, StopReason.TRAP)


def test_a_store_over_a_page_border_is_finished(bench: Bench) -> None:
    name, size = VECTORS[bench.isa.name]
    border = 0x60_1000
    bench.space.map(border - PAGE, PAGE, 3, fixed=True)
    bench.start("vstore", pointer=border - size // 2)
    bench.context.write_wide(name, b"\xaa" * size)
    stop = bench.run()
    assert (stop.reason, stop.address, stop.access) == (StopReason.FAULT, border, Access.WRITE)
    bench.space.map(border, PAGE, 3, fixed=True)
    assert bench.run().reason is StopReason.SYSCALL
    assert bench.space.read(border - size, 2 * size) == bytes(size // 2) + b"\xaa" * size + bytes(size // 2)


def test_pages_come_on_demand(bench: Bench) -> None:
    """Zero pages are served inside once their neighbours are known; the first of a leaf asks."""
    bench.start("walk", pointer=DATA, counter=32, step=PAGE)
    bench.space.advise(DATA, 32 * PAGE)
    assert bench.run().reason is StopReason.SYSCALL
    assert [bench.word(DATA + page * PAGE) for page in range(32)] == [1] * 32
    assert bench.engine.faults_resolved >= 30


def test_out_of_memory_is_said(bench: Bench) -> None:
    assert bench.account is not None
    bench.start("walk", pointer=DATA, counter=32, step=PAGE)
    bench.run(budget=1)
    bench.account.limit = bench.account.used + 3
    stop = bench.run(resolve=False)
    while stop.out_of_memory is None:
        assert bench.space.resolve(stop.address, stop.access)
        stop = bench.run(resolve=False)
    assert (stop.reason, stop.out_of_memory) == (StopReason.FAULT, "vm")
    assert not bench.space.resolve(stop.address, stop.access) and bench.space.fault == "oom"
    bench.account.limit = 1000
    assert bench.run().reason is StopReason.SYSCALL
    assert [bench.word(DATA + page * PAGE) for page in range(32)] == [1] * 32


# ---- traps, halts, steps


@pytest.mark.parametrize(("program", "trap"), [("illegal", Trap.ILLEGAL_INSTRUCTION), ("breakpoint", Trap.BREAKPOINT)])
def test_traps(bench: Bench, program: str, trap: Trap) -> None:
    bench.start(program)
    stop = bench.run()
    assert (stop.reason, stop.trap) == (StopReason.TRAP, trap)
    nothing = code(bench.machine, "nothing")
    past = len(code(bench.machine, program)) - 2 * len(nothing)
    after = trap is Trap.BREAKPOINT and bench.isa.name in ("x86_64", "i386")
    assert bench.context.pc == stop.pc == CODE + len(nothing) + (past if after else 0)


X86_TRAPS = {
    "divide by zero": ("31d2 31c9 b805000000 f7f1", Trap.DIVIDE_ERROR, 9),
    "privileged": ("90 fa", Trap.PROTECTION, 1),
    "halt": ("90 f4", Trap.PROTECTION, 1),
}


@pytest.mark.parametrize(("instructions", "trap", "at"), X86_TRAPS.values(), ids=X86_TRAPS)
@pytest.mark.parametrize("machine", ["x86_64", "i386"])
def test_traps_of_x86(kind: str, machine: str, instructions: str, trap: Trap, at: int) -> None:
    with Bench(machine) as bench:
        bench.space.write(CODE, bytes.fromhex(instructions))
        for _ in range(3):  # an exception that were still under delivery would make the next a double fault
            bench.context.pc = CODE
            stop = bench.run()
            assert (stop.reason, stop.trap, stop.pc) == (StopReason.TRAP, trap, CODE + at)


HALTING = ("x86_64", "i386", "arm64", "arm", "riscv64")


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("machine", HALTING)
def test_a_privileged_cpu_halts(kind: str, machine: str, exact: bool) -> None:
    with Bench(machine) as bench:
        bench.place("halt")
        context = Context(bench.isa, privileged=True)
        context.pc = CODE
        engine = Engine(bench.isa, bench.pool, exact=exact, privileged=True)
        bench.engine, bench.context, kept = engine, context, (bench.engine, bench.context)
        places = []
        for _ in range(2):
            stop = bench.run(10**9)
            assert stop.reason is StopReason.HALT
            places.append(context.pc - CODE)
        size = len(code(machine, "halt")) // 4
        assert places == ([2 * size, 4 * size])
        bench.engine, bench.context = kept
        context.release()
        engine.close()


def test_steps_are_exact(bench: Bench) -> None:
    bench.start("straight")
    bench.run(budget=1, resolve=True)
    bench.context.pc = bench.entry(CODE)
    bench.set(counter=0)
    size = (len(code(bench.machine, "straight")) - {"x86_64": 2, "i386": 2, "thumb": 2}.get(bench.machine, 4)) // 4
    for done, total in enumerate(itertools.accumulate((1, 2, 3, 4)), 1):
        stop = bench.engine.step(bench.context, bench.space)
        assert stop.reason is StopReason.BUDGET
        assert (bench.context.pc, bench.get("counter")) == (CODE + done * size, total)
    stop = bench.engine.step(bench.context, bench.space)
    assert stop.reason is StopReason.SYSCALL


def test_a_step_and_then_a_run(bench: Bench) -> None:
    bench.start("count", counter=500)
    bench.run(budget=1)
    for _ in range(7):
        assert bench.engine.step(bench.context, bench.space).reason is StopReason.BUDGET
    assert bench.run().reason is StopReason.SYSCALL
    assert bench.get("counter") == 0


def test_a_step_onto_a_missing_page_faults(bench: Bench) -> None:
    bench.start("store", pointer=0x60_0000, value=1, other=0)
    bench.run(budget=1)
    stops = [bench.engine.step(bench.context, bench.space).reason for _ in range(3)]
    assert StopReason.FAULT in stops and bench.get("other") == 1


# ---- several contexts, spaces and engines


def test_a_context_moves_between_engines(bench: Bench) -> None:
    other = Engine(bench.isa, bench.pool)
    bench.start("walk", pointer=DATA, counter=300, step=16)
    expected, engines = 300, itertools.cycle([other, bench.engine])
    own = bench.engine
    while True:
        bench.engine = next(engines)
        stop = bench.run(budget=150)
        if stop.reason is StopReason.SYSCALL:
            break
        assert bench.get("counter") <= expected
        expected = bench.get("counter")
    assert [bench.word(DATA + 16 * index) for index in range(300)] == [1] * 300
    bench.engine = own
    other.close()


def test_contexts_take_turns_on_one_engine(bench: Bench) -> None:
    """Threads of one program: one space, registers of their own."""
    bench.place("walk")
    contexts = []
    for number in range(5):
        context = Context(bench.isa)
        context.pc = bench.entry(CODE)
        for role, value in {"pointer": DATA + number * PAGE, "counter": 50 + number, "step": 16}.items():
            context[register(bench.machine, role)] = value
        contexts.append(context)
    waiting = list(contexts)
    kept = bench.context
    while waiting:
        for context in list(waiting):
            bench.context = context
            if bench.run(budget=97).reason is StopReason.SYSCALL:
                waiting.remove(context)
    bench.context = kept
    for number in range(5):
        words = [bench.word(DATA + number * PAGE + 16 * index) for index in range(60)]
        assert words == [1] * (50 + number) + [0] * (10 - number)
    for context in contexts:
        context.release()


@pytest.mark.parametrize("exact", [True, False])
def test_engines_of_every_isa_run_side_by_side_in_threads(kind: str, exact: bool) -> None:
    pool = FramePool(32 << 20)
    benches = [Bench(machine, pool=pool, exact=exact) for machine in MACHINES]
    failures: list[object] = []

    def work(bench: Bench) -> None:
        for _ in range(5):
            bench.start("walk", pointer=DATA, counter=400, step=64)
            while (stop := bench.run(2000 if exact else 50_000)).reason is StopReason.BUDGET:
                pass
            if stop.reason is not StopReason.SYSCALL:
                failures.append(stop)

    threads = [threading.Thread(target=work, args=(bench,)) for bench in benches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    for bench in benches:
        assert [bench.word(DATA + 64 * index) for index in range(400)] == [5] * 400
        bench.close()
    assert pool.used == 0
    pool.close()


def test_the_gate_is_open_while_guest_code_runs(bench: Bench) -> None:
    gate, entered = threading.RLock(), threading.Event()
    bench.engine.gate = Gate(gate)

    def other() -> None:
        with gate:
            entered.set()

    bench.start("spin")
    with gate:
        thread = threading.Thread(target=other)
        thread.start()
        while not entered.is_set():
            bench.run(budget=100_000)
        thread.join()
        assert gate.acquire(blocking=False), "and it is ours again"
        gate.release()
    bench.engine.gate = None


def test_an_interrupt_from_another_thread_ends_a_run(bench: Bench) -> None:
    """What is interrupted cannot go on, but the engine can."""
    done = threading.Event()

    def interrupt() -> None:
        while not done.wait(0.001):
            bench.engine.interrupt()

    bench.start("spin")
    thread = threading.Thread(target=interrupt)
    thread.start()
    stop = bench.run(budget=1 << 60)
    done.set()
    thread.join()
    assert stop.reason is StopReason.ERROR and "interrupted" in stop.error
    bench.start("count", counter=1000)
    assert bench.run().reason is StopReason.SYSCALL and bench.get("counter") == 0


# ---- devices


class Echo:
    """A device that answers with what was asked, and remembers what it was told."""

    def __init__(self) -> None:
        self.written: list[tuple[int, int, int]] = []

    def read(self, offset: int, size: int) -> int:
        if offset == 0x80:
            raise RuntimeError("a device with a bug")
        return offset + size

    def write(self, offset: int, size: int, value: int) -> None:
        self.written.append((offset, size, value))


def test_a_device_page(bench: Bench) -> None:
    """No load or store of a device is done twice: none is retried."""
    bus, engine = Echo(), bench.engine
    engine.open_devices()
    engine.open_devices()
    engine.bus = bus
    bench.space.map_device(0x60_0000, PAGE, engine.device_base)
    bench.start("store", pointer=0x60_0040, value=0x1234, other=0)
    assert bench.run().reason is StopReason.SYSCALL
    halves = [(0x40, 4, 0x1234), (0x44, 4, 0)]  # Unicorn asks for no more than 4 bytes at once
    assert bus.written == halves[: bench.isa.word_bytes // 4]
    for offset, expected in ((0x20, 0x28_0000_0024), (0x80, 0x88_FFFF_FFFF)):
        expected &= bench.isa.word_mask
        bench.start("load", pointer=0x60_0000 + offset)
        assert bench.run().reason is StopReason.SYSCALL
        assert bench.get("value") == expected
    bench.start("visit", target=bench.entry(0x60_0000))
    assert bench.run().access is Access.FETCH, "nothing is executed there"


# ---- a fault of Unicorn's


FLAGS = {"setl": ("85c0 0f9c06", -5, 1), "setg": ("85c0 0f9f06", 5, 1), "setle": ("85c0 0f9e06", 5, 0)}


@pytest.mark.parametrize("there", ["present", "missing", "shared"])
@pytest.mark.parametrize(("instructions", "value", "stored"), FLAGS.values(), ids=FLAGS)
@pytest.mark.parametrize("machine", ["x86_64", "i386"])
def test_a_flag_stored_to_a_page_that_is_missing(
    kind: str, machine: str, instructions: str, value: int, stored: int, there: str
) -> None:
    """`test eax, eax; setl [esi]`: Unicorn computes the flags and forgets what from before it stores. Were the store to
    fault and be done again, the byte would be wrong: so the page comes while the instruction waits."""
    with Bench(machine) as bench:
        page = 0x60_0000
        bench.space.map(page, PAGE, 3, fixed=True)
        if there != "missing":
            bench.space.copy_out(page, b"\7")
        child = bench.space.fork() if there == "shared" else None
        bench.space.write(CODE, bytes.fromhex(instructions) + bytes.fromhex("0f05" if machine == "x86_64" else "cd80"))
        bench.context.pc = CODE
        bench.context["rsi" if machine == "x86_64" else "esi"] = page
        bench.context["rax" if machine == "x86_64" else "eax"] = value
        assert bench.run().reason is StopReason.SYSCALL
        assert bench.space.read(page, 1)[0] == stored
        if child is not None:
            assert child.read(page, 1) == b"\7"
            child.release()


@pytest.mark.parametrize("equal", [True, False])
@pytest.mark.parametrize("loading", ["", "memory", "device"])
@pytest.mark.parametrize("before", range(1, 8))
def test_a_thumb_condition_over_a_page_border(kind: str, before: int, loading: str, equal: bool) -> None:
    """`itttt eq` and its four instructions, `before` of them all on the first page. The condition must survive the fill
    for the second page, whether that comes at once or, after a flush, where all is translated; a fill for a load
    within must not leave it behind (facts, 1.9)."""
    words = ["0528", "01bf", "1a68" if loading else "0131", "0131", "0131", "0131", "0433", "00df"]
    with Bench("thumb") as bench:
        border, data = CODE + PAGE, 0x60_0000
        bench.space.map(CODE, 2 * PAGE, 7, fixed=True)
        if loading == "device":
            bench.engine.open_devices()
            bench.engine.bus = Echo()
            bench.space.map_device(data, PAGE, bench.engine.device_base)
        else:
            bench.space.map(data, PAGE, 3, fixed=True)
        bench.space.write(border - 2 * before, bytes.fromhex("".join(words)))
        for _ in range(3):
            for name, value in (("r0", 5 if equal else 4), ("r1", 0), ("r3", data)):
                bench.context[name] = value
            bench.context.pc = border - 2 * before | 1
            assert bench.run().reason is StopReason.SYSCALL
            assert bench.context["r1"] == (4 - bool(loading) if equal else 0)
            assert bench.context["r3"] == data + 4, "what follows is done in any case"
            bench.space.protect(border, PAGE, 5)
            bench.space.protect(CODE, PAGE, 5)
