"""The hypervisor with real engines, memory and kernels, on the guests that come with the package, all ISAs at once."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sandbox
from sandbox.abi.errno import ENOSPC, Errno
from sandbox.errors import ConfigurationError, LoadError, StateError
from sandbox.guests import guest
from sandbox.hypervisor import Hypervisor
from sandbox.hypervisor.volumes import volume_store
from sandbox.loader import read_symbols
from sandbox.vfs.root import put_file
from sandbox.vm import VM

ISAS = ("x86_64", "i386", "arm64", "arm", "riscv64")
MODES = pytest.mark.parametrize(
    "options",
    [{"engine_mode": "free"}, {"engine_mode": "exact"}, {"deterministic": True}],
    ids=lambda given: str(given),
)
PATIENCE = 60
FREE_FORM = Path(__file__).parent


def path_of(name: str, isa: str) -> str:
    return str(guest(name, isa).path)


def address_of(name: str, isa: str, symbol: str) -> int:
    address = read_symbols(guest(name, isa).program()).address(symbol)
    assert address is not None
    return address


def word_at(vm: VM, isa: str, symbol: str, name: str = "burner") -> int:
    """The 64-bit word that a guest keeps at a symbol."""
    return int.from_bytes(vm.memory.read(address_of(name, isa, symbol), 8), "little")


def until(room: Hypervisor, done: Callable[[], bool]) -> None:
    """Let guests run until `done()`."""
    while not done():
        assert any(vm.state == "running" for vm in room.vms), [vm.reason for vm in room.vms]
        if room.deterministic:
            room.run(0.001)
        else:
            os.sched_yield()


@MODES
def test_all_isas_side_by_side(options: dict[str, object]) -> None:
    with Hypervisor(cores=2, **options) as room:  # type: ignore[arg-type]
        vms = [
            room.create(f"{name}-{isa}", [path_of(name, isa), *arguments])
            for isa in ISAS
            for name, arguments in (("hello", []), ("echo", ["a", "b"]), ("counter", ["3", "1000"]), ("burner", ["1"]))
        ]
        for vm in vms:
            vm.start()
        assert room.run(PATIENCE)
        assert {vm.exit_status for vm in vms} == {0}
        for isa in ISAS:
            assert room.vm(f"hello-{isa}").console.read() == b"hello from %s\n" % isa.encode()
            assert room.vm(f"echo-{isa}").console.read() == b"a b\n"
            assert room.vm(f"counter-{isa}").console.read() == b"count 1\ncount 2\ncount 3\n"
            assert room.vm(f"burner-{isa}").console.read() == b"723471715\n"


@MODES
@pytest.mark.parametrize("isa", ISAS)
def test_a_paused_vm_can_be_looked_into(options: dict[str, object], isa: str) -> None:
    with Hypervisor(**options) as room:  # type: ignore[arg-type]
        vm = room.create("it", [path_of("burner", isa)]).start()
        until(room, lambda: vm.stats.turns >= 3)
        vm.pause()
        first, last = address_of("burner", isa, "turn"), address_of("burner", isa, "turn_end")
        assert first <= vm.registers["pc"] <= last
        count, registers = word_at(vm, isa, "iterations"), vm.registers.as_dict()
        assert count > 0
        (task,) = vm.tasks()
        assert (task.tid, task.pc, task.state) == (1, vm.registers["pc"], "ready")
        assert any(region.start <= first < region.end for region in vm.memory.regions())
        assert vm.disassemble(first, 2)[0].address == first

        vm.step(40)  # more than a turn has
        assert word_at(vm, isa, "iterations") > count
        assert vm.registers.as_dict() != registers

        vm.memory.write(address_of("burner", isa, "iterations"), bytes(8))
        assert word_at(vm, isa, "iterations") == 0
        with pytest.raises(ConfigurationError, match="no memory"):
            vm.memory.read(8, 4)
        with pytest.raises(ConfigurationError, match="no register"):
            vm.registers["nonsense"]
        vm.resume()
        with pytest.raises(StateError, match="pause it"):
            vm.memory.read(first, 4)
        turns = vm.stats.turns
        until(room, lambda: vm.stats.turns > turns)
        vm.pause()
        assert word_at(vm, isa, "iterations") > 0
        vm.kill()
        with pytest.raises(StateError, match="no machine"):
            vm.step()


@pytest.mark.parametrize("isa", ISAS)
def test_stepping_is_exact(isa: str) -> None:
    """Instruction by instruction to the end, through system calls: what a free run prints."""
    with Hypervisor(deterministic=True) as room:
        vm = room.create("it", [path_of("counter", isa), "2", "20"]).start()
        vm.pause()
        steps = 0
        while vm.state == "paused":
            vm.step()
            steps += 1
        assert (vm.state, vm.exit_status, vm.console.read()) == ("stopped", 0, b"count 1\ncount 2\n")
        again = room.create("again", [path_of("counter", isa), "2", "20"]).start()
        again.pause()
        again.step(steps)
        assert again.state == "stopped"


def test_received_is_what_guests_count_themselves() -> None:
    """Exact mode, all ISAs, weights 1 to 5: code bytes counted in the guests' own memory against their entitlement."""
    with Hypervisor(deterministic=True) as room:
        vms = {isa: room.create(isa, [path_of("burner", isa)], weight=place + 1) for place, isa in enumerate(ISAS)}
        for vm in vms.values():
            vm.start()
        room.run(0.3)
        received = {}
        for isa, vm in vms.items():
            vm.pause()
            turn = address_of("burner", isa, "turn_end") - address_of("burner", isa, "turn")
            received[isa] = word_at(vm, isa, "iterations") * turn
            assert received[isa] == pytest.approx(vm.stats.work, rel=0.001)
        total = sum(received.values())
        assert 0 < (room.scheduler_picture().largest_lag or 0) <= 8
        for place, isa in enumerate(ISAS):
            assert abs(received[isa] - total * (place + 1) / 15) <= 2 * room.quantum


