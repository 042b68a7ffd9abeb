"""Ancillary data of socket messages: descriptors and credentials, which only AF_UNIX carries. Source: cmsg(3), unix(7);
net/core/scm.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.abi import sockets as S
from sandbox.abi.errno import EINVAL, EMFILE, ENFILE, EPERM, Errno
from sandbox.kernel.lookup import opened
from sandbox.kernel.socket_address import owner_of
from sandbox.vfs.socket import Message, Owner, Socket

if TYPE_CHECKING:
    from sandbox.kernel.task import Task
    from sandbox.vfs.file import OpenFile

CAP_SETUID, CAP_SETGID, CAP_SYS_ADMIN = 7, 6, 21


def parse_control(task: Task, file: Socket, control: bytes) -> tuple[list[OpenFile], Owner]:
    """The descriptors and the credentials in ancillary data. Only AF_UNIX takes any."""
    files: list[OpenFile] = []
    owner = owner_of(task)
    header = S.CONTROL_HEADER[task.word]
    at = 0
    while at + header.size <= len(control):
        length, level, kind = header.unpack_from(control, at)
        if length < header.size or at + length > len(control):
            raise Errno(EINVAL)
        data = control[at + header.size : at + length]
        at += length + task.word - 1 & -task.word
        if level != S.SOL_SOCKET:
            continue
        if file.family != S.AF_UNIX:
            if kind in (S.SCM_RIGHTS, S.SCM_CREDENTIALS):
                continue  # they mean something to AF_UNIX only
            raise Errno(EINVAL)
        if kind == S.SCM_RIGHTS:
            numbers = [int.from_bytes(data[i : i + 4], "little", signed=True) for i in range(0, len(data) & ~3, 4)]
            if len(numbers) + len(files) > S.SCM_MAX_FD:
                raise Errno(EINVAL)
            files += [opened(task, number) for number in numbers]
        elif kind == S.SCM_CREDENTIALS:
            if len(data) != S.UCRED.size:
                raise Errno(EINVAL)
            claimed = Owner(*S.UCRED.unpack(data))
            who = task.credentials
            if (
                (claimed.pid != task.tgid and not who.capable(CAP_SYS_ADMIN))
                or (claimed.uid not in (who.uid, who.euid, who.suid) and not who.capable(CAP_SETUID))
                or (claimed.gid not in (who.gid, who.egid, who.sgid) and not who.capable(CAP_SETGID))
            ):
                raise Errno(EPERM)
            owner = claimed
        else:
            raise Errno(EINVAL)
    return files, owner


def build_control(task: Task, file: Socket, message: Message, room: int, flags: int) -> tuple[bytes, int]:
    """Ancillary data of a message within `room` bytes, and MSG_CTRUNC when something did not fit."""
    header = S.CONTROL_HEADER[task.word]
    pieces = []
    cut = 0
    if file.option(S.SOL_SOCKET, S.SO_PASSCRED):
        data = S.UCRED.pack(*message.owner)
        if room >= header.size + len(data):
            pieces.append(header.pack(header.size + len(data), S.SOL_SOCKET, S.SCM_CREDENTIALS) + data)
            room -= header.size + len(data) + task.word - 1 & -task.word
        else:
            cut = S.MSG_CTRUNC
    if message.files:
        fits = min(len(message.files), max(0, room - header.size) // 4)
        numbers = []
        taken = [kept.retain() for kept in message.files[:fits]]
        for kept in taken:
            try:
                numbers.append(task.files.allocate(kept, 0, bool(flags & S.MSG_CMSG_CLOEXEC)))
            except Errno as error:
                assert error.number in (EMFILE, ENFILE)
                kept.release()
        if len(numbers) < len(message.files):
            cut = S.MSG_CTRUNC
        if numbers:
            data = b"".join(number.to_bytes(4, "little") for number in numbers)
            pieces.append(header.pack(header.size + len(data), S.SOL_SOCKET, S.SCM_RIGHTS) + data)
    aligned = [piece + bytes(-len(piece) % task.word) for piece in pieces[:-1]] + pieces[-1:]
    return b"".join(aligned), cut


def spacious(length: int, room: int, word: int) -> int:
    """The last piece counts with its padding, as far as there is room for it (CMSG_SPACE)."""
    return min(room, length + word - 1 & -word)
