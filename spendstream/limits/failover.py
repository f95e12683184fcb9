"""What goes on while the shared store is away: nothing, or limits of this process alone; no spend is lost.

Settlements of that time wait in a queue, in order, and are told to the store when it is back. There they
count once, also where the store had heard of one and could not say so. The queue is bounded: what does not
fit is left to the ledger, which has every event, and counted in `forgotten`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import structlog

from spendstream.errors import RedisUnavailable
from spendstream.limits.book import ReservationBook
from spendstream.limits.claims import Account, Answer, Cost, Draw, Hold, Refill, Standing
from spendstream.limits.store import Reservations

__all__ = ["Failover"]

_log = structlog.get_logger(__name__)

_PAUSE_S = 0.1
_AT_ONCE = 64


class _Settlement(NamedTuple):
    request: str
    costs: Sequence[Cost]
    refills: Sequence[Refill]
    now: int


class Failover:
    """A `shared` store, and what to do without it: with `fail_open`, grant by what was last seen of it.

    `ttl` and `memory` are those of the shared store, in microseconds; at most `most_owed` settlements wait.
    """

    def __init__(
        self, shared: Reservations, *, fail_open: bool, ttl: int, memory: int, most_owed: int = 100_000
    ) -> None:
        self._shared = shared
        self._fail_open = fail_open
        self._ttl, self._memory = ttl, memory
        self._owed: deque[_Settlement] = deque(maxlen=most_owed)
        self._seen: dict[Account, int] = {}
        self._local: ReservationBook | None = None
        self.forgotten = 0

    @property
    def owed(self) -> int:
        """How many settlements the shared store has yet to hear of."""
        return len(self._owed)

    @property
    def is_alone(self) -> bool:
        """Whether this process enforces by itself now."""
        return self._local is not None

    async def run(self) -> None:
        """Tell the shared store what it has missed, until cancelled."""
        while True:
            await self.catch_up()
            await asyncio.sleep(_PAUSE_S)

    async def catch_up(self) -> bool:
        """Tell the shared store all that it has missed, in order; False if it is still away."""
        try:
            while self._owed:
                await self._tell([self._owed[place] for place in range(min(_AT_ONCE, len(self._owed)))])
            if self._local is not None:
                await self._shared.standing(Account("none"), 0)
                _log.info("limits are shared again")
                self._local = None
        except RedisUnavailable:
            return False
        return True

    async def reserve(self, request: str, holds: Sequence[Hold], draws: Sequence[Draw], now: int) -> Answer:
        """Take all holds and draws, or none; raises RedisUnavailable where it fails closed."""
        if self._local is None:
            try:
                answer = await self._shared.reserve(request, holds, draws, now)
            except RedisUnavailable as error:
                if not self._fail_open:
                    raise
                self._be_alone(error)
            else:
                for hold, used in zip(holds, answer.used, strict=True):
                    self._seen[hold.account] = used
                return answer
        local = await self._opened(holds, now)
        return await local.reserve(request, holds, draws, now)

    async def extend(self, request: str, holds: Sequence[Hold], now: int) -> bool:
        """Let a reservation live on; while the shared store is away, one that only it knows is made anew."""
        if self._local is None:
            try:
                return await self._shared.extend(request, holds, now)
            except RedisUnavailable as error:
                if not self._fail_open:
                    raise
                self._be_alone(error)
        local = await self._opened(holds, now)
        return (
            await local.extend(request, holds, now) or (await local.reserve(request, holds, (), now)).granted
        )

    async def settle(self, request: str, costs: Sequence[Cost], refills: Sequence[Refill], now: int) -> bool:
        """Charge what a request did cost, now or when the store is back. False if that was done before."""
        if self._local is not None:
            fresh = await self._local.settle(request, costs, refills, now)
            if fresh:
                self._owe(_Settlement(request, costs, refills, now))
            return fresh
        try:
            return await self._shared.settle(request, costs, refills, now)
        except RedisUnavailable as error:
            self._owe(_Settlement(request, costs, refills, now))
            if self._fail_open:
                self._be_alone(error)
                await (await self._opened((), now)).settle(request, costs, refills, now)
            return True

    async def release(self, request: str, refills: Sequence[Refill], now: int) -> bool:
        """Free all that a request holds; what the shared store holds of it expires while it is away."""
        if self._local is not None:
            return await self._local.release(request, refills, now)
        try:
            return await self._shared.release(request, refills, now)
        except RedisUnavailable:
            return False

    async def open_account(self, account: Account, now: int) -> int:
        """Return since when the shared store knows the account."""
        return await self._shared.open_account(account, now)

    async def set_opening(self, account: Account, amount: int, *, since: int, read_at: int) -> bool:
        """Set the opening in the shared store."""
        return await self._shared.set_opening(account, amount, since=since, read_at=read_at)

    async def standing(self, account: Account, now: int) -> Standing:
        """Return how an account stands in the shared store."""
        return await self._shared.standing(account, now)

    def _be_alone(self, why: RedisUnavailable) -> None:
        if self._local is None:
            _log.warning("limits are enforced by this process alone", why=str(why))
            self._local = ReservationBook(ttl=self._ttl, memory=self._memory)

    async def _opened(self, holds: Sequence[Hold], now: int) -> ReservationBook:
        """Return the local book, in which these accounts begin with what was last seen in use of them."""
        if self._local is None:
            self._local = ReservationBook(ttl=self._ttl, memory=self._memory)
        for account in [hold.account for hold in holds if hold.account in self._seen]:
            since = await self._local.open_account(account, now)
            await self._local.set_opening(account, self._seen.pop(account), since=since, read_at=now)
        return self._local

    def _owe(self, settlement: _Settlement) -> None:
        if len(self._owed) == self._owed.maxlen:
            self.forgotten += 1
        self._owed.append(settlement)

    async def _tell(self, settlements: Sequence[_Settlement]) -> None:
        """Tell the shared store these, the oldest that are owed; they leave the queue when it has all."""
        told = [self._shared.settle(*settlement) for settlement in settlements]
        for answer in await asyncio.gather(*told, return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer
        for settlement in settlements:
            if self._owed and self._owed[0] is settlement:
                self._owed.popleft()
