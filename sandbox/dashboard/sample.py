"""Made-up views for running a panel by itself and for tests. The dashboard never imports this file
(a test proves it): what it shows comes from live machines only."""

from __future__ import annotations

import math
from dataclasses import replace

from sandbox.dashboard.interface import Interface
from sandbox.dashboard.view import (
    ABILITIES,
    ConsoleView,
    DescriptorView,
    DetailView,
    DeviceRegister,
    DevicesView,
    DeviceView,
    EntryView,
    EventView,
    FilesView,
    FrequentView,
    HostView,
    InstructionView,
    LagView,
    LeaseView,
    MemoryView,
    Meter,
    MountView,
    PictureView,
    ProcessorView,
    RegionView,
    RegisterView,
    SchedulerView,
    SliceView,
    StackSlot,
    SyscallsView,
    SyscallView,
    TaskView,
    View,
    VmView,
)

MIB = 1 << 20
ISAS = ("x86_64", "arm64", "riscv64", "i386", "arm")
_PROGRAMS = ("sieve", "burn", "storm", "sort", "shell", "crc", "hog", "uart")


def wave(count: int, height: float, period: float) -> tuple[float, ...]:
    return tuple(height * (0.6 + 0.4 * math.sin(index / period)) for index in range(count))


def machines(count: int) -> tuple[VmView, ...]:
    weights = [1 << (index % 4) for index in range(count)]
    total = sum(weights)
    rows = []
    for index in range(count):
        state = (
            "crashed" if index % 11 == 5 else "paused" if index % 7 == 3 else "stopped" if index % 9 == 8 else "running"
        )
        due = weights[index] / total
        got = due * (1 + 0.02 * math.sin(index)) if state == "running" else due * 0.6
        rows.append(
            VmView(
                identity=f"vm-{index}",
                name=f"{_PROGRAMS[index % len(_PROGRAMS)]}-{index + 1}",
                state=state,
                isa=ISAS[index % len(ISAS)],
                weight=weights[index],
                cpu=2 * got if state == "running" else 0.0,
                received=got,
                entitled=due,
                memory=(index * 37 % 61 + 1) * 173_000,
                memory_limit=64 * MIB,
                faults=index * 13.7,
                syscalls=(index % 5) * 1234.0,
                tasks=1 + index % 3,
                uptime=252.0 - index,
                exit_status=0 if state == "stopped" else None,
                reason=b"SIGSEGV: write to 0x10, which is not mapped" if state == "crashed" else b"",
            )
        )
    return tuple(rows)


def host(rows: tuple[VmView, ...]) -> HostView:
    states = {state: sum(vm.state == state for vm in rows) for state in ("running", "paused", "stopped", "crashed")}
    return HostView(
        cores=2,
        busy=Meter(1.94, 2, tuple(min(2.0, 1.2 + value) for value in wave(120, 0.9, 7))),
        memory=Meter(312 * MIB, 2048 * MIB, tuple(200 * MIB + value for value in wave(120, 140 * MIB, 30))),
        memory_shared=96 * MIB,
        memory_private=204 * MIB,
        memory_compressed=12 * MIB,
        work=Meter(3.1e8, None, wave(120, 3.1e8, 9)),
        syscalls=Meter(12_400, None, wave(120, 12_400, 5)),
        faults=Meter(3120, None, wave(120, 3120, 3)),
        events=Meter(14, None, wave(120, 14, 11)),
        states=tuple(states.items()),
        uptime=252,
        engine="native",
        abilities=ABILITIES,
    )


_X86 = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", *(f"r{n}" for n in range(8, 16)), "rip", "rflags")
_CODE = (
    (3, "4889e5", "mov rbp, rsp"),
    (4, "4883ec40", "sub rsp, 0x40"),
    (7, "488d3df40f0000", "lea rdi, [rip + 0xff4]"),
    (5, "b901000000", "mov ecx, 1"),
    (3, "480fafc1", "imul rax, rcx"),
    (2, "ffc1", "inc ecx"),
    (3, "83f90c", "cmp ecx, 0xc"),
    (2, "7ef6", "jle 0x401010"),
    (3, "4889c6", "mov rsi, rax"),
    (5, "e8d2ffffff", "call 0x400ff8"),
    (3, "31ff", "xor edi, edi"),
    (5, "b83c000000", "mov eax, 0x3c"),
    (2, "0f05", "syscall"),
    (2, "0f0b", "ud2"),
)


