"""What the dashboard shows comes from live machines: unique values are written in guests and read on the screen."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sandbox.dashboard.app import App
from sandbox.dashboard.collector import Collector
from sandbox.dashboard.interface import Interface
from sandbox.dashboard.keys import Decoder
from sandbox.dashboard.layout import compose
from sandbox.dashboard.palette import Look
from sandbox.dashboard.still import to_text
from sandbox.hypervisor import Hypervisor
from sandbox.vm import VM
from tests.terminal import Terminal

ROOT = Path(__file__).parent.parent
PATIENCE = 60

# Prints a unique text, puts unique values into a register, on the stack and into memory, then counts for ever.
GUEST = """# arch: x86_64
_start:
        mov     eax, 1
        mov     edi, 1
        lea     rsi, [rip + message]
        mov     edx, 13
        syscall
        movabs  r15, 0x5417c0ffee123457
        push    r15
        mov     rax, 0x1badb002
        mov     [rip + unique_word], rax
        xor     ebx, ebx
spinning_here:
        inc     rbx
        jmp     spinning_here
# data
message:        .ascii  "unique-8091"
                .byte   27, 10
unique_word:    .quad   0
"""
# Reads lines and answers with each.
ECHO = """# arch: arm64
_start:
        sub     sp, sp, #256
again:  mov     x0, #0
        mov     x1, sp
        mov     x2, #200
        mov     x8, #63
        svc     #0
        cmp     x0, #0
        ble     done
        mov     x2, x0
        mov     x0, #1
        mov     x1, sp
        mov     x8, #64
        svc     #0
        b       again
done:   mov     x0, #0
        mov     x8, #94
        svc     #0
