"""Host descriptors for hostfs: opened one name at a time, checked, few at any time, always closed.

The rules that make hostfs escape-proof are kept here. A host path is joined never: every open is
`openat(directory, name, O_NOFOLLOW)` with a single name, and what was opened must be the very inode (device and
number) that was looked up, so a rename or a symbolic link planted on the host side meanwhile is noticed and refused.
Filesystems that are doors into the host's kernel (proc, sysfs ...) are refused wherever they are mounted.

Descriptors are kept in a small cache and opened again when needed. A cache may be shared by many filesystems, which
bounds the descriptors of the whole process. Neighbour: `hostfs`.
"""

from __future__ import annotations

import ctypes
import os
from collections import OrderedDict

from sandbox.abi.errno import EACCES, EMFILE, ENFILE, Errno

# linux/magic.h. What is written there has effects on the host, and what is read tells about it.
KERNEL_FILESYSTEMS = {
    0x9FA0: "proc", 0x62656572: "sysfs", 0x64626720: "debugfs", 0x74726163: "tracefs", 0x73636673: "securityfs",
    0x27E0EB: "cgroup", 0x63677270: "cgroup2", 0x1CD1: "devpts", 0xCAFE4A11: "bpf", 0x62656570: "configfs",
    0x6165676C: "pstore", 0xDE5E81E4: "efivarfs", 0x42494E4D: "binfmt_misc", 0x6E736673: "nsfs",
    0xF97CFF8C: "selinuxfs", 0x65735543: "fusectl", 0x19800202: "mqueue", 0x50494446: "pidfs",
}  # fmt: skip

DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not to wait for the other end of a FIFO, not to get a controlling terminal, should one have been put there.
FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

KEPT = 4  # the descriptors used last are never closed: an operation on two names holds two directories
Key = tuple[int, int, bool]  # filesystem, node, for writing

_libc = ctypes.CDLL(None, use_errno=True)


def host_error(error: OSError) -> Errno:
    number = error.errno or EACCES
    return Errno(ENFILE if number == EMFILE else number)  # the guest has not reached its own limit


def filesystem_kind(descriptor: int) -> int:
    """f_type of fstatfs(2); 0 when it cannot be found out."""
    buffer = ctypes.create_string_buffer(256)
    if _libc.fstatfs(descriptor, buffer) != 0:
        return 0
    return int.from_bytes(buffer.raw[: ctypes.sizeof(ctypes.c_long)], "little")


class DescriptorCache:
    """At most `limit` descriptors; the one that was used longest ago is closed first."""

    def __init__(self, limit: int = 64) -> None:
        self.limit = max(2 * KEPT, limit)
        self._open: OrderedDict[Key, int] = OrderedDict()

    def __del__(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def __len__(self) -> int:
        return len(self._open)

    def get(self, key: Key) -> int | None:
        descriptor = self._open.get(key)
        if descriptor is not None:
            self._open.move_to_end(key)
        return descriptor

    def put(self, key: Key, descriptor: int) -> None:
        self.drop(key)
        while len(self._open) >= self.limit:
            os.close(self._open.popitem(last=False)[1])
        self._open[key] = descriptor

    def take(self, key: Key) -> int | None:
        """The descriptor leaves the cache; the caller closes it."""
        return self._open.pop(key, None)

    def drop(self, key: Key) -> None:
        descriptor = self._open.pop(key, None)
        if descriptor is not None:
            os.close(descriptor)

    def drop_filesystem(self, number: int) -> None:
        for key in [key for key in self._open if key[0] == number]:
            self.drop(key)

    def open_at(self, name: bytes, flags: int, directory: int | None, mode: int = 0o600) -> int:
        """openat(2); when the host process is out of descriptors, the older half of the cache is given up. Raises
        OSError."""
        try:
            return os.open(name, flags, mode, dir_fd=directory)
        except OSError as error:
            if error.errno != EMFILE or not self._open:
                raise
        for key in list(self._open)[: len(self._open) // 2 - KEPT]:
            self.drop(key)
        return os.open(name, flags, mode, dir_fd=directory)
