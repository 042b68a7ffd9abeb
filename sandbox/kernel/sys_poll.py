"""poll, ppoll, select, pselect6: waiting for any of several files. `OpenFile.poll` says what is ready.

The forms differ in how the descriptors and the timeout come: milliseconds, timeval or timespec, with 32-bit or 64-bit
seconds on 32-bit ISAs. select writes the time that was left back, as Linux does. Source: poll(2), select(2);
fs/select.c.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from sandbox.abi.errno import EBADF, EINVAL, Errno
from sandbox.abi.flags import (
    O_PATH,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLNVAL,
    POLLOUT,
    POLLPRI,
    POLLRDBAND,
    POLLRDNORM,
    POLLWRBAND,
    POLLWRNORM,
)
from sandbox.abi.structs import NANOSECONDS, PAIR, POLLFD, pack_timespec, pack_timeval
from sandbox.kernel.readiness import deadline_after, remaining, wait, with_mask
from sandbox.kernel.row import FULL, Row
from sandbox.kernel.signals import is_deliverable
from sandbox.kernel.sys_time import read_timespec
from sandbox.wait import Block

if TYPE_CHECKING:
    from sandbox.kernel.task import Task
    from sandbox.wait import WaitQueue

_ALWAYS = POLLERR | POLLHUP
# What each of the three sets of select looks for.
_SET_EVENTS = (
    POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR,
    POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR,
    POLLPRI,
)
_LARGEST_COUNT = 1 << 20
_FOREVER = 1 << 62


# -- poll --------------------------------------------------------------------------------------------------


def poll(task: Task, address: int, count: int, timeout: int) -> int:
    return _poll(task, address, count, deadline_after(task, None if timeout < 0 else timeout * 1_000_000))


def ppoll(task: Task, address: int, count: int, timeout: int, mask: int, mask_size: int) -> int:
    return _ppoll(task, address, count, timeout, mask, mask_size, task.word)


def ppoll_time64(task: Task, address: int, count: int, timeout: int, mask: int, mask_size: int) -> int:
    return _ppoll(task, address, count, timeout, mask, mask_size, 8)


def _ppoll(task: Task, address: int, count: int, timeout: int, mask: int, mask_size: int, width: int) -> int:
    # Read once: what is written back at the end must not shorten the wait of a call that is run again.
    known = "deadline" in task.restart
    duration = None if not timeout else 0 if known else read_timespec(task, timeout, width)
    deadline = deadline_after(task, duration)
    return _timed(
        task,
        lambda: with_mask(task, mask, mask_size, lambda: _poll(task, address, count, deadline)),
        timeout,
        lambda: pack_timespec(width, remaining(task, deadline)),
    )


def _poll(task: Task, address: int, count: int, deadline: int | None) -> int:
    if count > min(task.files.limit, _LARGEST_COUNT):
        raise Errno(EINVAL)
    files = task.files
    queues: list[WaitQueue] = []
    answer = bytearray(task.space.copy_in(address, count * POLLFD.size))
    ready = 0
    for offset in range(0, len(answer), POLLFD.size):
        fd, events, _ = POLLFD.unpack_from(answer, offset)
        found = 0
        if fd >= 0:
            try:
                file = files.get(fd)
                found = POLLNVAL if file.flags & O_PATH else file.poll() & (events & 0xFFFF | _ALWAYS)
                queues.append(file.queue)
            except Errno:
                found = POLLNVAL
        POLLFD.pack_into(answer, offset, fd, events, found)
        ready += found != 0
    if not ready:
        wait(task, deadline, queues)
    task.space.copy_out(address, answer)
    return ready


def _timed(task: Task, call: Callable[[], int], address: int, left: Callable[[], bytes]) -> int:
    """`call`, whose end leaves the time that is left at `address`, also when a signal is what ends it. A program that
    cannot take it does not lose its result (`poll_select_finish`)."""
    interrupted = False
    try:
        return call()
    except Block:
        interrupted = True
        raise
    finally:
        if address and (not interrupted or (task.attention and is_deliverable(task))):
            with suppress(Errno):
                task.space.copy_out(address, left())


# -- select ------------------------------------------------------------------------------------------------


def select(task: Task, count: int, reads: int, writes: int, exceptions: int, timeout: int) -> int:
    duration = None
    if timeout:
        if "deadline" in task.restart:
            duration = 0
        else:
            seconds, micro = PAIR[task.word].unpack(task.space.copy_in(timeout, 2 * task.word))
            duration = seconds * NANOSECONDS + micro * 1000
            if seconds < 0 or micro < 0:
                raise Errno(EINVAL)
            duration = min(duration, _FOREVER)
    deadline = deadline_after(task, duration)
    return _timed(
        task,
        lambda: _select(task, count, (reads, writes, exceptions), deadline),
        timeout,
        lambda: pack_timeval(task.word, remaining(task, deadline)),
    )


def old_select(task: Task, address: int) -> int:
    """i386: all five arguments lie in memory."""
    count, reads, writes, exceptions, timeout = task.space.copy_in_words(address, 5, 4)
    return select(task, (count ^ 1 << 31) - (1 << 31), reads, writes, exceptions, timeout)


def pselect6(task: Task, count: int, reads: int, writes: int, exceptions: int, timeout: int, mask: int) -> int:
    return _pselect(task, count, (reads, writes, exceptions), timeout, mask, task.word)


def pselect6_time64(task: Task, count: int, reads: int, writes: int, exceptions: int, timeout: int, mask: int) -> int:
    return _pselect(task, count, (reads, writes, exceptions), timeout, mask, 8)


def _pselect(task: Task, count: int, sets: tuple[int, int, int], timeout: int, mask: int, width: int) -> int:
    mask_address, mask_size = task.space.copy_in_words(mask, 2, task.word) if mask else (0, 0)
    known = "deadline" in task.restart
    duration = None if not timeout else 0 if known else read_timespec(task, timeout, width)
    deadline = deadline_after(task, duration)
    return _timed(
        task,
        lambda: with_mask(task, mask_address, mask_size, lambda: _select(task, count, sets, deadline)),
        timeout,
        lambda: pack_timespec(width, remaining(task, deadline)),
    )


def _select(task: Task, count: int, sets: tuple[int, int, int], deadline: int | None) -> int:
    if count < 0:
        raise Errno(EINVAL)
    files = task.files
    numbers = files.numbers()
    count = min(count, max(64, (numbers[-1] + 64 if numbers else 0) & ~63))
    size = (count + 8 * task.word - 1) // (8 * task.word) * task.word
    used = (1 << count) - 1
    wanted = [int.from_bytes(task.space.copy_in(at, size), "little") & used if at else 0 for at in sets]
    found = [0, 0, 0]
    queues: list[WaitQueue] = []
    ready = 0
    pending = wanted[0] | wanted[1] | wanted[2]
    while pending:
        bit = pending & -pending
        pending ^= bit
        file = files.get(bit.bit_length() - 1)
        if file.flags & O_PATH:
            raise Errno(EBADF)
        state = file.poll()
        queues.append(file.queue)
        for index, events in enumerate(_SET_EVENTS):
            if wanted[index] & bit and state & events:
                found[index] |= bit
                ready += 1
    if not ready:
        wait(task, deadline, queues)
    for at, bits in zip(sets, found, strict=True):
        if at:
            task.space.copy_out(at, bits.to_bytes(size, "little"))
    return ready


_SETS = "count:int reads:inout writes:inout exceptions:inout timeout:inout"
_POLL = "descriptors:inout count:uint timeout:inout mask:in mask_size:ulong"

ROWS = [
    Row("poll", poll, "descriptors:inout count:uint timeout:int", FULL),
    Row("ppoll", ppoll, _POLL, FULL),
    Row("ppoll_time64", ppoll_time64, _POLL, FULL),
    Row("select", select, _SETS, FULL, "", ("x86_64",)),
    Row("select", old_select, "arguments:in", FULL, "", ("i386",)),
    Row("_newselect", select, _SETS, FULL),
    Row("pselect6", pselect6, f"{_SETS} mask:in", FULL),
    Row("pselect6_time64", pselect6_time64, f"{_SETS} mask:in", FULL),
]
