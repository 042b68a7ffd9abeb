"""Files made of nothing: eventfd, timerfd, memfd.

Source: eventfd(2), timerfd_create(2), memfd_create(2); fs/eventfd.c, fs/timerfd.c, mm/memfd.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi.errno import EINVAL, Errno
from sandbox.abi.flags import (
    CLOCK_BOOTTIME,
    CLOCK_BOOTTIME_ALARM,
    CLOCK_MONOTONIC,
    CLOCK_REALTIME,
    CLOCK_REALTIME_ALARM,
    MFD_ALLOW_SEALING,
    MFD_CLOEXEC,
    O_CLOEXEC,
    O_LARGEFILE,
    O_NONBLOCK,
    O_RDWR,
)
from sandbox.abi.structs import pack_timespec
from sandbox.kernel.lookup import install, opened
from sandbox.kernel.row import FULL, PARTIAL, Row
from sandbox.kernel.sys_time import clock_now, read_timespec
from sandbox.kernel.timerfd import TimerFile
from sandbox.vfs.eventfile import EventFile
from sandbox.vfs.memory_file import F_SEAL_EXEC, F_SEAL_SEAL, MemoryFile
from sandbox.vfs.mount import Place

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

EFD_SEMAPHORE = 1
TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET = 1, 2
MFD_NOEXEC_SEAL, MFD_EXEC = 8, 16
_MEMFD_NAME_MAX = 249
_CLOCKS = (CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM)


# -- eventfd -----------------------------------------------------------------------------------------------


def eventfd(task: Task, value: int) -> int:
    return eventfd2(task, value, 0)


def eventfd2(task: Task, value: int, flags: int) -> int:
    if flags & ~(EFD_SEMAPHORE | O_CLOEXEC | O_NONBLOCK):
        raise Errno(EINVAL)
    task.files.expect_room()
    file = EventFile(task.kernel.nameless.anonymous, value, bool(flags & EFD_SEMAPHORE), flags & O_NONBLOCK)
    return install(task, file, bool(flags & O_CLOEXEC))


# -- timerfd -----------------------------------------------------------------------------------------------


def timerfd_create(task: Task, clock: int, flags: int) -> int:
    if flags & ~(O_CLOEXEC | O_NONBLOCK) or clock not in _CLOCKS:
        raise Errno(EINVAL)
    task.files.expect_room()
    return install(task, TimerFile(task.kernel, clock, flags & O_NONBLOCK), bool(flags & O_CLOEXEC))


def timerfd_settime(task: Task, fd: int, flags: int, new: int, old: int) -> int:
    return _settime(task, fd, flags, new, old, task.word)


def timerfd_settime64(task: Task, fd: int, flags: int, new: int, old: int) -> int:
    return _settime(task, fd, flags, new, old, 8)


def _settime(task: Task, fd: int, flags: int, new: int, old: int, width: int) -> int:
    interval = read_timespec(task, new, width)
    value = read_timespec(task, new + 2 * width, width)
    if flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET):
        raise Errno(EINVAL)
    file = _timer(task, fd)
    before = file.setting()
    if not value:
        file.arm(None, interval)
    else:
        now = task.kernel.clock.monotonic()
        if flags & TFD_TIMER_ABSTIME:
            value = max(0, value - clock_now(task, file.clock))
        file.arm(now + value, interval)
    if old:
        _store_setting(task, old, before, width)
    return 0


def timerfd_gettime(task: Task, fd: int, current: int) -> int:
    _store_setting(task, current, _timer(task, fd).setting(), task.word)
    return 0


def timerfd_gettime64(task: Task, fd: int, current: int) -> int:
    _store_setting(task, current, _timer(task, fd).setting(), 8)
    return 0


def _timer(task: Task, fd: int) -> TimerFile:
    file = opened(task, fd)
    if not isinstance(file, TimerFile):
        raise Errno(EINVAL)
    return file


def _store_setting(task: Task, address: int, setting: tuple[int, int], width: int) -> None:
    task.space.copy_out(address, b"".join(pack_timespec(width, value) for value in setting))


# -- memfd -------------------------------------------------------------------------------------------------


def memfd_create(task: Task, name: bytes, flags: int) -> int:
    if flags & ~(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC):
        raise Errno(EINVAL)
    if (flags & MFD_EXEC and flags & MFD_NOEXEC_SEAL) or len(name) > _MEMFD_NAME_MAX:
        raise Errno(EINVAL)
    task.files.expect_room()
    mode = 0o666 if flags & MFD_NOEXEC_SEAL else 0o777
    filesystem = task.kernel.nameless.memory
    who = task.credentials
    node = MemoryFile(filesystem, filesystem.number(), mode, who.fsuid, who.fsgid, filesystem.new_content())
    node.seals = F_SEAL_EXEC if flags & MFD_NOEXEC_SEAL else 0 if flags & MFD_ALLOW_SEALING else F_SEAL_SEAL
    file = node.open(O_RDWR | O_LARGEFILE)
    file.place = Place.detached(node, b"/memfd:" + name + b" (deleted)")
    return install(task, file, bool(flags & MFD_CLOEXEC))


_NO_HUGE = "MFD_HUGETLB is refused"

ROWS = [
    Row("eventfd", eventfd, "value:uint", FULL),
    Row("eventfd2", eventfd2, "value:uint flags:int", FULL),
    Row("timerfd_create", timerfd_create, "clock:choice:clock flags:flags:open", FULL),
    Row("timerfd_settime", timerfd_settime, "fd:fd flags:flags:timer new:in old:out", FULL),
    Row("timerfd_settime64", timerfd_settime64, "fd:fd flags:flags:timer new:in old:out", FULL),
    Row("timerfd_gettime", timerfd_gettime, "fd:fd current:out", FULL),
    Row("timerfd_gettime64", timerfd_gettime64, "fd:fd current:out", FULL),
    Row("memfd_create", memfd_create, "name:string flags:flags:memfd", PARTIAL, _NO_HUGE),
]
