"""`--once`: one still picture of the dashboard, as text, SVG, HTML or JSON."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from sandbox.errors import ConfigurationError

if TYPE_CHECKING:
    from sandbox.dashboard.source import Source

_ROWS = 40  # of a picture that goes to no terminal


def take(source: Source, given: argparse.Namespace, selected: str, warm_up: float) -> int:
    """Watch for `warm_up` seconds, so that there are rates and a past, then show what is there."""
    from sandbox.dashboard.app import App
    from sandbox.dashboard.interface import Interface
    from sandbox.dashboard.layout import compose
    from sandbox.dashboard.palette import UNICODE, Look, look_for
    from sandbox.dashboard.still import print_rows, to_html, to_svg
    from sandbox.dashboard.tabs import BY_NAME
    from sandbox.dashboard.view import plain

    if given.tab not in BY_NAME:
        raise ConfigurationError(f"there is no panel {given.tab!r}: {', '.join(BY_NAME)}")
    columns, rows = _size(given.size)
    to_file = given.svg or given.html
    app = App(source, Interface(selected=selected, tab=given.tab), Look(UNICODE) if to_file else look_for())
    app.size = (columns, rows)
    end = time.monotonic() + warm_up
    while True:
        app.look_again()
        left = end - time.monotonic()
        if left <= 0:
            break
        time.sleep(min(0.1, left))
    if given.json:
        from sandbox.cli.listing import show_json

        show_json(plain(app.view))
        return 0
    app.interface = replace(app.interface, message="")
    picture = compose(app.view, app.interface, columns, rows, app.look)
    for name, draw in ((given.svg, to_svg), (given.html, to_html)):
        if name:
            try:
                with open(name, "w", encoding="utf-8") as file:
                    file.write(draw(picture, columns))
            except OSError as error:
                raise ConfigurationError(f"{name} cannot be written: {error.strerror}") from None
    if not to_file:
        print_rows(picture, sys.stdout)
    return 0


def _size(text: str | None) -> tuple[int, int]:
    if text is None:
        found = shutil.get_terminal_size((120, _ROWS))
        return found.columns, found.lines - 1 if sys.stdout.isatty() else _ROWS
    columns, _, rows = text.partition("x")
    if not (columns.isdigit() and rows.isdigit() and 40 <= int(columns) <= 500 and 10 <= int(rows) <= 500):
        raise ConfigurationError(f"a size is written 120x40, from 40x10 to 500x500, not {text!r}")
    return int(columns), int(rows)
