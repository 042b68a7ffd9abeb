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
    help: str
    group: str
    brief: str = ""  # the word in the footer; empty: not in the footer
    rank: int = 50  # a low rank stays in the footer when it is narrow


MOVE, LOOK, STEER, DEBUG, PROGRAM = "Move", "Look", "Steer", "Debug", "Program"
SHARE = "Share out"

BINDINGS = (
    Binding(("up", "k"), "move -1", "↑ k", "the VM above (in an opened panel: scroll up)", MOVE),
    Binding(("down", "j"), "move +1", "↓ j", "the VM below (in an opened panel: scroll down)", MOVE),
    Binding(("page-up", "ctrl-b"), "move -page", "PgUp", "a page up", MOVE),
    Binding(("page-down", "ctrl-f"), "move +page", "PgDn", "a page down", MOVE),
    Binding(("home",), "move first", "Home", "the first VM, or the oldest row", MOVE),
    Binding(("end", "G"), "move last", "End", "the last VM, or the newest row", MOVE),
    Binding(("[",), "scroll -half", "[", "scroll the panel up half a page", MOVE),
    Binding(("]",), "scroll +half", "]", "scroll the panel down half a page", MOVE),
    Binding(("enter",), "open", "Enter", "give the panel the whole screen", LOOK, "open", 4),
    Binding(("escape",), "back", "Esc", "back: close, clear the filter", LOOK),
    Binding(("tab", "right"), "tab next", "Tab →", "the next panel", LOOK, "panel", 5),
    Binding(("shift-tab", "left"), "tab previous", "⇧Tab ←", "the panel before", LOOK),
    *(
        Binding((str(index),), f"tab {tab.name}", str(index), f"{tab.name}: {tab.help}", LOOK)
        for index, tab in enumerate(TABS, 1)
    ),
    Binding(("/",), "edit filter", "/", "show only VMs whose name, state or ISA matches", LOOK, "filter", 6),
    Binding(("f",), ":find ", "f", "show only matching rows in calls and events", LOOK),
    Binding(("o",), "sort next", "o", "sort by the next column", LOOK, "order", 9),
    Binding(("O",), "sort reverse", "O", "reverse the order", LOOK),
    Binding((" ", "space"), "toggle", "Space", "pause or resume", STEER, "pause", 3),
    Binding(("i",), "type", "i", "type into the VM's console (Ctrl-] ends it)", STEER, "type", 7),
    Binding(("r",), "start", "r", "start a VM that was only created", STEER),
    Binding(("t",), "stop", "t", "ask it to end, then end it", STEER),
    Binding(("K", "delete"), "kill", "K", "kill (asks first)", STEER, "kill", 8),
    Binding(("+", "="), "weight +", "+", "double its weight", SHARE, "weight", 10),
    Binding(("-",), "weight -", "-", "halve its weight", SHARE),
    Binding((">",), "cpus +", ">", "double its cap on CPU time, in the end none", SHARE),
    Binding(("<",), "cpus -", "<", "halve its cap on CPU time", SHARE),
    Binding(("}",), "memory +", "}", "double its memory limit", SHARE),
    Binding(("{",), "memory -", "{", "halve its memory limit", SHARE),
    Binding(("p",), "policy next", "p", "the next scheduling policy, for all", SHARE),
    Binding((")",), "quantum +", ")", "turns twice as long, for all", SHARE),
    Binding(("(",), "quantum -", "(", "turns half as long, for all", SHARE),
    Binding(("u",), "undo", "u", "undo the last change of a limit or a breakpoint", SHARE, "undo", 12),
    Binding(("s",), "step 1", "s", "one instruction (of a paused VM)", DEBUG, "step", 11),
    Binding(("S",), "syscall", "S", "on until it has made a system call", DEBUG),
    Binding(("c",), "continue", "c", "continue to the next breakpoint", DEBUG),
    Binding(("C",), ":continue ", "C", "continue to an address or a symbol", DEBUG),
    Binding(("b",), ":break ", "b", "breakpoint: set one, or remove it", DEBUG),
    Binding(("g",), ":goto ", "g", "hex view at an address or a symbol", DEBUG),
    Binding((":",), "edit command", ":", "command line; Tab completes", PROGRAM, "command", 13),
    Binding(("?", "f1"), "help", "?", "this help", PROGRAM, "help", 1),
    Binding(("ctrl-l",), "redraw", "Ctrl-L", "draw the screen again", PROGRAM),
    Binding(("q", "signal-int", "ctrl-c"), "quit", "q", "leave", PROGRAM, "quit", 2),
)
BY_KEY = {key: binding for binding in BINDINGS for key in binding.keys}
if len(BY_KEY) != sum(len(binding.keys) for binding in BINDINGS):  # two bindings of one key
    raise AssertionError("a key is bound twice")


def footer() -> list[Binding]:
    """The bindings that the footer names, most wanted first."""
    return sorted((binding for binding in BINDINGS if binding.brief), key=lambda binding: binding.rank)
