"""Descriptors as such: dup, fcntl, pipe, and the calls that ask the file behind one to be written out.

Locks (the F_*LK commands) are in `sys_lock`. Source: dup(2), fcntl(2), pipe(2), fsync(2); fs/fcntl.c, fs/pipe.c.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from sandbox.abi import flags as F
from sandbox.abi.errno import EBADF, EBUSY, EINVAL, EPERM, ESPIPE, Errno
from sandbox.abi.flags import (
    O_ACCMODE,
    O_APPEND,
    O_ASYNC,
    O_CLOEXEC,
    O_DIRECT,
    O_NOATIME,
    O_NONBLOCK,
    O_PATH,
    S_IFBLK,
    S_IFDIR,
    S_IFIFO,
    S_IFMT,
    S_IFREG,
    S_IFSOCK,
    open_flags,
)
from sandbox.kernel import sys_lock
from sandbox.kernel.async_signal import OWNER_GROUP, OWNER_PID, async_signal
from sandbox.kernel.lookup import install, opened
from sandbox.kernel.row import FULL, PARTIAL, STUB, Row
from sandbox.vfs.memory_file import (
    ALL_SEALS,
    F_SEAL_EXEC,
    F_SEAL_FUTURE_WRITE,
    F_SEAL_GROW,
    F_SEAL_SEAL,
    F_SEAL_SHRINK,
    F_SEAL_WRITE,
    MemoryFile,
)
from sandbox.vfs.pipe import PipeEnd

if TYPE_CHECKING:
    from sandbox.kernel.task import Task
    from sandbox.vfs.file import OpenFile

_SETTABLE = O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME
_PAIR = Struct("<ii")
_OWNER_EX = Struct("<ii")  # type, pid
_ALLOWED_ON_PATHS = (F.F_DUPFD, F.F_DUPFD_CLOEXEC, F.F_GETFD, F.F_SETFD, F.F_GETFL)
_LOCKS = (F.F_GETLK, F.F_SETLK, F.F_SETLKW, F.F_GETLK64, F.F_SETLK64, F.F_SETLKW64)
_ABOUT_SIGNALS = (F.F_GETOWN, F.F_SETOWN, F.F_GETOWN_EX, F.F_SETOWN_EX, F.F_GETSIG, F.F_SETSIG)
_OFD_LOCKS = (F.F_OFD_GETLK, F.F_OFD_SETLK, F.F_OFD_SETLKW)
CAP_SYS_RESOURCE = 24


# -- duplicates --------------------------------------------------------------------------------------------


def dup(task: Task, fd: int) -> int:
    return install(task, task.files.get(fd).retain())


def dup2(task: Task, old: int, new: int) -> int:
    file = task.files.get(old)
    if old != new:
        _replace(task, new, file, False)
    return new


def dup3(task: Task, old: int, new: int, flags: int) -> int:
    if flags & ~O_CLOEXEC or old == new:
        raise Errno(EINVAL)
    _check_number(task, new)
    _replace(task, new, task.files.get(old), bool(flags & O_CLOEXEC))
    return new


def _check_number(task: Task, fd: int) -> None:
    if not 0 <= fd < task.files.limit:
        raise Errno(EBADF)


def _replace(task: Task, fd: int, file: OpenFile, close_on_exec: bool) -> None:
    file.retain()
    try:
        task.files.replace(fd, file, close_on_exec)
    except Errno:
        file.release()
        raise


# -- fcntl -------------------------------------------------------------------------------------------------


def fcntl(task: Task, fd: int, command: int, argument: int) -> int:
    file = task.files.get(fd)
    if file.flags & O_PATH and command not in _ALLOWED_ON_PATHS:
        raise Errno(EBADF)
    if command in (F.F_DUPFD, F.F_DUPFD_CLOEXEC):
        minimum = argument & 0xFFFFFFFF
        if minimum >= task.files.limit:
            raise Errno(EINVAL)
        return _duplicate_from(task, file, minimum, command == F.F_DUPFD_CLOEXEC)
    if command == F.F_GETFD:
        return F.FD_CLOEXEC if task.files.flags(fd) else 0
    if command == F.F_SETFD:
        task.files.set_close_on_exec(fd, bool(argument & F.FD_CLOEXEC))
        return 0
    if command == F.F_GETFL:
        return open_flags(task.isa, file.flags)
    if command == F.F_SETFL:
        return _set_flags(task, fd, file, open_flags(task.isa, argument & 0xFFFFFFFF))
    if command in _LOCKS or command in _OFD_LOCKS:
        return sys_lock.record_lock(task, file, command, argument)
    return _uncommon(task, file, command, argument)


def fcntl32(task: Task, fd: int, command: int, argument: int) -> int:
    """The old fcntl of 32-bit ISAs: without the 64-bit locks."""
    if command in (F.F_GETLK64, F.F_SETLK64, F.F_SETLKW64, *_OFD_LOCKS):
        raise Errno(EINVAL)
    return fcntl(task, fd, command, argument)


def _duplicate_from(task: Task, file: OpenFile, minimum: int, close_on_exec: bool) -> int:
    file.retain()
    try:
        return task.files.allocate(file, minimum, close_on_exec)
    except Errno:
        file.release()
        raise


def _set_flags(task: Task, fd: int, file: OpenFile, value: int) -> int:
    change = (file.flags ^ value) & _SETTABLE
    if change & value & O_NOATIME and task.credentials.fsuid not in (0, file.node.uid):
        raise Errno(EPERM)
    file.flags ^= change
    if change & value & O_ASYNC:
        async_signal(task, file).watch(fd)
    return 0


def _uncommon(task: Task, file: OpenFile, command: int, argument: int) -> int:
    if command in (F.F_GETPIPE_SZ, F.F_SETPIPE_SZ):
        if not isinstance(file, PipeEnd):
            raise Errno(EBADF)
        if command == F.F_GETPIPE_SZ:
            return file.pipe.capacity
        return task.kernel.pipes.resize(file, argument & 0xFFFFFFFF, task.credentials.capable(CAP_SYS_RESOURCE))
    if command in (F.F_ADD_SEALS, F.F_GET_SEALS):
        return _seals(task, file, command, argument)
    if command in _ABOUT_SIGNALS:
        return _signals(task, file, command, argument)
    if command == F.F_GETLEASE:
        return F.F_UNLCK
    raise Errno(EINVAL)


def _signals(task: Task, file: OpenFile, command: int, argument: int) -> int:
    """Who is told of input and output, and by which signal."""
    signal = async_signal(task, file)
    if command == F.F_GETOWN:
        return -signal.owner if signal.kind == OWNER_GROUP else signal.owner
    if command == F.F_GETSIG:
        return signal.number
    if command == F.F_GETOWN_EX:
        task.space.copy_out(argument, _OWNER_EX.pack(signal.kind, signal.owner))
    elif command == F.F_SETOWN_EX:
        signal.own(task, *_OWNER_EX.unpack(task.space.copy_in(argument, _OWNER_EX.size)))
    elif command == F.F_SETOWN:
        owner = (argument & 0xFFFFFFFF ^ 1 << 31) - (1 << 31)
        if owner == -(1 << 31):
            raise Errno(EINVAL)
        signal.own(task, OWNER_GROUP if owner < 0 else OWNER_PID, abs(owner))
    else:
        signal.choose(argument)
    return 0


def _seals(task: Task, file: OpenFile, command: int, argument: int) -> int:
    node = file.node
    if command == F.F_GET_SEALS:
        if not isinstance(node, MemoryFile):
            raise Errno(EINVAL)
        return node.seals
    if not file.writable:
        raise Errno(EPERM)
    if argument & ~ALL_SEALS or not isinstance(node, MemoryFile):
        raise Errno(EINVAL)
    node.require_unsealed(F_SEAL_SEAL)
    if argument & F_SEAL_WRITE and not node.seals & F_SEAL_WRITE and _mapped_writable(task, node):
        raise Errno(EBUSY)
    if argument & F_SEAL_EXEC and node.mode & 0o111:
        argument |= F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE
    node.seals |= argument
    return 0


def _mapped_writable(task: Task, node: MemoryFile) -> bool:
    """Whether somebody shares the file's pages and may write to them, now or after mprotect."""
    return any(
        region.shared and region.may_write and getattr(region.source, "node", None) is node
        for space in {other.space for other in task.kernel.tasks.values()}
        for region in space.regions()
    )


