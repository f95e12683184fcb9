"""A reservation store in this process: exact for one gateway, and what enforces while Redis is away.

Pure: time is given. A reservation that nobody extends or settles within `ttl` is freed by a later call, a few
at a time; a request that was settled is remembered for `memory`, both in microseconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from spendstream.limits.claims import (
    SLOTS,
    Account,
    Answer,
    Cost,
    Draw,
    Hold,
    Refill,
    Standing,
    fits,
)

__all__ = ["ReservationBook"]

_SWEEP = 8  # closed or expired requests that one call looks after, so that no call takes long
_NO_WAITS: tuple[int, ...] = ()


class _Total:
    """One account."""

    __slots__ = ("first", "open", "opening", "read_at", "settled", "since", "slots")

    def __init__(self, since: int) -> None:
        self.since = since
        self.opening = self.settled = self.open = self.first = 0
        self.read_at = -1
        self.slots: dict[int, int] = {}

    @property
    def used(self) -> int:
        return self.opening + self.settled + self.open

    def roll(self, slot: int, now: int) -> None:
        """Let go of what a rolling period has left behind."""
        first = now // slot - SLOTS
        if first <= self.first:
            return
        self.first = first
        for index in [index for index in self.slots if index < first]:
            self.settled -= self.slots.pop(index)
        if self.since < first * slot:
            self.opening = 0

    def charge(self, slot: int, amount: int, now: int) -> None:
        """Settle `amount` of the moment `now`, if that is known here."""
        if now < self.since:
            return
        if slot:
            index = now // slot
            if index < self.first:
                return
            self.slots[index] = self.slots.get(index, 0) + amount
        self.settled += amount

    def frees_at(self, slot: int, excess: int) -> int:
        """Return when `excess` of what is settled will have left; 0 if that is not enough."""
        for index in sorted(self.slots):
            excess -= self.slots[index]
            if excess <= 0:
                return (index + SLOTS + 1) * slot
        return 0


class _Bucket:
    __slots__ = ("at", "level")

    def __init__(self) -> None:
        self.level = self.at = 0

    def leak(self, rate: int, now: int) -> int:
        """Bring the level up to date, and return it."""
        if now > self.at:
            self.level = max(self.level - rate * (now - self.at), 0)
            self.at = now
        return self.level


class _Open:
    """What one request holds, by account."""

    __slots__ = ("amounts", "expires_at")

    def __init__(self, amounts: dict[str, int], expires_at: int) -> None:
        self.amounts = amounts
        self.expires_at = expires_at


class ReservationBook:
    """All accounts and buckets of this process; see `Reservations` for its verbs."""

    def __init__(self, *, ttl: int, memory: int) -> None:
        self._ttl = ttl
        self._memory = memory
        self._totals: dict[str, _Total] = {}
        self._ends: dict[str, int] = {}
        self._buckets: dict[str, _Bucket] = {}
        self._open: dict[str, _Open] = {}
        self._settled: set[str] = set()
        # Not a dict, whose first key is slow to find after deletions.
        self._expiry: deque[tuple[int, str]] = deque()
        self._forgotten: deque[tuple[int, str]] = deque()

    async def reserve(self, request: str, holds: Sequence[Hold], draws: Sequence[Draw], now: int) -> Answer:
        """Take all holds and draws, or none."""
        self._sweep(now)
        totals = [self._total(hold.account, now) for hold in holds]
        used = [total.opening + total.settled + total.open for total in totals]
        if request in self._open or request in self._settled:
            return Answer(granted=True, used=used, waits=[0] * len(draws), frees=[0] * len(holds))
        waits = [self._wait(draw, now) for draw in draws] if draws else _NO_WAITS
        if not all(map(fits, holds, used)) or (
            any(waits) and any(wait and draw.binds for wait, draw in zip(waits, draws, strict=True))
        ):
            frees = list(map(_frees, holds, totals))
            return Answer(granted=False, used=used, waits=waits, frees=frees)
        amounts: dict[str, int] = {}
        for (account, amount, _), total in zip(holds, totals, strict=True):
            total.open += amount
            amounts[account.name] = amount
        for draw, wait in zip(draws, waits, strict=True):
            if not wait:
                self._buckets[draw.bucket].level += draw.cost
        self._open[request] = _Open(amounts, now + self._ttl)
        self._expiry.append((now + self._ttl, request))
        return Answer(granted=True, used=used, waits=waits)

    async def extend(self, request: str, holds: Sequence[Hold], now: int) -> bool:
        """Let a reservation live on, and hold these amounts in all."""
        record = self._open.get(request)
        if record is None:
            return False
        amounts = record.amounts
        grown = []
        for hold in holds:
            more = max(hold.amount - amounts.get(hold.account.name, 0), 0)
            total = self._total(hold.account, now)
            if not fits(Hold(hold.account, more, hold.limit), total.used):
                return False
            grown.append((hold.account.name, total, more))
        for name, total, more in grown:
            total.open += more
            amounts[name] = amounts.get(name, 0) + more
        record.expires_at = now + self._ttl
        self._expiry.append((record.expires_at, request))
        return True

    async def settle(self, request: str, costs: Sequence[Cost], refills: Sequence[Refill], now: int) -> bool:
        """Charge what a request did cost, and free all that it holds."""
        if request in self._settled:
            return False
        self._settled.add(request)
        self._forgotten.append((now + self._memory, request))
        self._free(request)
        for account, amount in costs:
            self._total(account, now).charge(account.slot, amount, now)
        self._refill(refills, now)
        self._sweep(now)
        return True

    async def release(self, request: str, refills: Sequence[Refill], now: int) -> bool:
        """Free all that a request holds."""
        if not self._free(request):
            return False
        self._refill(refills, now)
        return True

    async def open_account(self, account: Account, now: int) -> int:
        """Return since when the account is known."""
        return self._total(account, now).since

    async def set_opening(self, account: Account, amount: int, *, since: int, read_at: int) -> bool:
        """Set what was spent before `since`; the newest reading stays."""
        total = self._totals.get(account.name)
        if total is None or total.since != since or read_at <= total.read_at:
            return False
        total.opening, total.read_at = amount, read_at
        return True

    async def standing(self, account: Account, now: int) -> Standing:
        """Return how an account stands."""
        if account.name not in self._totals:
            return Standing()
        total = self._total(account, now)
        return Standing(total.opening, total.settled, total.open, total.since)

    def _total(self, account: Account, now: int) -> _Total:
        total = self._totals.get(account.name)
        if total is None:
            self._forget_ended(now)
            total = self._totals[account.name] = _Total(now)
            self._ends[account.name] = account.end
        if account.slot:
            total.roll(account.slot, now)
        return total

    def _forget_ended(self, now: int) -> None:
        """Drop the accounts of periods that are long over; looked at only when a new period begins."""
        for name in [name for name, end in self._ends.items() if end and end + self._memory < now]:
            del self._totals[name], self._ends[name]

    def _wait(self, draw: Draw, now: int) -> int:
        bucket = self._buckets.get(draw.bucket)
        if bucket is None:
            bucket = self._buckets[draw.bucket] = _Bucket()
        excess = bucket.leak(draw.leak, now) + draw.cost - draw.capacity
        return -(-excess // draw.leak) if excess > 0 else 0

    def _refill(self, refills: Sequence[Refill], now: int) -> None:
        for name, change, rate in refills:
            bucket = self._buckets.get(name)
            if bucket is None:
                bucket = self._buckets[name] = _Bucket()
            bucket.level = max(bucket.leak(rate, now) + change, 0)

    def _free(self, request: str) -> bool:
        record = self._open.pop(request, None)
        if record is None:
            return False
        for name, amount in record.amounts.items():
            total = self._totals.get(name)
            if total is not None:
                total.open = max(total.open - amount, 0)  # it may have been forgotten, and begun anew
        return True

    def _sweep(self, now: int) -> None:
        """Free what expired, and forget what was settled long ago; the oldest come first in both."""
        for _ in range(_SWEEP):
            if not self._expiry or self._expiry[0][0] > now:
                break
            _, request = self._expiry.popleft()
            record = self._open.get(request)
            if record is not None and record.expires_at <= now:
                self._free(request)
        for _ in range(_SWEEP):
            if not self._forgotten or self._forgotten[0][0] > now:
                break
            self._settled.discard(self._forgotten.popleft()[1])


def _frees(hold: Hold, total: _Total) -> int:
    if fits(hold, total.used) or not hold.account.slot or hold.limit is None:
        return 0
    return total.frees_at(hold.account.slot, total.used + hold.amount - hold.limit)
