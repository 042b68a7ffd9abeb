"""futex: the kernel's part of user-space locks. Source: futex(2), `kernel/futex/`."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING

from sandbox.abi import flags as F
from sandbox.abi.errno import EAGAIN, EDEADLK, EFAULT, EINVAL, ENOSYS, EPERM, ESRCH, ETIMEDOUT, Errno
from sandbox.abi.flags import (
    FUTEX_BITSET_MATCH_ANY,
    FUTEX_CLOCK_REALTIME,
    FUTEX_OWNER_DIED,
    FUTEX_PRIVATE_FLAG,
    FUTEX_TID_MASK,
    FUTEX_WAITERS,
)
from sandbox.kernel.futex import Key, Waiter, futex_key
from sandbox.kernel.row import PARTIAL, Row
from sandbox.kernel.sys_time import read_timespec
from sandbox.wait import Block

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

_WORD = Struct("<I")
_CLOCK_ALLOWED = (F.FUTEX_WAIT, F.FUTEX_WAIT_BITSET, F.FUTEX_LOCK_PI2)


def _read(task: Task, address: int) -> int:
    value: int = _WORD.unpack(task.space.copy_in(address, 4))[0]
    return value


def _write(task: Task, address: int, value: int) -> None:
    task.space.copy_out(address, _WORD.pack(value & 0xFFFFFFFF))


def _key(task: Task, address: int, operation: int) -> Key:
    if address & 3:
        raise Errno(EINVAL)
    private = bool(operation & FUTEX_PRIVATE_FLAG)
    if not private:  # to know whose word it is, the page is looked at
        region = task.space.list.at(address)
        if region is None or not region.protection:
            raise Errno(EFAULT)
    return futex_key(task.space, address, private)


def _deadline(task: Task, timeout: int, width: int, absolute: bool, realtime: bool) -> int | None:
    """On the monotonic clock; kept while the call sleeps."""
    if not timeout:
        return None
    deadline: int | None = task.restart.get("deadline")
    if deadline is None:
        clock = task.kernel.clock
        wanted = read_timespec(task, timeout, width)
        if not absolute:
            deadline = clock.monotonic() + wanted
        elif realtime:
            deadline = clock.monotonic() + max(0, wanted - clock.realtime())
        else:
            deadline = wanted
        task.restart["deadline"] = deadline
    return deadline


def _sleep(task: Task, waiter: Waiter, deadline: int | None) -> int:
    """What a waiter does each time it runs: 0 when it was woken."""
    if waiter.woken:
        return 0
    if deadline is not None and task.kernel.clock.monotonic() >= deadline:
        task.kernel.futexes.remove(waiter)
        raise Errno(ETIMEDOUT)
    raise Block(waiter.queue, deadline=deadline, restart=deadline is None)


def _queue_up(task: Task, waiter: Waiter) -> Waiter:
    task.kernel.futexes.add(waiter)
    task.restart["futex"] = waiter
    return waiter


def _wait(task: Task, address: int, operation: int, value: int, deadline: int | None, bitset: int) -> int:
    waiter: Waiter | None = task.restart.get("futex")
    if waiter is None:
        if not bitset:
            raise Errno(EINVAL)
        key = _key(task, address, operation)
        if _read(task, address) != value:
            raise Errno(EAGAIN)
        waiter = _queue_up(task, Waiter(task, key, bitset))
    return _sleep(task, waiter, deadline)


def _wake(task: Task, address: int, operation: int, count: int, bitset: int) -> int:
    if not bitset:
        raise Errno(EINVAL)
    return task.kernel.futexes.wake(_key(task, address, operation), max(1, count), bitset)


def _requeue(
    task: Task, address: int, operation: int, count: int, moved: int, target: int, expected: int | None
) -> int:
    if count < 0 or moved < 0:
        raise Errno(EINVAL)
    first, second = _key(task, address, operation), _key(task, target, operation)
    if expected is not None and _read(task, address) != expected:
        raise Errno(EAGAIN)
    futexes = task.kernel.futexes
    woken = futexes.wake(first, count)
    return woken + futexes.requeue(first, second, moved)


def _signed12(value: int) -> int:
    return (value & 0xFFF ^ 0x800) - 0x800


_OPERATIONS: tuple[Callable[[int, int], int], ...] = (
    lambda old, argument: argument,
    lambda old, argument: old + argument,
    lambda old, argument: old | argument,
    lambda old, argument: old & ~argument,
    lambda old, argument: old ^ argument,
)
_COMPARISONS: tuple[Callable[[int, int], bool], ...] = (
    lambda old, argument: old == argument,
    lambda old, argument: old != argument,
    lambda old, argument: old < argument,
    lambda old, argument: old <= argument,
    lambda old, argument: old > argument,
    lambda old, argument: old >= argument,
)


def _wake_op(task: Task, address: int, operation: int, count: int, other_count: int, other: int, packed: int) -> int:
    first, second = _key(task, address, operation), _key(task, other, operation)
    change, comparison = packed >> 28 & 7, packed >> 24 & 15
    argument, compared = _signed12(packed >> 12), _signed12(packed)
    if packed >> 31:
        argument = 1 << (argument & 31)
    if change >= len(_OPERATIONS) or comparison >= len(_COMPARISONS):
        raise Errno(ENOSYS)
    old = _read(task, other)
    signed = (old ^ 0x80000000) - 0x80000000
    _write(task, other, _OPERATIONS[change](signed, argument))
    futexes = task.kernel.futexes
    woken = futexes.wake(first, max(1, count))
    if _COMPARISONS[comparison](signed, compared):
        woken += futexes.wake(second, max(1, other_count))
    return woken


# -- locks with an owner (priority inheritance, without the priorities) -------------------------------------


def _lock_pi(task: Task, address: int, operation: int, deadline: int | None, wait: bool) -> int:
    waiter: Waiter | None = task.restart.get("futex")
    if waiter is not None:
        return _sleep(task, waiter, deadline)
    key = _key(task, address, operation)
    word = _read(task, address)
    owner = word & FUTEX_TID_MASK
    if owner == task.tid:
        raise Errno(EDEADLK)
    if not owner:
        more = FUTEX_WAITERS if task.kernel.futexes.count(key) else 0
        _write(task, address, task.tid | word & FUTEX_OWNER_DIED | more)
        return 0
    if owner not in task.kernel.tasks:
        raise Errno(ESRCH)
    if not wait:
        raise Errno(EAGAIN)
    _write(task, address, word | FUTEX_WAITERS)
    return _sleep(task, _queue_up(task, Waiter(task, key, FUTEX_BITSET_MATCH_ANY, address, owner)), deadline)


def _unlock_pi(task: Task, address: int, operation: int) -> int:
    key = _key(task, address, operation)
    if _read(task, address) & FUTEX_TID_MASK != task.tid:
        raise Errno(EPERM)
    futexes = task.kernel.futexes
    heir = futexes.first(key)
    if heir is None:
        _write(task, address, 0)
        return 0
    _write(task, address, heir.task.tid | FUTEX_WAITERS)  # even if it was the last: its unlock will find out
    futexes.hand_over(key)
    return 0


# -- the call ----------------------------------------------------------------------------------------------


def _futex(width: int) -> Callable[[Task, int, int, int, int, int, int], int]:
    def futex(task: Task, address: int, operation: int, value: int, timeout: int, other: int, third: int) -> int:
        command = operation & ~(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME)
        realtime = bool(operation & FUTEX_CLOCK_REALTIME)
        if realtime and command not in _CLOCK_ALLOWED:
            raise Errno(ENOSYS)
        count = (value ^ 0x80000000) - 0x80000000
        second = (timeout & 0xFFFFFFFF ^ 0x80000000) - 0x80000000  # `timeout` as the number it is for some commands
        match command:
            case F.FUTEX_WAIT:
                deadline = _deadline(task, timeout, width, False, realtime)
                return _wait(task, address, operation, value, deadline, FUTEX_BITSET_MATCH_ANY)
            case F.FUTEX_WAIT_BITSET:
                deadline = _deadline(task, timeout, width, True, realtime)
                return _wait(task, address, operation, value, deadline, third)
            case F.FUTEX_WAKE:
                return _wake(task, address, operation, count, FUTEX_BITSET_MATCH_ANY)
            case F.FUTEX_WAKE_BITSET:
                return _wake(task, address, operation, count, third)
            case F.FUTEX_REQUEUE:
                return _requeue(task, address, operation, count, second, other, None)
            case F.FUTEX_CMP_REQUEUE:
                return _requeue(task, address, operation, count, second, other, third)
            case F.FUTEX_WAKE_OP:
                return _wake_op(task, address, operation, count, second, other, third)
            case F.FUTEX_LOCK_PI | F.FUTEX_LOCK_PI2:
                # LOCK_PI always means the realtime clock, LOCK_PI2 the one that is named.
                deadline = _deadline(task, timeout, width, True, realtime or command == F.FUTEX_LOCK_PI)
                return _lock_pi(task, address, operation, deadline, wait=True)
            case F.FUTEX_TRYLOCK_PI:
                return _lock_pi(task, address, operation, None, wait=False)
            case F.FUTEX_UNLOCK_PI:
                return _unlock_pi(task, address, operation)
        raise Errno(ENOSYS)

    return futex


_KINDS = "address:address operation:choice:futex value:uint timeout:address other:address third:uint"
_CAVEAT = "locks with an owner do not change priorities; no WAIT_REQUEUE_PI"

ROWS: tuple[Row, ...] = (
    Row("futex", _futex(8), _KINDS, PARTIAL, _CAVEAT, isas=("x86_64", "arm64", "riscv64")),
    Row("futex", _futex(4), _KINDS, PARTIAL, _CAVEAT, isas=("i386", "arm")),
    Row("futex_time64", _futex(8), _KINDS, PARTIAL, _CAVEAT),
)
