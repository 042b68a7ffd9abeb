"""`sandbox.run`: one program in one VM, like `subprocess.run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sandbox.errors import ConfigurationError
from sandbox.hypervisor.front import Hypervisor
from sandbox.hypervisor.supervisor import TIMED_OUT
from sandbox.quantity import parse_size
from sandbox.vm import Statistics

if TYPE_CHECKING:
    from sandbox.kernel.crash import CrashReport

HOST_MEMORY = 256 << 20  # beside the VM's own: the page cache, and room to reclaim
OUTPUT_LIMIT = 64 << 20


@dataclass(frozen=True, slots=True)
class Completed:
    """`returncode`: the guest's exit status; 128+n when signal n ended it; 124 after the timeout; 137 when it was
    killed, for `reason`."""

    args: tuple[bytes, ...]
    returncode: int
    stdout: bytes
    stderr: bytes
    stats: Statistics
    reason: str | None = None
    crash: CrashReport | None = None

    @property
    def timed_out(self) -> bool:
        return self.returncode == TIMED_OUT and self.reason is not None


class _Collector:
    """Both output streams, up to a limit; a guest that writes more is ended."""

    def __init__(self, limit: int) -> None:
        self.streams = {1: bytearray(), 2: bytearray()}
        self.room = limit
        self.full = False

    def __call__(self, stream: int, data: bytes) -> None:
        self.streams[stream] += data[: max(0, self.room)]
        self.room -= len(data)


def run(
    program: Any,
    *,
    input: bytes | str = b"",
    env: Any = None,
    cwd: str | bytes | None = None,
    timeout: float | str | None = None,
    memory: int | str = "256M",
    output_limit: int | str = OUTPUT_LIMIT,
    deterministic: bool = False,
    seed: int | str = 0,
    engine_mode: str | None = None,
    **options: Any,
) -> Completed:
    """Run `program` (a list of words, or a string that is split like a shell's) to its end in a VM of its own.

    The first word is a .s file or an ELF file on the host, or, with `rootfs=`, a path or a name on PATH in the guest.
    All options of `Hypervisor.create` are taken. Never raises for what the guest does; a program that cannot be
    loaded is a LoadError."""
    data = input.encode() if isinstance(input, str) else input
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise ConfigurationError(f"input is bytes or text, not {input!r}")
    limit = parse_size(output_limit, "output_limit")
    pool = parse_size(memory, "memory") + HOST_MEMORY
    with Hypervisor(memory=pool, deterministic=deterministic, seed=seed, engine_mode=engine_mode) as hypervisor:
        vm = hypervisor.create("run", program, env=env, cwd=cwd, timeout=timeout, memory=memory, **options)
        collector = _Collector(limit)

        def collect(stream: int, piece: bytes) -> None:
            collector(stream, piece)
            if collector.room < 0 and not collector.full:
                collector.full = True
                vm.kill(f"it wrote more than {limit} bytes of output")

        vm.console.set_input(bytes(data))
        vm.console.listen(collect)
        vm.start()
        status = vm.wait()
        stats = vm.stats
    return Completed(
        vm.config.program, status, bytes(collector.streams[1]), bytes(collector.streams[2]), stats, vm.reason, vm.crash
    )
