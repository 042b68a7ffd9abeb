"""Random sequences of the rarer file calls: openat2, the flags of the *at calls, inotify, locks of processes.

They are mixed with the steps of `tests.syscall_sequences`, so that there is something to find. Its rules hold here.
"""

from __future__ import annotations

import random
import struct

from sandbox.abi import flags as f
from sandbox.abi.errno import EAGAIN
from tests.syscall_sequences import FDS, MAKERS, MODES, OFFSETS, SIZES, Makers, Player, Step, at, path

AT_FLAGS = (0, 0, f.AT_SYMLINK_NOFOLLOW, f.AT_EMPTY_PATH, f.AT_SYMLINK_NOFOLLOW | f.AT_EMPTY_PATH, f.AT_SYMLINK_FOLLOW,
            f.AT_REMOVEDIR, 0x800, 0x4000, 1)  # fmt: skip
TO_NODES = ("fchmod", "fchown", "fchownat", "fchmodat2", "utimensat", "lock", "flock")
OWNERS = (0, 0, 1000, 0xFFFFFFFF)
RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH, RESOLVE_IN_ROOT = 1, 2, 4, 8, 16
RESOLVES = (0, RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH, RESOLVE_IN_ROOT,
            RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH | RESOLVE_IN_ROOT, 0x100)  # fmt: skip
EVENTS = 0xFFF
WATCHES = (EVENTS, EVENTS, 0x100, 0x3C0, 0xC00, EVENTS | 1 << 31, EVENTS | 1 << 24, EVENTS | 1 << 25, EVENTS | 1 << 26,
           EVENTS | 1 << 29, 2 | 1 << 28, 0)  # fmt: skip


def _name(rng: random.Random) -> bytes:
    return b"" if rng.random() < 0.15 else path(rng)


def _open2(rng: random.Random) -> Step:
    flags = rng.choice((f.O_RDONLY, f.O_RDWR, f.O_WRONLY))
    for bit, chance in (
        (f.O_CREAT, 0.3), (f.O_EXCL, 0.1), (f.O_TRUNC, 0.1), (f.O_DIRECTORY, 0.2), (f.O_NOFOLLOW, 0.2),
        (f.O_PATH, 0.15), (f.O_TMPFILE, 0.05), (1 << 33, 0.02),
    ):  # fmt: skip
        if rng.random() < chance:
            flags |= bit
    mode = rng.choice(MODES) if flags & (f.O_CREAT | 0o20000000) or rng.random() < 0.05 else 0
    return "openat2", (at(rng), path(rng), flags | f.O_NONBLOCK, mode, rng.choice(RESOLVES))


def _at(rng: random.Random) -> Step:
    flags = rng.choice(AT_FLAGS)
    return rng.choice(
        (
            ("fchmodat2", (at(rng), _name(rng), rng.choice(MODES), flags)),
            ("fchownat", (at(rng), _name(rng), rng.choice(OWNERS), rng.choice(OWNERS), flags)),
            ("faccessat2", (at(rng), _name(rng), rng.choice((0, 1, 2, 4, 6)), flags)),
            ("unlinkat", (at(rng), _name(rng), flags)),
            ("linkat", (at(rng), _name(rng), at(rng), path(rng), flags)),
            ("utimensat", (at(rng), _name(rng), (1, 2, 3, 4), flags)),
            ("stat", (at(rng), _name(rng), flags)),
            ("readlinkat", (at(rng), _name(rng), 100)),
            ("fchown", (rng.choice(FDS), rng.choice(OWNERS), rng.choice(OWNERS))),
            ("truncate", (path(rng), rng.choice(SIZES))),
        )
    )


def _inotify(rng: random.Random) -> Step:
    return rng.choice(
        (
            ("inotify_init1", (f.O_NONBLOCK | rng.choice((0, f.O_CLOEXEC)),)),
            ("inotify_add_watch", (rng.choice(FDS), path(rng), rng.choice(WATCHES))),
            ("inotify_add_watch", (rng.choice(FDS), rng.choice((b".", b"d", b"a", b"d/e")), EVENTS)),
            ("inotify_add_watch", (rng.choice(FDS), rng.choice((b".", b"d", b"a", b"d/e")), EVENTS)),
            ("inotify_rm_watch", (rng.choice(FDS), rng.choice((1, 1, 2, 3)))),
            ("told", (rng.choice(FDS),)),
            ("told", (rng.choice(FDS),)),
            ("told", (rng.choice(FDS),)),
        )
    )


