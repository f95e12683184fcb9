"""What a request asks of its budgets and limits, and what it is told: holds on accounts, draws from buckets.

An *account* has a total that must stay within a limit: the money of a budget's period, or the number of calls
under way. A request holds some of it and settles later. A *bucket* fills up with what is drawn and leaks at a
constant rate: requests or tokens per minute, and the pace of a budget.

All are integers. Every store keeps accounts by these rules, exactly:

    used = opening + settled + open        granted = settled + released + open

`opening` is what the ledger has of the time before the store knew the account, `since`. What was spent before
that moment is never settled in the store, what was spent after it is never in the opening: so a store that
lost everything begins anew without counting anything twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["SLOTS", "Account", "Answer", "Cost", "Draw", "Hold", "Refill", "Standing", "fits"]

SLOTS = 60
"""Parts of a rolling period. What was settled leaves the sum with its part, at most one part too late."""


class Account(NamedTuple):
    """An account by its name. `end` is when its period ends, in microseconds, or 0 if it never does.

    `slot` is the length of the parts of a rolling period, in microseconds, and 0 for any other.
    """

    name: str
    end: int = 0
    slot: int = 0


class Hold(NamedTuple):
    """`amount` of an account, to be held until the request is settled; `limit` None binds nobody."""

    account: Account
    amount: int
    limit: int | None


class Draw(NamedTuple):
    """`cost` into a bucket of `capacity`, which leaks `leak` a microsecond.

    One that does not bind is left out where it does not fit, as if it had been refused.
    """

    bucket: str
    cost: int
    leak: int
    capacity: int
    binds: bool = True


class Refill(NamedTuple):
    """What a draw took too much (below zero) or too little of, once that is known."""

    bucket: str
    change: int
    leak: int


class Cost(NamedTuple):
    """What an account is charged in the end."""

    account: Account
    amount: int


class Answer(NamedTuple):
    """All holds and draws were granted, or none was.

    `used` is by hold what the account had in use before, `waits` by draw after how many microseconds it would
    fit (0: it fits). `frees` is by hold when, in microseconds UTC, enough of a rolling period will be
    over; it is 0 where the hold fits, and where nobody knows.
    """

    granted: bool
    used: Sequence[int]
    waits: Sequence[int]
    frees: Sequence[int] = ()


class Standing(NamedTuple):
    """What an account has in use, by what became of it; `since` is None for one that is not known."""

    opening: int = 0
    settled: int = 0
    open: int = 0
    since: int | None = None

    @property
    def used(self) -> int:
        """What counts against a limit."""
        return self.opening + self.settled + self.open


def fits(hold: Hold, used: int) -> bool:
    """Tell whether a hold is within its limit; nothing more always is."""
    return hold.limit is None or not hold.amount or used + hold.amount <= hold.limit
