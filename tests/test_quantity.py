"""Amounts as people write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import ConfigurationError
from sandbox.quantity import format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (0, 0), (4096, 4096), ("4096", 4096), ("64M", 64 << 20), ("64m", 64 << 20), ("64 MiB", 64 << 20),
        ("2G", 2 << 30), ("1.5g", 3 << 29), ("1k", 1024), ("10B", 10), ("1T", 1 << 40),
    ],
)  # fmt: skip
def test_sizes(text: int | str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1", -1, "1e3", "64 X", "1.5.2G", "9999999T", True, None, 1.5, "1" * 50])
def test_bad_sizes(text: object) -> None:
    with pytest.raises(ConfigurationError, match="memory"):
        parse_size(text, "memory")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [(5, 5_000_000_000), (0.25, 250_000_000), ("5", 5_000_000_000), ("250ms", 250_000_000), ("2m", 120_000_000_000),
     ("1.5s", 1_500_000_000), ("7 us", 7000), ("3ns", 3)],
)  # fmt: skip
def test_durations(text: float | str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "s", -1, math.inf, math.nan, "1h", True, None, 1e30])
def test_bad_durations(text: object) -> None:
    with pytest.raises(ConfigurationError, match="timeout"):
        parse_duration(text, "timeout")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0"), (512, "512"), (65536, "64K"), (1536, "1.5K"), (3 << 29, "1.5G"), (1 << 41, "2T")]
)
def test_format(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(0, 1 << 50))
def test_format_is_near(size: int) -> None:
    assert parse_size(format_size(size)) == pytest.approx(size, rel=0.05)
