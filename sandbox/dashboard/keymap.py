"""The one table of keys. The footer and the help are printed from it, and the app dispatches through it.

A key runs a line of the command table (`commands.py`); a line that begins with ":" is put on the command
line for the operator to finish.
"""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.dashboard.tabs import TABS


@dataclass(frozen=True, slots=True)
class Binding:
    keys: tuple[str, ...]  # names of keys.Key
    line: str
    hint: str  # how the keys are written for people
    help: str  # empty: told by the binding before
    group: str
    brief: str = ""  # the word in the footer; empty: not in the footer
    rank: int = 50  # a low rank stays in the footer when it is narrow


MOVE, LOOK, STEER, DEBUG = "Move", "Look", "Steer the selected VM", "Debug it, paused"
SHARE, PROGRAM = "Share out the host", "Program"

BINDINGS = (
    Binding(("up", "k"), "move -1", "↑ ↓ k j", "the VM above, below", MOVE),
    Binding(("down", "j"), "move +1", "↓ j", "", MOVE),
    Binding(("page-up", "ctrl-b"), "move -page", "PgUp PgDn", "a page up, down", MOVE),
    Binding(("page-down", "ctrl-f"), "move +page", "PgDn", "", MOVE),
    Binding(("home",), "move first", "Home End", "the first VM, the last", MOVE),
    Binding(("end", "G"), "move last", "End", "", MOVE),
    Binding(("[",), "scroll -half", "[ ]", "scroll the panel up, down", MOVE),
    Binding(("]",), "scroll +half", "]", "", MOVE),
    Binding(("enter",), "open", "Enter", "give the panel the screen", LOOK, "open", 4),
    Binding(("escape",), "back", "Esc", "back: close, clear filters", LOOK),
    Binding(("tab", "right"), "tab next", "Tab ⇧Tab", "the next panel, the last", LOOK, "panel", 5),
    Binding(("shift-tab", "left"), "tab previous", "⇧Tab", "", LOOK),
    Binding(("/",), "edit filter", "/", "VMs of such a name or state", LOOK, "filter", 6),
    Binding(("f",), ":find ", "f", "only such calls or events", LOOK),
    Binding(("o",), "sort next", "o O", "order: next column, reverse", LOOK, "order", 9),
    Binding(("O",), "sort reverse", "O", "", LOOK),
    *(Binding((str(index),), f"tab {tab.name}", str(index), tab.help, LOOK) for index, tab in enumerate(TABS, 1)),
    Binding((":",), "edit command", ":", "command line; Tab completes", PROGRAM, "command", 13),
    Binding(("?", "f1"), "help", "?", "this help", PROGRAM, "help", 1),
    Binding(("ctrl-l",), "redraw", "Ctrl-L", "draw the screen again", PROGRAM),
    Binding(("q", "signal-int", "ctrl-c"), "quit", "q Ctrl-C", "leave", PROGRAM, "quit", 2),
    Binding((" ", "space"), "toggle", "Space", "pause, or resume", STEER, "pause", 3),
    Binding(("i",), "type", "i", "type into it, until Ctrl-]", STEER, "type", 7),
    Binding(("r",), "start", "r", "start it, or start it again", STEER),
    Binding(("t",), "stop", "t", "ask it to end, then end it", STEER),
    Binding(("K", "delete"), "kill", "K", "kill it (asks first)", STEER, "kill", 8),
    Binding(("s",), "step 1", "s", "one instruction", DEBUG, "step", 11),
    Binding(("S",), "syscall", "S", "on past the next system call", DEBUG),
    Binding(("c",), "continue", "c", "on to the next breakpoint", DEBUG),
    Binding(("C",), ":continue ", "C", "on to an address or symbol", DEBUG),
    Binding(("b",), ":break ", "b", "breakpoint: set, remove", DEBUG),
    Binding(("g",), ":goto ", "g", "hex view of an address", DEBUG),
    Binding(("+", "="), "weight +", "+ -", "double its weight, halve it", SHARE, "weight", 10),
    Binding(("-",), "weight -", "-", "", SHARE),
    Binding((">",), "cpus +", "> <", "more CPU time at most, less", SHARE),
    Binding(("<",), "cpus -", "<", "", SHARE),
    Binding(("}",), "memory +", "} {", "more memory at most, less", SHARE),
    Binding(("{",), "memory -", "{", "", SHARE),
    Binding(("p",), "policy next", "p", "the next policy, for all", SHARE),
    Binding((")",), "quantum +", ") (", "longer turns, shorter", SHARE),
    Binding(("(",), "quantum -", "(", "", SHARE),
    Binding(("u",), "undo", "u", "undo a limit or a breakpoint", SHARE, "undo", 12),
)
BY_KEY = {key: binding for binding in BINDINGS for key in binding.keys}
if len(BY_KEY) != sum(len(binding.keys) for binding in BINDINGS):  # two bindings of one key
    raise AssertionError("a key is bound twice")


def footer() -> list[Binding]:
    """The bindings that the footer names, most wanted first."""
    return sorted((binding for binding in BINDINGS if binding.brief), key=lambda binding: binding.rank)
