"""The devices on a board's bus: where they are, their registers, their interrupt line, and the framebuffer
as a picture of half blocks (two pixels a cell)."""

from __future__ import annotations

from rich.style import Style
from rich.text import Text

from sandbox.dashboard.grid import beside, nothing
from sandbox.dashboard.interface import Interface
from sandbox.dashboard.palette import UNICODE, Look
from sandbox.dashboard.text import Piece, fill, line
from sandbox.dashboard.view import DeviceView, PictureView, View


def render(view: View, interface: Interface, columns: int, height: int, look: Look) -> list[Text]:
    devices = view.detail.devices if view.detail else None
    if devices is None or not devices.devices:
        return nothing("no devices: a Linux VM has files instead (tab files)", columns, height)
    picture = devices.picture
    if picture is None or look.signs is not UNICODE:
        return _list(devices.devices, interface, columns, height, look)
    cells = min(picture.width, columns // 2)
    return beside(
        [
            (0, lambda wide, rows: _list(devices.devices, interface, wide, rows, look)),
            (cells, lambda wide, rows: half_blocks(picture, wide, rows)),
        ],
        columns,
        height,
        "  ",
    )


def _list(devices: tuple[DeviceView, ...], interface: Interface, columns: int, height: int, look: Look) -> list[Text]:
    rows: list[Text] = []
    for device in devices:
        head: list[Piece] = [(device.name, "accent"), (f"  {device.start:#010x}-{device.end:#010x}", "address")]
        for name, high in device.lines:
            level = f"{look.signs.up} high" if high else f"{look.signs.down} low"
            head.append((f"  {name} {level}", "changed" if high else "dim"))
        rows.append(line(head, columns))
        pieces: list[Piece] = ["   "]
        used = 3
        for register in device.registers:
            value = f"{register.value:#x}"
            if used + len(register.name) + len(value) + 3 > columns and used > 3:
                rows.append(line(pieces, columns))
                pieces, used = ["   "], 3
            pieces += [(register.name + " ", "dim"), value + "  "]
            used += len(register.name) + len(value) + 3
        if device.registers:
            rows.append(line(pieces, columns))
    scroll = max(0, min(interface.scroll, len(rows) - height))
    return fill(rows[scroll:], columns, height)


def half_blocks(picture: PictureView, columns: int, height: int) -> list[Text]:
    """Nearest pixel; the aspect stays right because half a cell is about square."""
    scale = max(picture.width / max(columns, 1), picture.height / max(2 * height, 1), 1.0)
    wide, tall = max(1, int(picture.width / scale)), max(1, int(picture.height / scale))
    rows = []
    for top in range(0, tall, 2):
        row = Text("", no_wrap=True, end="")
        for x in range(wide):
            upper = _pixel(picture, x, top, scale)
            lower = _pixel(picture, x, top + 1, scale) if top + 1 < tall else 0
            row.append("▀", Style(color=f"#{upper:06x}", bgcolor=f"#{lower:06x}"))
        row.append(" " * (columns - wide))
        rows.append(row)
    return fill(rows, columns, height)


def _pixel(picture: PictureView, x: int, y: int, scale: float) -> int:
    column, row = min(int(x * scale), picture.width - 1), min(int(y * scale), picture.height - 1)
    index = row * picture.width + column
    return picture.pixels[index] & 0xFFFFFF if index < len(picture.pixels) else 0


if __name__ == "__main__":
    from sandbox.dashboard.alone import show

    show(render, height=8)
