"""Amounts as people write them: "64M", "1.5 GiB", "250ms", parsed and printed in one place.

Sizes are powers of 1024 whatever the spelling (K, KB and KiB are the same), as `docker run --memory`
takes them. Used by the command line, fleet files, the Python API and the control protocol; a mistake is
a `ConfigurationError` that names what was written.
"""

from __future__ import annotations

import re

from sandbox.errors import ConfigurationError

SIZE_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
TIME_UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "": 1_000_000_000, "s": 1_000_000_000, "m": 60_000_000_000}
LARGEST_SIZE = 1 << 50
LARGEST_TIME = 10**18  # thirty years, in nanoseconds

_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(?:i?b)?\s*", re.IGNORECASE | re.ASCII)
_TIME = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(ns|us|ms|s|m|)\s*", re.IGNORECASE | re.ASCII)


def parse_size(value: int | str, what: str = "a size") -> int:
    """Bytes from 4096, "4096", "64M", "1.5GiB". Never negative, at most a pebibyte."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ConfigurationError(f"{what} is a number of bytes or text such as '64M', not {value!r}")
    if isinstance(value, int):
        size = value
    else:
        match = _SIZE.fullmatch(value) if len(value) < 40 else None
        if match is None:
            raise ConfigurationError(f"{what} is written like 64M, 2G or 4096, not {value[:40]!r}")
        size = int(_scaled(match[1], SIZE_UNITS[match[2].lower()]))
    if not 0 <= size <= LARGEST_SIZE:
        raise ConfigurationError(f"{what} must be between 0 and a pebibyte, not {value!r}")
    return size


def parse_duration(value: float | str, what: str = "a time") -> int:
    """Nanoseconds from 5, 0.25 (seconds), "250ms", "10s", "2m"."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ConfigurationError(f"{what} is a number of seconds or text such as '250ms', not {value!r}")
    if isinstance(value, str):
        match = _TIME.fullmatch(value) if len(value) < 40 else None
        if match is None:
            raise ConfigurationError(f"{what} is written like 5, 0.5s or 250ms, not {value[:40]!r}")
        nanoseconds = _scaled(match[1], TIME_UNITS[match[2].lower()])
    else:
        nanoseconds = value * 1e9
    if not 0 <= nanoseconds <= LARGEST_TIME:  # also refuses nan and infinity
        raise ConfigurationError(f"{what} must be between 0 and thirty years, not {value!r}")
    return round(nanoseconds)


def format_size(size: int) -> str:
    """At most four characters and a unit: "512", "64K", "1.5G"."""
    exponent = min(4, max(0, size.bit_length() - 1) // 10)
    amount = size / (1 << 10 * exponent)
    unit = ("", "K", "M", "G", "T")[exponent]
    return f"{amount:.0f}{unit}" if amount >= 100 or amount == int(amount) else f"{amount:.1f}{unit}"


def _scaled(digits: str, unit: int) -> float | int:
    return int(digits) * unit if "." not in digits else float(digits) * unit
