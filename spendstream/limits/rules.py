"""The budgets and rate limits that cover one subject: what they claim before a call, and charge after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from spendstream.budgets import Budget, Rolling, period_at
from spendstream.budgets.periods import MINUTE
from spendstream.budgets.rates import RateLimit
from spendstream.limits.claims import SLOTS, Account, Answer, Cost, Draw, Hold, fits
from spendstream.limits.decision import Breach, Kind, Mode

__all__ = ["BURST_SHARE", "HEADROOM", "BudgetRule", "RateRule", "Rules", "account_of"]

HEADROOM = 2
"""How many times faster than evenly the rest of a throttled budget may be spent, if its period ends."""

BURST_SHARE = 24
"""The part of a period, one of so many, whose spend at that rate may come at once: an hour of a day."""

_CONCURRENCY_WAIT = 1_000_000  # nobody knows when a call will end


def account_of(budget: Budget, now: int) -> tuple[Account, int, int]:
    """Return the account that spend of `now` counts against, and from when until when that is so."""
    if isinstance(budget.period, Rolling):
        return Account(f"budget:{budget.id}:0", slot=-(-budget.period.length // SLOTS)), 0, 1 << 62
    period = period_at(budget, now)
    return Account(f"budget:{budget.id}:{period.start}", end=period.end), period.start, period.end


class BudgetRule:
    """A version of a budget in one of its periods, shared by all whom it covers. Money is picodollars."""

    __slots__ = ("_until", "account", "budget", "length", "limit", "mode", "pace", "start", "used")

    def __init__(self, budget: Budget, now: int, carried: int) -> None:
        self.budget = budget
        self.account, self.start, self._until = account_of(budget, now)
        rolling = isinstance(budget.period, Rolling)
        self.length = budget.period.length if isinstance(budget.period, Rolling) else self._until - self.start
        self.limit = budget.amount + carried
        self.mode: Mode = "shadow" if budget.enforce == "shadow" else budget.on_breach
        self.pace = f"pace:{budget.id}:{0 if rolling else self.start}"
        self.used = 0

    def account_at(self, now: int) -> Account:
        """Return the account of `now`, which can be that of the period before for a late settlement."""
        return self.account if self.start <= now < self._until else account_of(self.budget, now)[0]

    def mode_for(self, model: str, *, downgraded: bool) -> Mode:
        """Return what a breach means for a request that was downgraded already, or needs no downgrade."""
        if self.mode != "downgrade" or not (downgraded or model == self.budget.downgrade_to):
            return self.mode
        return "allow" if self.budget.enforce == "soft" else "reject"

    def pace_draw(self, amount: int, now: int, *, binds: bool) -> Draw:
        """Return the draw that keeps the rest of the budget lasting for the rest of its period.

        The bucket holds time: `amount` takes as long as it should take to be spent. So the rate follows what
        is left without the bucket being changed. What is left is known from the last answer; it need not
        be exact, since a rate that was a little too high lowers the next.
        """
        capacity = self.length // BURST_SHARE
        if self.account.slot:
            left, rest = self.limit, self.length
        else:
            left, rest = (self.limit - self.used) * HEADROOM, self._until - now
        time = -(-amount * rest // left) if left > 0 else capacity
        return Draw(self.pace, min(time, capacity), 1, capacity, binds)

    def breach(self, hold: Hold, used: int, frees: int, mode: Mode, now: int) -> Breach:
        """Return that a hold does not fit."""
        ends = (frees or now + self.length) if self.account.slot else self._until
        return self._breached("budget", mode, hold.amount, max(self.limit - used, 0), ends - now)

    def too_fast(self, amount: int, wait: int, mode: Mode) -> Breach:
        """Return that a draw from the pace does not fit."""
        return self._breached("pace", mode, amount, max(self.limit - self.used, 0), wait)

    def _breached(self, kind: Kind, mode: Mode, asked: int, left: int, retry_after: int) -> Breach:
        return Breach(
            limit=self.budget.id,
            kind=kind,
            mode=mode,
            asked=asked,
            left=left,
            retry_after=retry_after,
            downgrade_to=self.budget.downgrade_to,
        )


class RateRule:
    """A rate limit, shared by all whom it covers."""

    __slots__ = ("_binds", "calls", "limit", "mode", "requests", "token_leak")

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self.mode: Mode = "shadow" if limit.enforce == "shadow" else "reject"
        self._binds = limit.enforce == "hard"
        self.requests: Draw | None = None
        if limit.requests_per_minute is not None:
            rate = limit.requests_per_minute
            self.requests = Draw(f"requests:{limit.id}", MINUTE, rate, rate * MINUTE, self._binds)
        self.calls: Hold | None = None
        if limit.concurrent_requests is not None:
            most = limit.concurrent_requests if self._binds else None
            self.calls = Hold(Account(f"calls:{limit.id}"), 1, most)
        self.token_leak = limit.tokens_per_minute or 0

    def token_draw(self, tokens: int) -> Draw:
        """Return the draw of so many tokens."""
        leak = self.token_leak
        return Draw(f"tokens:{self.limit.id}", tokens * MINUTE, leak, leak * MINUTE, self._binds)

    def breach(self, kind: Kind, draw: Draw, wait: int) -> Breach:
        """Return that a draw does not fit now, or never does."""
        asked = draw.cost // MINUTE
        left = max((draw.cost - wait * draw.leak) // MINUTE, 0)
        return Breach(
            limit=self.limit.id,
            kind=kind,
            mode=self.mode,
            asked=asked,
            left=left,
            retry_after=wait if draw.cost <= draw.capacity else None,
        )

    def crowded(self) -> Breach:
        """Return that too many requests are under way."""
        return Breach(
            limit=self.limit.id,
            kind="concurrency",
            mode=self.mode,
            asked=1,
            left=0,
            retry_after=_CONCURRENCY_WAIT,
        )


class Claims(Struct, frozen=True, kw_only=True):
    """What a request asks for: holds of budgets and then of calls; draws of requests, tokens and pace."""

    amount: int
    modes: Sequence[Mode]
    holds: Sequence[Hold]
    draws: Sequence[Draw]


class Rules:
    """All that covers one subject, in a fixed order."""

    def __init__(self, budgets: Sequence[BudgetRule], rates: Sequence[RateRule]) -> None:
        self._budgets = budgets
        self._throttled = [place for place, rule in enumerate(budgets) if rule.budget.throttle]
        self._requests = [rule for rule in rates if rule.requests]
        self._request_draws = [rule.requests for rule in rates if rule.requests]
        self._tokens = [rule for rule in rates if rule.token_leak]
        self._calls = [rule for rule in rates if rule.calls]
        self._call_holds = [rule.calls for rule in rates if rule.calls]
        self._fixed_modes: dict[tuple[str, bool], Sequence[Mode]] = {}

    def claims(self, model: str, amount: int, tokens: int, now: int, *, downgraded: bool) -> Claims:
        """Return what a request asks for that may cost `amount` and have `tokens`."""
        modes = self._modes(model, downgraded=downgraded)
        budgets = self._budgets
        holds = [
            Hold(rule.account, amount, rule.limit if mode in _BINDING else None)
            for rule, mode in zip(budgets, modes, strict=True)
        ]
        draws = list(self._request_draws)
        if self._tokens:
            draws += [rule.token_draw(tokens) for rule in self._tokens]
        if self._throttled:
            draws += [
                budgets[place].pace_draw(amount, now, binds=modes[place] in _BINDING)
                for place in self._throttled
            ]
        return Claims(amount=amount, modes=modes, holds=[*holds, *self._call_holds], draws=draws)

    def split(self, draws: Sequence[Draw], waits: Sequence[int]) -> tuple[list[Draw], list[Draw]]:
        """Return the draws of tokens and of pace that were made."""
        tokens = len(self._request_draws)
        pace = tokens + len(self._tokens)
        if not any(waits):
            return list(draws[tokens:pace]), list(draws[pace:])
        made = [None if wait else draw for draw, wait in zip(draws, waits, strict=True)]
        return [draw for draw in made[tokens:pace] if draw], [draw for draw in made[pace:] if draw]

    def breaches(self, claims: Claims, answer: Answer, now: int) -> Sequence[Breach]:
        """Return every limit that the claims do not fit, whatever that means for them."""
        for rule, used in zip(self._budgets, answer.used, strict=False):
            rule.used = used
        if answer.granted and not any(answer.waits) and self._all_fit(claims, answer):
            return ()
        return [*self._held(claims, answer, now), *self._drawn(claims, answer)]

    def costs(self, cost: int, now: int) -> list[Cost]:
        """Return what a call that did cost `cost` is charged to."""
        return [Cost(rule.account_at(now), cost) for rule in self._budgets]

    def _modes(self, model: str, *, downgraded: bool) -> Sequence[Mode]:
        found = self._fixed_modes.get((model, downgraded))
        if found is None:
            found = [rule.mode_for(model, downgraded=downgraded) for rule in self._budgets]
            self._fixed_modes[model, downgraded] = found
        return found

    def _all_fit(self, claims: Claims, answer: Answer) -> bool:
        """Tell whether the holds fit that bind nobody; the others were granted."""
        amount = claims.amount
        for rule, used in zip(self._budgets, answer.used, strict=False):
            if used + amount > rule.limit:
                return False
        return not self._calls or not any(self._crowded(answer))

    def _held(self, claims: Claims, answer: Answer, now: int) -> Iterator[Breach]:
        places = enumerate(zip(self._budgets, claims.modes, answer.used, strict=False))
        for place, (rule, mode, used) in places:
            hold = claims.holds[place]
            if not fits(hold._replace(limit=rule.limit), used):
                frees = answer.frees[place] if answer.frees else 0
                yield rule.breach(hold, used, frees, mode, now)
        yield from self._crowded(answer)

    def _crowded(self, answer: Answer) -> Iterator[Breach]:
        for rule, used in zip(self._calls, answer.used[len(self._budgets) :], strict=True):
            if used >= (rule.limit.concurrent_requests or 0):
                yield rule.crowded()

    def _drawn(self, claims: Claims, answer: Answer) -> Iterator[Breach]:
        waiting = zip(claims.draws, answer.waits, strict=True)
        kinds: Sequence[tuple[Kind, Sequence[RateRule]]] = (
            ("requests", self._requests),
            ("tokens", self._tokens),
        )
        for kind, rules in kinds:
            for rule in rules:
                draw, wait = next(waiting)
                if wait:
                    yield rule.breach(kind, draw, wait)
        for place in self._throttled:
            _, wait = next(waiting)
            if wait:
                yield self._budgets[place].too_fast(claims.amount, wait, claims.modes[place])


_BINDING = ("reject", "downgrade")
