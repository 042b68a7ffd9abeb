"""Calls that do as much as a guest asks for do it in pieces: between two of them everybody else has a turn.

A handler keeps in `task.restart` how far it is and calls `give_way`, which puts the task behind those that are ready.
No signal but SIGKILL ends that sleep, so to the guest it is one call. A piece is a number of bytes or pages,
never a time: deterministic machines repeat it. Neighbours: `transfer`, `sys_memory`, `loop` (which charges a piece).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

from sandbox.wait import Block

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

BYTES_AT_ONCE = 1 << 20
PAGES_AT_ONCE = 1024
_PAGE = 4096


def give_way(task: Task) -> NoReturn:
    kernel = task.kernel
    kernel.gave_way = True
    raise Block(deadline=kernel.clock.monotonic(), interruptible=False)


def page_ranges(task: Task, start: int, end: int, most: int = PAGES_AT_ONCE) -> Iterator[tuple[int, int]]:
    """[start, end), whole pages, in pieces of at most `most` pages; gives way after each but the last."""
    position: int = task.restart.get("position", start)
    while position < end:
        following = min(end, position + most * _PAGE)
        yield position, following
        position = following
        if position < end:
            task.restart["position"] = position
            give_way(task)
