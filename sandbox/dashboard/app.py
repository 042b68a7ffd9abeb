"""The loop: look, draw, read a key, act. One thread, which is the main one; no refresh threads.

A picture is made at most ten times a second, and at once after a key; it is drawn when it differs from the
one before, and of that only the rows that differ. Everything that decides what is on the screen is in the
frozen `View` and `Interface`; everything that keys do is in `keymap` and `commands`; the app only carries
the one to the other. What a source raises on purpose (SandboxError) is shown in the footer.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from sandbox.dashboard import commands, editor, keymap
from sandbox.dashboard.interface import ASK, BROWSE, COMMAND, FILTER, TYPE, Interface
from sandbox.dashboard.keys import Key, Keyboard
from sandbox.dashboard.layout import Areas, compose, divide, parts_wanted
from sandbox.dashboard.palette import UNICODE, Look, look_for
from sandbox.dashboard.screen import Screen
from sandbox.dashboard.source import Done, Request, Source, Wish
from sandbox.dashboard.view import View
from sandbox.errors import ConfigurationError, SandboxError

INTERVAL = 0.1  # seconds between pictures
_QUICK = 0.02  # after a key: let typed-ahead keys arrive
_HISTORY = 100


class App:
    """State of one session. `frame` and `press` are all a test needs; `run` adds a terminal."""

    def __init__(self, source: Source, interface: Interface | None = None, look: Look | None = None) -> None:
        self.source = source
        self.look = look or look_for()
        self.interface = replace(interface or Interface(), read_only=source.read_only)
        self.view = View()
        self.size = (80, 24)
        self.finished = False
        self.redraw = False
        self._undo: list[Request] = []
        self._asked: Request | None = None
        self._past: list[str] = []  # command lines
        self._past_at = 0

    # --- pictures ---

    def wish(self) -> Wish:
        columns, rows = self.size
        now = self.interface
        areas = self._areas()
        return Wish(
            first=now.first,
            count=(areas.list_rows or 8) if self.view.order else rows,  # at first it is not known how long the list is
            sort=now.sort,
            descending=now.descending,
            filter=now.line if now.mode == FILTER else now.filter,
            selected=now.selected,
            parts=parts_wanted(columns, now),
            address=now.address,
            hex_bytes=16 * max(8, rows),
            instructions=max(16, areas.detail),
        )

    def _areas(self) -> Areas:
        return divide(*self.size, len(self.view.order), self.interface)

    def look_again(self) -> None:
        """A new view. The source keeps the selection in its window and answers with what it selected."""
        self.view = self.source.observe(self.wish())
        detail = self.view.detail
        selected = detail.vm.identity if detail else ""
        if selected != self.interface.selected or self.view.first != self.interface.first:
            self.interface = replace(self.interface, selected=selected, first=self.view.first)

    # --- keys ---

    def press(self, key: Key) -> None:
        """One key, in the mode that we are in."""
        if key.name in ("signal-term", "signal-hup"):
            self.finished = True
            return
        if key.name == "signal-resize":
            self.redraw = True
            return
        mode = self.interface.mode
        if mode == TYPE:
            self._type(key)
        elif mode in (FILTER, COMMAND):
            self._edit(key)
        elif mode == ASK:
            self._answer(key)
        else:
            self._browse(key)

    def _browse(self, key: Key) -> None:
        self._say("")
        binding = keymap.BY_KEY.get(key.name)
        if binding is None:
            if key.name and not key.name.startswith("signal"):
                self._say("? shows what the keys do")
        elif not commands.command_of(binding.line).served(self.view):
            self._say(f"{binding.help} is not served yet", trouble=True)
        elif binding.line.startswith(":"):
            text = binding.line[1:]
            self.interface = replace(self.interface, mode=COMMAND, line=text, cursor=len(text), choices=())
        else:
            self.execute(binding.line)

    def execute(self, line: str) -> None:
        """Run one line of the command table; trouble goes to the footer."""
        areas = self._areas()
        now = commands.Situation(self.interface, self.view, areas.detail, areas.list_rows)
        try:
            effect = commands.run(line, now)
        except SandboxError as error:
            self._say(str(error), trouble=True)
            return
        self.interface = effect.interface
        self.finished = self.finished or effect.quit
        self.redraw = self.redraw or effect.redraw
        if effect.undo:
            self._undo_last()
        elif effect.request is not None:
            if effect.interface.mode == ASK:
                self._asked = effect.request
            else:
                self._perform(effect.request)

    def _perform(self, request: Request, undoing: bool = False) -> None:
        try:
            done: Done = self.source.perform(request)
        except SandboxError as error:
            self._say(str(error), trouble=True)
            return
        if done.undo is not None and not undoing:
            self._undo = [*self._undo[-_HISTORY:], done.undo]
        self.look_again()  # keys typed ahead mean what is now
        if done.message:
            self._say(("undone: " if undoing else "") + done.message)

    def _undo_last(self) -> None:
        if not self._undo:
            self._say("nothing to undo: limits, breakpoints, policy and quantum can be undone", trouble=True)
        else:
            self._perform(self._undo.pop(), undoing=True)

    def _say(self, message: str, *, trouble: bool = False) -> None:
        if message != self.interface.message or trouble != self.interface.trouble:
            self.interface = replace(self.interface, message=message, trouble=trouble)

    def _answer(self, key: Key) -> None:
        request, self._asked = self._asked, None
        self.interface = replace(self.interface, mode=BROWSE, question="")
        if key.name in ("y", "Y") and request is not None:
            self._perform(request)
        else:
            self._say("not done")

    def _type(self, key: Key) -> None:
        if key.name in ("ctrl-]", "signal-int"):  # Ctrl-C is a key of the guest's here: somebody else sent the signal
            self.interface = replace(self.interface, mode=BROWSE)
        elif key.raw and self.view.detail is not None:
            # A guest without a terminal of its own reads lines: Enter sends a line feed.
            data = b"\n" if key.name == "enter" else key.raw
            try:
                self.source.perform(Request("type", self.view.detail.vm.identity, data))
            except SandboxError as error:
                self.interface = replace(self.interface, mode=BROWSE)
                self._say(str(error), trouble=True)

    def _edit(self, key: Key) -> None:
        now = self.interface
        command = now.mode == COMMAND
        if key.name in ("escape", "signal-int", "ctrl-c", "ctrl-g") or (key.name == "backspace" and not now.line):
            self.interface = replace(now, mode=BROWSE, line="", choices=(), message="")
        elif key.name == "enter" and command:
            self.interface = replace(now, mode=BROWSE, line="", choices=(), message="")
            if now.line.strip():
                self._past = [*self._past[-_HISTORY:], now.line]
                self._past_at = len(self._past)
                self.execute(now.line)
        elif key.name == "enter":
            self.interface = replace(now, mode=BROWSE, filter=now.line, line="", first=0)
        elif key.name == "tab" and command:
            vm = self.view.detail.vm.identity if self.view.detail else ""
            symbols = partial(self.source.symbols, vm)
            found = commands.completions(now.line[: now.cursor], symbols, self.view.host.policies)
            line, choices = editor.complete(now.line[: now.cursor], found)
            self.interface = replace(now, line=line + now.line[now.cursor :], cursor=len(line), choices=choices)
        elif key.name in ("up", "down") and command:
            self._past_at = max(0, min(len(self._past), self._past_at + (1 if key.name == "down" else -1)))
            line = self._past[self._past_at] if self._past_at < len(self._past) else ""
            self.interface = replace(now, line=line, cursor=len(line), choices=())
        else:
            line, cursor = editor.edit(now.line, now.cursor, key)
            self.interface = replace(now, line=line, cursor=cursor, choices=(), message="")


def run(
    source: Source,
    interface: Interface | None = None,
    *,
    until: Callable[[], bool] = lambda: False,
    environment: Mapping[str, str] = os.environ,
) -> int:
    """The dashboard on this process's terminal, until the operator leaves or `until` says so.

    Returns 0, or 128+n when signal n ended it; the terminal is as it was before in every case."""
    if environment.get("TERM", "dumb") == "dumb":
        raise ConfigurationError("the dashboard needs a terminal that can move its cursor: TERM is dumb")
    app = App(source, interface, look_for(environment=environment))
    opened = -1
    if sys.stdin is not None and sys.stdin.isatty():
        descriptor = sys.stdin.fileno()
    else:
        try:
            opened = descriptor = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            raise ConfigurationError("the dashboard needs a terminal to read keys from") from None
    try:
        screen = Screen(sys.stdout.fileno(), unicode=app.look.signs is UNICODE, environment=environment)
        sys.stdout.flush()
        with Keyboard(descriptor, screen.enter, screen.leave) as keyboard:
            return _loop(app, screen, keyboard, until)
    finally:
        if opened >= 0:
            os.close(opened)


def _loop(app: App, screen: Screen, keyboard: Keyboard, until: Callable[[], bool]) -> int:
    drawn: tuple[View, Interface, tuple[int, int]] | None = None
    keys: list[Key] = []
    while not app.finished and not until():
        begun = time.monotonic()
        app.size = screen.size()
        app.look_again()
        if app.redraw:
            screen.repaint()
            app.redraw, drawn = False, None
        # Before it is shown: who sees what mode we are in may rely on what Ctrl-C does there.
        keyboard.pass_signals_as_keys(app.interface.mode == TYPE)
        picture = (app.view, app.interface, app.size)
        if picture != drawn:
            screen.paint(compose(app.view, app.interface, *app.size, app.look))
            drawn = picture
        pause = _QUICK if keys else INTERVAL - (time.monotonic() - begun)
        keys = keyboard.read(max(_QUICK, pause))
        for key in keys:
            # Ctrl-Z as a key: typed ahead, right behind the key that ended typing into a guest.
            if key.name == "signal-suspend" or (key.name == "ctrl-z" and app.interface.mode != TYPE):
                keyboard.suspend()
                drawn = None
            else:
                app.press(key)
            if key.name in ("signal-term", "signal-hup"):
                return 128 + (15 if key.name == "signal-term" else 1)
            if app.finished:
                break
    return 0
