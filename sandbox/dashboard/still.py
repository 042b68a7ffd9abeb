"""Still pictures of the screen's rows: text for pipes and goldens, SVG and HTML for pages.

The pictures need no font from the network and no script, and every word stands at its own place, so that all
renderers agree on the columns: the README's pictures are made here.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text
from rich.theme import Theme

from sandbox.dashboard.palette import QUIET, styles_for, unicode_expected
from sandbox.dashboard.text import plain_ascii, width

_BACKGROUND, _FOREGROUND = "#161a1f", "#d0d6dc"
_THEME = TerminalTheme((22, 26, 31), (208, 214, 220), [(22, 26, 31)] * 8, [(208, 214, 220)] * 8)
_CELL, _ROW, _SIZE = 8.4, 18.0, 14  # of a character, in pixels
_MARGIN, _TITLE = 10, 30
_FONTS = "DejaVu Sans Mono, Menlo, Consolas, Liberation Mono, monospace"


def to_text(rows: Sequence[Text]) -> str:
    """Without colours and without trailing blanks."""
    return "".join(row.plain.rstrip() + "\n" for row in rows)


def print_rows(rows: Sequence[Text], file: TextIO) -> None:
    """With colours when `file` is a terminal that has them, without otherwise."""
    probe = Console(file=file)
    unicode = unicode_expected(getattr(file, "encoding", None))
    if not probe.is_terminal:
        text = to_text(rows)
        file.write(text if unicode else "".join(plain_ascii(row) + "\n" for row in text.splitlines()))
    else:
        console = Console(file=file, theme=Theme(styles_for(probe.color_system)), width=2000)
        for row in rows:
            console.print(row, soft_wrap=True, highlight=False, markup=False)
    file.flush()


@dataclass(frozen=True, slots=True)
class _Run:
    """Neighbouring cells of one style."""

    column: int
    text: str
    ink: str
    paper: str | None
    bold: bool
    underline: bool


def _runs(row: Text, console: Console) -> Iterator[_Run]:
    column = 0
    for segment in row.render(console, end=""):
        style = segment.style or Style.null()
        ink = _hex(style.color, _FOREGROUND)
        paper = _hex(style.bgcolor, "") or None
        if style.reverse:
            ink, paper = paper or _BACKGROUND, ink
        yield _Run(column, segment.text, ink, paper, bool(style.bold), bool(style.underline))
        column += width(segment.text)


def _hex(color: Color | None, default: str) -> str:
    if color is None or color.is_default:
        return default
    return color.get_truecolor(_THEME).hex


def _console() -> Console:
    return Console(force_terminal=True, color_system="truecolor", theme=Theme(QUIET), _environ={})


def to_svg(rows: Sequence[Text], columns: int, title: str = "sandbox") -> str:
    """A picture with a title bar; the size of the screen in cells decides its own."""
    console = _console()
    wide, tall = round(columns * _CELL + 2 * _MARGIN), round(len(rows) * _ROW + _TITLE + _MARGIN)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {tall}" width="{wide}" height="{tall}">',
        f"<title>{html.escape(title)}</title>",
        f'<rect width="{wide}" height="{tall}" rx="8" fill="{_BACKGROUND}"/>',
        f'<text x="{wide / 2:g}" y="20" text-anchor="middle" font-family="sans-serif" font-size="13" '
        f'fill="#8f9aa5">{html.escape(title)}</text>',
        f'<g font-family="{_FONTS}" font-size="{_SIZE}" xml:space="preserve">',
    ]
    for number, row in enumerate(rows):
        top = _TITLE + number * _ROW
        for run in _runs(row, console):
            out += _svg_run(run, top)
    return "\n".join([*out, "</g>", "</svg>", ""])


def _svg_run(run: _Run, top: float) -> Iterator[str]:
    left, cells = _MARGIN + run.column * _CELL, width(run.text)
    if run.paper:
        yield f'<rect x="{left:.1f}" y="{top:g}" width="{cells * _CELL:.1f}" height="{_ROW:g}" fill="{run.paper}"/>'
    extra = ' font-weight="bold"' if run.bold else ""
    for at, word in _words(run.text):
        x = left + at * _CELL
        length = width(word) * _CELL
        if set(word) <= _BLOCKS.keys():
            yield f'<path d="{_blocks(word, x, top)}" fill="{run.ink}"/>'
            continue
        yield (
            f'<text x="{x:.1f}" y="{top + 13.5:g}" textLength="{length:.1f}" lengthAdjust="spacingAndGlyphs" '
            f'fill="{run.ink}"{extra}>{html.escape(word)}</text>'
        )
    if run.underline and run.text.strip():
        y = top + _ROW - 2
        yield f'<path d="M{left:.1f} {y:g}h{cells * _CELL:.1f}" stroke="{run.ink}" stroke-opacity="0.6"/>'


# Block signs are drawn, not written: fonts differ in where they put them. (width, height) of the cell.
_BLOCKS = {sign: (1.0, (index + 1) / 8) for index, sign in enumerate("▁▂▃▄▅▆▇█")}
_BLOCKS |= {sign: ((index + 1) / 8, 1.0) for index, sign in enumerate("▏▎▍▌▋▊▉")}


def _blocks(word: str, x: float, top: float) -> str:
    """The path of it. Neighbours of the same height become one rectangle; a little air keeps rows apart."""
    tall = _ROW - 3
    start, pieces = 0, []
    for index in range(1, len(word) + 1):
        if index < len(word) and word[index] == word[start]:
            continue
        wide, high = _BLOCKS[word[start]]
        cells = (index - start - 1 + wide) * _CELL
        height = max(1.0, high * tall)
        left, upper = x + start * _CELL, top + 1.5 + tall - height
        pieces.append(f"M{left:.1f} {upper:.1f}h{cells:.1f}v{height:.1f}h-{cells:.1f}z")
        start = index
    return "".join(pieces)


def _words(text: str) -> Iterator[tuple[int, str]]:
    """(cell, word) of everything between blanks; blocks apart from letters."""
    at, word, begin = 0, "", 0
    for character in text + " ":
        block = character in _BLOCKS
        if word and (character == " " or block != (word[0] in _BLOCKS)):
            yield begin, word
            word = ""
        if character != " ":
            if not word:
                begin = at
            word += character
        at += width(character)


def to_html(rows: Sequence[Text], columns: int, title: str = "sandbox") -> str:
    console = _console()
    lines = []
    for row in rows:
        pieces = []
        for run in _runs(row, console):
            css = [f"color:{run.ink}"] if run.ink != _FOREGROUND else []
            css += [f"background:{run.paper}"] if run.paper else []
            css += ["font-weight:bold"] if run.bold else []
            css += ["text-decoration:underline"] if run.underline else []
            text = html.escape(run.text)
            pieces.append(f'<span style="{";".join(css)}">{text}</span>' if css else text)
        lines.append("".join(pieces))
    style = f"background:{_BACKGROUND};color:{_FOREGROUND};font:14px/1.3 {_FONTS};padding:1em;width:{columns}ch"
    body = "\n".join(lines)
    return (
        f'<!doctype html>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        f'<pre style="{style}">{body}\n</pre>\n'
    )
