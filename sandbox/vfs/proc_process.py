"""The text of the files in /proc/PID: formats as in proc(5) and fs/proc/array.c, from a `ProcessView`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.abi.errno import ESRCH, Errno
from sandbox.vfs.mount import Mounts, Place
from sandbox.vfs.proc_views import ProcessView

if TYPE_CHECKING:
    from sandbox.memory import Region
    from sandbox.vfs.node import OpenFile

TICK = 10_000_000  # nanoseconds: USER_HZ is 100
UNLIMITED = (1 << 64) - 1
_STATES = {
    "R": "R (running)", "S": "S (sleeping)", "D": "D (disk sleep)", "T": "T (stopped)", "t": "t (tracing stop)",
    "Z": "Z (zombie)", "X": "X (dead)",
}  # fmt: skip
_LIMITS = (
    ("Max cpu time", "seconds"), ("Max file size", "bytes"), ("Max data size", "bytes"), ("Max stack size", "bytes"),
    ("Max core file size", "bytes"), ("Max resident set", "bytes"), ("Max processes", "processes"),
    ("Max open files", "files"), ("Max locked memory", "bytes"), ("Max address space", "bytes"),
    ("Max file locks", "locks"), ("Max pending signals", "signals"), ("Max msgqueue size", "bytes"),
    ("Max nice priority", ""), ("Max realtime priority", ""), ("Max realtime timeout", "us"),
)  # fmt: skip


def escaped(path: bytes) -> bytes:
    """As seq_path: what would end a field or a line becomes octal."""
    for character in b"\\ \t\n":
        path = path.replace(bytes((character,)), b"\\%03o" % character)
    return path


def _place(place: Place | None) -> bytes:
    if place is None:
        raise Errno(ESRCH)
    return place.path()


# -- memory -----------------------------------------------------------------------------------------------


def _permissions(region: Region) -> str:
    bits = "".join(letter if region.protection & bit else "-" for letter, bit in (("r", 1), ("w", 2), ("x", 4)))
    return bits + ("s" if region.shared else "p")


def map_line(region: Region) -> bytes:
    node = getattr(region.source, "node", None)
    device, ino = (node.filesystem.device, node.ino) if node is not None else (0, 0)
    line = (
        f"{region.start:08x}-{region.end:08x} {_permissions(region)} {region.offset:08x} "
        f"{device >> 8 & 0xFFF:02x}:{device & 0xFF:02x} {ino} "
    ).encode()
    if region.name:
        line = line.ljust(73) + region.name.replace(b"\n", b"\\012")
    return line + b"\n"


def maps(view: ProcessView) -> bytes:
    return b"".join(map_line(region) for region in view.regions())


def smaps(view: ProcessView) -> bytes:
    lines = []
    for region in view.regions():
        lines.append(map_line(region))
        size, resident = region.length >> 10, view.resident_in(region) >> 10
        lines.append(
            b"Size:           %8d kB\nKernelPageSize:        4 kB\nMMUPageSize:           4 kB\n" % size
            + b"Rss:            %8d kB\n" % resident
            + b"Locked:         %8d kB\n" % (resident if region.locked else 0)
        )
    return b"".join(lines)


def _sizes(view: ProcessView) -> tuple[int, int, int, int]:
    """Bytes of the whole, of code, of private writable data, of the stack."""
    total = code = data = stack = 0
    for region in view.regions():
        total += region.length
        if region.protection & 4:
            code += region.length
        elif region.grows_down or region.name == b"[stack]":
            stack += region.length
        elif region.protection & 2 and not region.shared:
            data += region.length
    return total, code, data, stack


def statm(view: ProcessView) -> bytes:
    total, code, data, stack = _sizes(view)
    return b"%d %d 0 %d 0 %d 0\n" % (total >> 12, view.resident >> 12, code >> 12, data + stack >> 12)


# -- the state of the process --------------------------------------------------------------------------------


def stat(view: ProcessView) -> bytes:
    times, faults, signals = view.times, view.faults, view.signals
    total = _sizes(view)[0]
    priority = 20 + view.nice
    fields = [
        view.parent, view.group, view.session, view.terminal, view.foreground, 0x400000, faults[0], 0, faults[1], 0,
        times.user // TICK, times.system // TICK, times.children_user // TICK, times.children_system // TICK,
        priority, view.nice, len(view.threads), 0, times.started // TICK, total, view.resident >> 12, UNLIMITED,
        0, 0, 0, 0, 0, signals.pending & 0x7FFFFFFF, signals.blocked & 0x7FFFFFFF, signals.ignored & 0x7FFFFFFF,
        signals.caught & 0x7FFFFFFF, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ]  # fmt: skip
    return b"%d (%s) %s %s\n" % (view.tid, view.name, view.state.encode(), " ".join(map(str, fields)).encode())


def status(view: ProcessView) -> bytes:
    total, code, data, stack = _sizes(view)
    signals, capabilities = view.signals, view.capabilities
    name = view.name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
    lines = [
        f"Umask:\t{view.umask:04o}",
        f"State:\t{_STATES.get(view.state, view.state)}",
        f"Tgid:\t{view.pid}",
        "Ngid:\t0",
        f"Pid:\t{view.tid}",
        f"PPid:\t{view.parent}",
        "TracerPid:\t0",
        "Uid:\t" + "\t".join(map(str, view.uids)),
        "Gid:\t" + "\t".join(map(str, view.gids)),
        "FDSize:\t64",
        "Groups:\t" + "".join(f"{group} " for group in view.groups),
        f"NStgid:\t{view.pid}",
        f"NSpid:\t{view.tid}",
        f"NSpgid:\t{view.group}",
        f"NSsid:\t{view.session}",
    ]
    if total:
        peak = max(view.peak, view.resident)
        locked = sum(region.length for region in view.regions() if region.locked)
        for label, size in (
            ("VmPeak", total), ("VmSize", total), ("VmLck", locked), ("VmPin", 0), ("VmHWM", peak),
            ("VmRSS", view.resident), ("RssAnon", view.resident), ("RssFile", 0), ("RssShmem", 0), ("VmData", data),
            ("VmStk", stack), ("VmExe", code), ("VmLib", 0), ("VmPTE", 0), ("VmSwap", 0),
        ):  # fmt: skip
            lines.append(f"{label}:\t{size >> 10:8d} kB")
    lines += [
        f"Threads:\t{len(view.threads)}",
        f"SigQ:\t{signals.queued}/{view.limits[11][0]}",
        f"SigPnd:\t{signals.pending:016x}",
        f"ShdPnd:\t{signals.shared_pending:016x}",
        f"SigBlk:\t{signals.blocked:016x}",
        f"SigIgn:\t{signals.ignored:016x}",
        f"SigCgt:\t{signals.caught:016x}",
        f"CapInh:\t{capabilities.inheritable:016x}",
        f"CapPrm:\t{capabilities.permitted:016x}",
        f"CapEff:\t{capabilities.effective:016x}",
        f"CapBnd:\t{capabilities.bounding:016x}",
        f"CapAmb:\t{capabilities.ambient:016x}",
        "NoNewPrivs:\t0",
        "Seccomp:\t0",
        "Cpus_allowed:\t1",
        "Cpus_allowed_list:\t0",
        "Mems_allowed:\t1",
        "Mems_allowed_list:\t0",
        f"voluntary_ctxt_switches:\t{view.switches[0]}",
        f"nonvoluntary_ctxt_switches:\t{view.switches[1]}",
    ]
    return b"Name:\t" + name + b"\n" + "\n".join(lines).encode() + b"\n"


def limits(view: ProcessView) -> bytes:
    def shown(value: int) -> str:
        return "unlimited" if value >= UNLIMITED else str(value)

    lines = [f"{'Limit':<25} {'Soft Limit':<20} {'Hard Limit':<20} {'Units':<10}\n"]
    for (name, unit), (soft, hard) in zip(_LIMITS, view.limits, strict=False):
        lines.append(f"{name:<25} {shown(soft):<20} {shown(hard):<20} {unit:<10}\n")
    return "".join(lines).encode()


def io(view: ProcessView) -> bytes:
    names = ("rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes", "cancelled_write_bytes")
    return "".join(f"{name}: 0\n" for name in names).encode()


# -- mounts --------------------------------------------------------------------------------------------------


def _visible(table: Mounts, view: ProcessView) -> list[tuple[bytes, int, int, str, str, bytes, int]]:
    """(path, number, parent, type, options, source, device) of what lies below the process's root."""
    root = view.root()
    result = []
    for mount in table.table():
        path = mount.place.path(root)
        if not path.startswith(b"(unreachable)"):
            options = "ro,relatime" if mount.read_only else "rw,relatime"
            device = mount.filesystem.device
            result.append((path, mount.number, mount.parent, mount.filesystem.name, options, mount.source, device))
    return result


