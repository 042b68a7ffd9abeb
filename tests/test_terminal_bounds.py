"""What is typed at a terminal costs a bounded piece of the host's time and memory, whatever it is."""

from __future__ import annotations

import pytest

from sandbox.abi.signals import SIGINT, SIGTSTP
from sandbox.vfs import termios as T
from sandbox.vfs.line_discipline import BACKLOG, ECHO_MAX, LINE_MAX, LineDiscipline
from sandbox.vfs.terminal import Terminal
from sandbox.vfs.termios import Termios

INTERRUPT, END, BACKSPACE, KILL, REPRINT, STOP = b"\x03", b"\x04", b"\x7f", b"\x15", b"\x12", b"\x1a"


@pytest.mark.parametrize(
    ("keys", "most"),
    [
        (b"a" * LINE_MAX + REPRINT * 4096, ECHO_MAX + 4 * LINE_MAX + 3 * 4096),
        (b"\x01" * LINE_MAX + REPRINT * 4096, ECHO_MAX + 8 * LINE_MAX + 3 * 4096),
        (b"\t" * LINE_MAX + KILL, LINE_MAX * 9),
        (b"a" * (LINE_MAX - 1) + (b"\t" + BACKSPACE) * 2048, LINE_MAX + 9 * 2048),
    ],
    ids=["reprint", "reprint controls", "kill tabs", "tabs after a long line"],
)
def test_little_is_shown_for_what_was_typed(keys: bytes, most: int) -> None:
    discipline = LineDiscipline(Termios())
    discipline.type(keys)
    assert len(discipline.echo) <= most


def test_ends_of_files_are_bounded() -> None:
    discipline = LineDiscipline(Termios())
    discipline.type(END * (BACKLOG + 100))
    assert len(discipline.lines) == BACKLOG


def test_a_key_held_down_is_one_signal_at_a_time() -> None:
    sent: list[tuple[int, int]] = []
    terminal = Terminal(1)
    terminal.foreground = 7
    terminal.on_signal = lambda group, number: sent.append((group, number))
    terminal.type(INTERRUPT * 1000 + STOP * 1000 + INTERRUPT)
    assert sent == [(7, SIGINT), (7, SIGTSTP)]
    terminal.type(INTERRUPT)
    assert sent[2:] == [(7, SIGINT)]


@pytest.mark.parametrize("utf8", [False, True])
@pytest.mark.parametrize(
    ("before", "columns"),
    [(b"", 0), (b"abc", 3), (b"abcdefg", 7), (b"ab\tc", 9), (b"\ta\t", 16), (b"a\x16\x01b", 4), (b"\xc3\xa4b", None)],
    ids=str,
)
def test_a_tab_is_erased_to_where_it_began(before: bytes, columns: int | None, utf8: bool) -> None:
    settings = Termios()
    settings.input = settings.input | T.IUTF8 if utf8 else settings.input & ~T.IUTF8
    if columns is None:
        columns = 2 if utf8 else 3
    discipline = LineDiscipline(settings)
    discipline.type(before + b"\t")
    discipline.echo.clear()
    discipline.type(BACKSPACE)
    assert discipline.echo == b"\b" * (8 - columns % 8)
    assert bytes(discipline.line) == before.replace(b"\x16", b"")
