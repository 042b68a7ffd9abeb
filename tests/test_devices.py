"""Register models, each as a table of accesses and what is read back, and the bus."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from sandbox.devices import Bus, Clint, Device, Finisher, InterruptLine, Plic, Uart16550
from sandbox.errors import ConfigurationError

MAKE: dict[str, Callable[[], Device]] = {
    "device": Device,
    "uart16550": Uart16550,
    "clint": lambda: Clint(lambda: 1000),
    "plic": Plic,
    "finisher": Finisher,
}

# ---- rules that hold for every device


@pytest.mark.parametrize("name", list(MAKE))
def test_any_access_is_answered(name: str) -> None:
    device = MAKE[name]()
    chance = random.Random(name)
    for _ in range(3000):
        size = chance.choice((1, 2, 4, 8))
        offset = chance.choice((chance.randrange(device.size), chance.randrange(min(device.size, 64))))
        if chance.random() < 0.5:
            device.write(offset, size, chance.choice((0, 1, (1 << 8 * size) - 1, chance.getrandbits(8 * size))))
        else:
            assert device.read(offset, size) >= 0
    assert all(isinstance(value, int) for value in device.registers().values())


@pytest.mark.parametrize("name", list(MAKE))
def test_state_goes_out_and_in(name: str) -> None:
    chance = random.Random(name)
    first = MAKE[name]()
    for _ in range(500):
        size = chance.choice((1, 4, 8))
        first.write(chance.randrange(min(first.size, 0x5000)), size, chance.getrandbits(8 * size))
    state = first.save()
    assert all(isinstance(value, int | str) for value in state.values())
    second = MAKE[name]()
    second.load(state)
    assert second.save() == state
    assert second.registers() == first.registers()


@pytest.mark.parametrize("name", [name for name, make in MAKE.items() if make().save()])
def test_state_that_lacks_something_is_refused(name: str) -> None:
    with pytest.raises(KeyError):
        MAKE[name]().load({})


# ---- the bus


class Scratch(Device):
    name = "scratch"
    size = 0x10

    def __init__(self) -> None:
        self.log: list[tuple[str, int, int, int]] = []

    def read(self, offset: int, size: int) -> int:
        self.log.append(("read", offset, size, 0))
        return 0x1122334455667788

    def write(self, offset: int, size: int, value: int) -> None:
        self.log.append(("write", offset, size, value))


@pytest.mark.parametrize(
    ("start", "refused"),
    [(0x100, True), (0xF1, True), (0x10F, True), (0xF0, False), (0x110, False), (0, False), (0x105, True)],
)
def test_overlap_is_refused(start: int, refused: bool) -> None:
    bus = Bus()
    bus.attach(0x100, Scratch())
    if refused:
        with pytest.raises(
            ConfigurationError, match=r"scratch at 0x[0-9a-f]+ to 0x[0-9a-f]+ overlaps scratch at 0x100"
        ):
            bus.attach(start, Scratch())
    else:
        bus.attach(start, Scratch())
        assert [attachment.start for attachment in bus.attachments] == sorted([0x100, start])


def test_accesses_reach_the_device_at_its_offset() -> None:
    bus, device = Bus(), Scratch()
    bus.attach(0x100, device)
    assert bus.read(0x104, 4) == 0x55667788
    assert bus.read(0x10F, 1) == 0x88
    bus.write(0x108, 2, 0x12345)
    assert device.log == [("read", 4, 4, 0), ("read", 15, 1, 0), ("write", 8, 2, 0x2345)]
    assert bus.strays == 0
    for address, size in ((0xFF, 1), (0x110, 4), (0x10F, 2), (0, 8)):
        assert bus.read(address, size) == (1 << 8 * size) - 1
        bus.write(address, size, 1)
    assert bus.strays == 8
    assert len(device.log) == 3


def test_lines_tell_changes_only() -> None:
    seen: list[bool] = []
    line = InterruptLine(seen.append)
    for level in (False, True, True, False, False, True):
        line.set(level)
    assert seen == [True, False, True]


# ---- 16550: ("w", offset, value), ("r", offset, expected), ("in", bytes, taken), ("line", level), ("out", bytes)

RBR = THR = DLL = 0
IER = DLM = 1
IIR = FCR = 2
LCR, MCR, LSR, MSR, SCR = 3, 4, 5, 6, 7
Step = tuple[str, object] | tuple[str, object, object]
UART: dict[str, list[Step]] = {
    "transmit": [("r", LSR, 0x60), ("w", THR, 0x41), ("w", THR, 0x0A), ("out", b"A\n"), ("r", LSR, 0x60)],
    "receive": [
        ("in", b"xy", 2),
        ("r", LSR, 0x61),
        ("r", RBR, 0x78),
        ("r", RBR, 0x79),
        ("r", LSR, 0x60),
        ("r", RBR, 0),
    ],
    "fifo holds sixteen": [("in", b"0123456789abcdefgh", 16), ("in", b"x", 0), ("r", RBR, 0x30), ("in", b"xy", 1)],
    "fifo is cleared": [("in", b"abc", 3), ("w", FCR, 3), ("r", LSR, 0x60), ("r", IIR, 0xC1)],
    "divisor": [
        ("w", LCR, 0x83),
        ("w", DLL, 0x34),
        ("w", DLM, 0x12),
        ("r", DLL, 0x34),
        ("r", DLM, 0x12),
        ("w", LCR, 3),
        ("r", IER, 0),
        ("out", b""),
    ],
    "scratch": [("w", SCR, 0xA5), ("r", SCR, 0xA5)],
    "modem status": [("r", MSR, 0xB0)],
    "receive interrupt": [
        ("in", b"a", 1),
        ("line", False),
        ("w", IER, 1),
        ("line", True),
        ("r", IIR, 4),
        ("r", RBR, 0x61),
        ("line", False),
        ("r", IIR, 1),
    ],
    "transmit interrupt": [
        ("w", IER, 2),
        ("line", True),
        ("r", IIR, 2),
        ("line", False),
        ("r", IIR, 1),
        ("w", THR, 0x42),
        ("line", True),
        ("r", IIR, 2),
        ("line", False),
    ],
    "receive comes before transmit": [("w", IER, 3), ("in", b"a", 1), ("r", IIR, 4), ("r", RBR, 0x61), ("r", IIR, 2)],
    "loop": [("w", MCR, 0x10), ("w", THR, 0x55), ("out", b""), ("r", LSR, 0x61), ("r", RBR, 0x55), ("r", MSR, 0)],
    "overrun in the loop": [
        ("w", MCR, 0x10),
        *[("w", THR, 0x30)] * 17,
        ("w", IER, 4),
        ("line", True),
        ("r", IIR, 6),
        ("r", LSR, 0x63),
        ("line", False),
        ("r", LSR, 0x61),
    ],
}


@pytest.mark.parametrize("name", list(UART))
def test_uart(name: str) -> None:
    out = bytearray()
    uart = Uart16550(out.extend)
    for action, *values in UART[name]:
        step = f"{action} {values}"
        if action == "w":
            uart.write(int(str(values[0])), 1, int(str(values[1])))
        elif action == "r":
            assert uart.read(int(str(values[0])), 1) == values[1], step
        elif action == "in":
            assert isinstance(values[0], bytes)
            assert uart.receive(values[0]) == values[1], step
        elif action == "line":
            assert uart.interrupt.level == values[0], step
        else:
            assert bytes(out) == values[0], step


def test_uart_knows_who_listens() -> None:
    uart = Uart16550()
    for byte in b"sent":
        uart.read(LSR, 1)
        uart.write(THR, 1, byte)
    assert not uart.listening
    uart.read(LSR, 1)
    uart.read(LSR, 1)
    assert uart.listening
    uart.receive(b"x")
    assert not uart.listening
    uart.write(IER, 1, 1)
    assert uart.listening


# ---- CLINT


def test_timer_line_follows_the_time() -> None:
    now = [0]
    clint = Clint(lambda: now[0])
    assert clint.remaining() is None
    assert clint.read(0x4000, 8) == (1 << 64) - 1
    clint.write(0x4000, 8, 100)
    assert (clint.remaining(), clint.timer.level) == (100, False)
    now[0] = 99
    clint.update()
    assert (clint.remaining(), clint.timer.level) == (1, False)
    now[0] = 100
    clint.update()
    assert (clint.remaining(), clint.timer.level) == (0, True)
    clint.write(0x4000, 8, 200)
    assert clint.timer.level is False
    assert clint.read(0xBFF8, 8) == 100
    clint.write(0xBFF8, 8, 500)
    assert clint.timer.level is True
    now[0] = 110
    assert clint.read(0xBFF8, 8) == 510


def test_timer_registers_by_halves() -> None:
    clint = Clint(lambda: 0x1_0000_0005)
    assert (clint.read(0xBFF8, 4) & 0xFFFFFFFF, clint.read(0xBFFC, 4)) == (5, 1)
    clint.write(0x4004, 4, 7)
    clint.write(0x4000, 4, 9)
    assert clint.compare == 0x7_0000_0009
    clint.write(0xBFFC, 4, 2)
    assert clint.time == 0x2_0000_0005


def test_software_interrupt() -> None:
    clint = Clint(lambda: 0)
    clint.write(0, 4, 1)
    assert clint.software.level
    assert clint.read(0, 4) == 1
    clint.write(0, 4, 2)
    assert not clint.software.level


# ---- PLIC


def plic_with(*sources: int) -> tuple[Plic, dict[int, InterruptLine]]:
    plic = Plic()
    lines = {source: InterruptLine() for source in sources}
    for source, line in lines.items():
        plic.connect(source, line)
        plic.write(4 * source, 4, source % 7 + 1)
    plic.write(0x2000, 4, 0xFFFFFFFF)
    return plic, lines


def test_claim_and_complete() -> None:
    plic, lines = plic_with(3, 10)
    lines[10].set(True)
    assert plic.output.level
    assert plic.read(0x1000, 4) == 1 << 10
    assert plic.read(0x200004, 4) == 10
    assert not plic.output.level
    assert plic.read(0x200004, 4) == 0, "it is claimed"
    lines[3].set(True)
    assert plic.read(0x200004, 4) == 3
    plic.write(0x200004, 4, 10)
    assert plic.output.level, "its line is still high"
    lines[10].set(False)
    assert not plic.output.level
    plic.write(0x200004, 4, 3)
    lines[3].set(False)
    lines[3].set(True)
    assert plic.read(0x200004, 4) == 3


def test_priority_threshold_and_enable() -> None:
    plic, lines = plic_with(3, 4, 6, 13)
    for line in lines.values():
        line.set(True)
    assert plic.read(0x200004, 4) == 6, "priority 7, and the lower number of two"
    assert plic.read(0x200004, 4) == 13
    plic.write(0x200000, 4, 4)
    assert plic.read(0x200004, 4) == 4, "priority 5"
    assert not plic.output.level, "source 3 has priority 4, which is not above the threshold"
    plic.write(0x200000, 4, 0)
    plic.write(0x2000, 4, 0)
    assert not plic.output.level
    with pytest.raises(ValueError, match="1 to 31"):
        plic.connect(0, InterruptLine())


# ---- the finisher


@pytest.mark.parametrize(
    ("value", "size", "status"),
    [(0x5555, 4, 0), (0x13333, 4, 1), (0x73333, 8, 7), (0x3333, 2, 1), (0x1234, 4, None), (0x5555, 1, None)],
)
def test_finisher(value: int, size: int, status: int | None) -> None:
    statuses: list[int] = []
    finisher = Finisher(statuses.append)
    finisher.write(4, 4, 0x5555)
    finisher.write(0, size, value)
    assert statuses == ([] if status is None else [status])


def test_finisher_resets() -> None:
    asked: list[str] = []
    Finisher(None, lambda: asked.append("reset")).write(0, 4, 0x7777)
    assert asked == ["reset"]
