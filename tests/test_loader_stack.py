"""The initial stack of a program, and the page of helpers that arm programs find."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox import assembler
from sandbox.abi.errno import E2BIG
from sandbox.engine import ISAS
from sandbox.loader import (
    LAYOUTS,
    Identity,
)
from sandbox.loader import stack as initial_stack
from sandbox.loader.elf import BadProgram
from sandbox.loader.kuser import KuserPage
from sandbox.memory import PROT_EXEC, Account, AddressSpace, FramePool
from tests.elf_files import put
from tests.loading import burner, load_files, read_stack, words_at


@pytest.fixture
def pool() -> Iterator[FramePool]:
    pool = FramePool(64 << 20)
    yield pool
    pool.close()


@pytest.fixture
def account(pool: FramePool) -> Account:
    return pool.account(32 << 20)


@pytest.mark.parametrize("arch", list(ISAS))
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_initial_stack(pool: FramePool, account: Account, arch: str, count: int) -> None:
    argv = [b"argument %d" % index * index for index in range(count)]
    environment = [b"NAME%d=value" % index for index in range(count)]
    space = AddressSpace(pool, account, ISAS[arch].bits)
    identity = Identity(uid=1, euid=2, gid=3, egid=4, secure=True)
    loaded = load_files(space, arch, {b"/program": burner(arch)}, argv, environment, identity=identity)
    assert loaded.sp % 16 == 0
    found_argv, found_environment, entries = read_stack(space, loaded.sp)
    assert found_argv == (argv or [b""])
    assert found_environment == environment
    at = initial_stack
    assert [entries[key] for key in (at.AT_UID, at.AT_EUID, at.AT_GID, at.AT_EGID, at.AT_SECURE)] == [1, 2, 3, 4, 1]
    assert (entries[at.AT_PAGESZ], entries[at.AT_CLKTCK], entries[at.AT_FLAGS]) == (4096, 100, 0)
    assert entries[at.AT_ENTRY] == loaded.entry
    assert entries[at.AT_PHENT] == (56 if space.bits == 64 else 32)
    assert entries[at.AT_HWCAP] == LAYOUTS[arch].hwcap
    assert space.copy_in(entries[at.AT_RANDOM], 16) == bytes(range(16))
    assert space.copy_string(entries[at.AT_EXECFN]) == b"/program"
    platform = LAYOUTS[arch].platform
    assert (at.AT_PLATFORM in entries) == (platform is not None)
    if platform is not None:
        assert space.copy_string(entries[at.AT_PLATFORM]) == platform
    stack = loaded.stack
    joined = b"".join(text + b"\0" for text in found_argv)
    assert space.copy_in(stack.argument_start, stack.argument_end - stack.argument_start) == joined
    joined = b"".join(text + b"\0" for text in environment)
    assert space.copy_in(stack.environment_start, stack.environment_end - stack.environment_start) == joined
    top = LAYOUTS[arch].stack_top
    assert not any(space.copy_in(top - space.bits // 8, space.bits // 8))
    space.release()


@pytest.mark.parametrize(
    ("argv", "fits"),
    [
        ([b"x" * 131071], True),
        ([b"x" * 131072], False),
        ([b"x" * 1000] * 2000, True),
        ([b"x" * 1000] * 2100, False),
        ([b""] * 200_000, True),
        ([b""] * 240_000, False),
    ],
)
def test_too_many_arguments(pool: FramePool, account: Account, argv: list[bytes], fits: bool) -> None:
    space = AddressSpace(pool, account, 64)
    if fits:
        loaded = load_files(space, "x86_64", {b"/program": burner("x86_64")}, argv)
        assert words_at(space, loaded.sp, 1) == (len(argv),)
    else:
        with pytest.raises(BadProgram) as caught:
            load_files(space, "x86_64", {b"/program": burner("x86_64")}, argv)
        assert caught.value.number == E2BIG
    space.release()


def test_stack_is_executable_when_the_file_asks_for_it(pool: FramePool, account: Account) -> None:
    data = burner("x86_64")
    for flags, executable in ((6, False), (7, True)):
        space = AddressSpace(pool, account, 64)
        load_files(space, "x86_64", {b"/program": put(data, 64 + 4, 4, flags)})
        stack = next(region for region in space.regions() if region.name == b"[stack]")
        assert bool(stack.protection & PROT_EXEC) == executable
        space.release()


def test_arm_helpers_are_what_they_say(pool: FramePool, account: Account) -> None:
    """The words of the page, against keystone; what they do is tested by the guest `check`."""
    source = """
_start: push {r4, r5, r6, r7}
        ldrd r4, r5, [r0]
        ldrd r6, r7, [r1]
        dmb ish
again:  ldrexd r0, r1, [r2]
        eors r3, r0, r4
        eorseq r3, r1, r5
        strexdeq r3, r6, r7, [r2]
        teqeq r3, #1
        beq again
        dmb ish
        rsbs r0, r3, #0
        pop {r4, r5, r6, r7}
        bx lr
        .space 8
barrier: dmb ish
        bx lr
        .space 24
        dmb ish
retry:  ldrex r3, [r2]
        subs r3, r3, r0
        strexeq r3, r1, [r2]
        teqeq r3, #1
        beq retry
        rsbs r0, r3, #0
        b barrier
        mrc p15, #0, r0, c13, c0, #3
        bx lr
"""
    image = assembler.assemble(source, "kuser", "arm")
    code = image[4096 : 4096 + 0x88]
    page = KuserPage().load(0)
    undefined = bytes.fromhex("f1defde7")
    masked = page[0xF60 : 0xF60 + 0x88].replace(undefined, bytes(4))
    assert masked == code
    space = AddressSpace(pool, account, 32)
    load_files(space, "arm", {b"/program": burner("arm")})
    assert space.copy_in(0xFFFF0FFC, 4) == b"\x05\0\0\0"
    space.release()
