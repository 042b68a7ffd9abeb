"""The FXSAVE image of x87 and SSE registers, which signal frames of x86-64 and i386 hold.

Unicorn gives the x87 registers by physical number and the tag word in its full form; the image has them relative to
the top of the stack, with one tag bit each. Source: Intel SDM vol. 1, 10.5.1.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.engine import Context

SIZE = 512
_HEAD = Struct("<HHBxHQQII")  # fcw fsw ftw fop rip rdp mxcsr mxcsr_mask
_MXCSR_MASK = 0xFFFF


def _word(context: Context, name: str) -> int:
    return int.from_bytes(context.read_wide(name), "little")


def save(context: Context, vectors: int) -> bytes:
    """`vectors` is the number of xmm registers: 16, or 8 on i386."""
    status, tags = _word(context, "fpsw"), _word(context, "fptag")
    top = status >> 11 & 7
    valid = sum(1 << register for register in range(8) if tags >> 2 * register & 3 != 3)
    head = _HEAD.pack(_word(context, "fpcw"), status, valid, 0, 0, 0, _word(context, "mxcsr"), _MXCSR_MASK)
    floats = b"".join(context.read_wide(f"fp{(top + index) & 7}") + bytes(6) for index in range(8))
    wide = b"".join(context.read_wide(f"xmm{index}") for index in range(vectors))
    return (head + floats + wide).ljust(SIZE, b"\0")


def restore(context: Context, image: bytes, vectors: int) -> None:
    control, status, valid, _, _, _, mxcsr, _ = _HEAD.unpack_from(image)
    top = status >> 11 & 7
    tags = sum(3 << 2 * register for register in range(8) if not valid >> register & 1)
    for index in range(8):
        context.write_wide(f"fp{(top + index) & 7}", image[32 + 16 * index : 42 + 16 * index])
    context.write_wide("fpcw", control.to_bytes(2, "little"))
    context.write_wide("fpsw", status.to_bytes(2, "little"))
    context.write_wide("fptag", tags.to_bytes(2, "little"))
    context.write_wide("mxcsr", (mxcsr & _MXCSR_MASK).to_bytes(4, "little"))
    for index in range(vectors):
        context.write_wide(f"xmm{index}", image[160 + 16 * index : 176 + 16 * index])
