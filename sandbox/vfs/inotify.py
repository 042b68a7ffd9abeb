"""inotify(7): a file from which a program reads what happened to other files.

A `Watch` sits on an inode (`Node.watches`) and belongs to one `InotifyFile`, which queues events in their final form.
Events about a directory's entries carry the name. The queue is bounded: what does not fit is one overflow event.
Who makes events: `kernel.watching` for calls, `OpenFile.release` for the last close. Neighbour: `anonymous`.
Source: inotify(7), fs/notify/inotify/.
"""

from __future__ import annotations

from collections import deque
from struct import Struct
from typing import TYPE_CHECKING

from sandbox.abi.errno import EAGAIN, EEXIST, EINVAL, ENOSPC, Errno
from sandbox.abi.flags import O_RDONLY, POLLIN, POLLRDNORM
from sandbox.vfs.anonymous import AnonymousFile, AnonymousFs

if TYPE_CHECKING:
    from sandbox.memory import AddressSpace
    from sandbox.vfs.mount import Place
    from sandbox.vfs.node import Node

IN_ACCESS, IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE, IN_CLOSE_NOWRITE, IN_OPEN = 1, 2, 4, 8, 0x10, 0x20
IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_MOVE_SELF = 0x40, 0x80, 0x100, 0x200, 0x400, 0x800
IN_ALL_EVENTS = 0xFFF
IN_UNMOUNT, IN_Q_OVERFLOW, IN_IGNORED = 0x2000, 0x4000, 0x8000
IN_ONLYDIR, IN_DONT_FOLLOW, IN_EXCL_UNLINK = 0x1000000, 0x2000000, 0x4000000
IN_MASK_CREATE, IN_MASK_ADD, IN_ISDIR, IN_ONESHOT = 0x10000000, 0x20000000, 0x40000000, 0x80000000

MAX_INSTANCES = 128  # of a machine, as max_user_instances; and so on
MAX_WATCHES = 8192
MAX_QUEUED = 16384  # events of one instance
MAX_HELD = 32768  # events of all instances: they are in the host's memory
FIONREAD = 0x541B
_EVENT = Struct("<iIII")  # wd, mask, cookie, length of the name with its padding


class Watch:
    __slots__ = ("inotify", "mask", "node", "number")

    def __init__(self, inotify: InotifyFile, number: int, node: Node, mask: int) -> None:
        self.inotify = inotify
        self.number = number
        self.node = node
        self.mask = mask


class InotifyFile(AnonymousFile):
    __slots__ = ("_anonymous", "_events", "_last", "_watches")

    def __init__(self, filesystem: AnonymousFs, flags: int) -> None:
        super().__init__(filesystem, b"inotify", flags, O_RDONLY)
        self._anonymous = filesystem
        filesystem.watchers += 1
        self._watches: dict[int, Watch] = {}
        self._events: deque[bytes] = deque()
        self._last = 0

    # -- watches ----------------------------------------------------------------------------------------

    def watch(self, node: Node, mask: int) -> int:
        """Watch `node`, or change the watch there is; its number."""
        for watch in node.watches or ():
            if watch.inotify is self:
                if mask & IN_MASK_CREATE:
                    raise Errno(EEXIST)
                watch.mask = watch.mask | mask if mask & IN_MASK_ADD else mask
                return watch.number
        if self._anonymous.inotify_watches >= MAX_WATCHES:
            raise Errno(ENOSPC)
        self._anonymous.inotify_watches += 1
        self._last += 1
        watch = Watch(self, self._last, node, mask)
        self._watches[watch.number] = watch
        if node.watches is None:
            node.watches = []
        node.watches.append(watch)
        node.filesystem.watched += 1
        return watch.number

    def remove(self, number: int) -> None:
        watch = self._watches.get(number)
        if watch is None:
            raise Errno(EINVAL)
        self.forget(watch)

    def forget(self, watch: Watch, tell: bool = True) -> None:
        """The watch is over; the program is told so."""
        if self._watches.pop(watch.number, None) is None:
            return
        self._anonymous.inotify_watches -= 1
        node = watch.node
        if node.watches is not None:
            node.watches.remove(watch)
            if not node.watches:
                node.watches = None
        node.filesystem.watched -= 1
        if tell:
            self.queue_event(watch.number, IN_IGNORED)

    def close(self) -> None:
        for watch in list(self._watches.values()):
            self.forget(watch, tell=False)
        self._anonymous.inotify_events -= len(self._events)
        self._events.clear()
        self._anonymous.watchers -= 1

    def described(self) -> bytes:
        """What /proc/PID/fdinfo shows of the watches."""
        return b"".join(
            b"inotify wd:%x ino:%x sdev:%x mask:%x ignored_mask:0 \n"
            % (watch.number, watch.node.ino, watch.node.filesystem.device, watch.mask)
            for watch in self._watches.values()
        )

    # -- events -----------------------------------------------------------------------------------------

    def queue_event(self, number: int, mask: int, cookie: int = 0, name: bytes = b"") -> None:
        padded = name.ljust(len(name) + 16 & ~15, b"\0") if name else b""
        event = _EVENT.pack(number, mask, cookie, len(padded)) + padded
        events = self._events
        if events and events[-1] == event:
            return  # the same thing twice in a row is one event
        if len(events) >= MAX_QUEUED or self._anonymous.inotify_events >= MAX_HELD:
            event = _EVENT.pack(-1, IN_Q_OVERFLOW, 0, 0)
            if events and events[-1] == event:
                return
        events.append(event)
        self._anonymous.inotify_events += 1
        self.queue.wake()

    def read(self, count: int, offset: int | None = None) -> bytes:
        events = self._events
        if not events:
            raise Errno(EAGAIN)
        if len(events[0]) > count:
            raise Errno(EINVAL)
        taken = []
        while events and len(events[0]) <= count:
            event = events.popleft()
            self._anonymous.inotify_events -= 1
            count -= len(event)
            taken.append(event)
        return b"".join(taken)

    def ioctl(self, request: int, argument: int, space: AddressSpace) -> int:
        if request == FIONREAD:
            space.copy_out(argument, sum(map(len, self._events)).to_bytes(4, "little"))
            return 0
        return super().ioctl(request, argument, space)

    def poll(self) -> int:
        return POLLIN | POLLRDNORM if self._events else 0


# -- what happened -----------------------------------------------------------------------------------------


def notify(node: Node, mask: int, name: bytes = b"", cookie: int = 0, unlinked: bool = False) -> None:
    """Something happened to `node`, or to its entry `name`, which may be `unlinked` and still open. `mask` may include
    IN_ISDIR."""
    for watch in tuple(node.watches or ()):
        if not watch.mask & mask & IN_ALL_EVENTS or (unlinked and watch.mask & IN_EXCL_UNLINK):
            continue
        watch.inotify.queue_event(watch.number, mask, cookie, name)
        if watch.mask & IN_ONESHOT:
            watch.inotify.forget(watch)


def notify_place(place: Place, mask: int) -> None:
    """Something happened to the file at `place`: its directory is told, and then the file itself."""
    if place.node.is_directory:
        mask |= IN_ISDIR
    parent = place.parent
    if parent is not None and parent.node.watches is not None:
        notify(parent.node, mask, place.name, unlinked=place.removed)
    if place.node.watches is not None:
        notify(place.node, mask, unlinked=place.removed)


def deleted(node: Node) -> None:
    """The last name of `node` is gone, and with it its watches."""
    notify(node, IN_DELETE_SELF)
    for watch in tuple(node.watches or ()):
        watch.inotify.forget(watch)
