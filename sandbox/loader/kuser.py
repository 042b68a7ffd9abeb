"""The page of kernel helpers at 0xffff0000 that every 32-bit ARM program may call.

Documentation/arch/arm/kernel_user_helpers.rst says what each does; the code is that of
`arch/arm/kernel/entry-armv.S` for ARMv7. The page is a `PageSource` of constant identity: one frame for
all VMs, mapped read and execute.
"""

from __future__ import annotations

import struct
from collections.abc import Hashable

ADDRESS = 0xFFFF0000
_VERSION = 5

_HELPERS: dict[int, tuple[int, ...]] = {
    0xF60: (  # int kuser_cmpxchg64(const int64_t *old, const int64_t *new, volatile int64_t *pointer)
        0xE92D00F0,  # push {r4, r5, r6, r7}
        0xE1C040D0,  # ldrd r4, r5, [r0]
        0xE1C160D0,  # ldrd r6, r7, [r1]
        0xF57FF05B,  # dmb ish
        0xE1B20F9F,  # again: ldrexd r0, r1, [r2]
        0xE0303004,  # eors r3, r0, r4
        0x00313005,  # eorseq r3, r1, r5
        0x01A23F96,  # strexdeq r3, r6, r7, [r2]
        0x03330001,  # teqeq r3, #1
        0x0AFFFFF9,  # beq again
        0xF57FF05B,  # dmb ish
        0xE2730000,  # rsbs r0, r3, #0
        0xE8BD00F0,  # pop {r4, r5, r6, r7}
        0xE12FFF1E,  # bx lr
    ),
    0xFA0: (  # void kuser_memory_barrier(void)
        0xF57FF05B,  # dmb ish
        0xE12FFF1E,  # bx lr
    ),
    0xFC0: (  # int kuser_cmpxchg(int32_t old, int32_t new, volatile int32_t *pointer)
        0xF57FF05B,  # dmb ish
        0xE1923F9F,  # again: ldrex r3, [r2]
        0xE0533000,  # subs r3, r3, r0
        0x01823F91,  # strexeq r3, r1, [r2]
        0x03330001,  # teqeq r3, #1
        0x0AFFFFFA,  # beq again
        0xE2730000,  # rsbs r0, r3, #0
        0xEAFFFFEF,  # b kuser_memory_barrier
    ),
    0xFE0: (  # void *kuser_get_tls(void)
        0xEE1D0F70,  # mrc p15, 0, r0, c13, c0, 3
        0xE12FFF1E,  # bx lr
    ),
    0xFFC: (_VERSION,),
}


def _page() -> bytes:
    page = bytearray(struct.pack("<I", 0xE7FDDEF1) * 1024)  # elsewhere an undefined instruction, as on Linux
    for offset, words in _HELPERS.items():
        page[offset : offset + 4 * len(words)] = struct.pack(f"<{len(words)}I", *words)
    return bytes(page)


class KuserPage:
    """A PageSource of one page."""

    identity: Hashable = "arm kuser helpers"
    size = 4096
    _bytes = _page()

    def load(self, index: int) -> bytes:
        return self._bytes if index == 0 else b""

    def shared_frame(self, index: int) -> int | None:
        return None
