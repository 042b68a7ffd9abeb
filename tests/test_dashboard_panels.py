"""Panels as goldens: each is a pure function of a view. Also: rows always have their width, whatever the size."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from sandbox.dashboard import sample
from sandbox.dashboard.commands import COMMANDS
from sandbox.dashboard.interface import ASK, COMMAND, FILTER, TYPE, Interface
from sandbox.dashboard.keymap import BINDINGS
from sandbox.dashboard.layout import compose
from sandbox.dashboard.palette import ASCII, QUIET, Look, look_for, styles_for
from sandbox.dashboard.panels import header, vms
from sandbox.dashboard.panels import help as help_panel
from sandbox.dashboard.panels.tasks import tree
from sandbox.dashboard.still import to_html, to_svg, to_text
from sandbox.dashboard.tabs import TABS
from sandbox.dashboard.text import is_harmless, plain_ascii
from sandbox.dashboard.view import STATES, DetailView, TaskView, View, VmView, plain
from tests import golden

PANELS = {tab.name: tab.render for tab in TABS} | {
    "header": header.render,
    "vms": vms.render,
    "help": help_panel.render,
}
VIEW = sample.view()
ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("columns", [80, 170])
@pytest.mark.parametrize("name", PANELS)
def test_panel(name: str, columns: int) -> None:
    height = header.HEIGHT if name == "header" else 14
    rows = PANELS[name](VIEW, sample.interface(), columns, height, Look())
    golden.check(f"panel-{name}-{columns}", to_text(rows))


SCREENS = {
    "80x24": (80, 24, {}),
    "80x24-registers": (80, 24, {"tab": "registers", "zoom": True}),
    "80x24-help": (80, 24, {"help": True}),
    "120x40": (120, 40, {"tab": "memory"}),
    "200x50": (200, 50, {}),
    "80x24-filter": (80, 24, {"mode": FILTER, "line": "arm", "cursor": 3}),
    "80x24-command": (80, 24, {"mode": COMMAND, "line": "we", "cursor": 2, "choices": ("weight", "wait")}),
    "80x24-kill": (80, 24, {"mode": ASK, "question": "kill sieve-1?"}),
    "80x24-type": (80, 24, {"mode": TYPE}),
    "80x24-trouble": (80, 24, {"message": "there is no command 'x'", "trouble": True}),
    "60x16": (60, 16, {}),
    "30x5": (30, 5, {}),
}


@pytest.mark.parametrize(("columns", "rows", "changes"), SCREENS.values(), ids=SCREENS)
def test_screen(columns: int, rows: int, changes: dict[str, Any], request: pytest.FixtureRequest) -> None:
    shown = compose(VIEW, sample.interface(**changes), columns, rows, Look())
    golden.check(f"screen-{request.node.callspec.id}", to_text(shown))


def test_ascii() -> None:
    shown = to_text(compose(VIEW, sample.interface(), 80, 24, Look(ASCII)))
    golden.check("screen-80x24-ascii", "".join(plain_ascii(row) + "\n" for row in shown.splitlines()))


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 240),
    st.integers(1, 70),
    st.sampled_from([tab.name for tab in TABS]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 300),
    st.integers(0, 13),
)
def test_every_size(columns: int, rows: int, tab: str, zoom: bool, help_: bool, scroll: int, count: int) -> None:
    """Exactly so many rows of exactly so many cells, at any size, scrolled anywhere."""
    view = sample.view(count)
    interface = sample.interface(tab=tab, zoom=zoom, help=help_, scroll=scroll)
    shown = compose(view, interface, columns, rows, Look())
    assert len(shown) == rows
    for row in shown:
        assert cell_len(row.plain) == columns, row.plain
        assert is_harmless(row.plain)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80), st.sampled_from([tab.name for tab in TABS]), st.integers(40, 200))
@example("\N{IDEOGRAPHIC COMMA}".encode(), "syscalls", 40)
def test_hostile_names_everywhere(evil: bytes, tab: str, columns: int) -> None:
    """Whatever a guest can choose, put into every place where bytes are shown."""
    view = poisoned(VIEW, evil)
    for row in compose(view, sample.interface(tab=tab), columns, 30, Look()):
        assert is_harmless(row.plain)
        assert cell_len(row.plain) == columns


def poisoned(value: Any, evil: bytes) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{item.name: poisoned(getattr(value, item.name), evil) for item in fields(value)})
    if isinstance(value, tuple):
        return tuple(poisoned(item, evil) for item in value)
    return evil if isinstance(value, bytes) else value


def test_every_state_has_a_sign_a_word_and_a_style() -> None:
    for signs in (Look(), Look(ASCII)):
        assert len({signs.state(state) for state in STATES}) == len(STATES)
    for table in (styles_for("truecolor"), styles_for("standard")):
        assert set(STATES) <= set(table)


def test_only_named_styles_are_used() -> None:
    """A panel names a meaning; a style that no table has would be lost silently."""
    for tab in TABS:
        for row in compose(VIEW, sample.interface(tab=tab.name), 200, 50, Look()):
            for span in row.spans:
                assert not isinstance(span.style, str) or span.style in QUIET, span


def test_selection_is_by_identity() -> None:
    interface = sample.interface(5)
    for order in (VIEW.rows, tuple(reversed(VIEW.rows))):
        rows = vms.render(replace(VIEW, rows=order), interface, 100, 14, Look())
        chosen = [row.plain for row in rows if any(span.style == "select" for span in row.spans)]
        assert len(chosen) == 1
        assert "crc-6" in chosen[0]


SHARES = {
    "fair": (0.25, 0.25, "████│····"),
    "nothing": (0.0, 0.25, "····│····"),
    "twice": (0.5, 0.25, "████│████"),
    "far too much": (0.9, 0.1, "████│████"),
    "half": (0.125, 0.25, "██▎·│····"),
    "unknown": (None, 0.25, "         "),
}


@pytest.mark.parametrize(("received", "entitled", "expected"), SHARES.values(), ids=SHARES)
def test_share_bar(received: float | None, entitled: float, expected: str) -> None:
    vm = VmView("a", "a", received=received, entitled=entitled)
    pieces = vms.share_bar(vm, 9, Look())
    assert "".join(piece if isinstance(piece, str) else piece[0] for piece in pieces) == expected


def test_columns_give_way_by_rank() -> None:
    widths = {columns: [column.key for column, _ in vms.choose(columns)] for columns in (40, 80, 200)}
    assert widths[40] == ["name", "state", "isa", "received"]
    assert set(widths[40]) < set(widths[80]) < set(widths[200])
    assert {column.key for column in vms.COLUMNS} == set(widths[200])


def test_a_cycle_of_parents_does_not_trap_the_tree() -> None:
    tasks = (TaskView(2, 2, 3), TaskView(3, 3, 2), TaskView(4, 4, 4), TaskView(5, 4))
    assert sorted(task.tid for task, _ in tree(tasks)) == [2, 3, 4, 5]


@pytest.mark.parametrize("columns", [80, 120, 180])
@pytest.mark.parametrize("look", [Look(), Look(ASCII)], ids=["unicode", "ascii"])
def test_help_names_every_key_and_command_in_full(columns: int, look: Look) -> None:
    shown = to_text(help_panel.render(VIEW, Interface(), columns, 70, look))
    assert "…" not in shown
    for binding in BINDINGS:
        assert binding.help in shown, binding
    for command in COMMANDS:
        assert f" {command.name} " in shown or not command.help, command


def test_most_keys_are_on_the_first_page_of_the_help() -> None:
    """Of the smallest screen that is used well: who is new looks no further."""
    shown = to_text(compose(VIEW, sample.interface(help=True), 80, 24, Look()))
    missing = [binding.help for binding in BINDINGS if binding.brief and binding.help not in shown]
    assert len(missing) <= 4, missing


def test_empty_view() -> None:
    golden.check("screen-80x24-empty", to_text(compose(View(), Interface(), 80, 24, Look())))


def test_board_has_no_tasks() -> None:
    board = VmView("vm-0", "uart", "running", "riscv64", "board")
    for tab in TABS:
        rows = compose(replace(VIEW, detail=DetailView(board)), sample.interface(tab=tab.name), 80, 24, Look())
        assert len(rows) == 24


def test_pictures() -> None:
    rows = compose(VIEW, sample.interface(), 80, 24, Look())
    svg = to_svg(rows, 80)
    assert "sieve-1" in svg and "http" not in svg.replace("http://www.w3.org/2000/svg", "")
    assert "\x1b" not in svg
    assert "sieve-1" in to_html(rows, 80)


def test_plain_is_json() -> None:
    text = json.dumps(plain(VIEW))
    assert json.loads(text)["detail"]["console"]["total"] > 0
    assert "\x1b" not in text


def test_the_linux_console_and_a_c_locale_get_ascii() -> None:
    assert look_for("utf-8", {"TERM": "xterm"}).signs is not ASCII
    assert look_for("ANSI_X3.4-1968", {"TERM": "xterm"}).signs is ASCII
    assert look_for("utf-8", {"TERM": "dumb"}).signs is ASCII


@pytest.mark.parametrize("module", ["vms", "scheduler"])
def test_a_panel_runs_by_itself(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"sandbox.dashboard.panels.{module}", "80", "6"],
        capture_output=True, text=True, timeout=60, cwd=ROOT, env={"PYTHONIOENCODING": "utf-8"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 6


def test_the_dashboard_has_no_sample_data() -> None:
    """Only running a panel by itself loads the samples."""
    for path in (ROOT / "sandbox" / "dashboard").rglob("*.py"):
        if path.name not in ("sample.py", "alone.py"):
            assert "sample" not in path.read_text().replace("samples", ""), path
