"""AddressSpace: the memory calls of Linux with its errors, faults, stack growth, brk, fork, budgets."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from sandbox.abi.errno import Errno
from sandbox.engine import layout
from sandbox.errors import OutOfMemory
from sandbox.memory import PAGE_SIZE, Account, AddressSpace, FramePool, PagedFile
from sandbox.memory import faults as faults_module
from sandbox.memory import space as space_module
from sandbox.memory import table as table_module
from tests import memory
from tests.memory import BASE, EXECUTE, READ, WRITE, File, pages

pool, account, space = memory.pool, memory.account, memory.space
PAGE, RW = PAGE_SIZE, READ | WRITE
LEAF = 1 << 21


def refuses(number: int, call: Callable[[], object]) -> None:
    with pytest.raises(Errno) as refused:
        call()
    assert refused.value.number == number


def shape(space: AddressSpace) -> list[tuple[int, int, int]]:
    """Regions as (pages from BASE, pages from BASE, protection)."""
    return [((one.start - BASE) // PAGE, (one.end - BASE) // PAGE, one.protection) for one in space.regions()]


def fixed(space: AddressSpace, page: int, count: int = 1, protection: int = RW) -> int:
    return space.map(BASE + page * PAGE, count * PAGE, protection, fixed=True)


# ---- map


def test_map_without_a_hint_goes_below_the_top(space: AddressSpace) -> None:
    first = space.map(0, 5, RW)
    second = space.map(0, PAGE + 1, RW)
    assert first == space.mmap_top - PAGE and second == first - 2 * PAGE
    assert space.regions()[0].length == 3 * PAGE, "they became one"


def test_map_takes_a_free_hint_and_passes_over_a_taken_one(space: AddressSpace) -> None:
    assert space.map(BASE + 5, PAGE, READ) == BASE
    assert space.map(BASE, PAGE, READ) == space.mmap_top - PAGE
    assert space.map(0x1000, PAGE, READ) == space.mmap_top - 2 * PAGE, "too low for a guest"


def test_map_fixed_replaces_what_was_there(space: AddressSpace) -> None:
    fixed(space, 0, 4)
    space.copy_out(BASE, pages(4))
    fixed(space, 1, 2, READ)
    assert shape(space) == [(0, 1, RW), (1, 3, READ), (3, 4, RW)]
    assert space.copy_in(BASE, 4 * PAGE) == pages(1) + bytes(2 * PAGE) + pages(4)[-PAGE:]


MAP_ERRORS = {
    "no length": (errno.EINVAL, lambda space: space.map(BASE, 0, RW)),
    "negative length": (errno.EINVAL, lambda space: space.map(BASE, -PAGE, RW)),
    "unaligned": (errno.EINVAL, lambda space: space.map(BASE + 1, PAGE, RW, fixed=True)),
    "unaligned offset": (errno.EINVAL, lambda space: space.map(BASE, PAGE, RW, source=File(b"x"), offset=1)),
    "too low": (errno.EINVAL, lambda space: space.map(0, PAGE, READ, fixed=True)),
    "too high": (errno.ENOMEM, lambda space: space.map(space.top, PAGE, READ, fixed=True)),
    "beyond": (errno.ENOMEM, lambda space: space.map(1 << 60, PAGE, READ, fixed=True)),
    "larger than the address space": (errno.ENOMEM, lambda space: space.map(0, 1 << 48, READ)),
    "no gap": (errno.ENOMEM, lambda space: space.map(0, space.top - PAGE, READ)),
    "taken": (errno.EEXIST, lambda space: (fixed(space, 0), space.map(BASE, PAGE, RW, fixed=True, replace=False))),
    "over the budget": (errno.ENOMEM, lambda space: space.map(0, 257 * PAGE, RW)),
    "not to be shared": (errno.ENODEV, lambda space: space.map(BASE, PAGE, READ, shared=True, source=File(b"x"))),
}


@pytest.mark.parametrize(("number", "call"), MAP_ERRORS.values(), ids=MAP_ERRORS)
def test_map_refuses(space: AddressSpace, number: int, call: Callable[[AddressSpace], object]) -> None:
    refuses(number, lambda: call(space))


def test_what_is_not_reserved_may_be_large(space: AddressSpace) -> None:
    space.map(0, 1 << 40, RW, reserve=False)
    space.map(0, 1 << 40, RW, shared=True)
    space.map(0, 1 << 40, READ)


def test_addresses_of_32_bits(pool: FramePool, account: Account) -> None:
    space = AddressSpace(pool, account, 32)
    address = space.map(0, PAGE, RW)
    assert 0 < address < 1 << 32
    refuses(errno.ENOMEM, lambda: space.map(0xFFFF_F000, PAGE, RW, fixed=True))
    space.map(0xFFFF_F000, PAGE, READ, fixed=True, kernel=True)
    assert space.copy_in(0xFFFF_FFF8, 8) == bytes(8)
    refuses(errno.EFAULT, lambda: space.copy_in(0xFFFF_FFF8, 9))
    space.release()


def test_the_number_of_regions_is_limited(space: AddressSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space_module, "MOST_REGIONS", 5)
    for index in range(3):
        fixed(space, index * 4, 3, READ)
    fixed(space, 40, 1, READ)
    fixed(space, 42, 1, READ)
    full = shape(space)
    for call in (
        lambda: fixed(space, 50),
        lambda: fixed(space, 0, 1, READ),
        lambda: space.unmap(BASE + PAGE, PAGE),
        lambda: space.protect(BASE + PAGE, PAGE, RW),
    ):
        refuses(errno.ENOMEM, call)
    assert shape(space) == full
    space.protect(BASE, 3 * PAGE, RW)
    space.unmap(BASE, 3 * PAGE)


# ---- unmap, protect, advise


def test_unmap_forgets_pages(space: AddressSpace, account: Account) -> None:
    fixed(space, 0, 8)
    space.copy_out(BASE, pages(8))
    before = account.used
    space.unmap(BASE + 2 * PAGE, 3 * PAGE)
    assert account.used == before - 3
    assert shape(space) == [(0, 2, RW), (5, 8, RW)]
    refuses(errno.EFAULT, lambda: space.copy_in(BASE + 2 * PAGE, 1))
    fixed(space, 2, 3)
    assert space.copy_in(BASE, 8 * PAGE) == pages(2) + bytes(3 * PAGE) + pages(8)[5 * PAGE :]


def test_unmap_of_nothing_is_no_error(space: AddressSpace) -> None:
    space.unmap(BASE, 1 << 40)


UNMAP_ERRORS = [(BASE + 1, PAGE), (BASE, 0), (BASE, -PAGE), (BASE, 1 << 60), (1 << 60, PAGE)]


@pytest.mark.parametrize(("address", "length"), UNMAP_ERRORS)
def test_unmap_refuses(space: AddressSpace, address: int, length: int) -> None:
    fixed(space, 0)
    refuses(errno.EINVAL, lambda: space.unmap(address, length))


def test_protect(space: AddressSpace) -> None:
    fixed(space, 0, 4)
    space.copy_out(BASE, pages(4))
    space.protect(BASE + PAGE, 2 * PAGE, READ)
    assert shape(space) == [(0, 1, RW), (1, 3, READ), (3, 4, RW)]
    refuses(errno.EFAULT, lambda: space.copy_out(BASE + PAGE, b"x"))
    assert not space.resolve(BASE + PAGE, WRITE) and space.fault == "accerr"
    space.protect(BASE + PAGE, PAGE, 0)
    refuses(errno.EFAULT, lambda: space.copy_in(BASE + PAGE, 1))
    assert space.read(BASE + PAGE, 1) == b"\1", "a debugger sees it"
    space.protect(BASE, 4 * PAGE, RW)
    assert shape(space) == [(0, 4, RW)]
    assert space.copy_in(BASE, 4 * PAGE) == pages(4)


def test_written_or_executed_is_also_read(space: AddressSpace) -> None:
    for page, protection in enumerate((WRITE, EXECUTE)):
        fixed(space, page, 1, protection)
        assert space.copy_in(BASE + page * PAGE, 8) == bytes(8)


PROTECT_ERRORS = [
    (errno.EINVAL, BASE + 1, PAGE),
    (errno.ENOMEM, BASE - PAGE, 2 * PAGE),
    (errno.ENOMEM, BASE, 1 << 60),
    (errno.ENOMEM, BASE, -1 << 13),
]


@pytest.mark.parametrize(("number", "address", "length"), PROTECT_ERRORS)
def test_protect_refuses(space: AddressSpace, number: int, address: int, length: int) -> None:
    fixed(space, 0)
    refuses(number, lambda: space.protect(address, length, READ))
    assert shape(space) == [(0, 1, RW)]


def test_protect_goes_as_far_as_there_is_something(space: AddressSpace) -> None:
    fixed(space, 0, 2)
    fixed(space, 3)
    refuses(errno.ENOMEM, lambda: space.protect(BASE, 4 * PAGE, READ))
    assert shape(space) == [(0, 2, READ), (3, 4, RW)]


def test_protect_of_nothing(space: AddressSpace) -> None:
    space.protect(BASE, 0, READ)


def test_advised_pages_start_anew(space: AddressSpace, account: Account) -> None:
    file = File(pages(4))
    fixed(space, 0, 4)
    space.map(BASE + 4 * PAGE, 4 * PAGE, RW, fixed=True, source=file)
    space.copy_out(BASE, b"\xff" * 8 * PAGE)
    used = account.used
    space.advise(BASE + PAGE, 6 * PAGE)
    assert account.used == used - 6
    expected = b"\xff" * PAGE + bytes(3 * PAGE) + pages(3) + b"\xff" * PAGE
    assert space.copy_in(BASE, 8 * PAGE) == expected


def test_advise_refuses(space: AddressSpace) -> None:
    fixed(space, 0)
    fixed(space, 2)
    space.copy_out(BASE + 2 * PAGE, b"x")
    refuses(errno.EINVAL, lambda: space.advise(BASE + 1, PAGE))
    refuses(errno.EINVAL, lambda: space.advise(BASE, -PAGE))
    refuses(errno.EINVAL, lambda: space.advise(BASE, 1 << 60))
    refuses(errno.ENOMEM, lambda: space.advise(BASE, 3 * PAGE))
    assert space.copy_in(BASE + 2 * PAGE, 1) == b"\0", "the mapped parts are done all the same"


# ---- remap


def test_remap_grows_in_place_or_moves(space: AddressSpace, account: Account) -> None:
    fixed(space, 0, 2)
    space.copy_out(BASE, pages(2))
    assert space.remap(BASE, 2 * PAGE, 4 * PAGE, may_move=False) == BASE
    assert space.copy_in(BASE, 4 * PAGE) == pages(2) + bytes(2 * PAGE)
    fixed(space, 4, 1, READ)
    refuses(errno.ENOMEM, lambda: space.remap(BASE, 4 * PAGE, 5 * PAGE, may_move=False))
    used = account.used
    target = space.remap(BASE, 4 * PAGE, 6 * PAGE, may_move=True)
    assert target == space.mmap_top - 6 * PAGE
    assert account.used <= used + 1, "pages moved, and at most a leaf was added"
    assert space.copy_in(target, 4 * PAGE) == pages(2) + bytes(2 * PAGE)
    refuses(errno.EFAULT, lambda: space.copy_in(BASE, 1))
    assert shape(space)[0] == (4, 5, READ)


def test_remap_shrinks(space: AddressSpace) -> None:
    fixed(space, 0, 4)
    space.copy_out(BASE, pages(4))
    assert space.remap(BASE, 4 * PAGE, 1, may_move=False) == BASE
    assert shape(space) == [(0, 1, RW)]


def test_remap_to_a_fixed_address(space: AddressSpace) -> None:
    file = File(pages(8))
    space.map(BASE, 4 * PAGE, RW, fixed=True, source=file, offset=2 * PAGE)
    fixed(space, 8, 4)
    space.copy_out(BASE + PAGE, b"mine")
    target = BASE + 8 * PAGE
    assert space.remap(BASE + PAGE, PAGE, 2 * PAGE, may_move=True, new=target) == target
    assert space.copy_in(target, 5) == b"mine\3"
    assert space.copy_in(target + PAGE, 1) == b"\4", "the file goes on"
    assert shape(space) == [(0, 1, RW), (2, 4, RW), (8, 10, RW), (10, 12, RW)]


def test_remap_of_length_0_maps_shared_memory_twice(space: AddressSpace, pool: FramePool, account: Account) -> None:
    shared = PagedFile(pool, account)
    shared.truncate(PAGE)
    space.map(BASE, PAGE, RW, fixed=True, shared=True, source=shared)
    target = space.remap(BASE, 0, PAGE, may_move=True)
    space.copy_out(target, b"both")
    assert space.copy_in(BASE, 4) == b"both"
    shared.release()


def test_remap_over_leaf_borders_takes_each_page_along(space: AddressSpace) -> None:
    start = LEAF - 3 * PAGE
    space.map(start, 6 * PAGE, RW, fixed=True)
    space.copy_out(start, pages(6))
    target = 5 * LEAF - 2 * PAGE
    assert space.remap(start, 6 * PAGE, 6 * PAGE, may_move=True, new=target) == target
    assert space.copy_in(target, 6 * PAGE) == pages(6)


def test_remap_of_much_that_is_empty_is_quick(space: AddressSpace) -> None:
    address = space.map(0, 1 << 40, READ)
    assert space.copy_in(address + (1 << 39), 1) == b"\0"
    target = space.remap(address, 1 << 40, 1 << 41, may_move=True)
    assert space.resident == 1 and space.copy_in(target + (1 << 39), 1) == b"\0"


REMAP_ERRORS = {
    "unaligned": (errno.EINVAL, lambda space: space.remap(BASE + 1, PAGE, PAGE, True)),
    "to nothing": (errno.EINVAL, lambda space: space.remap(BASE, PAGE, 0, True)),
    "private of length 0": (errno.EINVAL, lambda space: space.remap(BASE, 0, PAGE, True)),
    "unmapped": (errno.EFAULT, lambda space: space.remap(BASE + 9 * PAGE, PAGE, PAGE, True)),
    "two regions": (errno.EFAULT, lambda space: space.remap(BASE, 3 * PAGE, 4 * PAGE, True)),
    "fixed, not to move": (errno.EINVAL, lambda space: space.remap(BASE, PAGE, PAGE, False, BASE + 8 * PAGE)),
    "unaligned target": (errno.EINVAL, lambda space: space.remap(BASE, PAGE, PAGE, True, BASE + 8 * PAGE + 1)),
    "overlap": (errno.EINVAL, lambda space: space.remap(BASE, 2 * PAGE, 2 * PAGE, True, BASE + PAGE)),
    "target too high": (errno.EINVAL, lambda space: space.remap(BASE, PAGE, PAGE, True, 1 << 60)),
    "target too low": (errno.EINVAL, lambda space: space.remap(BASE, PAGE, PAGE, True, 0)),
    "over the budget": (errno.ENOMEM, lambda space: space.remap(BASE, PAGE, 300 * PAGE, True)),
}


@pytest.mark.parametrize(("number", "call"), REMAP_ERRORS.values(), ids=REMAP_ERRORS)
def test_remap_refuses(space: AddressSpace, number: int, call: Callable[[AddressSpace], object]) -> None:
    fixed(space, 0, 2)
    fixed(space, 2, 1, READ)
    refuses(number, lambda: call(space))
    assert shape(space) == [(0, 2, RW), (2, 3, READ)]


# ---- brk and the stack


def test_brk(space: AddressSpace, account: Account) -> None:
    space.start_brk = space.brk = BASE + 100
    assert space.set_brk(0) == BASE + 100
    assert space.set_brk(BASE + 3 * PAGE) == BASE + 3 * PAGE
    assert [one.name for one in space.regions()] == [b"[heap]"]
    space.copy_out(BASE + PAGE, pages(2))
    assert space.set_brk(BASE + PAGE + 1) == BASE + PAGE + 1
    assert shape(space) == [(1, 2, RW)]
    assert space.set_brk(BASE + 3 * PAGE) == BASE + 3 * PAGE
    assert space.copy_in(BASE + 2 * PAGE, PAGE) == bytes(PAGE)
    assert space.set_brk(BASE + 100) == BASE + 100 and shape(space) == []


def test_brk_keeps_the_old_break_when_it_cannot_be_had(space: AddressSpace) -> None:
    space.start_brk = space.brk = BASE
    fixed(space, 10)
    space.brk_limit = 20 * PAGE
    for wish in (BASE - 1, BASE + 10 * PAGE, BASE + 21 * PAGE, 1 << 60):
        assert space.set_brk(wish) == BASE
    assert space.set_brk(BASE + 9 * PAGE) == BASE + 9 * PAGE, "a page is left free below the neighbour"
    space.unmap(BASE + 10 * PAGE, PAGE)
    space.brk_limit = 1 << 40
    assert space.set_brk(BASE + 300 * PAGE) == BASE + 9 * PAGE, "over the budget"


STACK = 0x7000_0000


def test_a_stack_grows_to_its_limit(space: AddressSpace) -> None:
    space.map(STACK, PAGE, RW, fixed=True, grows_down=True, name=b"[stack]")
    space.stack_limit = 16 * PAGE
    space.copy_out(STACK - 10 * PAGE, b"deep")
    (stack,) = space.regions()
    assert stack.start == STACK - 10 * PAGE and stack.grows_down
    assert space.faults["stack"] == 1
    refuses(errno.EFAULT, lambda: space.copy_out(STACK - 16 * PAGE, b"x"))
    space.copy_out(STACK - 15 * PAGE, b"x")


def test_a_stack_keeps_away_from_its_neighbour(space: AddressSpace) -> None:
    gap = faults_module.STACK_GAP
    space.map(STACK, PAGE, RW, fixed=True, grows_down=True)
    space.map(STACK - 2 * gap, PAGE, RW, fixed=True)
    space.copy_out(STACK - gap + PAGE, b"x")
    refuses(errno.EFAULT, lambda: space.copy_out(STACK - gap, b"x"))
    space.protect(STACK - 2 * gap, PAGE, 0)
    space.copy_out(STACK - gap, b"x")  # a guard of the program's own does not count


def test_a_stack_does_not_grow_into_low_addresses(space: AddressSpace) -> None:
    space.map(0x11000, PAGE, RW, fixed=True, grows_down=True)
    space.copy_out(0x10000, b"x")
    refuses(errno.EFAULT, lambda: space.copy_out(0xF000, b"x"))


def test_nothing_else_grows(space: AddressSpace) -> None:
    fixed(space, 1)
    refuses(errno.EFAULT, lambda: space.copy_out(BASE, b"x"))
    assert space.fault == "maperr"


# ---- faults and budgets


def test_faults_by_kind(space: AddressSpace) -> None:
    file = File(pages(2))
    fixed(space, 0, 2)
    space.map(BASE + 2 * PAGE, 4 * PAGE, RW, fixed=True, source=file)
    for page, access, works, why in (
        (0, READ, True, ""),
        (0, WRITE, True, ""),
        (0, EXECUTE, False, "accerr"),
        (2, READ, True, ""),
        (2, WRITE, True, ""),
        (4, READ, False, "bus"),
        (9, READ, False, "maperr"),
    ):
        space.fault = ""
        assert (space.resolve(BASE + page * PAGE + 123, access), space.fault) == (works, why)
    assert space.faults == {"zero": 1, "copy": 1, "file": 1, "stack": 0}
    for wild in (-1, -PAGE, 1 << 47, 1 << 64, 1 << 70):
        assert not space.resolve(wild, READ) and space.fault == "maperr"


def test_the_fault_over_the_budget(space: AddressSpace, account: Account) -> None:
    fixed(space, 0, 200)
    account.limit = 10
    with pytest.raises(Errno):
        space.copy_out(BASE, pages(200))
    assert space.fault == "oom" and account.used == 10
    account.limit = 256
    space.copy_out(BASE, pages(200))


def test_the_fault_over_the_pools_budget(space: AddressSpace, pool: FramePool) -> None:
    fixed(space, 0, 2)
    space.copy_out(BASE, b"x")
    rich = pool.account(1 << 40)
    held = [pool.allocate(rich) for _ in range(pool.frames - 1 - pool.used)]
    with pytest.raises(OutOfMemory) as refused:
        space.resolve(BASE + PAGE, WRITE)
    assert refused.value.scope == "pool"
    refuses(errno.EFAULT, lambda: space.copy_out(BASE + PAGE, b"x"))
    for frame in held:
        pool.release(frame)
    rich.close()


def test_nothing_is_half_done_without_memory(space: AddressSpace, account: Account) -> None:
    """After a fork, changing a part of a leaf needs a leaf of one's own, and there is none to be had."""
    fixed(space, 0, 8)
    space.copy_out(BASE, pages(8))
    child = space.fork()
    account.limit = account.used
    for call in (
        lambda: space.unmap(BASE, PAGE),
        lambda: space.protect(BASE, PAGE, READ),
        lambda: space.advise(BASE, PAGE),
        lambda: space.remap(BASE, PAGE, 2 * PAGE, may_move=True),
        lambda: space.map(BASE, PAGE, READ, fixed=True),
        lambda: space.remap(BASE, PAGE, PAGE, may_move=True, new=BASE + 32 * PAGE),
    ):
        refuses(errno.ENOMEM, call)
        assert shape(space) == [(0, 8, RW)]
        assert space.copy_in(BASE, 8 * PAGE) == pages(8)
    child.release()


