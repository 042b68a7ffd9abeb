"""What figures about many VMs run, each in a process of its own: `python -m benchmarks.fleets NAME` prints JSON.

A process for itself, so that the memory of one figure is not in the next, and so that the twin can be chosen.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.peers import CHILD_TIMEOUT, ROOT, NotMeasured
from sandbox import VM, Hypervisor
from sandbox.guests import guest
from sandbox.scheduler import Phase

Values = dict[str, float]

PROGRAMS = {
    "spin": "# arch: x86_64\n_start:\n        jmp _start\n",
    # A block of a hundred of them takes 4 us, a thousand times what `jmp .` takes.
    "roots": "# arch: x86_64\n_start:\n        fldpi\nagain:\n" + "        fsqrt\n" * 100 + "        jmp again\n",
    # uname(rsp), so often; no engine answers that by itself.
    "calls": """# arch: x86_64
_start:
        mov     r12d, {count}
        sub     rsp, 400
again:
        mov     eax, 63
        mov     rdi, rsp
        syscall
        dec     r12d
        jnz     again
        mov     eax, 231
        xor     edi, edi
        syscall
""",
}


@contextmanager
def program(name: str, **values: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / f"{name}.s"
        path.write_text(PROGRAMS[name].format(**values))
        yield str(path)


def burner(turns: int = 0, isa: str = "x86_64") -> list[str]:
    return [str(guest("burner", isa).path), str(turns)]


def turns_of(room: Hypervisor) -> int:
    return room._queue.turns


def let_run(room: Hypervisor, done: Callable[[], bool]) -> None:
    while not done():
        room.wait_until(lambda: False, 20_000_000)


def resident() -> float:
    """MiB of this process."""
    fields = Path("/proc/self/status").read_text().split("VmRSS:")[1].split()
    return int(fields[0]) / 1024


# A switch


def switch(count: int = 1000, seconds: float = 3.0) -> Values:
    """Microseconds of CPU of a turn that does nothing: exact mode, a quantum of a few instructions."""
    with program("spin") as spin, Hypervisor(memory="4G", engine_mode="exact", quantum=16) as room:
        for number in range(count):
            room.create(f"vm-{number}", [spin], memory="1M", weight=number % 7 + 1).start()
        room.wait_until(lambda: False, 200_000_000)
        before, begun = turns_of(room), time.process_time()
        room.wait_until(lambda: False, int(seconds * 1e9))
        whole = (time.process_time() - begun) / (turns_of(room) - before)
        return {"whole": whole * 1e6, "engine": _engine_alone(room) * 1e6}


def _engine_alone(room: Hypervisor) -> float:
    """The same switches without scheduler and kernel: one engine is given one VM after the other."""
    pairs: list[Any] = []
    for vm in room.vms:
        vm.pause()
        with room.inspect(vm) as machine:
            linux: Any = machine
            (task,) = linux.tasks.values()
            pairs.append((task.context, task.space.table))
    with room.enter():
        engine: Any = room._leases.slots()[0].engine
        run = engine._core.run
        best = float("inf")
        for _ in range(10):
            begun = time.process_time()
            for context, table in pairs:
                run(context, table, 1, 0)
            best = min(best, time.process_time() - begun)
    return best / len(pairs)


# What scheduling costs


def overhead(mode: str = "free", count: int = 20, rounds: int = 5, turns: int = 15_000_000) -> Values:
    """Percent more CPU time for compute-bound VMs under the scheduler than one after the other; the median of pairs."""
    together, apart = [], []
    for _ in range(rounds):
        with Hypervisor(engine_mode=mode) as room:
            vms = [room.create(f"vm-{number}", burner(turns), memory="1M") for number in range(count)]
            for vm in vms:  # translated and warm, as after the other half
                vm.start()
            begun = time.process_time()
            room.run()
            together.append(time.process_time() - begun)
            assert all(vm.exit_status == 0 for vm in vms)
        with Hypervisor(engine_mode=mode) as room:
            vms = [room.create(f"vm-{number}", burner(turns), memory="1M") for number in range(count)]
            begun = time.process_time()
            for vm in vms:
                vm.start()
                vm.wait()
            apart.append(time.process_time() - begun)
    ratios = [one / other for one, other in zip(together, apart, strict=True)]
    return {
        "percent": (statistics.median(ratios) - 1) * 100,
        "together": statistics.median(together),
        "apart": statistics.median(apart),
    }


# Waking up


def latency(kind: str = "interactive", hogs: int = 100, samples: int = 200) -> Values:
    """Microseconds from a key typed to the guest's write of its echo, among VMs that never rest.

    Ten keys a second: more would be more than the hundredth of a core that it is entitled to."""
    dice = random.Random(1)
    with Hypervisor(memory="1G") as room:
        for number in range(hogs):
            room.create(f"hog-{number}", burner(), memory="1M").start()
        vm = room.create("shell", [str(guest("cat", "x86_64").path)], latency=kind, memory="1M")
        written: list[int] = []
        vm.on_syscall("write", lambda call: written.append(time.monotonic_ns()))
        vm.start()
        took = []
        for number in range(samples):
            time.sleep(dice.uniform(0.05, 0.15))
            begun = time.monotonic_ns()
            vm.console.write(b"x\n")
            while len(written) <= number:
                time.sleep(0.0005)
            took.append((written[number] - begun) / 1e3)
    took.sort()
    return {"p50": took[len(took) // 2], "p99": took[len(took) * 99 // 100]}


# Fairness


def jain(values: Sequence[float]) -> float:
    """R. Jain's index: 1 when all are equal."""
    return sum(values) ** 2 / (len(values) * sum(value * value for value in values))


