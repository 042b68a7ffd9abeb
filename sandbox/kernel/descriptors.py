"""i386: the descriptor table that `mov gs, selector` reads, a read-only page of every address space.

set_thread_area(2) gives each thread three entries of its own; they are shown before the thread runs. Sources: Intel
SDM vol. 3A, 3.4.5; `arch/x86/kernel/tls.c`.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from sandbox.engine.privilege import GDT, GDT_ADDRESS

if TYPE_CHECKING:
    from sandbox.kernel.task import Task
    from sandbox.memory import AddressSpace

ENTRIES = 3
CODE_PAGE = GDT_ADDRESS  # the rest of the page holds the signal trampolines
_READ_EXECUTE = 5
_LOADER = GDT_ADDRESS + 0x900
_LOADER_CODE = bytes.fromhex("8e2c24 8d642404 c3")  # mov gs, [esp]; lea esp, [esp+4]; ret


def install(space: AddressSpace) -> None:
    """Map the table into a new address space."""
    space.map(GDT_ADDRESS, 4096, _READ_EXECUTE, fixed=True, replace=False, kernel=True, name=b"[gdt]")
    space.write(GDT_ADDRESS, GDT)
    space.write(_LOADER, _LOADER_CODE)


def first_entry() -> int:
    return len(GDT) // 8


def descriptor(base: int, limit: int, flags: int) -> bytes:
    """A user data descriptor of `struct user_desc`: flags are seg_32bit:1 contents:2 read_exec_only:1
    limit_in_pages:1 seg_not_present:1 useable:1."""
    if flags & 0x20:
        return bytes(8)
    contents = flags >> 1 & 3
    writable = 0 if flags & 8 else 2
    access = 0x80 | 0x60 | 0x10 | contents << 2 | writable | 1
    high = (flags & 1) << 2 | (flags >> 4 & 1) << 3 | (flags >> 6 & 1)  # D/B, G, AVL
    return struct.pack(
        "<HHBBBB", limit & 0xFFFF, base & 0xFFFF, base >> 16 & 0xFF, access, (limit >> 16 & 0xF) | high << 4, base >> 24
    )


def fields(data: bytes) -> tuple[int, int, int]:
    """base, limit and the flags of `struct user_desc`: the inverse of `descriptor`."""
    low_limit, low_base, middle, access, high, top = struct.unpack("<HHBBBB", data)
    if not access & 0x80:
        return 0, 0, 0x28
    bits = (
        high >> 6 & 1 | (access >> 2 & 3) << 1 | (0 if access & 2 else 8) | (high >> 7 & 1) << 4 | (high >> 4 & 1) << 6
    )
    return low_base | middle << 16 | top << 24, low_limit | (high & 0xF) << 16, bits


def show(task: Task) -> None:
    """Write the task's entries into its address space's table, unless they are there already."""
    for number, data in task.tls_entries.items():
        address = GDT_ADDRESS + 8 * number
        if task.space.read(address, 8) != data:
            task.space.write(address, data)


def start_with_segment(task: Task, number: int) -> None:
    """Let a new thread load GS from its own descriptor before anything else: the hidden base of a segment register
    cannot be written from outside. Its stack holds selector and address for the few instructions that do it.
    Raises Errno(EFAULT)."""
    context = task.context
    sp = context.sp - 8
    task.space.copy_out(sp, struct.pack("<II", number * 8 + 3, context.pc))
    context.sp = sp
    context.pc = _LOADER
