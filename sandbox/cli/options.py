"""Argument parsing that all commands share: argparse with our exit statuses, examples, and types of values.

An option that is not served yet is declared with `later`: it is absent from the help, and using it ends in
125 with a sentence. A wrong argument ends in 125 as well, never in argparse's 2, which a guest could return.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from sandbox.errors import ConfigurationError

FAILED = 125
ARCHES = ("x86_64", "i386", "arm64", "arm", "riscv64")


class Parser(argparse.ArgumentParser):
    def __init__(self, name: str, summary: str, examples: str, **options: Any) -> None:
        super().__init__(
            prog=f"sandbox {name}",
            description=summary,
            epilog=f"examples:\n{examples}" if examples else None,
            formatter_class=_Format,
            allow_abbrev=False,
            **options,
        )

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (--help explains)", file=sys.stderr)
        raise SystemExit(FAILED)

    def later(self, *flags: str, value: bool = True, instead: str = "") -> None:
        """An option of the contract that is not served yet."""
        self.add_argument(*flags, action=_Later, nargs=1 if value else 0, const=instead, help=argparse.SUPPRESS)

    def divide(self, arguments: list[str]) -> tuple[list[str], list[str]]:
        """Our options, and the words that begin with the program: everything from there on is the guest's. An
        option whose value is optional (`nargs="?"`) takes it with "=" only."""
        takes = {flag: action.nargs for action in self._actions for flag in action.option_strings}
        at = 0
        while at < len(arguments):
            word = arguments[at]
            if word == "--":
                return arguments[:at], arguments[at + 1 :]
            if not word.startswith("-") or word == "-":
                break
            short = not word.startswith("--")
            flag = word[:2] if short else word.partition("=")[0]
            attached = len(word) > 2 if short else "=" in word
            at += 2 if not attached and takes.get(flag, 0) in (None, 1) else 1
        return arguments[:at], arguments[at:]

    def json_option(self) -> None:
        self.add_argument("--json", action="store_true", help="print JSON")


class _Format(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=100)


class _Later(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        instead = f"; {self.const}" if self.const else ""
        parser.exit(FAILED, f"{parser.prog}: {option_string} is not served yet{instead}\n")


def value_of(parse: Callable[[str], Any], what: str) -> Callable[[str], Any]:
    """An argparse type: the sentence of a ConfigurationError becomes the parser's error."""

    def convert(text: str) -> Any:
        try:
            return parse(text)
        except ConfigurationError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}") from None

    return convert


def size(text: str) -> int:
    from sandbox.quantity import parse_size

    parsed: int = value_of(lambda word: parse_size(word), "a size such as 64M")(text)
    return parsed


def count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 1 << 31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def seconds(text: str) -> float:
    from sandbox.quantity import parse_duration

    parsed: float = value_of(lambda word: parse_duration(word) / 1e9, "a time such as 5 or 250ms")(text)
    if parsed <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time above 0")
    return parsed


def assignment(text: str) -> tuple[str, str] | None:
    """K=V; K alone takes the value from this process's environment, as `docker run -e` does. None: it has none."""
    import os

    name, equals, value = text.partition("=")
    if not name or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    if not equals:
        return (name, os.environ[name]) if name in os.environ else None
    return name, value


def user(text: str) -> tuple[int, int]:
    """UID or UID:GID."""
    uid, colon, gid = text.partition(":")
    parts = [uid, gid] if colon else [uid, uid]
    if not all(part.isascii() and part.isdigit() and int(part) < 1 << 32 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not UID or UID:GID, both numbers")
    return int(parts[0]), int(parts[1])


def volume(text: str) -> tuple[str, str, bool]:
    """SRC:GUEST[:ro|rw] as (source, guest path, read-only)."""
    parts = text.split(":")
    mode = parts.pop() if len(parts) > 2 and parts[-1] in ("ro", "rw") else "rw"
    if len(parts) != 2 or not parts[0] or not parts[1].startswith("/"):
        raise argparse.ArgumentTypeError(f"{text!r} is not SRC:/GUEST/PATH[:ro|rw]")
    return parts[0], parts[1], mode == "ro"


def scratch(text: str) -> tuple[str, int | None]:
    """GUEST[:SIZE] as (guest path, bytes or None)."""
    path, colon, limit = text.partition(":")
    if not path.startswith("/"):
        raise argparse.ArgumentTypeError(f"{text!r} is not /GUEST/PATH[:SIZE]")
    return path, size(limit) if colon else None
