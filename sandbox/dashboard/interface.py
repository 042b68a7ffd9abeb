"""Where the operator is: the dashboard's own state, frozen, beside the view of the machines.

`(View, Interface, width, height, Look)` decides every cell of the screen. The app replaces the interface as
keys arrive; panels only read it.
"""

from __future__ import annotations

from dataclasses import dataclass

BROWSE, FILTER, COMMAND, TYPE, ASK = "browse", "filter", "command", "type", "ask"


@dataclass(frozen=True, slots=True)
class Interface:
    selected: str = ""  # identity of a VM
    tab: str = "console"
    zoom: bool = False  # the detail takes the whole body
    help: bool = False
    sort: str = "name"
    descending: bool = False
    filter: str = ""
    first: int = 0  # the top row of the list
    scroll: int = 0  # of the open tab: rows from its natural end (console, events) or top (others)
    tab_filter: str = ""
    address: int | str | None = None  # where the hex view looks: a number or a symbol; None: at the stack pointer
    mode: str = BROWSE
    line: str = ""  # what is being typed in FILTER and COMMAND
    cursor: int = 0
    choices: tuple[str, ...] = ()  # completions of the word under the cursor
    question: str = ""
    message: str = ""
    trouble: bool = False  # the message is an error
    read_only: bool = False
