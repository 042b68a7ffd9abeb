"""Still pictures of the screen's rows: text for pipes and goldens, SVG and HTML for pages.

The SVG needs no font from the network and no script: the README's pictures are made here.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text
from rich.theme import Theme

from sandbox.dashboard.palette import QUIET, styles_for
from sandbox.dashboard.text import plain_ascii

_THEME = TerminalTheme(
    (22, 26, 31),
    (208, 214, 220),
    [
        (22, 26, 31),
        (224, 112, 156),
        (143, 184, 168),
        (230, 165, 50),
        (86, 180, 233),
        (176, 154, 208),
        (86, 180, 233),
        (208, 214, 220),
    ],
    [
        (90, 98, 106),
        (224, 112, 156),
        (143, 184, 168),
        (230, 165, 50),
        (156, 203, 232),
        (176, 154, 208),
        (156, 203, 232),
        (255, 255, 255),
    ],
)
_SVG = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width;
}}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def to_text(rows: Sequence[Text]) -> str:
    """Without colours and without trailing blanks."""
    return "".join(row.plain.rstrip() + "\n" for row in rows)


def print_rows(rows: Sequence[Text], file: TextIO) -> None:
    """With colours when `file` is a terminal that has them, without otherwise."""
    probe = Console(file=file)
    console = Console(file=file, theme=Theme(styles_for(probe.color_system)), width=2000, soft_wrap=True)
    unicode = (getattr(file, "encoding", None) or "").lower().replace("-", "").startswith("utf")
    for row in rows:
        if not console.is_terminal:
            plain = row.plain.rstrip()
            file.write((plain if unicode else plain_ascii(plain)) + "\n")
        else:
            console.print(row, end="\n", soft_wrap=True, highlight=False, markup=False)
    file.flush()


def _record(rows: Sequence[Text], columns: int) -> Console:
    console = Console(
        file=io.StringIO(),
        record=True,
        width=columns,
        height=len(rows),
        force_terminal=True,
        color_system="truecolor",
        theme=Theme({name: Style.parse(style) for name, style in QUIET.items()}),
        _environ={},
    )
    for row in rows:
        console.print(row, end="\n", soft_wrap=True, highlight=False, markup=False)
    return console


def to_svg(rows: Sequence[Text], columns: int, title: str = "sandbox") -> str:
    return _record(rows, columns).export_svg(title=title, theme=_THEME, code_format=_SVG, unique_id="sandbox")


def to_html(rows: Sequence[Text], columns: int) -> str:
    return _record(rows, columns).export_html(theme=_THEME, inline_styles=True)