def _process_lock(rng: random.Random) -> Step:
    command = rng.choice((f.F_SETLK, f.F_SETLK, f.F_GETLK, f.F_OFD_SETLK, f.F_OFD_GETLK))
    return "lock", (
        rng.choice(FDS), command, rng.choice((f.F_RDLCK, f.F_WRLCK, f.F_WRLCK, f.F_UNLCK, 7)),
        rng.choice((0, 0, 1, 2, 3)), rng.choice((0, 1, 3, 10, -1)), rng.choice((0, 1, 5, -1)),
    )  # fmt: skip


def _placed(rng: random.Random) -> Step:
    name = rng.choice(("preadv2", "pwritev2"))
    sizes = tuple(rng.choice(SIZES) for _ in range(rng.randint(0, 3)))
    return name, (rng.choice(FDS), sizes, rng.choice((*OFFSETS, -1, -1)), rng.choice((0, 0, 0, 2, 16, 0x4000)))


WIDE: Makers = (
    *MAKERS, (_open2, 12), (_at, 14), (_inotify, 14), (_process_lock, 6), (_placed, 4),
)  # fmt: skip


class PathPlayer(Player):
    def begin(self, ordinary: bool) -> None:
        super().begin(ordinary)
        self.world.call("inotify_init1", f.O_NONBLOCK)
        self.cookies: list[int] = []

    def play(self, step: Step) -> object:
        """Nothing to the node that files without one of their own share with all of the machine's: locks may be those
        of strangers, and whether it has an owner and a mode depends on the release of the kernel."""
        name, arguments = step
        if name in TO_NODES and isinstance(arguments[0], int):
            status = self.world.fstat(arguments[0])
            if "mode" in status and not status["mode"] & f.S_IFMT:
                return "nameless"
        return super().play(step)

    def _openat2(self, dirfd: int, name: bytes, flags: int, mode: int, resolve: int) -> object:
        return self.world.call("openat2", dirfd, name, struct.pack("<QQQ", flags, mode, resolve), 24)

    def _read(self, fd: int, size: int) -> object:
        status = self.world.fstat(fd)
        if size >= 16 and "mode" in status and not status["mode"] & f.S_IFMT:
            return self._told(fd)  # its numbers are nobody's promise
        return super()._read(fd, size)

    def _told(self, fd: int) -> object:
        """What an inotify descriptor has to say; which numbers go with a rename is told by the order they came in."""
        buffer = bytearray(4096)
        count = self.world.call("read", fd, buffer, len(buffer))
        data = bytes(buffer[: max(0, count)])
        if self.world.fstat(fd).get("mode", 0) & f.S_IFMT:
            return count, data
        found = []
        while len(data) >= 16:
            watch, mask, cookie, length = struct.unpack_from("<iIII", data)
            if cookie and cookie not in self.cookies:
                self.cookies.append(cookie)
            found.append((watch, hex(mask), self.cookies.index(cookie) if cookie else None, data[16 : 16 + length]))
            data = data[16 + length :]
        named = [event for event in found if not event[3].startswith(b"#")]  # O_TMPFILE: the number of an inode
        return named or (count if count not in (-EAGAIN, *range(4097)) else "nothing")

    def _lock(self, fd: int, command: int, kind: int, whence: int, start: int, length: int) -> object:
        answer = super()._lock(fd, command, kind, whence, start, length)
        result, found = answer if isinstance(answer, tuple) else (answer, None)
        return result, found and (*found[:4], found[4] > 0)

    def _preadv2(self, fd: int, sizes: tuple[int, ...], offset: int, flags: int) -> object:
        parts = [(self.world.memory(bytes(size) + b"\0"), size) for size in sizes]
        count = self.world.call("preadv2", fd, self.world.vector(parts), len(parts), offset, 0, flags)
        data = b"".join(self.world.peek(address, size) for address, size in parts)
        return count, data[: max(0, count)]

    def _pwritev2(self, fd: int, sizes: tuple[int, ...], offset: int, flags: int) -> object:
        parts = [(self.world.memory(b"0123456789" * (size // 10 + 1)), size) for size in sizes]
        return self.world.call("pwritev2", fd, self.world.vector(parts), len(parts), offset, 0, flags)
