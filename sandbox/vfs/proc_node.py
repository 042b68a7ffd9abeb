"""The kinds of nodes that procfs is made of: text that a function makes, links, directories that are computed.

They are made up at lookup and hold nothing but what they need to ask again. Neighbours: `procfs` (which files there
are), `proc_process` (what is in them).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from zlib import crc32

from sandbox.abi.errno import EACCES, EBADF, EINVAL, EIO, ENOENT, EPERM, Errno
from sandbox.abi.flags import DT_DIR, DT_LNK, DT_REG, S_IFDIR, S_IFLNK, S_IFREG
from sandbox.vfs.file import OpenFile
from sandbox.vfs.mount import Place
from sandbox.vfs.node import Filesystem, Node, Stat

Text = Callable[[], bytes]
MAX_WRITE = _PAGE = 4096


class ComputedFilesystem(Filesystem):
    """Times of what is made up on the spot are the present."""

    lasting = False

    def now(self) -> int:
        return 0


class ProcNode(Node):
    __slots__ = ()
    filesystem: ComputedFilesystem

    def stat(self) -> Stat:
        filesystem = self.filesystem
        now = filesystem.now()
        nlink = 2 if self.is_directory else 1
        return Stat(filesystem.device, self.ino, self.mode, nlink, self.uid, self.gid, 0, 0, 1024, 0, now, now, now)

    @property
    def size(self) -> int:
        return 0

    def _refusal(self) -> int:
        # proc_root_lookup and its like simply know no such name.
        return ENOENT if self.is_directory else super()._refusal()

    def sync(self) -> None:
        raise Errno(EINVAL)


class ProcText(ProcNode):
    """`make` is called when a reader stands at the beginning, so what it reads on is of one piece (as seq_file)."""

    __slots__ = ("_make", "_write")

    def __init__(
        self,
        filesystem: ComputedFilesystem,
        ino: int,
        make: Text,
        write: Callable[[bytes], None] | None = None,
        mode: int = 0o444,
        uid: int = 0,
        gid: int = 0,
    ) -> None:
        super().__init__(filesystem, ino, S_IFREG | mode | (0o200 if write is not None else 0), uid, gid)
        self._make = make
        self._write = write

    def text(self) -> bytes:
        return self._make()

    def read_at(self, offset: int, count: int) -> bytes:
        return self._make()[offset : offset + count]

    def write_at(self, offset: int, data: bytes) -> int:
        if self._write is None:
            raise Errno(EPERM)
        if offset == 0 and data:
            self._write(data[:MAX_WRITE])
        return len(data)

    def append(self, data: bytes) -> int:
        return self.write_at(0, data)

    def truncate(self, size: int) -> None:
        if self._write is None:
            raise Errno(EPERM)

    def open(self, flags: int, task_context: object | None = None) -> OpenFile:
        file = ProcTextFile(self, flags)
        if file.writable and self._write is None:
            raise Errno(EACCES)
        return file


class ProcTextFile(OpenFile):
    __slots__ = ("_text",)
    node: ProcText

    def __init__(self, node: ProcText, flags: int) -> None:
        super().__init__(node, flags)
        self._text: bytes | None = None

    def read(self, count: int, offset: int | None = None) -> bytes:
        if not self.readable:
            raise Errno(EBADF)
        start = self.position if offset is None else offset
        if start < 0:
            raise Errno(EINVAL)
        if self._text is None or start == 0:
            self._text = self.node.text()
        data = self._text[start : start + count]
        if offset is None:
            self.position += len(data)
        return data


class ProcMemory(ProcNode):
    """/proc/PID/mem: the position in the file is the address. `check` raises Errno when the opener may not look."""

    __slots__ = ("check", "load", "store")

    def __init__(
        self,
        filesystem: ComputedFilesystem,
        ino: int,
        check: Callable[[], None],
        load: Callable[[int, int], bytes],
        store: Callable[[int, bytes], None],
        uid: int,
        gid: int,
    ) -> None:
        super().__init__(filesystem, ino, S_IFREG | 0o600, uid, gid)
        self.check, self.load, self.store = check, load, store

    def truncate(self, size: int) -> None:
        raise Errno(EPERM)

    def open(self, flags: int, task_context: object | None = None) -> OpenFile:
        self.check()
        return ProcMemoryFile(self, flags)


class ProcMemoryFile(OpenFile):
    """Page by page: what comes before the first page that is not there counts; nothing at all is EIO."""

    __slots__ = ()
    node: ProcMemory

    def read(self, count: int, offset: int | None = None) -> bytes:
        if not self.readable:
            raise Errno(EBADF)
        start = self.position if offset is None else offset
        pieces: list[bytes] = []
        done = 0
        while done < count:
            size = min(_PAGE - (start + done) % _PAGE, count - done)
            try:
                pieces.append(self.node.load(start + done, size))
            except Errno:
                break
            done += size
        self._moved(start, done, count, offset)
        return b"".join(pieces)

    def write(self, data: bytes, offset: int | None = None) -> int:
        if not self.writable:
            raise Errno(EBADF)
        start = self.position if offset is None else offset
        done = 0
        while done < len(data):
            size = min(_PAGE - (start + done) % _PAGE, len(data) - done)
            try:
                self.node.store(start + done, data[done : done + size])
            except Errno:
                break
            done += size
        self._moved(start, done, len(data), offset)
        return done

    def _moved(self, start: int, done: int, wanted: int, offset: int | None) -> None:
        if wanted and not done:
            raise Errno(EIO)
        if offset is None:
            self.position = start + done


class ProcLink(ProcNode):
    """`jump` makes it a magic link: where it leads does not depend on its text."""

    __slots__ = ("_jump", "_target")

    def __init__(
        self,
        filesystem: ComputedFilesystem,
        ino: int,
        target: Text,
        jump: Callable[[], Place | None] | None = None,
        mode: int = 0o777,
        uid: int = 0,
        gid: int = 0,
    ) -> None:
        super().__init__(filesystem, ino, S_IFLNK | mode, uid, gid)
        self._target = target
        self._jump = jump

    def readlink(self) -> bytes:
        return self._target()

    def jump(self) -> Place | None:
        if self._jump is None:
            return None
        place = self._jump()
        if place is None:
            raise Errno(ENOENT)
        return place


class ProcDirectory(ProcNode):
    """Fixed names: `children` maps each to a function that makes its node, given its path."""

    __slots__ = ("_children", "path")

    def __init__(
        self,
        filesystem: ComputedFilesystem,
        path: bytes,
        children: Mapping[bytes, Callable[[bytes], ProcNode]],
        mode: int = 0o555,
        uid: int = 0,
        gid: int = 0,
    ) -> None:
        super().__init__(filesystem, inode_number(path), S_IFDIR | mode, uid, gid)
        self.path = path
        self._children = children

    def lookup(self, name: bytes) -> Node:
        make = self._children.get(name)
        if make is None:
            raise Errno(ENOENT)
        return make(self.path + b"/" + name)

    def names(self) -> list[tuple[bytes, int, int]]:
        result = []
        for name, make in self._children.items():
            path = self.path + b"/" + name
            result.append((name, inode_number(path), kind_of(make(path))))
        return result


class ProcList(ProcNode):
    """Names that come and go: `members` lists them, `make` makes the node of one (ENOENT when there is none)."""

    __slots__ = ("_make", "_members", "kind", "path")

    def __init__(
        self,
        filesystem: ComputedFilesystem,
        path: bytes,
        members: Callable[[], Iterable[int]],
        make: Callable[[int, bytes], ProcNode],
        kind: int,
        mode: int = 0o555,
        uid: int = 0,
        gid: int = 0,
    ) -> None:
        super().__init__(filesystem, inode_number(path), S_IFDIR | mode, uid, gid)
        self.path = path
        self.kind = kind
        self._members = members
        self._make = make

    def lookup(self, name: bytes) -> Node:
        number = decimal(name)
        if number is None:
            raise Errno(ENOENT)
        return self._make(number, self.path + b"/" + name)

    def names(self) -> list[tuple[bytes, int, int]]:
        names = [b"%d" % number for number in self._members()]
        return [(name, inode_number(self.path + b"/" + name), self.kind) for name in names]


def decimal(name: bytes) -> int | None:
    """A number as a directory of numbers spells it: no sign, no leading zero."""
    if not name.isdigit() or len(name) > 10 or (name.startswith(b"0") and name != b"0"):
        return None
    return int(name)


def inode_number(path: bytes) -> int:
    """Nothing is stored, so the number follows from the path."""
    return crc32(path) or 1


def kind_of(node: Node) -> int:
    return DT_DIR if node.is_directory else DT_LNK if node.is_symlink else DT_REG
