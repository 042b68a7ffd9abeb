"""The one table of commands: what the command line takes, what keys run, and what each asks of whom.

A command is a pure function of the interface, the view and its words. It answers with an `Effect`: the
interface afterwards and, if machines are concerned, a `Request` for the source. Trouble is a
`ConfigurationError` with a sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sandbox.dashboard.interface import ASK, BROWSE, COMMAND, FILTER, TYPE, Interface
from sandbox.dashboard.panels.vms import SORTABLE
from sandbox.dashboard.source import Request
from sandbox.dashboard.tabs import BY_NAME, TABS, next_tab
from sandbox.dashboard.view import View, VmView
from sandbox.errors import ConfigurationError
from sandbox.quantity import parse_size


@dataclass(frozen=True, slots=True)
class Situation:
    interface: Interface
    view: View
    page: int  # rows of a page of what moves
    list_rows: int

    @property
    def vm(self) -> VmView:
        if self.view.detail is None:
            raise ConfigurationError("no VM is selected")
        return self.view.detail.vm


@dataclass(frozen=True, slots=True)
class Effect:
    interface: Interface
    request: Request | None = None
    quit: bool = False
    redraw: bool = False
    undo: bool = False


Run = Callable[[Situation, list[str]], Effect]


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    run: Run
    arguments: str = ""
    help: str = ""  # empty: for keys only, not on the command line
    writes: bool = False  # refused in read-only mode
    words: tuple[str, ...] = ()  # what completes its first argument; "SYMBOL" asks the source
    needs: str = ""  # of view.ABILITIES

    def served(self, view: View) -> bool:
        return not self.needs or self.needs in view.host.abilities


def run(line: str, situation: Situation) -> Effect:
    """Find and run one command line; a unique beginning of a name is enough."""
    words = line.split()
    if not words:
        return Effect(situation.interface)
    found = [command for command in COMMANDS if command.name == words[0]]
    found = found or [command for command in COMMANDS if command.help and command.name.startswith(words[0])]
    if not found:
        raise ConfigurationError(f"there is no command {words[0]!r}; ? lists them")
    if len(found) > 1:
        raise ConfigurationError(f"{words[0]!r} could be " + " or ".join(command.name for command in found))
    command = found[0]
    if command.writes and situation.interface.read_only:
        raise ConfigurationError(f"this is a read-only view: {command.name} is not possible")
    if not command.served(situation.view):
        raise ConfigurationError(f"{command.name} is not served yet")
    return command.run(situation, words[1:])


def _one(words: list[str], what: str) -> str:
    if len(words) != 1:
        raise ConfigurationError(f"one argument is wanted: {what}")
    return words[0]


def _number(word: str, what: str) -> float:
    try:
        value = float(word)
    except ValueError:
        raise ConfigurationError(f"{word!r} is not a number ({what})") from None
    if not 0 < value < float("inf"):
        raise ConfigurationError(f"{what} must be more than 0")
    return value


def _count(words: list[str], default: int) -> int:
    if not words:
        return default
    if not words[0].isascii() or not words[0].isdigit() or not 0 < int(words[0]) <= 1_000_000:
        raise ConfigurationError(f"{words[0]!r} is not a count from 1 to 1000000")
    return int(words[0])


def address(word: str) -> int | str:
    """0x401000 and 401000h are numbers, everything else is a symbol for the source to resolve."""
    for text, base in ((word, 0), (word.removesuffix("h"), 16)):
        if text != word or base == 0:
            try:
                return int(text, base)
            except ValueError:
                continue
    return word


# --- moving and looking ------------------------------------------------------------------------------------


def _move(now: Situation, words: list[str]) -> Effect:
    interface, order = now.interface, now.view.order
    if interface.zoom or interface.help:
        return _scroll(now, words)
    if not order:
        return Effect(interface)
    # The selected VM may be gone or filtered out: then the top row of the screen is where one is.
    try:
        at = order.index(interface.selected)
    except ValueError:
        at = min(interface.first, len(order) - 1)
        if words[0] in ("-1", "+1"):
            return Effect(replace(interface, selected=order[at], scroll=0))
    step = {"-page": -now.list_rows, "+page": now.list_rows, "first": -len(order), "last": len(order)}
    target = at + step[words[0]] if words[0] in step else at + int(words[0])
    target = max(0, min(target, len(order) - 1))
    return Effect(replace(interface, selected=order[target], scroll=0 if target != at else interface.scroll))


def _scroll(now: Situation, words: list[str]) -> Effect:
    interface = now.interface
    page = max(1, now.page - 1)
    down = {"-half": -(page // 2 or 1), "+half": page // 2 or 1, "-page": -page, "+page": page}
    far = 1 << 30
    step = down[words[0]] if words[0] in down else {"first": -far, "last": far}.get(words[0]) or int(words[0])
    if BY_NAME[interface.tab].from_end and not interface.help:
        step = -step  # these count rows from their newest one
    return Effect(replace(interface, scroll=max(0, min(interface.scroll + step, 100_000))))


def _tab(now: Situation, words: list[str]) -> Effect:
    name = _one(words, "the name of a panel")
    if name in ("next", "previous"):
        name = next_tab(now.interface.tab, 1 if name == "next" else -1)
    found = [tab.name for tab in TABS if tab.name == name] or [tab.name for tab in TABS if tab.name.startswith(name)]
    if len(found) != 1:
        raise ConfigurationError(f"there is no panel {name!r}: " + ", ".join(tab.name for tab in TABS))
    return Effect(replace(now.interface, tab=found[0], scroll=0, tab_filter="", help=False))


def _open(now: Situation, words: list[str]) -> Effect:
    return Effect(replace(now.interface, zoom=not now.interface.zoom, help=False))


def _back(now: Situation, words: list[str]) -> Effect:
    interface = now.interface
    if interface.help:
        return Effect(replace(interface, help=False, scroll=0))
    if interface.zoom:
        return Effect(replace(interface, zoom=False, scroll=0))
    if interface.tab_filter:
        return Effect(replace(interface, tab_filter=""))
    return Effect(replace(interface, filter="", scroll=0))


def _sort(now: Situation, words: list[str]) -> Effect:
    interface = now.interface
    word = _one(words, "a column, next, or reverse")
    if word == "reverse":
        return Effect(replace(interface, descending=not interface.descending))
    if word == "next":
        word = SORTABLE[(SORTABLE.index(interface.sort) + 1) % len(SORTABLE)]
    if word not in SORTABLE:
        raise ConfigurationError(f"there is no column {word!r} to sort by: " + ", ".join(SORTABLE))
    return Effect(replace(interface, sort=word, descending=word not in ("name", "state", "isa")))


def _filter(now: Situation, words: list[str]) -> Effect:
    return Effect(replace(now.interface, filter=" ".join(words), first=0))


def _find(now: Situation, words: list[str]) -> Effect:
    return Effect(replace(now.interface, tab_filter=" ".join(words), scroll=0))


def _goto(now: Situation, words: list[str]) -> Effect:
    where = address(_one(words, "an address or a symbol"))
    return Effect(replace(now.interface, address=where, tab="memory", scroll=0))


def _edit(now: Situation, words: list[str]) -> Effect:
    if words == ["filter"]:
        text = now.interface.filter
        return Effect(replace(now.interface, mode=FILTER, line=text, cursor=len(text), help=False))
    return Effect(replace(now.interface, mode=COMMAND, line="", cursor=0, choices=()))


def _type(now: Situation, words: list[str]) -> Effect:
    console = now.view.detail.console if now.view.detail else None
    if now.vm.state not in ("running", "paused", "created"):
        raise ConfigurationError(f"{now.vm.name} is {now.vm.state}: nobody reads what you type")
    if console is not None and not console.accepts_input:
        raise ConfigurationError(f"{now.vm.name} has no standard input to type into")
    return Effect(replace(now.interface, mode=TYPE, tab="console", scroll=0, help=False))


def _help(now: Situation, words: list[str]) -> Effect:
    return Effect(replace(now.interface, help=not now.interface.help, scroll=0))


# --- steering ----------------------------------------------------------------------------------------------


def _verb(verb: str) -> Run:
    def request(now: Situation, words: list[str]) -> Effect:
        if words:
            raise ConfigurationError(f"{verb} takes no argument")
        return Effect(now.interface, Request(verb, now.vm.identity))

    return request


def _toggle(now: Situation, words: list[str]) -> Effect:
    verbs = {"running": "pause", "paused": "resume", "created": "start"}
    state = now.vm.state
    if state not in verbs:
        raise ConfigurationError(f"{now.vm.name} is {state}: it cannot be paused or resumed")
    return Effect(now.interface, Request(verbs[state], now.vm.identity))


def _kill(now: Situation, words: list[str]) -> Effect:
    vm = now.vm
    if vm.state in ("stopped", "crashed"):
        raise ConfigurationError(f"{vm.name} has ended already")
    question = f"kill {vm.name}? It gets no chance to clean up."
    return Effect(replace(now.interface, mode=ASK, question=question), Request("kill", vm.identity))


def _limit(name: str, what: str, read: Callable[[str], int | float | None]) -> Run:
    def request(now: Situation, words: list[str]) -> Effect:
        word = _one(words, f"{what}, + or -")
        return Effect(now.interface, Request(name, now.vm.identity, word if word in ("+", "-") else read(word)))

    return request


_weight = _limit("weight", "a weight", lambda word: _count([word], 0))
_memory = _limit("memory", "a size such as 64M", lambda word: parse_size(word, "the memory limit"))
_cpus = _limit(
    "cpus", "a number of cores, none", lambda word: None if word == "none" else _number(word, "a number of cores")
)


def _step(now: Situation, words: list[str]) -> Effect:
    return Effect(now.interface, Request("step", now.vm.identity, _count(words, 1)))


def _continue(now: Situation, words: list[str]) -> Effect:
    where = address(words[0]) if words else None
    return Effect(now.interface, Request("continue", now.vm.identity, where))


def _break(now: Situation, words: list[str]) -> Effect:
    where = address(words[0]) if words else None  # None: at the pc
    return Effect(now.interface, Request("break", now.vm.identity, where))


def _scheduler(verb: str, what: str) -> Run:
    return lambda now, words: Effect(now.interface, Request(verb, "", _one(words, what)))


# fmt: off
_PANELS = tuple(tab.name for tab in TABS)
COMMANDS: tuple[Command, ...] = (
    Command("move", _move),
    Command("scroll", _scroll),
    Command("open", _open),
    Command("back", _back),
    Command("edit", _edit),
    Command("toggle", _toggle, writes=True),
    Command("redraw", lambda now, words: Effect(now.interface, redraw=True)),
    Command("start", _verb("start"), "", "start it", True),
    Command("pause", _verb("pause"), "", "let it stand still", True),
    Command("resume", _verb("resume"), "", "let it run on", True),
    Command("step", _step, "[N]", "N instructions", True, (), "step"),
    Command("syscall", _verb("syscall"), "", "past the next call", True, (), "step_syscall"),
    Command("continue", _continue, "[WHERE]", "run on, to there", True, ("SYMBOL",), "breakpoint"),
    Command("break", _break, "[WHERE]", "breakpoint, or none", True, ("SYMBOL",), "breakpoint"),
    Command("stop", _verb("stop"), "", "ask it to end", True),
    Command("kill", _kill, "", "end it at once", True),
    Command("weight", _weight, "N|+|-", "its weight", True),
    Command("cpus", _cpus, "F|none|+|-", "at most F cores", True, ("none",)),
    Command("memory", _memory, "SIZE|+|-", "its memory limit", True),
    Command("type", _type, "", "into its console", True),
    Command("undo", lambda now, words: Effect(now.interface, undo=True), "", "undo the last change", True),
    Command("policy", _scheduler("policy", "a policy's name, or next"), "NAME|next", "of the scheduler", True,
            ("POLICY",), "policy"),
    Command("quantum", _scheduler("quantum", "a number, 64K or 2ms, + or -"), "N|+|-", "the longest turn", True,
            (), "quantum"),
    Command("sort", _sort, "COLUMN", "order of the list", words=(*SORTABLE, "reverse", "next")),
    Command("filter", _filter, "TEXT", "only such VMs"),
    Command("find", _find, "TEXT", "such calls or events", words=("errors",)),
    Command("goto", _goto, "WHERE", "hex view there", words=("SYMBOL",)),
    Command("tab", _tab, "PANEL", "open a panel", words=_PANELS),
    Command("help", _help, "", "keys and commands"),
    Command("quit", lambda now, words: Effect(replace(now.interface, mode=BROWSE), quit=True), "", "leave"),
)
# fmt: on


_NAMED = {command.name: command for command in COMMANDS}


def command_of(line: str) -> Command:
    """The command of a key's line."""
    return _NAMED[line.removeprefix(":").split()[0]]


def completions(line: str, symbols: Callable[[str], list[str]], policies: tuple[str, ...]) -> list[str]:
    """What the last word of `line` may become."""
    words = line.split(" ")
    last = words[-1]
    if len(words) == 1:
        return [command.name for command in COMMANDS if command.help and command.name.startswith(last)]
    for command in COMMANDS:
        if command.help and command.name == words[0] and len(words) == 2:
            candidates = list(command.words)
            if "SYMBOL" in candidates:
                candidates = symbols(last)
            elif "POLICY" in candidates:
                candidates = list(policies)
            return [word for word in candidates if word.startswith(last)]
    return []
