"""Extended attributes and file handles: no filesystem here has them, and the calls say so after the checks that come
before that on Linux: the file must be there. Source: xattr(7), name_to_handle_at(2); fs/xattr.c.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.abi.errno import EINVAL, EOPNOTSUPP, ERANGE, Errno
from sandbox.abi.flags import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_FOLLOW
from sandbox.kernel.lookup import find, opened
from sandbox.kernel.row import STUB, Row

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

_NAME_MAX = 255


def _by_path(follow: bool, named: bool) -> Callable[..., int]:
    def handler(task: Task, path: bytes, *arguments: bytes | int) -> int:
        find(task, AT_FDCWD, path, follow)
        return _refuse(arguments, named)

    return handler


def _by_descriptor(named: bool) -> Callable[..., int]:
    def handler(task: Task, fd: int, *arguments: bytes | int) -> int:
        opened(task, fd)
        return _refuse(arguments, named)

    return handler


def _refuse(arguments: tuple[bytes | int, ...], named: bool) -> int:
    if named:
        name = arguments[0]
        if isinstance(name, bytes) and not 0 < len(name) <= _NAME_MAX:
            raise Errno(ERANGE)
    raise Errno(EOPNOTSUPP)


def name_to_handle_at(task: Task, dirfd: int, path: bytes, handle: int, mount: int, flags: int) -> int:
    if flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH):
        raise Errno(EINVAL)
    find(task, dirfd, path, bool(flags & AT_SYMLINK_FOLLOW), bool(flags & AT_EMPTY_PATH))
    raise Errno(EOPNOTSUPP)


_NONE = "refused: EOPNOTSUPP, no filesystem here has attributes"
_GET = "name:string value:out size:size"
_SET = "name:string value:in size:size flags:int"
_LIST = "list:out size:size"

ROWS = [
    Row("getxattr", _by_path(True, True), f"path:path {_GET}", STUB, _NONE),
    Row("lgetxattr", _by_path(False, True), f"path:path {_GET}", STUB, _NONE),
    Row("fgetxattr", _by_descriptor(True), f"fd:fd {_GET}", STUB, _NONE),
    Row("setxattr", _by_path(True, True), f"path:path {_SET}", STUB, _NONE),
    Row("lsetxattr", _by_path(False, True), f"path:path {_SET}", STUB, _NONE),
    Row("fsetxattr", _by_descriptor(True), f"fd:fd {_SET}", STUB, _NONE),
    Row("listxattr", _by_path(True, False), f"path:path {_LIST}", STUB, _NONE),
    Row("llistxattr", _by_path(False, False), f"path:path {_LIST}", STUB, _NONE),
    Row("flistxattr", _by_descriptor(False), f"fd:fd {_LIST}", STUB, _NONE),
    Row("removexattr", _by_path(True, True), "path:path name:string", STUB, _NONE),
    Row("lremovexattr", _by_path(False, True), "path:path name:string", STUB, _NONE),
    Row("fremovexattr", _by_descriptor(True), "fd:fd name:string", STUB, _NONE),
    Row("name_to_handle_at", name_to_handle_at, "dirfd:dirfd path:path handle:inout mount:out flags:int", STUB,
        "refused: EOPNOTSUPP, files have no handles"),
]  # fmt: skip
