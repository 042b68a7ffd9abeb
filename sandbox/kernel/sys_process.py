"""What a process is and how it ends: ids, groups and sessions, exit, prctl, thread registration, personality.

Creating processes is in `sys_clone` and `sys_exec`, waiting for them in `sys_wait`. Source: exit_group(2),
setpgid(2), setsid(2), prctl(2), arch_prctl(2), set_thread_area(2), set_robust_list(2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi import flags
from sandbox.abi.errno import EACCES, EFAULT, EINVAL, ENOSYS, EPERM, ESRCH, Errno
from sandbox.abi.structs import USER_DESC
from sandbox.kernel import descriptors
from sandbox.kernel.constant_calls import constant
from sandbox.kernel.lifecycle import end_process, end_task, exit_word
from sandbox.kernel.row import FULL, PARTIAL, STUB, Row

if TYPE_CHECKING:
    from sandbox.kernel.process import Process
    from sandbox.kernel.task import Task

_USER_TOP = 0x7FFFFFFFF000


def exit_(task: Task, status: int) -> None:
    end_task(task, exit_word(status))


def exit_group(task: Task, status: int) -> None:
    end_process(task.process, exit_word(status))


def getpid(task: Task) -> int:
    return task.process.pid


def gettid(task: Task) -> int:
    return task.tid


def getppid(task: Task) -> int:
    parent = task.process.parent
    return parent.pid if parent is not None else 0


def set_tid_address(task: Task, address: int) -> int:
    task.clear_tid = address
    return task.tid


def set_robust_list(task: Task, head: int, length: int) -> int:
    if length != 3 * task.word:
        raise Errno(EINVAL)
    task.robust_list = (head, length)
    return 0


def get_robust_list(task: Task, pid: int, head: int, length: int) -> int:
    target = task if pid == 0 else task.kernel.tasks.get(pid)
    if target is None:
        raise Errno(ESRCH)
    if target.process is not task.process and not task.credentials.capable(19):
        raise Errno(EPERM)
    word = task.word
    task.space.copy_out(length, (3 * word).to_bytes(word, "little"))
    task.space.copy_out(head, target.robust_list[0].to_bytes(word, "little"))
    return 0


# -- process groups and sessions ---------------------------------------------------------------------------


def find_process(task: Task, pid: int) -> Process:
    """0 is the caller's own. Raises Errno(ESRCH)."""
    process = task.process if pid == 0 else task.kernel.processes.get(pid)
    if process is None:
        raise Errno(ESRCH)
    return process


def setpgid(task: Task, pid: int, group: int) -> int:
    if group < 0:
        raise Errno(EINVAL)
    caller = task.process
    target = find_process(task, pid)
    if target is not caller and target.parent is not caller:
        raise Errno(ESRCH)
    if target is not caller and target.session != caller.session:
        raise Errno(EPERM)
    if target is not caller and target.executed:
        raise Errno(EACCES)
    if target.session == target.pid:
        raise Errno(EPERM)
    group = group or target.pid
    if group != target.pid and not any(
        other.group == group and other.session == caller.session for other in task.kernel.processes.values()
    ):
        raise Errno(EPERM)
    target.group = group
    return 0


def getpgid(task: Task, pid: int) -> int:
    return find_process(task, pid).group


def getpgrp(task: Task) -> int:
    return task.process.group


def setsid(task: Task) -> int:
    process = task.process
    if any(other.group == process.pid for other in task.kernel.processes.values()):
        raise Errno(EPERM)
    process.session = process.group = process.pid
    process.terminal = None
    return process.pid


def getsid(task: Task, pid: int) -> int:
    return find_process(task, pid).session


# -- prctl -------------------------------------------------------------------------------------------------


