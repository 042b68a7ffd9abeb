"""Where a service is found: a private directory with a socket and a lock.

The directory is 0700 and ours, the socket 0600, so only the same user gets in (and the service asks the kernel who is
at the other end all the same). Who holds the lock is the service; the kernel lets go of it when that process dies,
however it dies. So a socket that is there while the lock is free is stale, and whoever gets the lock may remove it.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from pathlib import Path

from sandbox.errors import ConfigurationError, StateError

LONGEST_SOCKET_PATH = 107  # sun_path, unix(7)


def default_home() -> Path:
    """$SANDBOX_HOME, else a directory for what lives as long as the user's session."""
    home = os.environ.get("SANDBOX_HOME")
    if home:
        return Path(home) / "control"
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "sandbox"
    return Path(f"/tmp/sandbox-{os.getuid()}")


class Place:
    def __init__(self, home: Path | str | None = None) -> None:
        self.home = Path(home) if home is not None else default_home()
        self.socket = self.home / "control.sock"
        self.lock = self.home / "control.lock"
        self.log = self.home / "service.log"
        self._lock: int | None = None

    def open(self) -> socket.socket:
        """Become the service: a listening socket. StateError when there is one already."""
        self._make_private()
        if len(os.fsencode(self.socket)) > LONGEST_SOCKET_PATH:
            raise ConfigurationError(f"{self.socket} is too long for a socket: set SANDBOX_HOME to a shorter path")
        self._take_lock()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.socket.unlink(missing_ok=True)  # stale: we hold the lock
            before = os.umask(0o177)
            try:
                listener.bind(str(self.socket))
            finally:
                os.umask(before)
            listener.listen(16)
        except OSError as error:
            listener.close()
            self.close()
            raise ConfigurationError(f"{self.socket}: {(error.strerror or 'cannot be used').lower()}") from None
        return listener

    def close(self) -> None:
        """No service any more. Idempotent."""
        if self._lock is not None:
            self.socket.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def connect(self, timeout: float | None = 10.0) -> socket.socket:
        """To the service; StateError when there is none."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout)
        try:
            self._check_private()
            connection.connect(str(self.socket))
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            raise StateError("no fleet is up: `sandbox up FLEET.toml --detach` starts one") from None
        except OSError as error:
            connection.close()
            raise StateError(f"{self.socket}: {(error.strerror or 'cannot be reached').lower()}") from None
        except BaseException:
            connection.close()
            raise
        return connection

    def _make_private(self) -> None:
        try:
            self.home.parent.mkdir(parents=True, exist_ok=True)
            self.home.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"{self.home}: {(error.strerror or 'cannot be made').lower()}") from None
        self._check_private()

    def _check_private(self) -> None:
        """FileNotFoundError when it is not there."""
        status = os.lstat(self.home)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
            raise ConfigurationError(
                f"{self.home} must be a directory that is yours alone (chmod 700), or set SANDBOX_HOME to another"
            )

    def _take_lock(self) -> None:
        lock = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
            os.close(lock)
            raise StateError(f"a fleet is up already (process {owner or 'unknown'}): `sandbox ps` shows it") from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        self._lock = lock
