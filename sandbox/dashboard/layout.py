"""The whole screen from a view and an interface: which panel gets which rows. Pure.

From the top: header, list of VMs, bar of tabs, the open panel, footer. An opened panel (Enter) takes the
list's rows too. From 160 cells on the console has the registers beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text

from sandbox.dashboard import keymap
from sandbox.dashboard.commands import command_of
from sandbox.dashboard.grid import beside
from sandbox.dashboard.interface import ASK, COMMAND, FILTER, TYPE, Interface
from sandbox.dashboard.palette import UNICODE, Look
from sandbox.dashboard.panels import header, registers, vms
from sandbox.dashboard.panels import help as help_panel
from sandbox.dashboard.tabs import BY_NAME, TABS, Tab
from sandbox.dashboard.text import Piece, fill, fit, line, visible, width
from sandbox.dashboard.view import View

LEAST_COLUMNS, LEAST_ROWS = 40, 10
_WIDE = 160
_CONSOLE = 80


@dataclass(frozen=True, slots=True)
class Areas:
    """Rows of each part; `list_rows` counts VMs, without the titles."""

    list_rows: int
    detail: int
    wide: bool


def divide(columns: int, rows: int, total: int, interface: Interface) -> Areas:
    body = max(2, rows - header.HEIGHT - 2)  # without header, tabs, footer
    wide = columns >= _WIDE
    if interface.help or interface.zoom:
        return Areas(0, body, wide)
    share = body * 2 // 5 if rows < 40 else body // 2
    listed = max(3, min(max(total, 1) + 1, share))
    return Areas(listed - 1, body - listed, wide)


def parts_wanted(columns: int, interface: Interface) -> frozenset[str]:
    """The parts of a view that this screen will show."""
    parts = BY_NAME[interface.tab].parts
    if interface.tab == "console" and columns >= _WIDE:
        return parts | {"processor"}
    return parts


def compose(view: View, interface: Interface, columns: int, rows: int, look: Look) -> list[Text]:
    """Exactly `rows` rows of `columns` cells."""
    if columns < LEAST_COLUMNS or rows < LEAST_ROWS:
        words = f"make the terminal at least {LEAST_COLUMNS}x{LEAST_ROWS}"
        return fill([line([fit(words, columns)])], columns, rows)
    areas = divide(columns, rows, len(view.order), interface)
    result = header.render(view, interface, columns, header.HEIGHT, look)
    if interface.help:
        result.append(_rule(" help ", columns, look))
        result += help_panel.render(view, interface, columns, areas.detail, look)
    else:
        if areas.list_rows:
            result += vms.render(view, interface, columns, areas.list_rows + 1, look)
        result.append(_tab_bar(view, interface, columns, look))
        result += _detail(view, interface, columns, areas, look)
    result = fill(result, columns, rows - 1)
    if interface.mode == COMMAND and interface.choices:
        result[-1] = line([("  ".join(interface.choices), "accent")], columns)
    result.append(footer(view, interface, columns, look))
    return result


def _detail(view: View, interface: Interface, columns: int, areas: Areas, look: Look) -> list[Text]:
    tab = BY_NAME[interface.tab]
    if tab.name == "console" and areas.wide:
        cells = max(_CONSOLE, columns // 2 - 10)
        return beside(
            [
                (cells, lambda wide, rows: tab.render(view, interface, wide, rows, look)),
                (0, lambda wide, rows: registers.render(view, interface, wide, rows, look)),
            ],
            columns,
            areas.detail,
            f" {look.signs.divider} ",
        )
    return fill(tab.render(view, interface, columns, areas.detail, look), columns, areas.detail)


def _rule(title: str, columns: int, look: Look) -> Text:
    head = look.signs.rule * 2
    return line(
        [(head, "faint"), (title, "tab.open"), (look.signs.rule * (columns - 2 - len(title)), "faint")], columns
    )


def _tab_bar(view: View, interface: Interface, columns: int, look: Look) -> Text:
    """Titles in full where they fit beside the VM's name, short ones otherwise; with the list closed the name
    matters more than the titles."""
    vm = view.detail.vm if view.detail else None
    tail: list[Piece] = []
    if vm is not None:
        state = look.state(vm.state) + " " + vm.state
        if view.detail is not None and view.detail.stopped_at:
            state += " " + visible(view.detail.stopped_at)
        tail = [" ", (visible(vm.name), "strong"), " ", (state, vm.state), " "]
    tail_cells = _cells(tail)
    pieces: list[Piece] = []
    for title in (_full, _short, _digit) if interface.zoom else (_full, _short):
        pieces = []
        for number, tab in enumerate(TABS, 1):
            if tab.name == interface.tab:
                pieces.append((f" {number} {tab.name if title is _digit else title(tab)} ", "tab.open"))
            else:
                pieces += [(f" {number}", "key"), (f" {title(tab)} " if title(tab) else " ", "tab")]
        if _cells(pieces) + tail_cells + 2 <= columns:
            break
    room = columns - _cells(pieces) - tail_cells
    if room < 1:
        tail, room = [], max(0, columns - _cells(pieces))
    return line([*pieces, (look.signs.rule * room, "faint"), *tail], columns)


def _full(tab: Tab) -> str:
    return tab.name


def _short(tab: Tab) -> str:
    return tab.short


def _digit(tab: Tab) -> str:
    return ""


def _cells(pieces: list[Piece]) -> int:
    return sum(width(piece if isinstance(piece, str) else piece[0]) for piece in pieces)


def footer(view: View, interface: Interface, columns: int, look: Look) -> Text:
    """One row: what is being typed, asked or said, else the keys that matter most."""
    name = visible(view.detail.vm.name) if view.detail else ""
    if interface.mode in (FILTER, COMMAND):
        sign = "/" if interface.mode == FILTER else ":"
        text, cursor = interface.line, interface.cursor
        start = max(0, cursor - columns + 3)
        before, under, after = text[start:cursor], text[cursor : cursor + 1] or " ", text[cursor + 1 :]
        trouble: list[Piece] = [("   " + visible(interface.message), "error")] if interface.message else []
        return line([(sign, "key"), visible(before), (visible(under), "current"), visible(after), *trouble], columns)
    if interface.mode == ASK:
        return line(
            [(f" {visible(interface.question)} ", "mode.ask"), "  ", ("y", "key"), " yes   any other key: no"], columns
        )
    if interface.mode == TYPE:
        return line([(f" typing into {name} ", "mode.type"), "  ", ("Ctrl-]", "key"), " ends it"], columns)
    if interface.message:
        return line([" ", (visible(interface.message), "error" if interface.trouble else "strong")], columns)
    filters = []
    if interface.filter:
        filters.append(f"filter “{visible(interface.filter)}”: {len(view.order)} of {view.total}")
    if interface.tab_filter:
        filters.append(f"find “{visible(interface.tab_filter)}”")
    left: list[Piece] = []
    used = 1
    for words in filters:
        left += [(f" {words} ", "mode.type"), ("  Esc", "key"), " clear   "]
        used += width(words) + 15
    for hint, brief in _hints(view, interface, look):
        cells = len(hint) + len(brief) + 3
        if used + cells > columns:
            break
        used += cells
        left += [" ", (hint, "key"), f" {brief} "]
    return line(left, columns)


def _hints(view: View, interface: Interface, look: Look) -> list[tuple[str, str]]:
    """Keys and their words for the footer, those that matter most first, as they are where we are."""
    if interface.help:
        return [("Esc", "back"), ("PgDn", "more"), ("q", "quit")]
    state = view.detail.vm.state if view.detail else ""
    hints = []
    for binding in keymap.footer():
        if not command_of(binding.line).served(view):
            continue
        hint = binding.hint.split(" ")[0]
        brief = binding.brief
        if binding.line == "toggle":
            brief = {"paused": "resume", "created": "start"}.get(state, brief)
        elif binding.line == "open" and interface.zoom:
            hint, brief = "Esc", "back"
        hints.append((hint if look.signs is UNICODE else help_panel.plain_hint(hint), brief))
    return hints
