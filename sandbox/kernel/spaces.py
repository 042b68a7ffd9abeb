"""How many tasks use each address space: threads and vforked children share one, and the last to leave gives the
memory back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.memory import AddressSpace


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

    def shared(self, space: AddressSpace) -> bool:
        return self._users.get(space, 0) > 1
