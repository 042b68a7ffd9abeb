"""The computer room: owns the parts, builds VMs, runs them in the background, and answers for them.

    front.py         Hypervisor: what a person uses
    builder.py       what a VM is built from: the interface, and the frame pool and engines behind the real one
    linux.py         Linux VMs: root filesystem, mounts, stdio, program
    program.py       finding a program and its ISA     volumes.py   named volumes
    supervisor.py    the lives of VMs: start, pause, stop, kill, restart, deadlines
    turns.py         one turn of a VM on an engine, charged
    tenant.py        what the hypervisor keeps of one VM
    report.py        statistics and frozen views
    spectacle.py     what spectators read          gauges.py   the cheap figures

Imported by: fleet, control, the dashboard's collector, the command line. Below: scheduler, vm, kernel, board.
"""

from __future__ import annotations

from sandbox.hypervisor.builder import Builder, Ground
from sandbox.hypervisor.front import Hypervisor

__all__ = ["Builder", "Ground", "Hypervisor"]
