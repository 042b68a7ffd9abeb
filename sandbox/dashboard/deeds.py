"""What the operator asks for, done to a hypervisor in this process: one table of verbs.

A deed answers with what to say and how to undo it; what cannot be done raises SandboxError with a sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.dashboard.source import Done, Request
from sandbox.errors import ConfigurationError, StateError
from sandbox.hypervisor import Hypervisor
from sandbox.vm import VM

Resolve = Callable[[str], "int | None"]


class Deeds:
    def __init__(self, hypervisor: Hypervisor) -> None:
        self._hypervisor = hypervisor
        self._breakpoints: dict[tuple[str, int], Callable[[], None]] = {}  # and how to remove each

    def breakpoints(self, vm: str) -> frozenset[int]:
        return frozenset(address for owner, address in self._breakpoints if owner == vm)

    def perform(self, request: Request, resolve: Resolve) -> Done:
        if request.vm:
            deed = _DEEDS.get(request.verb)
            if deed is None:
                raise ConfigurationError(f"{request.verb} is not something that can be done to a VM")
            return deed(self, self._hypervisor.vm(request.vm), request.value, resolve)
        raise ConfigurationError(f"{request.verb} cannot be changed while VMs run")

    # --- lives ---

    def _start(self, vm: VM, value: Any, resolve: Resolve) -> Done:
        vm.start()
        return Done(f"{vm.name} is started")

    def _pause(self, vm: VM, value: Any, resolve: Resolve) -> Done:
        vm.pause()
        return Done(f"{vm.name} is paused; s steps, Space resumes")

    def _resume(self, vm: VM, value: Any, resolve: Resolve) -> Done:
        vm.resume()
        return Done(f"{vm.name} runs again")

    def _stop(self, vm: VM, value: Any, resolve: Resolve) -> Done:
        self._hypervisor.stop(vm, None, False)
        return Done(f"{vm.name} is asked to end")

    def _kill(self, vm: VM, value: Any, resolve: Resolve) -> Done:
        vm.kill("the operator killed it")
        return Done(f"{vm.name} is killed")

    def _type(self, vm: VM, value: Any, resolve: Resolve) -> Done:
        data = value if isinstance(value, bytes) else str(value).encode()
        if vm.console.write(data) < len(data):
            raise StateError(f"{vm.name} does not read its input: there is no room for more")
        return Done()

    # --- limits ---

    def _limit(self, vm: VM, name: str, value: Any, shown: str) -> Done:
        before = getattr(vm.config, name)
        vm.set(**{name: value})
        return Done(f"{name} of {vm.name}: {shown}", Request(name, vm.identity, before))

    def _weight(self, vm: VM, value: Any, resolve: Resolve) -> Done:
        return self._limit(vm, "weight", value, str(value))

    def _cpus(self, vm: VM, value: Any, resolve: Resolve) -> Done:
        return self._limit(vm, "cpus", value, "no cap" if value is None else f"{value:g} cores at most")

    def _memory(self, vm: VM, value: Any, resolve: Resolve) -> Done:
        return self._limit(vm, "memory", value, f"{value >> 10} KiB at most")

    # --- debugging ---

    def _step(self, vm: VM, value: Any, resolve: Resolve) -> Done:
        count = int(value or 1)
        _instrument(vm, "step")(count)
        return Done(f"{count} instruction{'s' if count > 1 else ''} of {vm.name}")

    def _syscall(self, vm: VM, value: Any, resolve: Resolve) -> Done:
        """Until the next call is about to be made."""
        _instrument(vm, "step_syscall")()
        return Done(f"{vm.name} is about to make a system call")

    def _continue(self, vm: VM, value: Any, resolve: Resolve) -> Done:
        if value is not None:
            address = _address(value, resolve)
            self._set_breakpoint(vm, address, once=True)
        if vm.state == "paused":
            vm.resume()
        return Done(f"{vm.name} goes on" + (f" to {value:#x}" if isinstance(value, int) else ""))

    def _break(self, vm: VM, value: Any, resolve: Resolve) -> Done:
        address = vm.registers["pc"] if value is None else _address(value, resolve)
        remove = self._breakpoints.pop((vm.identity, address), None)
        if remove is not None:
            remove()
            return Done(f"no breakpoint at {address:#x} any more")
        self._set_breakpoint(vm, address)
        return Done(f"breakpoint at {address:#x}")

    def _set_breakpoint(self, vm: VM, address: int, once: bool = False) -> None:
        if (vm.identity, address) in self._breakpoints:
            return
        remove = _instrument(vm, "breakpoint")(address)
        self._breakpoints[vm.identity, address] = remove if callable(remove) else (lambda: None)


def _instrument(vm: VM, name: str) -> Callable[..., Any]:
    method: Callable[..., Any] | None = getattr(vm, name, None)
    if method is None:
        raise StateError(f"{name.replace('_', ' ')} is not served yet")
    return method


def _address(value: Any, resolve: Resolve) -> int:
    if isinstance(value, int):
        return value
    address = resolve(str(value))
    if address is None:
        raise ConfigurationError(f"there is no symbol {value!r} in its program (numbers begin with 0x)")
    return address


Deed = Callable[[Deeds, VM, Any, Resolve], Done]
_DEEDS: dict[str, Deed] = {
    "start": Deeds._start,
    "pause": Deeds._pause,
    "resume": Deeds._resume,
    "stop": Deeds._stop,
    "kill": Deeds._kill,
    "type": Deeds._type,
    "weight": Deeds._weight,
    "cpus": Deeds._cpus,
    "memory": Deeds._memory,
    "step": Deeds._step,
    "syscall": Deeds._syscall,
    "continue": Deeds._continue,
    "break": Deeds._break,
}
