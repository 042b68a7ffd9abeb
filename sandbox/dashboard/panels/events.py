"""What happened to the VMs, newest at the bottom; with a filter, only what matches it."""

from __future__ import annotations

from rich.text import Text

from sandbox.dashboard.grid import nothing
from sandbox.dashboard.interface import Interface
from sandbox.dashboard.palette import Look
from sandbox.dashboard.text import fill, fit, line, visible
from sandbox.dashboard.view import EventView, View

_STYLES = {
    "crashed": "crashed",
    "killed": "crashed",
    "error": "error",
    "paused": "paused",
    "started": "running",
    "resumed": "running",
}


def render(view: View, interface: Interface, columns: int, height: int, look: Look) -> list[Text]:
    wanted = interface.tab_filter.lower()
    events = [event for event in view.events if not wanted or wanted in f"{event.vm} {event.kind}".lower()]
    if not events:
        return nothing("no event matches" if wanted else "nothing happened yet", columns, height)
    end = max(min(len(events), height), len(events) - interface.scroll)
    return fill([_event(event, columns) for event in events[max(0, end - height) : end]], columns, height)


def _event(event: EventView, columns: int) -> Text:
    return line(
        [
            (f"{event.time:>10.3f}  ", "dim"),
            (fit(visible(event.vm), 16) + " ", "accent"),
            (fit(visible(event.kind), 12) + " ", _STYLES.get(event.kind, "strong")),
            visible(event.text),
        ],
        columns,
    )


if __name__ == "__main__":
    from sandbox.dashboard.alone import show

    show(render, height=10)