def processor() -> ProcessorView:
    values = [
        0x1C8CFC00,
        0,
        12,
        0x7FFFFFFFE540,
        0x1C8CFC00,
        0x402000,
        0x7FFFFFFFE4F0,
        0x7FFFFFFFE4B0,
        1,
        0,
        0x22,
        0x346,
        0,
        0,
        0,
        0,
    ]
    address, code = 0x401000, []
    for index, (length, hexadecimal, words) in enumerate(_CODE):
        code.append(
            InstructionView(
                address,
                bytes.fromhex(hexadecimal),
                words,
                symbol=b"_start" if index == 0 else b"finish" if index == 8 else b"",
                breakpoint=index == 9,
            )
        )
        address += length
    pc = code[6].address
    notes = {"rdi": b'"result: %lu"', "rsp": b"[stack]", "rip": b"_start+0x1a"}
    registers = tuple(
        RegisterView(name, value, changed=name in ("rax", "rcx", "rip"), note=notes.get(name, b""))
        for name, value in zip(_X86, [*values, pc, 0x297], strict=True)
    )
    stack = tuple(
        StackSlot(0x7FFFFFFFE4B0 + 8 * index, value, note)
        for index, (value, note) in enumerate(
            [
                (0x401031, b"finish"),
                (1, b""),
                (0x7FFFFFFFE7C1, b'"/bin/factorial"'),
                (0, b""),
                (0x7FFFFFFFE7D0, b'"HOME=/"'),
                (0, b""),
            ]
        )
    )
    return ProcessorView("x86_64", 64, pc, 0x7FFFFFFFE4B0, registers, "CF PF AF SF IF", tuple(code), stack, task=1)


_CONSOLE = (
    b"sieve: primes below 1000000\n\x1b[1;32mfound 78498\x1b[0m in 0.42 s\n"
    b"hostile: \x07\x1b]0;pwned\x07 [bold]markup[/bold] \xe2\x80\xaeright to left\xff\n"
    b"wide: \xe6\xbc\xa2\xe5\xad\x97 tab:\tend\n"
    b"progress  10%\rprogress 100%\n/ # "
)


def memory() -> MemoryView:
    regions = (
        RegionView(0x400000, 0x401000, "r--", True, b"/bin/sieve", 0, 1, "s"),
        RegionView(0x401000, 0x46C000, "r-x", True, b"/bin/sieve", 0x1000, 71, "ssss.sssssss..ss.sssssssssssssss"),
        RegionView(0x46C000, 0x470000, "rw-", False, b"/bin/sieve", 0x6C000, 3, "ddd."),
        RegionView(0x470000, 0x4F2000, "rw-", False, b"[heap]", 0, 118, "d" * 26 + "rr....z."),
        RegionView(0x7FFFF7D00000, 0x7FFFF7E00000, "rw-", False, b"", 0, 12, "dd.............................."),
        RegionView(0x7FFFFFFDE000, 0x7FFFFFFFF000, "rw-", False, b"[stack]", 0, 3, "." * 29 + "ddd"),
    )
    data = bytes((index * 7 + 3) & 255 for index in range(64)) + b"HOME=/\0PATH=/bin:/usr/bin\0" + bytes(101)
    return MemoryView(regions, 208 * 4096, 64 * MIB, 0x7FFFFFFFE4B0, data * 3)


def syscalls() -> SyscallsView:
    calls = [
        ("openat", b'AT_FDCWD, "/etc/passwd", O_RDONLY|O_CLOEXEC', "3", "", 5200),
        ("fstat", b"3, {st_mode=S_IFREG|0644, st_size=1024, ...}", "0", "", 1300),
        ("read", b'3, "root:x:0:0:root:/root:/bin/sh\\n"..., 4096', "1024", "", 2100),
        ("openat", b'AT_FDCWD, "/etc/shadow", O_RDONLY', "-1", "EACCES", 3100),
        ("close", b"3", "0", "", 800),
        ("write", b'1, "done\\n", 5', "5", "", 4100),
        ("futex", b"0x7f0010, FUTEX_WAIT_PRIVATE, 1, NULL", "0", "", 2_300_000),
    ]
    recent = tuple(
        SyscallView(index + 1200, 1 + index % 2, name, text, result, error, latency)
        for index, (name, text, result, error, latency) in enumerate(calls * 4)
    )
    top = (
        FrequentView("read", 41_020, 0, 2400, 81_000),
        FrequentView("write", 12_007, 3, 4100, 95_000),
        FrequentView("openat", 4004, 211, 5000, 12_000),
        FrequentView("close", 3790, 0, 800, 2100),
        FrequentView("futex", 812, 9),
    )
    return SyscallsView(recent, top, 62_000, (("io_uring_setup", 2),))


