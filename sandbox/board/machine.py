"""A bare-metal virtual machine: one CPU, RAM and devices, without an operating system of ours.

RAM is an ordinary region of an address space at its physical address, demand-zero and charged like any other
memory. Device pages lead to the bus, which answers from inside the engine's callback. Traps and interrupts
are entered between two runs of the engine by the board's `Processor`.

Time is the clock the machine is given. In a deterministic run that is a `VirtualClock`, which the machine
moves by the code bytes done (one is a nanosecond), so that a timer interrupt comes at the same instruction
every time; otherwise it is the host's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from sandbox.abi.errno import EAGAIN, Errno
from sandbox.board.description import Board
from sandbox.clock import Clock, VirtualClock
from sandbox.devices import Bus
from sandbox.engine import Context, Engine, Stop, StopReason, isa_named
from sandbox.errors import LoadError
from sandbox.loader import FlatImage
from sandbox.machine import Activity, Outcome
from sandbox.memory import PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE, Account, AddressSpace, FramePool
from sandbox.vfs.stream import ByteQueue
from sandbox.wait import WaitQueue

QUANTUM = 50_000  # the longest slice without a look at the devices: code bytes, or nanoseconds when free-running
URGENT = 2_000  # while an interrupt waits for the guest to enable it
_STOP_CHARGE = 20  # of the budget, for a trap, so that a guest that only traps still uses its share


@dataclass(slots=True)
class BoardStats:
    interrupts: Counter[str] = field(default_factory=Counter)
    traps: Counter[str] = field(default_factory=Counter)
    work: int = 0  # code bytes


class Window:
    """The engine's device window, page by page, to bus addresses."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._pages: list[int] = []

    def show(self, space: AddressSpace, device_base: int) -> None:
        for attachment in self._bus.attachments:
            first = attachment.start & -PAGE_SIZE
            length = -(-(attachment.end - first) // PAGE_SIZE) * PAGE_SIZE
            space.map_device(first, length, device_base + len(self._pages) * PAGE_SIZE)
            self._pages += range(first, first + length, PAGE_SIZE)

    def read(self, offset: int, size: int) -> int:
        return self._bus.read(self._pages[offset >> 12] + (offset & 4095), size)

    def write(self, offset: int, size: int, value: int) -> None:
        self._bus.write(self._pages[offset >> 12] + (offset & 4095), size, value)


class BoardMachine:
    """See `sandbox.machine.Machine`. `on_output` gets the console's bytes and returns how many it took (None: all);
    it may raise Errno(EAGAIN), and then the machine stands still until `room` is woken. `source` is the input.

    Raises LoadError when the image does not fit the board."""

    privileged = True  # its engines run in the CPU's reset privilege

    def __init__(
        self,
        board: Board,
        pool: FramePool,
        account: Account,
        image: FlatImage,
        *,
        clock: Clock,
        deterministic: bool = False,
        ram_size: int | None = None,
        on_output: Callable[[bytes], int | None] | None = None,
        room: WaitQueue | None = None,
        source: ByteQueue | None = None,
    ) -> None:
        self.board = board
        self.isa = isa_named(board.arch)
        self.clock = clock
        self.exit_status: int | None = None
        self.death: str | None = None
        self.on_wake: Callable[[], None] | None = None
        self.on_output = on_output
        self.room = room
        self.source = source
        self.stats = BoardStats()
        self._virtual = clock if deterministic and isinstance(clock, VirtualClock) else None
        self._boot_time = clock.monotonic()
        self._waiting = False  # for an interrupt
        self._unsent = bytearray()  # what the console has not taken yet
        self._status: int | None = None  # what the guest ends with, once its output is out
        self._mapped = False
        self._released = False
        size = ram_size or board.ram_size
        if image.isa_name not in (None, board.arch):
            raise LoadError(f"the image is for {image.isa_name}, and the board {board.name} is {board.arch}")
        if image.start < board.ram_start or image.end > board.ram_start + size:
            raise LoadError(
                f"the image stands at {image.start:#x} to {image.end - 1:#x}, and the memory of {board.name} at"
                f" {board.ram_start:#x} to {board.ram_start + size - 1:#x}: link it there"
                f" (a .s file begins with `# address: {board.ram_start:#x}`)"
            )
        self.space = AddressSpace(pool, account, self.isa.bits)
        self.context = Context(self.isa, privileged=True)
        try:
            protection = PROT_READ | PROT_WRITE | PROT_EXEC
            self.space.map(board.ram_start, size, protection, fixed=True, name=b"[ram]", reserve=False)
            for address, data in image.pieces:
                self.space.copy_out(address, data)
        except Exception as error:
            self.release()
            raise LoadError(f"the image does not fit into the memory of the virtual machine ({error})") from error
        self.context.pc = image.entry
        self.wiring = board.wire(self, self.context, self.space)
        self._window = Window(self.wiring.bus)

    # ---- what the devices reach, from inside a run: the hypervisor's lock is not held there

    def uptime(self) -> int:
        """Nanoseconds since power-on."""
        return self.clock.monotonic() - self._boot_time

    def transmit(self, data: bytes) -> None:
        self._unsent += data

    def finish(self, status: int) -> None:
        if self._status is None:
            self._status = status

    def fail(self, reason: str, status: int = 125) -> None:
        if self.exit_status is None:
            self.exit_status, self.death = status, reason

    # ---- sandbox.machine.Machine

    def run(self, engine: Engine, budget: int) -> Outcome:
        if self.exit_status is not None:
            return Outcome(Activity.EXITED, 0)
        engine.open_devices()
        if not self._mapped:
            self._window.show(self.space, engine.device_base)
            self._mapped = True
        engine.bus = self._window
        try:
            return self._run(engine, budget)
        finally:
            engine.bus = None

    def _run(self, engine: Engine, budget: int) -> Outcome:
        processor = self.wiring.processor
        left, work = budget, 0
        while left > 0:
            if self.exit_status is None and not self._flush():
                return Outcome(Activity.WAITING, work, None, budget - left)
            if self._status is not None and self.exit_status is None:
                self.exit_status = self._status
            if self.exit_status is not None:
                return Outcome(Activity.EXITED, work, None, budget - left)
            self._feed()
            self.wiring.update()
            event = self.wiring.next_event()
            if self._waiting and not processor.awake:
                if self._virtual is not None and self._virtual.jumps and event is not None:
                    self._virtual.advance(event)
                    left -= _STOP_CHARGE
                    continue
                deadline = None if event is None else self.clock.monotonic() + event
                return Outcome(Activity.WAITING, work, deadline, budget - left)
            self._waiting = False
            name = processor.deliver()
            if name is not None:
                self.stats.interrupts[name] += 1
            slice_length = URGENT if processor.interrupts else QUANTUM if event is None else min(QUANTUM, event)
            started = self.clock.monotonic()
            stop = engine.run(self.context, self.space, max(1, min(left, slice_length)))
            work += stop.work
            self.stats.work += stop.work
            if self._virtual is not None:
                self._virtual.advance(stop.work)
            left -= stop.work if engine.exact else self.clock.monotonic() - started
            if stop.reason is not StopReason.BUDGET:
                left -= _STOP_CHARGE
                self._serve(stop)
        return Outcome(Activity.RUNNABLE, work, None, budget - left)

    def _feed(self) -> None:
        """Offer the console's input to its receiver, and listen for more."""
        source, wiring = self.source, self.wiring
        if source is None:
            return
        room = wiring.room()
        if room and (len(source) or (wiring.listening() and source.wanted(room))):
            wiring.receive(source.take(room))
        if not source.closed:
            source.queue.add(self)

    def _flush(self) -> bool:
        """Hand the console what was sent. False when it does not take all of it."""
        while self._unsent:
            try:
                taken = None if self.on_output is None else self.on_output(bytes(self._unsent))
            except Errno as error:
                taken = 0 if error.number == EAGAIN else None  # nobody is there: the bytes are lost, as on a real line
            del self._unsent[: len(self._unsent) if taken is None else taken]
            if taken == 0:
                if self.room is not None:
                    self.room.add(self)
                return False
        return True

    def _serve(self, stop: Stop) -> None:
        if stop.reason is StopReason.HALT:
            self._waiting = True
        elif stop.reason is StopReason.ERROR:
            self.fail(f"the engine failed: {stop.error}")
        elif stop.reason is StopReason.FAULT and self.space.resolve(stop.address, stop.access):
            return
        elif stop.reason is StopReason.FAULT and (stop.out_of_memory or self.space.fault == "oom"):
            self.fail("the memory of the virtual machine is used up", 137)
        elif stop.reason in (StopReason.FAULT, StopReason.TRAP):
            pc = self.context.pc
            name, handled = self.wiring.processor.trap(stop)
            self.stats.traps[name] += 1
            if not handled:
                self.fail(f"{name} at about {pc:#x}, and no trap handler is installed", 132)

    def wake(self, queue: WaitQueue) -> None:
        """The console has input, or takes output again."""
        if self.on_wake is not None:
            self.on_wake()

    def kill(self, reason: str, status: int = 137) -> None:
        self.fail(reason, status)

    def terminate(self) -> None:
        """The power switch: there is nobody to ask."""
        self.fail("it was switched off", 0)

    def release(self) -> None:
        if not self._released:
            self._released = True
            if self.source is not None:
                self.source.queue.discard(self)
            if self.room is not None:
                self.room.discard(self)
            self.context.release()
            self.space.release()
