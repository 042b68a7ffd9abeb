"""Little stories of guests that share engines and frames, for test_isolation.py: each asserts that no guest sees a
byte, a translation or a permission that is not its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from sandbox.engine import Engine, StopReason
from sandbox.memory import Account, AddressSpace, FramePool, PagedFile
from tests.programs import CODE, DATA, STACK, Bench, code, isa_of

PAGE = 4096
READ, WRITE, EXECUTE = 1, 2, 4
PLACE = 0x60_0000  # where scenarios map what they are about: in a leaf of its own
LOAD, STORE, COPY_CODE = CODE + 0x400, CODE + 0x800, CODE + 0xC00


class Refused(Exception):
    """The guest was stopped by a fault that nothing resolves."""


class Guest:
    """One VM with all that scenarios ask of it in place, so that the host writes no code later on."""

    def __init__(self, world: World, space: AddressSpace | None = None) -> None:
        self.world = world
        self.bench = Bench(world.machine, pool=world.pool, engine=world.engine, space=space)
        self.space = self.bench.space
        self.engine = world.engine
        if space is None:
            for program, address in (("visit", CODE), ("load", LOAD), ("store", STORE), ("copy", COPY_CODE)):
                self.bench.place(program, address)
            self.space.copy_out(DATA, world.functions)
            self.space.copy_out(STACK - 256, bytes(256))
            for address in (LOAD, STORE, COPY_CODE):  # pages and leaves come first, the story after
                self.run(address, pointer=DATA + PAGE, target=DATA + PAGE, counter=1, value=0)

    def run(self, address: int, **roles: int) -> None:
        self.bench.engine = self.engine
        self.bench.context.pc = self.bench.entry(address)
        self.bench.set(**roles)
        stop = self.bench.run(budget=1_000_000)
        if stop.reason is StopReason.FAULT:
            raise Refused(repr(stop))
        assert stop.reason is StopReason.SYSCALL, stop

    def load(self, address: int) -> int:
        self.run(LOAD, pointer=address)
        return self.bench.get("value") & 0xFFFF_FFFF

    def store(self, address: int, value: int) -> None:
        self.run(STORE, pointer=address, value=value)

    def call(self, address: int) -> int:
        """The result of the function there."""
        self.run(CODE, target=self.bench.entry(address), value=0)
        return self.bench.get("value")

    def write_function(self, number: int, address: int) -> None:
        """The guest itself writes function 1 or 2 there."""
        size = self.world.function_size
        self.run(COPY_CODE, pointer=DATA + (number - 1) * size, target=address, counter=size)

    def map(self, protection: int, address: int = PLACE, file: PagedFile | None = None) -> None:
        self.space.map(address, PAGE, protection, fixed=True, shared=file is not None, source=file)

    def fork(self) -> Guest:
        child = Guest(self.world, self.space.fork())
        self.world.guests.append(child)
        return child

    def refuses(self, action: Callable[[], object]) -> None:
        with pytest.raises(Refused):
            action()


class World:
    """`first`: the frame from which on the guests get theirs."""

    def __init__(self, machine: str, size: int = 8 << 20, first: int = 1) -> None:
        self.machine = machine
        self.pool = FramePool(size)
        self.pool.words.next = first
        self.engine = Engine(isa_of(machine), self.pool)
        self.other_engine = Engine(isa_of(machine), self.pool)
        self.function_size = (len(code(machine, "one")) + 7) & ~7
        self.functions = b"".join(code(machine, name).ljust(self.function_size, b"\0") for name in ("one", "two"))
        self.guests: list[Guest] = []
        self.files: list[PagedFile] = []
        self.hog: Account | None = None
        self.hogged: list[int] = []

    def guest(self) -> Guest:
        self.guests.append(Guest(self))
        return self.guests[-1]

    def file(self, data: bytes = b"") -> PagedFile:
        file = PagedFile(self.pool, self.pool.system)
        file.truncate(PAGE)
        file.write(0, data)
        self.files.append(file)
        return file

    def take_all_free_frames(self) -> None:
        """So that the next one released is the next one handed out."""
        self.pool.words.next = self.pool.frames
        self.hog = self.pool.account(1 << 40)
        while True:
            frame = self.pool.take(self.hog.number, zero=True)
            if frame < 0:
                return
            self.hogged.append(frame)

    def end(self, guest: Guest) -> None:
        guest.bench.close()
        guest.space.release()
        self.guests.remove(guest)

    def close(self) -> None:
        for guest in list(self.guests):
            self.end(guest)
        while self.files:
            self.files.pop().release()
        while self.hogged:
            self.pool.release(self.hogged.pop())
        self.engine.close()
        self.other_engine.close()


# ---- scenarios


def same_addresses(world: World) -> None:
    """Two guests with other bytes and other code at the same addresses take turns."""
    one, two = world.guest(), world.guest()
    for number, guest in enumerate((one, two), 1):
        guest.map(READ | WRITE)
        guest.map(READ | WRITE | EXECUTE, PLACE + PAGE)
        guest.store(PLACE, 1000 * number)
        guest.write_function(number, PLACE + PAGE)
    for _ in range(3):
        for number, guest in enumerate((one, two), 1):
            assert guest.load(PLACE) == 1000 * number
            assert guest.call(PLACE + PAGE) == number
            guest.store(PLACE, 1000 * number)


def alternating(world: World) -> None:
    """The barest form: no page comes or goes between the turns."""
    one, two = world.guest(), world.guest()
    for guest, value in ((one, 11), (two, 22)):
        guest.map(READ | WRITE)
        guest.store(PLACE, value)
    assert [guest.load(PLACE) for guest in (one, two, one, two)] == [11, 22, 11, 22]


def code_in_a_reused_frame(world: World) -> None:
    """The frame that held one guest's function holds the next guest's, at the same address."""
    first, second = world.guest(), world.guest()
    second.map(READ | WRITE | EXECUTE, PLACE + PAGE)
    second.store(PLACE + PAGE, 0)  # it has its leaf
    first.map(READ | WRITE | EXECUTE)
    first.write_function(1, PLACE)
    assert first.call(PLACE) == 1
    frame = first.space.table.entry(PLACE) >> 12
    world.take_all_free_frames()
    first.space.unmap(PLACE, PAGE)
    second.map(READ | WRITE | EXECUTE)
    second.space.copy_out(PLACE, code(world.machine, "two"))
    assert second.space.table.entry(PLACE) >> 12 == frame, "the story needs the same frame"
    assert second.call(PLACE) == 2


def bytes_in_a_reused_frame(world: World) -> None:
    first, second = world.guest(), world.guest()
    for guest in (first, second):
        guest.map(READ | WRITE, PLACE + PAGE)
        guest.store(PLACE + PAGE, 1)
        guest.map(READ | WRITE)
    first.store(PLACE + 64, 0x5EC2E7)
    frame = first.space.table.entry(PLACE) >> 12
    world.take_all_free_frames()
    first.space.unmap(PLACE, PAGE)
    assert second.space.resolve(PLACE, READ)
    assert second.space.table.entry(PLACE) >> 12 == frame, "the story needs the same frame"
    assert second.load(PLACE + 64) == 0


def unmapped_and_mapped_again(world: World) -> None:
    guest = world.guest()
    guest.map(READ | WRITE)
    guest.store(PLACE, 77)
    guest.space.unmap(PLACE, PAGE)
    guest.refuses(lambda: guest.load(PLACE))
    guest.refuses(lambda: guest.store(PLACE, 1))
    guest.map(READ | WRITE)
    assert guest.load(PLACE) == 0


def protected(world: World) -> None:
    guest = world.guest()
    guest.map(READ | WRITE)
    guest.store(PLACE, 77)
    guest.space.protect(PLACE, PAGE, READ)
    guest.refuses(lambda: guest.store(PLACE, 78))
    assert guest.load(PLACE) == 77
    guest.space.protect(PLACE, PAGE, 0)
    guest.refuses(lambda: guest.load(PLACE))
    guest.space.protect(PLACE, PAGE, READ | WRITE)
    guest.store(PLACE, 79)
    assert guest.load(PLACE) == 79


def forked(world: World) -> None:
    """Each store is seen by the one that made it, whoever had the page in a TLB."""
    parent = world.guest()
    parent.map(READ | WRITE)
    parent.store(PLACE, 1)
    child = parent.fork()
    parent.store(PLACE, 2)
    assert child.load(PLACE) == 1
    child.store(PLACE, 3)
    grandchild = child.fork()
    child.store(PLACE, 4)
    assert [one.load(PLACE) for one in (parent, child, grandchild, parent)] == [2, 4, 3, 2]


def forked_with_shared_memory(world: World) -> None:
    parent = world.guest()
    parent.map(READ | WRITE, file=world.file())
    parent.store(PLACE, 1)
    child = parent.fork()
    parent.store(PLACE, 2)
    assert child.load(PLACE) == 2
    child.store(PLACE, 3)
    assert parent.load(PLACE) == 3


def self_modifying(world: World) -> None:
    """A page that may be written and executed gets other code again and again."""
    guest = world.guest()
    guest.map(READ | WRITE | EXECUTE)
    for number in (1, 2, 1, 2, 2, 1, 2, 1):
        guest.write_function(number, PLACE)
        assert guest.call(PLACE) == number
        assert guest.call(PLACE) == number


def code_beside_data(world: World) -> None:
    """Data in the page of the code that changes it, and a function in that page that changes as well."""
    guest = world.guest()
    guest.map(READ | WRITE | EXECUTE)
    size = world.function_size
    for number in (1, 2, 1, 2, 1, 2):
        guest.write_function(number, PLACE + size)
        guest.store(PLACE + 0x800, number * 100)
        assert guest.call(PLACE + size) == number
        assert guest.load(PLACE + 0x800) == number * 100


def just_in_time(world: World) -> None:
    """A compiler that never has a page writable and executable at once; neither may it use it so."""
    guest = world.guest()
    guest.map(READ | WRITE)
    for number in (1, 2, 1, 2, 1, 2):
        guest.space.protect(PLACE, PAGE, READ | WRITE)
        guest.write_function(number, PLACE)
        guest.refuses(lambda: guest.call(PLACE))
        guest.space.protect(PLACE, PAGE, READ | EXECUTE)
        assert guest.call(PLACE) == number
        guest.refuses(lambda: guest.store(PLACE, 0))


def dual_mapping(world: World) -> None:
    """One frame, writable at one address and executable at another."""
    guest, file = world.guest(), world.file()
    guest.map(READ | WRITE, PLACE, file)
    guest.map(READ | EXECUTE, PLACE + PAGE, file)
    for number in (1, 2, 1, 2, 1, 2):
        guest.write_function(number, PLACE)
        assert guest.call(PLACE + PAGE) == number
        guest.refuses(lambda: guest.call(PLACE))
        guest.refuses(lambda: guest.store(PLACE + PAGE, 0))


def one_writes_another_executes(world: World) -> None:
    """Two guests on two engines share a page of code."""
    writer, runner, file = world.guest(), world.guest(), world.file()
    runner.engine = world.other_engine
    writer.map(READ | WRITE, PLACE, file)
    runner.map(READ | EXECUTE, PLACE, file)
    for number in (1, 2, 1, 2, 1, 2):
        writer.write_function(number, PLACE)
        assert runner.call(PLACE) == number


def both_write_and_execute(world: World) -> None:
    first, second, file = world.guest(), world.guest(), world.file()
    second.engine = world.other_engine
    for guest in (first, second):
        guest.map(READ | WRITE | EXECUTE, PLACE, file)
    for number in (1, 2, 1, 2, 2, 1, 2, 1, 1, 2):
        writer, runner = (first, second) if number == 1 else (second, first)
        writer.write_function(number, PLACE)
        assert runner.call(PLACE) == number
        assert writer.call(PLACE) == number


def code_across_engines(world: World) -> None:
    """One guest that writes code on one engine and executes it on another, and the other way round."""
    guest = world.guest()
    guest.map(READ | WRITE | EXECUTE)
    engines, chance = (world.engine, world.other_engine), random.Random(3)
    for _ in range(30):
        number = chance.randint(1, 2)
        guest.engine = chance.choice(engines)
        guest.write_function(number, PLACE)
        guest.engine = chance.choice(engines)
        assert guest.call(PLACE) == number


def copied_on_another_engine(world: World) -> None:
    """A page is copied on write while the guest runs elsewhere; the engine it comes back to knew the original."""
    guest = world.guest()
    guest.map(READ | WRITE)
    guest.map(READ | WRITE, PLACE + PAGE)
    guest.store(PLACE, 5)
    guest.store(PLACE + PAGE, 5)
    child = guest.fork()
    guest.store(PLACE + PAGE, 6)  # its leaf is its own again
    assert guest.load(PLACE) == 5
    guest.engine = world.other_engine
    guest.store(PLACE, 7)
    guest.engine = world.engine
    assert guest.load(PLACE) == 7
    assert child.load(PLACE) == 5


def host_writes_code(world: World) -> None:
    """A debugger, a read(2) into the page, a file written by another: the next call runs the new code."""
    guest, file = world.guest(), world.file()
    guest.map(READ | WRITE | EXECUTE, PLACE)
    guest.map(READ | EXECUTE, PLACE + PAGE, file)
    writes: list[Callable[[bytes], object]] = [
        lambda data: guest.space.write(PLACE, data),
        lambda data: guest.space.copy_out(PLACE, data),
        lambda data: file.write(0, data),
    ]
    for write, place in zip(writes, (PLACE, PLACE, PLACE + PAGE), strict=True):
        for number in (1, 2, 1, 2):
            write(code(world.machine, "one" if number == 1 else "two"))
            assert guest.call(place) == number


def host_copies_code_out(world: World) -> None:
    """The kernel's copies alone: they leave the page table as it is."""
    guest = world.guest()
    guest.map(READ | WRITE | EXECUTE)
    for number in (1, 2, 1, 2):
        guest.space.copy_out(PLACE, code(world.machine, "one" if number == 1 else "two"))
        assert guest.call(PLACE) == number