def prctl(task: Task, option: int, first: int, second: int, third: int, fourth: int) -> int:
    process, space = task.process, task.space
    match option:
        case flags.PR_SET_NAME:
            task.name = _name(task, first)
        case flags.PR_GET_NAME:
            space.copy_out(first, task.name[:15].ljust(16, b"\0"))
        case flags.PR_SET_PDEATHSIG:
            if first > 64:
                raise Errno(EINVAL)
            process.death_signal = first
        case flags.PR_GET_PDEATHSIG:
            space.copy_out(first, process.death_signal.to_bytes(4, "little"))
        case flags.PR_GET_DUMPABLE:
            return process.dumpable
        case flags.PR_SET_DUMPABLE:
            if first > 1:
                raise Errno(EINVAL)
            process.dumpable = first
        case flags.PR_GET_KEEPCAPS:
            return int(process.keep_capabilities)
        case flags.PR_SET_KEEPCAPS:
            if first > 1:
                raise Errno(EINVAL)
            process.keep_capabilities = bool(first)
        case flags.PR_SET_CHILD_SUBREAPER:
            process.subreaper = bool(first)
        case flags.PR_GET_CHILD_SUBREAPER:
            space.copy_out(first, int(process.subreaper).to_bytes(4, "little"))
        case flags.PR_SET_NO_NEW_PRIVS:
            if first != 1 or second or third or fourth:
                raise Errno(EINVAL)
            process.no_new_privileges = True
        case flags.PR_GET_NO_NEW_PRIVS:
            if first or second or third or fourth:
                raise Errno(EINVAL)
            return int(process.no_new_privileges)
        case flags.PR_SET_TIMERSLACK:
            task.timer_slack = first or task.default_timer_slack
        case flags.PR_GET_TIMERSLACK:
            return task.timer_slack
        case flags.PR_GET_TID_ADDRESS:
            space.copy_out(first, task.clear_tid.to_bytes(task.word, "little"))
        case flags.PR_GET_SECCOMP:
            return 0
        case flags.PR_SET_THP_DISABLE:
            if second or third or fourth:
                raise Errno(EINVAL)
            process.huge_pages_disabled = bool(first)
        case flags.PR_GET_THP_DISABLE:
            if first or second or third or fourth:
                raise Errno(EINVAL)
            return int(process.huge_pages_disabled)
        case flags.PR_SET_PTRACER:
            return 0
        case _:
            return _capability_option(task, option, first, second)
    return 0


def _name(task: Task, address: int) -> bytes:
    """At most 15 bytes and no complaint about a longer one."""
    name = bytearray()
    for offset in range(15):
        byte = task.space.copy_in(address + offset, 1)
        if byte == b"\0":
            break
        name += byte
    return bytes(name)


_KEEP_CAPS = 1 << 4  # SECBIT_KEEP_CAPS, the one of the secure bits that there is


def _capability_option(task: Task, option: int, first: int, second: int) -> int:
    credentials = task.credentials
    if option in (flags.PR_CAPBSET_READ, flags.PR_CAPBSET_DROP):
        if first > 40:
            raise Errno(EINVAL)
        if option == flags.PR_CAPBSET_READ:
            return credentials.bounding >> first & 1
        if not credentials.capable(8):
            raise Errno(EPERM)
        task.credentials = credentials.copy()
        task.credentials.bounding &= ~(1 << first)
        return 0
    if option == flags.PR_GET_SECUREBITS:
        return _KEEP_CAPS if task.process.keep_capabilities else 0
    if option == flags.PR_SET_SECUREBITS:
        if not credentials.capable(8):
            raise Errno(EPERM)
        if first & ~_KEEP_CAPS:
            raise Errno(EPERM)  # as where they are locked: root and set-id programs are never treated as others
        task.process.keep_capabilities = bool(first)
        return 0
    if option == flags.PR_CAP_AMBIENT:
        return _ambient(task, first, second)
    raise Errno(EINVAL)


def _ambient(task: Task, operation: int, capability: int) -> int:
    """PR_CAP_AMBIENT: IS_SET 1, RAISE 2, LOWER 3, CLEAR_ALL 4."""
    credentials = task.credentials
    if operation == 4 and not capability:
        task.credentials = credentials.copy()
        task.credentials.ambient = 0
        return 0
    if operation not in (1, 2, 3) or capability > 40:
        raise Errno(EINVAL)
    bit = 1 << capability
    if operation == 1:
        return int(bool(credentials.ambient & bit))
    if operation == 2 and not credentials.permitted & credentials.inheritable & bit:
        raise Errno(EPERM)
    task.credentials = credentials.copy()
    task.credentials.ambient = credentials.ambient | bit if operation == 2 else credentials.ambient & ~bit
    return 0


# -- thread pointers ---------------------------------------------------------------------------------------


def arch_prctl(task: Task, code: int, address: int) -> int:
    """x86-64: the bases of FS and GS."""
    context = task.context
    match code:
        case flags.ARCH_SET_FS | flags.ARCH_SET_GS:
            if address >= _USER_TOP:
                raise Errno(EPERM)
            context["fs_base" if code == flags.ARCH_SET_FS else "gs_base"] = address
        case flags.ARCH_GET_FS | flags.ARCH_GET_GS:
            base = context["fs_base" if code == flags.ARCH_GET_FS else "gs_base"]
            task.space.copy_out(address, base.to_bytes(8, "little"))
        case flags.ARCH_GET_CPUID:
            return 1
        case flags.ARCH_SET_CPUID:
            raise Errno(EINVAL)
        case _:
            raise Errno(EINVAL)
    return 0


