"""The volumes of an operator: a directory of the host with one directory for each, by name.

    NAME/image   the journal (`volume_journal`)        NAME/lock   locked while the volume is in use

One VM may have a volume for writing, or any number read-only. Names come from the command line and fleet files and
are checked; nothing of a guest gets here. Neighbours: `volume`, `archive` (export).
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from sandbox.clock import Clock
from sandbox.errors import ConfigurationError, StateError
from sandbox.vfs.volume import VolumeFs
from sandbox.vfs.volume_journal import Journal, read_header

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
MINIMUM_SIZE = 64 << 10
MAXIMUM_SIZE = 16 << 40


@dataclass(frozen=True, slots=True)
class VolumeInfo:
    """`size` is the limit, `stored` what the file takes on the host, both in bytes."""

    name: str
    size: int
    stored: int
    in_use: bool


class VolumeStore:
    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)

    def create(self, name: str, size: int) -> None:
        """An empty volume for `size` bytes. Raises ConfigurationError."""
        home = self._home(name)
        if not MINIMUM_SIZE <= size <= MAXIMUM_SIZE:
            raise ConfigurationError(f"a volume of {size} bytes cannot be made: choose between 64K and 16T")
        if home.exists():
            raise ConfigurationError(f"there is a volume named {name} already")
        # Made under another name first, so that a volume is there whole or not at all.
        draft = self.directory / f".{name}.{secrets.token_hex(4)}"
        try:
            draft.mkdir(parents=True, mode=0o700)
            Journal.create(str(draft / "image"), size, secrets.token_bytes(16)).close()
            (draft / "lock").touch(mode=0o600)
            draft.rename(home)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise ConfigurationError(f"the volume {name} cannot be made: {error.strerror}") from None

    def open(self, name: str, clock: Clock, read_only: bool = False) -> VolumeFs:
        """Close it to give the lock back. Raises ConfigurationError when there is no such volume, StateError when it
        is in use or damaged."""
        advice = f"'sandbox volume create {name} --size 64M' makes it"
        if os.path.isdir(name):
            advice = f"the host's directory is written ./{name}, and {advice}"
        home = self._existing(name, advice)
        lock = _lock(home, name, exclusive=not read_only)
        try:
            return _LockedVolume(str(home / "image"), clock, read_only, lock)
        except BaseException:
            os.close(lock)
            raise

    def list(self) -> list[VolumeInfo]:
        """By name. What is no volume is left out."""
        if not self.directory.is_dir():
            return []
        found = []
        for home in sorted(self.directory.iterdir()):
            if _NAME.fullmatch(home.name) and (home / "image").is_file():
                found.append(self._info(home))
        return found

    def check(self, name: str) -> None:
        """Raises ConfigurationError when there is no such volume."""
        self._existing(name, "'sandbox volume ls' lists those there are")

    def remove(self, name: str) -> None:
        self.check(name)
        home = self._home(name)
        lock = _lock(home, name, exclusive=True)
        try:
            shutil.rmtree(home)
        except OSError as error:
            raise StateError(f"the volume {name} cannot be removed: {error.strerror}") from None
        finally:
            os.close(lock)

    def _info(self, home: Path) -> VolumeInfo:
        try:
            descriptor = os.open(home / "image", os.O_RDONLY | os.O_CLOEXEC)
            try:
                size = read_header(descriptor, str(home))[0]
                stored = os.fstat(descriptor).st_size
            finally:
                os.close(descriptor)
            try:
                os.close(_lock(home, home.name, exclusive=True))
                in_use = False
            except StateError:
                in_use = True
        except (OSError, ConfigurationError, StateError):
            return VolumeInfo(home.name, 0, 0, False)
        return VolumeInfo(home.name, size, stored, in_use)

    def _home(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"{name!r} is no name for a volume: use up to 64 letters, digits, '.', '_' and '-', a letter first"
            )
        return self.directory / name

    def _existing(self, name: str, advice: str) -> Path:
        home = self._home(name)
        if not (home / "image").is_file():
            near = get_close_matches(name, [info.name for info in self.list()], 1)
            advice = f"do you mean {near[0]}? {advice}" if near else advice
            raise ConfigurationError(f"there is no volume named {name}: {advice}")
        return home


class _LockedVolume(VolumeFs):
    def __init__(self, path: str, clock: Clock, read_only: bool, lock: int) -> None:
        super().__init__(path, clock, read_only)
        self._lock = lock

    def close(self) -> None:
        try:
            super().close()
        finally:
            lock, self._lock = self._lock, -1
            if lock >= 0:
                os.close(lock)


def _lock(home: Path, name: str, exclusive: bool) -> int:
    """A descriptor that holds the lock until it is closed. Raises StateError when somebody else has it."""
    try:
        descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError(f"the volume {name} cannot be locked: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StateError(f"the volume {name} is in use by another virtual machine") from None
    return descriptor
