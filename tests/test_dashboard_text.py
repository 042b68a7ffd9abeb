"""Foreign text cannot disturb the screen: `visible`, `fit`, the scrollback, and the screen's own second check."""

from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text

from sandbox.dashboard import figures, scrollback, text
from sandbox.dashboard.screen import Screen

SHOWN = {
    "plain": (b"hello", "hello"),
    "clear screen": (b"\x1b[2J", "␛[2J"),
    "newline": (b"a\nb\r\tc", "a␊b␍␉c"),
    "delete": (b"\x7f", "␡"),
    "C1 control sequence introducer": ("\x9b2J", "\N{REPLACEMENT CHARACTER}2J"),
    "C1 as a raw byte": (b"\x9b2J", "\N{REPLACEMENT CHARACTER}2J"),
    "not UTF-8": (b"\xff\xfe", "\N{REPLACEMENT CHARACTER}" * 2),
    "overlong": (b"\xc0\x80", "\N{REPLACEMENT CHARACTER}" * 2),
    "surrogate": (b"\xed\xa0\x80", "\N{REPLACEMENT CHARACTER}" * 3),
    "latin": ("Grüße", "Grüße"),
    "greek": ("λόγος", "λόγος"),
    "wide": ("漢字", "漢字"),
    "combining": ("e\u0301", "e\N{REPLACEMENT CHARACTER}"),
    "right to left": ("שלום", "\N{REPLACEMENT CHARACTER}" * 4),
    "override": ("\u202eabc", "\N{REPLACEMENT CHARACTER}abc"),
    "zero width joiner": ("a\u200db", "a\N{REPLACEMENT CHARACTER}b"),
    "emoji": ("👍", "\N{REPLACEMENT CHARACTER}"),
    "markup": ("[bold red]x[/]", "[bold red]x[/]"),
    "no-break space": ("a\xa0b", "a b"),
    "line separator": ("a\u2028b", "a\N{REPLACEMENT CHARACTER}b"),
    "tag characters": ("\U000e0041", "\N{REPLACEMENT CHARACTER}"),
}


@pytest.mark.parametrize(("foreign", "expected"), SHOWN.values(), ids=SHOWN)
def test_visible(foreign: bytes | str, expected: str) -> None:
    assert text.visible(foreign) == expected


def harmless(shown: str) -> bool:
    return all(
        character == " "
        or (
            unicodedata.category(character)[0] in "LNPS"
            and unicodedata.bidirectional(character) not in ("R", "AL", "AN", "RLE", "RLO", "RLI", "LRE", "LRO", "LRI")
            and cell_len(character) in (1, 2)
        )
        for character in shown
    )


def test_every_byte_is_harmless() -> None:
    for byte in range(256):
        assert harmless(text.visible(bytes([byte]))), hex(byte)
    assert len(text.visible(bytes(range(256)))) == 256


def test_every_character_is_harmless() -> None:
    for codepoint in range(0x110000):
        shown = text.visible(chr(codepoint))
        assert len(shown) == 1 and harmless(shown), hex(codepoint)


@given(st.binary(max_size=300))
@example(b"\x1b]0;title\x07")
@example("\N{FAMILY}\u200d\u202e".encode())
def test_visible_is_harmless_and_stable(data: bytes) -> None:
    shown = text.visible(data)
    assert harmless(shown)
    assert text.is_harmless(shown)
    assert text.visible(shown) == shown
    assert len(shown) == len(data.decode("utf-8", "surrogateescape"))
    assert text.plain_ascii(shown).isascii() and len(text.plain_ascii(shown)) == cell_len(shown)


@given(st.binary(max_size=60), st.integers(0, 70), st.booleans())
def test_fit_takes_exactly_its_cells(data: bytes, cells: int, right: bool) -> None:
    assert cell_len(text.fit(text.visible(data), cells, right=right)) == cells


@given(
    st.lists(st.tuples(st.binary(max_size=12), st.sampled_from(["", "bold", "dim"])), max_size=6), st.integers(1, 40)
)
def test_line_takes_exactly_its_cells(pieces: list[tuple[bytes, str]], cells: int) -> None:
    row = text.line([(text.visible(word), style) for word, style in pieces], cells)
    assert cell_len(row.plain) == cells
    assert all(0 <= span.start <= span.end <= len(row.plain) for span in row.spans)