"""


@pytest.fixture
def room() -> Iterator[Hypervisor]:
    with Hypervisor(cores=2, memory="64M", engine_mode="exact") as hypervisor:
        yield hypervisor


@pytest.fixture
def guest(room: Hypervisor, tmp_path: Path) -> VM:
    path = tmp_path / "unique.s"
    path.write_text(GUEST)
    return room.create("unique", [str(path), "argument-3107"], memory="1M").start()


class Session:
    """An app without a terminal; `wait_for` looks until something is on its screen."""

    def __init__(self, room: Hypervisor, columns: int = 160, rows: int = 50) -> None:
        self.app = App(Collector(room), Interface(), Look())
        self.app.size = (columns, rows)

    @property
    def screen(self) -> str:
        self.app.look_again()
        return to_text(compose(self.app.view, self.app.interface, *self.app.size, self.app.look))

    def press(self, keys: str) -> None:
        self.app.look_again()
        decoder = Decoder()
        for key in [*decoder.feed(keys.encode(), 0.0), *decoder.expire(9.0)]:
            self.app.press(key)
            self.app.look_again()

    def wait_for(self, found: str | Callable[[str], bool]) -> str:
        end = time.monotonic() + PATIENCE
        while True:
            screen = self.screen
            if found in screen if isinstance(found, str) else found(screen):
                return screen
            assert time.monotonic() < end, f"{found!r} never came:\n{screen}"


def test_console_registers_stack_memory_and_code(room: Hypervisor, guest: VM) -> None:
    session = Session(room)
    session.wait_for("unique-8091␛")
    session.press("2")
    screen = session.wait_for("5417c0ffee123457")
    assert "r15" in screen
    session.wait_for("spinning_here:")
    session.wait_for("jmp")
    session.press(":goto unique_word\r")
    session.wait_for("02 b0 ad 1b")
    session.press("3")
    session.wait_for("argument-3107")
    session.press("6")
    session.wait_for("pipe:[")


def test_stepping_shows_the_registers_change(room: Hypervisor, guest: VM) -> None:
    session = Session(room)
    session.press("2")
    session.wait_for("spinning_here")
    session.press(" ")
    assert guest.state == "paused"
    before = guest.registers["pc"], guest.registers["rbx"]
    session.press("sss")
    screen = session.screen
    after = guest.registers["pc"], guest.registers["rbx"]
    assert after[0] != before[0] and before[1] < after[1] <= before[1] + 2
    assert f"{after[1]:016x}" in screen
    assert "*rip" in screen, "what the last step changed is marked"
    session.press(" ")
    assert guest.state == "running"


def test_breakpoints_calls_and_addresses_to_continue_to(room: Hypervisor, tmp_path: Path) -> None:
    path = tmp_path / "echo.s"
    path.write_text(ECHO)
    vm = room.create("echo", [str(path)], memory="1M").start()
    session = Session(room)
    session.press("3")
    session.wait_for("read 0")  # it sleeps there
    session.press("2 ")
    session.press("bag\tx\x7f\r")  # completed: b, then "again"
    assert "breakpoint at" in session.app.interface.message
    session.press("c")
    vm.console.write(b"one\n")
    screen = session.wait_for("paused at breakpoint again")
    assert "◆" in screen or "▶" in screen
    address = vm.registers["pc"]
    assert f"▶ {address:x}" in screen
    session.press("S")
    session.wait_for(lambda screen: "runs on" in screen or "paused after read" in screen)
    vm.console.write(b"two\n")
    session.wait_for("paused after read")
    session.press("S")
    session.wait_for("paused after write")
    assert vm.console.read() == b"one\ntwo\n"
    session.press("u")
    assert "undone: no breakpoint" in session.app.interface.message
    session.press("Cdone\r")
    assert vm.state == "running"
    vm.console.close()
    session.wait_for("paused at done")
    session.press("sss")
    session.press("c")
    session.wait_for("stopped")
    session.press("s")
    assert "stopped" in session.app.interface.message
    session.app.source.close()  # type: ignore[attr-defined]
    assert not vm._breakpoints


def test_policy_quantum_and_limits_can_be_changed_and_undone(room: Hypervisor, guest: VM) -> None:
    session = Session(room)
    session.press("9")
    session.wait_for("policy fair")
    quantum = room.quantum
    session.press("p")
    session.wait_for("policy round-robin")
    session.press("))(")
    assert room.quantum == 2 * quantum
    session.press(":quantum 64K\r")
    session.wait_for("65,536 code bytes")
    session.press("1:policy ear\t\r9")
    session.wait_for("policy earliest-deadline")
    session.press("+++")
    session.press("<<>")
    session.press("}}{")
    assert (guest.config.weight, guest.config.cpus, guest.config.memory) == (8, 0.5, 2 << 20)
    session.press("u" * 15)
    assert (room.policy, room.quantum) == ("fair", quantum)
    assert (guest.config.weight, guest.config.cpus, guest.config.memory) == (1, None, 1 << 20)
    session.press("u")
    assert "nothing to undo" in session.app.interface.message
    assert guest.state == "running"


def test_shares_are_those_of_the_guests(room: Hypervisor, tmp_path: Path) -> None:
    """The guests' own counters and the screen agree on who got how much."""
    path = tmp_path / "unique.s"
    path.write_text(GUEST)
    vms = [room.create(f"w{weight}", [str(path)], memory="1M", weight=weight) for weight in (1, 3)]
    for vm in vms:
        vm.start()
    source = Collector(room)
    app = App(source, Interface(), Look())
    end = time.monotonic() + PATIENCE
    while True:
        app.look_again()
        shares = {row.name: row.received for row in app.view.rows if row.received}
        if len(shares) == 2 and all((row.uptime or 0) > 1 for row in app.view.rows):
            break
        assert time.monotonic() < end
        time.sleep(0.05)
    for vm in vms:
        vm.pause()
    counts = {vm.name: vm.registers["rbx"] for vm in vms}
    total = sum(counts.values())
    for name, count in counts.items():
        assert shares[name] == pytest.approx(count / total, abs=0.1)