def set_thread_area(task: Task, address: int) -> int:
    """i386: put a segment into one of the thread's three descriptors; entry -1 asks for a free one."""
    number, base, limit, bits = USER_DESC.unpack(task.space.copy_in(address, USER_DESC.size))
    number = set_tls(task, number, base, limit, bits)
    task.space.copy_out(address, number.to_bytes(4, "little"))
    return 0


def set_tls(task: Task, number: int, base: int, limit: int, bits: int) -> int:
    """Record and show a descriptor; return its entry number. Raises Errno: EINVAL, ESRCH when none is free."""
    first = descriptors.first_entry()
    entries = range(first, first + descriptors.ENTRIES)
    if number == 0xFFFFFFFF:
        free = [entry for entry in entries if not any(task.tls_entries.get(entry, b""))]
        if not free:
            raise Errno(ESRCH)
        number = free[0]
    if number not in entries:
        raise Errno(EINVAL)
    task.tls_entries[number] = descriptors.descriptor(base, limit, bits)
    descriptors.show(task)
    return number


def get_thread_area(task: Task, address: int) -> int:
    number = int.from_bytes(task.space.copy_in(address, 4), "little")
    first = descriptors.first_entry()
    if not first <= number < first + descriptors.ENTRIES:
        raise Errno(EINVAL)
    base, limit, bits = descriptors.fields(task.tls_entries.get(number, bytes(8)))
    task.space.copy_out(address, USER_DESC.pack(number, base, limit, bits))
    return 0


def arm_set_tls(task: Task, address: int) -> int:
    task.context["tp"] = address
    return 0


def arm_get_tls(task: Task) -> int:
    return task.context["tp"]


def flush_instructions(task: Task, start: int, end: int, how: int) -> int:
    """arm cacheflush, riscv_flush_icache: a page that was written is translated anew when it is executed."""
    if end < start:
        raise Errno(EINVAL)
    return 0


def rseq(task: Task, area: int, length: int, how: int, signature: int) -> int:
    """Refused as by a kernel that was built without it, which every C library expects."""
    raise Errno(ENOSYS)


def personality(task: Task, persona: int) -> int:
    previous = task.process.personality
    if persona != 0xFFFFFFFF:
        task.process.personality = persona
    return previous


def modify_ldt(task: Task, function: int, pointer: int, count: int) -> int:
    """No local descriptor table: reading gives an empty one."""
    if function in (0, 2):
        if function == 2:
            task.space.copy_out(pointer, bytes(min(count, 65536)))
        return 0
    raise Errno(ENOSYS if function not in (1, 0x11) else EFAULT if not pointer else EINVAL)


ROWS: tuple[Row, ...] = (
    Row("exit", exit_, "status:int", FULL),
    Row("exit_group", exit_group, "status:int", FULL),
    Row("getpid", constant("getpid", (), getpid), "", FULL),
    Row("gettid", constant("gettid", (), gettid), "", FULL),
    Row("getppid", constant("getppid", (), getppid), "", FULL),
    Row("set_tid_address", set_tid_address, "address:address", FULL),
    Row("set_robust_list", set_robust_list, "head:address length:size", FULL),
    Row("get_robust_list", get_robust_list, "pid:pid head:out length:out", FULL),
    Row("setpgid", setpgid, "pid:pid group:pid", FULL),
    Row("getpgid", getpgid, "pid:pid", FULL),
    Row("getpgrp", getpgrp, "", FULL),
    Row("setsid", setsid, "", FULL),
    Row("getsid", getsid, "pid:pid", FULL),
    Row("prctl", prctl, "option:choice:prctl first:ulong second:ulong third:ulong fourth:ulong", PARTIAL,
        "names, death signals, subreapers, capabilities; no seccomp, no PR_SET_MM"),
    Row("arch_prctl", arch_prctl, "code:choice:arch_prctl address:ulong", FULL, isas=("x86_64",)),
    Row("set_thread_area", set_thread_area, "descriptor:inout", FULL, isas=("i386",)),
    Row("get_thread_area", get_thread_area, "descriptor:inout", FULL, isas=("i386",)),
    Row("modify_ldt", modify_ldt, "function:int pointer:inout count:ulong", STUB, "an empty, unchangeable table"),
    Row("ARM_set_tls", arm_set_tls, "address:address", FULL),
    Row("ARM_get_tls", arm_get_tls, "", FULL),
    Row("ARM_cacheflush", flush_instructions, "start:address end:address flags:uint", STUB,
        "nothing to do: written pages are translated anew"),
    Row("riscv_flush_icache", flush_instructions, "start:address end:address flags:ulong", STUB,
        "nothing to do: written pages are translated anew"),
    Row("rseq", rseq, "area:address length:uint flags:int signature:uint", STUB, "ENOSYS, as without CONFIG_RSEQ"),
    Row("personality", personality, "persona:uint", PARTIAL, "recorded; changes only what uname says"),
)  # fmt: skip