@pytest.mark.parametrize("cores", [1, 2])
def test_policy_and_quantum_may_be_changed_while_guests_run(cores: int) -> None:
    """Round robin gives all the same whatever their weights; back under the fair policy the weights count again."""
    with Hypervisor(cores=cores, deterministic=True) as room:
        vms = [room.create(f"vm{n}", [path_of("burner", "x86_64")], weight=1 + 2 * (n % 2)) for n in range(4)]
        for vm in vms:
            vm.start()

        def got(seconds: float) -> list[float]:
            before = [vm.stats.work or 0 for vm in vms]
            room.run(seconds)
            work = [(vm.stats.work or 0) - start for vm, start in zip(vms, before, strict=True)]
            return [part / sum(work) * 8 for part in work]

        room.run(0.01)
        room.set_policy("round-robin")
        assert got(0.2) == pytest.approx([2, 2, 2, 2], rel=0.1)
        room.set_quantum(1 << 20)
        room.set_policy("fair")
        assert (room.policy, room.scheduler_picture().quantum) == ("fair", 1 << 20)
        assert got(0.2) == pytest.approx([1, 3, 1, 3], rel=0.1)
        for wrong in (0, 1 << 40, True, "much"):
            with pytest.raises(ConfigurationError, match="code bytes"):
                room.set_quantum(wrong)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="round-robin"):
            room.set_policy("lottery")
        notes = [event.record.text() for event in room.events() if event.kind == "note"]
        assert len(notes) == 3 and "policy fair, quantum 1,048,576 code bytes" in notes[-1]


def fleet_log(cores: int, memory: str) -> list[str]:
    programs: list[tuple[str, list[str]]] = [
        ("burner", []), ("counter", ["0", "20000"]), ("storm", ["2000"]), ("hog", ["3"]), ("sieve", []), ("wild", []),
        ("cat", []), ("hello", []),
    ]  # fmt: skip
    with Hypervisor(cores=cores, deterministic=True, seed=7, memory=memory) as room:
        for number, (name, arguments) in enumerate(programs):
            isa = ISAS[number % len(ISAS)]
            room.create(
                name, [path_of(name, isa), *arguments], weight=number % 3 + 1, memory="4M", restart="on-failure:1",
                timeout=0.03,
            )  # fmt: skip
        for vm in room.vms:
            vm.start()
        room.run(0.01)
        room.vm("cat").console.write(b"hello\n")
        room.vm("burner").pause()
        registers = room.vm("burner").registers.as_dict()
        room.run(0.01)
        room.vm("burner").resume()
        assert room.run(PATIENCE)
        log = [event.line() for event in room.events()]
        for vm in room.vms:
            stats = vm.stats
            log.append(f"{vm.name} {vm.exit_status} {vm.console.tail()!r} {stats.work} {stats.turns} {stats.syscalls}")
        return [*log, str(registers)]


