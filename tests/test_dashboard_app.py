"""The app with a source made of samples: keys, modes, commands, undo, and what is asked of the source."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sandbox.dashboard import sample
from sandbox.dashboard.app import App
from sandbox.dashboard.commands import COMMANDS, completions
from sandbox.dashboard.interface import BROWSE, COMMAND, FILTER, TYPE, Interface
from sandbox.dashboard.keymap import BINDINGS, Binding
from sandbox.dashboard.keys import Decoder, Key
from sandbox.dashboard.layout import compose
from sandbox.dashboard.palette import Look
from sandbox.dashboard.source import Done, Request, Wish
from sandbox.dashboard.still import to_text
from sandbox.dashboard.view import View
from sandbox.errors import StateError


class FakeSource:
    """Twelve machines that remember what they were asked; "step" is refused."""

    read_only = False

    def __init__(self) -> None:
        self.machines = sample.machines(12)
        self.asked: list[Request] = []
        self.wishes: list[Wish] = []

    def observe(self, wish: Wish) -> View:
        self.wishes.append(wish)
        shown = [vm for vm in self.machines if wish.filter in vm.name]
        shown.sort(key=lambda vm: getattr(vm, wish.sort), reverse=wish.descending)
        order = tuple(vm.identity for vm in shown)
        selected = next((vm for vm in shown if vm.identity == wish.selected), shown[0] if shown else None)
        view = sample.view()
        return replace(
            view,
            order=order,
            rows=tuple(shown[wish.first : wish.first + wish.count]),
            first=wish.first,
            detail=replace(view.detail, vm=selected) if view.detail and selected else None,
        )

    def perform(self, request: Request) -> Done:
        self.asked.append(request)
        if request.verb == "step":
            raise StateError("pause the VM before you step it")
        if request.verb == "weight":
            vm = next(vm for vm in self.machines if vm.identity == request.vm)
            twice, half = vm.weight * 2, max(1, vm.weight // 2)
            request = replace(request, value={"+": twice, "-": half}.get(str(request.value), request.value))
            assert isinstance(request.value, int)
            self.machines = tuple(
                replace(other, weight=request.value) if other is vm else other for other in self.machines
            )
            return Done(f"weight of {vm.name}: {request.value:d}", Request("weight", vm.identity, vm.weight))
        return Done(f"{request.verb} done")

    def symbols(self, vm: str, prefix: str, limit: int = 20) -> list[str]:
        return [name for name in ("main", "malloc", "_start") if name.startswith(prefix)]

    def version(self) -> int:
        return 0


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


@pytest.fixture
def app(source: FakeSource) -> App:
    app = App(source, Interface(), Look())
    app.look_again()
    return app


def press(app: App, keys: str) -> None:
    decoder = Decoder()
    for key in [*decoder.feed(keys.encode(), 0.0), *decoder.expire(9.0)]:
        app.press(key)
        app.look_again()


def screen(app: App) -> str:
    return to_text(compose(app.view, app.interface, *app.size, app.look))


def test_the_first_vm_is_selected(app: App) -> None:
    assert app.interface.selected == app.view.order[0]


MOVES = {
    "down": ("j", 1),
    "down by arrow": ("\x1b[B", 1),
    "up at the top": ("k", 0),
    "down and up": ("jjjk", 2),
    "end": ("\x1b[F", 11),
    "home": ("jjj\x1b[H", 0),
    "past the end": ("j" * 30, 11),
    "page": ("\x1b[6~", 6),
}


@pytest.mark.parametrize(("keys", "expected"), MOVES.values(), ids=MOVES)
def test_moving(app: App, keys: str, expected: int) -> None:
    press(app, keys)
    assert app.view.order.index(app.interface.selected) == expected


def test_selection_survives_another_order(app: App) -> None:
    press(app, "jj")
    chosen = app.interface.selected
    press(app, "O")
    assert app.interface.selected == chosen
    assert app.view.order.index(chosen) == 9


def test_tabs(app: App) -> None:
    press(app, "3")
    assert app.interface.tab == "tasks"
    press(app, "\t")
    assert app.interface.tab == "memory"
    press(app, "\x1b[Z\x1b[Z")
    assert app.interface.tab == "registers"
    assert "processor" in app.wish().parts


def test_open_and_back(app: App) -> None:
    press(app, "\r")
    assert app.interface.zoom and app.interface.mode == BROWSE
    press(app, "\x1b")
    assert not app.interface.zoom


def test_filter_is_live_and_escape_clears_it(app: App) -> None:
    press(app, "/")
    assert app.interface.mode == FILTER
    press(app, "sieve")
    assert len(app.view.order) == 2
    press(app, "\r")
    assert app.interface.mode == BROWSE and app.interface.filter == "sieve"
    assert "2 of 12" in screen(app)
    press(app, "\x1b")
    assert len(app.view.order) == 12


def test_a_filter_that_matches_nothing(app: App) -> None:
    press(app, "/nothing\r")
    assert app.view.detail is None
    assert "no VM matches" in screen(app)
    press(app, "jk+")
    assert app.interface.message == "no VM is selected"


ACTIONS = {
    "pause": (" ", Request("pause", "vm-1")),
    "start": ("r", Request("start", "vm-1")),
    "stop": ("t", Request("stop", "vm-1")),
    "weight up": ("+", Request("weight", "vm-1", "+")),
    "weight down": ("-", Request("weight", "vm-1", "-")),
    "weight by name": (":weight 7\r", Request("weight", "vm-1", 7)),
    "beginning of a name": (":we 7\r", Request("weight", "vm-1", 7)),
    "cpus": (":cpus 0.5\r", Request("cpus", "vm-1", 0.5)),
    "no cap": (":cpus none\r", Request("cpus", "vm-1", None)),
    "memory": (":memory 64M\r", Request("memory", "vm-1", 64 << 20)),
    "continue": ("c", Request("continue", "vm-1", None)),
    "continue to": (":continue 0x401000\r", Request("continue", "vm-1", 0x401000)),
    "breakpoint at a symbol": ("bmain\r", Request("break", "vm-1", "main")),
    "syscall": ("S", Request("syscall", "vm-1")),
    "policy": (":policy round-robin\r", Request("policy", "", "round-robin")),
    "next policy": ("p", Request("policy", "", "next")),
    "quantum": (":quantum 2ms\r", Request("quantum", "", "2ms")),
    "longer turns": (")", Request("quantum", "", "+")),
    "cap down": ("<", Request("cpus", "vm-1", "-")),
    "memory up": ("}", Request("memory", "vm-1", "+")),
    "continue to a symbol": ("Cmain\r", Request("continue", "vm-1", "main")),
}


@pytest.mark.parametrize(("keys", "expected"), ACTIONS.values(), ids=ACTIONS)
def test_actions(app: App, source: FakeSource, keys: str, expected: Request) -> None:
    app.interface = replace(app.interface, selected="vm-1")
    app.look_again()
    press(app, keys)
    assert source.asked == [expected]


REFUSED = {
    "unknown command": (":frobnicate\r", "no command"),
    "ambiguous": (":s\r", "could be"),
    "not a number": (":weight much\r", "not a count"),
    "not a size": (":memory lots\r", "64M"),
    "no column": (":sort beauty\r", "no column"),
    "no panel": (":tab kitchen\r", "no panel"),
    "too many arguments": (":pause now\r", "no argument"),
    "source refuses": ("s", "pause the VM"),
    "nothing to undo": ("u", "nothing to undo"),
    "unbound key": ("Z", "? shows"),
}


@pytest.mark.parametrize(("keys", "expected"), REFUSED.values(), ids=REFUSED)
def test_trouble_is_said_in_the_footer(app: App, keys: str, expected: str) -> None:
    press(app, keys)
    assert expected in app.interface.message
    assert expected in screen(app).splitlines()[-1]


def test_kill_asks(app: App, source: FakeSource) -> None:
    press(app, "K")
    assert "kill" in screen(app).splitlines()[-1]
    press(app, "n")
    assert source.asked == []
    press(app, "Ky")
    assert [request.verb for request in source.asked] == ["kill"]


def test_undo(app: App, source: FakeSource) -> None:
    before = {vm.identity: vm.weight for vm in source.machines}
    press(app, "+++")
    press(app, "j-")
    press(app, "uuuu")
    assert {vm.identity: vm.weight for vm in source.machines} == before
    press(app, "u")
    assert "nothing to undo" in app.interface.message


def test_typing_into_a_guest(app: App, source: FakeSource) -> None:
    press(app, "i")
    assert app.interface.mode == TYPE
    assert "typing into" in screen(app)
    press(app, "ls q\r\x03")
    press(app, "\x1b[A")
    sent = b"".join(request.value for request in source.asked if isinstance(request.value, bytes))
    assert sent == b"ls q\n\x03\x1b[A"
    press(app, "\x1d")
    assert app.interface.mode == BROWSE and not app.finished


def test_read_only(source: FakeSource) -> None:
    source.read_only = True
    app = App(source, Interface(), Look())
    app.look_again()
    for keys in (*" +<}KisScp)u", ":stop\r", ":break main\r", ":quantum 2\r"):
        press(app, keys)
        assert "read-only" in app.interface.message, keys
        app.interface = replace(app.interface, message="")
    assert source.asked == []
    press(app, "j2")
    assert app.interface.tab == "registers"


def test_command_line(app: App, source: FakeSource) -> None:
    press(app, ":goto ma\t")
    assert app.interface.choices == ("main", "malloc")
    press(app, "i\t\r")
    assert app.interface.tab == "memory" and app.wish().address == "main"
    press(app, ":\x1b[A")
    assert app.interface.line == "goto main "
    press(app, "\x1b")
    assert app.interface.mode == BROWSE
    press(app, ":\x7f")
    assert app.interface.mode == BROWSE


def test_help_and_quit(app: App) -> None:
    press(app, "?")
    assert "Commands" in screen(app) or "Move" in screen(app)
    press(app, "?")
    assert not app.interface.help
    press(app, "q")
    assert app.finished


def test_scrolling_the_console(app: App) -> None:
    press(app, "\r\x1b[A\x1b[A")
    assert app.interface.scroll == 2
    press(app, "\x1b[B\x1b[B\x1b[B")
    assert app.interface.scroll == 0


@pytest.mark.parametrize("name", ["signal-term", "signal-hup"])
def test_signals_end_it(app: App, name: str) -> None:
    app.press(Key(name))
    assert app.finished


def test_ctrl_c_leaves_but_only_the_mode_one_is_in(app: App) -> None:
    press(app, ":x")
    app.press(Key("signal-int"))
    assert app.interface.mode == BROWSE and not app.finished
    app.press(Key("signal-int"))
    assert app.finished


def test_every_binding_names_a_command() -> None:
    names = {command.name for command in COMMANDS}
    for binding in BINDINGS:
        assert binding.line.removeprefix(":").split()[0] in names, binding


@pytest.mark.parametrize("binding", BINDINGS, ids=lambda binding: binding.line)
def test_every_key_is_safe_without_any_vm(binding: Binding) -> None:
    class Nobody(FakeSource):
        def observe(self, wish: Wish) -> View:
            return View()

    app = App(Nobody(), Interface(), Look())
    app.look_again()
    for key in binding.keys:
        app.press(Key(key, b"x"))
        app.look_again()
        compose(app.view, app.interface, *app.size, app.look)


COMPLETED = {
    "command": ("pa", ["pause"]),
    "commands": ("st", ["start", "step", "stop"]),
    "panel": ("tab re", ["registers"]),
    "symbol": ("break ma", ["main"]),
    "policy": ("policy f", ["fair"]),
    "nothing": ("pause x", []),
    "unknown": ("zzz ", []),
}


@pytest.mark.parametrize(("line", "expected"), COMPLETED.values(), ids=COMPLETED)
def test_completions(line: str, expected: list[str]) -> None:
    assert completions(line, lambda prefix: ["main"], ("fair", "deadline")) == expected


def test_wishes_ask_only_for_what_is_open(app: App, source: FakeSource) -> None:
    press(app, "5")
    assert source.wishes[-1].parts == {"syscalls"}
    assert app.interface.mode != COMMAND
