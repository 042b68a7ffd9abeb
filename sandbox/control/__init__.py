"""A running fleet as others see it: a service on a unix socket, and its client.

    place.py      where the socket is, who may reach it, and how a stale one is told from a live one
    protocol.py   messages: newline-delimited JSON, versioned, bounded
    verbs.py      what can be asked: one table
    executions.py programs that clients run in VMs, with their streams
    service.py    the threads behind the socket, for a hypervisor in this process
    client.py     what `sandbox ps` and its like use
    detach.py     a service in a process of its own, for `up --detach`

Nothing but plain data crosses the socket; contents of guests go as base64. Below: fleet, hypervisor.
"""

from __future__ import annotations

from sandbox.control.client import Client
from sandbox.control.place import Place, default_home
from sandbox.control.service import Service

__all__ = ["Client", "Place", "Service", "default_home"]
