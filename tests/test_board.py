"""Boards: the bare-metal guests, traps and interrupts by hand, time, limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import pytest

from sandbox import assembler, guests
from sandbox.abi.errno import EAGAIN, EPIPE, Errno
from sandbox.assembler import gnu
from sandbox.board import BOARDS, BoardMachine, board_named
from sandbox.clock import Clock, HostClock, VirtualClock
from sandbox.engine import Engine, isa_named
from sandbox.engine.control import read_control, write_control
from sandbox.errors import ConfigurationError, LoadError
from sandbox.loader import FlatImage, flat_image, read_symbols
from sandbox.machine import Activity, Machine, Outcome
from sandbox.memory import FramePool
from sandbox.vfs.stream import ByteQueue
from sandbox.wait import WaitQueue

VIRT = BOARDS["riscv64-virt"]
needs_gnu = pytest.mark.skipif(not gnu.available(), reason="riscv64-linux-gnu-as is not installed")
BARE = [guest for guest in guests.guests() if guest.board]
CASES = [pytest.param(guest, case, id=f"{guest.name} {n}") for guest in BARE for n, case in enumerate(guest.cases)]


@dataclass
class Room:
    """A pool, one engine, and machines in it."""

    pool: FramePool
    engine: Engine
    machines: list[BoardMachine] = field(default_factory=list)
    output: bytearray = field(default_factory=bytearray)

    def power_on(
        self,
        image: FlatImage,
        clock: Clock | None = None,
        stdin: bytes = b"",
        memory: int = 32 << 20,
        ram_size: int | None = None,
    ) -> BoardMachine:
        clock = clock or VirtualClock()
        machine = BoardMachine(
            VIRT,
            self.pool,
            self.pool.account(memory),
            image,
            clock=clock,
            deterministic=isinstance(clock, VirtualClock),
            ram_size=ram_size,
            on_output=partial(collect, self.output),
            source=ByteQueue(stdin),
        )
        self.machines.append(machine)
        return machine

    def run(self, machine: BoardMachine, budget: int = 100_000, most: int = 1000) -> Outcome:
        """Until it ends or sleeps."""
        outcome = machine.run(self.engine, budget)
        while outcome.activity is Activity.RUNNABLE and most:
            outcome = machine.run(self.engine, budget)
            most -= 1
        return outcome


@pytest.fixture(params=[True, False], ids=["exact", "free"])
def room(request: pytest.FixtureRequest) -> Iterator[Room]:
    pool = FramePool(64 << 20)
    room = Room(pool, Engine(isa_named("riscv64"), pool, exact=request.param, privileged=True))
    yield room
    for machine in room.machines:
        machine.release()
    room.engine.close()
    pool.close()


def collect(output: bytearray, data: bytes) -> None:
    output += data


def bare(source: str) -> FlatImage:
    text = f"# arch: riscv64\n# address: {VIRT.ram_start:#x}\n{source}"
    return flat_image(assembler.assemble(text, "bare.s"), "bare", VIRT.ram_start, VIRT.ram_size)


def image_of(guest: guests.Guest) -> FlatImage:
    return flat_image(guest.program(), guest.name, VIRT.ram_start, VIRT.ram_size)


@pytest.mark.parametrize(("guest", "case"), CASES)
def test_bare_metal_guests(room: Room, guest: guests.Guest, case: guests.Case) -> None:
    assert guest.board == VIRT.name
    machine = room.power_on(image_of(guest), stdin=case.stdin)
    outcome = room.run(machine)
    assert outcome.activity is Activity.EXITED
    assert machine.exit_status is not None
    assert case.accepts(bytes(room.output), machine.exit_status), (room.output, machine.exit_status, machine.death)


@pytest.mark.parametrize("room", [True], indirect=True, ids=["exact"])  # only exact runs repeat
def test_a_timer_interrupt_comes_at_the_same_instruction_every_time(room: Room) -> None:
    guest = guests.guest("timer", "riscv64")
    seen = set()
    for _ in range(3):
        clock = VirtualClock()
        machine = room.power_on(image_of(guest), clock)
        room.run(machine)
        assert machine.stats.interrupts["timer"] == 5
        seen.add((clock.monotonic(), machine.stats.work))
    assert len(seen) == 1


def test_waiting_machines_say_until_when(room: Room) -> None:
    clock = VirtualClock(jumps=False)
    machine = room.power_on(image_of(guests.guest("timer", "riscv64")), clock)
    deadlines = 0
    while machine.exit_status is None:
        outcome = machine.run(room.engine, 100_000)
        if outcome.activity is Activity.WAITING:
            assert outcome.deadline is not None
            assert 0 < outcome.deadline - clock.monotonic() <= 1_000_000
            clock.advance(outcome.deadline - clock.monotonic())
            deadlines += 1
    assert deadlines == 5
    assert machine.stats.interrupts["timer"] == 5


def test_input_wakes_a_waiting_machine(room: Room) -> None:
    machine = room.power_on(image_of(guests.guest("serial", "riscv64")))
    woken: list[bool] = []
    machine.on_wake = lambda: woken.append(True)
    outcome = room.run(machine)
    assert (outcome.activity, outcome.deadline) == (Activity.WAITING, None)
    assert not woken
    source = machine.source
    assert source is not None
    source.feed(b"abc")
    assert woken
    assert room.run(machine).activity is Activity.WAITING
    assert room.output == b"ABC"
    source.feed(b"\x04")
    assert room.run(machine).activity is Activity.EXITED


def test_a_console_that_is_full_holds_the_machine(room: Room) -> None:
    """Three bytes at a time: all of it arrives, and the guest does not end before."""
    guest = guests.guest("timer", "riscv64")
    taken = bytearray()
    space = 0

    def take(data: bytes) -> int:
        nonlocal space
        if not space:
            raise Errno(EAGAIN)
        piece = data[:space]
        taken.extend(piece)
        space -= len(piece)
        return len(piece)

    machine = room.power_on(image_of(guest))
    machine.on_output, machine.room = take, WaitQueue()
    woken: list[bool] = []
    machine.on_wake = lambda: woken.append(True)
    stops = 0
    while machine.exit_status is None:
        outcome = machine.run(room.engine, 100_000)
        if outcome.activity is Activity.WAITING:
            assert outcome.deadline is None
            assert not space
            space = 3
            assert machine.room.wake() == 1
            stops += 1
    assert bytes(taken) == guest.cases[0].stdout
    assert stops == len(woken) == -(-len(taken) // 3)


@pytest.mark.parametrize("answer", [None, EPIPE])
def test_output_that_nobody_takes_is_lost(room: Room, answer: int | None) -> None:
    def refuse(data: bytes) -> int:
        raise Errno(EPIPE)

    machine = room.power_on(image_of(guests.guest("timer", "riscv64")))
    machine.on_output = None if answer is None else refuse
    room.run(machine)
    assert machine.exit_status == 0


def test_input_is_asked_for_when_the_guest_listens(room: Room) -> None:
    for name, asks in (("serial", True), ("timer", False)):
        machine = room.power_on(image_of(guests.guest(name, "riscv64")))
        wanted: list[int] = []
        source = machine.source
        assert source is not None
        source.on_wanted = wanted.append
        room.run(machine)
        assert bool(wanted) == asks, name


def test_real_time_passes_too(room: Room) -> None:
    machine = room.power_on(image_of(guests.guest("timer", "riscv64")), HostClock())
    while machine.exit_status is None:
        machine.run(room.engine, 1_000_000)
    assert room.output.count(b"timer") == 5


# ---- traps: (name, instructions, mcause, mepc is at `here`, mtval or None)

TRAPS = [
    ("illegal", "here: .word 0xffffffff", 2, 0xFFFFFFFF),
    ("illegal, compressed", "here: .half 0", 2, 0),
    ("breakpoint", "here: ebreak", 3, None),
    ("breakpoint, compressed", "here: c.ebreak", 3, None),
    ("load from nowhere", "li t0, 0x40000000\nhere: ld t1, 0(t0)", 5, 0x40000000),
    ("store to nowhere", "li t0, 0x40000000\nhere: sd t1, 0(t0)", 7, 0x40000000),
    ("jump to nowhere", "li t0, 0x40000000\nhere: jr t0", 1, 0x40000000),
    ("jump into a device", "li t0, 0x10000000\nhere: jr t0", 1, 0x10000000),
    ("call", "here: ecall", 11, 0),
    ("call from user mode", "la t0, here\ncsrw mepc, t0\nli t0, 0x1800\ncsrc mstatus, t0\nmret\nhere: ecall", 8, 0),
    ("no such register", "here: csrr t0, 0x7c0", 2, None),
]
HANDLER = """
_start: la t0, handler
        csrw mtvec, t0
        li s0, 0
        {body}
        j .
        .p2align 2
