"""The 16550 serial port: a transmitter that is always ready, a receiver with a FIFO of 16 bytes, interrupts.

Source: the PC16550D data sheet (National Semiconductor, 1995), section 8. Bytes go out through `transmit` at
once; the board offers input with `receive`, which takes what the FIFO has room for. The line's speed is stored
and has no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sandbox.devices.device import Device, InterruptLine, State

_FIFO = 16
# Interrupt enable register and its causes; identification values, by priority.
_IER_RECEIVE, _IER_TRANSMIT, _IER_LINE, _IER_MODEM = 1, 2, 4, 8
_IIR_NONE, _IIR_TRANSMIT, _IIR_RECEIVE, _IIR_LINE = 1, 2, 4, 6
_LSR_READY, _LSR_OVERRUN, _LSR_THR_EMPTY, _LSR_IDLE = 0x01, 0x02, 0x20, 0x40
_LCR_DIVISOR = 0x80
_MCR_LOOP = 0x10
_MSR_CONNECTED = 0xB0  # carrier, data set ready, clear to send


class Uart16550(Device):
    name = "uart16550"
    size = 0x100

    def __init__(self, transmit: Callable[[bytes], None] | None = None) -> None:
        self.transmit = transmit
        self.interrupt = InterruptLine()
        self._fifo = bytearray()
        self._fifo_enabled = False
        self._overrun = False
        self._transmit_pending = False  # the holding register ran empty and nobody has been told
        self._idle_looks = 0  # at the line status, since the last byte went out, with nothing received
        self._divisor = 1
        self._ier = self._lcr = self._mcr = self._scratch = 0

    # ---- the board's side

    @property
    def room(self) -> int:
        return _FIFO - len(self._fifo)

    @property
    def listening(self) -> bool:
        """Whether the guest seems to want input: it enabled the interrupt, or polls. One look at the line status
        for each byte sent is not polling, but waiting for the transmitter."""
        return bool(self._ier & _IER_RECEIVE) or self._idle_looks > 1

    def receive(self, data: bytes) -> int:
        """Bytes arrive on the line; how many fitted."""
        taken = min(len(data), self.room)
        self._fifo += data[:taken]
        self._idle_looks = 0
        self._update()
        return taken

    # ---- the guest's side: registers are bytes, wider accesses reach the first one

    def read(self, offset: int, size: int) -> int:
        match offset:
            case 0:
                return self._divisor & 0xFF if self._lcr & _LCR_DIVISOR else self._take()
            case 1:
                return self._divisor >> 8 if self._lcr & _LCR_DIVISOR else self._ier
            case 2:
                return self._identify()
            case 3:
                return self._lcr
            case 4:
                return self._mcr
            case 5:
                status = _LSR_THR_EMPTY | _LSR_IDLE | (_LSR_READY if self._fifo else 0)
                status |= _LSR_OVERRUN if self._overrun else 0
                self._overrun = False
                self._idle_looks += not self._fifo
                self._update()
                return status
            case 6:
                return (self._mcr & 0x0F) << 4 if self._mcr & _MCR_LOOP else _MSR_CONNECTED
            case 7:
                return self._scratch
        return 0

    def write(self, offset: int, size: int, value: int) -> None:
        value &= 0xFF
        match offset:
            case 0 if self._lcr & _LCR_DIVISOR:
                self._divisor = (self._divisor & 0xFF00) | value
            case 0:
                self._send(value)
            case 1 if self._lcr & _LCR_DIVISOR:
                self._divisor = (self._divisor & 0xFF) | value << 8
            case 1:
                if value & _IER_TRANSMIT and not self._ier & _IER_TRANSMIT:
                    self._transmit_pending = True
                self._ier = value & 0x0F
            case 2:
                self._fifo_enabled = bool(value & 1)
                if value & 2:
                    self._fifo.clear()
            case 3:
                self._lcr = value
            case 4:
                self._mcr = value & 0x1F
            case 7:
                self._scratch = value
        self._update()

    def _take(self) -> int:
        if not self._fifo:
            return 0
        byte = self._fifo.pop(0)
        self._update()
        return byte

    def _send(self, value: int) -> None:
        self._transmit_pending = True
        self._idle_looks = 0
        if self._mcr & _MCR_LOOP:
            if self.receive(bytes([value])) == 0:
                self._overrun = True
        elif self.transmit is not None:
            self.transmit(bytes([value]))

    def _cause(self) -> int:
        if self._overrun and self._ier & _IER_LINE:
            return _IIR_LINE
        if self._fifo and self._ier & _IER_RECEIVE:
            return _IIR_RECEIVE
        if self._transmit_pending and self._ier & _IER_TRANSMIT:
            return _IIR_TRANSMIT
        return _IIR_NONE

    def _identify(self) -> int:
        cause = self._cause()
        if cause == _IIR_TRANSMIT:  # reading this register is what acknowledges it
            self._transmit_pending = False
            self._update()
        return cause | (0xC0 if self._fifo_enabled else 0)

    def _update(self) -> None:
        self.interrupt.set(self._cause() != _IIR_NONE)

    # ---- looking at it

    def registers(self) -> dict[str, int]:
        return {
            "ier": self._ier,
            "iir": self._cause(),
            "lcr": self._lcr,
            "mcr": self._mcr,
            "divisor": self._divisor,
            "scratch": self._scratch,
            "waiting": len(self._fifo),
        }

    def save(self) -> State:
        return {
            "fifo": self._fifo.hex(),
            "fifo_enabled": int(self._fifo_enabled),
            "overrun": int(self._overrun),
            "transmit_pending": int(self._transmit_pending),
            "divisor": self._divisor,
            "ier": self._ier,
            "lcr": self._lcr,
            "mcr": self._mcr,
            "scratch": self._scratch,
        }

    def load(self, state: Mapping[str, int | str]) -> None:
        fifo = bytes.fromhex(str(state["fifo"]))
        if len(fifo) > _FIFO:
            raise ValueError(f"the FIFO holds {_FIFO} bytes, not {len(fifo)}")
        self._fifo = bytearray(fifo)
        self._fifo_enabled = bool(state["fifo_enabled"])
        self._overrun = bool(state["overrun"])
        self._transmit_pending = bool(state["transmit_pending"])
        self._divisor = int(state["divisor"]) & 0xFFFF
        self._ier = int(state["ier"]) & 0x0F
        self._lcr = int(state["lcr"]) & 0xFF
        self._mcr = int(state["mcr"]) & 0x1F
        self._scratch = int(state["scratch"]) & 0xFF
        self._update()
