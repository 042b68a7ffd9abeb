"""Pipes, FIFOs and streams. The table of pipe steps is run on the host's pipes first."""

from __future__ import annotations

import errno
import fcntl
import os
import select
from collections.abc import Callable
from typing import Any

import pytest

from sandbox.abi.errno import EAGAIN, Errno
from sandbox.abi.flags import (
    O_NONBLOCK,
    O_PATH,
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    SEEK_SET,
)
from sandbox.vfs.mount import place_of
from sandbox.vfs.node import OpenFile
from sandbox.vfs.pipe import CAPACITY, SMALL_CAPACITY, PipeFs
from sandbox.vfs.stream import ByteQueue, StreamFile
from sandbox.wait import Block, WaitQueue
from tests.vfs_actors import GuestActor
from tests.vfs_filesystems import tmpfs

SHOWN = POLLIN | POLLOUT | POLLERR | POLLHUP


class Sleeper:
    """Counts how often it was woken; goes back to sleep."""

    def __init__(self, queue: WaitQueue) -> None:
        self.queue = queue
        self.woken = 0
        queue.add(self)

    def wake(self, queue: WaitQueue) -> None:
        self.woken += 1
        self.queue.add(self)


class Memory:
    """An address space as far as ioctl needs it."""

    def __init__(self) -> None:
        self.written: dict[int, bytes] = {}

    def copy_out(self, address: int, data: bytes) -> None:
        self.written[address] = data


