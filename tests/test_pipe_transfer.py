"""The plain case of reads and writes on pipes does what the general one does (`kernel.pipe_transfer`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.abi.errno import Errno
from sandbox.abi.flags import O_DIRECT, O_NONBLOCK
from sandbox.kernel import sys_transfer
from sandbox.kernel.transfer import receive, segment, send
from sandbox.wait import Block
from tests.syscall_worlds import SCRATCH, GuestWorld, guest

SIZES = st.one_of(st.integers(0, 70), st.sampled_from([4095, 4096, 4097, 9000]))
BAD = st.sampled_from([False] * 9 + [True])
STEPS = st.lists(st.tuples(st.booleans(), SIZES, st.integers(0, 4095), BAD), min_size=1, max_size=40)


def outcome(world: GuestWorld, call: Callable[[], int], address: int) -> tuple[object, ...]:
    world.task.restart.clear()
    try:
        count = call()
    except Errno as error:
        return ("fails", error.number)
    except Block:
        return ("waits", world.task.restart.get("done"))
    return (count, world.task.space.read(address, count))


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, flags=st.sampled_from([0, O_NONBLOCK, O_DIRECT]), hung_up=st.integers(0, 60))
def test_the_plain_case_is_the_general_one(steps: list[tuple[bool, int, int, bool]], flags: int, hung_up: int) -> None:
    """Both ends of two pipes: one is served by read(2) and write(2), the other by `transfer` alone."""
    with guest("x86_64") as world:
        task = world.task
        ends = [task.kernel.pipes.pipe(flags) for _ in range(2)]
        numbers = [(task.files.allocate(reader), task.files.allocate(writer)) for reader, writer in ends]
        (read_end, write_end), (reader, writer) = numbers[0], ends[1]
        for at, (writing, size, offset, bad) in enumerate(steps):
            if at == hung_up:
                task.files.close(write_end)
                writer.release()
            if writing and at >= hung_up:
                continue
            address = 0x10 + offset if bad else SCRATCH + offset
            if writing:
                if not bad and size:
                    task.space.copy_out(address, bytes((at + index) & 0xFF for index in range(size)))
                plain = outcome(world, partial(sys_transfer.write, task, write_end, address, size), SCRATCH)
                general = outcome(world, partial(send, task, writer, segment(task, address, size)), SCRATCH)
            else:
                plain = outcome(world, partial(sys_transfer.read, task, read_end, address, size), address)
                general = outcome(world, partial(receive, task, reader, segment(task, address, size)), address)
            assert plain == general
            assert ends[0][0].poll() == ends[1][0].poll()
