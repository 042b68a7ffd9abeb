"""Colours and signs, by meaning. Panels name a meaning ("paused", "dim", "changed"), never a colour.

Safe for the colour-blind: blue against orange, never red against green, and every state has a sign and a
word besides its colour. Three tables: `QUIET` for terminals with 256 colours or more, `SIXTEEN` for the
basic ones (it uses the user's own theme), and none at all with NO_COLOR, where bold, dim and reverse
remain. `Look` is what a panel gets: styles are resolved by the screen through rich's theme, signs are here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

# After Okabe and Ito, a little lighter for dark backgrounds and dark enough for light ones.
QUIET: dict[str, str] = {
    "text": "",
    "dim": "#808890",
    "faint": "#5a626a",
    "strong": "bold",
    "title": "bold #56b4e9",
    "heading": "#8f9aa5 underline",
    "key": "bold #e6a532",
    "accent": "#56b4e9",
    "select": "bold reverse",
    "tab": "#808890",
    "tab.open": "bold reverse #56b4e9",
    "running": "#56b4e9",
    "paused": "bold #e6a532",
    "created": "#808890",
    "stopped": "#808890",
    "crashed": "bold #e0709c",
    "error": "bold #e0709c",
    "warning": "#e6a532",
    "good": "#56b4e9",
    "changed": "bold #e6a532",
    "bar": "#56b4e9",
    "bar.more": "#e6a532",
    "bar.less": "#e0709c",
    "bar.rest": "#4a525a",
    "spark": "#4787b0",
    "address": "#808890",
    "mnemonic": "#9ccbe8",
    "comment": "#808890",
    "current": "bold reverse",
    "breakpoint": "bold #e0709c",
    "number": "",
    "string": "#9ccbe8",
    "mode.type": "bold reverse #e6a532",
    "mode.ask": "bold reverse #e0709c",
    "page.resident": "#56b4e9",
    "page.dirty": "#e6a532",
    "page.shared": "#8fb8a8",
    "page.compressed": "#b09ad0",
    "page.absent": "#4a525a",
    "lane.0": "#56b4e9",
    "lane.1": "#e6a532",
    "lane.2": "#8fb8a8",
    "lane.3": "#e0709c",
    "lane.4": "#b09ad0",
    "lane.5": "#c8c05a",
}
SIXTEEN: dict[str, str] = {
    **dict.fromkeys(QUIET, ""),
    "dim": "dim",
    "faint": "dim",
    "strong": "bold",
    "title": "bold cyan",
    "heading": "underline",
    "key": "bold yellow",
    "accent": "cyan",
    "select": "reverse",
    "tab": "",
    "tab.open": "bold reverse",
    "running": "cyan",
    "paused": "bold yellow",
    "created": "dim",
    "stopped": "dim",
    "crashed": "bold magenta",
    "error": "bold magenta",
    "warning": "yellow",
    "good": "cyan",
    "changed": "bold yellow",
    "bar": "cyan",
    "bar.more": "yellow",
    "bar.less": "magenta",
    "bar.rest": "dim",
    "spark": "cyan",
    "address": "dim",
    "mnemonic": "cyan",
    "comment": "dim",
    "current": "reverse",
    "breakpoint": "bold magenta",
    "string": "cyan",
    "mode.type": "bold reverse yellow",
    "mode.ask": "bold reverse magenta",
    "page.resident": "cyan",
    "page.dirty": "yellow",
    "page.shared": "blue",
    "page.compressed": "magenta",
    "page.absent": "dim",
    "lane.0": "cyan",
    "lane.1": "yellow",
    "lane.2": "blue",
    "lane.3": "magenta",
    "lane.4": "bold cyan",
    "lane.5": "bold yellow",
}
if set(SIXTEEN) != set(QUIET):  # a meaning added to one table only
    raise AssertionError(set(SIXTEEN) ^ set(QUIET))


@dataclass(frozen=True, slots=True)
class Signs:
    """The non-ASCII signs that panels use, and what stands for them where there is no Unicode."""

    states: Mapping[str, str]
    full: str
    empty: str
    partial: str  # eighths of a bar, from thin to full
    spark: str  # heights of a sparkline, lowest first
    mark: str  # entitlement on a share bar
    pointer: str
    current: str
    breakpoint: str
    up: str
    down: str
    rule: str
    divider: str
    dot: str
    resident: str
    dirty: str
    shared: str
    compressed: str
    absent: str


UNICODE = Signs(
    states={"created": "○", "running": "●", "paused": "‖", "stopped": "■", "crashed": "✗"},
    full="█",
    empty="·",
    partial="▏▎▍▌▋▊▉█",
    spark="▁▂▃▄▅▆▇█",
    mark="│",
    pointer="→",
    current="▶",
    breakpoint="◆",
    up="▲",
    down="▼",
    rule="─",
    divider="│",
    dot="·",
    resident="■",
    dirty="◆",
    shared="□",
    compressed="◇",
    absent="·",
)
ASCII = Signs(
    states={"created": "o", "running": ">", "paused": "=", "stopped": "#", "crashed": "x"},
    full="#",
    empty=".",
    partial="#",
    spark="_.-=#",
    mark="|",
    pointer="->",
    current=">",
    breakpoint="*",
    up="^",
    down="v",
    rule="-",
    divider="|",
    dot=".",
    resident="r",
    dirty="d",
    shared="s",
    compressed="z",
    absent=".",
)
LANES = 6


@dataclass(frozen=True, slots=True)
class Look:
    signs: Signs = field(default=UNICODE)

    def state(self, state: str) -> str:
        return self.signs.states.get(state, "?")

    def bar(self, fraction: float, cells: int) -> tuple[str, str]:
        """The full part and the rest of a bar; eighths of a cell where the signs allow it."""
        fraction = min(max(fraction, 0.0), 1.0)
        partial = self.signs.partial
        steps = round(fraction * cells * len(partial))
        whole, rest = divmod(steps, len(partial))
        done = self.signs.full * whole + (partial[rest - 1] if rest else "")
        return done, self.signs.empty * (cells - len(done))

    def sparkline(self, values: tuple[float, ...], cells: int, top: float | None = None) -> str:
        """The last `cells` values, scaled to `top` (the largest one when None); older ones missing: blank."""
        spark = self.signs.spark
        recent = values[-cells:] if cells > 0 else ()
        highest = top if top is not None else max(recent, default=0.0)
        if highest <= 0:
            picture = spark[0] * len(recent)
        else:
            last = len(spark) - 1
            picture = "".join(spark[min(last, max(0, round(value / highest * last)))] for value in recent)
        return " " * (cells - len(picture)) + picture


def unicode_expected(encoding: str | None) -> bool:
    return (encoding or "").lower().replace("-", "").startswith("utf")


def look_for(encoding: str | None = None, environment: Mapping[str, str] = os.environ) -> Look:
    """The look that this output can show: TERM=linux has no eighth blocks, a C locale no Unicode at all."""
    encoding = encoding or getattr(sys.stdout, "encoding", None)
    if not unicode_expected(encoding) or environment.get("TERM") in ("dumb", "vt100", "vt220"):
        return Look(ASCII)
    return Look(UNICODE)


def styles_for(color_system: str | None) -> dict[str, str]:
    """rich's name of the colour system ("standard", "256", "truecolor", None) to a table of styles."""
    return SIXTEEN if color_system in (None, "standard", "windows") else QUIET
