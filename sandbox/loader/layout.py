"""Where things stand in a process's address space, and what the kernel tells it about its CPU, per ISA.

Nothing is randomised: a page of a file stands at the same virtual address in every VM, and so the
translations of its code are shared by all that run it. The 64-bit ISAs use the 47-bit layout of Linux on
x86-64 without randomisation, which suits arm64 and riscv64 as well (programs that hide tags in the upper
bits of a pointer expect no more than 47 or 48); the 32-bit ones have the 4 GiB a 64-bit kernel gives them.

HWCAP and HWCAP2 name only what the engine's CPU model executes (arch/*/include/uapi/asm/hwcap.h).
"""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


def _bits(*positions: int) -> int:
    return sum(1 << position for position in positions)


@dataclass(frozen=True, slots=True)
class Layout:
    pie_base: int  # a dynamic position-independent program starts here
    mmap_top: int  # mappings without an address are placed downwards from here
    stack_top: int
    user_end: int  # no image reaches this address
    platform: bytes | None  # AT_PLATFORM
    hwcap: int = 0
    hwcap2: int = 0


_STACK_TOP_64 = 0x7FFFFFFFF000
_MMAP_TOP_64 = _STACK_TOP_64 - 128 * MIB
_PIE_64 = 0x555555554000

LAYOUTS: dict[str, Layout] = {
    "x86_64": Layout(
        pie_base=_PIE_64,
        mmap_top=_MMAP_TOP_64,
        stack_top=_STACK_TOP_64,
        user_end=_STACK_TOP_64,
        platform=b"x86_64",
        # CPUID 1 EDX: fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2
        hwcap=0x078BFBFD,
        hwcap2=_bits(1),  # fsgsbase
    ),
    "arm64": Layout(
        pie_base=_PIE_64,
        mmap_top=_MMAP_TOP_64,
        stack_top=_STACK_TOP_64,
        user_end=_STACK_TOP_64,
        platform=b"aarch64",
        hwcap=_bits(0, 1, 3, 4, 5, 6, 7),  # fp asimd aes pmull sha1 sha2 crc32; no atomics (LSE): a Cortex-A72
    ),
    "riscv64": Layout(
        pie_base=_PIE_64,
        mmap_top=_MMAP_TOP_64,
        stack_top=_STACK_TOP_64,
        user_end=_STACK_TOP_64,
        platform=None,
        hwcap=_bits(*(ord(letter) - ord("a") for letter in "imafdc")),
    ),
    "i386": Layout(
        pie_base=0x56555000,
        mmap_top=0xFFFFC000 - 128 * MIB,
        stack_top=0xFFFFC000,  # above it the page of segment descriptors
        user_end=0xFFFFC000,
        platform=b"i686",
        hwcap=0x078BFBFD,
    ),
    "arm": Layout(
        pie_base=0x00400000,
        mmap_top=0xFFFF0000 - 128 * MIB,
        stack_top=0xFFFF0000,
        user_end=0xFFFF0000,  # above it the page of kernel helpers
        platform=b"v7l",
        # swp half thumb fast_mult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae: a Cortex-A15
        hwcap=_bits(0, 1, 2, 4, 6, 7, 12, 13, 15, 16, 17, 18, 19, 20),
    ),
}
