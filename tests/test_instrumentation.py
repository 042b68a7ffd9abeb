"""What reverse engineers and fuzzers come for, on three ISAs: a VM that stands still, or calls back, and is looked into
and changed. Guests of the package and busybox; the hypervisor runs them in this process.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

import sandbox
from sandbox import guests
from sandbox.errors import ConfigurationError, StateError
from sandbox.vm.inspection import Hit, Syscall
from tests import debian

ISAS = ("x86_64", "arm64", "riscv64")
STATE = {"x86_64": "rsi", "arm64": "x1", "riscv64": "a1"}  # a write's buffer
PATIENCE = 20_000_000_000  # nanoseconds
RESULT = {"x86_64": "rax", "arm64": "x0", "riscv64": "a0"}


@pytest.fixture(params=["free", "exact"])
def room(request: pytest.FixtureRequest) -> Iterator[sandbox.Hypervisor]:
    with sandbox.Hypervisor(cores=1, memory="128M", isolation="inline", engine_mode=request.param) as hypervisor:
        yield hypervisor


def program(name: str, arch: str) -> str:
    return str(guests.guest(name, arch).path)


def burner(room: sandbox.Hypervisor, arch: str, *turns: str) -> Any:
    return room.create(f"burner-{arch}", [program("burner", arch), *turns], memory="8M")


def paused(room: sandbox.Hypervisor, arch: str) -> Any:
    """At its first instruction in `turn`."""
    vm = burner(room, arch)
    vm.breakpoint("turn")
    vm.start()
    assert room.wait_until(lambda: vm.state == "paused", 20_000_000_000)
    return vm


@pytest.mark.parametrize("arch", ISAS)
def test_registers(room: sandbox.Hypervisor, arch: str) -> None:
    vm = paused(room, arch)
    pc = vm.registers["pc"]
    assert vm.registers.as_dict()[vm._attached.isa.pc] == pc
    assert vm.registers["sp"] % 8 == 0 and vm.memory.read(vm.registers["sp"], 1) == b"\1"  # argc
    name = RESULT[arch]
    vm.registers[name] = 0x1234
    assert vm.registers[name] == 0x1234
    vm.registers["pc"] = pc + 4
    assert vm.registers["pc"] == pc + 4
    vm.registers[name] = -1
    assert vm.registers[name] == (1 << 64) - 1
    assert name in list(vm.registers)
    with pytest.raises(ConfigurationError, match="no register"):
        vm.registers["nonsense"]
    with pytest.raises(ConfigurationError, match="no task 99"):
        vm.registers.of(99)["pc"]
    assert vm.registers.of(1)["pc"] == pc + 4


@pytest.mark.parametrize("arch", ISAS)
def test_memory(room: sandbox.Hypervisor, arch: str) -> None:
    vm = paused(room, arch)
    sp = vm.registers["sp"]
    vm.memory.write(sp - 64, b"hello\0there")
    assert vm.memory.read(sp - 64, 11) == b"hello\0there"
    assert vm.memory.string(sp - 64) == b"hello" and vm.memory.string(sp - 64, 3) == b"hel"
    assert vm.memory.string(sp - 64, 5) == b"hello"
    code = vm.memory.read(vm.registers["pc"], 8)
    vm.memory.write(vm.registers["pc"], code)  # protections do not matter to a debugger
    for address in (0, 0x10, 1 << 62, (1 << 64) - 8):
        with pytest.raises(ConfigurationError, match="there is no memory"):
            vm.memory.read(address, 16)
        with pytest.raises(ConfigurationError, match="there is no memory"):
            vm.memory.write(address, b"x")
        with pytest.raises(ConfigurationError, match="there is no memory"):
            vm.memory.string(address)
    regions = vm.memory.regions()
    assert [region for region in regions if region.start <= sp < region.end and region.protection & 2]
    assert [region for region in regions if region.start <= vm.registers["pc"] < region.end and region.protection & 4]


@pytest.mark.parametrize("arch", ISAS)
def test_code_that_is_changed_is_run(room: sandbox.Hypervisor, arch: str) -> None:
    """A jump to itself, over the loop that has been translated already."""
    vm = paused(room, arch)
    vm.step(50)
    jump = {"x86_64": b"\xeb\xfe", "arm64": b"\0\0\0\x14", "riscv64": b"\x6f\0\0\0"}[arch]
    pc = vm.registers["pc"]
    vm.memory.write(pc, jump)
    vm.step(3)
    assert vm.registers["pc"] == pc


@pytest.mark.parametrize("arch", ISAS)
def test_steps_are_what_the_disassembly_says(room: sandbox.Hypervisor, arch: str) -> None:
    vm = paused(room, arch)
    listing = vm.disassemble(count=5)
    assert len(listing) == 5 and listing[0].address == vm.registers["pc"]
    assert "eor" in listing[0].text or "mov" in listing[0].text or "sll" in listing[0].text
    for instruction in listing[1:]:
        vm.step()
        assert vm.registers["pc"] == instruction.address
    assert vm.disassemble(listing[2].address, 1)[0].text == listing[2].text
    before = vm.registers["pc"]
    vm.step(203)
    assert vm.state == "paused" and vm.registers["pc"] != before
    assert vm.disassemble(0x10, 4) == []
    turn = vm.disassemble("turn", 1)[0].address
    assert vm.disassemble("turn", 2) == vm.disassemble(turn, 2)


@pytest.mark.parametrize("arch", ISAS)
def test_a_breakpoint_calls_back_and_goes_on(room: sandbox.Hypervisor, arch: str) -> None:
    vm = burner(room, arch, "40")
    seen: list[tuple[Hit, int]] = []
    end = vm.breakpoint("turn", lambda hit: seen.append((hit, vm.registers["pc"])))
    vm.breakpoint("turn_end", lambda hit: end())
    vm.start()
    assert vm.wait(timeout=30) == 0
    assert len(seen) == 40
    assert {hit.address for hit, _ in seen} == {pc for _, pc in seen} and seen[0][0].tid == 1
    assert vm.console.read() == sandbox.run([program("burner", arch), "40"]).stdout


@pytest.mark.parametrize("arch", ISAS)
def test_a_breakpoint_without_a_callback_pauses(room: sandbox.Hypervisor, arch: str) -> None:
    vm = burner(room, arch, "3")
    vm.breakpoint("turn")
    vm.start()
    places = []
    for _ in range(3):
        assert room.wait_until(lambda: vm.state == "paused", 20_000_000_000)
        places.append(vm.registers["pc"])
        vm.resume()
    assert vm.wait(timeout=30) == 0
    assert len(set(places)) == 1
    with pytest.raises(StateError):
        vm.registers["pc"]


@pytest.mark.parametrize("arch", ISAS)
def test_a_callback_may_pause_move_and_fail(room: sandbox.Hypervisor, arch: str) -> None:
    vm = burner(room, arch)
    hits: list[int] = []

    def at_turn(hit: Hit) -> None:
        hits.append(hit.address)
        if len(hits) == 3:
            vm.pause()
        if len(hits) == 4:
            raise ValueError("on purpose")

    told = threading.Event()
    room.observe(lambda event: told.set() if "on purpose" in str(event) else None)
    vm.breakpoint("turn", at_turn)
    vm.start()
    assert room.wait_until(lambda: vm.state == "paused", 20_000_000_000)
    assert len(hits) == 3 and vm.registers["pc"] == hits[0]
    vm.step()  # past the breakpoint, without a call
    assert len(hits) == 3 and vm.registers["pc"] != hits[0]
    vm.resume()
    vm.on_syscall("write", lambda call: None)
    assert told.wait(60)
    assert len(hits) == 4, "an observer that raises is dropped"
    vm.pause()
    assert vm.state == "paused"
    vm.kill()


@pytest.mark.parametrize("arch", ISAS)
def test_breakpoints_are_refused_with_a_sentence(room: sandbox.Hypervisor, arch: str) -> None:
    vm = paused(room, arch)
    with pytest.raises(ConfigurationError, match="no symbol 'nowhere'"):
        vm.breakpoint("nowhere")
    with pytest.raises(ConfigurationError, match="function"):
        vm.breakpoint(0x1000, 5)
    for where in (3.5, b"turn", True, None):
        with pytest.raises(ConfigurationError, match="an address or a symbol"):
            vm.breakpoint(where)
    with pytest.raises(ConfigurationError, match="a call's name"):
        vm.on_syscall(1, print)
    for address in range(0x1000, 0x1000 + 255):
        vm.breakpoint(address)
    with pytest.raises(ConfigurationError, match="at most 256"):
        vm.breakpoint(0x5000)


def test_a_symbol_that_the_program_has_not_is_said_when_it_starts(room: sandbox.Hypervisor) -> None:
    vm = room.create("it", "burner", memory="8M")
    forget = vm.breakpoint("turn_ent")
    for _ in range(2):
        with pytest.raises(
            ConfigurationError, match=r"no symbol 'turn_ent' in /bin/burner\.x86_64: do you mean 'turn_end'"
        ):
            vm.start()
        assert vm.state == "created"
        with pytest.raises(StateError):
            vm.registers["pc"]
    forget()
    assert vm.start().pause().resume() is vm
    vm.kill()


NAMES: list[tuple[str, dict[str, str], str]] = [
    ("opnat", {}, "x86_64 has no system call 'opnat': do you mean 'openat'?"),
    ("open", {"arch": "arm64"}, "arm64 has no system call 'open': do you mean 'openat'?"),
    ("qqq", {"arch": "riscv64"}, "riscv64 has no system call 'qqq': `sandbox syscalls --arch riscv64` lists them"),
    ("write", {"board": "riscv64-virt"}, "it is a board: it makes no system calls"),
]


@pytest.mark.parametrize(("name", "options", "message"), NAMES)
def test_a_system_call_that_does_not_exist(
    room: sandbox.Hypervisor, name: str, options: dict[str, str], message: str
) -> None:
    vm = room.create("it", "timer" if "board" in options else "hello", memory="8M", **options)
    with pytest.raises(ConfigurationError) as caught:
        vm.on_syscall(name, print)
    assert str(caught.value) == message
    for known in ("*", "syscall_999", "write") if "board" not in options else ("*",):
        vm.on_syscall(known, print)()


def test_waiting_for_what_nobody_tells_of(room: sandbox.Hypervisor) -> None:
    """No VM changes its state meanwhile."""
    seen = threading.Event()
    looks: list[bool] = []

    def done() -> bool:
        looks.append(seen.is_set())
        if len(looks) == 2:
            seen.set()
        return seen.is_set()

    assert room.wait_until(done)
    assert not room.wait_until(lambda: False, 1)


@pytest.mark.parametrize("arch", ISAS)
def test_two_vms_of_one_engine_keep_their_breakpoints_apart(room: sandbox.Hypervisor, arch: str) -> None:
    first, second = (room.create(name, [program("burner", arch), "2000"], memory="8M") for name in ("first", "second"))
    hits: list[int] = []
    first.breakpoint("turn", lambda hit: hits.append(hit.address))
    second.start()
    first.start()
    assert first.wait(timeout=60) == 0 and second.wait(timeout=60) == 0
    assert len(hits) == 2000
    assert first.console.read() == second.console.read()


@pytest.mark.parametrize("arch", ISAS)
def test_system_calls_are_observed_and_replaced(room: sandbox.Hypervisor, arch: str) -> None:
    vm = room.create("echo", [program("echo", arch), "one", "two"], memory="8M")
    written: list[bytes] = []

    def on_write(call: Syscall) -> int | None:
        data = vm.memory.read(call.arguments[1], call.arguments[2])
        assert vm.registers[STATE[arch]] == call.arguments[1] and call.name == "write" and call.tid == 1
        written.append(data)
        return len(data) if data == b"two" else None

    end = vm.on_syscall("write", on_write)
    vm.start()
    assert vm.wait(timeout=30) == 0
    assert b"".join(written) == b"one two\n"
    assert vm.console.read() == b"one \n"
    end()
    vm.start()
    assert vm.wait(timeout=30) == 0 and vm.console.read() == b"one two\n"


@pytest.mark.parametrize("arch", ISAS)
def test_tasks_and_the_crash_report(room: sandbox.Hypervisor, arch: str) -> None:
    vm = paused(room, arch)
    (task,) = vm.tasks()
    assert (task.tid, task.tgid, task.name, task.pc) == (1, 1, f"burner.{arch}".encode()[:15], vm.registers["pc"])
    vm.registers["pc"] = 0x10
    vm.resume()
    assert vm.wait(timeout=30) == 139
    report = vm.crash
    assert report is not None
    assert report.signal_name == "SIGSEGV" and report.pc == 0x10 and "0x10" in report.reason
    assert report.registers[RESULT[arch]] >= 0 and any("stack" in region for region in report.regions)
    wild = room.create("wild", [program("wild", arch)])
    wild.start()
    assert wild.wait(timeout=30) == 139
    assert wild.crash is not None and any("write(" in call for call in wild.crash.last_syscalls)
    assert str(wild.crash).startswith("--- wild") and "\n  -> " in str(wild.crash)
    address, code = wild.crash.code
    assert address <= wild.crash.pc < address + len(code)


@pytest.mark.parametrize("arch", ISAS)
def test_a_running_vm_is_not_looked_into(room: sandbox.Hypervisor, arch: str) -> None:
    vm = burner(room, arch)
    with pytest.raises(StateError):
        vm.registers["pc"]
    vm.start()
    with pytest.raises(StateError):
        vm.registers["pc"]
    with pytest.raises(StateError):
        vm.step()
    vm.pause()
    assert vm.registers["pc"]
    vm.kill()


@pytest.mark.parametrize("arch", ISAS)
def test_a_real_program(room: sandbox.Hypervisor, arch: str) -> None:
    """busybox wc: the file's name, its bytes behind the read, and another result."""
    try:
        root = debian.root_with_busybox(arch)
    except debian.Unavailable as reason:
        pytest.skip(str(reason))
    vm = room.create("wc", ["/bin/busybox", "wc", "-c", "/etc/passwd", "/etc/group"], rootfs=root)
    opened: list[bytes] = []
    read: list[bytes] = []

    def on_open(call: Syscall) -> int | None:
        path = vm.memory.string(call.arguments[1])
        opened.append(path)
        return -13 if path == b"/etc/group" else None

    def behind(hit: Hit) -> None:
        count = vm.registers[RESULT[arch]]
        if read and 0 < count < 4096:
            read[-1] = vm.memory.read(int.from_bytes(read[-1], "little"), count)

    def on_read(call: Syscall) -> None:
        if not read:
            read.append(call.arguments[1].to_bytes(8, "little"))
            vm.breakpoint(vm.registers["pc"], behind)

    vm.on_syscall("openat", on_open)
    vm.on_syscall("read", on_read)
    vm.start()
    assert vm.wait(timeout=60) == 1
    assert opened[-2:] == [b"/etc/passwd", b"/etc/group"]
    assert read[0].startswith(b"root:x:0:0:")
    assert b"Permission denied" in vm.console.read()


