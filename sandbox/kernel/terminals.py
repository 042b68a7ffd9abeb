"""The terminals of one machine: /dev/tty, /dev/console, /dev/ptmx and /dev/pts.

`Terminals` registers what these devices open in the mount table's `devices`; a new pseudo terminal gets the lowest free
number and a node in /dev/pts (if that directory exists), which goes with its master. The host's own terminal
(`sandbox run -t`) is a terminal made by `make_console`, with its screen side in the hands of the caller.
Neighbours: `job_control`, `sandbox.vfs.terminal`, `sandbox.vfs.pty`, `sandbox.vfs.devfs`.
Source: pts(4), tty(4); fs/devpts/inode.c.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from sandbox.abi.errno import EIO, ENOSPC, ENXIO, Errno
from sandbox.abi.flags import O_RDWR, S_IFCHR
from sandbox.kernel import job_control
from sandbox.vfs.devfs import CONSOLE, PTMX, TTY
from sandbox.vfs.mount import Place
from sandbox.vfs.node import SUPERUSER, Node, OpenFile, device_number
from sandbox.vfs.pty import PtyMaster
from sandbox.vfs.terminal import Terminal, TerminalFile
from sandbox.vfs.walk import walk

if TYPE_CHECKING:
    from sandbox.kernel.linux import LinuxMachine
    from sandbox.kernel.process import Process

MOST_PTYS = 256
_PTS_MAJOR = 136
_TTY_GROUP = 5


class Terminals:
    def __init__(self, kernel: LinuxMachine) -> None:
        self._kernel = kernel
        self._ptys: dict[int, Terminal] = {}
        self._masters: dict[int, PtyMaster] = {}
        self.console: Terminal | None = None
        devices = kernel.mounts.devices
        devices[S_IFCHR, TTY] = self._open_own
        devices[S_IFCHR, CONSOLE] = self._open_console
        devices[S_IFCHR, PTMX] = self._open_master

    # -- pseudo terminals -------------------------------------------------------------------------------

    def _new(self) -> tuple[int, Terminal]:
        number = 0
        while number in self._ptys:
            number += 1
        if number >= MOST_PTYS:
            raise Errno(ENOSPC)
        device = device_number(_PTS_MAJOR, number)
        terminal = Terminal(device)
        terminal.on_signal = self._signal
        self._ptys[number] = terminal
        self._kernel.mounts.devices[S_IFCHR, device] = self._open_slave
        return number, terminal

    def _signal(self, group: int, number: int) -> None:
        job_control.signal_group(self._kernel, group, number)

    def _open_master(self, node: Node, flags: int, opener: object | None) -> OpenFile:
        number, terminal = self._new()
        credentials = getattr(opener, "credentials", SUPERUSER)
        with suppress(Errno):
            directory = self._directory()
            directory.node.mknod(b"%d" % number, S_IFCHR | 0o620, terminal.device, credentials.fsuid, _TTY_GROUP)
        master = _Master(self, node, terminal, number, flags)
        self._masters[number] = master
        return master

    def _open_slave(self, node: Node, flags: int, opener: object | None) -> OpenFile:
        number = node.rdev & 0xFF
        terminal = self._ptys.get(number)
        master = self._masters.get(number)
        if terminal is None or terminal.hung_up or (master is not None and master.locked):
            raise Errno(EIO)
        if master is not None:
            master.was_opened = True
        return TerminalFile(node, terminal, flags)

    def peer(self, master: PtyMaster, flags: int) -> OpenFile:
        """The slave of `master`, opened without its name (TIOCGPTPEER)."""
        place = None
        with suppress(Errno):
            place = self._directory().child(b"%d" % master.number)
        if place is None or place.node.rdev != master.terminal.device:
            raise Errno(EIO)
        file = self._open_slave(place.node, flags, None)
        file.place = place
        return file

    def forget(self, number: int) -> None:
        """The master has gone: so do the number and the name."""
        terminal = self._ptys.pop(number, None)
        self._masters.pop(number, None)
        if terminal is not None:
            self._kernel.mounts.devices.pop((S_IFCHR, terminal.device), None)
        with suppress(Errno):
            directory = self._directory()
            directory.node.unlink(b"%d" % number)
            directory.forget(b"%d" % number)

    def _directory(self) -> Place:
        mounts = self._kernel.mounts
        return walk(mounts, mounts.root, mounts.root, b"/dev/pts", SUPERUSER)

    # -- the controlling terminal, and the machine's own --------------------------------------------------

    def _open_own(self, node: Node, flags: int, opener: object | None) -> OpenFile:
        process: Process | None = getattr(opener, "process", None)
        terminal = process.terminal if process is not None else None
        if not isinstance(terminal, Terminal):
            raise Errno(ENXIO)
        return TerminalFile(node, terminal, flags)

    def _open_console(self, node: Node, flags: int, opener: object | None) -> OpenFile:
        if self.console is None:
            raise Errno(ENXIO)
        return TerminalFile(node, self.console, flags)

    def make_console(self, rows: int = 24, columns: int = 80, owner: int = 0) -> tuple[Terminal, TerminalFile]:
        """The same as `make_terminal`, for the first process: it is /dev/console as well."""
        terminal, file = self.make_terminal(rows, columns, owner)
        self.console = terminal
        return terminal, file

    def make_terminal(self, rows: int = 24, columns: int = 80, owner: int = 0) -> tuple[Terminal, TerminalFile]:
        """A terminal whose screen side the caller serves (`Terminal.type`, `drain`, `on_output`), and an open file of
        it for a process's descriptors. It is /dev/pts/N when there is a /dev/pts, until `forget(N)`."""
        number, terminal = self._new()
        terminal.resize(rows, columns)
        mounts = self._kernel.mounts
        place = None
        with suppress(Errno):
            directory = self._directory()
            directory.node.mknod(b"%d" % number, S_IFCHR | 0o620, terminal.device, owner, _TTY_GROUP)
            place = directory.child(b"%d" % number)
        if place is None:
            with suppress(Errno):
                place = walk(mounts, mounts.root, mounts.root, b"/dev/console", SUPERUSER)
        if place is None:
            place = Place.detached(self._kernel.nameless.anonymous.node(b"[terminal]"), b"/dev/console")
        file = TerminalFile(place.node, terminal, O_RDWR)
        file.place = place
        return terminal, file


class _Master(PtyMaster):
    """A master that gives its number back."""

    __slots__ = ("_terminals",)

    def __init__(self, terminals: Terminals, node: Node, terminal: Terminal, number: int, flags: int) -> None:
        super().__init__(node, terminal, number, flags)
        self._terminals = terminals

    def close(self) -> None:
        super().close()
        self._terminals.forget(self.number)
