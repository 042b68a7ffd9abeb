"""Bare-metal machines: a CPU, memory and devices, and the program has it all to itself.

description.py  what a board is      riscv64.py  the board riscv64-virt, and how its CPU takes traps
machine.py      a board that runs: the Machine that the scheduler sees
"""

from __future__ import annotations

from sandbox.board import riscv64
from sandbox.board.description import Board
from sandbox.board.machine import BoardMachine, BoardStats
from sandbox.errors import ConfigurationError

BOARDS: dict[str, Board] = {board.name: board for board in (riscv64.BOARD,)}

__all__ = ["BOARDS", "Board", "BoardMachine", "BoardStats", "board_named"]


def board_named(name: str) -> Board:
    """Raises ConfigurationError that names what there is."""
    board = BOARDS.get(name)
    if board is None:
        raise ConfigurationError(f"there is no board '{name}'; there are: {', '.join(BOARDS)}")
    return board
