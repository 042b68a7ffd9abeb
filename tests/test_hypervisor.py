"""VMs under the hypervisor, with fake machines: lives, limits, restarts, events, closing."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from sandbox.errors import ConfigurationError, GuestTimeout, LoadError, StateError
from sandbox.hypervisor import Hypervisor
from sandbox.vm import VM
from tests.fake_machine import Inventory, hypervisor

BOTH = pytest.mark.parametrize("deterministic", [False, True], ids=["free", "deterministic"])
PATIENCE = 60


def kinds(room: Hypervisor, name: str) -> list[str]:
    return [event.kind for event in room.events() if event.vm == name]


@BOTH
@pytest.mark.parametrize(
    ("program", "state", "status", "reason"),
    [
        ("exit 0", "stopped", 0, None),
        ("exit 3", "stopped", 3, None),
        ("work 5000000", "stopped", 0, None),
        ("sleep 0.01", "stopped", 0, None),
        ("crash", "crashed", 139, "SIGSEGV"),
        ("raise", "crashed", 125, "defect"),
    ],
)
def test_how_vms_end(deterministic: bool, program: str, state: str, status: int, reason: str | None) -> None:
    stock = Inventory()
    with hypervisor(stock, deterministic=deterministic) as room:
        vm = room.create("it", program)
        assert vm.state == "created"
        assert vm.start().wait(PATIENCE) == status
        assert (vm.state, vm.exit_status) == (state, status)
        assert reason in (vm.reason or "") if reason else vm.reason is None
        assert kinds(room, "it")[:2] == ["created", "started"]
        assert kinds(room, "it")[-1] == state
    assert stock == Inventory(engines_opened=stock.engines_opened, closed=True)


@BOTH
def test_a_defect_ends_nobody_else(deterministic: bool) -> None:
    with hypervisor(cores=2, deterministic=deterministic) as room:
        good = [room.create(f"good{number}", "work 20000000") for number in range(4)]
        bad = [room.create(f"bad{number}", "raise") for number in range(3)]
        for vm in (*good, *bad):
            vm.start()
        assert room.run(PATIENCE)
        assert [vm.state for vm in good] == ["stopped"] * 4
        assert [vm.state for vm in bad] == ["crashed"] * 3
        assert "ValueError: a defect" in next(event.line() for event in room.events() if event.kind == "defect")


@BOTH
@pytest.mark.parametrize("broken", ["bad-kill", "bad-release"])
@pytest.mark.parametrize("ending", ["kill", "stop", "timeout", "close"])
def test_a_machine_that_cannot_be_ended_properly_is_over_all_the_same(
    deterministic: bool, broken: str, ending: str
) -> None:
    stock = Inventory()
    with hypervisor(stock, deterministic=deterministic) as room:
        vm = room.create("it", broken, timeout=0.01 if ending == "timeout" else None).start()
        other = room.create("other", "cat").start()
        if ending == "timeout":
            vm.wait(PATIENCE)
        elif ending != "close":
            getattr(vm, ending)()
        if ending != "close":
            assert vm.lifecycle.ended
            assert other.state == "running"
            assert ("defect" in kinds(room, "it")) or (broken == "bad-kill" and ending == "stop")
            other.console.close()
            assert other.wait(PATIENCE) == 0
    assert stock.engines == stock.grounds == stock.machines == 0


@BOTH
def test_pause_and_resume(deterministic: bool) -> None:
    with hypervisor(deterministic=deterministic) as room:
        vm = room.create("it", "spin").start()
        vm.pause()
        assert vm.state == "paused"
        turns = vm.stats.turns
        vm.pause()
        with pytest.raises(GuestTimeout):
            vm.wait(0.001)
        assert vm.stats.turns == turns
        vm.resume()
        vm.resume()
        assert vm.state == "running"
        vm.kill()
        assert (vm.state, vm.exit_status, vm.reason) == ("stopped", 137, "killed by the operator")
        vm.kill()
        vm.stop()
        assert kinds(room, "it") == ["created", "started", "paused", "resumed", "stopped"]


@BOTH
@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize(
    ("program", "grace", "status"),
    [("spin", 10, 143), ("stubborn", 0.01, 137), ("cat", 10, 143), ("stubborn", 0, 137)],
)
def test_stop_asks_and_then_kills(deterministic: bool, paused: bool, program: str, grace: float, status: int) -> None:
    with hypervisor(deterministic=deterministic) as room:
        vm = room.create("it", program, restart="always").start()
        if paused:
            vm.pause()
        assert vm.stop(grace) == status
        assert vm.state == "stopped"
        assert not vm.restart_pending
        assert "stop-asked" in kinds(room, "it")


def test_stop_need_not_wait() -> None:
    with hypervisor() as room:
        vm = room.create("it", "spin").start()
        vm.stop(wait=False)
        assert vm.wait(PATIENCE) == 143


@BOTH
def test_illegal_operations_say_what_to_do(deterministic: bool) -> None:
    with hypervisor(deterministic=deterministic) as room:
        vm = room.create("it", "cat")
        for operation in (vm.pause, vm.resume, vm.stop, vm.kill):
            with pytest.raises(StateError, match="created"):
                operation()
        vm.start()
        with pytest.raises(StateError, match="already"):
            vm.start()
        with pytest.raises(StateError, match="stop or kill it first"):
            vm.remove()
        with pytest.raises(StateError, match="pause it"):
            vm.registers["pc"]
        vm.remove(force=True)
        for late in (vm.start, vm.pause, vm.kill, lambda: vm.stats, lambda: vm.files.read("/x")):
            with pytest.raises(StateError, match="removed"):
                late()
        assert room.vms == () and vm.wait() == 137
    with pytest.raises(StateError, match="closed"):
        room.create("late", "spin")


def test_names_are_unique_and_may_change() -> None:
    with hypervisor() as room:
        first = room.create("first", "spin")
        with pytest.raises(ConfigurationError, match="already"):
            room.create("first", "spin")
        second = room.create("second", "spin")
        with pytest.raises(ConfigurationError, match="already"):
            second.rename("first")
        second.rename("third")
        assert room.vm("third") is second and room.vm(second.identity) is second
        assert [vm.name for vm in room.vms] == ["first", "third"]
        with pytest.raises(StateError, match="no VM named second"):
            room.vm("second")
        first.remove()
        assert room.create("first", "spin").identity != first.identity
        with pytest.raises(ConfigurationError):
            second.rename("not/a name")


def test_nothing_is_left_of_a_vm_that_cannot_be_made() -> None:
    stock = Inventory()
    with hypervisor(stock) as room:
        with pytest.raises(LoadError):
            room.create("it", "unloadable")
        with pytest.raises(ConfigurationError, match="program"):
            room.create("it")
        assert room.vms == () and stock.grounds == 0
        room.create("it", "spin")


@BOTH
@pytest.mark.parametrize(
    ("program", "policy", "starts", "state"),
    [
        ("exit 1", "never", 1, "stopped"),
        ("exit 0", "on-failure", 1, "stopped"),
        ("exit 1", "on-failure:3", 4, "stopped"),
        ("crash", "on-failure:2", 3, "crashed"),
        ("raise", "on-failure:2", 3, "crashed"),
    ],
)
def test_restarts(deterministic: bool, program: str, policy: str, starts: int, state: str) -> None:
    with hypervisor(deterministic=deterministic) as room:
        vm = room.create("it", program, restart=policy).start()
        vm.wait(PATIENCE)
        assert (vm.stats.starts, vm.state) == (starts, state)
        assert kinds(room, "it").count("restart-planned") == starts - 1


def test_restart_backs_off_and_may_be_stopped() -> None:
    with hypervisor(deterministic=True) as room:
        vm = room.create("it", "exit 0", restart="always").start()
        assert not room.run(10)
        delays = [event.record.delay for event in room.events() if event.kind == "restart-planned"]  # type: ignore[attr-defined]
        assert delays == [0.1 * 2**number for number in range(len(delays))] and len(delays) >= 6
        assert vm.restart_pending and vm.state == "stopped"
        vm.kill()
        assert room.run(100)
        assert vm.stats.starts == len(delays)
        vm.start()
        assert vm.stats.starts == len(delays) + 1


@BOTH
@pytest.mark.parametrize(
    ("program", "limits", "status", "event"),
    [
        ("spin", {"timeout": 0.01}, 124, "timeout"),
        ("cat", {"timeout": "10ms"}, 124, "timeout"),
        ("spin", {"cpu_timeout": 0.002}, 137, "cpu_timeout"),
        ("spin", {"watchdog": 0.002}, 137, "watchdog"),
    ],
)
def test_deadlines(deterministic: bool, program: str, limits: dict[str, Any], status: int, event: str) -> None:
    with hypervisor(deterministic=deterministic) as room:
        vm = room.create("it", program, **limits).start()
        assert vm.wait(PATIENCE) == status
        assert vm.reason
        assert [each.record.limit for each in room.events() if each.kind == "limit-reached"] == [event]  # type: ignore[attr-defined]


def test_the_watchdog_hears_system_calls_and_may_restart() -> None:
    with hypervisor(deterministic=True) as room:
        busy = room.create("busy", "calls", watchdog="5ms").start()
        hung = room.create("hung", "spin", watchdog="5ms", restart="on-failure:1").start()
        assert not room.run(1)
        assert busy.state == "running"
        assert (hung.state, hung.stats.starts) == ("crashed", 2)


def test_a_timeout_may_be_changed_while_it_runs() -> None:
    with hypervisor(deterministic=True) as room:
        vm = room.create("it", "spin", timeout=1).start()
        assert not room.run(0.5)
        vm.set(timeout=3)
        assert not room.run(2)
        vm.set(timeout=None)
        assert not room.run(5)
        vm.set(timeout=0.1)
        assert vm.wait(1) == 124


def test_limits_change_all_or_none() -> None:
    with hypervisor() as room:
        vm = room.create("it", "spin").start()
        vm.set(weight=5, cpus=0.5, memory="64M", max_tasks=7)
        assert (vm.config.weight, vm.config.cpus, vm.config.memory, vm.config.max_tasks) == (5, 0.5, 64 << 20, 7)
        with pytest.raises(ConfigurationError):
            vm.set(weight=6, cpus="many")
        with pytest.raises(ConfigurationError, match="there is no limit 'wieght'; do you mean 'weight'"):
            vm.set(wieght=2)
        with pytest.raises(ConfigurationError, match="cannot be changed"):
            vm.set(rootfs="/")
        assert vm.config.weight == 5
        vm.set(cpus=None)
        assert vm.config.cpus is None
        changed = [event.record.limit for event in room.events() if event.kind == "limit-changed"]  # type: ignore[attr-defined]
        assert changed == ["weight", "cpus", "memory", "max_tasks", "cpus"]


def share_of(room: Hypervisor, vms: list[VM], seconds: float) -> list[float]:
    before = [vm.stats.cpu_seconds for vm in vms]
    room.run(seconds)
    return [vm.stats.cpu_seconds - was for vm, was in zip(vms, before, strict=True)]


def test_shares_and_caps_in_virtual_time() -> None:
    with hypervisor(deterministic=True) as room:
        vms = [room.create(f"w{weight}", "spin", weight=weight).start() for weight in (1, 2, 5)]
        got = share_of(room, vms, 2)
        assert [value / sum(got) for value in got] == pytest.approx([1 / 8, 2 / 8, 5 / 8], abs=0.01)
        vms[2].set(cpus=0.1)
        got = share_of(room, vms, 2)
        assert [value / sum(got) for value in got] == pytest.approx([0.3, 0.6, 0.1], abs=0.01)
        vms[2].set(cpus=None, weight=1)
        vms[1].set(weight=1)
        got = share_of(room, vms, 2)
        assert [value / sum(got) for value in got] == pytest.approx([1 / 3] * 3, abs=0.01)


def test_output_is_limited_by_the_second() -> None:
    with hypervisor(deterministic=True) as room:
        vm = room.create("it", "flood", output=10_000).start()
        room.run(10)
        assert vm.stats.output_bytes == pytest.approx(100_000, rel=0.05)
        assert vm.stats.throttled_seconds > 9


@BOTH
def test_the_console_goes_both_ways(deterministic: bool) -> None:
    with hypervisor(deterministic=deterministic) as room:
        vm = room.create("it", "cat")
        heard: list[tuple[int, bytes]] = []
        forget = vm.console.listen(lambda stream, data: heard.append((stream, data)))
        assert vm.console.write(b"before ") == 7
        vm.start()
        with pytest.raises(GuestTimeout):
            vm.wait(0.01)
        vm.console.write(b"after")
        vm.console.close()
        assert vm.wait(PATIENCE) == 0
        assert vm.console.read() == b"before after"
        assert vm.console.read() == b""
        assert vm.console.since(7)[0] == b"after"
        assert vm.console.tail(3) == b"ter"
        assert b"".join(data for _, data in heard) == b"before after"
        forget()
        assert vm.stats.input_bytes == vm.stats.output_bytes == 12


def test_who_types_need_not_wait_for_a_whole_turn() -> None:
    """Another VM's turn is cut short for an interactive one, and for no other."""
    for latency in ("normal", "interactive"):
        stock = Inventory()
        with hypervisor(stock) as room:
            room.create("hog", "spin").start()
            it = room.create("it", "cat", latency=latency).start()
            for number in range(300 if latency == "normal" else 1_000_000):
                it.console.write(b"x")
                while it.console.total <= number:
                    os.sched_yield()
                if stock.hurried:
                    break
        assert bool(stock.hurried) == (latency == "interactive")