@pytest.mark.parametrize("arch", ISAS)
def test_on_to_the_next_system_call(room: sandbox.Hypervisor, arch: str) -> None:
    """Each step makes one call, whichever it is, and stands right after it; one that sleeps is stood in."""
    vm = room.create("cat", [program("cat", arch)], memory="8M")
    with pytest.raises(StateError, match="pause it first"):
        vm.step_syscall()
    forget = vm.breakpoint("_start")
    vm.start()
    assert room.wait_until(lambda: vm.state == "paused", PATIENCE)
    forget()
    seen: list[str] = []

    def step() -> None:
        vm.step_syscall(lambda call: seen.append(call.name))
        assert room.wait_until(lambda: vm.state == "paused", PATIENCE)

    step()
    assert seen == ["read"]
    vm.console.write(b"hello\n")
    step()
    assert seen == ["read", "write"] and vm.console.read() == b"hello\n"
    assert vm.registers[RESULT[arch]] == 6
    step()
    assert seen == ["read", "write", "read"]
    give_up = vm.step_syscall(lambda call: seen.append(call.name))
    give_up()
    heard = threading.Event()
    vm.console.listen(lambda stream, data: heard.set())
    vm.console.write(b"more\n")
    assert heard.wait(PATIENCE / 1e9) and vm.console.total == 11
    assert vm.state == "running" and len(seen) == 3
