"""No guest sees a byte, a translation or a permission that is not its own, on any ISA and with either engine.

The scenarios are in isolation.py. `PLANTED` breaks one rule after the other and names the scenarios that must then
fail, so that none of them is a test that cannot fail. Faults are planted from Python, also for the accelerator: by
taking back what it or its callers did between two runs.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Iterator

import pytest

from sandbox.engine import Engine, layout
from sandbox.engine.layout import COPY, LEAF_ENTRIES, PRESENT
from sandbox.engine.twin import TwinCore
from sandbox.memory import Account, AddressSpace, FramePool, table
from sandbox.memory.table import PageTable
from tests.isolation import PLACE, SCENARIOS, Refused, World
from tests.programs import KINDS, MACHINES, choose_engine

PAGE = 4096


@pytest.fixture(params=MACHINES)
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, kind: str) -> Iterator[World]:
    choose_engine(monkeypatch, kind)
    world = World(request.param)
    yield world
    world.close()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_isolation(world: World, scenario: str) -> None:
    SCENARIOS[scenario](world)
    pool = world.pool
    world.close()
    assert pool.used == 0, "frames have leaked"


@pytest.mark.parametrize("scenario", ["code_in_a_reused_frame", "host_copies_code_out", "one_writes_another_executes"])
@pytest.mark.parametrize("machine", ["arm", "thumb", "riscv64"])
def test_isolation_in_a_large_memory(monkeypatch: pytest.MonkeyPatch, kind: str, machine: str, scenario: str) -> None:
    """Frames above 4 GiB, whose translations Unicorn does not find on arm."""
    choose_engine(monkeypatch, kind)
    world = World(machine, size=5 << 30, first=(4 << 30) // PAGE + 5)
    SCENARIOS[scenario](world)
    world.close()
    assert world.pool.used == 0


# ---- planted faults


Plant = Callable[[pytest.MonkeyPatch], None]


def before_each_run(patch: pytest.MonkeyPatch, action: Callable[[Engine, AddressSpace], None]) -> None:
    run = Engine.run

    def planted(self: Engine, context: object, space: AddressSpace, budget: int) -> object:
        action(self, space)
        return run(self, context, space, budget)  # type: ignore[arg-type]

    patch.setattr(Engine, "run", planted)


def after_each_run(patch: pytest.MonkeyPatch, action: Callable[[Engine, AddressSpace], None]) -> None:
    run = Engine.run

    def planted(self: Engine, context: object, space: AddressSpace, budget: int) -> object:
        stop = run(self, context, space, budget)  # type: ignore[arg-type]
        action(self, space)
        return stop

    patch.setattr(Engine, "run", planted)


def keeping(patch: pytest.MonkeyPatch, names: tuple[str, ...], arrays: tuple[str, ...]) -> None:
    """The methods of FramePool do not change these tables of it."""
    for name in names:
        method = getattr(FramePool, name)

        def planted(self: FramePool, *arguments: object, method: Callable[..., object] = method) -> object:
            before = {array: bytes(getattr(self, array)) for array in arrays}
            result = method(self, *arguments)
            for array, data in before.items():
                getattr(self, array).cast("B")[:] = data
            return result

        patch.setattr(FramePool, name, planted)


def one_identity(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(table, "_identities", itertools.repeat(1))
    patch.setattr(PageTable, "shrunk", lambda self: None)


def no_epoch(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PageTable, "shrunk", lambda self: None)


def no_generation_at_release(patch: pytest.MonkeyPatch) -> None:
    keeping(patch, ("release", "release_leaf", "clear_entries"), ("generation",))


def dirty_frames(patch: pytest.MonkeyPatch) -> None:
    allocate = FramePool.allocate

    def planted(self: FramePool, account: Account) -> int:
        top = self.dirty[self.words.dirty_count - 1] if self.words.dirty_count else 0
        old = self.read(top)
        frame = allocate(self, account)
        if frame == top:
            self.memory[frame * PAGE : (frame + 1) * PAGE] = old
        return frame

    patch.setattr(FramePool, "allocate", planted)


def no_copy_on_write(patch: pytest.MonkeyPatch) -> None:
    share = FramePool.share_leaf

    def planted(self: FramePool, leaf: int) -> None:
        share(self, leaf)
        for index in range(leaf * LEAF_ENTRIES, (leaf + 1) * LEAF_ENTRIES):
            self.entries[index] &= ~COPY & (1 << 64) - 1

    patch.setattr(FramePool, "share_leaf", planted)


def shared_memory_copied(patch: pytest.MonkeyPatch) -> None:
    """A fork makes memory private that was mapped shared."""
    share = FramePool.share_leaf

    def planted(self: FramePool, leaf: int) -> None:
        share(self, leaf)
        for index in range(leaf * LEAF_ENTRIES, (leaf + 1) * LEAF_ENTRIES):
            self.entries[index] |= COPY if self.entries[index] & PRESENT else 0

    patch.setattr(FramePool, "share_leaf", planted)


def nothing_cleared(patch: pytest.MonkeyPatch) -> None:
    """munmap leaves the pages in the table."""
    patch.setattr(PageTable, "clear", lambda self, start, end: self.shrunk())


def protections_unchanged(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FramePool, "protect_entries", lambda self, leaf, first, count, access: None)


def host_stores_unnoticed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FramePool, "forget_code", lambda self, frame: None)


def host_stores_without_a_flush(patch: pytest.MonkeyPatch) -> None:
    forget = FramePool.forget_code

    def planted(self: FramePool, frame: int) -> None:
        epoch = self.words.code_epoch
        forget(self, frame)
        self.words.code_epoch = epoch

    patch.setattr(FramePool, "forget_code", planted)
    patch.setattr(PageTable, "shrunk", lambda self: None)


def host_stores_without_a_generation(patch: pytest.MonkeyPatch) -> None:
    keeping(patch, ("forget_code",), ("generation",))


def engines_not_told_apart(patch: pytest.MonkeyPatch) -> None:
    """A table believes that it was always run by the engine that runs it now."""

    def action(engine: Engine, space: AddressSpace) -> None:
        space.table.words.engine = ctypes.addressof(engine.words)

    before_each_run(patch, action)


def others_not_outdated(patch: pytest.MonkeyPatch) -> None:
    """What one engine changes, others do not hear of."""
    epochs: dict[int, int] = {}
    before_each_run(patch, lambda engine, space: epochs.__setitem__(id(engine), space.pool.words.code_epoch))
    after_each_run(patch, lambda engine, space: setattr(space.pool.words, "code_epoch", epochs[id(engine)]))


def states_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Nobody remembers that a frame is writable in a TLB, or has been translated."""

    def action(engine: Engine, space: AddressSpace) -> None:
        space.pool.state[:] = bytes(space.pool.frames)

    after_each_run(patch, action)


