"""Text on its way to the operator's terminal: `visible`, and lines made of styled pieces.

Whatever a guest can choose (console bytes, file names, task names, strings in a trace) stays `bytes` in
the views and becomes `str` in exactly one function, `visible`, which can emit no character that moves the
cursor, changes a mode, joins its neighbour, runs from right to left or has a width that terminals do not
agree on. `screen.py` checks every line once more before it is written. Nothing here reads rich markup.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from rich.cells import cell_len, get_character_cell_size
from rich.text import Span, Text

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

# Blocks whose characters stand alone in one cell (or two, for the second list) in every terminal that is
# used today. Scripts that need shaping, join marks, emoji and private characters are not among them.
_NARROW = (
    (0x00A1, 0x02FF),  # Latin and its phonetic letters
    (0x0370, 0x0482),  # Greek, Cyrillic
    (0x048A, 0x0556),  # Cyrillic, Armenian
    (0x1E00, 0x1FFE),  # Latin and Greek with marks
    (0x2010, 0x2027),  # dashes, quotes, dots
    (0x2030, 0x205E),
    (0x2070, 0x20BF),  # super- and subscripts, currency
    (0x2100, 0x23FF),  # letter-like, numbers, arrows, mathematics, technical
    (0x2400, 0x2426),  # control pictures
    (0x2460, 0x27BF),  # box drawing, blocks, shapes, symbols
    (0x27C0, 0x2BFF),  # more arrows and mathematics, braille
)
_WIDE = (
    (0x3001, 0x30FF),  # CJK punctuation, kana
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A3),  # hangul syllables
    (0xFF01, 0xFF60),  # full-width forms
)


def _picture(codepoint: int) -> str:
    """What stands for one character of the guest: itself where that is harmless, else one harmless sign."""
    if 0x20 <= codepoint < 0x7F:
        return chr(codepoint)
    if codepoint < 0x20:
        return chr(0x2400 + codepoint)
    if codepoint == 0x7F:
        return "\N{SYMBOL FOR DELETE}"
    if codepoint == 0xA0:
        return " "
    character = chr(codepoint)
    if unicodedata.category(character)[0] not in "LNPS":
        return REPLACEMENT
    if unicodedata.bidirectional(character) in ("R", "AL", "AN"):
        return REPLACEMENT
    wide = unicodedata.east_asian_width(character) in "WF"
    for blocks, cells in ((_NARROW, 1), (_WIDE, 2)):
        if any(first <= codepoint <= last for first, last in blocks):
            # The tables of Python and of rich must agree, or columns would shift.
            return character if wide == (cells == 2) and get_character_cell_size(character) == cells else REPLACEMENT
    return REPLACEMENT


class _Pictures(dict[int, str]):
    """A translation table that fills itself; bounded, since the guest chooses the keys."""

    def __missing__(self, codepoint: int) -> str:
        if len(self) > 8192:
            self.clear()
        picture = self[codepoint] = _picture(codepoint)
        return picture


_PICTURES = _Pictures()
# For terminals that show ASCII only: controls in the form of `less` would need two cells, so a plain mark.
_ASCII_ONLY = dict.fromkeys(range(9216, 9250), ".") | {ord(REPLACEMENT): "?"}


def visible(data: bytes | str) -> str:
    """The harmless picture of foreign text: one character for each character, of one cell or two.

    Control characters become control pictures, bytes that are not UTF-8 and everything whose looks depend
    on the terminal become U+FFFD. The result has no line feed, no escape, no combining or right-to-left
    character, and `visible(visible(x)) == visible(x)`."""
    text = data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else data
    if text.isascii() and text.isprintable():
        return text
    return text.translate(_PICTURES)


def is_harmless(text: str) -> bool:
    """Whether `text` may be written to the terminal as it is."""
    return (text.isascii() and text.isprintable()) or text == text.translate(_PICTURES)


def plain_ascii(text: str) -> str:
    """For terminals without Unicode: one sign for each cell."""
    if text.isascii():
        return text
    return "".join(
        character if character < "\x7f" else _ASCII_ONLY.get(ord(character), "?") * get_character_cell_size(character)
        for character in text
    )


def width(text: str) -> int:
    """Cells that `text` takes."""
    return len(text) if text.isascii() else cell_len(text)


def fit(text: str, cells: int, *, right: bool = False) -> str:
    """Exactly `cells` cells of `text`: cut with an ellipsis or padded. Never splits a wide character."""
    if cells <= 0:
        return ""
    size = width(text)
    if size <= cells:
        padding = " " * (cells - size)
        return padding + text if right else text + padding
    if size == len(text):
        return text[: cells - 1] + "…"
    kept, room = [], cells - 1
    for character in text:
        room -= get_character_cell_size(character)
        if room < 0:
            break
        kept.append(character)
    short = "".join(kept) + "…"
    return short + " " * (cells - cell_len(short))


Piece = str | tuple[str, str]


def line(pieces: Iterable[Piece], cells: int | None = None) -> Text:
    """A row of the screen from plain strings and (string, style) pairs, cut or padded to `cells`.

    Much cheaper than Text.append in a loop: the spans are built once."""
    words: list[str] = []
    spans: list[Span] = []
    at = 0
    for piece in pieces:
        if isinstance(piece, str):
            words.append(piece)
            at += len(piece)
        else:
            word, style = piece
            if word:
                if style:
                    spans.append(Span(at, at + len(word), style))
                words.append(word)
                at += len(word)
    content = "".join(words)
    if cells is not None:
        content = fit(content, cells)
        if len(content) < at:
            spans = [span.right_crop(len(content)) for span in spans if span.start < len(content)]
    return Text(content, spans=spans, no_wrap=True, end="")


def blank(cells: int) -> Text:
    return Text(" " * cells, no_wrap=True, end="")


def fill(lines: list[Text], cells: int, height: int) -> list[Text]:
    """Exactly `height` lines."""
    if len(lines) >= height:
        return lines[:height]
    return lines + [blank(cells) for _ in range(height - len(lines))]
