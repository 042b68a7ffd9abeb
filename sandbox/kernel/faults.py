"""What a task did that the CPU would not: page faults that cannot be resolved, and traps, as signals.

Which signal and which si_code follows Linux (sigaction(2), `arch/*/mm/fault.c`, `arch/*/kernel/traps.c`). The engine
knows only the page of a fault; a fatal or signalled one is replayed to find the address (si_addr).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi.errno import Errno
from sandbox.abi.signals import (
    BUS_ADRALN,
    BUS_ADRERR,
    FPE_FLTINV,
    FPE_INTDIV,
    ILL_ILLOPC,
    SEGV_ACCERR,
    SEGV_MAPERR,
    SI_KERNEL,
    SIGBUS,
    SIGFPE,
    SIGILL,
    SIGKILL,
    SIGSEGV,
    SIGTRAP,
    TRAP_BRKPT,
    TRAP_TRACE,
)
from sandbox.engine import Access, Engine, Stop, StopReason, Trap, fault_address
from sandbox.errors import OutOfMemory
from sandbox.events import LimitReached
from sandbox.kernel import breakpoints
from sandbox.kernel.counters import serve_counter
from sandbox.kernel.lifecycle import end_process, signal_word
from sandbox.kernel.signals import SignalInfo, force

if TYPE_CHECKING:
    from sandbox.kernel.linux import LinuxMachine
    from sandbox.kernel.task import Task

_PAGE_FAULT = 14
_LONGEST_BLOCK = 512  # instructions

_TRAPS: dict[Trap, tuple[int, int]] = {
    Trap.ILLEGAL_INSTRUCTION: (SIGILL, ILL_ILLOPC),
    Trap.DIVIDE_ERROR: (SIGFPE, FPE_INTDIV),
    Trap.BREAKPOINT: (SIGTRAP, TRAP_BRKPT),
    Trap.PROTECTION: (SIGSEGV, SI_KERNEL),
    Trap.FLOATING_POINT: (SIGFPE, FPE_FLTINV),
    Trap.OVERFLOW: (SIGSEGV, SI_KERNEL),
    Trap.BOUNDS: (SIGSEGV, SI_KERNEL),
    Trap.ALIGNMENT: (SIGBUS, BUS_ADRALN),
    Trap.SINGLE_STEP: (SIGTRAP, TRAP_TRACE),
    Trap.ENVIRONMENT_CALL: (SIGILL, ILL_ILLOPC),
    Trap.OTHER: (SIGILL, ILL_ILLOPC),
}
_VERBS = {Access.READ: "read", Access.WRITE: "write", Access.FETCH: "instruction fetch"}


def serve_stop(kernel: LinuxMachine, engine: Engine, task: Task, stop: Stop) -> bool:
    """Every stop that is neither a syscall nor the end of the budget. True: the guest will not have noticed."""
    match stop.reason:
        case StopReason.FAULT:
            return serve_fault(kernel, engine, task, stop)
        case StopReason.TRAP | StopReason.HALT:
            serve_trap(kernel, task, stop)
        case StopReason.BREAKPOINT:
            breakpoints.serve(kernel, task, stop.address)
        case _:
            kernel.kill(f"the engine failed: {stop.error}", 125)
    return False


def serve_fault(kernel: LinuxMachine, engine: Engine, task: Task, stop: Stop) -> bool:
    """Bring the page (True), or signal the task."""
    space, address, access = task.space, stop.address, stop.access
    if stop.out_of_memory == "vm":  # a full pool may yet be reclaimed from
        out_of_memory(task, "vm")
        return False
    try:
        if space.resolve(address, access):
            if not kernel.deterministic:  # how many there are depends on the memory that others use
                task.usage.minor += 1
            return True
    except OutOfMemory as error:
        out_of_memory(task, error.scope)
        return False
    fault = space.fault
    if fault == "oom":
        out_of_memory(task, "vm")
        return False
    if access is Access.FETCH:
        address = _fetch_address(engine, task, stop)
        access, fault = stop.access, space.fault if stop.reason is StopReason.FAULT else fault
    else:
        address = _data_address(task, stop)
    kernel.stats.faults[fault] += 1
    pc = task.context.pc
    number, code, why = {
        "bus": (SIGBUS, BUS_ADRERR, "beyond the end of the mapped file"),
        "accerr": (SIGSEGV, SEGV_ACCERR, "which its protection does not allow"),
    }.get(fault, (SIGSEGV, SEGV_MAPERR, "where nothing is mapped"))
    reason = f"{_VERBS[access]} at {address:#x}, {why} (pc {pc:#x})"
    bits = _error_code(access, fault)
    force(task, SignalInfo(number, code, address=address, trap=_PAGE_FAULT, error=bits, reason=reason))
    return False


def out_of_memory(task: Task, scope: str) -> None:
    """There is no frame for a page the task needs: its process is killed, and the reason is said."""
    kernel, account = task.kernel, task.kernel.account
    whose = "the virtual machine's memory limit" if scope == "vm" else "the host process's memory budget"
    used, limit = account.used * 4096 >> 20, account.limit * 4096 >> 20
    reason = f"out of memory: {whose} is used up ({used} of {limit} MiB); process {task.tgid} was killed"
    if kernel.events is not None:
        kernel.events.record(LimitReached("memory", reason))
    if task.process.pid == 1:
        kernel.death = reason
    end_process(task.process, signal_word(SIGKILL))


def _error_code(access: Access, fault: str) -> int:
    """The x86 page fault error code: present, write, user, fetch."""
    return int(fault == "accerr") | (2 if access is Access.WRITE else 0) | 4 | (16 if access is Access.FETCH else 0)


def _data_address(task: Task, stop: Stop) -> int:
    """Where exactly the load or store went: the instruction is replayed on a scratch CPU."""
    space, page = task.space, stop.address

    def pages(address: int, access: Access) -> bytes | None:
        try:
            return space.read(address, 4096) if space.resolve(address, access) else None
        except (Errno, OutOfMemory):
            return None

    found = fault_address(task.context, pages)
    return found[0] if found is not None and found[0] & -4096 == page else page


def _fetch_address(engine: Engine, task: Task, stop: Stop) -> int:
    """Where exactly the fetch failed. On x86 a block that runs into such a page stops at the block's start: go on
    one instruction at a time, until the one that fails is reached."""
    if not task.kernel.isa.block_start_faults:
        return task.context.pc
    for _ in range(_LONGEST_BLOCK):
        if task.context.pc >> 12 == stop.address >> 12:
            break
        last = engine.step(task.context, task.space)
        if last.reason is not StopReason.BUDGET:
            break
    return max(task.context.pc, stop.address) if stop.reason is StopReason.FAULT else task.context.pc


def serve_trap(kernel: LinuxMachine, task: Task, stop: Stop) -> None:
    trap = Trap.PROTECTION if stop.reason is StopReason.HALT else stop.trap
    if trap is Trap.ILLEGAL_INSTRUCTION and serve_counter(task):
        return
    number, code = _TRAPS[trap]
    kernel.stats.faults[trap.value] += 1
    pc = task.context.pc
    if trap is Trap.BREAKPOINT and kernel.isa.name in ("x86_64", "i386"):
        code = SI_KERNEL
    address = 0 if code == SI_KERNEL else pc
    reason = f"{trap.value} at pc {pc:#x}"
    force(task, SignalInfo(number, code, address=address, trap=stop.vector & 0xFF, reason=reason))
