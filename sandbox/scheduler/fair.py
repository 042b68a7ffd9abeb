"""Weighted fair sharing: earliest eligible virtual deadline first (EEVDF).

After I. Stoica and H. Abdel-Wahab, "Earliest Eligible Virtual Deadline First" (1995). Virtual time V runs at
the rate of service / W, where W is the weight of all who compete. A share of weight w is entitled to w per
unit of V; its *lag* is what it is entitled to since it came, less what it got. It asks for service in
requests of at most a quantum q: a request becomes eligible at the V where its lag is 0 and is due at the V
where it should have been served in full. Of the eligible requests the one due first runs. Who asks for little
at a time is thus served soon: an interactive share begins with a very short request when it has woken.

Rules for those who come and go (they are what the bound below needs):

- Who comes begins with lag 0: it can save up nothing while it sleeps.
- Who leaves with too little (lag > 0) forfeits it. V is not moved for that; when nobody is eligible any
  more, V jumps to the first who will be.
- Who leaves with too much (lag < 0) stays in W as a *ghost* until V has caught up with it, and takes up its
  old place when it comes back before. So to sleep just before a turn ends gains nothing. When a turn is to be
  had and nobody wants it, V catches up with all ghosts: they took nothing from anybody.
- A new weight counts from the moment the share's lag is not negative. Who waits for its turn and gets more weight
  gives up what it is owed, at most q: it came to be owed that slowly, and would now take it at once, before others.

**Bound**: on one core, when no turn uses more than q, at every moment -q <= lag <= q for every share,
whatever comes, goes, sleeps, is capped or changes its weight. Idea of the proof. Lower: a turn begins with
lag >= 0 and takes at most q. Upper: let a request of k, due at V = d, still wait then, and let s be the last
moment before at which a turn due after d began, or V jumped. At s nothing that was due by d was eligible.
So since s there have run that one turn, of at most q, and turns of requests that became eligible after s and
were due by d. Of those, share i got at most w_i (d - V(s)), as its requests tile the virtual time in which it
counts in W (ghosts included), and k got less than that by what it lacks. But all service since s is the
integral of W dV. So what is due by d and not served yet, k's part included, is together no more than that
first turn, q. It is served before anything that is due later, so k's lag stays within q until its turn.
Rounding is always to V's slow side and a share's later side, which keeps both inequalities.
`tests/test_scheduler_fair.py` checks the bound against an independent model in exact fractions.

**Several cores** (`cores` > 1), or several turns decided at once (`ahead`): V is moved when a turn is given
out, by what it may use, and what it then leaves unused is taken off the next turns. So the decisions are those of
one core that is N times as fast, and weights are clipped to one core (clip.py). With all of them busy, what each got
stays within 2 q of its clipped entitlement (tested, not proved).

Each operation is O(log n): two heaps, of eligible requests by deadline and of later ones by eligible time.
Virtual times are whole numbers, `SCALE` to a unit of service per unit of effective weight.
"""

from __future__ import annotations

from heapq import heappop
from itertools import count

from sandbox.scheduler.clip import UNIT, Clip
from sandbox.scheduler.heap import ShareHeap
from sandbox.scheduler.share import LATENCY_CLASSES, QUICK, Share

SCALE = UNIT << 32  # a virtual time is 2**32 to a unit of service per unit of weight

OUT, LATER, ELIGIBLE, RUNNING, GHOST = range(5)