handler:
        csrr a0, mcause
        csrr a1, mepc
        csrr a2, mtval
        csrr a3, mstatus
        li t0, 0x100000
        li t1, 0x5555
        sw t1, 0(t0)
        j .
"""


@needs_gnu
@pytest.mark.parametrize(("body", "cause", "value"), [row[1:] for row in TRAPS], ids=[row[0] for row in TRAPS])
def test_traps(room: Room, body: str, cause: int, value: int | None) -> None:
    text = f"# arch: riscv64\n# address: {VIRT.ram_start:#x}\n{HANDLER.format(body=body)}"
    program = assembler.assemble(text, "trap.s")
    here = read_symbols(program).address("here")
    machine = room.power_on(flat_image(program, "trap", VIRT.ram_start, VIRT.ram_size))
    room.run(machine)
    assert machine.exit_status == 0, machine.death
    context = machine.context
    assert context["a0"] == cause
    assert context["a1"] == (value if cause == 1 else here)
    if value is not None:
        assert context["a2"] == value
    previous = context["a3"] >> 11 & 3
    assert previous == (0 if cause == 8 else 3)


@needs_gnu
def test_interrupt_entry_and_return(room: Room) -> None:
    """Vectored: the software interrupt has its own entry; mret gives the interrupt enable back."""
    machine = room.power_on(
        bare("""
