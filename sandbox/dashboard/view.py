"""What the dashboard can show, as frozen data: the contract between sources and panels.

A source (`collector.py` for a hypervisor in this process; the control socket for one elsewhere) turns
live objects into these; a panel turns these into rows. Nothing here refers to a live object, so a view can
be compared, kept, printed as JSON (`plain`) and sent through a socket.

The rule on types: whatever a guest can choose is `bytes`, and becomes `str` in `text.visible` only. Times
are seconds, memory is bytes, shares and use are fractions, addresses are ints. `None` means that the source
does not know, and is shown as "-".
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

STATES = ("created", "running", "paused", "stopped", "crashed")
HISTORY = 120  # samples behind a sparkline
ABILITIES = ("step", "step_syscall", "breakpoint", "policy", "quantum")  # what not every hypervisor serves


@dataclass(frozen=True, slots=True)
class Meter:
    """One figure of the header with its recent past, oldest first; `limit` draws it as a bar."""

    value: float = 0.0
    limit: float | None = None
    history: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class HostView:
    cores: int = 1
    busy: Meter = Meter()  # cores in use
    memory: Meter = Meter()  # bytes of the pool in use, of its size
    memory_shared: int | None = None
    memory_compressed: int | None = None
    memory_private: int | None = None
    work: Meter = Meter()  # work_unit per second
    work_unit: str = "code bytes"
    syscalls: Meter = Meter()  # per second
    faults: Meter = Meter()
    events: Meter = Meter()
    states: tuple[tuple[str, int], ...] = ()  # (state, VMs in it)
    uptime: float = 0.0
    engine: str = ""  # "native" or "python"
    mode: str = ""  # "deterministic" or empty
    abilities: tuple[str, ...] = ()  # of `ABILITIES`: what can be done to VMs here
    policies: tuple[str, ...] = ()  # that the scheduler knows


@dataclass(frozen=True, slots=True)
class VmView:
    """One line of the VM list. `identity` never changes and is never reused; `name` may change."""

    identity: str
    name: str
    state: str = "created"
    isa: str = ""
    kind: str = "linux"
    weight: int = 100
    cpu: float | None = None  # cores used, lately
    received: float | None = None  # share of all work, since it became able to run
    entitled: float | None = None
    memory: int = 0
    memory_limit: int | None = None
    faults: float | None = None
    syscalls: float | None = None
    tasks: int | None = None
    uptime: float | None = None
    exit_status: int | None = None
    reason: bytes = b""  # why it died; may quote the guest


@dataclass(frozen=True, slots=True)
class ConsoleView:
    """The end of what the guest wrote. `total` counts all bytes ever written."""

    tail: bytes = b""
    total: int = 0
    accepts_input: bool = True


@dataclass(frozen=True, slots=True)
class RegisterView:
    name: str
    value: int
    changed: bool = False
    note: bytes = b""  # what it points to: a symbol, a string, a region


@dataclass(frozen=True, slots=True)
class InstructionView:
    address: int
    code: bytes
    text: str
    symbol: bytes = b""  # when a symbol begins here
    breakpoint: bool = False


@dataclass(frozen=True, slots=True)
class StackSlot:
    address: int
    value: int
    note: bytes = b""


@dataclass(frozen=True, slots=True)
class ProcessorView:
    """The selected task's registers, the code around its pc and the top of its stack."""

    isa: str
    bits: int
    pc: int
    sp: int
    registers: tuple[RegisterView, ...] = ()
    flags: str = ""
    code: tuple[InstructionView, ...] = ()
    stack: tuple[StackSlot, ...] = ()
    task: int | None = None
    live: bool = False  # it runs: the picture is of the last stop


@dataclass(frozen=True, slots=True)
class TaskView:
    tid: int
    tgid: int
    parent: int = 0
    name: bytes = b""
    state: str = ""
    waits_for: bytes = b""
    threads: int = 1
    descriptors: int | None = None
    resident: int | None = None
    command: bytes = b""


@dataclass(frozen=True, slots=True)
class RegionView:
    start: int
    end: int
    protection: str  # "r-x"
    shared: bool = False
    name: bytes = b""
    offset: int = 0
    resident: int | None = None  # pages
    pages: str = ""  # one letter each, or per group of pages: r resident, d dirty, s shared, z compressed, . absent


@dataclass(frozen=True, slots=True)
class MemoryView:
    regions: tuple[RegionView, ...] = ()
    resident: int = 0
    limit: int | None = None
    address: int = 0  # where the hex view begins
    data: bytes = b""
    readable: bool = True


