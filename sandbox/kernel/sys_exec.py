"""execve and execveat: a task gets a new program. Source: execve(2), execveat(2), `begin_new_exec` in fs/exec.c."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi.errno import E2BIG, EACCES, EINVAL, ELOOP, ENAMETOOLONG, Errno
from sandbox.abi.flags import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, RLIMIT_DATA, RLIMIT_STACK, S_IFLNK, S_IFMT
from sandbox.abi.signals import SIGCHLD
from sandbox.engine import Context
from sandbox.kernel import robust
from sandbox.kernel.constant_calls import count
from sandbox.kernel.lifecycle import end_task
from sandbox.kernel.lookup import find_with
from sandbox.kernel.program import assumed_identity, load_program
from sandbox.kernel.row import FULL, Row
from sandbox.kernel.signals import AlternateStack
from sandbox.kernel.start import enter_program

if TYPE_CHECKING:
    from sandbox.kernel.task import Task
    from sandbox.loader import LoadedProgram
    from sandbox.memory import AddressSpace
    from sandbox.vfs.mount import Place

LONGEST_STRING = 128 * 1024
MOST_BYTES = 6 << 20
_PIECE = 512


def read_strings(task: Task, address: int, room: int) -> list[bytes]:
    """A NULL-terminated array of strings, at most `room` bytes with their pointers. Raises Errno: EFAULT, E2BIG."""
    strings: list[bytes] = []
    if not address:
        return strings
    space, word = task.space, task.word
    while True:
        # As many pointers at once as lie on one page: the array may end just before a page that is not there.
        count = max(1, min(_PIECE, (4096 - (address & 4095)) // word))
        for pointer in space.copy_in_words(address, count, word):
            if not pointer:
                return strings
            try:
                text = space.copy_string(pointer, LONGEST_STRING)
            except Errno as error:
                raise Errno(E2BIG if error.number == ENAMETOOLONG else error.number) from None
            strings.append(text)
            room -= len(text) + 1 + word
            if room < 0:
                raise Errno(E2BIG)
        address += count * word


def execve(task: Task, path: bytes, argv: int, environment: int) -> None:
    _execute(task, AT_FDCWD, path, argv, environment, 0)


def execveat(task: Task, dirfd: int, path: bytes, argv: int, environment: int, flags: int) -> None:
    if flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW):
        raise Errno(EINVAL)
    _execute(task, dirfd, path, argv, environment, flags)


def _execute(task: Task, dirfd: int, path: bytes, argv: int, environment: int, flags: int) -> None:
    kernel, limits = task.kernel, task.limits
    place = find_with(task, dirfd, path, flags, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)
    if place.node.mode & S_IFMT == S_IFLNK:
        raise Errno(ELOOP)
    if place.node.is_directory:
        raise Errno(EACCES)
    arguments = read_strings(task, argv, MOST_BYTES)
    variables = read_strings(task, environment, MOST_BYTES - sum(map(len, arguments)))
    shown = path if dirfd == AT_FDCWD or path.startswith(b"/") else _descriptor_path(dirfd, path)
    credentials = (
        task.credentials.copy() if task.process.no_new_privileges else assumed_identity(place, task.credentials)
    )
    space, loaded = load_program(
        kernel,
        task.fs,
        credentials,
        (limits.soft(RLIMIT_STACK), limits.soft(RLIMIT_DATA)),
        place,
        shown,
        arguments or [b""],
        variables,
    )
    # From here on nothing fails: the old program is gone.
    changed = credentials.euid != task.credentials.euid or credentials.egid != task.credentials.egid
    task.credentials = credentials
    _replace(task, space, loaded, shown, place)
    if changed:
        task.process.death_signal = 0


def _descriptor_path(dirfd: int, path: bytes) -> bytes:
    return b"/dev/fd/%d" % dirfd + (b"/" + path if path else b"")


def _replace(task: Task, space: AddressSpace, loaded: LoadedProgram, path: bytes, place: Place) -> None:
    kernel, process = task.kernel, task.process
    for other in list(process.threads.values()):
        if other is not task:
            end_task(other, 0)
    if task.tid != process.pid:  # whoever executes becomes the leader
        del process.threads[task.tid]
        kernel.tasks.pop(task.tid, None)
        task.tid = process.pid
        process.threads[task.tid] = task
        kernel.tasks[task.tid] = task
    robust.leave(task)
    kernel.replace_space(task, space)
    count(task)
    old, task.context = task.context, Context(kernel.isa)
    old.release()
    if task.files.shared:
        files = task.files.duplicate()
        task.files.release()
        task.files = files
    task.files.close_on_exec()
    process.actions = process.actions.copy()
    process.actions.reset_for_exec()
    for timer in process.timers.values():
        timer.cancel()
    process.timers.clear()
    process.executed = True
    process.exit_signal = SIGCHLD
    process.dumpable = 1
    process.keep_capabilities = False
    process.memory_barriers = 0
    task.signals.stack = AlternateStack()
    task.tls_entries = {}
    task.set_tid = 0
    enter_program(task, loaded)
    task.name = path.rsplit(b"/", 1)[-1][:15]
    if loaded.path == path:
        process.executable, process.executable_place = place.path(), place
    if task.vfork_done is not None:
        task.vfork_done.wake()
        task.vfork_done = None


ROWS: tuple[Row, ...] = (
    Row("execve", execve, "path:path argv:in environment:in", FULL),
    Row("execveat", execveat, "dirfd:dirfd path:path argv:in environment:in flags:flags:at", FULL),
)
