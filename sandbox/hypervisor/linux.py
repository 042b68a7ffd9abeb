"""The ground of a Linux VM: memory account, root filesystem, mounts; and the machines that boot on it.

The root filesystem and what was written to it outlive a machine: files can be read after it has ended, and a
restart finds them as they were. Neighbours: images.py, program.py, sandbox.kernel.
"""

from __future__ import annotations

import contextlib
import os

from sandbox.abi.errno import Errno
from sandbox.engine import isa_named
from sandbox.errors import ConfigurationError
from sandbox.events import Defect
from sandbox.hypervisor import streams
from sandbox.hypervisor.builder import Kind, Surroundings
from sandbox.hypervisor.images import Images
from sandbox.hypervisor.program import find_isa, host_program, place_in_guest
from sandbox.hypervisor.volumes import volume_store
from sandbox.kernel.job_control import acquire
from sandbox.kernel.linux import LinuxMachine
from sandbox.kernel.process import MachineLimits
from sandbox.kernel.start import boot
from sandbox.kernel.task import Credentials
from sandbox.kernel.views import KernelView
from sandbox.machine import Machine
from sandbox.memory import PAGE_SIZE, FramePool
from sandbox.vfs.mount import Mounts, nobody_executes
from sandbox.vfs.node import OpenFile
from sandbox.vfs.overlay import Overlay
from sandbox.vfs.root import build_root, get_file, mount_at, mount_host, mount_proc
from sandbox.vfs.tmpfs import Tmpfs
from sandbox.vfs.volume import VolumeFs
from sandbox.vm import VmConfig

LARGEST_FILE = 256 << 20  # what `files.read` brings out at most