def test_typing_into_a_guest_and_killing_it(room: Hypervisor, tmp_path: Path) -> None:
    path = tmp_path / "echo.s"
    path.write_text(ECHO)
    vm = room.create("echo", [str(path)], memory="1M").start()
    session = Session(room)
    session.press("i")
    session.press("typed-6644\r")
    session.wait_for("typed-6644")
    session.press("\x1d")
    session.press("Ky")
    session.wait_for("stopped")
    assert vm.state == "stopped"
    assert "the operator killed it" in session.screen


def test_system_calls_are_seen_while_their_tab_is_open(room: Hypervisor, tmp_path: Path) -> None:
    path = tmp_path / "echo.s"
    path.write_text(ECHO)
    vm = room.create("echo", [str(path)], memory="1M").start()
    session = Session(room)
    session.press("5")
    vm.console.write(b"traced-2210\n")
    session.wait_for('write(1, "traced-2210\\n", 12) = 12')
    calls = session.app.view.detail.syscalls if session.app.view.detail else None
    assert calls is not None
    write = next(call for call in calls.top if call.name == "write")
    assert write.mean and write.longest and write.longest >= write.mean > 0
    assert "MEAN" in session.screen
    session.press("1")
    assert vm._tracer is None, "nobody watches any more"


def test_a_crash_is_explained(room: Hypervisor) -> None:
    from sandbox.guests import guest as shipped

    room.create("wild", [str(shipped("wild", "riscv64").path)], memory="1M").start().wait(PATIENCE)
    session = Session(room, columns=80, rows=24)
    screen = session.wait_for("crashed")
    assert "killed by SIGSEGV: write at 0x10" in screen
    session.press("2")
    screen = session.wait_for("▶")
    assert "sd " in screen and "0000000000000010" in screen, "the instruction that did it"


# Writes the bytes at `message` as fast as it can, for ever.
FLOOD = """# arch: x86_64
_start:
        mov     eax, 1
        mov     edi, 1
        lea     rsi, [rip + message]
        mov     edx, {length}
        syscall
        jmp     _start
# data
message: .byte {message}
"""
HOSTILE = b"".join(
    (
        bytes(range(256)),
        b"\x1b[2J\x1b[H\x1b]0;title\x07\x1bc\x1b[?1049l\x1b(0\x9b31m\x8f\r\b\t[red]x[/red]",
        "\u6f22\u5b57 e\u0301\u200d\u05e9\u05dc\u202eabc \U0001f468\u200d\U0001f469 \U000e0041".encode(),
        b"\xf0\x9f" * 9,
        b"\n",
    )
)


def test_a_hostile_flood_on_a_terminal(tmp_path: Path) -> None:
    """The emulator knows no escape but ours: one that came through would fail the test. The other panels go on."""
    path = tmp_path / "flood.s"
    path.write_text(FLOOD.format(length=len(HOSTILE), message=", ".join(map(str, HOSTILE))))
    with Terminal(["-m", "sandbox", "run", "--dashboard", str(path)], 100, 30) as terminal:
        terminal.wait_for("[red]x[/red]", PATIENCE)
        terminal.press("2")
        terminal.wait_for("syscall", PATIENCE)
        terminal.press("5")
        terminal.wait_for("MOST FREQUENT", PATIENCE)
        terminal.wait_for('write(1, "\\0\\1\\2', PATIENCE)
        terminal.press("8")
        terminal.wait_for("started", PATIENCE)
        terminal.press("1")
        terminal.press("\r")
        terminal.wait_for(lambda: "[red]x[/red]" in terminal.screen.lines[4], PATIENCE)
        assert terminal.screen.lines[0].startswith(" sandbox  1 VM")
        assert "quit" in terminal.screen.lines[-1]
        terminal.press("q")
        terminal.wait_for_end(PATIENCE)
        assert terminal.is_restored()