def exact_shares(count: int = 1000, rounds: int = 2, heaviest: int = 1024) -> Values:
    """Weights from 1 up; in a round everybody is owed as many turns as its weight says (two: a million)."""
    weights = [1 + number * (heaviest - 1) // (count - 1) for number in range(count)]
    decisions = rounds * sum(weights)
    with program("spin") as spin, Hypervisor(memory="4G", engine_mode="exact", quantum=6) as room:
        vms = [room.create(f"vm-{number}", [spin], memory="1M", weight=weight) for number, weight in enumerate(weights)]
        with room.enter():  # all at the same moment
            for vm in vms:
                vm.start()
        let_run(room, lambda: turns_of(room) >= decisions)
        with room.enter():
            lag = room.scheduler_picture().largest_lag
            decided = turns_of(room)
            received = [vm.stats.work or 0 for vm in vms]
    assert lag is not None
    return {
        "lag": lag,
        "jain": jain([work / weight for work, weight in zip(received, weights, strict=True)]),
        "decisions": decided,
    }


def free_shares(seconds: float = 10.0, count: int = 20) -> Values:
    """The largest deviation from a VM's entitlement, percent: half of them `jmp .`, half blocks of 100 `fsqrt`."""
    with program("spin") as spin, program("roots") as roots, Hypervisor() as room:
        vms = [
            room.create(f"vm-{number}", [(spin, roots)[number % 2]], memory="1M", weight=number // 2 % 5 + 1)
            for number in range(count)
        ]
        with room.enter():
            for vm in vms:
                vm.start()
        room.wait_until(lambda: False, int(seconds * 1e9))
        with room.enter():
            received = [vm.stats.cpu_seconds for vm in vms]
        weights = [vm.config.weight for vm in vms]
    total, weight = sum(received), sum(weights)
    off = [abs(got / (total * mine / weight) - 1) for got, mine in zip(received, weights, strict=True)]
    return {"percent": max(off) * 100, "cpu": total}


def caps(seconds: float = 10.0) -> Values:
    """Percent off the cap, for caps of 1, 10 and 50 %, the three VMs and an uncapped one beside each other."""
    values = {}
    with program("spin") as spin, Hypervisor() as room:
        vms = {cap: room.create(f"vm-{cap}", [spin], cpus=cap / 100, weight=100) for cap in (1, 10, 50)}
        room.create("rest", [spin], weight=1).start()
        with room.enter():
            for vm in vms.values():
                vm.start()
        room.wait_until(lambda: False, 500_000_000)
        with room.enter():
            before = {cap: vm.stats.cpu_seconds for cap, vm in vms.items()}
            begun, spent = time.monotonic(), time.process_time()
        room.wait_until(lambda: False, int(seconds * 1e9))
        with room.enter():
            passed = time.monotonic() - begun
            values["had"] = (time.process_time() - spent) / passed
            for cap, vm in vms.items():
                values[str(cap)] = ((vm.stats.cpu_seconds - before[cap]) / passed / (cap / 100) - 1) * 100
    return values


# Host cores


def cores(kind: str = "compute", rounds: int = 5, count: int = 8) -> Values:
    """Seconds of a fleet on one core and on two, medians of pairs; `speedup` is the median of their ratios, and
    `undisturbed` what it would be if the workers had never waited for a core of the host."""
    times: dict[int, list[float]] = {1: [], 2: []}
    worked: dict[int, list[float]] = {1: [], 2: []}  # CPU time
    busy = []  # of two
    with program("calls", count=20_000) as calls:
        command = burner(20_000_000) if kind == "compute" else [calls]
        for _ in range(rounds):
            for number, taken in times.items():
                with Hypervisor(cores=number) as room:
                    vms = [room.create(f"vm-{place}", command, memory="1M") for place in range(count)]
                    begun, spent = time.perf_counter(), time.process_time()
                    for vm in vms:
                        vm.start()
                    room.run()
                    taken.append(time.perf_counter() - begun)
                    worked[number].append(time.process_time() - spent)
                    if number == 2:
                        busy.append(_busy(taken[-1]))
                    assert all(vm.exit_status == 0 for vm in vms)
    ratios = [one / two for one, two in zip(times[1], times[2], strict=True)]
    return {
        "speedup": statistics.median(ratios),
        "best": max(ratios),
        "one": statistics.median(times[1]),
        "two": statistics.median(times[2]),
        "had": statistics.median(worked[2]) / statistics.median(times[2]),
        "undisturbed": statistics.median(worked[1]) / statistics.median(worked[2]) * statistics.median(busy),
    }


def _busy(seconds: float) -> float:
    """How many workers were at work at a time, on average, leaving out the time they waited for a core of the host
    (proc(5), schedstat: nanoseconds on a core, nanoseconds in the host's run queue)."""
    busy = 0.0
    for thread in threading.enumerate():
        if thread.name.startswith("sandbox-core"):
            ran, waited, _ = map(int, Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split())
            busy += ran / max(seconds * 1e9 - waited, ran)
    return busy


# Many


# A loop, a subshell, a pipeline and programs of its own.
SHELL = "read word n; t=0; for i in $(/bin/busybox seq 10); do t=$((t+i*n)); done; (echo $word $t) | /bin/busybox cat"


def crowd(kind: str = "assembled", count: int = 10_000) -> Values:
    """All alive at the same time, each waiting for input; each then answers to a value of its own, which is checked."""
    isas = ("x86_64", "arm64", "riscv64", "i386", "arm")
    commands: list[tuple[list[str], dict[str, Any]]]
    if kind in ("busybox", "shell"):
        from tests.debian import root_with_busybox

        words = ["sed", "s/^/<-/"] if kind == "busybox" else ["sh", "-c", SHELL]
        commands = [(["/bin/busybox", *words], {"rootfs": str(root_with_busybox(isa))}) for isa in isas]
    else:
        commands = [([str(guest("cat", isa).path)], {}) for isa in isas]
    empty, begun = resident(), time.perf_counter()
    with Hypervisor(memory="8G") as room:
        vms: list[VM] = []
        for number in range(count):
            command, options = commands[number % len(commands)]
            vms.append(room.create(f"vm-{number}", command, memory="4M", **options).start())
        shares = [room._tenant(vm).share for vm in vms]
        let_run(room, lambda: all(share.phase is Phase.ASLEEP for share in shares))
        alive, started = resident(), time.perf_counter()
        for number, vm in enumerate(vms):
            vm.console.write(b"value %d\n" % (number * 7919))
            vm.console.close()
        assert room.run(600)
        ended, peak = time.perf_counter(), resident()
        wrong = sum(vm.console.read() != answer(kind, number * 7919) for number, vm in enumerate(vms))
        wrong += sum(vm.exit_status != 0 for vm in vms)
    return {
        "memory": alive,
        "each": (alive - empty) * 1024 / count,
        "peak": peak,
        "start": started - begun,
        "run": ended - started,
        "wrong": wrong,
    }


def answer(kind: str, value: int) -> bytes:
    mark = b"<-" if kind == "busybox" else b""
    return b"%svalue %d\n" % (mark, value * 55 if kind == "shell" else value)


def measure(name: str, *arguments: object, twin: bool = False) -> Values:
    """Run it in a process of its own. Raises NotMeasured."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.fleets", name, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, **({"SANDBOX_ENGINE": "python"} if twin else {})},
            timeout=CHILD_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NotMeasured(str(error)) from error
    if done.returncode:
        raise NotMeasured((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
    values: Values = json.loads(done.stdout.splitlines()[-1])
    return values


FLEETS: dict[str, Callable[..., Values]] = {
    found.__name__: found for found in (switch, overhead, latency, exact_shares, free_shares, caps, cores, crowd)
}


def main() -> None:
    name, *words = sys.argv[1:]
    values = [int(word) if word.isdigit() else word for word in words]
    print(json.dumps(FLEETS[name](*values) | {"load": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
