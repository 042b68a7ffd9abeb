"""The FXSAVE image of x87 and SSE registers, which signal frames of x86-64 and i386 hold.

Unicorn gives the x87 registers by physical number and the tag word in its full form; the image has them relative to
the top of the stack, with one tag bit each. Source: Intel SDM vol. 1, 10.5.1.
"""

from __future__ import annotations

from struct import Struct

from sandbox.engine import ISAS, Context, RegisterSet

SIZE = 512
_HEAD = Struct("<HHBxHQQII")  # fcw fsw ftw fop rip rdp mxcsr mxcsr_mask
_CONTROL = Struct("<HHHI")  # fcw fsw and the full tag word, mxcsr
_MXCSR_MASK = 0xFFFF
_FLOATS, _VECTORS = 32, 160  # where they begin
VECTORS = {"x86_64": 16, "i386": 8}  # how many xmm registers there are
_SETS = {
    isa: RegisterSet(
        ISAS[isa],
        ("fpcw", "fpsw", "fptag", "mxcsr", *(f"fp{n}" for n in range(8)), *(f"xmm{n}" for n in range(count))),
    )
    for isa, count in VECTORS.items()
}
_FLOATS_END = _CONTROL.size + 80


def save(context: Context) -> tuple[bytes, int]:
    """The image, and the full tag word, which is not in it."""
    data = _SETS[context.isa.name].read(context)
    control, status, tags, mxcsr = _CONTROL.unpack_from(data)
    top = status >> 11 & 7
    valid = sum(1 << register for register in range(8) if tags >> 2 * register & 3 != 3)
    parts = [_HEAD.pack(control, status, valid, 0, 0, 0, mxcsr, _MXCSR_MASK)]
    for index in range(8):
        start = _CONTROL.size + 10 * ((top + index) & 7)
        parts += data[start : start + 10], bytes(6)
    parts.append(data[_FLOATS_END:])
    return b"".join(parts).ljust(SIZE, b"\0"), tags


def restore(context: Context, image: bytes) -> None:
    control, status, valid, _, _, _, mxcsr, _ = _HEAD.unpack_from(image)
    top = status >> 11 & 7
    tags = sum(3 << 2 * register for register in range(8) if not valid >> register & 1)
    parts = [_CONTROL.pack(control, status, tags, mxcsr & _MXCSR_MASK)]
    for register in range(8):
        start = _FLOATS + 16 * ((register - top) & 7)
        parts.append(image[start : start + 10])
    parts.append(image[_VECTORS : _VECTORS + 16 * VECTORS[context.isa.name]])
    _SETS[context.isa.name].write(context, b"".join(parts))
