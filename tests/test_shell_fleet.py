"""Shells with pipelines on five ISAs in one deterministic hypervisor: right, and the same every time."""

from __future__ import annotations

import hashlib
import os

import pytest

import sandbox
from tests import debian

ISAS = tuple(debian.PORTS)
TIMES = int(os.environ.get("SANDBOX_TEST_FLEETS", "2"))
SCRIPT = """
b=/bin/busybox
$b seq 1 $N | while read i; do echo $((i * i)); done | $b sort -rn | $b head -3 &
wait
(trap 'echo bye' EXIT; echo sub | $b tr a-z A-Z; exit 3) | $b cat; echo $?
$b cat <<END | $b wc -c
here $N
END
for word in $($b seq 3); do $b echo $word$($b echo n); done | $b md5sum
kill -TERM $$
"""


def fleet(seed: int) -> tuple[list[tuple[int, bytes]], str]:
    """What each VM ended with, and a digest of all system calls and all events."""
    digest = hashlib.sha256()
    with sandbox.Hypervisor(cores=2, deterministic=True, seed=seed) as hypervisor:
        vms = []
        for number, isa in enumerate(ISAS):
            try:
                root = debian.root_with_busybox(isa)
            except debian.Unavailable as reason:
                pytest.skip(str(reason))
            vm = hypervisor.create(
                f"{isa}-{number}",
                ["/bin/busybox", "sh", "-c", SCRIPT],
                rootfs=root,
                env={"N": str(10 + number)},
                weight=1 + number % 3,
                memory="32M",
            )
            vms.append(vm)
        traces: dict[str, list[str]] = {vm.name: [] for vm in vms}
        for vm in vms:
            vm.trace(traces[vm.name].append)
            vm.start()
        assert hypervisor.run(timeout=600)
        for vm in vms:
            digest.update("\n".join(traces[vm.name]).encode())
        for event in hypervisor.events():
            digest.update(repr(event).encode())
        return [(vm.exit_status or 0, vm.console.tail()) for vm in vms], digest.hexdigest()


def expected(number: int) -> bytes:
    last = 10 + number
    squares = b"".join(b"%d\n" % (value * value) for value in range(last, last - 3, -1))
    words = hashlib.md5(b"1n\n2n\n3n\n", usedforsecurity=False).hexdigest().encode()
    return squares + b"SUB\nbye\n0\n%d\n" % len(f"here {last}\n") + words + b"  -\n"


def test_a_fleet_of_shells_repeats_itself() -> None:
    runs = {fleet(7)[1] for _ in range(TIMES - 1)}
    outcomes, digest = fleet(7)
    assert [output for _, output in outcomes] == [expected(number) for number in range(len(ISAS))]
    assert {status for status, _ in outcomes} == {143}
    assert runs == {digest}