def answer(call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except Errno as error:
        return str(error)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


class GuestPipe:
    def __init__(self) -> None:
        self.ends: dict[str, OpenFile] = dict(zip("rw", PipeFs().pipe(O_NONBLOCK), strict=True))

    def act(self, action: str, end: str, *arguments: Any) -> Any:
        file = self.ends[end]
        if action == "close":
            return answer(self.ends.pop(end).release)
        if action == "poll":
            return file.poll() & SHOWN
        if action == "available":
            memory = Memory()
            file.ioctl(0x541B, 64, memory)  # type: ignore[arg-type]
            return int.from_bytes(memory.written[64], "little")
        return answer(getattr(file, action), *arguments)


class HostPipe:
    def __init__(self) -> None:
        self.ends = dict(zip("rw", os.pipe2(os.O_NONBLOCK), strict=True))

    def act(self, action: str, end: str, *arguments: Any) -> Any:
        descriptor = self.ends[end]
        if action == "close":
            return answer(os.close, self.ends.pop(end))
        if action == "poll":
            poll = select.poll()
            poll.register(descriptor, SHOWN)
            return dict(poll.poll(0)).get(descriptor, 0)
        if action == "available":
            return int.from_bytes(fcntl.ioctl(descriptor, 0x541B, bytes(4)), "little")
        if action == "seek":
            return answer(os.lseek, descriptor, *arguments)
        if action == "truncate":
            return answer(os.ftruncate, descriptor, *arguments)
        if action == "sync":
            return answer(os.fsync, descriptor)
        if len(arguments) == 2:
            return answer(os.pread if action == "read" else os.pwrite, descriptor, *arguments)
        return answer(os.read if action == "read" else os.write, descriptor, *arguments)


Steps = list[tuple[tuple[Any, ...], Any]]
PIPES: dict[str, Steps] = {
    "bytes in order": [
        (("write", "w", b"hello "), 6),
        (("write", "w", b"world"), 5),
        (("available", "r"), 11),
        (("read", "r", 3), b"hel"),
        (("read", "r", 100), b"lo world"),
        (("read", "r", 100), "EAGAIN"),
        (("write", "w", b""), 0),
        (("read", "r", 0), b""),
    ],
    "the wrong end": [
        (("write", "r", b"x"), "EBADF"),
        (("read", "w", 1), "EBADF"),
        (("seek", "r", 0, SEEK_SET), "ESPIPE"),
        (("read", "r", 1, 0), "ESPIPE"),
        (("write", "w", b"1", 0), "ESPIPE"),
        (("truncate", "w", 0), "EINVAL"),
        (("sync", "w"), "EINVAL"),
    ],
    "end of file": [
        (("write", "w", b"last"), 4),
        (("close", "w"), None),
        (("poll", "r"), POLLIN | POLLHUP),
        (("read", "r", 100), b"last"),
        (("read", "r", 100), b""),
        (("poll", "r"), POLLHUP),
    ],
    "nobody reads": [
        (("write", "w", b"lost"), 4),
        (("close", "r"), None),
        (("poll", "w"), POLLOUT | POLLERR),
        (("write", "w", b"x"), "EPIPE"),
    ],
    "full": [
        (("poll", "w"), POLLOUT),
        (("poll", "r"), 0),
        (("write", "w", b"x" * 60000), 60000),
        (("poll", "w"), POLLOUT),
        (("write", "w", b"y" * 10000), 4096),  # room is counted in pages, and one was left
        (("write", "w", b"z"), "EAGAIN"),
        (("write", "w", b"z" * 100_000), "EAGAIN"),
        (("poll", "w"), 0),
        (("poll", "r"), POLLIN),
        (("read", "r", 4095), b"x" * 4095),
        (("write", "w", b"z"), "EAGAIN"),
        (("read", "r", 1), b"x"),
        (("poll", "w"), POLLOUT),
        (("write", "w", b"w" * 4096), 4096),
        (("write", "w", b"z"), "EAGAIN"),
    ],
    "odd bytes go on in the last page": [
        (("write", "w", b"a" * 3000), 3000),
        (("write", "w", b"b" * 5000), 5000),
        (("available", "r"), 8000),
        (("read", "r", 8000), b"a" * 3000 + b"b" * 5000),
        *[(("write", "w", b"x" * 2049), 2049) for _ in range(16)],
        (("write", "w", b"x" * 2049), "EAGAIN"),
        (("write", "w", b"y" * 2047), 2047),
        (("write", "w", b"y"), "EAGAIN"),
        (("available", "r"), 16 * 2049 + 2047),
    ],
    "more than fits": [(("write", "w", b"x" * 100_000), CAPACITY), (("read", "r", 200_000), b"x" * CAPACITY)],
    "small writes are all or nothing": [
        (("write", "w", b"x" * (CAPACITY - 4096)), CAPACITY - 4096),
        (("write", "w", b"y" * 4096), 4096),
        (("write", "w", b"z" * 4096), "EAGAIN"),
        (("write", "w", b"z" * 2), "EAGAIN"),
    ],
}


@pytest.mark.parametrize("kind", [HostPipe, GuestPipe])
@pytest.mark.parametrize("case", PIPES)
def test_pipes(case: str, kind: type[GuestPipe] | type[HostPipe]) -> None:
    pipe = kind()
    for number, (step, expected) in enumerate(PIPES[case]):
        assert pipe.act(*step) == expected, f"step {number}: {step!r:.80}"
    for end in list(pipe.ends):
        pipe.act("close", end)


def test_whoever_waits_is_woken() -> None:
    reader, writer = PipeFs().pipe()
    sleeper = Sleeper(reader.queue)
    assert reader.queue is writer.queue
    woken = 0
    for action in (
        lambda: writer.write(b"x"),
        lambda: reader.read(1),
        lambda: writer.retain(),
        lambda: writer.release(),
        lambda: writer.release(),
    ):
        action()
        assert sleeper.woken - woken == (0 if action.__code__.co_names[-1] == "retain" else sleeper.woken - woken)
        woken = sleeper.woken
    assert sleeper.woken == 3  # written, read, the last writer closed
    assert reader.read(1) == b""


def test_capacity() -> None:
    _, writer = PipeFs().pipe()
    pipe = writer.pipe
    sizes = [
        (0, 4096),
        (1, 4096),
        (4097, 8192),
        (65536, 65536),
        (1 << 20, 1 << 20),
        ((1 << 20) + 1, "EPERM"),
        (-1, "EINVAL"),
    ]
    for size, expected in sizes:
        assert answer(pipe.resize, size, True) == expected
    writer.pipe.readers += 1
    assert writer.write(b"x" * 10000) == 10000
    assert answer(pipe.resize, 8192, False) == "EBUSY"
    assert answer(pipe.resize, 16384, False) == 16384


def test_many_pipes_are_small() -> None:
    filesystem = PipeFs(soft_limit=10 * CAPACITY)
    pipes = [filesystem.pipe() for _ in range(12)]
    assert [writer.pipe.capacity for _, writer in pipes] == [CAPACITY] * 10 + [SMALL_CAPACITY] * 2
    for ends in pipes:
        for end in ends:
            end.release()
    del pipes, ends, end
    assert filesystem.pipe()[0].pipe.capacity == CAPACITY


def test_a_pipe_can_be_opened_again_by_its_descriptor() -> None:
    reader, writer = PipeFs().pipe()
    assert (reader.path, reader.node.label()) == (b"pipe:[1]", b"pipe:[1]")
    again = place_of(writer).node.open(O_WRONLY)
    writer.release()
    assert again.write(b"still a writer") == 14
    again.release()
    assert reader.read(100) == b"still a writer"
    assert reader.read(100) == b""


# -- FIFOs -------------------------------------------------------------------------------------------------------


class Task:
    pass


def fifo_actor() -> GuestActor:
    actor = GuestActor(tmpfs())
    actor.act(("mkfifo", b"f"))
    return actor


def open_fifo(actor: GuestActor, flags: int, task: object) -> OpenFile:
    return actor.namespace.open(actor.start, b"f", flags, task_context=task)


@pytest.mark.parametrize(("first", "second"), [(O_RDONLY, O_WRONLY), (O_WRONLY, O_RDONLY)])
def test_opening_waits_for_the_other_side(first: int, second: int) -> None:
    actor = fifo_actor()
    one, other = Task(), Task()
    with pytest.raises(Block) as blocked:
        open_fifo(actor, first, one)
    sleeper = Sleeper(blocked.value.queues[0])
    with pytest.raises(Block):  # woken for nothing
        open_fifo(actor, first, one)
    with pytest.raises(Block):  # one more of the same side changes nothing
        open_fifo(actor, first, Task())
    woken = sleeper.woken
    later = open_fifo(actor, second, other)
    assert sleeper.woken > woken
    earlier = open_fifo(actor, first, one)
    reader, writer = (earlier, later) if first == O_RDONLY else (later, earlier)
    assert writer.write(b"met") == 3
    assert reader.read(10) == b"met"


def test_the_other_side_may_be_gone_again() -> None:
    """The reader waited; a writer came, wrote and went; the reader still gets it all (fifo(7))."""
    actor = fifo_actor()
    waiting = Task()
    with pytest.raises(Block):
        open_fifo(actor, O_RDONLY, waiting)
    writer = open_fifo(actor, O_WRONLY, Task())
    assert writer.poll() & SHOWN == POLLOUT
    assert writer.write(b"early") == 5
    writer.release()
    reader = open_fifo(actor, O_RDONLY, waiting)
    assert reader.poll() & SHOWN == POLLIN | POLLHUP
    assert reader.read(100) == b"early"
    assert reader.read(100) == b""


def test_a_reader_that_comes_to_a_waiting_writer_waits_for_its_bytes() -> None:
    actor = fifo_actor()
    waiting = Task()
    with pytest.raises(Block):
        open_fifo(actor, O_WRONLY, waiting)
    reader = open_fifo(actor, O_RDONLY, Task())
    with pytest.raises(Errno, match="EAGAIN"):  # not the end of the file
        reader.read(1)
    assert reader.poll() & SHOWN == 0
    writer = open_fifo(actor, O_WRONLY, waiting)
    writer.write(b"x")
    assert reader.read(10) == b"x"


def test_a_task_that_died_waiting_is_not_waited_for() -> None:
    actor = fifo_actor()
    task = Task()
    with pytest.raises(Block):
        open_fifo(actor, O_RDONLY, task)
    del task
    with pytest.raises(Errno, match="ENXIO"):
        open_fifo(actor, O_WRONLY | O_NONBLOCK, Task())


def test_opening_a_fifo_without_waiting() -> None:
    actor = fifo_actor()
    with pytest.raises(Errno, match="ENXIO"):
        open_fifo(actor, O_WRONLY | O_NONBLOCK, Task())
    reader = open_fifo(actor, O_RDONLY | O_NONBLOCK, Task())
    assert reader.poll() & SHOWN == 0  # no writer has hung up, there was none
    assert reader.read(10) == b""
    writer = open_fifo(actor, O_WRONLY | O_NONBLOCK, Task())
    assert writer.write(b"x") == 1
    writer.release()
    assert reader.poll() & SHOWN == POLLIN | POLLHUP
    both = open_fifo(actor, O_RDWR, Task())
    assert both.poll() & SHOWN == POLLIN | POLLOUT
    assert both.read(5) == b"x"
    with pytest.raises(Errno, match="EAGAIN"):
        both.read(5)
    held = open_fifo(actor, O_PATH, Task())
    assert held.path == b"/f"


# -- streams -----------------------------------------------------------------------------------------------------


def test_a_stream_that_is_read() -> None:
    source = ByteQueue(limit=10)
    file = StreamFile(source=source)
    sleeper = Sleeper(file.queue)
    room: list[int] = []
    source.on_room = lambda: room.append(source.room)
    with pytest.raises(Errno) as waiting:
        file.read(1)
    assert waiting.value.number == EAGAIN
    assert file.poll() & SHOWN == 0
    assert source.feed(b"0123456789abc") == 10
    assert (source.feed(b"x"), sleeper.woken, source.room) == (0, 1, 0)
    assert file.poll() & SHOWN == POLLIN
    assert (file.read(4), room) == (b"0123", [4])
    source.close()
    assert (source.feed(b"late"), sleeper.woken) == (0, 2)
    assert file.poll() & SHOWN == POLLIN | POLLHUP
    assert file.read(100) == b"456789"
    assert file.read(100) == b""
    with pytest.raises(Errno, match="EBADF"):
        file.write(b"x")
    assert StreamFile().read(10) == b""
    assert StreamFile(source=ByteQueue(b"given at once", closed=True)).read(100) == b"given at once"


def test_a_stream_that_is_written() -> None:
    got: list[bytes] = []
    file = StreamFile(lambda data: got.append(data))
    assert (file.write(b"hello"), got) == (5, [b"hello"])
    assert (file.write(b""), got) == (0, [b"hello"])
    assert file.poll() & SHOWN == POLLOUT
    for call in (lambda: file.read(1), lambda: file.seek(0, 0), lambda: file.write(b"x", 0), lambda: file.truncate(0)):
        with pytest.raises(Errno):
            call()
    assert StreamFile(lambda data: 2).write(b"partly") == 2
    again = place_of(file).node.open(O_WRONLY)  # /dev/stdout
    again.write(b"again")
    assert got[-1] == b"again"
    assert file.node.stat().mode >> 12 == 1  # looks like a pipe


def test_a_stream_both_ways() -> None:
    echoed: list[bytes] = []
    file = StreamFile(echoed.append, ByteQueue(b"typed"))
    assert (file.readable, file.writable) == (True, True)
    memory = Memory()
    file.ioctl(0x541B, 8, memory)  # type: ignore[arg-type]
    assert memory.written == {8: (5).to_bytes(4, "little")}
    assert file.read(10) == b"typed"
    file.write(b"x")
    assert echoed == [b"x"]