def test_the_event_log_depends_on_nothing_but_the_calls() -> None:
    """One and two cores, an idle and a loaded host, with and without memory pressure: byte for byte."""
    logs = [fleet_log(1, "1G"), fleet_log(2, "1G"), fleet_log(1, "24M")]
    load = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        logs += [fleet_log(2, "24M"), fleet_log(1, "1G"), fleet_log(2, "1G")]
    finally:
        load.kill()
        load.wait()
    assert all(log == logs[0] for log in logs[1:])
    assert any("crashed" in line for line in logs[0])


@MODES
def test_memory_may_be_taken_away(options: dict[str, object]) -> None:
    with Hypervisor(**options) as room:  # type: ignore[arg-type]
        vm = room.create("it", [path_of("hog", "x86_64")], memory="8M").start()
        assert vm.wait(PATIENCE) == 0
        assert 4 <= int(vm.console.read().split()[0]) <= 8
        assert vm.stats.peak_memory <= 8 << 20
        other = room.create("other", [path_of("burner", "arm64")], memory="8M").start()
        other.set(memory="1M")
        assert other.stats.memory_limit == 1 << 20


def test_disk_tasks_and_files_may_be_changed() -> None:
    with Hypervisor() as room:
        vm = room.create("it", [path_of("burner", "riscv64")], disk="1M").start()
        ground: Any = room._tenant(vm).ground
        with pytest.raises(Errno) as full, room.enter():
            put_file(ground._tree, b"/tmp/large", bytes(2 << 20))
        assert full.value.number == ENOSPC
        vm.set(disk="4M", max_tasks=3, max_files=5)
        with room.enter():
            put_file(ground._tree, b"/tmp/large", bytes(2 << 20))
        vm.pause()
        with room.inspect(vm) as machine:
            linux: Any = machine
            assert (linux.limits.tasks, linux.limits.files, linux.file_budget.limit) == (3, 5, 5)
        vm.set(disk=None)


@MODES
def test_crashes_are_reported(options: dict[str, object]) -> None:
    with Hypervisor(**options) as room:  # type: ignore[arg-type]
        for isa in ISAS:
            vm = room.create(isa, [path_of("wild", isa)]).start()
            assert vm.wait(PATIENCE) == 139
            assert vm.state == "crashed"
            assert "SIGSEGV" in (vm.reason or "")
            assert vm.crash is not None and vm.crash.registers and vm.crash.regions


def test_calls_that_do_not_exist_are_told_apart_up_to_a_number(tmp_path: Path) -> None:
    """A guest that calls every number there is does not fill the host's memory with counters."""
    path = tmp_path / "numbers.s"
    path.write_text(
        "# arch: x86_64\n_start: mov ebx, 2000\nagain: lea eax, [rbx + 100000]\nsyscall\ndec ebx\njnz again\n"
        "xor edi, edi\nmov eax, 231\nsyscall\n"
    )
    stats = sandbox.run([str(path)]).stats
    assert stats.syscall_count == 2001
    assert len(stats.unknown_syscalls) == 257 and stats.unknown_syscalls["others"] == 2000 - 256
    assert len(stats.syscalls) == 258 and stats.syscalls["others"] == 2000 - 256


def test_system_calls_can_be_watched_and_replaced() -> None:
    with Hypervisor() as room:
        vm = room.create("it", [path_of("hello", "arm64")])
        seen: list[str] = []
        lines: list[str] = []

        def replace(call: object) -> int:
            seen.append(call.name)  # type: ignore[attr-defined]
            seen.append(vm.memory.read(call.arguments[1], call.arguments[2]).decode())  # type: ignore[attr-defined]
            return 17

        forget = vm.on_syscall("write", replace)
        vm.trace(lines.append)
        assert vm.start().wait(PATIENCE) == 0
        assert seen == ["write", "hello from arm64\n"]
        assert vm.console.read() == b""
        assert lines[0].startswith('write(1, "hello from arm64\\n", 17)')
        forget()
        vm.trace(None)
        assert vm.start().wait(PATIENCE) == 0
        assert vm.console.read() == b"hello from arm64\n"
        assert len(lines) == 2


@pytest.mark.parametrize(
    ("program", "options", "error", "sentence"),
    [
        (["/no/such/program"], {}, LoadError, "no such program"),
        (["/etc"], {}, LoadError, "not a regular file"),
        (["/etc/passwd"], {}, LoadError, "not an ELF file"),
        (["sh"], {"rootfs": "/no/such/root"}, LoadError, "no such file"),
        (["nothing-of-this-name"], {"rootfs": FREE_FORM}, LoadError, "no such program"),
        ([path_of("hello", "arm64")], {"cwd": "/nowhere"}, ConfigurationError, "working directory"),
        ([path_of("hello", "arm64")], {"volumes": ["/no/such:/x"]}, ConfigurationError, "does not exist"),
        ([path_of("hello", "arm64")], {"arch": "riscv64"}, sandbox.SandboxError, "arm64"),
    ],
)
def test_what_cannot_be_run_is_said(
    program: list[str], options: dict[str, object], error: type[Exception], sentence: str
) -> None:
    with Hypervisor() as room:
        with pytest.raises(error, match=sentence):
            room.create("it", program, **options)
        assert room.vms == ()
        assert room.pool_use()[0] < 1 << 20