class FairPolicy:
    name = "fair"

    def __init__(self, quantum: int, cores: int = 1, ahead: bool = False) -> None:
        self.quantum = quantum
        self.virtual = 0
        self.weight = 0  # effective, of all who compete: queued, running, ghosts
        self._ahead = ahead or cores > 1
        self._prepaid = 0  # V has been moved for so much service that was not used
        self._most_behind = self._most_ahead = 0
        self._clip = Clip(cores) if cores > 1 else None
        tickets = count(1)
        self._eligible = ShareHeap(tickets)  # by deadline
        self._later = ShareHeap(tickets)  # by eligible time; ghosts too

    def slice(self, share: Share) -> int:
        return share.request

    def enter(self, share: Share, now: int) -> None:
        if share.state == GHOST:  # still ahead of its entitlement: its old place
            share.state = LATER
            return
        if share.next_weight is not None:
            share.weight, share.next_weight = share.next_weight, None
        share.eligible = self.virtual
        self._compete(share)
        self._queue(share)

    def leave(self, share: Share) -> None:
        if share.state == ELIGIBLE:
            self._eligible.withdraw(share)
            self._out(share)
        elif share.state == LATER:
            share.state = GHOST

    def pick(self, eager: bool = True) -> Share | None:
        share = self._eligible.pop()
        while share is None:
            first = self._later.first() if eager else None
            if first is None:
                return None
            # Nobody is owed anything: V jumps to the first who will be. It may be a ghost, that goes.
            self.virtual = max(self.virtual, first[0])
            self._advance(0)
            share = self._eligible.pop()
        share.state = RUNNING
        # While it waits a share's lag only grows, while it runs it only falls: its extremes are here and in `settle`.
        behind = (self.virtual - share.eligible) * share.effective
        if behind > self._most_behind:
            self._most_behind = behind
        if self._ahead:
            share.promised = self.slice(share)
            self._advance(share.promised)
        return share

    def settle(self, share: Share, used: int, runnable: bool, now: int) -> None:
        if used == 0 and runnable:  # its turn was taken back
            self._advance(-share.promised)
            share.state = ELIGIBLE
            self._eligible.restore(share.deadline, share)
            return
        share.eligible -= -used * SCALE // share.effective
        self._advance(used - share.promised)
        share.promised = 0
        ahead = (share.eligible - self.virtual) * share.effective
        if ahead > self._most_ahead:
            self._most_ahead = ahead
        if runnable:
            share.burst += 1
            self._queue(share)
            return
        share.burst = 0
        if share.eligible > self.virtual:
            share.state = GHOST
            self._later.push(share.eligible, share)
        else:
            self._out(share)

    def reweigh(self, share: Share, weight: int) -> None:
        share.next_weight = weight
        if share.state == OUT:
            share.weight, share.next_weight = weight, None
        elif share.state == ELIGIBLE:
            self._eligible.withdraw(share)
            if weight > share.weight:
                share.eligible = self.virtual
            self._queue(share)

    def lag(self, share: Share) -> float:
        """What it is owed now, in units of service; of use while it competes."""
        return share.effective * (self.virtual - share.eligible) / SCALE

    @property
    def largest_lag(self) -> float:
        """The largest there ever was, either way, in units of service."""
        return max(self._most_behind, self._most_ahead) / SCALE

    def lags(self) -> list[tuple[Share, float]]:
        """All who wait, for displays; O(n)."""
        return [(share, self.lag(share)) for heap in (self._eligible, self._later) for share in heap]

    # Requests

    def _queue(self, share: Share) -> None:
        """A new request begins at `share.eligible`."""
        if share.next_weight is not None and share.eligible <= self.virtual:
            self._withdraw_weight(share)
            before, share.weight, share.next_weight = share.effective, share.next_weight, None
            share.effective = share.weight * UNIT
            self._keep_lag(share, before)
            self._compete(share)
        self._request(share)

    def _request(self, share: Share) -> None:
        length = self.quantum
        if share.latency != "normal":
            length = max(1, length // max(LATENCY_CLASSES[share.latency], QUICK >> share.burst))
        share.request = length
        share.deadline = share.eligible - (-length * SCALE // share.effective)
        if share.eligible <= self.virtual:
            share.state = ELIGIBLE
            self._eligible.push(share.deadline, share)
        else:
            share.state = LATER
            self._later.push(share.eligible, share)

    def _out(self, share: Share) -> None:
        share.state = OUT
        self._withdraw_weight(share)
        if share.next_weight is not None:
            share.weight, share.next_weight = share.next_weight, None

    def _advance(self, used: int) -> None:
        """V moves by used / W, in pieces: W changes on the way where a ghost goes or a weight comes into force."""
        if used < 0 or self._prepaid:
            used -= self._prepaid
            self._prepaid = max(0, -used)
            used = max(0, used)
        remaining = used * SCALE
        entries = self._later.entries
        while entries:
            eligible, ticket, share = entries[0]
            if share.ticket != ticket:
                heappop(entries)
                continue
            need = (eligible - self.virtual) * self.weight
            if need > remaining:
                break
            if need > 0:
                remaining -= need
                self.virtual = eligible
            self._later.withdraw(share)
            if share.state == GHOST:
                self._out(share)
            else:
                self._queue(share)
        if self.weight:
            self.virtual += remaining // self.weight

    # Weights

    def _compete(self, share: Share) -> None:
        share.effective = share.weight * UNIT
        self.weight += share.effective
        if self._clip is not None:
            self._clip.add(share)
            self._reclip(self._clip)

    def _withdraw_weight(self, share: Share) -> None:
        self.weight -= share.effective
        if self._clip is not None:
            self._clip.remove(share)
            self._reclip(self._clip)

    def _reclip(self, clip: Clip) -> None:
        for share, effective in clip.effective():
            before = share.effective
            if effective == before:
                continue
            self.weight += effective - before
            share.effective = effective
            self._keep_lag(share, before)
            if share.ticket <= 0:
                continue  # in no queue at the moment
            if share.state == GHOST:
                self._later.withdraw(share)
                self._later.push(share.eligible, share)
            else:
                (self._eligible if share.state == ELIGIBLE else self._later).withdraw(share)
                self._request(share)

    def _keep_lag(self, share: Share, before: int) -> None:
        """Its effective weight was `before`: its lag stays what it was, and its eligible time moves."""
        share.eligible = self.virtual - (self.virtual - share.eligible) * before // share.effective
