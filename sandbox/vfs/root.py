"""The whole tree of a VM: its root filesystem, /dev, /proc, and what the operator mounts.

    image = open_rootfs("debian.tar")  or  builtin_image()
    mounts = build_root(image, pool, account, clock, entropy)
    mount_at(mounts, b"/data", HostFs("/srv/data"))
    mount_proc(mounts, view)                     # once the kernel exists

An image is never written: an overlay in the VM's own memory lies on top. Neighbours: everything in `sandbox.vfs`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

from sandbox.abi.errno import EINVAL, EISDIR, ENOENT, Errno
from sandbox.abi.flags import O_CREAT, O_RDONLY, O_TRUNC, O_WRONLY
from sandbox.clock import Clock, Entropy
from sandbox.errors import ConfigurationError
from sandbox.memory import Account, FramePool
from sandbox.vfs.devfs import DevFs, install_devices, populate_dev
from sandbox.vfs.host_descriptors import DescriptorCache
from sandbox.vfs.hostfs import HostFs
from sandbox.vfs.image import Image
from sandbox.vfs.mount import Mounts, Place
from sandbox.vfs.namespace import Namespace
from sandbox.vfs.node import SUPERUSER, Filesystem
from sandbox.vfs.overlay import Overlay
from sandbox.vfs.proc_views import SystemView
from sandbox.vfs.procfs import ProcFs
from sandbox.vfs.tarfs import TarFs
from sandbox.vfs.tmpfs import Tmpfs

_DIRECTORIES: tuple[tuple[bytes, int], ...] = (
    (b"/bin", 0o755), (b"/dev", 0o755), (b"/etc", 0o755), (b"/home", 0o755), (b"/proc", 0o555), (b"/root", 0o700),
    (b"/run", 0o755), (b"/sys", 0o555), (b"/tmp", 0o1777), (b"/usr/bin", 0o755), (b"/usr/lib", 0o755),
    (b"/var/tmp", 0o1777),
)  # fmt: skip
_FILES: Mapping[bytes, bytes] = {
    b"/etc/passwd": (b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"),
    b"/etc/group": b"root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
    b"/etc/hosts": b"127.0.0.1\tlocalhost\n::1\tlocalhost\n",
    b"/etc/nsswitch.conf": b"passwd: files\ngroup: files\nhosts: files\n",
    b"/etc/shells": b"/bin/sh\n",
}
# What every root has, whatever the image brings.
_NEEDED: tuple[tuple[bytes, int], ...] = ((b"/dev", 0o755), (b"/proc", 0o555), (b"/tmp", 0o1777))


def open_rootfs(path: str | os.PathLike[str], descriptors: DescriptorCache | None = None) -> Filesystem:
    """A host directory or a tar archive as a read-only filesystem. Raises ConfigurationError."""
    if os.path.isdir(path):
        return HostFs(path, read_only=True, descriptors=descriptors)
    if not os.path.exists(path):
        raise ConfigurationError(f"{os.fspath(path)} does not exist: give a directory or a tar archive")
    return TarFs(path)


def builtin_image(hostname: bytes = b"sandbox", descriptors: DescriptorCache | None = None) -> Image:
    """The small root of a VM without --rootfs. The caller may add files before it is used."""
    image = Image(descriptors)
    for path, mode in _DIRECTORIES:
        image.add_directory(path, mode)
    for path, data in _FILES.items():
        image.add_file(path, data)
    image.add_file(b"/etc/hostname", hostname + b"\n")
    image.add_link(b"/etc/mtab", b"/proc/self/mounts")
    return image


def build_root(
    image: Filesystem,
    pool: FramePool,
    account: Account,
    clock: Clock,
    entropy: Entropy,
    *,
    limit: int | None = None,
    close_image: bool = True,
) -> Mounts:
    """An overlay over `image`, with /dev and /tmp. `limit` bounds what the VM may write, in bytes; `close_image` is
    False when several VMs share the image and somebody else closes it."""
    mounts = Mounts(Overlay(image, Tmpfs(pool, account, clock, limit), close_image), source=b"overlay")
    namespace = Namespace(mounts, mounts.root, SUPERUSER)
    for path, mode in _NEEDED:
        _require_directory(namespace, path, mode)
    dev = DevFs(pool, account, clock)
    populate_dev(dev)
    mounts.mount(b"/dev", dev, source=b"devtmpfs")
    install_devices(mounts, entropy)
    return mounts


def _require_directory(namespace: Namespace, path: bytes, mode: int) -> None:
    """An image may have anything there: what is no directory is hidden by one."""
    start = namespace.root
    try:
        if namespace.find(start, path).node.is_directory:
            return
    except Errno:
        pass
    with contextlib.suppress(Errno):
        namespace.unlink(start, path)
    namespace.mkdir(start, path, mode)


def mount_at(
    mounts: Mounts, path: bytes, filesystem: Filesystem, read_only: bool = False, source: bytes = b"none"
) -> None:
    """Mount on a directory, which is made when it is missing. Raises ConfigurationError."""
    try:
        make_directories(Namespace(mounts, mounts.root, SUPERUSER), path)
        mounts.mount(path, filesystem, read_only, source)
    except Errno as error:
        raise _unusable(path, error) from None


def _unusable(path: bytes, error: Errno) -> ConfigurationError:
    reason = os.strerror(error.number).lower()
    return ConfigurationError(f"nothing can be mounted at {path.decode('utf-8', 'backslashreplace')}: {reason}")


def mount_proc(mounts: Mounts, view: SystemView) -> ProcFs:
    procfs = ProcFs(view)
    mounts.mount(b"/proc", procfs, source=b"proc")
    return procfs


def mount_host(
    mounts: Mounts,
    path: bytes,
    host_path: str | os.PathLike[str],
    read_only: bool = True,
    descriptors: DescriptorCache | None = None,
) -> HostFs:
    """A directory or a single file of the operator's at `path`. Raises ConfigurationError."""
    host = os.path.realpath(os.fspath(host_path))
    namespace = Namespace(mounts, mounts.root, SUPERUSER)
    if os.path.isdir(host) or not os.path.exists(host):
        filesystem = HostFs(host, read_only, descriptors)
        mount_at(mounts, path, filesystem, read_only, b"host")
        return filesystem
    filesystem = HostFs(os.path.dirname(host), read_only, descriptors)
    try:
        node = filesystem.root.lookup(os.fsencode(os.path.basename(host)))
        if not node.is_regular:
            raise ConfigurationError(f"{os.fspath(host_path)} is neither a directory nor a regular file")
        make_directories(namespace, path.rsplit(b"/", 1)[0] or b"/")
        namespace.open(mounts.root, path, O_WRONLY | O_CREAT).release()
        mounts.mount(path, filesystem, read_only, b"host", root=node)
    except Errno as error:
        filesystem.close()
        raise _unusable(path, error) from None
    except BaseException:
        filesystem.close()
        raise
    return filesystem