LINES = {
    "two lines": (b"one\ntwo\n", ("one", "two", "")),
    "carriage return overwrites": (b"10%\r100%\rdo", ("do0%",)),
    "dos line ends": (b"one\r\ntwo", ("one", "two")),
    "backspace": (b"abc\b\bX", ("aXc",)),
    "tab": (b"a\tb", ("a       b",)),
    "colours are dropped": (b"\x1b[1;31mred\x1b[0m", ("red",)),
    "a title is dropped": (b"\x1b]0;pwned\x07x\x1b]2;y\x1b\\z", ("xz",)),
    "an unfinished sequence is shown": (b"a\x1b[12", ("a␛[12",)),
    "a clear forgets": (b"old\n\x1b[2Jnew", ("new",)),
    "reset forgets": (b"old\n\x1bcnew", ("new",)),
    "bell": (b"\a!", ("␇!",)),
    "long lines wrap": (b"abcdefghijkl", ("abcdefghij", "kl")),
    "wide characters wrap whole": ("漢字漢字漢字".encode(), ("漢字漢字漢", "字")),
}


@pytest.mark.parametrize(("data", "expected"), LINES.values(), ids=LINES)
def test_scrollback(data: bytes, expected: tuple[str, ...]) -> None:
    assert scrollback.lines(data, 10, 50) == expected


@given(st.binary(max_size=400), st.integers(1, 30), st.integers(1, 12))
def test_scrollback_is_harmless_and_fits(data: bytes, columns: int, most: int) -> None:
    rows = scrollback.lines(data, columns, most)
    assert len(rows) <= most
    for row in rows:
        assert harmless(row)
        assert cell_len(row) <= max(columns, 2)  # a wide character needs two


FLOODS = (
    b"x", b"\n", b"\r", b"\t", b"\b", b"\0", b"\x1b", b"\x1b[", b"\x1b]", b"\x1b[2J", b"\x1b]0;title\x07", b"\x1bP",
    b"ab\bc\r\t", "\u6f22".encode(), "e\u0301".encode(), "\u05d0\u202e".encode(), b"[bold red]x[/]", bytes(range(256)),
)  # fmt: skip


@given(st.sampled_from(FLOODS) | st.binary(min_size=1, max_size=20), st.integers(1, 200), st.integers(1, 60))
def test_a_flood_costs_no_more_than_the_screen_can_show(pattern: bytes, columns: int, most: int) -> None:
    """The work of one picture depends on the size of the screen, not on how much a guest prints, or what."""
    tail = (pattern * (1 + (1 << 20) // len(pattern)))[: 1 << 20]
    cells = 0

    def counted(data: bytes | str) -> str:
        nonlocal cells
        cells += len(data)
        return text.visible(data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scrollback, "visible", counted)
        rows = scrollback.lines.__wrapped__(tail, columns, most)
    assert len(rows) <= most
    assert all(harmless(row) for row in rows)
    assert cells <= 8 * max(4096, 2 * most * columns)  # a tab may take eight cells


def test_scrollback_looks_only_at_the_end() -> None:
    assert scrollback.lines(b"x" * 1_000_000 + b"\nlast", 20, 1) == ("last",)
    assert scrollback.lines(b"first\n" * 100_000 + b"last", 20, 2) == ("first", "last")


def test_the_screen_checks_once_more() -> None:
    """Whatever a panel does, no escape of a guest is written."""
    reader, writer = os.pipe()
    screen = Screen(writer, environment={"TERM": "xterm-256color"})
    screen.enter()
    screen.paint([Text("evil\x1b[2Jtext", end="")])
    os.close(writer)
    sent = os.read(reader, 65536)
    os.close(reader)
    assert "evil␛[2Jtext".encode() in sent


FIGURES = {
    "size 0": (figures.size(0), "0"),
    "size": (figures.size(64 << 20), "64M"),
    "size small": (figures.size(1536), "1.5K"),
    "size border": (figures.size(1024**2 - 1), "1.0M"),
    "size none": (figures.size(None), "-"),
    "rate": (figures.rate(12_400), "12k"),
    "rate small": (figures.rate(3), "3"),
    "rate border": (figures.rate(999.9), "1.0k"),
    "percent": (figures.percent(0.125), "12.5%"),
    "percent whole": (figures.percent(1.0), "100%"),
    "span": (figures.span(187), "3m07"),
    "span short": (figures.span(4.25), "4.2s"),
    "span long": (figures.span(6 * 86400 + 4 * 3600), "6d04h"),
    "brief": (figures.brief(2_300_000), "2.3ms"),
    "brief ns": (figures.brief(850), "850ns"),
}


@pytest.mark.parametrize(("shown", "expected"), FIGURES.values(), ids=FIGURES)
def test_figures(shown: str, expected: str) -> None:
    assert shown == expected


@given(st.floats(0, 1e17))
def test_figures_keep_their_width(value: float) -> None:
    assert len(figures.size(value)) <= 5
    assert len(figures.rate(value)) <= 5
    assert len(figures.brief(min(value, 9e12))) <= 6
    assert len(figures.span(min(value, 8e7))) <= 6
