"""Keys: every sequence whole, fed at once and byte by byte; the terminal's modes on every way out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.dashboard import editor
from sandbox.dashboard.keys import INCOMPLETE, LONE_ESCAPE, Decoder, Key

SEQUENCES = {
    "letters": (b"jK", ["j", "K"]),
    "space and enter": (b" \r\n", ["space", "enter", "enter"]),
    "control": (b"\x01\x1d\x7f\t", ["ctrl-a", "ctrl-]", "backspace", "tab"]),
    "arrows": (b"\x1b[A\x1b[B\x1b[C\x1b[D", ["up", "down", "right", "left"]),
    "application arrows": (b"\x1bOA\x1bOB", ["up", "down"]),
    "home and end": (b"\x1b[H\x1b[F\x1b[1~\x1b[4~\x1bOH", ["home", "end", "home", "end", "home"]),
    "pages": (b"\x1b[5~\x1b[6~", ["page-up", "page-down"]),
    "delete": (b"\x1b[3~", ["delete"]),
    "function keys": (b"\x1bOP\x1b[15~\x1b[24~\x1b[[A", ["f1", "f5", "f12", "f1"]),
    "modifiers": (b"\x1b[1;5A\x1b[1;2C\x1b[3;3~", ["ctrl-up", "shift-right", "alt-delete"]),
    "shift tab": (b"\x1b[Z", ["shift-tab"]),
    "alt": (b"\x1bx\x1b\x7f", ["alt-x", "alt-backspace"]),
    "UTF-8": ("é漢👍".encode(), ["é", "漢", "👍"]),
    "typed ahead after an arrow": (b"\x1b[Ajq", ["up", "j", "q"]),
    "escape before a sequence": (b"\x1b\x1b[A", ["escape", "up"]),
    "unknown sequences are noise": (b"\x1b[?1;2c\x1b[<0;3;4Mx", ["x"]),
    "an old mouse report": (b"\x1b[M !!x", ["x"]),
    "broken UTF-8": (b"\xff\xc3(x", ["(", "x"]),
    "not a sequence after all": (b"\x1b[12\x01", ["ctrl-a"]),
}


@pytest.mark.parametrize(("data", "expected"), SEQUENCES.values(), ids=SEQUENCES)
def test_sequences(data: bytes, expected: list[str]) -> None:
    assert [key.name for key in Decoder().feed(data, 0.0)] == expected


@pytest.mark.parametrize(("data", "expected"), SEQUENCES.values(), ids=SEQUENCES)
def test_sequences_byte_by_byte(data: bytes, expected: list[str]) -> None:
    decoder = Decoder()
    assert [key.name for byte in data for key in decoder.feed(bytes([byte]), 0.0)] == expected


@given(st.binary(max_size=60), st.lists(st.integers(1, 7), max_size=60))
def test_pieces_make_no_difference(data: bytes, cuts: list[int]) -> None:
    whole, pieces = Decoder(), Decoder()
    at, found = 0, []
    for cut in [*cuts, len(data)]:
        found += pieces.feed(data[at : at + cut], 0.0)
        at += cut
    assert found == whole.feed(data, 0.0)
    assert pieces.expire(9.0) == whole.expire(9.0)


def test_a_lone_escape_is_believed_in_time() -> None:
    decoder = Decoder()
    assert decoder.feed(b"\x1b", 10.0) == []
    assert decoder.deadline == 10.0 + LONE_ESCAPE
    assert decoder.expire(10.0 + LONE_ESCAPE / 2) == []
    assert [key.name for key in decoder.expire(10.0 + LONE_ESCAPE)] == ["escape"]
    assert decoder.deadline is None
    assert [key.name for key in decoder.feed(b"[A", 11.0)] == ["[", "A"]


def test_a_begun_sequence_waits_longer_and_is_dropped() -> None:
    decoder = Decoder()
    decoder.feed(b"\x1b[1;", 0.0)
    assert decoder.deadline == INCOMPLETE
    assert decoder.expire(INCOMPLETE) == []
    assert [key.name for key in decoder.feed(b"q", 1.0)] == ["q"]


def test_raw_bytes_are_kept_for_typing_into_a_guest() -> None:
    data = b"ls\r\x1b[A\x03"
    assert b"".join(key.raw for key in Decoder().feed(data, 0.0)) == data


EDITS = {
    "insert": ("ac", 1, Key("b"), ("abc", 2)),
    "space": ("ab", 2, Key("space"), ("ab ", 3)),
    "backspace": ("abc", 2, Key("backspace"), ("ac", 1)),
    "backspace at the start": ("abc", 0, Key("backspace"), ("abc", 0)),
    "delete": ("abc", 1, Key("delete"), ("ac", 1)),
    "left": ("abc", 0, Key("left"), ("abc", 0)),
    "right": ("abc", 3, Key("right"), ("abc", 3)),
    "home": ("abc", 3, Key("ctrl-a"), ("abc", 0)),
    "end": ("abc", 0, Key("end"), ("abc", 3)),
    "kill before": ("abc def", 4, Key("ctrl-u"), ("def", 0)),
    "kill after": ("abc def", 3, Key("ctrl-k"), ("abc", 3)),
    "word": ("weight 200", 10, Key("ctrl-w"), ("weight ", 7)),
    "first word": ("weight", 6, Key("ctrl-w"), ("", 0)),
    "unknown": ("abc", 1, Key("f5"), ("abc", 1)),
}


@pytest.mark.parametrize(("line", "cursor", "key", "expected"), EDITS.values(), ids=EDITS)
def test_edit(line: str, cursor: int, key: Key, expected: tuple[str, int]) -> None:
    assert editor.edit(line, cursor, key) == expected


COMPLETIONS = {
    "none": ("xy", [], ("xy", ())),
    "one": ("pa", ["pause"], ("pause ", ())),
    "shared beginning": ("s", ["step", "stop"], ("st", ("step", "stop"))),
    "nothing shared": ("", ["pause", "kill"], ("", ("pause", "kill"))),
    "second word": ("tab me", ["memory"], ("tab memory ", ())),
}


@pytest.mark.parametrize(("line", "candidates", "expected"), COMPLETIONS.values(), ids=COMPLETIONS)
def test_complete(line: str, candidates: list[str], expected: tuple[str, tuple[str, ...]]) -> None:
    assert editor.complete(line, candidates) == expected
