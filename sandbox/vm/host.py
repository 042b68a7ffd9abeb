"""What a VM asks of its owner. The hypervisor implements it; tests may, too.

All of it may be called from any thread; the implementation takes its lock. Only plain data goes in and out,
with the exception of `inspect`, which lends the machine to instrumentation in the same process.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from sandbox.machine import Machine

if TYPE_CHECKING:
    from sandbox.vm.execution import Execution
    from sandbox.vm.front import VM
    from sandbox.vm.statistics import Statistics


class Host(Protocol):
    def start(self, vm: VM) -> None: ...
    def pause(self, vm: VM) -> None: ...
    def resume(self, vm: VM) -> None: ...
    def stop(self, vm: VM, grace: int | None, wait: bool) -> None: ...
    def kill(self, vm: VM, reason: str, status: int) -> None: ...
    def remove(self, vm: VM, force: bool) -> None: ...
    def rename(self, vm: VM, name: str) -> None: ...
    def change_limit(self, vm: VM, limit: str, value: Any) -> None: ...

    def wait_for(self, vm: VM, done: Callable[[], bool], timeout: int | None) -> bool:
        """Until `done()`, evaluated under the lock, or until so many nanoseconds of the hypervisor's clock."""

    def spawn(self, vm: VM, execution: Execution) -> None:
        """Start what it orders, and tell it when that has ended. Raises LoadError, StateError."""

    def step(self, vm: VM, count: int) -> None: ...

    def statistics(self, vm: VM) -> Statistics: ...

    def read_file(self, vm: VM, path: bytes) -> bytes: ...

    def enter(self) -> AbstractContextManager[object]:
        """The lock, for a short look or a push at the console."""

    def inspect(self, vm: VM) -> AbstractContextManager[Machine]:
        """The machine while nothing runs in it; StateError when the VM is not paused and this is no callback."""