@dataclass(frozen=True, slots=True)
class SyscallView:
    sequence: int
    task: int
    name: str
    text: bytes  # the arguments as --trace writes them
    result: str = ""
    error: str = ""  # the errno's name, or empty
    latency: float | None = None  # nanoseconds


@dataclass(frozen=True, slots=True)
class FrequentView:
    """`calls` of all its life; errors and nanoseconds of those seen since somebody watches."""

    name: str
    calls: int
    errors: int = 0
    mean: float | None = None
    longest: float | None = None


@dataclass(frozen=True, slots=True)
class SyscallsView:
    recent: tuple[SyscallView, ...] = ()  # oldest first
    top: tuple[FrequentView, ...] = ()  # most frequent first
    total: int = 0
    unknown: tuple[tuple[str, int], ...] = ()
    listening: bool = True


@dataclass(frozen=True, slots=True)
class MountView:
    path: bytes
    type: str
    read_only: bool = False
    used: int | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class DescriptorView:
    task: int
    number: int
    path: bytes
    kind: str = ""
    access: str = ""  # "r", "w", "rw"
    position: int | None = None


@dataclass(frozen=True, slots=True)
class EntryView:
    depth: int
    name: bytes
    kind: str = "file"  # "directory", "link", "device" ...
    size: int | None = None


@dataclass(frozen=True, slots=True)
class FilesView:
    mounts: tuple[MountView, ...] = ()
    descriptors: tuple[DescriptorView, ...] = ()
    tree: tuple[EntryView, ...] = ()
    bytes_read: int | None = None  # from the console
    bytes_written: int | None = None  # to it


@dataclass(frozen=True, slots=True)
class DeviceRegister:
    name: str
    value: int


@dataclass(frozen=True, slots=True)
class DeviceView:
    name: str
    start: int
    end: int
    registers: tuple[DeviceRegister, ...] = ()
    lines: tuple[tuple[str, bool], ...] = ()  # interrupt lines by name, and whether each is high


@dataclass(frozen=True, slots=True)
class PictureView:
    """A framebuffer: `pixels` is rows of 0xRRGGBB, already scaled down by the source if it is large."""

    width: int
    height: int
    pixels: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DevicesView:
    devices: tuple[DeviceView, ...] = ()
    picture: PictureView | None = None


@dataclass(frozen=True, slots=True)
class EventView:
    sequence: int
    time: float  # seconds since the hypervisor began
    vm: str
    kind: str
    text: bytes = b""


@dataclass(frozen=True, slots=True)
class SliceView:
    """Who had an engine, from when to when (seconds, as EventView.time)."""

    vm: str
    lane: int
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class LagView:
    """How far a VM is behind (+) or ahead (-) of its entitlement, in quanta."""

    vm: str
    lag: float
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class LeaseView:
    engine: str
    isa: str
    vm: str
    switches: int | None = None


@dataclass(frozen=True, slots=True)
class SchedulerView:
    policy: str = "fair"
    quantum: str = ""
    now: float = 0.0
    slices: tuple[SliceView, ...] = ()
    lags: tuple[LagView, ...] = ()
    queue: tuple[str, ...] = ()
    leases: tuple[LeaseView, ...] = ()
    switches: int | None = None
    largest_lag: float | None = None
    names: tuple[tuple[str, str], ...] = ()  # (identity, name) of whom to show: all, or those who ran when many


@dataclass(frozen=True, slots=True)
class DetailView:
    """What the open tabs need of the selected VM; the rest is None."""

    vm: VmView
    stopped_at: bytes = b""  # the breakpoint or the call at which it was paused
    console: ConsoleView | None = None
    processor: ProcessorView | None = None
    tasks: tuple[TaskView, ...] | None = None
    memory: MemoryView | None = None
    syscalls: SyscallsView | None = None
    files: FilesView | None = None
    devices: DevicesView | None = None


@dataclass(frozen=True, slots=True)
class View:
    """One picture of everything. `order` is the whole list by identity, `rows` the part that is on screen."""

    host: HostView = HostView()
    order: tuple[str, ...] = ()
    total: int = 0  # VMs, before the filter
    first: int = 0  # where `rows` begins in `order`
    rows: tuple[VmView, ...] = ()
    detail: DetailView | None = None
    events: tuple[EventView, ...] = ()
    scheduler: SchedulerView | None = None


def plain(value: Any) -> Any:
    """A view as what JSON can hold. Bytes are written as UTF-8 with \\xNN for what is none."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, Enum):
        return value.value
    return value
