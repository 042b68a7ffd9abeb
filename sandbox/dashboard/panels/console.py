"""What the selected VM printed, newest at the bottom; in type mode, the place where one's keys go. Of a VM that has
ended, the last row says how."""

from __future__ import annotations

from rich.text import Text

from sandbox.dashboard import figures, scrollback
from sandbox.dashboard.interface import TYPE, Interface
from sandbox.dashboard.palette import Look
from sandbox.dashboard.text import blank, line, visible
from sandbox.dashboard.view import View

_SCROLLBACK = 2000


def render(view: View, interface: Interface, columns: int, height: int, look: Look) -> list[Text]:
    vm = view.detail.vm if view.detail else None
    if vm is None or vm.state not in ("stopped", "crashed") or height < 2:
        return _output(view, interface, columns, height)
    words = visible(vm.reason) if vm.reason else f"it ended with status {vm.exit_status}"
    end = line([(f"{look.state(vm.state)} {vm.state}: ", vm.state), (words, vm.state)], columns)
    return [*_output(view, interface, columns, height - 1), end]


def _output(view: View, interface: Interface, columns: int, height: int) -> list[Text]:
    console = view.detail.console if view.detail else None
    if console is None:
        return [line([("no VM is selected", "dim")], columns)] + [blank(columns)] * (height - 1)
    if not console.total:
        alive = view.detail is not None and view.detail.vm.state in ("running", "paused", "created")
        quiet = "nothing printed" + ("; i types into the guest" if alive and interface.mode != TYPE else "")
        rows = [line([(quiet, "dim")], columns)]
        return rows + [blank(columns)] * (height - len(rows))
    typing = interface.mode == TYPE
    wanted = height + min(interface.scroll, _SCROLLBACK)
    found = scrollback.lines(console.tail, columns, wanted)
    if found and not found[-1] and not typing:
        found = found[:-1]
    end = max(min(len(found), height), len(found) - interface.scroll)
    shown = found[max(0, end - height) : end]
    rows = [line([text], columns) for text in shown]
    if typing and rows and end == len(found):
        rows[-1] = line([shown[-1][: columns - 1], (" ", "current")], columns)
    if interface.scroll and rows:
        below = min(interface.scroll, len(found) - end)
        if below > 0:
            note = f" {below} more below, {figures.size(console.total)} in all "
            rows[-1] = line([(note, "mode.type")], columns)
    return rows + [blank(columns)] * (height - len(rows))


if __name__ == "__main__":
    from sandbox.dashboard.alone import show

    show(render, height=12)