def test_every_panel_of_a_board(room: Hypervisor) -> None:
    from sandbox.guests import guest as shipped

    serial = shipped("serial", "riscv64")
    vm = room.create("board", [str(serial.path)], board=serial.board, memory="16M").start()
    session = Session(room, 100, 40)
    session.press("i")
    session.press("typed-3358\r")
    session.wait_for("TYPED-3358")
    session.press("\x1d")
    for state in ("running", "paused"):
        for tab in "123456789":
            session.press(tab)
            session.wait_for(state)
        session.press("7")
        session.wait_for("uart16550  0x10000000-0x10000100  interrupt ▼ low")
        session.press("4")
        session.wait_for("REGIONS")
        session.press(" " if state == "running" else "")
    session.press("2ss")
    session.wait_for("wfi")
    for keys, answer in (("S", "no system calls"), ("b0x80000000\r", "no breakpoints"), ("bmain\r", "no symbol")):
        session.press(keys)
        assert answer in session.app.interface.message
    assert vm.state == "paused"
    assert [event.line() for event in room.events() if event.kind == "defect"] == []


def test_a_panel_that_fails_is_told_once_and_the_others_go_on(
    room: Hypervisor, guest: VM, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("of ours")

    monkeypatch.setattr("sandbox.dashboard.collector.processor_view", fail)
    session = Session(room)
    for _ in range(3):
        session.press("2")
    session.press("3")
    session.wait_for("argument-3107")
    defects = [event.record.text() for event in room.events() if event.kind == "defect"]
    assert len(defects) == 1 and "RuntimeError: of ours" in defects[0]
    assert guest.state == "running"


def test_ten_megabytes_a_second_do_not_slow_the_others(room: Hypervisor, guest: VM) -> None:
    from sandbox.guests import guest as shipped

    flood = room.create("flood", [str(shipped("counter", "x86_64").path), "0", "1"], memory="1M").start()
    session = Session(room)
    session.app.interface = replace(session.app.interface, selected=flood.identity)
    session.wait_for(lambda screen: screen.count("count ") > 20)
    session.app.interface = replace(session.app.interface, selected=guest.identity)
    session.wait_for("unique-8091")


def test_a_deterministic_run_does_not_notice_spectators(tmp_path: Path) -> None:
    path = tmp_path / "unique.s"
    path.write_text(GUEST)
    logs = []
    for watched in (False, True):
        with Hypervisor(memory="64M", deterministic=True, seed=3) as room:
            for number in range(3):
                room.create(f"vm{number}", [str(path)], memory="1M", weight=1 + number).start()
            session = Session(room)
            for tab in "123456789":
                for vm in room.vms:
                    with pytest.raises(Exception, match="end"):
                        vm.wait(0.0005)
                if watched:
                    session.press(tab)
                    session.press("j")
            for vm in room.vms:
                vm.kill()
            logs.append([event.line() for event in room.events()])
    assert logs[0] == logs[1]


def test_what_the_demo_shows_is_what_its_guests_hold() -> None:
    """Its own fleet: values put into a guest are read on the screen, and shares are what the guests have counted."""
    from sandbox.cli.demo import build, received

    with Hypervisor(cores=2, engine_mode="exact", quantum=1 << 20) as room:
        burners, others = build(room)
        for vm in (*burners, *others):
            vm.start()
        session = Session(room)
        counter = next(vm for vm in others if vm.name.startswith("counter"))
        session.app.interface = replace(session.app.interface, selected=counter.identity)
        session.wait_for("count 3")
        counter.pause()
        name = list(counter.registers)[8]
        counter.registers[name] = 0x5417C0DE
        counter.memory.write(counter.registers["sp"], b"unique-5126")
        session.press("2")
        session.wait_for("5417c0de")
        session.press("4")
        session.wait_for("unique-5126")
        names = {vm.name for vm in burners}
        session.wait_for(
            lambda screen: all(
                row.received and (row.uptime or 0) > 3 for row in session.app.view.rows if row.name in names
            )
        )
        shown = {row.name: row.received or 0 for row in session.app.view.rows}
        counted = received(room, burners)
        total = sum(shown[str(row["name"])] for row in counted)
        for row in counted:
            assert shown[str(row["name"])] / total == pytest.approx(row["received"], abs=0.04), row


# The command itself, on a terminal and without one


def test_demo_in_a_terminal() -> None:
    with Terminal(["-m", "sandbox", "demo"], 120, 40) as terminal:
        terminal.wait_for("count ", PATIENCE)
        terminal.press("2")
        terminal.wait_for("work:")
        terminal.press(" ")
        terminal.wait_for("is paused")
        terminal.press("sss")
        terminal.wait_for("1 instruction")
        terminal.resize(200, 60)
        terminal.wait_for("WHY IT ENDED")
        terminal.resize(80, 24)
        terminal.wait_for("2 registers")
        terminal.press("/cat\r")
        terminal.wait_for("filter “cat”")
        terminal.press("1i")
        terminal.wait_for("typing into")
        terminal.press("typed-1177\r")
        terminal.wait_for("typed-1177")
        terminal.press("\x1d")
        terminal.press("Ky")
        terminal.wait_for("is killed")
        terminal.press("q")
        assert terminal.wait_for_end(PATIENCE) == 0
        assert terminal.is_restored()
        assert "RECEIVED" in terminal.screen.plain and "ENTITLED" in terminal.screen.plain


def test_demo_without_a_terminal() -> None:
    """A table: what the guests counted in their memory, beside what their weights entitle them to."""
    done = subprocess.run(
        [sys.executable, "-m", "sandbox", "demo", "--json", "--seconds", "2"],
        capture_output=True, text=True, timeout=PATIENCE * 2, cwd=ROOT, check=True,
    )  # fmt: skip
    rows = json.loads(done.stdout)
    assert len(rows) >= 10
    assert {row["arch"] for row in rows} == {"x86_64", "i386", "arm64", "arm", "riscv64"}
    assert sum(row["received"] for row in rows) == pytest.approx(1)
    assert sum(row["entitled"] for row in rows) == pytest.approx(1)
    for row in rows:
        assert row["counted"] > 0
        assert row["ratio"] == pytest.approx(1, abs=0.25), row


@pytest.mark.parametrize("form", ["text", "html", "json"])  # SVG: the pictures of the README
def test_still_pictures(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"picture.{form}"
    options = {"text": [], "json": ["--json"]}.get(form, [f"--{form}", str(path)])
    done = subprocess.run(
        [sys.executable, "-m", "sandbox", "demo", "--once", "--seconds", "1", "--size", "120x40", *options],
        capture_output=True, text=True, timeout=PATIENCE * 2, cwd=ROOT, check=True,
    )  # fmt: skip
    shown = path.read_text() if path.exists() else done.stdout
    assert "burner-riscv64" in shown
    if form == "text":
        assert len(done.stdout.splitlines()) == 40
    if form == "json":
        assert json.loads(shown)["host"]["cores"] >= 1


README = (ROOT / "README.md").read_text()
PICTURES = re.findall(r"^sandbox (demo --once .*--svg (\S+))$", README, re.MULTILINE)


@pytest.mark.parametrize(("command", "path"), PICTURES, ids=[path for _, path in PICTURES])
def test_the_pictures_of_the_readme(command: str, path: str, tmp_path: Path) -> None:
    """The command that stands there makes such a picture, and the one that is shown was made by it."""
    made = tmp_path / path
    made.parent.mkdir(parents=True)
    subprocess.run(
        [sys.executable, "-m", "sandbox", *command.split()],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=PATIENCE * 2, check=True,
    )  # fmt: skip
    seen = [ElementTree.parse(picture).getroot() for picture in (made, ROOT / path)]
    assert [root.get("viewBox") for root in seen] == [seen[0].get("viewBox")] * 2
    for root in seen:
        words = " ".join("".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text"))
        for word in ("sandbox", "burner-riscv64", "SHARE", "DUE", "running", "crashed", "? help"):
            assert word in words, word
    assert f"]({path})" in README, "nobody looks at it"
    assert (ROOT / path).stat().st_size < 150_000


def test_the_readme_has_pictures() -> None:
    assert len(PICTURES) == 2
