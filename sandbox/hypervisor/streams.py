"""What a guest process has for standard streams: files that end in a `Console`, as pipes or as a terminal."""

from __future__ import annotations

from functools import partial

from sandbox.kernel.linux import LinuxMachine
from sandbox.vfs.node import OpenFile
from sandbox.vfs.stream import StreamFile, StreamNode
from sandbox.vfs.terminal import Terminal
from sandbox.vm import Console


def pipes(machine: LinuxMachine, console: Console) -> list[OpenFile]:
    """For the descriptors 0, 1 and 2."""
    streams: list[OpenFile] = [StreamFile(None, console.renew_input(), machine.pipes)]
    for number in (1, 2):
        write = partial(console.put, number)
        node = StreamNode(machine.pipes, machine.pipes.number(), write, None)
        node.queue = console.output
        streams.append(StreamFile(write, None, node=node))
    return streams


def terminal(machine: LinuxMachine, console: Console, owner: int, first: bool) -> tuple[Terminal, list[OpenFile]]:
    """A terminal that belongs to the user `owner`, and the descriptors 0, 1 and 2. `first`: it is /dev/console too."""
    make = machine.terminals.make_console if first else machine.terminals.make_terminal
    made, file = make(owner=owner)
    console.connect(made)
    return made, [file, file.retain(), file.retain()]
