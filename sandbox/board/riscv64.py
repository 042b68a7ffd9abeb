"""The board `riscv64-virt`: one RV64GC hart in machine mode, with the memory map of QEMU's `virt` machine.

Traps and interrupts are entered by hand (privileged specification 3.1): mepc, mcause, mtval, the mstatus stack,
pc from mtvec. `mret` is Unicorn's. Not simulated: supervisor mode's page tables and delegation; reading `mip`
gives 0; after an access fault mtval holds the page, not the byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi.errno import Errno
from sandbox.board.description import Board, Wiring
from sandbox.devices import Bus, Clint, Device, Finisher, Plic, Uart16550
from sandbox.engine import Access, Context, Stop, StopReason
from sandbox.engine.control import read_control, write_control
from sandbox.memory import AddressSpace

if TYPE_CHECKING:
    from sandbox.board.machine import BoardMachine

TICK = 100  # nanoseconds: mtime counts at 10 MHz
UART_SOURCE = 10
_MACHINE_MODE = 3
_MIE, _MPIE, _MPP = 1 << 3, 1 << 7, 3 << 11
_INTERRUPT = 1 << 63
SOFTWARE, TIMER, EXTERNAL = 3, 7, 11
_INTERRUPT_NAMES = {SOFTWARE: "software", TIMER: "timer", EXTERNAL: "external"}
_BY_PRIORITY = (EXTERNAL, SOFTWARE, TIMER)
_ILLEGAL, _BREAKPOINT = 2, 3
_ACCESS_CAUSES = {Access.FETCH: 1, Access.READ: 5, Access.WRITE: 7}
_CAUSE_NAMES = {
    0: "misaligned instruction",
    1: "instruction access fault",
    2: "illegal instruction",
    3: "breakpoint",
    4: "misaligned load",
    5: "load access fault",
    6: "misaligned store",
    7: "store access fault",
    8: "environment call from U mode",
    9: "environment call from S mode",
    11: "environment call from M mode",
}
_CALL_VECTOR = 8  # Unicorn's, whatever the mode
_EBREAK, _COMPRESSED_EBREAK = 0x00100073, 0x9002


class Hart:
    """A Processor: trap entry into machine mode."""

    def __init__(self, context: Context, space: AddressSpace) -> None:
        self._context = context
        self._space = space
        self._lines = 0  # mip, as bits by cause

    def set_line(self, cause: int, level: bool) -> None:
        self._lines = self._lines | 1 << cause if level else self._lines & ~(1 << cause)

    @property
    def interrupts(self) -> bool:
        return self._lines != 0

    @property
    def awake(self) -> bool:
        return bool(self._lines and self._lines & read_control(self._context, ("mie",))["mie"])

    def deliver(self) -> str | None:
        if not self._lines:
            return None
        control = read_control(self._context, ("mstatus", "mie", "priv"))
        if control["priv"] == _MACHINE_MODE and not control["mstatus"] & _MIE:
            return None
        ready = self._lines & control["mie"]
        for cause in _BY_PRIORITY:
            if ready & 1 << cause:
                self._enter(cause | _INTERRUPT, 0, self._context.pc)
                return _INTERRUPT_NAMES[cause]
        return None

    def trap(self, stop: Stop) -> tuple[str, bool]:
        cause, value, pc = self._cause(stop)
        return _CAUSE_NAMES.get(cause, f"cause {cause}"), self._enter(cause, value, pc)

    def _cause(self, stop: Stop) -> tuple[int, int, int]:
        """(mcause, mtval, mepc). Unicorn's PC is past the instruction for what it raises as an interrupt."""
        pc = self._context.pc
        if stop.reason is StopReason.FAULT:
            return _ACCESS_CAUSES[stop.access], stop.address, pc
        if stop.vector == _CALL_VECTOR:
            return 8 + read_control(self._context, ("priv",))["priv"], 0, pc - 4
        if stop.vector in self._context.isa.trap_pc_after:
            pc -= self._context.isa.trap_pc_after[stop.vector]
            return stop.vector, self._instruction(pc) if stop.vector == _ILLEGAL else 0, pc
        instruction = self._instruction(pc)
        if instruction in (_EBREAK, _COMPRESSED_EBREAK):
            return _BREAKPOINT, pc, pc
        return _ILLEGAL, instruction, pc

    def _instruction(self, pc: int) -> int:
        try:
            low = int.from_bytes(self._space.read(pc, 2), "little")
            return low if low & 3 != 3 else low | int.from_bytes(self._space.read(pc + 2, 2), "little") << 16
        except Errno:
            return 0

    def _enter(self, cause: int, value: int, pc: int) -> bool:
        """False when mtvec leads nowhere."""
        control = read_control(self._context, ("mstatus", "mtvec", "priv"))
        status = control["mstatus"] & ~(_MIE | _MPIE | _MPP)
        status |= _MPIE if control["mstatus"] & _MIE else 0
        status |= control["priv"] << 11
        base = control["mtvec"] & ~3
        vectored = control["mtvec"] & 1 and cause & _INTERRUPT
        handler = base + 4 * (cause & ~_INTERRUPT) if vectored else base
        try:
            self._space.read(handler, 2)
        except Errno:
            return False
        write_control(
            self._context,
            {"mepc": pc, "mcause": cause, "mtval": value, "mstatus": status, "priv": _MACHINE_MODE},
        )
        self._context.pc = handler
        return True


def _wire(machine: BoardMachine, context: Context, space: AddressSpace) -> Wiring:
    hart = Hart(context, space)
    clint = Clint(lambda: machine.uptime() // TICK)
    plic = Plic()
    uart = Uart16550(machine.transmit)
    finisher = Finisher(machine.finish, lambda: machine.fail("the guest asked for a reset, which is not simulated"))
    clint.timer.on_change = lambda level: hart.set_line(TIMER, level)
    clint.software.on_change = lambda level: hart.set_line(SOFTWARE, level)
    plic.output.on_change = lambda level: hart.set_line(EXTERNAL, level)
    plic.connect(UART_SOURCE, uart.interrupt)
    bus = Bus()
    devices: dict[str, Device] = {device.name: device for device in (clint, plic, uart, finisher)}
    for start, _, name in _MAP:
        bus.attach(start, devices[name])

    def next_event() -> int | None:
        ticks = clint.remaining()
        return None if ticks is None or clint.timer.level else ticks * TICK

    return Wiring(hart, bus, lambda: uart.room, uart.receive, lambda: uart.listening, next_event, clint.update)


_MAP = (
    (0x00100000, Finisher.size, Finisher.name),
    (0x02000000, Clint.size, Clint.name),
    (0x0C000000, Plic.size, Plic.name),
    (0x10000000, Uart16550.size, Uart16550.name),
)

BOARD = Board(
    name="riscv64-virt",
    arch="riscv64",
    purpose="One RV64GC hart in machine mode with a serial port, a timer and an interrupt controller; QEMU's virt map.",
    ram_start=0x80000000,
    ram_size=16 << 20,
    map=_MAP,
    wire=_wire,
)