_start: la t0, vector
        ori t0, t0, 1
        csrw mtvec, t0
        li t0, 8
        csrw mie, t0
        csrsi mstatus, 8
        li t1, 0x2000000
        li t2, 1
        sw t2, 0(t1)            // a software interrupt to itself
wait:   beqz s1, wait
        csrr s2, mstatus
        li t0, 0x100000
        li t1, 0x5555
        sw t1, 0(t0)
        j .
        .p2align 2
        .option norvc
vector: j .
        j .
        j .
        j software
software:
        csrr s3, mstatus
        sw zero, 0(t1)
        li s1, 1
        mret
""")
    )
    room.run(machine)
    assert machine.exit_status == 0, machine.death
    assert machine.stats.interrupts == {"software": 1}
    assert machine.context["s3"] & 0x88 == 0x80, "in the handler: MPIE set, MIE clear"
    assert machine.context["s2"] & 8 == 8


@needs_gnu
@pytest.mark.parametrize(
    ("source", "status", "sentence"),
    [
        (
            "_start: .word 0xffffffff\n",
            132,
            "illegal instruction at about 0x80000004, and no trap handler is installed",
        ),
        ("_start: li t0, 0x100000\nli t1, 0x7777\nsw t1, 0(t0)\nj .\n", 125, "asked for a reset"),
        ("_start: li t0, 0x100000\nli t1, 0x73333\nsw t1, 0(t0)\nj .\n", 7, None),
    ],
)
def test_ends(room: Room, source: str, status: int, sentence: str | None) -> None:
    machine = room.power_on(bare(source))
    room.run(machine)
    assert machine.exit_status == status
    assert machine.death == sentence or (sentence is not None and sentence in str(machine.death))
    assert machine.run(room.engine, 1000).activity is Activity.EXITED


@needs_gnu
def test_a_board_that_takes_too_much_memory_ends(room: Room) -> None:
    hungry = "_start: la t0, _start\nli t1, 4096\nagain: add t0, t0, t1\nsd t0, 0(t0)\nj again\n"
    machine = room.power_on(bare(hungry), memory=1 << 20)
    room.run(machine)
    assert (machine.exit_status, machine.death) == (137, "the memory of the virtual machine is used up")


@needs_gnu
def test_a_guest_that_only_traps_uses_its_share(room: Room) -> None:
    source = "_start: la t0, handler\ncsrw mtvec, t0\n.p2align 2\nhandler: ecall\n"
    machine = room.power_on(bare(source))
    outcome = machine.run(room.engine, 10_000)
    assert outcome.activity is Activity.RUNNABLE
    assert machine.stats.traps["environment call from M mode"] > 5


def test_killed_and_switched_off(room: Room) -> None:
    for kill, status, reason in ((True, 137, "enough"), (False, 0, "it was switched off")):
        machine = room.power_on(image_of(guests.guest("serial", "riscv64")))
        for _ in range(2):
            if kill:
                machine.kill("enough")
            else:
                machine.terminate()
        assert (machine.exit_status, machine.death) == (status, reason)
        machine.release()
        machine.release()
        assert machine.space.account.used == 0


def test_images_that_do_not_fit(room: Room) -> None:
    timer = image_of(guests.guest("timer", "riscv64"))
    foreign = FlatImage("arm64", VIRT.ram_start, ((VIRT.ram_start, b"x"),))
    with pytest.raises(LoadError, match="for arm64, and the board riscv64-virt"):
        room.power_on(foreign)
    with pytest.raises(LoadError, match="stands at 0x0 to 0x0, and the memory"):
        room.power_on(FlatImage(None, 0, ((0, b"x"),)))
    with pytest.raises(LoadError, match="and the memory of riscv64-virt at"):
        room.power_on(timer, ram_size=4096)
    with pytest.raises(LoadError, match="does not fit into the memory of the virtual machine"):
        room.power_on(timer, memory=4096)


def test_two_boards_on_one_engine_do_not_see_each_other(room: Room) -> None:
    guest = guests.guest("timer", "riscv64")
    machines = [room.power_on(image_of(guest), VirtualClock()) for _ in range(3)]
    outputs = [bytearray() for _ in machines]
    for machine, output in zip(machines, outputs, strict=True):
        machine.on_output = partial(collect, output)
    while any(machine.exit_status is None for machine in machines):
        for machine in machines:
            machine.run(room.engine, 300)
    assert outputs == [guest.cases[0].stdout] * 3
    assert [machine.stats.interrupts["timer"] for machine in machines] == [5, 5, 5]


def test_control_registers_in_user_mode(room: Room) -> None:
    context = room.power_on(image_of(guests.guest("timer", "riscv64"))).context
    write_control(context, {"mepc": 0x1234, "mscratch": 7})
    write_control(context, {"priv": 0})
    assert read_control(context, ("priv", "mepc", "mscratch")) == {"priv": 0, "mepc": 0x1234, "mscratch": 7}


def test_the_table_of_boards(room: Room) -> None:
    machine: Machine = room.power_on(image_of(guests.guest("timer", "riscv64")))
    assert machine.isa.name == VIRT.arch
    assert isinstance(machine, BoardMachine)
    attached = {(attachment.start, attachment.device.name) for attachment in machine.wiring.bus.attachments}
    assert attached == {(start, name) for start, _, name in VIRT.map}
    row = VIRT.row()
    assert row["name"] == "riscv64-virt"
    assert isinstance(row["memory_map"], list)
    assert {entry["device"] for entry in row["memory_map"]} == {"finisher", "clint", "plic", "uart16550", "ram"}
    with pytest.raises(ConfigurationError, match="there is no board 'none'; there are: riscv64-virt"):
        board_named("none")
