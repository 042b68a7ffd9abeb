"""Root filesystems, read-only and shared: two VMs of one program share its pages, and it is assembled once.

An image is kept by what it was made from (path, and the file's identity and time) until the hypervisor closes;
each VM has its own overlay on top. Neighbours: linux.py, sandbox.vfs.root.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from functools import lru_cache

from sandbox.errors import LoadError
from sandbox.vfs.host_descriptors import DescriptorCache
from sandbox.vfs.node import Filesystem
from sandbox.vfs.root import builtin_image, open_rootfs


class Images:
    def __init__(self) -> None:
        self.descriptors = DescriptorCache()  # one for all, so that the process has few open at any time
        self._kept: dict[Hashable, Filesystem] = {}

    def rootfs(self, path: str) -> Filesystem:
        """A host directory or a tar archive."""
        return self._keep(("root", *_identity(path)), lambda: open_rootfs(path, self.descriptors))

    def with_program(self, path: str, name: bytes, arch: str | None, hostname: bytes) -> Filesystem:
        """The small built-in root with one program of the host in it, at `name`; a .s file is assembled."""

        identity = _identity(path)

        def make() -> Filesystem:
            image = builtin_image(hostname, self.descriptors)
            if path.endswith(".s"):
                image.add_file(name, _assembled(path, identity, arch), 0o755)
            else:
                image.add_host_file(name, path)
            return image

        return self._keep(("program", *identity, name, arch, hostname), make)

    def close(self) -> None:
        for image in self._kept.values():
            image.close()
        self._kept.clear()

    def _keep(self, key: Hashable, make: Callable[[], Filesystem]) -> Filesystem:
        image = self._kept.get(key)
        if image is None:
            image = self._kept[key] = make()
        return image


@lru_cache(maxsize=256)
def _assembled(path: str, identity: tuple[Hashable, ...], arch: str | None) -> bytes:
    """`identity` is there for the cache: a source that has changed is assembled anew."""
    from sandbox.assembler import assemble_file

    return assemble_file(path, arch)


def _identity(path: str) -> tuple[Hashable, ...]:
    """What tells this file or directory from what was, or will be, at the same path."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise LoadError(f"{path}: {(error.strerror or 'cannot be read').lower()}", 127) from None
    return os.path.realpath(path), status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
