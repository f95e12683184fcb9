"""What this gateway's calls have cost, by budget: noted as each call is settled, beside its event."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from spendstream.budgets import Budget, Rolling, period_at
from spendstream.budgets.scopes import ScopeIndex, scope_of
from spendstream.events import TokenUsage

__all__ = ["DIMENSIONS", "SettledSpend"]

DIMENSIONS = frozenset({"org", "team", "project", "environment", "provider", "model"})
"""What a call has; a budget whose scope names more covers none."""


class _Period(NamedTuple):
    """A budget's period, and picodollars in it; a rolling one never ends, and counts since the start."""

    start: int
    end: int
    cost: int


_FOR_EVER = _Period(0, 1 << 62, 0)


class SettledSpend:
    """Notes nothing until it is told which budgets there are. `clock` gives microseconds UTC."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self.budgets: Sequence[Budget] = ()
        self.index: ScopeIndex[Budget] = ScopeIndex()
        self._sums: dict[str, int] = {}
        self._periods: dict[str, _Period] = {}

    @property
    def sums(self) -> Mapping[str, int]:
        """Picodollars settled since `restart`, by budget."""
        return dict(self._sums)

    def restart(self, budgets: Sequence[Budget]) -> None:
        """Note from now on what calls cost that `budgets` cover, from zero on; periods go on as they were."""
        self.budgets = [budget for budget in budgets if budget.scope.keys() <= DIMENSIONS]
        self.index = ScopeIndex((scope_of(budget.scope), budget) for budget in self.budgets)
        self._sums = {budget.id: 0 for budget in self.budgets}
        self._periods = {name: self._periods[name] for name in self._sums if name in self._periods}

    def note(self, event: TokenUsage) -> None:
        """Note what a call has cost against every budget that covers it."""
        if not event.cost:
            return
        for budget in self.index.covering(lambda name: getattr(event, name)):
            self._sums[budget.id] += event.cost
            period, known = self._period(budget, event.event_time), self._periods.get(budget.id)
            if known is None or period.start >= known.start:  # a clock may be set back over a period's end
                self._periods[budget.id] = period._replace(cost=period.cost + event.cost)

    def in_period(self, budget: Budget) -> int:
        """Return the picodollars settled here in the period of now; of a rolling budget, since the start."""
        return self._period(budget, self._clock()).cost

    def _period(self, budget: Budget, at: int) -> _Period:
        """Return the period at `at`; the calendar is too slow to be asked each time."""
        if isinstance(budget.period, Rolling):
            return self._periods.get(budget.id, _FOR_EVER)
        known = self._periods.get(budget.id)
        if known is not None and known.start <= at < known.end:
            return known
        period = period_at(budget, at)
        return _Period(period.start, period.end, 0)