def make_directories(namespace: Namespace, path: bytes, mode: int = 0o755) -> Place:
    """As mkdir -p."""
    start = namespace.root
    names = [name for name in path.split(b"/") if name]
    for depth in range(1, len(names) + 1):
        prefix = b"/" + b"/".join(names[:depth])
        try:
            namespace.find(start, prefix)
        except Errno as error:
            if error.number != ENOENT:
                raise
            namespace.mkdir(start, prefix, mode if depth == len(names) else 0o755)
    return namespace.find(start, path)


def put_file(mounts: Mounts, path: bytes, data: bytes, mode: int = 0o644) -> None:
    """Write a file of the guest, with its directories, from outside. Raises Errno."""
    namespace = Namespace(mounts, mounts.root, SUPERUSER)
    make_directories(namespace, path.rsplit(b"/", 1)[0] or b"/")
    file = namespace.open(mounts.root, path, O_WRONLY | O_CREAT | O_TRUNC, mode)
    try:
        done = 0
        while done < len(data):
            done += file.write(data[done:])
    finally:
        file.release()


def get_file(mounts: Mounts, path: bytes, limit: int | None = None) -> bytes:
    """Read a regular file of the guest from outside, at most `limit` bytes. Raises Errno."""
    node = Namespace(mounts, mounts.root, SUPERUSER).find(mounts.root, path).node
    if not node.is_regular:
        raise Errno(EISDIR if node.is_directory else EINVAL)
    file = node.open(O_RDONLY)
    try:
        pieces: list[bytes] = []
        done = 0
        while limit is None or done < limit:
            piece = file.read(65536 if limit is None else min(65536, limit - done))
            if not piece:
                break
            pieces.append(piece)
            done += len(piece)
        return b"".join(pieces)
    finally:
        file.release()
