"""What this gateway's calls have cost, by budget: noted as each call is settled, beside its event."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from spendstream.budgets import Budget, Rolling, period_at
from spendstream.budgets.reservations import Account, ReservationBook
from spendstream.budgets.scopes import ScopeIndex, scope_of
from spendstream.events import TokenUsage

__all__ = ["DIMENSIONS", "SettledSpend"]

DIMENSIONS = frozenset({"org", "team", "project", "environment", "provider", "model"})
"""What a call has; a budget whose scope names more covers none."""

_TTL = 60_000_000


class SettledSpend:
    """Notes nothing until it is told which budgets there are. `clock` gives microseconds UTC."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self.budgets: Sequence[Budget] = ()
        self.index: ScopeIndex[Budget] = ScopeIndex()
        self._book = ReservationBook(_TTL)
        self._sums: dict[str, int] = {}
        self._accounts: dict[str, tuple[Account, int]] = {}

    @property
    def sums(self) -> Mapping[str, int]:
        """Picodollars settled since `restart`, by budget."""
        return dict(self._sums)

    def restart(self, budgets: Sequence[Budget]) -> None:
        """Note from now on what calls cost that `budgets` cover, from zero on; periods go on as they were."""
        self.budgets = [budget for budget in budgets if budget.scope.keys() <= DIMENSIONS]
        self.index = ScopeIndex((scope_of(budget.scope), budget) for budget in self.budgets)
        self._sums = {budget.id: 0 for budget in self.budgets}
        self._accounts.clear()

    def note(self, event: TokenUsage) -> None:
        """Note what a call has cost against every budget that covers it."""
        if not event.cost:
            return
        for budget in self.index.covering(lambda name: getattr(event, name)):
            self._sums[budget.id] += event.cost
            account = self._account(budget, event.event_time)
            self._book.settle(str(event.id), account, event.cost, now=event.event_time)

    def in_period(self, budget: Budget) -> int:
        """Return the picodollars settled here in the period of now; of a rolling budget, since the start."""
        return self._book.totals(self._account(budget, self._clock())).settled

    def tidy(self) -> None:
        """Forget the requests that were settled long enough ago."""
        self._book.expire(self._clock())

    def _account(self, budget: Budget, at: int) -> Account:
        """Return the account of a budget's period at `at`; the calendar is too slow to be asked each time."""
        if isinstance(budget.period, Rolling):
            return Account(budget.id, 0)
        account, end = self._accounts.get(budget.id, (None, 0))
        if account is not None and account.period <= at < end:
            return account
        period = period_at(budget, at)
        if account is not None and account.period < period.start:
            self._book.forget(account)
        account = Account(budget.id, period.start)
        self._accounts[budget.id] = account, period.end
        return account
