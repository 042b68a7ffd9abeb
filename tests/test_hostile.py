"""Hostile guests: each ends in the error that the guest deserves or in the VM's death with a reason, and the host has
afterwards what it had before: frames, descriptors, threads.

The attacks are in tests/hostile/hostile.c. A second VM, which does nothing special, runs after each of them.
"""

from __future__ import annotations

import gc
import os
import re
import threading
from pathlib import Path

import pytest

from sandbox.hypervisor import Hypervisor
from tests import debian, static_programs

SOURCE = Path(__file__).parent / "hostile"
LIMITS = {"memory": "16M", "max_tasks": 48, "max_files": 256, "disk": "4M", "grace": 0.1, "timeout": 600}
CPU_TIME = "it used more than .* of CPU time"
OUT_OF_MEMORY = "out of memory: the virtual machine's memory limit is used up"

# What the guest says before it ends with status 0; or a sentence about why it was ended.
ENDS = {
    "fork_bomb": "EAGAIN",
    "fork_bomb_without_end": CPU_TIME,
    "zombies": "EAGAIN",
    "thread_bomb": "EAGAIN",
    "ignores_everything": "it did not end within .* of being asked to",
    "pipes": "EMFILE",
    "large_pipes": "EMFILE",
    "fifos": "EMFILE",
    "sockets": "EMFILE",
    "descriptors_of_many_processes": "ENFILE",
    "unaccepted": "ENOBUFS",
    "cycles": "ETOOMANYREFS",
    "nested": "ETOOMANYREFS",
    "watches": "EMFILE",
    "storm": "survived",
    "queued_signals": "EAGAIN",
    "timers": "EAGAIN",
    "faults": "killed by SIGSEGV: the stack has no room for a signal frame",
    "futexes": "survived",
    "robust_lists": "survived",
    "memory": "ENOMEM",
    "overcommitted": OUT_OF_MEMORY,
    "mappings": f"ENOMEM|{OUT_OF_MEMORY}",  # either the call fails, or the next page that is touched
    "full_disk": "ENOSPC",
    "names": "ENOSPC",
    "deep_symlinks": "ELOOP",
    "deep_directories": "ERANGE",
    "locks": "ENOLCK",
    "holes": "survived",
    "long_calls": "survived",
    "scattered": "survived",
    "nested_sets": "ENOSPC",
    "chained_sets": "ELOOP",
    "watchers": "EMFILE",
    "signals_to_threads": "EAGAIN",
    "undoing": "ENOMEM",
    "mounts": "ENOSPC",
    "long_links": "ENOSPC",
}
ISAS = ("x86_64", "i386", "arm64", "arm", "riscv64")
# Each attack on one ISA, the ISAs in turn: the kernel is the same, and each ISA meets attacks of all kinds.
RUNS = [(attack, ISAS[place % len(ISAS)]) for place, attack in enumerate(ENDS)]


@pytest.mark.parametrize(("attack", "isa"), RUNS, ids=[f"{attack}-{isa}" for attack, isa in RUNS])
def test_attack(attack: str, isa: str) -> None:
    try:
        program = str(static_programs.build(isa, SOURCE))
    except debian.Unavailable as reason:
        pytest.skip(str(reason))
    with Hypervisor(memory="96M") as room:

        def after() -> tuple[int, int, int]:
            """What the host has in use when a harmless VM has come and gone."""
            vm = room.create("harmless", [program], cwd="/tmp", **LIMITS).start()
            assert vm.wait() == 0
            vm.remove()
            gc.collect()
            return room.pool_use()[0], len(os.listdir("/proc/self/fd")), threading.active_count()

        before = after()
        limits = {**LIMITS, "cpu_timeout": 0.3 if attack == "fork_bomb_without_end" else None}
        vm = room.create("hostile", [program, attack], cwd="/tmp", **limits).start()
        if attack == "ignores_everything":
            said = threading.Event()
            vm.console.listen(lambda stream, data: said.set())
            assert said.wait(600)
            vm.stop()
        status = vm.wait()
        output = vm.console.read().decode().strip()
        assert re.match(ENDS[attack], output if status == 0 else vm.reason or ""), (status, output, vm.reason)
        assert vm.stats.kernel_bugs == 0
        vm.remove()
        frames, descriptors, threads = after()
        # The pages of the program itself stay in the page cache, for whoever runs it next.
        cached = os.path.getsize(program) + 4096
        assert before[0] <= frames <= before[0] + cached
        assert (descriptors, threads) == before[1:]


def test_every_attack_is_made() -> None:
    text = (SOURCE / "hostile.c").read_text()
    assert set(re.findall(r'\{"(\w{2,})", \w+\}', text)) == set(ENDS)