def test_debuggers_see_and_change_what_guests_may_not(space: AddressSpace, pool: FramePool) -> None:
    file = File(pages(1))
    space.map(BASE, PAGE, READ | EXECUTE, fixed=True, source=file)
    fixed(space, 1, 1, READ)
    space.write(BASE + PAGE - 2, b"over")
    assert space.read(BASE + PAGE - 3, 6) == b"\0over\0"
    assert space.copy_in(BASE + PAGE - 2, 4) == b"over"
    other = AddressSpace(pool, pool.system, 64)
    other.map(BASE, PAGE, READ, fixed=True, source=file)
    assert other.copy_in(BASE + PAGE - 2, 2) == b"\0\0", "the file is as it was"
    other.release()
    for bad in (BASE + 2 * PAGE, -1, 1 << 60):
        refuses(errno.EFAULT, lambda bad=bad: space.read(bad, 1))  # type: ignore[misc]
        refuses(errno.EFAULT, lambda bad=bad: space.write(bad, b"x"))  # type: ignore[misc]


# ---- fork


def test_fork_copies_on_write(space: AddressSpace, pool: FramePool, account: Account) -> None:
    fixed(space, 0, 4)
    space.copy_out(BASE, pages(4))
    used = account.used
    other = pool.account(64 * PAGE)
    child = space.fork(other)
    assert (account.used, other.used) == (used, 0), "nothing is copied yet"
    child.copy_out(BASE, b"child")
    space.copy_out(BASE + PAGE, b"parent")
    assert (space.copy_in(BASE, 5), child.copy_in(BASE, 5)) == (bytes(5), b"child")
    assert (space.copy_in(BASE + PAGE, 6), child.copy_in(BASE + PAGE, 6)) == (b"parent", b"\1" * 6)
    assert space.faults["copy"] == 1 and child.faults["copy"] == 1
    child.unmap(BASE, 4 * PAGE)
    assert space.copy_in(BASE, 4 * PAGE)[PAGE:] == b"parent" + pages(4)[PAGE + 6 :]
    child.release()
    assert other.used == 0
    copies = space.faults["copy"]
    space.copy_out(BASE + 2 * PAGE, b"alone")
    assert (space.faults["copy"], account.used) == (copies + 1, used), "the last owner takes the frame as it is"
    other.close()


