"""The initial stack of a program: strings, argument and environment pointers, the auxiliary vector.

Built as one block of bytes and written once. Layout from the top down, as in Linux's `create_elf_tables`:
a null word, the executed path, the environment's strings, the arguments' strings, the platform's name, 16
random bytes, padding, then (rising from the stack pointer, which is aligned to 16) argc, argv, NULL,
envp, NULL, the auxiliary vector.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from sandbox.abi.errno import E2BIG
from sandbox.loader.elf import BadProgram

_STRING_LIMIT = 128 * 1024  # one string with its NUL (MAX_ARG_STRLEN)
_TOTAL_FLOOR = 128 * 1024  # what is always allowed, whatever the stack's limit (ARG_MAX)
_TOTAL_CEILING = 6 << 20  # three quarters of the default stack

AT_NULL, AT_PHDR, AT_PHENT, AT_PHNUM, AT_PAGESZ, AT_BASE, AT_FLAGS, AT_ENTRY = 0, 3, 4, 5, 6, 7, 8, 9
AT_UID, AT_EUID, AT_GID, AT_EGID, AT_PLATFORM, AT_HWCAP, AT_CLKTCK = 11, 12, 13, 14, 15, 16, 17
AT_SECURE, AT_RANDOM, AT_HWCAP2, AT_EXECFN = 23, 25, 26, 31


@dataclass(frozen=True, slots=True)
class InitialStack:
    """`data` ends at the stack's top; the addresses are what /proc/PID/stat, cmdline and environ need."""

    pointer: int
    data: bytes
    argument_start: int
    argument_end: int
    environment_start: int
    environment_end: int
    auxiliary: bytes  # the vector as /proc/PID/auxv shows it


def check_size(argv: Sequence[bytes], environment: Sequence[bytes], word: int, stack_limit: int) -> None:
    """E2BIG by the rules of `execve(2)`."""
    total = sum(len(text) + 1 + word for text in (*argv, *environment))
    limit = max(min(_TOTAL_CEILING, stack_limit // 4), _TOTAL_FLOOR)
    if total > limit or any(len(text) >= _STRING_LIMIT for text in (*argv, *environment)):
        raise BadProgram(E2BIG, f"is given {total} bytes of arguments and environment; at most {limit} fit")


def build(
    top: int,
    bits: int,
    argv: Sequence[bytes],
    environment: Sequence[bytes],
    executed_path: bytes,
    platform: bytes | None,
    random: bytes,
    entries: Sequence[tuple[int, int]],
) -> InitialStack:
    """`entries` is the auxiliary vector without the ones that point into the stack and without AT_NULL."""
    word = bits // 8
    path_block = executed_path + b"\0"
    environment_block = b"".join(text + b"\0" for text in environment)
    argument_block = b"".join(text + b"\0" for text in argv)
    platform_block = b"" if platform is None else platform + b"\0"

    path_address = top - word - len(path_block)
    environment_start = path_address - len(environment_block)
    argument_start = environment_start - len(argument_block)
    platform_address = argument_start - len(platform_block)
    random_address = platform_address - 16

    auxiliary = [*entries, (AT_RANDOM, random_address), (AT_EXECFN, path_address)]
    if platform is not None:
        auxiliary.append((AT_PLATFORM, platform_address))
    auxiliary.append((AT_NULL, 0))
    words = [
        len(argv),
        *_addresses(argument_start, argv),
        0,
        *_addresses(environment_start, environment),
        0,
    ]
    pack = "<%d" + ("Q" if bits == 64 else "I")
    vector = struct.pack(pack % (2 * len(auxiliary)), *(value for entry in auxiliary for value in entry))
    table = struct.pack(pack % len(words), *words) + vector
    pointer = (random_address - len(table)) & -16
    padding = bytes(random_address - len(table) - pointer)
    data = b"".join(
        (table, padding, random, platform_block, argument_block, environment_block, path_block, bytes(word))
    )
    return InitialStack(
        pointer=pointer,
        data=data,
        argument_start=argument_start,
        argument_end=environment_start,
        environment_start=environment_start,
        environment_end=path_address,
        auxiliary=vector,
    )


def _addresses(start: int, texts: Sequence[bytes]) -> list[int]:
    addresses = []
    for text in texts:
        addresses.append(start)
        start += len(text) + 1
    return addresses