def mounts(table: Mounts, view: ProcessView) -> bytes:
    return b"".join(
        b"%s %s %s %s 0 0\n" % (escaped(source), escaped(path), kind.encode(), options.encode())
        for path, _, _, kind, options, source, _ in _visible(table, view)
    )


def mountinfo(table: Mounts, view: ProcessView) -> bytes:
    return b"".join(
        b"%d %d %d:%d / %s %s - %s %s %s\n"
        % (number, parent, device >> 8 & 0xFFF, device & 0xFF, escaped(path), options.encode(), kind.encode(),
           escaped(source), options.split(",")[0].encode())
        for path, number, parent, kind, options, source, device in _visible(table, view)
    )  # fmt: skip


# -- descriptors ---------------------------------------------------------------------------------------------


def find_file(view: ProcessView, fd: int) -> tuple[OpenFile, bool] | None:
    return next(((file, close_on_exec) for number, file, close_on_exec in view.files() if number == fd), None)


def fdinfo(file: OpenFile, close_on_exec: bool) -> bytes:
    mount = file.place.mount.number if file.place is not None else 0
    flags = file.flags | (0o2000000 if close_on_exec else 0)
    general = f"pos:\t{file.position}\nflags:\t0{flags:o}\nmnt_id:\t{mount}\nino:\t{file.node.ino}\n".encode()
    return general + file.described()


