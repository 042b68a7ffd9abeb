"""Numbers for people: sizes, rates, shares and times in a fixed few cells, so that columns never jitter."""

from __future__ import annotations

_BINARY = ("", "K", "M", "G", "T", "P")
_DECIMAL = ("", "k", "M", "G", "T", "P")


def _scaled(value: float, base: float, units: tuple[str, ...]) -> str:
    """At most five characters: 0, 9.9k, 312M, 1023K."""
    negative, value = value < 0, abs(value)
    exponent = 0
    while value >= base * 0.9995 and exponent < len(units) - 1:
        value /= base
        exponent += 1
    text = f"{value:.1f}" if exponent and value < 9.95 else f"{value:.0f}"
    return ("-" if negative else "") + text + units[exponent]


def size(count: int | float | None) -> str:
    """Bytes with binary units: 64M, 1.5G."""
    return "-" if count is None else _scaled(count, 1024, _BINARY)


def rate(count: float | None) -> str:
    """Events a second with decimal units; zero is a dot-free 0."""
    return "-" if count is None else _scaled(count, 1000, _DECIMAL)


def percent(fraction: float | None) -> str:
    """At most five characters: 0.4%, 12.5%, 100%."""
    if fraction is None:
        return "-"
    value = fraction * 100
    return f"{value:.0f}%" if value >= 99.95 else f"{value:.1f}%"


def span(seconds: float | None) -> str:
    """A time that has passed, in at most six characters: 4.2s, 59s, 3m07, 2h05, 6d04h."""
    if seconds is None:
        return "-"
    whole = int(seconds)
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}"
    if whole < 100 * 86400:
        return f"{whole // 86400}d{whole % 86400 // 3600:02}h"
    return f"{whole // 86400}d"


def brief(nanoseconds: float | None) -> str:
    """A latency: 850ns, 12us, 3.4ms, 1.2s."""
    if nanoseconds is None:
        return "-"
    value, units = float(nanoseconds), ("ns", "us", "ms", "s")
    step = 0
    while value >= 999.5 and step < len(units) - 1:
        value /= 1000
        step += 1
    return f"{value:.1f}{units[step]}" if step and value < 9.95 else f"{value:.0f}{units[step]}"