def test_the_console_keeps_the_newest() -> None:
    with hypervisor() as room:
        vm = room.create("it", "spin")
        vm.console._kept = 100
        for number in range(100):
            vm.console.put(1, b"%03d" % number)
        assert vm.console.read() == b"".join(b"%03d" % number for number in range(100))[-100:]
        assert len(vm.console._buffer) <= 203
        assert vm.console.since(0)[0][-3:] == b"099"


def test_events_can_be_followed() -> None:
    with hypervisor() as room:
        vm = room.create("it", "work 1000")
        heard: list[str] = []
        follower = threading.Thread(target=lambda: heard.extend(event.kind for event in room.events(follow=True)))
        follower.start()
        vm.start()
        vm.wait(PATIENCE)
    follower.join(PATIENCE)
    assert heard == ["created", "started", "stopped"]


def test_observers_hear_at_once() -> None:
    with hypervisor() as room:
        heard: list[str] = []
        forget = room.observe(lambda event: heard.append(event.kind))
        room.create("it", "spin")
        forget()
        room.create("other", "spin")
        assert heard == ["created"]


def log_of(cores: int, seed: int) -> list[str]:
    scripts = ["work 9000000", "sleep 0.02", "cat", "crash", "spin", "print hello", "exit 2", "calls"]
    with hypervisor(cores=cores, deterministic=True, seed=seed) as room:
        for number, script in enumerate(scripts):
            restart = "on-failure:2" if number % 2 else "never"
            room.create(f"vm{number}", script, weight=number + 1, restart=restart, timeout=0.5).start()
        room.run(0.05)
        room.vm("vm4").pause()
        room.run(0.05)
        room.vm("vm4").resume()
        room.vm("vm2").console.write(b"hello")
        room.vm("vm7").set(cpus=0.2)
        room.vm("vm0").set(weight=50)
        assert room.run(5)
        figures = [f"{vm.name} {vm.stats.cpu_seconds} {vm.stats.turns} {vm.stats.steal_seconds}" for vm in room.vms]
        return [event.line() for event in room.events()] + figures


