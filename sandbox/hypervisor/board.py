"""The ground of a bare-metal VM: memory account and image; and the machines that boot on it.

The program is a guest that comes with the package or a file of the host: assembly source, an ELF file linked to the
board's addresses, or raw bytes that go to the beginning of its RAM. A board has no files and no arguments. Neighbours:
linux.py, sandbox.board.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sandbox.assembler import assemble_file, header_fields
from sandbox.board import BoardMachine, board_named
from sandbox.errors import ConfigurationError, LoadError
from sandbox.hypervisor.builder import Kind, Surroundings
from sandbox.hypervisor.program import host_program
from sandbox.loader import flat_image
from sandbox.machine import Machine
from sandbox.memory import PAGE_SIZE, FramePool
from sandbox.vm import VmConfig


class BoardGround:
    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()

    def __init__(self, pool: FramePool, config: VmConfig, surroundings: Surroundings) -> None:
        self._pool = pool
        self._surroundings = surroundings
        self._board = board_named(config.board or "")
        self._ram_size = config.memory & -PAGE_SIZE
        self._closed = False
        if config.arch not in (None, self._board.arch):
            raise ConfigurationError(f"the board {self._board.name} is {self._board.arch}, not {config.arch}")
        if len(config.program) != 1:
            raise ConfigurationError(
                f"a board runs one image, without arguments: give the path of a program for {self._board.name}"
            )
        if config.rootfs is not None or config.volumes or config.tmpfs:
            raise ConfigurationError("a board has no files: rootfs, volumes and tmpfs are for Linux VMs")
        if config.tty:
            raise ConfigurationError("a board has a serial port of its own: tty is for Linux VMs")
        path = host_program(config)
        self._image = flat_image(_read(path, self._board.arch), path, self._board.ram_start, self._ram_size)
        isa_name = self._image.isa_name
        if isa_name not in (None, self._board.arch):
            raise LoadError(
                f"{path}: the program is for {isa_name}, and the board {config.board} is {self._board.arch}"
            )
        self.kind = Kind(self._board.arch, privileged=True)
        self._account = pool.account(_with_tables(config.memory))

    def boot(self) -> Machine:
        console, surroundings = self._surroundings.console, self._surroundings
        return BoardMachine(
            self._board,
            self._pool,
            self._account,
            self._image,
            clock=surroundings.clock,
            deterministic=surroundings.deterministic,
            ram_size=self._ram_size,
            on_output=partial(console.put, 1),
            room=console.output,
            source=console.renew_input(),
        )

    def retire(self, machine: Machine) -> None:
        machine.release()

    def change_limit(self, config: VmConfig, limit: str, machine: Machine | None) -> None:
        if limit == "memory":
            self._account.limit = _with_tables(config.memory) // PAGE_SIZE

    def read_file(self, path: bytes) -> bytes:
        raise ConfigurationError("a board has no files")

    def memory(self) -> tuple[int, int]:
        if self._closed:
            return 0, 0
        return self._account.used * PAGE_SIZE, self._account.peak * PAGE_SIZE

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._account.close()


def _read(path: str, arch: str) -> bytes:
    try:
        if path.endswith(".s"):
            header = dict(header_fields(Path(path).read_text(encoding="utf-8", errors="replace")))
            return assemble_file(path, header.get("arch", arch))
        return Path(path).read_bytes()
    except OSError as error:
        raise LoadError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None


def _with_tables(memory: int) -> int:
    """The RAM that was asked for, and the page tables that show all of it."""
    return memory + memory // 256 + (1 << 20)
