"""Keys and commands, printed from their tables; nothing here is written twice."""

from __future__ import annotations

from rich.text import Text

from sandbox.dashboard.commands import COMMANDS, command_of
from sandbox.dashboard.interface import Interface
from sandbox.dashboard.keymap import BINDINGS, PROGRAM
from sandbox.dashboard.palette import UNICODE, Look
from sandbox.dashboard.panels.vms import COLUMNS
from sandbox.dashboard.text import Piece, blank, fill, fit, line, plain_ascii, width
from sandbox.dashboard.view import STATES, View

_PANE = 40

_STATES = {
    "created": "not started yet",
    "running": "or ready to, or asleep",
    "paused": "by you or a breakpoint",
    "stopped": "it has ended",
    "crashed": "its console says why",
}

Row = list[Piece]


def render(view: View, interface: Interface, columns: int, height: int, look: Look) -> list[Text]:
    """In as many columns as fit; scrolls when it is longer than the screen."""
    sections = _sections(view, look)
    panes = max(1, min(4, columns // _PANE))
    cells = columns // panes
    total = sum(len(section) for section in sections)
    piles: list[list[Row]] = [[]]
    for section in sections:
        full = len(piles[-1]) + len(section) // 2 > total / panes
        if piles[-1] and full and len(piles) < panes:
            piles.append([])
        piles[-1] += section
    longest = max(len(pile) for pile in piles)
    scroll = max(0, min(interface.scroll, longest - height))
    rows = []
    for index in range(scroll, min(longest, scroll + height)):
        text = Text("", no_wrap=True, end="")
        for number, pile in enumerate(piles, 1):
            room = cells if number < len(piles) else columns - cells * (len(piles) - 1)
            text.append_text(line(pile[index], room) if index < len(pile) else blank(room))
        rows.append(text)
    if longest - scroll > height and rows:
        rows[-1] = line([(f" {longest - scroll - height + 1} more rows: PgDn", "mode.type")], columns)
    return fill(rows, columns, height)


def _sections(view: View, look: Look) -> list[list[Row]]:
    sections: list[list[Row]] = []
    groups = dict.fromkeys(binding.group for binding in BINDINGS)
    told = [binding for binding in BINDINGS if binding.help and command_of(binding.line).served(view)]
    hints = {binding: binding.hint if look.signs is UNICODE else plain_hint(binding.hint) for binding in told}
    cells = max((width(hint) for hint in hints.values()), default=0) + 1
    for group in groups:
        section: list[Row] = [[(f" {group}", "title")]]
        section += [[" ", (fit(hints[item], cells), "key"), item.help] for item in told if item.group == group]
        sections.append([*section, [""]])
        if group == PROGRAM:
            sections.append(_states(look))
    commands: list[Row] = [[(" Commands", "title"), ("  WHERE: address or symbol", "dim")]]
    for command in COMMANDS:
        if command.help and command.served(view):
            commands.append([" ", (fit(f"{command.name} {command.arguments}", 17), "key"), command.help])
    sections.append(commands)
    return sections


def _states(look: Look) -> list[Row]:
    states: list[Row] = [[(" States and columns", "title")]]
    states += [[" ", (fit(f"{look.state(state)} {state}", 13), state), _STATES[state]] for state in STATES]
    for column in COLUMNS:
        if column.title:
            states.append([" ", (fit(column.title, 13), "key"), column.help])
    return [*states, [""]]


def plain_hint(hint: str) -> str:
    for sign, word in (("↑", "Up"), ("↓", "Dn"), ("⇧", "S-")):
        hint = hint.replace(sign, word)
    return plain_ascii(hint)


if __name__ == "__main__":
    from sandbox.dashboard.alone import show

    show(render, height=60)