def test_forks_of_forks(space: AddressSpace) -> None:
    fixed(space, 0, 2)
    space.copy_out(BASE, b"0")
    family = [space]
    for number in range(1, 6):
        child = family[number // 2].fork()
        child.copy_out(BASE, b"%d" % number)
        family.append(child)
    assert [one.copy_in(BASE, 1) for one in family] == [b"%d" % number for number in range(6)]
    for child in family[1:]:
        child.release()
    assert space.copy_in(BASE, 1) == b"0"


def test_fork_shares_shared_memory(space: AddressSpace, pool: FramePool, account: Account) -> None:
    shared = PagedFile(pool, account)
    shared.truncate(2 * PAGE)
    space.map(BASE, 2 * PAGE, RW, fixed=True, shared=True, source=shared)
    space.copy_out(BASE, b"before")
    child = space.fork()
    child.copy_out(BASE, b"after")
    child.copy_out(BASE + PAGE, b"new")
    assert (space.copy_in(BASE, 6), space.copy_in(BASE + PAGE, 3)) == (b"aftere", b"new")
    child.release()
    shared.release()


def test_fork_leaves_out_what_is_not_to_be_inherited(space: AddressSpace) -> None:
    fixed(space, 0)
    space.copy_out(BASE, b"x")
    space.regions()[0].inherit = False
    child = space.fork()
    assert not child.regions()
    refuses(errno.EFAULT, lambda: child.copy_in(BASE, 1))
    assert space.copy_in(BASE, 1) == b"x"
    child.release()


def test_fork_keeps_the_layout(space: AddressSpace) -> None:
    space.start_brk = space.brk = BASE
    space.set_brk(BASE + PAGE)
    space.map(STACK, PAGE, RW, fixed=True, grows_down=True)
    child = space.fork()
    assert child.set_brk(BASE + 2 * PAGE) == BASE + 2 * PAGE
    child.copy_out(STACK - PAGE, b"x")
    assert space.brk == BASE + PAGE and len(space.regions()) == len(child.regions())
    child.release()


# ---- what engines are told


SHRINKS: dict[str, Callable[[AddressSpace], object]] = {
    "unmap": lambda space: space.unmap(BASE, PAGE),
    "protect": lambda space: space.protect(BASE, PAGE, READ),
    "advise": lambda space: space.advise(BASE, PAGE),
    "map over it": lambda space: fixed(space, 0),
    "remap": lambda space: space.remap(BASE, PAGE, PAGE, may_move=True, new=BASE + 8 * PAGE),
    "fork": lambda space: space.fork().release(),
    "reclaim": lambda space: space.drop_clean(),
    "a debugger's write": lambda space: space.write(BASE, b"x"),
}


@pytest.mark.parametrize("call", SHRINKS.values(), ids=SHRINKS)
def test_what_takes_something_away_makes_engines_flush(space: AddressSpace, call: Callable[..., object]) -> None:
    fixed(space, 0, 4)
    space.map(BASE + 16 * PAGE, PAGE, READ, fixed=True, source=File(b"clean"))
    space.copy_out(BASE, pages(4))
    space.copy_in(BASE + 16 * PAGE, 1)
    epoch = space.table.words.epoch
    call(space)
    assert space.table.words.epoch > epoch


def test_a_copied_page_makes_engines_flush(space: AddressSpace) -> None:
    fixed(space, 0)
    space.copy_out(BASE, b"x")
    child = space.fork()
    for one in (space, child):
        epoch = one.table.words.epoch
        one.copy_out(BASE, b"y")
        if one is space:
            assert one.table.words.epoch > epoch, "a TLB may show the frame that is the child's now"
    child.release()


@pytest.mark.parametrize("multiplier", [None, 1], ids=["as it is", "where all collide"])
def test_the_accelerators_directory_is_the_tables(
    pool: FramePool, account: Account, monkeypatch: pytest.MonkeyPatch, multiplier: int | None
) -> None:
    """The open-addressing hash beside the dictionary holds the same leaves, whatever came and went, and each is found
    from where its search begins."""
    if multiplier is not None:
        monkeypatch.setattr(table_module, "_MULTIPLIER", multiplier)
    space = AddressSpace(pool, account, 64)
    for number in range(1, 60):
        space.map(number * LEAF, PAGE, RW, fixed=True)
        space.copy_out(number * LEAF, b"x")
    for number in [*range(1, 60, 3), 59, 44]:
        space.unmap(number * LEAF, LEAF)
    table = space.table
    slots = [table._slots[index] for index in range(2 * (table._mask + 1))]
    found = {key - 1: leaf for key, leaf in zip(slots[::2], slots[1::2], strict=True) if key}
    assert found == table.leaves and len(found) == 37
    assert table.words.mask == table._mask
    for number, leaf in table.leaves.items():
        assert table.entry(number * LEAF) & layout.PRESENT and table.pool.references[leaf] == 1
        index = (number + 1) * table.words.multiplier % (1 << 64) >> 32 & table._mask
        while slots[index * 2] != number + 1:
            assert slots[index * 2], "the search ends before it"
            index = index + 1 & table._mask
    space.release()
