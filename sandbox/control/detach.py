"""A service in a process of its own: what `up --detach` leaves behind.

`run_service` is the body of that process; `spawn` starts it as `COMMAND` in a session of its own and returns when
it answers, or raises what it wrote when it ends instead.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from sandbox.control.client import Client
from sandbox.control.place import Place
from sandbox.control.service import Service
from sandbox.errors import ConfigurationError, StateError
from sandbox.fleet import Fleet, launch

PATIENCE = 30.0  # seconds for a service to come up
TAIL = 4000  # bytes of its last words


def run_service(fleet: Fleet, home: Path | str | None = None, **overrides: Any) -> None:
    """Be the service of this fleet: until `down`, SIGTERM, or until no VM is left."""
    with fleet.hypervisor(**overrides) as hypervisor:
        launch(fleet, hypervisor)  # first: who waits for the socket hears of what cannot be started
        with Service(hypervisor, home, fleet.path) as service:

            def end(number: int, frame: FrameType | None) -> None:
                service.request_close()

            before = signal.signal(signal.SIGTERM, end)
            try:
                service.serve()
            finally:
                signal.signal(signal.SIGTERM, before)


def spawn(command: Sequence[str], home: Path | str | None = None) -> int:
    """Start the service's process; its id. StateError when a fleet is up already, ConfigurationError with what the
    process said when it does not come up."""
    place = Place(home)
    try:
        place.connect().close()
    except StateError:
        pass
    else:
        raise StateError("a fleet is up already: `sandbox ps` shows it")
    place.open().close()  # makes the directory, and removes what is stale
    place.close()
    log = os.open(place.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        process = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    finally:
        os.close(log)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if process.poll() is not None:
            said = place.log.read_bytes()[-TAIL:].decode("utf-8", "backslashreplace").strip()
            raise ConfigurationError(said or f"the service ended with status {process.returncode}")
        try:
            with Client(home) as client:
                client.call("hello")
            return process.pid
        except StateError:
            time.sleep(0.02)
    process.kill()
    process.wait()
    raise StateError(f"the service did not come up within {PATIENCE:g} s")
