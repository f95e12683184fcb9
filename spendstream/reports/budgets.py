"""Budgets: how much of each is spent and left, and where it is going."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from spendstream.budgets import Assessment, Budget
from spendstream.budgets.definition import FULL
from spendstream.clock import from_micros
from spendstream.reports.table import Cell, Column, Table, share

__all__ = ["table"]

_COLUMNS = (
    Column(name="budget", kind="text"),
    Column(name="scope", kind="text", detail=True),
    Column(name="state", kind="text"),
    Column(name="spent", kind="money"),
    Column(name="limit", kind="money"),
    Column(name="spent_share", kind="share", title="spent of limit"),
    Column(name="left", kind="money", detail=True),
    Column(name="period_share", kind="share", title="of period gone"),
    Column(name="period_start", kind="time", title="from", detail=True),
    Column(name="period_end", kind="time", title="until"),
)


def table(assessed: Sequence[tuple[Budget, Assessment]], left_out: Sequence[Budget], at: int) -> Table:
    """Return how budgets stand at a time (microseconds UTC); those that are spent the most come first.

    Those in `left_out` are named: their spend cannot be told from windows.
    """
    ordered = sorted(assessed, key=lambda pair: (-Fraction(pair[1].spent, pair[1].limit), pair[0].id))
    return Table(
        name="budgets",
        title="How budgets stand",
        about=f"{from_micros(at):%Y-%m-%d %H:%M} UTC",
        columns=_COLUMNS,
        rows=[_row(budget, assessment, at) for budget, assessment in ordered],
        notes=[f"Left out, as windows know no keys: {', '.join(budget.id for budget in left_out)}."]
        if left_out
        else [],
        chart="spent_share",
        empty="No budget is in force.",
    )


def _row(budget: Budget, found: Assessment, at: int) -> Sequence[Cell]:
    return [
        budget.id,
        ", ".join(f"{name}={value}" for name, value in sorted(budget.scope.items())) or "everything",
        _state(found),
        found.spent,
        found.limit,
        share(found.spent, found.limit),
        found.left,
        share(min(at, found.period.end) - found.period.start, found.period.length),
        found.period.start,
        found.period.end,
    ]


def _state(found: Assessment) -> str:
    if found.left < 0:
        return "exceeded"
    if found.reached:
        return f"{max(found.reached) * 100 // FULL} % reached"
    return "burning fast" if found.tiers else "within"
