"""Random sequences of file calls, made from a seed: the same steps for the guest and for the host kernel.

A step is a name and arguments, chosen so that most calls find something to do: few paths, few descriptors, small
files. Nothing ever waits (pipes, FIFOs and locks are non-blocking), and what may differ between two right kernels is
not looked at: inode numbers, times, the order of directory entries, sizes of directories, positions in them.
`Player.play` answers with a value per step that can be compared.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from sandbox.abi import flags as f
from sandbox.abi.flags import AT_FDCWD, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, SEEK_CUR, SEEK_END, SEEK_SET
from tests.syscall_worlds import GuestWorld, World

Step = tuple[str, tuple[object, ...]]
Maker = Callable[[random.Random], Step]
Makers = tuple[tuple[Maker, int], ...]  # with weights

NAMES = (b"a", b"b", b"c", b"d", b"e", b"l", b"p")
PATHS = (
    *NAMES, b"d/a", b"d/b", b"d/e", b"d/e/a", b"e/a", b"e/d", b"d/../a", b"d/.", b"d/..", b"./a", b"a/", b"d/", b"l/",
    b"l/a", b"a/a", b"", b".", b"..", b"none/a", b"d//e", b"n" * 256,
)  # fmt: skip
TARGETS = (b"a", b"d", b"d/a", b"../a", b"l", b"none", b"e", b".", b"d/e/")
FDS = (3, 4, 5, 6, 7, 8, 9, 10, 99, -1)
MODES = (0o644, 0o600, 0o755, 0o777, 0o400, 0o200, 0o7777, 0, 0o2755, 0o1777)
OFFSETS = (0, 1, 3, 10, 4095, 4096, 5000, 70000, -1, -5, 1 << 33)
SIZES = (0, 1, 3, 10, 100, 4096, 5000, 9000)
TIMES = ((1, 2, 3, 4), (0, f.UTIME_NOW, 0, f.UTIME_OMIT), (0, f.UTIME_OMIT, 5, 6), (0, f.UTIME_OMIT, 0, f.UTIME_OMIT),
         (7, 1 << 30, 0, 0))  # fmt: skip
DEPTH = 12
DATA = bytes(range(33, 127)) * 100


def steps(seed: int, count: int, ordinary: bool, weighted: Makers) -> list[Step]:
    """`ordinary`: nothing whose answer to a user other than root depends on the host's settings
    (fs.protected_hardlinks)."""
    rng = random.Random(seed)
    makers = [maker for maker, weight in weighted for _ in range(weight)]
    made = [rng.choice(makers)(rng) for _ in range(count)]
    return [step for step in made if not (ordinary and step[0] == "linkat")]


def at(rng: random.Random) -> int:
    """Mostly the working directory, sometimes a descriptor."""
    return AT_FDCWD if rng.random() < 0.8 else rng.choice(FDS)


def path(rng: random.Random) -> bytes:
    return rng.choice(PATHS)


def _open(rng: random.Random) -> Step:
    flags = rng.choice((f.O_RDONLY, f.O_WRONLY, f.O_RDWR, f.O_RDWR, f.O_RDWR))
    for bit, chance in (
        (f.O_CREAT, 0.6), (f.O_EXCL, 0.1), (f.O_TRUNC, 0.1), (f.O_APPEND, 0.15), (f.O_DIRECTORY, 0.1),
        (f.O_NOFOLLOW, 0.1), (f.O_PATH, 0.07), (f.O_CLOEXEC, 0.2), (f.O_TMPFILE, 0.04),
    ):  # fmt: skip
        if rng.random() < chance:
            flags |= bit
    return "openat", (at(rng), path(rng), flags | f.O_NONBLOCK, rng.choice(MODES))


def _read(rng: random.Random) -> Step:
    return "read", (rng.choice(FDS), rng.choice(SIZES))


def _write(rng: random.Random) -> Step:
    return "write", (rng.choice(FDS), rng.choice(SIZES))


def _pread(rng: random.Random) -> Step:
    return "pread64", (rng.choice(FDS), rng.choice(SIZES), rng.choice(OFFSETS))


def _pwrite(rng: random.Random) -> Step:
    return "pwrite64", (rng.choice(FDS), rng.choice(SIZES), rng.choice(OFFSETS))


def _vectors(rng: random.Random) -> Step:
    return rng.choice(("readv", "writev")), (
        rng.choice(FDS),
        tuple(rng.choice(SIZES) for _ in range(rng.randint(0, 4))),
    )


def _lseek(rng: random.Random) -> Step:
    return "lseek", (rng.choice(FDS), rng.choice(OFFSETS), rng.choice((0, 0, 1, 1, 2, 2, 9)))


def _close(rng: random.Random) -> Step:
    return "close", (rng.choice(FDS),)


def _close_range(rng: random.Random) -> Step:
    return "close_range", (rng.randint(5, 12), rng.randint(5, 14), rng.choice((0, 4, 1)))


def _dup(rng: random.Random) -> Step:
    kind = rng.choice(("dup", "dup2", "dup3"))
    if kind == "dup":
        return kind, (rng.choice(FDS),)
    target = rng.choice((3, 4, 5, 6, 8, 12))
    return kind, (rng.choice(FDS), target, *((rng.choice((0, f.O_CLOEXEC, 1)),) if kind == "dup3" else ()))


def _fcntl(rng: random.Random) -> Step:
    command, argument = rng.choice(
        (
            (f.F_GETFD, 0), (f.F_SETFD, 1), (f.F_SETFD, 0), (f.F_GETFL, 0), (f.F_SETFL, f.O_NONBLOCK),
            (f.F_SETFL, f.O_NONBLOCK | f.O_APPEND), (f.F_DUPFD, 5), (f.F_DUPFD_CLOEXEC, 8), (f.F_GETPIPE_SZ, 0),
            (999, 0),
        )
    )  # fmt: skip
    return "fcntl", (rng.choice(FDS), command, argument)


def _ofd_lock(rng: random.Random) -> Step:
    kind = rng.choice((f.F_RDLCK, f.F_WRLCK, f.F_UNLCK))
    return "lock", (
        rng.choice(FDS), rng.choice((f.F_OFD_SETLK, f.F_OFD_SETLK, f.F_OFD_GETLK)), kind, rng.choice((0, 0, 1, 2)),
        rng.choice((0, 1, 3, 10, -1)), rng.choice((0, 1, 5, -1)),
    )  # fmt: skip


def _flock(rng: random.Random) -> Step:
    return "flock", (rng.choice(FDS), rng.choice((f.LOCK_SH, f.LOCK_EX, f.LOCK_UN)) | f.LOCK_NB)


def _extent(rng: random.Random) -> Step:
    sizes = (0, 1, 5, 100, 4096, 10000, -1)
    return rng.choice(
        (
            ("ftruncate", (rng.choice(FDS), rng.choice(sizes))),
            ("truncate", (path(rng), rng.choice(sizes))),
            (
                "fallocate",
                (rng.choice(FDS), rng.choice((0, 1, 3, 2)), rng.choice((0, 100, 5000)), rng.choice((0, 10, 9000))),
            ),
        )
    )


def _make(rng: random.Random) -> Step:
    return rng.choice(
        (
            ("mkdirat", (at(rng), path(rng), rng.choice(MODES))),
            ("symlinkat", (rng.choice(TARGETS), at(rng), path(rng))),
            ("mknodat", (at(rng), path(rng), rng.choice((f.S_IFIFO, f.S_IFREG, f.S_IFSOCK, 0)) | rng.choice(MODES), 0)),
            ("linkat", (at(rng), path(rng), at(rng), path(rng), rng.choice((0, 0, f.AT_SYMLINK_FOLLOW)))),
        )
    )


def _remove(rng: random.Random) -> Step:
    return "unlinkat", (at(rng), path(rng), rng.choice((0, 0, f.AT_REMOVEDIR)))


def _rename(rng: random.Random) -> Step:
    # Not the name that is too long: when that is noticed depends on the release of the kernel.
    old, new = rng.choice(PATHS[:-1]), rng.choice(PATHS[:-1])
    return "renameat2", (at(rng), old, at(rng), new, rng.choice((0, 0, 0, 1, 2, 3)))


def _attributes(rng: random.Random) -> Step:
    return rng.choice(
        (
            ("fchmodat", (at(rng), path(rng), rng.choice(MODES))),
            ("fchmod", (rng.choice(FDS), rng.choice(MODES))),
            ("fchownat", (at(rng), path(rng), rng.choice((0, 1000, 0xFFFFFFFF)), rng.choice((0, 1000, 0xFFFFFFFF)), 0)),
            ("faccessat2", (at(rng), path(rng), rng.choice((0, 1, 2, 4, 7, 9)), rng.choice((0, 0x100, 0x200)))),
            ("umask", (rng.choice((0, 0o022, 0o077)),)),
            ("utimensat", (at(rng), path(rng), rng.choice(TIMES), rng.choice((0, 0, 0x100, 1)))),
        )
    )


def _look(rng: random.Random) -> Step:
    return rng.choice(
        (
            ("stat", (at(rng), path(rng), rng.choice((0, f.AT_SYMLINK_NOFOLLOW, f.AT_EMPTY_PATH)))),
            ("stat", (rng.choice(FDS), b"", f.AT_EMPTY_PATH)),
            ("readlinkat", (at(rng), path(rng), rng.choice((0, 2, 100)))),
            ("list", (rng.choice(FDS),)),
            ("getcwd", (rng.choice((4096, 4096, 5)),)),
            ("poll", (tuple(rng.choice(FDS) for _ in range(3)),)),
        )
    )


def _go(rng: random.Random) -> Step:
    return rng.choice((("chdir", (path(rng),)), ("fchdir", (rng.choice(FDS),)), ("chdir", (b"..",))))


def _pipe(rng: random.Random) -> Step:
    return "pipe2", (f.O_NONBLOCK | rng.choice((0, f.O_CLOEXEC)),)


def _move(rng: random.Random) -> Step:
    offset = rng.choice((None, None, 0, 3, 5000, -1))
    other = rng.choice((None, None, 0, 3))
    size = rng.choice(SIZES)
    return rng.choice(
        (
            ("sendfile", (rng.choice(FDS), rng.choice(FDS), offset, size)),
            ("splice", (rng.choice(FDS), offset, rng.choice(FDS), other, size, 2)),
            ("tee", (rng.choice(FDS), rng.choice(FDS), size, 2)),
            ("copy_file_range", (rng.choice(FDS), offset, rng.choice(FDS), other, size, 0)),
        )
    )


def _nameless(rng: random.Random) -> Step:
    return rng.choice(
        (
            ("eventfd2", (rng.choice((0, 5)), f.O_NONBLOCK | rng.choice((0, 1)))),
            ("memfd_create", (b"m", rng.choice((0, 1)))),
            ("epoll_create1", (rng.choice((0, f.O_CLOEXEC)),)),
        )
    )


def _watch(rng: random.Random) -> Step:
    if rng.random() < 0.4:
        return "collect", (rng.choice(FDS),)
    events = rng.choice((f.POLLIN, f.POLLOUT, f.POLLIN | f.POLLOUT, f.POLLIN | f.EPOLLONESHOT, 0))
    return "watch", (rng.choice(FDS), rng.choice((1, 1, 2, 3)), rng.choice(FDS), events)


MAKERS: Makers = (
    (_open, 16), (_read, 6), (_write, 9), (_pread, 2), (_pwrite, 3), (_vectors, 3), (_lseek, 5), (_close, 6),
    (_close_range, 1), (_dup, 3), (_fcntl, 4), (_ofd_lock, 3), (_flock, 2), (_extent, 4), (_make, 10), (_remove, 6),
    (_rename, 6), (_attributes, 6), (_look, 10), (_go, 2), (_pipe, 2), (_move, 6), (_nameless, 2), (_watch, 4),
)  # fmt: skip


class Player:
    """Plays steps in a world. Answers: the result, and with it whatever else the call gave."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.home = b""

    def begin(self, ordinary: bool) -> None:
        """A few files to start with; `ordinary`: as user 1000 in a directory that root owns."""
        w = self.world
        for _ in range(DEPTH):  # so that ".." leads to the same in every world
            w.directory(b"h")
            assert w.call("chdir", b"h") == 0
        w.directory(b"d")
        w.directory(b"d/e")
        w.file(b"a", DATA[:5000])
        w.file(b"d/a", b"short")
        w.call("symlinkat", b"a", AT_FDCWD, b"l")
        here = bytearray(4096)
        self.home = bytes(here[: w.call("getcwd", here, 4096) - 1]) if w.call("getcwd", here, 4096) > 0 else b""
        if ordinary:
            for name in (b".", b"d/e"):
                assert w.call("fchmodat", AT_FDCWD, name, 0o777) == 0
            if isinstance(w, GuestWorld):
                w.become(1000, 1000)
            else:
                assert w.call("setgroups", 0, None) == 0
                assert w.call("setresgid", 1000, 1000, 1000) == 0
                assert w.call("setresuid", 1000, 1000, 1000) == 0

    def play(self, step: Step) -> object:
        name, arguments = step
        special = getattr(self, "_" + name, None)
        if special is not None:
            return special(*arguments)
        return self.world.call(name, *arguments)  # type: ignore[arg-type]

    def _read(self, fd: int, size: int) -> object:
        buffer = bytearray(size)
        count = self.world.call("read", fd, buffer, size)
        return count, bytes(buffer[: max(0, count)])

    def _write(self, fd: int, size: int) -> object:
        return self.world.call("write", fd, DATA[:size], size)

    def _pread64(self, fd: int, size: int, offset: int) -> object:
        buffer = bytearray(size)
        count = self.world.call("pread64", fd, buffer, size, offset)
        return count, bytes(buffer[: max(0, count)])

    def _pwrite64(self, fd: int, size: int, offset: int) -> object:
        return self.world.call("pwrite64", fd, DATA[:size], size, offset)

    def _readv(self, fd: int, sizes: tuple[int, ...]) -> object:
        parts = [(self.world.memory(bytes(size) + b"\0"), size) for size in sizes]
        count = self.world.call("readv", fd, self.world.vector(parts), len(parts))
        data = b"".join(self.world.peek(address, size) for address, size in parts)
        return count, data[: max(0, count)]

    def _writev(self, fd: int, sizes: tuple[int, ...]) -> object:
        parts = [(self.world.memory(DATA[:size] + b"\0"), size) for size in sizes]
        return self.world.call("writev", fd, self.world.vector(parts), len(parts))

    def _pipe2(self, flags: int) -> object:
        ends = bytearray(8)
        return self.world.call("pipe2", ends, flags), bytes(ends)

    def _lock(self, fd: int, command: int, kind: int, whence: int, start: int, length: int) -> object:
        layout = struct.Struct("<hh4xqqi4x")
        request = self.world.memory(layout.pack(kind, whence, start, length, 0))
        result = self.world.call("fcntl", fd, command, request)
        return result, layout.unpack(self.world.peek(request, layout.size)) if not result else None

    def _utimensat(self, dirfd: int, name: bytes, times: tuple[int, ...], flags: int) -> object:
        result = self.world.call("utimensat", dirfd, name, struct.pack("<qqqq", *times), flags)
        return result

    def _stat(self, dirfd: int, name: bytes, flags: int) -> object:
        buffer = bytearray(256)
        result = self.world.call("statx", dirfd, name, flags, 0x7FF, buffer)
        if result:
            return result
        nlink, uid, gid, mode = struct.unpack_from("<IIIH", buffer, 16)
        size = struct.unpack_from("<Q", buffer, 40)[0]
        return nlink, uid, gid, oct(mode), size if mode & S_IFMT in (S_IFREG, S_IFLNK) else None

    def _readlinkat(self, dirfd: int, name: bytes, size: int) -> object:
        buffer = bytearray(size)
        count = self.world.call("readlinkat", dirfd, name, buffer, size)
        return count, bytes(buffer[: max(0, count)])

    def _is_directory(self, fd: int) -> bool:
        return bool(self.world.fstat(fd).get("mode", 0) & S_IFMT == S_IFDIR)

    def _lseek(self, fd: int, offset: int, whence: int) -> object:
        if whence in (SEEK_CUR, SEEK_END) and self._is_directory(fd):
            offset, whence = 0, SEEK_SET  # every filesystem counts its entries in a way of its own
        return self.world.call("lseek", fd, offset, whence)

    def _list(self, fd: int) -> object:
        """From the start and back to it: whether a new entry lies behind the end is the filesystem's affair."""
        rewinds = self._is_directory(fd)
        if rewinds:
            self.world.call("lseek", fd, 0, SEEK_SET)
        result = self._entries(fd)
        if rewinds:
            self.world.call("lseek", fd, 0, SEEK_SET)
        return result

    def _entries(self, fd: int) -> object:
        found: list[tuple[bytes, int]] = []
        for _ in range(100):
            buffer = bytearray(4096)
            count = self.world.call("getdents64", fd, buffer, 4096)
            if count <= 0:
                return count, sorted(found)
            data = bytes(buffer[:count])
            while data:
                length, kind = struct.unpack_from("<HB", data, 16)
                found.append((data[19:length].split(b"\0")[0], kind))
                data = data[length:]
        return "endless"

    def _getcwd(self, size: int) -> object:
        buffer = bytearray(size)
        count = self.world.call("getcwd", buffer, size)
        if count <= 0:
            return count
        path = bytes(buffer[: count - 1])
        return path[len(self.home) :] if path.startswith(self.home) else "outside"

    def _poll(self, fds: tuple[int, ...]) -> object:
        asked = bytearray(b"".join(struct.pack("<ihh", fd, 5, -1) for fd in fds))
        return self.world.call("poll", asked, len(fds), 0), bytes(asked)

    def _watch(self, epoll: int, operation: int, fd: int, events: int) -> object:
        return self.world.call("epoll_ctl", epoll, operation, fd, struct.pack("<IQ", events, fd & 0xFF))

    def _collect(self, epoll: int) -> object:
        buffer = bytearray(12 * 16)
        count = self.world.call("epoll_wait", epoll, buffer, 16, 0)
        return count, sorted(struct.unpack_from("<IQ", buffer, 12 * at) for at in range(max(0, count)))

    def _move(self, name: str, *arguments: int | None) -> object:
        pointers = []
        passed: list[int | None] = []
        for index, value in enumerate(arguments):
            if (name == "sendfile" and index == 2) or (name != "sendfile" and index in (1, 3)):
                pointer = self.world.memory(struct.pack("<q", value)) if value is not None else None
                pointers.append(pointer)
                passed.append(pointer)
            else:
                passed.append(value)
        result = self.world.call(name, *passed)
        return result, [self.world.peek(pointer, 8) for pointer in pointers if pointer is not None]

    def _sendfile(self, *arguments: int | None) -> object:
        return self._move("sendfile", *arguments)

    def _splice(self, *arguments: int | None) -> object:
        return self._move("splice", *arguments)

    def _copy_file_range(self, *arguments: int | None) -> object:
        return self._move("copy_file_range", *arguments)