def detail(vm: VmView) -> DetailView:
    return DetailView(
        vm,
        console=ConsoleView(_CONSOLE, len(_CONSOLE)),
        processor=processor(),
        tasks=(
            TaskView(1, 1, 0, b"sh", "waiting", b"wait4", 1, 4, 40, b"/bin/sh -c loop"),
            TaskView(7, 7, 1, b"sieve", "ready", b"", 2, 3, 118, b"sieve 1000000"),
            TaskView(8, 7, 1, b"sieve", "waiting", b"futex", 2, 3, 118, b"sieve 1000000"),
            TaskView(9, 9, 1, b"cat", "waiting", b"pipe 3", 1, 3, 12, b"cat"),
            TaskView(10, 10, 9, b"\x1b[2Jtrue", "zombie", b"", 1, 0, 0, b""),
        ),
        memory=memory(),
        syscalls=syscalls(),
        files=FilesView(
            mounts=(
                MountView(b"/", "overlay", False, 3 * MIB, 64 * MIB),
                MountView(b"/dev", "devfs"),
                MountView(b"/proc", "proc", True),
                MountView(b"/tmp", "tmpfs", False, 12_288, 16 * MIB),
                MountView(b"/data", "hostfs", True, 700 * MIB, 1000 * MIB),
            ),
            descriptors=(
                DescriptorView(1, 0, b"console", "stream", "r"),
                DescriptorView(1, 1, b"console", "stream", "w"),
                DescriptorView(7, 3, b"/data/in.txt", "file", "r", 4096),
                DescriptorView(7, 4, b"pipe:[12]", "pipe", "w"),
            ),
            tree=(
                EntryView(0, b"bin", "directory"),
                EntryView(1, b"busybox", "file", 1_982_000),
                EntryView(1, b"sh", "link"),
                EntryView(0, b"etc", "directory"),
                EntryView(1, b"passwd", "file", 64),
            ),
            bytes_read=4_200_000,
            bytes_written=91_000,
        ),
        devices=DevicesView(
            (
                DeviceView(
                    "uart0",
                    0x10000000,
                    0x10000100,
                    (DeviceRegister("IER", 1), DeviceRegister("LSR", 0x60), DeviceRegister("IIR", 0xC1)),
                    (("interrupt", True),),
                ),
                DeviceView(
                    "clint",
                    0x02000000,
                    0x0200C000,
                    (DeviceRegister("mtime", 0x12345678), DeviceRegister("mtimecmp", 0x12350000)),
                    (("software", False), ("timer", True)),
                ),
            ),
            PictureView(16, 8, tuple((x * 16 << 16) | (y * 32 << 8) | 0x60 for y in range(8) for x in range(16))),
        ),
    )


def events(rows: tuple[VmView, ...]) -> tuple[EventView, ...]:
    found = []
    for index, vm in enumerate(rows):
        found.append(EventView(2 * index, index * 0.013, vm.name, "started", b""))
        if vm.state in ("paused", "crashed", "stopped"):
            found.append(EventView(2 * index + 1, 3 + index * 1.7, vm.name, vm.state, vm.reason))
    return tuple(sorted(found, key=lambda event: event.time))


def scheduler(rows: tuple[VmView, ...]) -> SchedulerView:
    running = [vm for vm in rows if vm.state == "running"]
    slices, clock = [], [0.0, 0.0]
    turn = 0
    while min(clock) < 4.0 and running:
        vm = running[turn % len(running)]
        lane = clock.index(min(clock))
        length = 0.02 * vm.weight
        slices.append(SliceView(vm.identity, lane, clock[lane], clock[lane] + length))
        clock[lane] += length
        turn += 1
    return SchedulerView(
        "fair",
        "20,000 code bytes",
        4.0,
        tuple(slices),
        tuple(LagView(vm.identity, 0.8 * math.sin(index * 2.4)) for index, vm in enumerate(running)),
        tuple(vm.identity for vm in running[2:]),
        tuple(
            LeaseView(f"{vm.isa}-{index}", vm.isa, vm.identity, 1200 * index) for index, vm in enumerate(running[:4])
        ),
        switches=48_200,
        largest_lag=0.93,
    )


def view(count: int = 12, selected: int = 0) -> View:
    rows = machines(count)
    return View(
        host=host(rows),
        order=tuple(vm.identity for vm in rows),
        total=count,
        rows=rows,
        detail=detail(rows[selected]) if rows else None,
        events=events(rows),
        scheduler=scheduler(rows),
    )


def interface(selected: int = 0, **changes: object) -> Interface:
    return replace(Interface(selected=f"vm-{selected}"), **changes)  # type: ignore[arg-type]
