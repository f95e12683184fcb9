"""A reservation store in Redis, shared by all replicas of a gateway; see `Reservations` for its verbs.

All keys carry one hash tag, so that a script sees them all: a single primary is meant, and in a cluster they
are in one slot. Replication is asynchronous: after a failover the newest settlements can be missing, as they
would be after a restart without a file; the ledger has them.
"""

from __future__ import annotations

from collections.abc import Sequence

from spendstream.adapters import reservation_scripts as scripts
from spendstream.adapters.redis import Argument, Redis
from spendstream.limits.claims import SLOTS, Account, Answer, Cost, Draw, Hold, Refill, Standing

__all__ = ["RedisReservations"]

_MILLI = 1000
_PREFIX = "{spend}:"


class RedisReservations:
    """Accounts and buckets at `redis`.

    A reservation that nobody extends or settles within `ttl` is freed by a later call of anyone; a request
    that was settled is remembered for `memory`, and an account for as long after its end (microseconds).
    """

    def __init__(self, redis: Redis, *, ttl: int, memory: int) -> None:
        self._redis = redis
        self._ttl = ttl
        self._memory = memory
        self._open = f"{_PREFIX}open"
        self._expiry = f"{_PREFIX}expiry"

    async def reserve(self, request: str, holds: Sequence[Hold], draws: Sequence[Draw], now: int) -> Answer:
        """Take all holds and draws, or none."""
        arguments: list[Argument] = [self._open, self._expiry, f"{_PREFIX}settled:{request}"]
        arguments += [f"{_PREFIX}account:{hold.account.name}" for hold in holds]
        arguments += [f"{_PREFIX}bucket:{draw.bucket}" for draw in draws]
        keys = len(arguments)
        arguments += (now, now + self._ttl, request, len(holds))
        for hold in holds:
            arguments += self._hold(hold, now)
        for _, cost, leak, capacity, binds in draws:
            arguments += (cost, leak, capacity, int(binds))
        granted, *rest = await scripts.RESERVE.run(self._redis, keys, *arguments)
        between, end = len(holds), len(holds) + len(draws)
        return Answer(
            granted=granted == 1,
            used=list(map(int, rest[:between])),
            waits=rest[between:end],
            frees=rest[end:],
        )

    async def extend(self, request: str, holds: Sequence[Hold], now: int) -> bool:
        """Let a reservation live on, and hold these amounts in all."""
        arguments: list[Argument] = [self._open, self._expiry]
        arguments += [f"{_PREFIX}account:{hold.account.name}" for hold in holds]
        keys = len(arguments)
        arguments += (now, now + self._ttl, request)
        for hold in holds:
            arguments += self._hold(hold, now)
        return bool(await scripts.EXTEND.run(self._redis, keys, *arguments))

    async def settle(self, request: str, costs: Sequence[Cost], refills: Sequence[Refill], now: int) -> bool:
        """Charge what a request did cost, and free all that it holds."""
        arguments: list[Argument] = [self._open, self._expiry, f"{_PREFIX}settled:{request}"]
        arguments += [f"{_PREFIX}account:{account.name}" for account, _ in costs]
        arguments += [f"{_PREFIX}bucket:{refill.bucket}" for refill in refills]
        keys = len(arguments)
        arguments += (now, self._memory // _MILLI, request, len(costs))
        for account, amount in costs:
            arguments += (amount, account.slot, self._keep_until(account, now))
        for _, change, leak in refills:
            arguments += (change, leak)
        return bool(await scripts.SETTLE.run(self._redis, keys, *arguments))

    async def release(self, request: str, refills: Sequence[Refill], now: int) -> bool:
        """Free all that a request holds."""
        arguments: list[Argument] = [self._open, self._expiry]
        arguments += [f"{_PREFIX}bucket:{refill.bucket}" for refill in refills]
        keys = len(arguments)
        arguments += (now, request)
        for _, change, leak in refills:
            arguments += (change, leak)
        return bool(await scripts.RELEASE.run(self._redis, keys, *arguments))

    async def open_account(self, account: Account, now: int) -> int:
        """Return since when the account is known."""
        key, keep = f"{_PREFIX}account:{account.name}", self._keep_until(account, now)
        return int(await scripts.OPEN_ACCOUNT.run(self._redis, 1, key, now, account.slot, keep))

    async def set_opening(self, account: Account, amount: int, *, since: int, read_at: int) -> bool:
        """Set what was spent before `since`; the newest reading stays."""
        key = f"{_PREFIX}account:{account.name}"
        return bool(await scripts.SET_OPENING.run(self._redis, 1, key, amount, since, read_at))

    async def standing(self, account: Account, now: int) -> Standing:
        """Return how an account stands."""
        key = f"{_PREFIX}account:{account.name}"
        found = await scripts.STANDING.run(self._redis, 1, key, now, account.slot)
        return Standing() if found is None else Standing(*map(int, found))

    def _hold(self, hold: Hold, now: int) -> tuple[Argument, ...]:
        limit = "-" if hold.limit is None else hold.limit
        return hold.amount, limit, hold.account.slot, self._keep_until(hold.account, now)

    def _keep_until(self, account: Account, now: int) -> int:
        """Return when Redis may drop an account, in milliseconds; 0 is never.

        Never a time that is over: that of an account which is charged very late would be dropped before.
        """
        end = now + account.slot * (SLOTS + 1) if account.slot else account.end
        return (max(end, now) + self._memory) // _MILLI if end else 0