# -- pipes -------------------------------------------------------------------------------------------------


def pipe(task: Task, descriptors: int) -> int:
    return pipe2(task, descriptors, 0)


def pipe2(task: Task, descriptors: int, flags: int) -> int:
    if flags & ~(O_CLOEXEC | O_NONBLOCK | O_DIRECT):
        raise Errno(EINVAL)
    files = task.files
    ends = task.kernel.pipes.pipe(flags & (O_NONBLOCK | O_DIRECT), task.credentials.fsuid, task.credentials.fsgid)
    close_on_exec = bool(flags & O_CLOEXEC)
    made: list[int] = []
    try:
        for end in ends:
            made.append(files.allocate(end, 0, close_on_exec))
        task.space.copy_out(descriptors, _PAIR.pack(*made))
    except Errno:
        for fd in made:
            files.close(fd)
        for end in ends[len(made) :]:
            end.release()
        raise
    return 0


# -- writing out, and hints --------------------------------------------------------------------------------


def fsync(task: Task, fd: int) -> int:
    file = opened(task, fd)
    if file.node.mode & S_IFMT not in (S_IFREG, S_IFDIR, S_IFBLK):
        raise Errno(EINVAL)
    file.sync()
    return 0


def sync(task: Task) -> int:
    task.kernel.mounts.sync()
    return 0


