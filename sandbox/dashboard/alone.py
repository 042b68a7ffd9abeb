"""Show one panel by itself: `python -m sandbox.dashboard.panels.vms [COLUMNS [ROWS]]`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable

from rich.text import Text

from sandbox.dashboard.interface import Interface
from sandbox.dashboard.palette import Look, look_for
from sandbox.dashboard.still import print_rows
from sandbox.dashboard.view import View

Render = Callable[[View, Interface, int, int, Look], list[Text]]


def show(render: Render, height: int) -> None:
    from sandbox.dashboard import sample

    columns = int(sys.argv[1]) if len(sys.argv) > 1 else shutil.get_terminal_size().columns
    rows = int(sys.argv[2]) if len(sys.argv) > 2 else height
    print_rows(render(sample.view(), sample.interface(), columns, rows, look_for()), sys.stdout)