def test_not_found_is_127_and_not_a_program_126() -> None:
    for program, status in (("/no/such/program", 127), ("/etc/passwd", 126), ("/etc", 126)):
        with pytest.raises(LoadError) as caught:
            sandbox.run([program])
        assert caught.value.status == status


@MODES
def test_run_is_like_subprocess_run(options: dict[str, object]) -> None:
    done = sandbox.run([path_of("cat", "riscv64")], input="some text", **options)  # type: ignore[arg-type]
    assert (done.returncode, done.stdout, done.stderr, done.reason) == (0, b"some text", b"", None)
    assert done.stats.syscalls["write"] == 1
    assert (done.stats.work is None) == (options == {"engine_mode": "free"})
    late = sandbox.run([path_of("loop", "arm")], timeout=0.05, **options)  # type: ignore[arg-type]
    assert late.returncode == 124 and late.timed_out
    loud = sandbox.run([path_of("counter", "i386"), "0", "1"], output_limit=1000, **options)  # type: ignore[arg-type]
    assert loud.returncode == 137 and "1000 bytes" in (loud.reason or "")
    assert len(loud.stdout) == 1000 and loud.stdout.startswith(b"count 1\ncount 2\n")


def test_volumes_and_files(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("from the host")
    with Hypervisor() as room:
        vm = room.create(
            "it", [path_of("hello", "x86_64")], volumes=[f"{tmp_path}:/data:ro"], tmpfs=["/scratch:1M"], hostname="box"
        )
        assert vm.files.read("/data/in.txt") == b"from the host"
        assert vm.files.read("/etc/hostname") == b"box\n"
        vm.start().wait(PATIENCE)
        assert vm.files.read("/bin/hello.x86_64")[:4] == b"\x7fELF"
        with pytest.raises(ConfigurationError, match="no such file"):
            vm.files.read("/nothing")


def test_named_volumes_are_locked_only_while_a_vm_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_HOME", str(tmp_path))
    volume_store().create("data", 1 << 20)
    with Hypervisor() as room:
        first = room.create("first", [path_of("burner", "arm64")], volumes=["data:/data"]).start()
        second = room.create("second", [path_of("hello", "arm64")], volumes=["data:/data"])
        with pytest.raises(StateError, match="in use"):
            second.start()
        assert second.state == "created"
        ground: Any = room._tenant(first).ground
        with room.enter():
            put_file(ground._tree, b"/data/note", b"kept")
        assert first.files.read("/data/note") == b"kept"
        first.kill()
        assert second.start().wait(PATIENCE) == 0
        third = room.create("third", [path_of("burner", "arm64")], volumes=["data:/data:ro"]).start()
        assert third.files.read("/data/note") == b"kept"
        third.kill()
        assert third.start().files.read("/data/note") == b"kept"
        lost = room.create("lost", [path_of("hello", "arm64")], volumes=["nowhere:/data"])
        with pytest.raises(ConfigurationError, match="no volume named nowhere"):
            lost.start()


def test_a_machine_is_gone_when_it_has_ended() -> None:
    with Hypervisor() as room:
        vm = room.create("it", [path_of("burner", "arm64")]).start()
        vm.pause()
        with room.inspect(vm) as machine:
            alive = weakref.ref(machine)
        del machine
        vm.kill()
        gc.collect()
        assert alive() is None
        assert vm.files.read("/etc/hostname") == b"sandbox\n"
        assert vm.start().state == "running"


def test_nothing_is_left_behind() -> None:
    descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    with Hypervisor(cores=2, memory="64M") as room:
        for number in range(30):
            name = ("hello", "burner", "cat", "wild", "hog")[number % 5]
            room.create(f"vm{number}", [path_of(name, ISAS[number % len(ISAS)])], memory="2M").start()
        for vm in room.vms[::2]:
            vm.kill()
            vm.remove()
        for vm in room.vms:
            vm.remove(force=True)
        images, _ = room.pool_use()
        assert images < 4 << 20  # the page cache
        assert room.scheduler_picture().leases
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 1