def syncfs(task: Task, fd: int) -> int:
    opened(task, fd).node.filesystem.sync()
    return 0


def sync_file_range(task: Task, fd: int, offset: int, length: int, flags: int) -> int:
    if flags & ~7 or offset < 0 or length < 0 or offset + length > F.RLIM_INFINITY >> 1:
        raise Errno(EINVAL)
    file = opened(task, fd)
    if file.node.mode & S_IFMT not in (S_IFREG, S_IFDIR, S_IFBLK):
        raise Errno(ESPIPE)
    file.sync()
    return 0


def sync_file_range2(task: Task, fd: int, flags: int, offset: int, length: int) -> int:
    return sync_file_range(task, fd, offset, length, flags)


def readahead(task: Task, fd: int, offset: int, count: int) -> int:
    file = opened(task, fd)
    if file.flags & O_ACCMODE == F.O_WRONLY:
        raise Errno(EBADF)
    if file.node.mode & S_IFMT not in (S_IFREG, S_IFBLK):
        raise Errno(EINVAL)
    return 0


def fadvise(task: Task, fd: int, offset: int, length: int, advice: int) -> int:
    file = opened(task, fd)
    if file.node.mode & S_IFMT in (S_IFIFO, S_IFSOCK):
        raise Errno(ESPIPE)
    if length < 0 or not 0 <= advice <= 5:
        raise Errno(EINVAL)
    return 0


def arm_fadvise(task: Task, fd: int, advice: int, offset: int, length: int) -> int:
    return fadvise(task, fd, offset, length, advice)


_FCNTL = "F_SETLEASE and F_NOTIFY give EINVAL"
_HINT = "checked, and not needed: nothing is read ahead"
_RANGE = "writes out the whole file"

ROWS = [
    Row("dup", dup, "fd:fd", FULL),
    Row("dup2", dup2, "old:fd new:fd", FULL),
    Row("dup3", dup3, "old:fd new:fd flags:flags:open", FULL),
    Row("fcntl", fcntl, "fd:fd command:choice:fcntl argument:ulong", PARTIAL, _FCNTL, ("x86_64", "arm64", "riscv64")),
    Row("fcntl", fcntl32, "fd:fd command:choice:fcntl argument:ulong", PARTIAL, _FCNTL, ("i386", "arm")),
    Row("fcntl64", fcntl, "fd:fd command:choice:fcntl argument:ulong", PARTIAL, _FCNTL),
    Row("pipe", pipe, "descriptors:out", FULL),
    Row("pipe2", pipe2, "descriptors:out flags:flags:open", FULL),
    Row("fsync", fsync, "fd:fd", FULL),
    Row("fdatasync", fsync, "fd:fd", FULL),
    Row("sync", sync, "", FULL),
    Row("syncfs", syncfs, "fd:fd", FULL),
    Row("sync_file_range", sync_file_range, "fd:fd offset:loff length:loff flags:uint", PARTIAL, _RANGE),
    Row("sync_file_range2", sync_file_range2, "fd:fd flags:uint offset:loff length:loff", PARTIAL, _RANGE),
    Row("readahead", readahead, "fd:fd offset:loff count:size", STUB, _HINT),
    Row("fadvise64", fadvise, "fd:fd offset:loff length:long advice:int", STUB, _HINT),
    Row("fadvise64_64", fadvise, "fd:fd offset:loff length:loff advice:int", STUB, _HINT),
    Row("arm_fadvise64_64", arm_fadvise, "fd:fd advice:int offset:loff length:loff", STUB, _HINT),
]
