"""Processes and threads of the selected VM as a tree: what each does, and what it waits for."""

from __future__ import annotations

from rich.text import Text

from sandbox.dashboard import figures
from sandbox.dashboard.grid import Cell, Heading, grid, nothing
from sandbox.dashboard.interface import Interface
from sandbox.dashboard.palette import Look
from sandbox.dashboard.text import visible
from sandbox.dashboard.view import TaskView, View

_STYLES = {"ready": "running", "running": "running", "stopped": "paused", "zombie": "crashed", "dead": "dim"}
_DEEPEST = 12


def render(view: View, interface: Interface, columns: int, height: int, look: Look) -> list[Text]:
    tasks = view.detail.tasks if view.detail else None
    if tasks is None:
        return nothing("no tasks: a bare-metal board has none", columns, height)
    headings = [Heading("TID", 6, True), Heading("PID", 6, True), Heading("STATE", 8), Heading("WAITS FOR", 14)]
    wide = columns >= 100
    if wide:
        headings += [Heading("FDS", 4, True), Heading("MEMORY", 6, True)]
    headings.append(Heading("NAME", 0))
    rows: list[list[Cell]] = []
    for task, depth in tree(tasks):
        thread = task.tid != task.tgid
        row: list[Cell] = [
            str(task.tid),
            (str(task.tgid), "dim" if thread else ""),
            (task.state, _STYLES.get(task.state, "")),
            (visible(task.waits_for), "dim"),
        ]
        if wide:
            row.append("-" if task.descriptors is None else str(task.descriptors))
            row.append("-" if task.resident is None else figures.size(task.resident * 4096))
        words = visible(task.command or task.name)
        row.append("  " * depth + ("{" + visible(task.name) + "}" if thread else words))
        rows.append(row)
    return grid(headings, rows, columns, height, scroll=interface.scroll, empty="no tasks")


def tree(tasks: tuple[TaskView, ...]) -> list[tuple[TaskView, int]]:
    """Children under their parents, threads under their process. Hostile parents (cycles) cannot trap it."""
    children: dict[int, list[TaskView]] = {}
    present = {task.tid for task in tasks}
    for task in tasks:
        above = task.tgid if task.tid != task.tgid else task.parent
        children.setdefault(above if above in present and above != task.tid else 0, []).append(task)
    result: list[tuple[TaskView, int]] = []
    seen: set[int] = set()
    stack = [(task, 0) for task in reversed(children.get(0, []))]
    while stack:
        task, depth = stack.pop()
        if task.tid in seen:
            continue
        seen.add(task.tid)
        result.append((task, min(depth, _DEEPEST)))
        stack += [(child, depth + 1) for child in reversed(children.get(task.tid, []))]
    return result + [(task, 0) for task in tasks if task.tid not in seen]


if __name__ == "__main__":
    from sandbox.dashboard.alone import show

    show(render, height=8)
