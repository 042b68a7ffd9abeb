"""The plain case of read and write on a pipe, in as few steps as there can be: at most a page, which goes at once.

What shells, make and every pair of talking processes do most. Whatever is not plain (an error, an empty buffer, a
signal, someone who watches the file) is 0 here, and then `transfer` does it: it means the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi.flags import O_DIRECT, O_NONBLOCK
from sandbox.vfs.pipe import PAGE
from sandbox.wait import Block

if TYPE_CHECKING:
    from sandbox.kernel.task import Task
    from sandbox.vfs.pipe import PipeEnd


def receive_page(task: Task, file: PipeEnd, address: int, count: int) -> int:
    """Raises Block where it would wait, and Errno(EFAULT) before anything is lost."""
    if not 0 < count <= PAGE - (address & PAGE - 1) or not file.readable or file.node.filesystem.watched:
        return 0
    pipe = file.pipe
    if not pipe.size:
        if pipe.writers and not file.flags & O_NONBLOCK:
            raise Block(pipe.queue)
        return 0
    space = task.space
    place = space.place_for(address)
    data = pipe.read(count)
    space.pool.memory[place : place + len(data)] = data
    return len(data)


def send_page(task: Task, file: PipeEnd, address: int, count: int) -> int:
    """Raises Errno(EFAULT)."""
    pipe = file.pipe
    if (
        not 0 < count <= PAGE - (address & PAGE - 1)
        or not file.writable
        or not pipe.readers
        or file.flags & O_DIRECT
        or pipe.room < PAGE
        or task.restart
        or file.node.filesystem.watched
    ):
        return 0
    return pipe.write(task.space.copy_in(address, count))