def translations_forgotten(patch: pytest.MonkeyPatch) -> None:
    """An engine does not remember which frames it has translated."""

    def action(engine: Engine, space: AddressSpace) -> None:
        engine._seen[:] = bytes(len(engine._seen))

    after_each_run(patch, action)


def stores_to_code_lost(patch: pytest.MonkeyPatch) -> None:
    """A page that has been executed keeps the bytes that were executed."""
    executed: dict[int, bytes] = {}

    def action(engine: Engine, space: AddressSpace) -> None:
        pool, frame = space.pool, space.table.entry(PLACE) >> 12
        if pool.state[frame] == layout.EXECUTABLE:
            executed.setdefault(frame, pool.read(frame))
        elif frame in executed:
            pool.memory[frame * PAGE : (frame + 1) * PAGE] = executed[frame]

    after_each_run(patch, action)


def execute_everything(patch: pytest.MonkeyPatch) -> None:
    """Every readable page is executable."""

    def action(engine: Engine, space: AddressSpace) -> None:
        for leaf in space.table.leaves.values():
            for index in range(leaf * LEAF_ENTRIES, (leaf + 1) * LEAF_ENTRIES):
                if space.pool.entries[index] & PRESENT:
                    space.pool.entries[index] |= 8

    before_each_run(patch, action)


def twin_keeps_translations(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TwinCore, "_drop_translations", lambda self, frame: None)


def twin_never_flushes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TwinCore, "_flush", lambda self: None)


def twin_tells_nobody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TwinCore, "_outdate_others", lambda self: None)


PLANTED: dict[str, tuple[Plant, tuple[str, ...], tuple[str, ...]]] = {
    plant.__name__: (plant, scenarios, kinds)
    for plant, scenarios, kinds in (
        (one_identity, ("alternating", "same_addresses", "code_over_a_page_border"), KINDS),
        (no_epoch, ("unmapped_and_mapped_again", "protected", "forked"), KINDS),
        (no_generation_at_release, ("code_in_a_reused_frame",), KINDS),
        (dirty_frames, ("bytes_in_a_reused_frame",), KINDS),
        (no_copy_on_write, ("forked",), KINDS),
        (shared_memory_copied, ("forked_with_shared_memory",), KINDS),
        (nothing_cleared, ("unmapped_and_mapped_again",), KINDS),
        (protections_unchanged, ("protected", "just_in_time"), KINDS),
        (host_stores_unnoticed, ("host_writes_code", "host_copies_code_out"), KINDS),
        (host_stores_without_a_flush, ("host_copies_code_out",), KINDS),
        (host_stores_without_a_generation, ("host_writes_code", "host_copies_code_out"), KINDS),
        (engines_not_told_apart, ("code_across_engines", "copied_on_another_engine"), KINDS),
        (others_not_outdated, ("one_writes_another_executes", "both_write_and_execute"), KINDS),
        (states_forgotten, ("dual_mapping",), KINDS),
        (translations_forgotten, ("code_in_a_reused_frame", "host_copies_code_out"), KINDS),
        (stores_to_code_lost, ("self_modifying", "code_beside_data"), KINDS),
        (execute_everything, ("just_in_time", "dual_mapping"), KINDS),
        (twin_keeps_translations, ("code_in_a_reused_frame", "host_copies_code_out"), ("python",)),
        (twin_never_flushes, ("alternating", "protected"), ("python",)),
        (twin_tells_nobody, ("one_writes_another_executes",), ("python",)),
    )
}
MATRIX = [
    pytest.param(name, scenario, kind, id=f"{name}-{scenario}-{kind}")
    for name, (_, scenarios, kinds) in PLANTED.items()
    for scenario in scenarios
    for kind in kinds
]


def test_every_scenario_can_fail() -> None:
    assert {scenario for _, scenarios, _ in PLANTED.values() for scenario in scenarios} == set(SCENARIOS)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("name", "scenario", "planted_kind"), MATRIX)
def test_a_planted_fault_is_found(
    monkeypatch: pytest.MonkeyPatch, machine: str, name: str, scenario: str, planted_kind: str
) -> None:
    choose_engine(monkeypatch, planted_kind)
    PLANTED[name][0](monkeypatch)
    world = World(machine)
    try:
        with pytest.raises((AssertionError, Refused, pytest.fail.Exception)) as found:
            SCENARIOS[scenario](world)
        assert "the story needs" not in str(found.value)
    finally:
        world.engine.close()
        world.other_engine.close()
