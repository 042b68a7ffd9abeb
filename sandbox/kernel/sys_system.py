"""The machine as a whole: its name, memory and uptime, randomness, the log. Source: uname(2), sysinfo(2),
getrandom(2), sethostname(2), syslog(2), getcpu(2), reboot(2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi.errno import EFAULT, EINVAL, EPERM, Errno
from sandbox.abi.flags import GRND_INSECURE, GRND_NONBLOCK, GRND_RANDOM
from sandbox.abi.structs import NANOSECONDS, pack_sysinfo, pack_utsname
from sandbox.kernel.pieces import BYTES_AT_ONCE, give_way
from sandbox.kernel.row import FULL, PARTIAL, STUB, Row

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

SYSNAME = b"Linux"
RELEASE = b"6.1.0"
VERSION = b"#1 SMP sandbox"
MACHINES = {"x86_64": b"x86_64", "i386": b"i686", "arm64": b"aarch64", "arm": b"armv7l", "riscv64": b"riscv64"}
CAP_SYS_ADMIN, CAP_SYS_BOOT, CAP_SYSLOG = 21, 22, 34
PIECE = 1 << 16
_MOST_RANDOM = 0x1FFFFFF  # one getrandom gives at most 32 MiB - 1
_PER_LINUX32 = 8


def machine_name(task: Task) -> bytes:
    name = MACHINES[task.isa]
    if task.process.personality & 0xFF == _PER_LINUX32:
        return {b"x86_64": b"i686", b"aarch64": b"armv8l"}.get(name, name)
    return name


def uname(task: Task, buffer: int) -> int:
    kernel = task.kernel
    data = pack_utsname(SYSNAME, kernel.hostname, RELEASE, VERSION, machine_name(task), kernel.domain_name)
    task.space.copy_out(buffer, data)
    return 0


def olduname(task: Task, buffer: int) -> int:
    """i386: five fields of 65 bytes."""
    data = pack_utsname(SYSNAME, task.kernel.hostname, RELEASE, VERSION, machine_name(task))
    task.space.copy_out(buffer, data)
    return 0


def _new_name(task: Task, address: int, length: int) -> bytes:
    if not task.credentials.capable(CAP_SYS_ADMIN):
        raise Errno(EPERM)
    if not 0 <= length <= 64:
        raise Errno(EINVAL)
    return task.space.copy_in(address, length).split(b"\0")[0]


def sethostname(task: Task, name: int, length: int) -> int:
    task.kernel.hostname = _new_name(task, name, length)
    return 0


def setdomainname(task: Task, name: int, length: int) -> int:
    task.kernel.domain_name = _new_name(task, name, length)
    return 0


def sysinfo(task: Task, buffer: int) -> int:
    kernel = task.kernel
    account = kernel.account
    uptime = (kernel.clock.monotonic() - kernel.boot_time) // NANOSECONDS
    total, free = account.limit * 4096, max(0, account.limit - account.used) * 4096
    task.space.copy_out(buffer, pack_sysinfo(task.isa, uptime, total, free, len(kernel.tasks)))
    return 0


def getrandom(task: Task, buffer: int, count: int, how: int) -> int:
    if how & ~(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE) or how & 6 == 6:
        raise Errno(EINVAL)
    count = min(count, _MOST_RANDOM)
    done: int = task.restart.get("done", 0)
    pause = done + BYTES_AT_ONCE
    while done < count:
        if done >= pause:
            task.restart["done"] = done
            give_way(task)
        size = min(PIECE, count - done)
        try:
            task.space.copy_out(buffer + done, task.kernel.entropy.bytes(size))
        except Errno:
            if done:
                return done
            raise
        done += size
    return done


def getcpu(task: Task, cpu: int, node: int, cache: int) -> int:
    for address in (cpu, node):
        if address:
            task.space.copy_out(address, bytes(4))
    return 0


def syslog(task: Task, kind: int, buffer: int, length: int) -> int:
    """There is no kernel log for a guest: it is empty."""
    if kind not in range(11):
        raise Errno(EINVAL)
    if kind not in (3, 10) and not task.credentials.capable(CAP_SYSLOG):
        raise Errno(EPERM)
    if kind in (2, 3, 4):
        if not buffer or length < 0:
            raise Errno(EINVAL)
        if length and not task.space.writable(buffer, 1):
            raise Errno(EFAULT)
    if kind == 8 and not 1 <= length <= 8:
        raise Errno(EINVAL)
    return 16384 if kind == 10 else 0


_MAGIC, _MAGICS = 0xFEE1DEAD, (672274793, 85072278, 369367448, 537993216)
_CAD_ON, _CAD_OFF = 0x89ABCDEF, 0
_RESTART, _RESTART2, _HALT, _POWER_OFF = 0x01234567, 0xA1B2C3D4, 0xCDEF0123, 0x4321FEDC


def reboot(task: Task, magic: int, magic2: int, command: int, argument: int) -> int | None:
    """Halting, switching off and restarting all end the machine: nobody here would start it again."""
    if not task.credentials.capable(CAP_SYS_BOOT):
        raise Errno(EPERM)
    if magic != _MAGIC or magic2 not in _MAGICS:
        raise Errno(EINVAL)
    if command in (_CAD_ON, _CAD_OFF):
        return 0
    if command not in (_RESTART, _RESTART2, _HALT, _POWER_OFF):
        raise Errno(EINVAL)
    task.kernel.power_off()
    return None


ROWS: tuple[Row, ...] = (
    Row("uname", uname, "buffer:out", FULL),
    Row("olduname", olduname, "buffer:out", FULL),
    Row("sethostname", sethostname, "name:in length:int", FULL),
    Row("setdomainname", setdomainname, "name:in length:int", FULL),
    Row("sysinfo", sysinfo, "buffer:out", PARTIAL, "no load averages, no swap"),
    Row("getrandom", getrandom, "buffer:out count:size flags:flags:grnd", FULL),
    Row("getcpu", getcpu, "cpu:out node:out cache:address", FULL),
    Row("syslog", syslog, "type:int buffer:out length:int", STUB, "an empty log"),
    Row(
        "reboot", reboot, "magic:uint magic2:uint command:uint argument:address", PARTIAL, "every form ends the machine"
    ),
)
