"""One line of text being edited, as pure functions: the keys people know from readline."""

from __future__ import annotations

from sandbox.dashboard.keys import Key

_LONGEST = 400


def edit(line: str, cursor: int, key: Key) -> tuple[str, int]:
    """The line and the cursor after `key`; unchanged by keys that mean nothing here."""
    name = key.name
    if key.text and key.text.isprintable() and len(line) < _LONGEST:
        return line[:cursor] + key.text + line[cursor:], cursor + 1
    if name == "backspace" and cursor:
        return line[: cursor - 1] + line[cursor:], cursor - 1
    if name in ("delete", "ctrl-d"):
        return line[:cursor] + line[cursor + 1 :], cursor
    if name in ("left", "ctrl-b"):
        return line, max(0, cursor - 1)
    if name in ("right", "ctrl-f"):
        return line, min(len(line), cursor + 1)
    if name in ("home", "ctrl-a"):
        return line, 0
    if name in ("end", "ctrl-e"):
        return line, len(line)
    if name == "ctrl-u":
        return line[cursor:], 0
    if name == "ctrl-k":
        return line[:cursor], cursor
    if name in ("ctrl-w", "alt-backspace"):
        start = len(line[:cursor].rstrip().rpartition(" ")[0])
        start += 1 if start else 0
        return line[:start] + line[cursor:], start
    return line, cursor


def complete(line: str, candidates: list[str]) -> tuple[str, tuple[str, ...]]:
    """Extend the last word as far as all candidates agree; the choices left when it is not unique."""
    if not candidates:
        return line, ()
    head, space, last = line.rpartition(" ")
    agreed = candidates[0]
    for candidate in candidates[1:]:
        while not candidate.startswith(agreed):
            agreed = agreed[:-1]
    word = agreed if len(agreed) > len(last) else last
    if len(candidates) == 1:
        return head + space + candidates[0] + " ", ()
    return head + space + word, tuple(candidates)
