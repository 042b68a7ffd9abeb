"""Processes that no process has made: the first one of a machine, and what its operator starts beside it (`enter`).

From a mount table and an argument list to a task that is ready to run. A process that was entered has no parent, as one
that comes from outside a process id namespace; nobody waits for it, and it vanishes when it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from sandbox.abi.errno import ENOENT, ENOTDIR, Errno
from sandbox.abi.flags import RLIMIT_DATA, RLIMIT_NOFILE, RLIMIT_STACK
from sandbox.engine import Context
from sandbox.errors import ConfigurationError, StateError
from sandbox.kernel import descriptors
from sandbox.kernel.fdtable import FdTable
from sandbox.kernel.frames import trampoline
from sandbox.kernel.process import Limits, Process
from sandbox.kernel.program import load_program
from sandbox.kernel.task import Credentials, FsContext, Task
from sandbox.kernel.views import executable_place
from sandbox.loader import LoadedProgram, for_operator
from sandbox.vfs.walk import walk

if TYPE_CHECKING:
    from sandbox.kernel.linux import LinuxMachine
    from sandbox.memory import AddressSpace
    from sandbox.vfs.mount import Mounts
    from sandbox.vfs.node import OpenFile

DEFAULT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def boot(
    kernel: LinuxMachine,
    argv: Sequence[bytes],
    environment: Mapping[bytes, bytes],
    *,
    program: bytes | None = None,
    cwd: bytes = b"/",
    credentials: Credentials | None = None,
    stdio: Sequence[OpenFile] = (),
) -> Task:
    """Create process 1. `program` (default: argv[0]) is a path, or a name that is looked up on PATH; `stdio` become
    the descriptors 0, 1, 2 and their references are taken over. Raises LoadError, ConfigurationError."""
    return _create(kernel, 1, argv, environment, program, cwd, credentials, stdio, None)


def enter(
    kernel: LinuxMachine,
    argv: Sequence[bytes],
    environment: Mapping[bytes, bytes],
    *,
    cwd: bytes = b"/",
    credentials: Credentials | None = None,
    stdio: Sequence[OpenFile] = (),
    on_end: Callable[[int], None] | None = None,
) -> Task:
    """A further process, in a session of its own; `on_end` is called with its status word (wait(2)). No task of the
    machine may be running. On failure `stdio` is still the caller's. Raises LoadError, ConfigurationError,
    StateError."""
    pid = kernel.new_pid()
    if pid is None or kernel.exit_status is not None:
        raise StateError("it has ended" if pid is not None else "it has as many tasks as it may have")
    return _create(kernel, pid, argv, environment, argv[0], cwd, credentials, stdio, on_end)


def _create(
    kernel: LinuxMachine,
    pid: int,
    argv: Sequence[bytes],
    environment: Mapping[bytes, bytes],
    program: bytes | None,
    cwd: bytes,
    credentials: Credentials | None,
    stdio: Sequence[OpenFile],
    on_end: Callable[[int], None] | None,
) -> Task:
    credentials = credentials or Credentials()
    root = kernel.mounts.root.top()
    shown = cwd.decode("utf-8", "backslashreplace")
    try:
        place = walk(kernel.mounts, root, root, cwd, credentials)
    except Errno as error:
        raise ConfigurationError(f"the working directory {shown} cannot be entered ({error})") from None
    if not place.node.is_directory:
        raise ConfigurationError(f"the working directory {shown} is not a directory")
    fs = FsContext(root, place)
    limits = Limits(kernel.limits.tasks, kernel.limits.files)
    wanted = program if program is not None else (argv[0] if argv else b"")
    variables = [name + b"=" + value for name, value in environment.items()]
    try:
        path = find_program(kernel.mounts, fs, credentials, wanted, environment.get(b"PATH", DEFAULT_PATH))
        space, loaded = load_program(
            kernel, fs, credentials, (limits.soft(RLIMIT_STACK), limits.soft(RLIMIT_DATA)), None, path, argv, variables
        )
    except Errno as error:
        raise for_operator(error, wanted.decode("utf-8", "backslashreplace")) from None
    process = Process(kernel, pid, None)
    process.limits = limits
    process.on_end = on_end
    files = FdTable(limits.soft(RLIMIT_NOFILE), kernel.file_budget)
    try:
        for file in stdio:
            files.allocate(file.retain())
    except Errno:
        stdio[len(files)].release()
        files.release()
        space.release()
        raise StateError("it has as many open files as it may have") from None
    for file in stdio:
        file.release()
    task = Task(
        kernel,
        process,
        pid,
        context=Context(kernel.isa),
        space=space,
        files=files,
        fs=fs,
        credentials=credentials,
    )
    kernel.processes[pid] = process
    kernel.last_pid = pid
    enter_program(task, loaded)
    kernel.add_task(task)
    return task


def find_program(mounts: Mounts, fs: FsContext, credentials: Credentials, name: bytes, search: bytes) -> bytes:
    """A name without a slash is looked for in the directories of `search`, as execvp does. Raises Errno(ENOENT)."""
    if b"/" in name:
        return name
    if not name:
        raise Errno(ENOENT)
    for directory in search.split(b":"):
        path = (directory or b".") + b"/" + name
        try:
            place = walk(mounts, fs.root, fs.cwd, path, credentials)
        except Errno as error:
            if error.number not in (ENOENT, ENOTDIR):
                raise
            continue
        if not place.node.is_directory:
            return path
    raise Errno(ENOENT)


def prepare_space(task: Task, space: AddressSpace, loaded: LoadedProgram) -> None:
    if not space.brk:
        space.start_brk = space.brk = loaded.start_brk
    if task.isa == "i386":
        descriptors.install(space)
    trampoline.install(space, task.isa)


def enter_program(task: Task, loaded: LoadedProgram) -> None:
    """Point a fresh context at the program, and note what /proc shows of it."""
    prepare_space(task, task.space, loaded)
    context = task.context
    context.pc = loaded.pc
    context.sp = loaded.sp
    process, stack = task.process, loaded.stack
    process.executable = loaded.path
    process.executable_place = executable_place(task, loaded.path)
    process.arguments = (stack.argument_start, stack.argument_end)
    process.environment = (stack.environment_start, stack.environment_end)
    process.auxiliary = stack.auxiliary
    task.name = loaded.path.rsplit(b"/", 1)[-1][:15]
