"""How many tasks use each address space: threads and vforked children share one, and the last to leave gives the
memory back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.memory import AddressSpace


FEW_REGIONS = 200  # of one address space: so many are had without a look at the others
MOST_REGIONS = 1 << 18  # of all: what describes them is in the host's memory, and nobody's account


class SpaceUsers:
    __slots__ = ("_users",)

    def __init__(self) -> None:
        self._users: dict[AddressSpace, int] = {}

    def enter(self, space: AddressSpace) -> None:
        self._users[space] = self._users.get(space, 0) + 1

    def leave(self, space: AddressSpace) -> None:
        users = self._users.get(space, 0) - 1
        if users > 0:
            self._users[space] = users
        else:
            self._users.pop(space, None)
            space.release()

    def all(self) -> Iterable[AddressSpace]:
        return self._users

    def crowded(self, space: AddressSpace | None = None) -> bool:
        """Whether `space`, or a new one, may have no more regions."""
        if space is not None and len(space.list) < FEW_REGIONS:
            return False
        return sum(len(each.list) for each in self._users) >= MOST_REGIONS

    def shared(self, space: AddressSpace) -> bool:
        return self._users.get(space, 0) > 1