# name -> (mode, function). What needs more than the view is in `procfs`.
FILES: dict[bytes, tuple[int, Callable[[ProcessView], bytes]]] = {
    b"cmdline": (0o444, lambda view: view.command_line()),
    b"environ": (0o400, lambda view: view.environment()),
    b"auxv": (0o400, lambda view: view.auxiliary()),
    b"maps": (0o444, maps),
    b"smaps": (0o444, smaps),
    b"stat": (0o444, stat),
    b"statm": (0o444, statm),
    b"status": (0o444, status),
    b"limits": (0o444, limits),
    b"io": (0o400, io),
    b"cgroup": (0o444, lambda view: b"0::/\n"),
    b"personality": (0o400, lambda view: b"00000000\n"),
    b"wchan": (0o444, lambda view: b"0"),
    b"loginuid": (0o444, lambda view: b"4294967295"),
    b"sessionid": (0o444, lambda view: b"4294967295"),
    b"oom_score": (0o444, lambda view: b"0\n"),
    b"uid_map": (0o444, lambda view: b"         0          0 4294967295\n"),
    b"gid_map": (0o444, lambda view: b"         0          0 4294967295\n"),
    b"setgroups": (0o444, lambda view: b"allow\n"),
    b"schedstat": (0o444, lambda view: b"%d 0 0\n" % (view.times.user + view.times.system)),
}

# Magic links: where they lead.
LINKS: dict[bytes, Callable[[ProcessView], Place | None]] = {
    b"exe": lambda view: view.executable(),
    b"cwd": lambda view: view.cwd(),
    b"root": lambda view: view.root(),
}
