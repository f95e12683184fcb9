"""Reservations: money of a budget's period that is set aside for a call before anybody knows what it costs.

Pure, for one process. Of every account, granted = settled + released + open, and none of them is ever
negative. Each verb names the request that it is about, and saying it again changes nothing.

    if book.reserve(request, account, estimate, limit=room, now=now):
        ...                                     # the call; while it goes on: extend
        book.settle(request, account, cost, now=now)
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

__all__ = ["Account", "ReservationBook", "Totals"]


class Account(NamedTuple):
    """A budget in one of its periods, named by its start in microseconds; 0 for a rolling one."""

    budget: str
    period: int


class Totals(Struct, frozen=True, kw_only=True):
    """What became of an account's reservations, in picodollars."""

    granted: int = 0
    settled: int = 0
    released: int = 0

    @property
    def open(self) -> int:
        """What is set aside now."""
        return self.granted - self.settled - self.released


class _Open(NamedTuple):
    amount: int
    expires_at: int


class _Closed(NamedTuple):
    settled: bool
    at: int


_Key = tuple[str, Account]


class ReservationBook:
    """Reservations expire after `ttl` microseconds; for as long a closed one is remembered by its request."""

    def __init__(self, ttl: int) -> None:
        self._ttl = ttl
        self._open: dict[_Key, _Open] = {}
        self._closed: dict[_Key, _Closed] = {}
        self._totals: dict[Account, Totals] = {}

    def totals(self, account: Account) -> Totals:
        """Return how an account stands."""
        return self._totals.get(account, Totals())

    def reserve(self, request: str, account: Account, amount: int, *, limit: int, now: int) -> bool:
        """Set `amount` aside, and return True; or False if more than `limit` would be settled and open.

        A request that has reserved from this account already keeps what it has.
        """
        _check(amount)
        key = request, account
        if key in self._open or key in self._closed:
            return True
        if not self._grant(account, amount, limit):
            return False
        self._open[key] = _Open(amount, now + self._ttl)
        return True

    def extend(self, request: str, account: Account, amount: int, *, limit: int, now: int) -> bool:
        """Let a reservation live on, and hold `amount` in all; it never shrinks.

        Returns False, and changes nothing, if that is beyond `limit` or nothing of this request is open.
        """
        _check(amount)
        held = self._open.get((request, account))
        if held is None or not self._grant(account, max(amount - held.amount, 0), limit):
            return False
        self._open[request, account] = _Open(max(amount, held.amount), now + self._ttl)
        return True

    def settle(self, request: str, account: Account, cost: int, *, now: int) -> None:
        """Note what a request did cost, be it reserved, expired or never heard of; the rest is released.

        What was spent was spent: this asks for no limit, and grants what was not set aside.
        """
        _check(cost)
        key = request, account
        closed = self._closed.get(key)
        if closed is not None and closed.settled:
            return
        held = self._open.pop(key, _Open(0, now)).amount
        self._add(account, granted=max(cost - held, 0), settled=cost, released=max(held - cost, 0))
        self._closed[key] = _Closed(settled=True, at=now)

    def release(self, request: str, account: Account, *, now: int) -> None:
        """Give back what a request has open."""
        held = self._open.pop((request, account), None)
        if held is not None:
            self._add(account, released=held.amount)
            self._closed[request, account] = _Closed(settled=False, at=now)

    def expire(self, now: int) -> None:
        """Release what nobody extended in time, and forget requests that were closed long ago."""
        for request, account in [key for key, held in self._open.items() if held.expires_at <= now]:
            self.release(request, account, now=now)
        self._closed = {key: closed for key, closed in self._closed.items() if now - closed.at < self._ttl}

    def forget(self, account: Account) -> None:
        """Drop an account whose period is over, with everything that is still open."""
        self._totals.pop(account, None)
        self._open = {key: held for key, held in self._open.items() if key[1] != account}
        self._closed = {key: closed for key, closed in self._closed.items() if key[1] != account}

    def _grant(self, account: Account, amount: int, limit: int) -> bool:
        totals = self.totals(account)
        if amount and totals.settled + totals.open + amount > limit:
            return False
        self._add(account, granted=amount)
        return True

    def _add(self, account: Account, *, granted: int = 0, settled: int = 0, released: int = 0) -> None:
        before = self.totals(account)
        self._totals[account] = Totals(
            granted=before.granted + granted,
            settled=before.settled + settled,
            released=before.released + released,
        )


def _check(amount: int) -> None:
    if amount < 0:
        raise ValueError(f"expected picodollars that are not negative, found {amount}")
