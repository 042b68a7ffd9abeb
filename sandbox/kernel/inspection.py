"""Who may look into whom: memory, descriptors. Source: ptrace(2), "Ptrace access mode checking"."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.kernel.task import Task

_CAP_SYS_PTRACE = 19


def may_inspect(caller: Task, target: Task, uid: int) -> bool:
    """`uid`: the caller's real one, or the one that file access is judged by."""
    if target.process is caller.process:
        return True
    own, other = caller.credentials, target.credentials
    if own.capable(_CAP_SYS_PTRACE):
        return True
    gid = own.gid if uid == own.uid else own.fsgid
    same = {other.uid, other.euid, other.suid} == {uid} and {other.gid, other.egid, other.sgid} == {gid}
    return same and target.process.dumpable == 1 and not other.permitted & ~own.permitted
