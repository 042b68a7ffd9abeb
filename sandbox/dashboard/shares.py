"""What each VM got of the processors lately, against what it was entitled to: arithmetic on two gauges.

Received is a VM's part of all that was used in a window of time. Entitled is what its weight gives it among those
that wanted to run, for the part of the window in which it wanted to; nobody can use more than one core, so on
several cores a heavy VM is clipped to one and the rest is divided among the others (as `scheduler.clip` does).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claim:
    """One VM in the window: what it used, the time it wanted to run (running or ready), and its weight."""

    used: int
    wanted: int
    weight: float


def received(claims: Sequence[Claim]) -> list[float | None]:
    total = sum(claim.used for claim in claims)
    return [claim.used / total if total else None for claim in claims]


def entitled(claims: Sequence[Claim], window: int, cores: int) -> list[float | None]:
    """Fractions that sum to 1 over those who wanted to run; None for the others."""
    if window <= 0:
        return [None] * len(claims)
    # What one may use at most, in cores: as long as it wanted to run.
    most = [min(1.0, claim.wanted / window) for claim in claims]
    given = [0.0] * len(claims)
    open_ = [index for index, limit in enumerate(most) if limit > 0]
    room = min(float(cores), sum(most))
    while open_ and room > 1e-9:
        weights = sum(claims[index].weight for index in open_)
        full = [index for index in open_ if claims[index].weight * room / weights >= most[index] - 1e-12]
        if not full:
            for index in open_:
                given[index] = claims[index].weight * room / weights
            break
        for index in full:
            given[index] = most[index]
            room -= most[index]
        open_ = [index for index in open_ if index not in set(full)]
    total = sum(given)
    return [share / total if share and total else None for share in given]
