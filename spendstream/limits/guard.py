"""The guard of budgets and limits: asked before each call, and told after it what the call did cost.

    decision = await guard.reserve(request, subject, estimate=estimate, tokens=tokens, now=now)
    if isinstance(decision, Admitted):
        ...                                     # the call; while it goes on: extend
        await guard.settle(decision.grant, cost=cost, tokens=tokens, now=event_time)

What covers a subject is looked up once and remembered until a budget changes, takes effect or begins a new
period. Whatever changes, a request settles against what covers it when it ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spendstream.budgets import Budget, BudgetBook
from spendstream.budgets.periods import MINUTE
from spendstream.budgets.rates import RateLimit
from spendstream.budgets.scopes import ScopeIndex, scope_of
from spendstream.errors import RedisUnavailable
from spendstream.limits.claims import Refill
from spendstream.limits.decision import Admitted, Decision, Grant, Rejected, Subject, concluded
from spendstream.limits.rules import BudgetRule, RateRule, Rules, account_of
from spendstream.limits.store import Reservations

__all__ = ["Guard"]

_SUBJECTS = 10_000


class Guard:
    """Enforces budgets and limits by what `store` holds. Money is picodollars, times are microseconds UTC."""

    def __init__(self, store: Reservations) -> None:
        self._store = store
        self._book = BudgetBook()
        self._limits: Sequence[RateLimit] = ()
        self._carried: Mapping[tuple[str, int], int] = {}
        self._budgets: ScopeIndex[BudgetRule] = ScopeIndex()
        self._rates: ScopeIndex[RateRule] = ScopeIndex()
        self._subjects: dict[Subject, Rules] = {}
        self._valid_until = 0

    def use(self, book: BudgetBook, limits: Sequence[RateLimit]) -> None:
        """Enforce these from now on."""
        if book is not self._book or limits != self._limits:
            self._book, self._limits, self._valid_until = book, limits, 0

    def carry(self, carried: Mapping[tuple[str, int], int]) -> None:
        """Add to each budget what its last period left for this one, by id and start of the period."""
        if carried != self._carried:
            self._carried, self._valid_until = dict(carried), 0

    def enforced(self, now: int) -> Sequence[Budget]:
        """Return the budgets in force that need an account."""
        return [budget for budget in self._book.at(now) if budget.enforce != "none"]

    async def reserve(
        self,
        request: str,
        subject: Subject,
        *,
        estimate: int,
        tokens: int,
        now: int,
        downgraded: bool = False,
    ) -> Decision:
        """Return whether a request may go on that may cost `estimate` and have `tokens` in all.

        One that was told to downgrade asks again with the subject and the estimate of the cheaper model. An
        unpriced request has the estimate 0: no budget can refuse it.
        """
        rules = self._rules(subject, now)
        claims = rules.claims(subject.model, estimate, tokens, now, downgraded=downgraded)
        if not claims.holds and not claims.draws:
            return Admitted(grant=None)
        try:
            answer = await self._store.reserve(request, claims.holds, claims.draws, now)
        except RedisUnavailable as error:
            return Rejected.unavailable(str(error), error.retry_after)
        breaches = rules.breaches(claims, answer, now)
        if not answer.granted:
            return concluded(breaches)
        token_draws, pace_draws = rules.split(claims.draws, answer.waits)
        grant = Grant(
            request=request,
            subject=subject,
            estimate=estimate,
            tokens=tokens,
            token_draws=token_draws,
            pace_draws=pace_draws,
        )
        return Admitted(grant=grant, breaches=breaches)

    async def extend(self, grant: Grant, *, estimate: int, now: int) -> bool:
        """Let a request live on that may cost `estimate` in all; False if there is not so much left.

        A soft budget never says so: it is too late for another model.
        """
        rules = self._rules(grant.subject, now)
        holds = rules.claims(grant.subject.model, estimate, 0, now, downgraded=True).holds
        try:
            return await self._store.extend(grant.request, holds, now)
        except RedisUnavailable:
            return False

    async def settle(
        self, grant: Grant, *, cost: int, tokens: int, now: int, subject: Subject | None = None
    ) -> None:
        """Charge what a request did cost, once; `now` is the time of its event.

        `subject` is what was called in the end, where that is another model or provider.
        """
        rules = self._rules(subject or grant.subject, now)
        await self._store.settle(grant.request, rules.costs(cost, now), _refills(grant, cost, tokens), now)

    async def release(self, grant: Grant, now: int) -> None:
        """Give back all that a request holds that never came about, but for its count of requests."""
        await self._store.release(grant.request, _refills(grant, 0, 0), now)

    def _rules(self, subject: Subject, now: int) -> Rules:
        if now >= self._valid_until:
            self._look_up(now)
        found = self._subjects.get(subject)
        if found is None:
            if len(self._subjects) >= _SUBJECTS:
                self._subjects.clear()
            found = self._subjects[subject] = self._covering(subject)
        return found

    def _covering(self, subject: Subject) -> Rules:
        def value_of(name: str) -> str:
            return str(getattr(subject, name))

        return Rules(list(self._budgets.covering(value_of)), list(self._rates.covering(value_of)))

    def _look_up(self, now: int) -> None:
        """Take over what is in force at `now`, for as long as that holds."""
        rules = []
        changes = [1 << 62]
        for budget_id in self._book.ids:
            for version in self._book.versions(budget_id):
                changes += [at for at in (version.effective_from, version.effective_until or 0) if at > now]
        for budget in self.enforced(now):
            _, start, end = account_of(budget, now)
            rules.append(BudgetRule(budget, now, self._carried.get((budget.id, start), 0)))
            changes.append(end)
        self._budgets = ScopeIndex((scope_of(rule.budget.scope), rule) for rule in rules)
        self._rates = ScopeIndex((scope_of(limit.scope), RateRule(limit)) for limit in self._limits)
        self._subjects.clear()
        self._valid_until = min(changes)


def _refills(grant: Grant, cost: int, tokens: int) -> list[Refill]:
    """Return what the draws of a request took too much or too little of."""
    refills = []
    if tokens != grant.tokens:
        change = (tokens - grant.tokens) * MINUTE
        refills += [Refill(draw.bucket, change, draw.leak) for draw in grant.token_draws]
    estimate = grant.estimate
    if estimate and cost != estimate:
        refills += [
            Refill(draw.bucket, draw.cost * (cost - estimate) // estimate, draw.leak)
            for draw in grant.pace_draws
        ]
    return refills