def code_over_a_page_border(world: World) -> None:
    """A block that begins in a page which two guests share and ends in one that they do not."""
    file = world.file()
    guests = [world.guest(), world.guest()]
    nothing = code(world.machine, "nothing")
    file.write(0, nothing * (PAGE // len(nothing)))
    start = PLACE + PAGE - 4 * len(nothing)
    for number, guest in enumerate(guests, 1):
        guest.map(READ | EXECUTE, PLACE, file)
        guest.map(READ | WRITE | EXECUTE, PLACE + PAGE)
        guest.write_function(number, PLACE + PAGE)
    for _ in range(3):
        assert [guest.call(start) for guest in guests] == [1, 2]
    guests[0].write_function(2, PLACE + PAGE)
    guests[1].write_function(1, PLACE + PAGE)
    assert [guest.call(start) for guest in guests] == [2, 1]


SCENARIOS: dict[str, Callable[[World], None]] = {
    scenario.__name__: scenario
    for scenario in (
        same_addresses,
        alternating,
        code_in_a_reused_frame,
        bytes_in_a_reused_frame,
        unmapped_and_mapped_again,
        protected,
        forked,
        forked_with_shared_memory,
        self_modifying,
        code_beside_data,
        just_in_time,
        dual_mapping,
        one_writes_another_executes,
        both_write_and_execute,
        code_across_engines,
        copied_on_another_engine,
        host_writes_code,
        host_copies_code_out,
        code_over_a_page_border,
    )
}
