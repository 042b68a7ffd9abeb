"""Who a task is: user and group ids, supplementary groups, capabilities. Source: credentials(7), setresuid(2),
setgroups(2), capabilities(7). The 16-bit forms of the old 32-bit ABIs are rows of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING

from sandbox.abi.errno import EINVAL, EPERM, ESRCH, Errno
from sandbox.kernel.constant_calls import constant, forget
from sandbox.kernel.row import FULL, Level, Row

if TYPE_CHECKING:
    from sandbox.kernel.task import Credentials, Task

UNCHANGED = 0xFFFFFFFF
OVERFLOW_ID = 65534  # what a 16-bit call answers when an id does not fit
CAP_SETGID, CAP_SETUID = 6, 7
MOST_GROUPS = 65536

_CAP_HEADER = Struct("<Ii")
_CAP_DATA = Struct("<III")
_CAP_VERSIONS = {0x19980330: 1, 0x20071026: 2, 0x20080522: 2}
_CAP_LATEST = 0x20080522


def _low(value: int) -> int:
    return value if value <= 0xFFFF else OVERFLOW_ID


def _id_getter(name: str, narrow: bool) -> Callable[[Task], int]:
    def get(task: Task) -> int:
        value: int = getattr(task.credentials, name)
        return _low(value) if narrow else value

    return get


def _check(value: int) -> int:
    if value == UNCHANGED:
        raise Errno(EINVAL)
    return value


def _after_uid_change(credentials: Credentials, had_root: bool, had_effective_root: bool, keep: bool) -> None:
    """The capability sets follow the user ids (capabilities(7), "Effect of user ID changes"). `keep` (PR_SET_KEEPCAPS)
    holds for the permitted set alone."""
    has_root = 0 in (credentials.uid, credentials.euid, credentials.suid)
    if had_root and not has_root:
        credentials.ambient = 0
        if not keep:
            credentials.permitted = credentials.effective = 0
    if had_effective_root and credentials.euid != 0:
        credentials.effective = 0
    elif not had_effective_root and credentials.euid == 0:
        credentials.effective = credentials.permitted


def _set_uids(task: Task, uid: int, euid: int, suid: int) -> None:
    """Credentials are replaced, never changed: other threads and open files may refer to them."""
    credentials = task.credentials.copy()
    had_root = 0 in (credentials.uid, credentials.euid, credentials.suid)
    had_effective_root = credentials.euid == 0
    credentials.uid, credentials.euid, credentials.suid = uid, euid, suid
    credentials.fsuid = euid
    _after_uid_change(credentials, had_root, had_effective_root, task.process.keep_capabilities)
    _guard(task, credentials)
    task.credentials = credentials
    forget(task)


def _guard(task: Task, new: Credentials) -> None:
    """What it has open and in memory from before is not for processes of its new user (prctl(2), PR_SET_DUMPABLE)."""
    old = task.credentials
    if (old.euid, old.egid) != (new.euid, new.egid):
        task.process.dumpable = 0


def _set_gids(task: Task, gid: int, egid: int, sgid: int) -> None:
    credentials = task.credentials.copy()
    credentials.gid, credentials.egid, credentials.sgid = gid, egid, sgid
    credentials.fsgid = egid
    _guard(task, credentials)
    task.credentials = credentials
    forget(task)


def setuid(task: Task, uid: int) -> int:
    c = task.credentials
    _check(uid)
    if c.capable(CAP_SETUID):
        _set_uids(task, uid, uid, uid)
    elif uid in (c.uid, c.suid):
        _set_uids(task, c.uid, uid, c.suid)
    else:
        raise Errno(EPERM)
    return 0


def setgid(task: Task, gid: int) -> int:
    c = task.credentials
    _check(gid)
    if c.capable(CAP_SETGID):
        _set_gids(task, gid, gid, gid)
    elif gid in (c.gid, c.sgid):
        _set_gids(task, c.gid, gid, c.sgid)
    else:
        raise Errno(EPERM)
    return 0


def setreuid(task: Task, uid: int, euid: int) -> int:
    c = task.credentials
    if not c.capable(CAP_SETUID):
        if uid != UNCHANGED and uid not in (c.uid, c.euid):
            raise Errno(EPERM)
        if euid != UNCHANGED and euid not in (c.uid, c.euid, c.suid):
            raise Errno(EPERM)
    new_uid = c.uid if uid == UNCHANGED else uid
    new_euid = c.euid if euid == UNCHANGED else euid
    saved = new_euid if uid != UNCHANGED or (euid != UNCHANGED and new_euid != c.uid) else c.suid
    _set_uids(task, new_uid, new_euid, saved)
    return 0


def setregid(task: Task, gid: int, egid: int) -> int:
    c = task.credentials
    if not c.capable(CAP_SETGID):
        if gid != UNCHANGED and gid not in (c.gid, c.egid):
            raise Errno(EPERM)
        if egid != UNCHANGED and egid not in (c.gid, c.egid, c.sgid):
            raise Errno(EPERM)
    new_gid = c.gid if gid == UNCHANGED else gid
    new_egid = c.egid if egid == UNCHANGED else egid
    saved = new_egid if gid != UNCHANGED or (egid != UNCHANGED and new_egid != c.gid) else c.sgid
    _set_gids(task, new_gid, new_egid, saved)
    return 0


def _pick(wanted: tuple[int, int, int], present: tuple[int, int, int], privileged: bool) -> tuple[int, int, int]:
    if not privileged and any(value != UNCHANGED and value not in present for value in wanted):
        raise Errno(EPERM)
    first, second, third = (new if new != UNCHANGED else old for new, old in zip(wanted, present, strict=True))
    return first, second, third


def setresuid(task: Task, uid: int, euid: int, suid: int) -> int:
    c = task.credentials
    _set_uids(task, *_pick((uid, euid, suid), (c.uid, c.euid, c.suid), c.capable(CAP_SETUID)))
    return 0


def setresgid(task: Task, gid: int, egid: int, sgid: int) -> int:
    c = task.credentials
    _set_gids(task, *_pick((gid, egid, sgid), (c.gid, c.egid, c.sgid), c.capable(CAP_SETGID)))
    return 0


def _triple_getter(names: tuple[str, str, str], size: int) -> Callable[[Task, int, int, int], int]:
    def get(task: Task, first: int, second: int, third: int) -> int:
        for address, name in zip((first, second, third), names, strict=True):
            value = getattr(task.credentials, name)
            task.space.copy_out(address, (_low(value) if size == 2 else value).to_bytes(size, "little"))
        return 0

    return get


def setfsuid(task: Task, uid: int) -> int:
    """Answers the previous id, whether it changed or not (the call has no error)."""
    c = task.credentials
    previous = c.fsuid
    if uid != UNCHANGED and (uid in (c.uid, c.euid, c.suid, c.fsuid) or c.capable(CAP_SETUID)):
        task.credentials = c.copy()
        task.credentials.fsuid = uid
    return previous


def setfsgid(task: Task, gid: int) -> int:
    c = task.credentials
    previous = c.fsgid
    if gid != UNCHANGED and (gid in (c.gid, c.egid, c.sgid, c.fsgid) or c.capable(CAP_SETGID)):
        task.credentials = c.copy()
        task.credentials.fsgid = gid
    return previous


def _group_calls(size: int) -> tuple[Callable[[Task, int, int], int], Callable[[Task, int, int], int]]:
    """getgroups and setgroups with `size` bytes an id."""

    def getgroups(task: Task, count: int, groups: int) -> int:
        present = task.credentials.groups
        if count < 0:
            raise Errno(EINVAL)
        if count:
            if count < len(present):
                raise Errno(EINVAL)
            values = (_low(gid) if size == 2 else gid for gid in present)
            task.space.copy_out(groups, b"".join(gid.to_bytes(size, "little") for gid in values))
        return len(present)

    def setgroups(task: Task, count: int, groups: int) -> int:
        if not task.credentials.capable(CAP_SETGID):
            raise Errno(EPERM)
        if not 0 <= count <= MOST_GROUPS:
            raise Errno(EINVAL)
        data = task.space.copy_in(groups, count * size)
        task.credentials = task.credentials.copy()
        task.credentials.groups = tuple(
            sorted(int.from_bytes(data[at : at + size], "little") for at in range(0, len(data), size))
        )
        return 0

    return getgroups, setgroups


def _capability_words(task: Task, header: int) -> tuple[int, int]:
    """(words a set, pid). An unknown version is answered with the newest, and EINVAL."""
    version, pid = _CAP_HEADER.unpack(task.space.copy_in(header, _CAP_HEADER.size))
    words = _CAP_VERSIONS.get(version)
    if words is None:
        task.space.copy_out(header, _CAP_LATEST.to_bytes(4, "little"))
        raise Errno(EINVAL)
    return words, pid


def capget(task: Task, header: int, data: int) -> int:
    try:
        words, pid = _capability_words(task, header)
    except Errno as error:
        if error.number == EINVAL and not data:
            return 0  # a question for the version
        raise
    if pid < 0:
        raise Errno(EINVAL)
    target = task if pid in (0, task.tid) else task.kernel.tasks.get(pid)
    if target is None:
        raise Errno(ESRCH)
    if not data:
        return 0
    c = target.credentials
    parts = [
        _CAP_DATA.pack(*(value >> 32 * word & 0xFFFFFFFF for value in (c.effective, c.permitted, c.inheritable)))
        for word in range(words)
    ]
    task.space.copy_out(data, b"".join(parts))
    return 0


def capset(task: Task, header: int, data: int) -> int:
    words, pid = _capability_words(task, header)
    if pid not in (0, task.tid):
        raise Errno(EPERM)
    raw = task.space.copy_in(data, words * _CAP_DATA.size)
    effective = permitted = inheritable = 0
    for word, values in enumerate(_CAP_DATA.iter_unpack(raw)):
        effective |= values[0] << 32 * word
        permitted |= values[1] << 32 * word
        inheritable |= values[2] << 32 * word
    c = task.credentials
    if permitted & ~c.permitted or effective & ~permitted or inheritable & ~(c.inheritable | c.permitted):
        raise Errno(EPERM)
    if inheritable & ~(c.inheritable | c.bounding):
        raise Errno(EPERM)
    task.credentials = c.copy()
    task.credentials.effective = effective
    task.credentials.permitted = permitted
    task.credentials.inheritable = inheritable
    task.credentials.ambient &= permitted & inheritable
    return 0


_NARROW = ("i386", "arm")  # where the plain names are the 16-bit calls
_WIDE = ("x86_64", "arm64", "riscv64")


def _both(name: str, arguments: str, wide: Callable[..., int], narrow: Callable[..., int]) -> tuple[Row, ...]:
    """`name` on the 64-bit ISAs, and on the 32-bit ones `name` with 16-bit ids and `name32` with whole ones."""
    level: Level = FULL
    short = arguments.replace(":uid", ":uid16").replace(":gid", ":gid16")
    return (
        Row(name, wide, arguments, level, isas=_WIDE),
        Row(name, narrow, short, level, isas=_NARROW),
        Row(f"{name}32", wide, arguments, level),
    )


def _constant_both(name: str, field: str) -> tuple[Row, ...]:
    wide, narrow = _id_getter(field, False), _id_getter(field, True)
    return (
        Row(name, constant(name, _WIDE, wide), "", FULL, isas=_WIDE),
        Row(name, constant(name, _NARROW, narrow), "", FULL, isas=_NARROW),
        Row(f"{name}32", constant(f"{name}32", (), wide), "", FULL),
    )


_getgroups, _setgroups = _group_calls(4)
_getgroups16, _setgroups16 = _group_calls(2)

ROWS: tuple[Row, ...] = (
    *_constant_both("getuid", "uid"),
    *_constant_both("geteuid", "euid"),
    *_constant_both("getgid", "gid"),
    *_constant_both("getegid", "egid"),
    *_both("setuid", "uid:uid", setuid, setuid),
    *_both("setgid", "gid:gid", setgid, setgid),
    *_both("setreuid", "uid:uid euid:uid", setreuid, setreuid),
    *_both("setregid", "gid:gid egid:gid", setregid, setregid),
    *_both("setresuid", "uid:uid euid:uid suid:uid", setresuid, setresuid),
    *_both("setresgid", "gid:gid egid:gid sgid:gid", setresgid, setresgid),
    *_both("getresuid", "uid:out euid:out suid:out",
           _triple_getter(("uid", "euid", "suid"), 4), _triple_getter(("uid", "euid", "suid"), 2)),
    *_both("getresgid", "gid:out egid:out sgid:out",
           _triple_getter(("gid", "egid", "sgid"), 4), _triple_getter(("gid", "egid", "sgid"), 2)),
    *_both("setfsuid", "uid:uid", setfsuid, lambda task, uid: _low(setfsuid(task, uid))),
    *_both("setfsgid", "gid:gid", setfsgid, lambda task, gid: _low(setfsgid(task, gid))),
    *_both("getgroups", "count:int groups:out", _getgroups, _getgroups16),
    *_both("setgroups", "count:int groups:in", _setgroups, _setgroups16),
    Row("capget", capget, "header:inout data:out", FULL),
    Row("capset", capset, "header:inout data:in", FULL),
)  # fmt: skip
