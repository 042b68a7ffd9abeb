"""The text of the files in /proc that are about the whole machine, and of /proc/sys. Source: proc(5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Union

from sandbox.abi.errno import EINVAL, Errno
from sandbox.vfs.proc_views import SystemView

NANOSECONDS = 1_000_000_000
TICK = 10_000_000

# What a libc or a build script looks for. The feature words agree with the CPU models of `sandbox.engine.isa`: no
# AVX on x86-64, an A72-like arm64, RV64GC.
_CPUINFO: dict[str, str] = {
    "x86_64": (
        "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 44\nmodel name\t: Sandbox x86-64\nstepping\t: 1\n"
        "cpu MHz\t\t: 1000.000\ncache size\t: 4096 KB\nphysical id\t: 0\nsiblings\t: {cpus}\ncore id\t\t: {cpu}\n"
        "cpu cores\t: {cpus}\nfpu\t\t: yes\ncpuid level\t: 11\nwp\t\t: yes\n"
        "flags\t\t: fpu tsc cx8 cmov mmx fxsr sse sse2 syscall nx lm pni ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm\n"
        "bogomips\t: 2000.00\nclflush size\t: 64\naddress sizes\t: 40 bits physical, 48 bits virtual\n"
    ),
    "i386": (
        "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 6\nmodel name\t: Sandbox i686\nstepping\t: 3\n"
        "cpu MHz\t\t: 1000.000\nfpu\t\t: yes\ncpuid level\t: 4\nwp\t\t: yes\n"
        "flags\t\t: fpu tsc cx8 cmov mmx fxsr sse sse2\nbogomips\t: 2000.00\nclflush size\t: 64\n"
    ),
    "arm64": (
        "BogoMIPS\t: 100.00\nFeatures\t: fp asimd aes pmull sha1 sha2 crc32\nCPU implementer\t: 0x41\n"
        "CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n"
    ),
    "arm": (
        "model name\t: ARMv7 Processor rev 1 (v7l)\nBogoMIPS\t: 100.00\n"
        "Features\t: half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae\n"
        "CPU implementer\t: 0x41\nCPU architecture: 7\nCPU variant\t: 0x2\nCPU part\t: 0xc0f\nCPU revision\t: 1\n"
    ),
    "riscv64": "hart\t\t: {cpu}\nisa\t\t: rv64imafdc\nmmu\t\t: sv39\nuarch\t\t: sandbox\n",
}

_FILESYSTEMS = ("proc", "tmpfs", "devtmpfs", "devpts", "overlay", "pipefs", "sockfs", "hostfs", "volumefs")


def cpuinfo(view: SystemView) -> bytes:
    text = _CPUINFO.get(view.isa, "")
    blocks = [f"processor\t: {cpu}\n" + text.format(cpu=cpu, cpus=view.cpus) for cpu in range(view.cpus)]
    return "\n".join(blocks).encode() + b"\n"


def meminfo(view: SystemView) -> bytes:
    memory = view.memory()
    available = min(memory.total, memory.free + memory.cached - memory.shared)
    used = memory.total - memory.free - memory.cached
    rows = (
        ("MemTotal", memory.total), ("MemFree", memory.free), ("MemAvailable", available), ("Buffers", 0),
        ("Cached", memory.cached), ("SwapCached", 0), ("Active", used), ("Inactive", memory.cached),
        ("SwapTotal", 0), ("SwapFree", 0), ("Dirty", 0), ("Writeback", 0), ("AnonPages", used), ("Mapped", 0),
        ("Shmem", memory.shared), ("Slab", 0), ("SReclaimable", 0), ("SUnreclaim", 0), ("PageTables", 0),
        ("CommitLimit", memory.total), ("Committed_AS", used), ("VmallocTotal", 0), ("VmallocUsed", 0),
        ("HugePages_Total", None), ("HugePages_Free", None), ("Hugepagesize", 2 << 20),
    )  # fmt: skip
    lines = []
    for name, size in rows:
        lines.append(
            f"{name + ':':<15} {0 if size is None else max(0, size) >> 10:8d}{'' if size is None else ' kB'}\n"
        )
    return "".join(lines).encode()


def _busy(view: SystemView) -> tuple[int, int]:
    """User and system time of all processes that are there, in nanoseconds."""
    user = system = 0
    for pid in view.pids():
        process = view.process(pid)
        if process is not None:
            user += process.times.user
            system += process.times.system
    return user, system


def uptime(view: SystemView) -> bytes:
    up = view.uptime()
    idle = max(0, up * view.cpus - sum(_busy(view)))
    return (
        " ".join(f"{value // NANOSECONDS}.{value % NANOSECONDS // TICK:02d}" for value in (up, idle)).encode() + b"\n"
    )


def stat(view: SystemView) -> bytes:
    user, system = (value // TICK for value in _busy(view))
    idle = max(0, view.uptime() * view.cpus // TICK - user - system)
    lines = [f"cpu  {user} 0 {system} {idle} 0 0 0 0 0 0"]
    for cpu in range(view.cpus):
        share = (value // view.cpus for value in (user, 0, system, idle))
        lines.append(f"cpu{cpu} " + " ".join(map(str, share)) + " 0 0 0 0 0 0")
    lines += [
        "intr 0",
        f"ctxt {view.switches()}",
        f"btime {view.boot_time() // NANOSECONDS}",
        f"processes {view.forks()}",
        f"procs_running {view.runnable()}",
        "procs_blocked 0",
        "softirq 0 0 0 0 0 0 0 0 0 0 0",
    ]
    return "\n".join(lines).encode() + b"\n"


def loadavg(view: SystemView) -> bytes:
    averages = " ".join(f"{value:.2f}" for value in view.load())
    total = sum(len(process.threads) for pid in view.pids() if (process := view.process(pid)) is not None)
    return f"{averages} {view.runnable()}/{total} {view.last_pid()}\n".encode()


def version(view: SystemView) -> bytes:
    return b"Linux version %s (sandbox) %s\n" % (view.release, view.version)


def filesystems(view: SystemView) -> bytes:
    return "".join(f"nodev\t{name}\n" for name in _FILESYSTEMS).encode()


def vmstat(view: SystemView) -> bytes:
    memory = view.memory()
    return b"nr_free_pages %d\nnr_file_pages %d\npgpgin 0\npgpgout 0\npswpin 0\npswpout 0\n" % (
        memory.free >> 12,
        memory.cached >> 12,
    )


FILES: dict[bytes, Callable[[SystemView], bytes]] = {
    b"cmdline": lambda view: b"\n",
    b"cpuinfo": cpuinfo,
    b"devices": lambda view: b"Character devices:\n  1 mem\n  5 /dev/tty\n136 pts\n\nBlock devices:\n",
    b"diskstats": lambda view: b"",
    b"filesystems": filesystems,
    b"interrupts": lambda view: b"".ljust(11) + b"".join(b"CPU%-8d" % cpu for cpu in range(view.cpus)) + b"\n",
    b"loadavg": loadavg,
    b"meminfo": meminfo,
    b"modules": lambda view: b"",
    b"partitions": lambda view: b"major minor  #blocks  name\n\n",
    b"stat": stat,
    b"swaps": lambda view: b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n",
    b"uptime": uptime,
    b"version": version,
    b"vmstat": vmstat,
}

_SOCKETS = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def _ipc(
    header: bytes, row: bytes, read: Callable[[SystemView], Iterable[tuple[int, ...]]]
) -> Callable[[SystemView], bytes]:
    """A file of /proc/sysvipc (ipc/util.c); ipcs(1) reads them."""
    return lambda view: header + b"\n" + b"".join(row % fields + b"\n" for fields in read(view))


SYSVIPC: dict[bytes, Callable[[SystemView], bytes]] = {
    b"msg": _ipc(
        b"       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid"
        b"      stime      rtime      ctime",
        b"%10d %10d  %4o  %10d %10d %5d %5d %5d %5d %5d %5d %10d %10d %10d",
        lambda view: view.message_queues(),
    ),
    b"sem": _ipc(
        b"       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime",
        b"%10d %10d  %4o %10d %5d %5d %5d %5d %10d %10d",
        lambda view: view.semaphores(),
    ),
    b"shm": _ipc(
        b"       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid"
        b"      atime      dtime      ctime                   rss                  swap",
        b"%10d %10d  %4o %21d %5d %5d  %5d %5d %5d %5d %5d %10d %10d %10d %21d %21d",
        lambda view: view.shared_memory(),
    ),
}

# /proc/PID/net: the tables' heads. What is in them, the network has to fill in.
NETWORK: dict[bytes, Callable[[SystemView], bytes]] = {
    b"dev": lambda view: (
        b"Inter-|   Receive                                                |  Transmit\n face |"
        b"bytes    packets errs drop fifo frame compressed multicast|"
        b"bytes    packets errs drop fifo colls carrier compressed\n    lo: "
        b"      0       0    0    0    0     0          0         0 "
        b"       0       0    0    0    0     0       0          0\n"
    ),
    b"route": lambda view: b"Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n",
    b"tcp": lambda view: _SOCKETS.encode(),
    b"tcp6": lambda view: _SOCKETS.encode(),
    b"udp": lambda view: _SOCKETS.encode(),
    b"udp6": lambda view: _SOCKETS.encode(),
    b"unix": lambda view: b"Num       RefCount Protocol Flags    Type St Inode Path\n",
}


# -- /proc/sys -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Setting:
    """`read` gives the text without its newline."""

    read: Callable[[SystemView], bytes]
    write: Callable[[SystemView, bytes], None] | None = None


Settings = dict[bytes, Union[Setting, "Settings"]]


def _constant(text: bytes) -> Setting:
    return Setting(lambda view: text)


def _name(data: bytes) -> bytes:
    name = data.split(b"\n")[0]
    if len(name) > 64:
        raise Errno(EINVAL)
    return name


def _set_hostname(view: SystemView, data: bytes) -> None:
    view.hostname = _name(data)


def _set_domain_name(view: SystemView, data: bytes) -> None:
    view.domain_name = _name(data)


def _uuid(view: SystemView) -> bytes:
    """Version 4, random (RFC 4122, section 4.4)."""
    raw = bytearray(view.random(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:])).encode()


def _boot_id(view: SystemView) -> bytes:
    """Fixed for one boot: from the boot time alone, so that reading it takes no entropy."""
    text = f"{view.boot_time() & (1 << 128) - 1:032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-8{text[17:20]}-{text[20:]}".encode()


SETTINGS: Settings = {
    b"fs": {
        b"file-max": Setting(lambda view: b"%d" % view.open_files()[1]),
        b"file-nr": Setting(lambda view: b"%d\t0\t%d" % view.open_files()),
        b"nr_open": _constant(b"1048576"),
        b"pipe-max-size": _constant(b"1048576"),
        b"pipe-user-pages-soft": _constant(b"16384"),
        b"inotify": {
            b"max_queued_events": _constant(b"16384"),
            b"max_user_instances": _constant(b"128"),
            b"max_user_watches": _constant(b"8192"),
        },
        b"protected_hardlinks": _constant(b"0"),
        b"protected_symlinks": _constant(b"0"),
        b"suid_dumpable": _constant(b"0"),
    },
    b"kernel": {
        b"cap_last_cap": _constant(b"40"),
        b"core_pattern": _constant(b"core"),
        b"domainname": Setting(lambda view: view.domain_name, _set_domain_name),
        b"hostname": Setting(lambda view: view.hostname, _set_hostname),
        b"msgmax": _constant(b"8192"),
        b"msgmnb": _constant(b"16384"),
        b"msgmni": _constant(b"128"),
        b"ngroups_max": _constant(b"65536"),
        b"osrelease": Setting(lambda view: view.release),
        b"ostype": _constant(b"Linux"),
        b"overflowgid": _constant(b"65534"),
        b"overflowuid": _constant(b"65534"),
        b"pid_max": Setting(lambda view: b"%d" % view.highest_pid()),
        b"printk": _constant(b"4\t4\t1\t7"),
        b"random": {
            b"boot_id": Setting(_boot_id),
            b"entropy_avail": _constant(b"256"),
            b"poolsize": _constant(b"256"),
            b"uuid": Setting(_uuid),
        },
        b"randomize_va_space": _constant(b"0"),
        b"sem": _constant(b"1024\t131072\t500\t128"),
        b"shmall": _constant(b"18446744073692774399"),
        b"shmmax": _constant(b"18446744073692774399"),
        b"shmmni": _constant(b"4096"),
        b"tainted": _constant(b"0"),
        b"threads-max": Setting(lambda view: b"%d" % view.highest_pid()),
        b"version": Setting(lambda view: view.version),
        b"yama": {b"ptrace_scope": _constant(b"0")},
    },
    b"net": {
        b"core": {b"somaxconn": _constant(b"4096")},
        b"ipv4": {b"ip_local_port_range": _constant(b"32768\t60999")},
        b"unix": {b"max_dgram_qlen": _constant(b"10")},
    },
    b"vm": {
        b"max_map_count": _constant(b"65530"),
        b"mmap_min_addr": _constant(b"65536"),
        b"overcommit_memory": _constant(b"0"),
        b"overcommit_ratio": _constant(b"50"),
        b"swappiness": _constant(b"60"),
    },
}
