"""What a thread leaves behind: the word of CLONE_CHILD_CLEARTID, and the mutexes it still held.

The robust list is in the thread's own memory and may be anything: every pointer is checked, and the walk is bounded.
Source: set_tid_address(2), get_robust_list(2), `exit_robust_list` in `kernel/futex/core.c`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from sandbox.abi.errno import Errno
from sandbox.abi.flags import FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS
from sandbox.kernel.futex import futex_key

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

_LONGEST = 2048


def leave(task: Task) -> None:
    """The thread ends, or starts a new program: both lose the memory these lists are in."""
    with suppress(Errno):  # a list that cannot be read is the guest's own loss
        _walk(task)
    _bequeath(task)
    task.robust_list = (0, 0)
    address, task.clear_tid = task.clear_tid, 0
    if address and task.kernel.spaces.shared(task.space):
        try:
            task.space.copy_out(address, bytes(4))
        except Errno:
            return
        _wake(task, address)


def _wake(task: Task, address: int) -> None:
    """Both forms of the word's key: the waiter chose one of them."""
    futexes = task.kernel.futexes
    futexes.wake(futex_key(task.space, address, private=True), 1)
    futexes.wake(futex_key(task.space, address, private=False), 1)


def _walk(task: Task) -> None:
    head = task.robust_list[0]
    if not head:
        return
    space, word = task.space, task.word
    entry, offset, pending = space.copy_in_words(head, 3, word)
    offset = offset - (1 << 8 * word) if offset >> (8 * word - 1) else offset
    for _ in range(_LONGEST):
        if entry & ~1 == head:
            break
        following = space.copy_in_words(entry & ~1, 1, word)[0]
        if entry & ~1 != pending & ~1:
            _abandon(task, (entry & ~1) + offset, inherited=bool(entry & 1))
        entry = following
    if pending & ~1:
        _abandon(task, (pending & ~1) + offset, inherited=bool(pending & 1))


def _abandon(task: Task, address: int, inherited: bool) -> None:
    """`inherited`: a lock that the kernel itself passes on, if somebody waits for it."""
    if address & 3 or address < 0:
        return
    value = task.space.copy_in_words(address, 1, 4)[0]
    if value & FUTEX_TID_MASK != task.tid:
        return
    task.space.copy_out(address, (value & FUTEX_WAITERS | FUTEX_OWNER_DIED).to_bytes(4, "little"))
    if value & FUTEX_WAITERS and not inherited:
        _wake(task, address)


def _bequeath(task: Task) -> None:
    """Whoever is first in the line for a lock that knows its owner gets it, and is told that the owner died."""
    for heir in task.kernel.futexes.heirs(task.tid):
        value = heir.task.tid | FUTEX_OWNER_DIED | FUTEX_WAITERS
        with suppress(Errno):  # it sleeps on memory that it has lost since
            heir.task.space.copy_out(heir.address, value.to_bytes(4, "little"))
        task.kernel.futexes.hand_over(heir.key)
