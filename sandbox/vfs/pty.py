"""The master of a pseudo terminal: the screen side of a `Terminal`, as a file. Source: pty(7), drivers/tty/pty.c.

Reads get what the programs on the other side show, writes are keys. Without any open slave a read ends with EIO, but
only after there has been one. Closing the master hangs the terminal up.
Neighbours: `terminal`; numbers, names and /dev/ptmx are the kernel's (`kernel.terminals`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi.errno import EAGAIN, EBADF, EINVAL, EIO, ESPIPE, Errno
from sandbox.abi.flags import POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDNORM, POLLWRNORM
from sandbox.vfs.node import Node, OpenFile
from sandbox.vfs.terminal import FIONREAD, Terminal

if TYPE_CHECKING:
    from sandbox.memory import AddressSpace

TIOCGPTN, TIOCSPTLCK, TIOCGPTLCK, TIOCPKT, TIOCGPKT = 0x80045430, 0x40045431, 0x80045439, 0x5420, 0x80045438


class PtyMaster(OpenFile):
    """`number` is the N of /dev/pts/N. `locked` until unlockpt(3): the slave cannot be opened."""

    __slots__ = ("locked", "number", "packet", "status", "terminal", "was_opened")

    def __init__(self, node: Node, terminal: Terminal, number: int, flags: int) -> None:
        super().__init__(node, flags)
        self.terminal = terminal
        self.number = number
        self.locked = True
        self.was_opened = False
        self.packet = False  # TIOCPKT: what is read begins with a byte that says what it is
        self.status = 0  # TIOCPKT_* bits that have not been read
        self._queue = terminal.queue

    def _note(self, status: int) -> None:
        """Flushes, and output stopped or started; of those two the last one counts."""
        opposite = {4: 8, 8: 4}.get(status, 0)
        self.status = self.status & ~opposite | status

    @property
    def _deserted(self) -> bool:
        return self.was_opened and not self.terminal.opens

    def close(self) -> None:
        self.terminal.hang_up()

    def read(self, count: int, offset: int | None = None) -> bytes:
        if not self.readable:
            raise Errno(EBADF)
        if offset is not None:
            raise Errno(ESPIPE)
        if not count:
            return b""
        if self.packet and self.status:
            status, self.status = self.status, 0
            return bytes((status,))
        if self.packet and count == 1 and self.terminal.shown:
            return b"\0"
        data = self.terminal.take_output(count - self.packet)
        if not data:
            raise Errno(EIO if self._deserted else EAGAIN)
        return b"\0" + data if self.packet else data

    def write(self, data: bytes, offset: int | None = None) -> int:
        if not self.writable:
            raise Errno(EBADF)
        if offset is not None:
            raise Errno(ESPIPE)
        if self._deserted:
            raise Errno(EIO)
        room = self.terminal.room
        if data and not room:
            raise Errno(EAGAIN)
        data = data[:room]
        self.terminal.type(data)
        return len(data)

    def seek(self, offset: int, whence: int) -> int:
        raise Errno(ESPIPE)

    def truncate(self, size: int) -> None:
        raise Errno(EINVAL)

    def sync(self) -> None:
        raise Errno(EINVAL)

    def ioctl(self, request: int, argument: int, space: AddressSpace) -> int:
        if request == TIOCGPTN:
            space.copy_out(argument, self.number.to_bytes(4, "little"))
        elif request == TIOCSPTLCK:
            self.locked = any(space.copy_in(argument, 4))
        elif request == TIOCGPTLCK:
            space.copy_out(argument, int(self.locked).to_bytes(4, "little"))
        elif request == TIOCGPKT:
            space.copy_out(argument, int(self.packet).to_bytes(4, "little"))
        elif request == TIOCPKT:
            self.packet = any(space.copy_in(argument, 4))
            self.status = 0
            self.terminal.on_packet = self._note if self.packet else None
        elif request == FIONREAD:
            space.copy_out(argument, self.terminal.shown.to_bytes(4, "little"))
        else:
            return self.terminal.control(request, argument, space)
        return 0

    def poll(self) -> int:
        ready = 0
        if self.terminal.shown:
            ready |= POLLIN | POLLRDNORM
        if self.packet and self.status:
            ready |= POLLPRI | POLLIN | POLLRDNORM
        if self.terminal.room:
            ready |= POLLOUT | POLLWRNORM
        if self._deserted:
            ready |= POLLHUP
        return ready
