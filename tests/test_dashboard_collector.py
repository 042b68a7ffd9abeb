"""From a hypervisor to views: shares, rates, order, windows; what the screen shows comes from live VMs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.dashboard.app import App
from sandbox.dashboard.collector import Collector, _window
from sandbox.dashboard.interface import Interface
from sandbox.dashboard.keys import Key
from sandbox.dashboard.layout import compose
from sandbox.dashboard.palette import Look
from sandbox.dashboard.shares import Claim, entitled, received
from sandbox.dashboard.source import Request, Wish
from sandbox.dashboard.tracer import parse
from sandbox.errors import ConfigurationError, SandboxError, StateError
from tests.fake_machine import hypervisor

SECOND = 1_000_000_000
SHARES = {
    "equal": ([(1, 1.0), (1, 1.0)], 1, [0.5, 0.5]),
    "weights": ([(1, 1.0), (3, 1.0)], 1, [0.25, 0.75]),
    "one core each": ([(1, 1.0), (8, 1.0)], 2, [0.5, 0.5]),
    "a heavy one is clipped to a core": ([(8, 1.0), (1, 1.0), (1, 1.0)], 2, [0.5, 0.25, 0.25]),
    "a sleeper is due what it wants": ([(1, 0.1), (1, 1.0)], 1, [0.1, 0.9]),
    "nobody": ([(1, 0.0)], 1, [None]),
    "one that never wanted": ([(1, 0.0), (1, 1.0)], 1, [None, 1.0]),
    "idle cores": ([(1, 0.2), (5, 0.6)], 4, [0.25, 0.75]),
}


@pytest.mark.parametrize(("wants", "cores", "expected"), SHARES.values(), ids=SHARES)
def test_entitled(wants: list[tuple[int, float]], cores: int, expected: list[float | None]) -> None:
    claims = [Claim(0, round(wanted * SECOND), weight) for weight, wanted in wants]
    found = entitled(claims, SECOND, cores)
    assert [share if share is None else round(share, 6) for share in found] == expected


@given(
    st.lists(st.tuples(st.integers(1, 10_000), st.integers(0, 2 * SECOND)), max_size=30),
    st.integers(1, 8),
    st.integers(0, SECOND),
)
def test_entitlements_are_fractions_of_one(wants: list[tuple[int, int]], cores: int, window: int) -> None:
    claims = [Claim(0, wanted, weight) for weight, wanted in wants]
    found = [share for share in entitled(claims, window, cores) if share is not None]
    assert all(0 < share <= 1 + 1e-9 for share in found)
    assert not found or sum(found) == pytest.approx(1)


def test_received() -> None:
    assert received([Claim(1, 1, 1), Claim(3, 3, 1)]) == [0.25, 0.75]
    assert received([Claim(0, 1, 1)]) == [None]


@given(st.integers(0, 50), st.integers(-5, 60), st.integers(1, 20), st.integers(1, 51))
def test_the_window_holds_the_selection(at: int, first: int, count: int, total: int) -> None:
    at = min(at, total - 1)
    top = _window(at, first, count, total)
    assert 0 <= top <= max(0, total - count)
    assert top <= at < top + count


TRACES = {
    "plain": ("close(3)                                = 0", (1, "close", b"3", "0", "")),
    "error": ('openat(3, "/x", O_RDONLY)   = -1 ENOENT', (1, "openat", b'3, "/x", O_RDONLY', "-1", "ENOENT")),
    "task": ("[17] getpid()                            = 17", (17, "getpid", b"", "17", "")),
    "a sign in a string": ('write(1, "a = b", 5)  = 5', (1, "write", b'1, "a = b", 5', "5", "")),
    "no result": ("exit_group(0)                           = ?", (1, "exit_group", b"0", "?", "")),
    "rubbish": ("", (1, "", b"", "", "")),
}  # fmt: skip


@pytest.mark.parametrize(("line", "expected"), TRACES.values(), ids=TRACES)
def test_trace_lines(line: str, expected: tuple[int, str, bytes, str, str]) -> None:
    call = parse(line, 5)
    assert (call.task, call.name, call.text, call.result, call.error) == expected


def test_an_empty_hypervisor() -> None:
    with hypervisor() as room:
        view = Collector(room).observe(Wish())
        assert (view.total, view.order, view.rows, view.detail) == (0, (), (), None)


def test_rows_order_and_filter() -> None:
    with hypervisor() as room:
        for number in (10, 2, 1):
            room.create(f"web-{number}", "spin", weight=number)
        room.create("db", "exit 0", arch="arm64").start().wait(60)
        collector = Collector(room)

        def names(**wish: object) -> list[str]:
            view = collector.observe(Wish(**wish))  # type: ignore[arg-type]
            return [row.name for row in view.rows]

        assert names() == ["db", "web-1", "web-2", "web-10"]
        assert names(sort="weight", descending=True)[0] == "web-10"
        assert names(filter="web") == ["web-1", "web-2", "web-10"]
        assert names(filter="stopped") == ["db"]
        assert names(filter="arm64") == ["db"]
        assert names(filter="nothing") == []
        assert names(count=2, selected=room.vm("web-10").identity) == ["web-2", "web-10"]
        view = collector.observe(Wish(filter="web", selected=room.vm("db").identity))
        assert view.detail is not None and view.detail.vm.name == "web-1", "what is filtered out is not selected"


def test_console_of_a_live_vm() -> None:
    with hypervisor() as room:
        room.create("it", "print unique-5417").start().wait(60)
        view = Collector(room).observe(Wish(parts=frozenset({"console"})))
        assert view.detail is not None and view.detail.console is not None
        assert b"unique-5417" in view.detail.console.tail


def test_events() -> None:
    with hypervisor() as room:
        collector = Collector(room)
        vm = room.create("it", "exit 3").start()
        vm.wait(60)
        kinds = [event.kind for event in collector.observe(Wish(parts=frozenset({"events"}))).events]
        assert kinds == ["created", "started", "stopped"]
        assert collector.observe(Wish()).events == ()


def test_the_scheduler_is_watched_only_while_it_is_shown() -> None:
    with hypervisor() as room:
        room.create("it", "spin").start()
        collector = Collector(room)
        wish = Wish(parts=frozenset({"scheduler"}))
        while not (picture := collector.observe(wish).scheduler) or not picture.slices:
            pass
        assert picture.policy == "fair" and "fair" in collector.observe(Wish()).host.policies
        assert room._turns.tape is None


DEEDS = {
    "pause": ("pause", None, "paused"),
    "kill": ("kill", None, "stopped"),
    "stop": ("stop", None, "stopped"),
}


@pytest.mark.parametrize(("verb", "value", "state"), DEEDS.values(), ids=DEEDS)
def test_deeds(verb: str, value: object, state: str) -> None:
    with hypervisor() as room:
        vm = room.create("it", "spin").start()
        done = Collector(room).perform(Request(verb, vm.identity, value))  # type: ignore[arg-type]
        if verb == "stop":
            vm.wait(60)
        assert vm.state == state
        assert "it" in done.message


def test_limits_and_their_undoing() -> None:
    with hypervisor() as room:
        vm = room.create("it", "spin", weight=4, memory="1M")
        collector = Collector(room)
        for verb, value in (("weight", 8), ("cpus", 0.5), ("memory", 2 << 20)):
            before = getattr(vm.config, verb)
            done = collector.perform(Request(verb, vm.identity, value))
            assert getattr(vm.config, verb) == value
            assert done.undo is not None
            collector.perform(done.undo)
            assert getattr(vm.config, verb) == before


@pytest.mark.parametrize(("columns", "rows"), [(40, 10), (80, 24), (120, 40), (200, 60)])
@pytest.mark.parametrize("start", [0, 17, 29])
def test_the_selected_vm_is_on_the_screen(columns: int, rows: int, start: int) -> None:
    with hypervisor() as room:
        vms = [room.create(f"vm-{number}", "spin") for number in range(30)]
        app = App(Collector(room), Interface(selected=vms[start].identity), Look())
        app.size = (columns, rows)
        app.look_again()
        for key in ["", *["down"] * 31, "O", "enter", "enter", *["up"] * 7, "home", "page-down", "end", "o"]:
            app.press(Key(key))
            app.look_again()
            shown = compose(app.view, app.interface, *app.size, app.look)
            marked = [row.plain for row in shown if any(span.style == "select" for span in row.spans)]
            name = app.view.detail.vm.name if app.view.detail else ""
            assert app.interface.zoom or (len(marked) == 1 and f" {name} " in marked[0]), (key, name)


def test_names_that_look_like_the_identities_of_others() -> None:
    with hypervisor() as room:
        first, second = room.create("vm-2", "spin"), room.create("vm-1", "spin")
        assert (first.identity, second.identity) == ("vm-1", "vm-2")
        collector = Collector(room)
        detail = collector.observe(Wish(selected=first.identity, parts=frozenset({"console"}))).detail
        assert detail is not None and detail.vm.name == "vm-2"
        first.start()
        collector.perform(Request("kill", first.identity))
        assert (first.state, second.state) == ("stopped", "created")


def test_typing() -> None:
    with hypervisor() as room:
        vm = room.create("it", "cat").start()
        Collector(room).perform(Request("type", vm.identity, b"hello\n"))
        vm.console.close()
        assert vm.wait(60) == 0
        assert vm.console.tail() == b"hello\n"


REFUSED = {
    "of a VM that is gone": (Request("pause", "vm-99"), StateError),
    "in the wrong state": (Request("resume", "vm-1"), StateError),
    "unknown verb": (Request("paint", "vm-1"), ConfigurationError),
    "senseless weight": (Request("weight", "vm-1", 0), ConfigurationError),
    "unknown symbol": (Request("break", "vm-1", "no_such_symbol"), SandboxError),
    "no policy": (Request("policy", "", "lottery"), ConfigurationError),
    "no quantum": (Request("quantum", "", "soon"), ConfigurationError),
    "a quantum too short": (Request("quantum", "", 0), ConfigurationError),
    "unknown verb of the scheduler": (Request("weather", "", "fair"), ConfigurationError),
    "a step of what does not stand still": (Request("step", "vm-1", 1), StateError),
    "to the next call of what does not stand still": (Request("syscall", "vm-1"), StateError),
    "on with what was never started": (Request("continue", "vm-1", 0x1000), StateError),
    "more of a cap that is not there": (Request("cpus", "vm-1", "+"), StateError),
}


@pytest.mark.parametrize(("request_", "error"), REFUSED.values(), ids=REFUSED)
def test_refusals(request_: Request, error: type[SandboxError]) -> None:
    with hypervisor() as room:
        room.create("it", "spin")
        with pytest.raises(error):
            Collector(room).perform(request_)
