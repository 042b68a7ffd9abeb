"""A program into a task: what execve and the first process have in common.

`replace_image` builds a new address space beside the old one and gives the old one up only when the program has
been loaded, so a failure leaves the task as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sandbox.abi.errno import EACCES, ENOEXEC, ENOMEM, ETXTBSY, Errno
from sandbox.abi.flags import S_IFMT, S_IFREG, S_ISGID, S_ISUID, X_OK
from sandbox.errors import OutOfMemory
from sandbox.loader import Identity, LoadedProgram, load
from sandbox.memory import AddressSpace, PageSource
from sandbox.vfs.mount import Place
from sandbox.vfs.node import check_access
from sandbox.vfs.walk import walk

if TYPE_CHECKING:
    from sandbox.kernel.linux import LinuxMachine
    from sandbox.kernel.task import Credentials, FsContext

UNBOUNDED = 1 << 62


def executable(place: Place, credentials: Credentials) -> PageSource:
    """The file at `place` as something to load. Raises Errno: EACCES when it may not be executed, ETXTBSY while
    somebody has it open for writing."""
    node = place.node
    if node.mode & S_IFMT != S_IFREG:
        raise Errno(EACCES)
    check_access(node, credentials, X_OK)
    if node.writers:
        raise Errno(ETXTBSY)
    source = node.page_source()
    if source is None:
        raise Errno(ENOEXEC)
    return source


def load_program(
    kernel: LinuxMachine,
    fs: FsContext,
    credentials: Credentials,
    limits: tuple[int, int],
    start: Place | None,
    path: bytes,
    argv: Sequence[bytes],
    environment: Sequence[bytes],
) -> tuple[AddressSpace, LoadedProgram]:
    """A new address space with the program in it. `start` is the very file (execveat), or None to walk `path`;
    `limits` are the soft (stack, data) limits. Raises Errno; nothing is left behind then."""

    def open_program(name: bytes) -> PageSource:
        if start is not None and name == path:
            return executable(start, credentials)
        return executable(walk(kernel.mounts, fs.root, fs.cwd, name, credentials), credentials)

    space = AddressSpace(kernel.pool, kernel.account, kernel.isa.bits)
    stack, data = (min(limit, UNBOUNDED) for limit in limits)
    space.stack_limit = stack
    space.brk_limit = data
    identity = Identity(
        credentials.uid,
        credentials.euid,
        credentials.gid,
        credentials.egid,
        secure=credentials.uid != credentials.euid or credentials.gid != credentials.egid,
    )
    try:
        program = load(
            space,
            kernel.isa.name,
            open_program,
            path,
            argv,
            environment,
            random=kernel.entropy.bytes(16),
            identity=identity,
            stack_limit=min(stack, 1 << 30),
        )
    except OutOfMemory:
        space.release()
        raise Errno(ENOMEM) from None
    except BaseException:
        space.release()
        raise
    return space, program


def assumed_identity(place: Place, credentials: Credentials) -> Credentials:
    """The credentials after executing the file: set-user-id and set-group-id bits, capabilities (execve(2))."""
    mode = place.node.mode
    result = credentials.copy()
    if mode & (S_ISUID | S_ISGID):
        if mode & S_ISUID:
            result.euid = place.node.uid
        if mode & S_ISGID and mode & 0o010:
            result.egid = place.node.gid
    result.suid = result.fsuid = result.euid
    result.sgid = result.fsgid = result.egid
    result.permitted = result.effective = result.bounding if 0 in (result.euid, result.uid) else 0
    if result.euid != 0:
        result.effective = 0
    return result
