"""Who runs next and for how long: one policy, the caps, the sleepers and the clock put together.

Pure decision logic: no threads, no host clock, no machines; the time is an argument of every call, so that
tests and deterministic runs drive it with a time of their own. A share is told apart by what it wants
(`wants`), whether the operator holds it (`held`), whether its cap is used up (`throttled`) and whether it
has a processor (`running`); only one that wants, is free and has none stands in the policy's queue.

    next(now) -> share        its turn: run it for share.budget units of service, then
    settle(share, ...)        what it used, and whether it wants more, sleeps (until a time), or is gone
    timer()                   when next() may answer differently although nothing else happens
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from sandbox.scheduler.agenda import Agenda
from sandbox.scheduler.quota import Cap
from sandbox.scheduler.share import CAP_PERIOD, Phase, Policy, Share


class After(Enum):
    """What a share does after its turn."""

    RUNNABLE = 0
    ASLEEP = 1
    GONE = 2


# Names of what every turn needs: an enumeration's members are slow to look up.
_RUNNABLE, _RUNNING, _READY = After.RUNNABLE, Phase.RUNNING, Phase.READY


class RunQueue:
    def __init__(self, policy: Policy, margin: int = 0, minimum_charge: int = 1) -> None:
        """`margin`: how far a turn may overrun its budget (one block in exact mode); budgets are that much
        smaller than the policy's slice. `minimum_charge`: what a turn costs at least, so that one that
        says it did nothing cannot be picked for ever."""
        self.policy = policy
        self.agenda = Agenda()
        self.turns = 0
        self._margin = margin
        self._minimum = minimum_charge
        self._strangers: set[Share] = set()  # have a turn of a policy that has been replaced

    def replace_policy(
        self, policy: Policy, shares: Iterable[Share], now: int, margin: int, minimum_charge: int
    ) -> None:
        """From now on `policy` decides about `shares`, which are all there are. Everybody begins anew there, with
        nothing owed to or by anybody; who has a turn ends it first."""
        for share in shares:
            if share.queued:
                self.policy.leave(share)
            if share.running:
                self._strangers.add(share)
            if share.next_weight is not None:
                share.weight, share.next_weight = share.next_weight, None
            share.state = share.ticket = share.eligible = share.deadline = share.effective = share.promised = 0
            if share.queued:
                policy.enter(share, now)
        self.policy, self._margin, self._minimum = policy, margin, minimum_charge

    def admit(self, share: Share, now: int) -> None:
        """It exists from now on, held and wanting nothing."""
        share.since = now
        share.phase = Phase.HELD

    def wake(self, share: Share, now: int) -> None:
        """It has something to run. Idempotent; while it runs it is remembered until the turn ends."""
        if share.running:
            share.woken = True
        elif not share.wants and not share.gone:
            share.wants = True
            self.agenda.cancel(share)
            self._update(share, now)

    def doze(self, share: Share, now: int, wake_at: int | None) -> None:
        """Outside a turn it has turned out to have nothing to run until `wake_at` or `wake`."""
        if share.running or share.gone:
            return
        share.wants = False
        if wake_at is not None:
            self.agenda.set(share, wake_at, lambda time: self.wake(share, time))
        self._update(share, now)

    def hold(self, share: Share, now: int) -> None:
        """No turn until `free`. A turn under way ends first."""
        share.held = True
        if not share.running:
            self._update(share, now)

    def free(self, share: Share, now: int) -> None:
        share.held = False
        if not share.running:
            self._update(share, now)

    def dismiss(self, share: Share, now: int) -> None:
        """It wants nothing any more and its timers are void: it has ended, or is being rebuilt."""
        share.gone = True
        share.wants = False
        share.woken = False
        self.agenda.cancel(share)
        if not share.running:
            self._update(share, now)

    def revive(self, share: Share, now: int) -> None:
        share.gone = False
        self.wake(share, now)

    def set_cap(self, share: Share, quota: int | None, now: int, period: int = CAP_PERIOD) -> None:
        """`quota` nanoseconds of CPU time in every period, None for no cap."""
        if quota is None:
            share.cap = None
        elif share.cap is None or share.cap.period != period:
            share.cap = Cap(quota, period, now)
        else:
            share.cap.change(quota, now)
        self._reconsider(share, now)

    def set_output_cap(self, share: Share, quota: int | None, now: int, period: int = CAP_PERIOD) -> None:
        """`quota` bytes of output in every period. The owner charges it during a turn."""
        share.output_cap = None if quota is None else Cap(quota, period, now)
        self._reconsider(share, now)

    def next(self, now: int, eager: bool = True) -> Share | None:
        due = self.agenda.heap
        if due and due[0][0] <= now:
            self.agenda.run(now)
        policy = self.policy
        share = policy.pick(eager)
        if share is None:
            return None
        share.queued = False
        share.running = True
        share.change_phase(_RUNNING, now)
        turn = policy.slice(share)
        budget = turn - self._margin
        if share.cap is not None:  # not so little that switching costs more than running; the cap remembers debts
            budget = min(budget, max(int(share.cap.left(now) * share.pace), turn // 32))
        share.budget = budget if budget > 1 else 1
        self.turns += 1
        return share

    def settle(self, share: Share, now: int, used: int, cpu: int, after: After, wake_at: int | None = None) -> None:
        """It used `used` units of service and `cpu` nanoseconds of CPU time; ASLEEP until `wake_at` or `wake`."""
        share.running = False
        plain = not (share.held or share.gone or share.throttled or share.cap or share.output_cap or self._strangers)
        if after is _RUNNABLE and plain:
            share.wants = share.queued = True
            share.woken = False
            self.policy.settle(share, used if used > self._minimum else self._minimum, True, now)
            share.change_phase(_READY, now)
            return
        if share.cap is not None:
            share.cap.charge(cpu)
            if cpu > 0 and used > 0:
                share.pace += (used / cpu - share.pace) / 8
        if after is After.GONE:
            share.gone = True
        share.wants = not share.gone and (after is After.RUNNABLE or share.woken)
        share.woken = False
        if not share.wants and not share.gone and wake_at is not None:
            self.agenda.set(share, wake_at, lambda time: self.wake(share, time))
        self._throttle(share, now)
        share.queued = share.wants and not share.held and not share.throttled
        self._settle(share, max(used, self._minimum), now)
        self._note_phase(share, now)

    def take_back(self, share: Share, now: int) -> None:
        """Its turn did not happen: it stands in the queue where it stood."""
        share.running = False
        share.queued = share.wants and not share.held and not share.throttled
        self._settle(share, 0, now)
        self._note_phase(share, now)
        self.turns -= 1

    def _settle(self, share: Share, used: int, now: int) -> None:
        if share not in self._strangers:
            self.policy.settle(share, used, share.queued, now)
            return
        self._strangers.remove(share)
        if share.queued:
            self.policy.enter(share, now)

    def timer(self) -> int | None:
        return self.agenda.next_time()

    def _throttle(self, share: Share, now: int) -> None:
        empty = [cap for cap in (share.cap, share.output_cap) if cap is not None and cap.left(now) <= 0]
        if empty:
            refill = max(cap.refill_time() for cap in empty)
            self.agenda.set((share, "cap"), refill, lambda time: self._reconsider(share, time))
        elif share.throttled:
            self.agenda.cancel((share, "cap"))
        share.throttled = bool(empty)

    def _reconsider(self, share: Share, now: int) -> None:
        if not share.running:
            self._throttle(share, now)
            self._update(share, now)

    def _update(self, share: Share, now: int) -> None:
        ready = share.wants and not share.held and not share.throttled
        if ready and not share.queued:
            share.queued = True
            self.policy.enter(share, now)
        elif share.queued and not ready:
            share.queued = False
            self.policy.leave(share)
        self._note_phase(share, now)

    def _note_phase(self, share: Share, now: int) -> None:
        if share.held or share.gone:
            phase = Phase.HELD
        elif not share.wants:
            phase = Phase.ASLEEP
        else:
            phase = Phase.THROTTLED if share.throttled else Phase.READY
        if phase is not share.phase:
            share.change_phase(phase, now)
