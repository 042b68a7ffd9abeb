"""What the operator asks for, done to a hypervisor in this process: one table of verbs.

A deed answers with what to say and how to undo it; what cannot be done raises SandboxError with a sentence. What the
debugger leaves in a VM (breakpoints, a wait for the next call) is kept here and taken back by `close`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from sandbox.dashboard.source import Done, Request
from sandbox.errors import ConfigurationError, StateError
from sandbox.hypervisor import Hypervisor
from sandbox.quantity import parse_duration, parse_size
from sandbox.scheduler import POLICIES
from sandbox.vm import VM
from sandbox.vm.inspection import Hit, Syscall

Resolve = Callable[[str], "int | None"]
_ALIVE = ("running", "paused")


class Deeds:
    def __init__(self, hypervisor: Hypervisor) -> None:
        self._hypervisor = hypervisor
        self._breakpoints: dict[tuple[str, int], Callable[[], None]] = {}  # and how to remove each
        self._waits: dict[str, Callable[[], None]] = {}  # for the next call, or for an address to continue to
        self._stops: dict[str, bytes] = {}  # why each was paused

    def breakpoints(self, vm: str) -> frozenset[int]:
        return frozenset(address for owner, address in self._breakpoints if owner == vm)

    def stopped_at(self, vm: str) -> bytes:
        return self._stops.get(vm, b"")

    def close(self) -> None:
        """Nobody will be there to resume what a breakpoint pauses."""
        for remove in (*self._breakpoints.values(), *self._waits.values()):
            remove()
        self._breakpoints.clear()
        self._waits.clear()

    def perform(self, request: Request, resolve: Resolve) -> Done:
        if request.vm:
            deed = _DEEDS.get(request.verb)
            if deed is None:
                raise ConfigurationError(f"{request.verb} is not something that can be done to a VM")
            return deed(self, self._hypervisor.vm_with_identity(request.vm), request.value, resolve)
        change = _CHANGES.get(request.verb)
        if change is None:
            raise ConfigurationError(f"{request.verb} is not something that can be changed")
        return change(self, request.value)

    # --- lives ---

    def _start(self, vm: VM, value: Any, resolve: Resolve) -> Done:
        vm.start()
        return Done(f"{vm.name} is started")

    def _pause(self, vm: VM, value: Any, resolve: Resolve) -> Done:
        self._forget_wait(vm)
        vm.pause()
        return Done(f"{vm.name} is paused; s steps, Space resumes")

    def _resume(self, vm: VM, value: Any, resolve: Resolve) -> Done:
        self._leave(vm)
        vm.resume()
        return Done(f"{vm.name} runs again")

    def _stop(self, vm: VM, value: Any, resolve: Resolve) -> Done:
        self._leave(vm)
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
        if value in ("+", "-"):
            value = vm.config.weight * 2 if value == "+" else max(1, vm.config.weight // 2)
        return self._limit(vm, "weight", value, str(value))

    def _cpus(self, vm: VM, value: Any, resolve: Resolve) -> Done:
        if value in ("+", "-"):
            cap = vm.config.cpus if vm.config.cpus is not None else 1.0 if value == "-" else None
            if cap is None:
                raise StateError(f"{vm.name} has no cap on its CPU time: < gives it one")
            more = cap * 2 if value == "+" else cap / 2
            value = None if value == "+" and cap >= 1 else max(0.01, min(more, 1.0))
        return self._limit(vm, "cpus", value, "no cap" if value is None else f"{value:g} cores at most")

    def _memory(self, vm: VM, value: Any, resolve: Resolve) -> Done:
        if value in ("+", "-"):
            value = vm.config.memory * 2 if value == "+" else vm.config.memory // 2
        return self._limit(vm, "memory", value, f"{value >> 10} KiB at most")

    # --- debugging ---

    def _step(self, vm: VM, value: Any, resolve: Resolve) -> Done:
        count = int(value or 1)
        self._require_paused(vm)
        vm.step(count)
        return Done(f"{count} instruction{'s' if count > 1 else ''} of {vm.name}")

    def _syscall(self, vm: VM, value: Any, resolve: Resolve) -> Done:
        """On until right after the next call, or into it where it sleeps."""
        if vm.config.board is not None:
            raise StateError(f"{vm.name} is a board: it makes no system calls")
        self._require_paused(vm)
        self._waits[vm.identity] = vm.step_syscall(partial(self._called, vm))
        return Done(f"{vm.name} runs on to its next system call")

    def _called(self, vm: VM, call: Syscall) -> None:
        self._waits.pop(vm.identity, None)
        self._stops[vm.identity] = b"after " + call.name.encode()

    def _continue(self, vm: VM, value: Any, resolve: Resolve) -> Done:
        if vm.state not in _ALIVE:
            raise StateError(f"{vm.name} is {vm.state}: it cannot go on")
        self._leave(vm)
        words = ""
        if value is not None:
            address = _address(value, resolve)
            words = f" to {value:#x}" if isinstance(value, int) else f" to {value}"
            if (vm.identity, address) not in self._breakpoints:
                self._waits[vm.identity] = vm.breakpoint(address, partial(self._hit, vm, str(value), True))
        if vm.state == "paused":
            vm.resume()
        return Done(f"{vm.name} goes on{words}")

    def _break(self, vm: VM, value: Any, resolve: Resolve) -> Done:
        address = vm.registers["pc"] if value is None else _address(value, resolve)
        undo = Request("break", vm.identity, address)
        remove = self._breakpoints.pop((vm.identity, address), None)
        if remove is not None:
            remove()
            return Done(f"no breakpoint at {address:#x} any more", undo)
        shown = f"breakpoint {value}" if isinstance(value, str) else "a breakpoint"
        self._breakpoints[vm.identity, address] = vm.breakpoint(address, partial(self._hit, vm, shown, False))
        return Done(f"breakpoint at {address:#x}" + ("; c continues to it" if vm.state == "paused" else ""), undo)

    def _hit(self, vm: VM, shown: str, once: bool, hit: Hit) -> None:
        """In the thread of the guest, whose turn ends here."""
        self._stops[vm.identity] = b"at " + shown.encode("utf-8", "surrogateescape")
        vm.pause()
        if once:
            self._forget_wait(vm)

    def _forget_wait(self, vm: VM) -> None:
        forget = self._waits.pop(vm.identity, None)
        if forget is not None:
            forget()

    def _leave(self, vm: VM) -> None:
        """It moves on from where it stopped."""
        self._forget_wait(vm)
        self._stops.pop(vm.identity, None)

    def _require_paused(self, vm: VM) -> None:
        if vm.state == "running":
            raise StateError(f"{vm.name} is running: Space pauses it")
        self._leave(vm)

    # --- the scheduler ---

    def _policy(self, value: Any) -> Done:
        room = self._hypervisor
        before, names = room.policy, tuple(POLICIES)
        room.set_policy(names[(names.index(before) + 1) % len(names)] if value == "next" else str(value))
        return Done(f"scheduling is {room.policy}", Request("policy", "", before))

    def _quantum(self, value: Any) -> Done:
        room = self._hypervisor
        before = room.quantum
        if value in ("+", "-"):
            room.set_quantum(before * 2 if value == "+" else before // 2)
        elif isinstance(value, int):
            room.set_quantum(value)
        else:
            text = str(value)
            room.set_quantum(parse_size(text, "a quantum") if room.exact else parse_duration(text, "a quantum"))
        unit = "code bytes" if room.exact else "ns"
        return Done(f"a turn is at most {room.quantum:,} {unit}", Request("quantum", "", before))


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
_CHANGES: dict[str, Callable[[Deeds, Any], Done]] = {"policy": Deeds._policy, "quantum": Deeds._quantum}
