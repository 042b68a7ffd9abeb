"""Calls that are refused on purpose, with the error a Linux without that feature or privilege gives.

They are rows, and not just absent, because programs probe for them: the answer is part of the interface, and a reader
of the table sees that it was meant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from sandbox.abi.errno import ENOSYS, EPERM, Errno
from sandbox.kernel.row import STUB, Row

if TYPE_CHECKING:
    from sandbox.kernel.task import Task


def refuse(number: int) -> Callable[..., NoReturn]:
    def handler(task: Task, *arguments: int) -> NoReturn:
        raise Errno(number)

    return handler


_not_permitted = refuse(EPERM)
_not_built = refuse(ENOSYS)

_PRIVILEGED = (
    "init_module finit_module delete_module kexec_load kexec_file_load iopl ioperm swapon swapoff acct quotactl "
    "quotactl_fd setns unshare pivot_root open_by_handle_at perf_event_open bpf"
)
_ABSENT = (
    "io_uring_setup io_uring_enter io_uring_register userfaultfd fanotify_init fanotify_mark landlock_create_ruleset "
    "landlock_add_rule landlock_restrict_self seccomp kcmp lookup_dcookie uselib ustat sysfs nfsservctl vserver "
    "add_key request_key keyctl _sysctl memfd_secret process_madvise process_mrelease set_mempolicy_home_node "
    "get_mempolicy migrate_pages move_pages pkey_alloc pkey_free remap_file_pages restart_syscall io_setup io_destroy "
    "io_getevents io_submit io_cancel io_pgetevents epoll_ctl_old epoll_wait_old map_shadow_stack riscv_hwprobe"
)

ROWS: tuple[Row, ...] = (
    *(Row(name, _not_permitted, "", STUB, "refused: EPERM") for name in _PRIVILEGED.split()),
    *(Row(name, _not_built, "", STUB, "refused: ENOSYS") for name in _ABSENT.split()),
)
