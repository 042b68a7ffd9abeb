"""Round robin: everybody in turn, one quantum each; weights are ignored."""

from __future__ import annotations

from collections import OrderedDict

from sandbox.scheduler.share import Share


class RoundRobinPolicy:
    name = "round-robin"

    def __init__(self, quantum: int, cores: int = 1, ahead: bool = False) -> None:
        self.quantum = quantum
        self._line: OrderedDict[int, Share] = OrderedDict()

    def slice(self, share: Share) -> int:
        return self.quantum

    def enter(self, share: Share, now: int) -> None:
        self._line[id(share)] = share

    def leave(self, share: Share) -> None:
        self._line.pop(id(share), None)

    def pick(self, eager: bool = True) -> Share | None:
        return self._line.popitem(last=False)[1] if self._line else None

    def settle(self, share: Share, used: int, runnable: bool, now: int) -> None:
        if runnable:
            self._line[id(share)] = share
            if used == 0:  # its turn was taken back
                self._line.move_to_end(id(share), last=False)

    def reweigh(self, share: Share, weight: int) -> None:
        share.weight = weight
