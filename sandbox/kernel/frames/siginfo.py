"""A `SignalInfo` in the bytes of an ISA's siginfo_t."""

from __future__ import annotations

from sandbox.abi.signal_structs import pack_siginfo
from sandbox.kernel.signals import SignalInfo


def packed_info(isa: str, info: SignalInfo) -> bytes:
    return pack_siginfo(
        isa, info.number, info.code, info.errno, pid=info.pid, uid=info.uid, address=info.address,
        status=info.status, utime=info.utime, stime=info.stime, value=info.value, timer=info.timer,
        overrun=info.overrun, band=info.band, fd=info.fd,
    )  # fmt: skip