class LinuxGround:
    def __init__(self, pool: FramePool, images: Images, config: VmConfig, surroundings: Surroundings) -> None:
        self._pool = pool
        self._images = images
        self._config = config
        self._surroundings = surroundings
        self._account = pool.account(config.memory)
        self._mounts: Mounts | None = None
        self._volumes: list[tuple[bytes, VolumeFs]] = []
        self._closed = False
        self.reads, self.writes = _common_directories(config)
        try:
            self._program = self._build(config)
            environment = dict(config.environment)
            isa = find_isa(
                self._tree, config.cwd, self._credentials, self._program, environment, config.arch,
                complete=config.rootfs is not None,
            )  # fmt: skip
        except BaseException:
            self.close()
            raise
        if config.tty:
            environment.setdefault(b"TERM", b"xterm")
        self._environment = environment
        self.kind = Kind(isa)

    @property
    def _tree(self) -> Mounts:
        assert self._mounts is not None
        return self._mounts

    @property
    def _credentials(self) -> Credentials:
        return Credentials(*self._config.user)

    def _build(self, config: VmConfig) -> bytes:
        """Make the tree; the program's path or name in it."""
        if config.rootfs is not None:
            image, program = self._images.rootfs(config.rootfs), config.program[0]
        else:
            path = host_program(config)
            program = place_in_guest(path)
            image = self._images.with_program(path, program, config.arch, config.hostname)
        surroundings = self._surroundings
        mounts = self._mounts = build_root(
            image, self._pool, self._account, surroundings.clock, surroundings.entropy,
            limit=config.disk, close_image=False,
        )  # fmt: skip
        self._devices = dict(mounts.devices)
        for place, limit in config.tmpfs:
            filesystem = Tmpfs(self._pool, self._account, surroundings.clock, limit, root_mode=0o1777)
            mount_at(mounts, place, filesystem, source=b"tmpfs")
        for volume in config.volumes:
            if "/" not in volume.source:
                continue  # by name: while a machine runs
            if not os.path.exists(volume.source):
                raise ConfigurationError(f"{volume.source} does not exist: nothing to mount")
            mount_host(mounts, volume.path, volume.source, volume.read_only, self._images.descriptors)
        return program

    def _mount_volumes(self) -> None:
        """Volumes by name are locked while they are mounted, so they are only for as long as a machine runs."""
        for volume in self._config.volumes:
            if "/" not in volume.source:
                filesystem = volume_store().open(volume.source, self._surroundings.clock, volume.read_only)
                self._volumes.append((volume.path, filesystem))
                mount_at(self._tree, volume.path, filesystem, volume.read_only, os.fsencode(volume.source))

    def _unmount_volumes(self) -> None:
        while self._volumes:
            path, filesystem = self._volumes.pop()
            with contextlib.suppress(Errno):  # never mounted; or the guest has mounted something below
                self._tree.unmount(path)
            try:
                filesystem.close()
            except Exception as error:  # the host's disk is full, say: the VM ends all the same
                where = path.decode("utf-8", "backslashreplace")
                self._surroundings.recorder.record(Defect(f"closing the volume at {where}", str(error)))

    def boot(self) -> Machine:
        config, surroundings = self._config, self._surroundings
        machine = LinuxMachine(
            isa_named(self.kind.isa),
            self._pool,
            self._account,
            self._tree,
            clock=surroundings.clock,
            entropy=surroundings.entropy,
            hostname=config.hostname,
            limits=MachineLimits(config.max_tasks, config.max_files),
            deterministic=surroundings.deterministic,
            events=surroundings.recorder,
        )
        machine.owns_mounts = False
        try:
            mount_proc(self._tree, KernelView(machine))
            self._mount_volumes()
            task = boot(
                machine,
                config.program,
                dict(self._environment),
                program=self._program,
                cwd=config.cwd,
                credentials=self._credentials,
                stdio=self._streams(machine),
            )
            if machine.terminals.console is not None:
                acquire(task.process, machine.terminals.console)
        except BaseException:
            self.retire(machine)
            raise
        return machine

    def retire(self, machine: Machine) -> None:
        machine.release()
        self._unmount_volumes()
        # What shows or opens parts of the machine would keep all of it.
        with contextlib.suppress(Errno):
            self._tree.unmount(b"/proc")
        self._tree.devices = dict(self._devices)
        self._tree.executing = nobody_executes

    def _streams(self, machine: LinuxMachine) -> list[OpenFile]:
        console = self._surroundings.console
        if self._config.tty:
            return streams.terminal(machine, console, self._config.user[0], first=True)[1]
        return streams.pipes(machine, console)

    def change_limit(self, config: VmConfig, limit: str, machine: Machine | None) -> None:
        if limit == "memory":
            self._account.limit = config.memory // PAGE_SIZE
        elif limit == "disk":
            root = self._tree.root.mount.filesystem
            assert isinstance(root, Overlay)
            root.upper.set_limit(config.disk)
        elif limit in ("max_tasks", "max_files") and isinstance(machine, LinuxMachine):
            machine.limits = MachineLimits(config.max_tasks, config.max_files)
            machine.file_budget.limit = config.max_files
        self._config = config

    def read_file(self, path: bytes) -> bytes:
        shown = path.decode("utf-8", "backslashreplace")
        try:
            data = get_file(self._tree, path, LARGEST_FILE + 1)
        except Errno as error:
            raise ConfigurationError(f"{shown} cannot be read: {os.strerror(error.number).lower()}") from None
        if len(data) > LARGEST_FILE:
            raise ConfigurationError(f"{shown} is larger than {LARGEST_FILE >> 20} MiB")
        return data

    def memory(self) -> tuple[int, int]:
        if self._closed:
            return 0, 0
        return self._account.used * PAGE_SIZE, self._account.peak * PAGE_SIZE

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._mounts is not None:
            self._mounts.close()
        self._account.close()


def _common_directories(config: VmConfig) -> tuple[frozenset[str], frozenset[str]]:
    """The host's directories that others may use, too: only read, and written."""
    reads: set[str] = set()
    writes: set[str] = set()
    for volume in config.volumes:
        if "/" in volume.source:
            (reads if volume.read_only else writes).add(os.path.realpath(volume.source))
    return frozenset(reads), frozenset(writes)
