"""Time and chance as arguments: nothing below the hypervisor asks the host for either.

`HostClock` and `HostEntropy` are what a person wants; `VirtualClock` and `SeededEntropy` are what a
deterministic run needs: time that moves only when told to, and bytes that depend on the seed alone.
"""

from __future__ import annotations

import hashlib
import os
import time
from typing import Protocol


class Clock(Protocol):
    """All values are nanoseconds."""

    def monotonic(self) -> int: ...
    def realtime(self) -> int: ...


class HostClock:
    monotonic = staticmethod(time.monotonic_ns)
    realtime = staticmethod(time.time_ns)


class VirtualClock:
    """Starts at a fixed date and moves only by `advance`.

    `jumps`: a machine that is alone on it may jump to its next deadline when all of its tasks sleep. A hypervisor
    gives each of its machines one that does not, and jumps for all of them when all machines sleep."""

    def __init__(self, start: int = 1_000_000_000, epoch: int = 1_700_000_000_000_000_000, jumps: bool = True) -> None:
        self.jumps = jumps
        self._now = start
        self._offset = epoch - start

    def monotonic(self) -> int:
        return self._now

    def realtime(self) -> int:
        return self._now + self._offset

    def advance(self, nanoseconds: int) -> None:
        if nanoseconds < 0:
            raise ValueError("time does not run backwards")
        self._now += nanoseconds


class Entropy(Protocol):
    def bytes(self, count: int) -> bytes: ...


class HostEntropy:
    def bytes(self, count: int) -> bytes:
        return os.urandom(count)


class SeededEntropy:
    """SHAKE-128 of the seed and a counter: repeatable, and well mixed for any seed."""

    def __init__(self, seed: int | str) -> None:
        self._seed = str(seed).encode()
        self._counter = 0

    def bytes(self, count: int) -> bytes:
        self._counter += 1
        return hashlib.shake_128(self._seed + b":" + str(self._counter).encode()).digest(count)
