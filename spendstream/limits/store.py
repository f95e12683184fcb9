"""The role of a reservation store: in this process, or shared by all replicas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from spendstream.limits.claims import Account, Answer, Cost, Draw, Hold, Refill, Standing

__all__ = ["Reservations"]


class Reservations(Protocol):
    """Keeps accounts and buckets. Each verb is one step, however many callers there are.

    Times are microseconds UTC. All raise RedisUnavailable where there is a server and it is away.
    """

    async def reserve(self, request: str, holds: Sequence[Hold], draws: Sequence[Draw], now: int) -> Answer:
        """Take all holds and draws, or none. A request that holds something already keeps just that."""

    async def extend(self, request: str, holds: Sequence[Hold], now: int) -> bool:
        """Let a reservation live on, and hold these amounts in all; none shrinks.

        Returns False, and changes nothing, if one is beyond its limit or the request holds nothing.
        """

    async def settle(self, request: str, costs: Sequence[Cost], refills: Sequence[Refill], now: int) -> bool:
        """Charge what a request did cost, and free all that it holds. Returns False if that was done before.

        What was spent was spent: no limit is asked for, and it need not hold anything. `now` is the time of
        the request's event; an account that the store knows only since later is not charged.
        """

    async def release(self, request: str, refills: Sequence[Refill], now: int) -> bool:
        """Free all that a request holds, as if it had never asked. Returns False if it holds nothing."""

    async def open_account(self, account: Account, now: int) -> int:
        """Return since when the account is known, which is `now` for a new one."""

    async def set_opening(self, account: Account, amount: int, *, since: int, read_at: int) -> bool:
        """Set what was spent before `since`, as the ledger knew it at `read_at`; the newest stays.

        Returns False, and changes nothing, if the account is known since another time or the reading is old.
        """

    async def standing(self, account: Account, now: int) -> Standing:
        """Return how an account stands."""