def test_the_event_log_is_the_same_on_any_number_of_cores() -> None:
    logs = [log_of(cores, 1) for cores in (1, 2, 3, 1, 2)]
    assert all(log == logs[0] for log in logs)
    assert len(logs[0]) > 30


def test_dedicated_engines_end_with_their_vm() -> None:
    stock = Inventory()
    with hypervisor(stock) as room:
        vms = [room.create(f"vm{number}", "spin", engine="dedicated").start() for number in range(6)]
        for vm in vms:
            assert vm.console.read() == b""
        while any(vm.stats.turns == 0 for vm in vms):
            pass
        assert stock.engines == 6
        for vm in vms:
            vm.kill()
        assert stock.engines == 0


def test_many_vms_share_few_engines() -> None:
    stock = Inventory()
    with hypervisor(stock, deterministic=True) as room:
        vms = [room.create(f"vm{number}", "work 3000000").start() for number in range(200)]
        assert room.run(100)
        assert {vm.state for vm in vms} == {"stopped"}
        assert stock.engines_opened <= 4
        picture = room.scheduler_picture()
        assert picture.policy == "fair" and len(picture.leases) == stock.engines


@pytest.mark.parametrize("policy", ["fair", "round-robin", "earliest-deadline"])
def test_policies(policy: str) -> None:
    with hypervisor(policy=policy, cores=2, deterministic=True) as room:
        for number in range(5):
            room.create(f"vm{number}", "work 5000000").start()
        assert room.run(10)


def test_closing_ends_everything() -> None:
    stock = Inventory()
    threads = threading.active_count()
    room = hypervisor(stock, cores=3)
    vms = [room.create(f"vm{number}", script).start() for number, script in enumerate(["spin", "cat", "stubborn"] * 3)]
    vms[0].pause()
    room.create("never-started", "spin")
    room.close()
    room.close()
    assert {vm.state for vm in vms} == {"stopped"}
    assert stock == Inventory(engines_opened=stock.engines_opened, closed=True)
    assert threading.active_count() == threads


@pytest.mark.parametrize(
    "options",
    [
        {"cores": 0}, {"cores": True}, {"isolation": "worker"}, {"engine_mode": "quick"},
        {"deterministic": True, "engine_mode": "free"}, {"policy": "lottery"},
    ],
)  # fmt: skip
def test_bad_hypervisors(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        hypervisor(**options)
