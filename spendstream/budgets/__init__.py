"""Budgets: what may be spent by whom in which period, how it goes, and what to say when it goes wrong.

Pure: an evaluator hands in the spend of each budget's scope and the alerts that were sent, and publishes what
comes back.

    for budget in book.at(now):
        left_over = carried(book.versions(budget.id), spend, now)
        for alert in decide(budget, assess(budget, spend, now, left_over), alerts):
            publish(alert)
            alerts.apply(alert)
"""

from __future__ import annotations

from spendstream.budgets.assessment import Assessment, Standing, assess
from spendstream.budgets.burn import TIERS, WINDOWS, Burning, Tier
from spendstream.budgets.definition import Budget, BudgetBook, Calendar, Rolling
from spendstream.budgets.files import BudgetFile, load
from spendstream.budgets.machine import decide, rule_of, withdrawn
from spendstream.budgets.periods import Period, evaluation_times, period_at, previous_periods
from spendstream.budgets.projection import Exhaustion, Projection
from spendstream.budgets.spend import SpendSeries, carried

__all__ = [
    "TIERS",
    "WINDOWS",
    "Assessment",
    "Budget",
    "BudgetBook",
    "BudgetFile",
    "Burning",
    "Calendar",
    "Exhaustion",
    "Period",
    "Projection",
    "Rolling",
    "SpendSeries",
    "Standing",
    "Tier",
    "assess",
    "carried",
    "decide",
    "evaluation_times",
    "load",
    "period_at",
    "previous_periods",
    "rule_of",
    "withdrawn",
]
