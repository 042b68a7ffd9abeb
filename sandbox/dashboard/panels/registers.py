"""Registers, the code around the pc, and the top of the stack of the selected VM's current task.

A register that changed since the last picture is marked (bold, and with a sign before it). The stack stands
beside the code where the screen is wide, else below everything where it is tall.
"""

from __future__ import annotations

from rich.text import Text

from sandbox.dashboard.interface import Interface
from sandbox.dashboard.palette import Look
from sandbox.dashboard.text import Piece, blank, fit, line, visible, width
from sandbox.dashboard.view import InstructionView, ProcessorView, RegisterView, View

_CODE_LEAST = 38
_STACK = 44
_NOTE = 18
_TALL = 22  # rows from which the stack gets some of its own


def render(view: View, interface: Interface, columns: int, height: int, look: Look) -> list[Text]:
    processor = view.detail.processor if view.detail else None
    if processor is None:
        return [line([("no registers: the VM has no task", "dim")], columns)] + [blank(columns)] * (height - 1)
    below = 0
    stack_cells = _STACK if columns >= 140 else 0
    if not stack_cells and processor.stack and height >= _TALL:
        below = min(len(processor.stack), height // 4) + 1
        height -= below
    name_cells = min(9, max((len(register.name) for register in processor.registers), default=0)) + 1
    register_cells = name_cells + 1 + processor.bits // 4 + 2
    most = max(1, (columns - stack_cells - _CODE_LEAST) // register_cells)
    needed = -(-len(processor.registers) // max(1, height))
    lanes = min(most, needed)
    notes = columns - stack_cells - _CODE_LEAST - 20 >= lanes * (register_cells + _NOTE)
    if notes:
        register_cells += _NOTE
    code_cells = columns - stack_cells - lanes * register_cells
    registers = _registers(processor, lanes, register_cells, height, notes, name_cells)
    code = _code(processor, code_cells - 1, height, look)
    stack = _stack(processor, stack_cells, height, look) if stack_cells else []
    rows = []
    for index in range(height):
        pieces: list[Piece] = list(registers[index]) if index < len(registers) else [" " * (lanes * register_cells)]
        pieces += code[index] if index < len(code) else [" " * (code_cells - 1)]
        if stack_cells:
            pieces += [" ", *(stack[index] if index < len(stack) else [])]
        rows.append(line(pieces, columns))
    if below:
        rows.append(line([(fit("STACK", columns), "heading")], columns))
        rows += [line([" ", *row], columns) for row in _stack(processor, columns - 1, below - 1, look)]
    return rows


def _registers(
    processor: ProcessorView, lanes: int, cells: int, height: int, notes: bool, name_cells: int
) -> list[list[Piece]]:
    shown = processor.registers[: lanes * height]
    rows: list[list[Piece]] = []
    depth = min(height, -(-len(shown) // lanes))
    for row in range(depth):
        pieces: list[Piece] = []
        for lane in range(lanes):
            at = lane * depth + row
            if at < len(shown):
                pieces += _register(shown[at], processor, cells, notes, name_cells)
            else:
                pieces.append(" " * cells)
        rows.append(pieces)
    left = len(processor.registers) - len(shown)
    if left > 0 and rows:
        rows[-1] = [(fit(f" {left + 1} more: Enter", lanes * cells), "dim")]
    return rows


def _register(
    register: RegisterView, processor: ProcessorView, cells: int, notes: bool, name_cells: int
) -> list[Piece]:
    digits = processor.bits // 4
    text = f"{register.value:0{digits}x}"
    name = fit(("*" if register.changed else "") + register.name, name_cells, right=True)
    pieces: list[Piece] = [(name + " ", "changed" if register.changed else "dim")]
    # Leading zeros step back, so that the eye finds the value.
    significant = len(text.lstrip("0")) or 1
    zeros = digits - significant
    pieces += [(text[:zeros], "faint"), (text[zeros:], "changed" if register.changed else "number")]
    used = name_cells + 1 + digits
    if notes:
        pieces += ["  ", (fit(visible(register.note), cells - used - 3), "comment"), " "]
    else:
        pieces.append(" " * (cells - used))
    return pieces


def _code(processor: ProcessorView, cells: int, height: int, look: Look) -> list[list[Piece]]:
    """Around the pc: it stays a third down, so that there is always something to come."""
    rows: list[list[Piece]] = []
    current = 0
    digits = max(4, len(f"{max((item.address for item in processor.code), default=0):x}"))
    with_bytes = cells > 72
    for item in processor.code:
        if item.symbol:
            rows.append([("  " + fit(visible(item.symbol) + ":", cells - 2), "accent")])
        if item.address == processor.pc:
            current = len(rows)
        rows.append(_instruction(item, item.address == processor.pc, digits, with_bytes, cells, look))
    first = max(0, min(current - height // 3, len(rows) - height))
    return rows[first : first + height]


def _instruction(
    item: InstructionView, current: bool, digits: int, with_bytes: bool, cells: int, look: Look
) -> list[Piece]:
    signs = look.signs
    mark = signs.current if current else signs.breakpoint if item.breakpoint else " "
    head = f"{mark} {item.address:0{digits}x}  "
    code = f"{item.code[:8].hex():<16}  " if with_bytes else ""
    mnemonic, _, operands = visible(item.text).partition(" ")
    room = cells - width(head) - len(code)
    body = fit(f"{mnemonic:<7} {operands}", room)
    if current:
        return [(head + code + body, "current")]
    return [
        (head, "breakpoint" if item.breakpoint else "address"),
        (code, "faint"),
        (body[:8], "mnemonic"),
        body[8:],
    ]


def _stack(processor: ProcessorView, cells: int, height: int, look: Look) -> list[list[Piece]]:
    digits = processor.bits // 4
    rows: list[list[Piece]] = []
    for slot in processor.stack[:height]:
        offset = f"+{slot.address - processor.sp:02x} "
        note = (look.signs.pointer + " " + visible(slot.note)) if slot.note else ""
        rows.append(
            [(fit(offset, 5), "address"), f"{slot.value:0{digits}x} ", (fit(note, cells - digits - 7), "comment")]
        )
    return rows


if __name__ == "__main__":
    from sandbox.dashboard.alone import show

    show(render, height=18)
