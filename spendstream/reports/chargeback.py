"""Chargeback: what each owes: its own spend, its part of what is shared, and how that stands to its budget.

What of clusters no container was allocated has rows of its own, so that all rows add up to what calls cost
and to the clusters' whole bills. Without anything shared it is a showback.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction

from msgspec import Struct

from spendstream.budgets import Budget, BudgetBook, Period, period_at
from spendstream.budgets.definition import Rolling
from spendstream.money import round_half_even
from spendstream.reports.answers import Record, by_columns, notes
from spendstream.reports.span import Span
from spendstream.reports.table import Column, Table, added, share
from spendstream.sharing import Policy, shared_out

__all__ = ["LINES", "NOBODY", "Sharing", "budgeted", "table"]

NOBODY = "(nobody)"
"""Whose spend it is that has no owner."""

LINES = frozenset({"(idle)", "(overcommit)", "(shared)"})
"""Rows of clusters' bills beside containers, by their lines in `allocation`; they pay for nothing else."""

_BILL = (
    "What of clusters no container was allocated is in it, as (idle), (overcommit) and (shared): "
    "the rows add up to what calls cost and to the clusters' whole bills."
)


class Sharing(Struct, frozen=True, kw_only=True):
    """Whose spend all others share, and how; NOBODY and LINES can be among them. Weights are for `fixed`."""

    shared: Collection[str] = ()
    policy: Policy = "proportional"
    weights: Mapping[str, int] = {}


def table(
    by: str,
    span: Span,
    answer: Sequence[Record],
    bill: Sequence[Record],
    sharing: Sharing,
    budgets: Mapping[str, int],
) -> Table:
    """Return what each owes: the answers of `questions.spend` and `questions.unallocated` by one dimension.

    `budgets` are of the span. Raises ValueError where there are shared costs and nobody to share them.
    """
    direct: dict[str, int] = defaultdict(int)
    for record in (*answer, *bill):
        direct[record[by] or NOBODY] += record["cost"]
    common = sum(cost for key, cost in direct.items() if key in sharing.shared)
    own = {key: cost for key, cost in direct.items() if key not in sharing.shared}
    payers = {key: cost for key, cost in own.items() if key not in LINES}
    parts = shared_out(common, payers, sharing.policy, sharing.weights) if common else {}
    keys = sorted(own.keys() | parts.keys(), key=lambda key: (-own.get(key, 0) - parts.get(key, 0), key))
    rows = [_row(key, own.get(key, 0), parts.get(key, 0), budgets.get(key)) for key in keys]
    columns = [
        *by_columns([by]),
        Column(name="direct", kind="money", summed=True),
        Column(name="shared", kind="money", title="part of shared", summed=True),
        Column(name="total", kind="money", summed=True),
        Column(name="budget", kind="money"),
        Column(name="variance", kind="money", title="over budget"),
        Column(name="variance_share", kind="share", title="over budget, of it", detail=True),
    ]
    return Table(
        name="chargeback",
        title=f"What each {by.replace('_', ' ')} owes",
        about=str(span),
        columns=columns,
        rows=rows,
        total=added(columns, rows),
        notes=[
            *_about(sharing, common),
            *([_BILL] if bill else []),
            *notes([by], sum(record["unpriced"] for record in (*answer, *bill))),
        ],
        chart="total",
    )


def budgeted(by: str, span: Span, book: BudgetBook) -> Mapping[str, int]:
    """Return the budget in picodollars that each value of a dimension has for a span.

    It is that of the budgets whose scope is this dimension alone. Periods count by the part of them that lies
    in the span, so that a whole month has the month's amount. Of several budgets of one scope the one with
    the longest period counts: the others limit the same money more closely.
    """
    longest: dict[str, tuple[int, str]] = {}
    for budget in book.at(span.end - 1):
        if list(budget.scope) == [by]:
            length = period_at(budget, span.end - 1).length
            value = budget.scope[by]
            longest[value] = max(longest.get(value, (0, "")), (length, budget.id))
    return {value: _amount(book.versions(budget), span) for value, (_, budget) in longest.items()}


def _amount(versions: Sequence[Budget], span: Span) -> int:
    """Return what the versions of a budget allow in a span; rounds once, half to even."""
    total = Fraction(0)
    for version in versions:
        start = max(span.start, version.effective_from)
        end = span.end if version.effective_until is None else min(span.end, version.effective_until)
        if start >= end:
            continue
        if isinstance(version.period, Rolling):
            total += Fraction(version.amount * (end - start), version.period.length)
            continue
        at = start
        while at < end:
            period: Period = period_at(version, at)
            total += Fraction(version.amount * (min(end, period.end) - at), period.length)
            at = period.end
    return round_half_even(total)


def _row(key: str, direct: int, part: int, budget: int | None) -> Sequence[str | int | Fraction | None]:
    total = direct + part
    if budget is None:
        return [key, direct, part, total, None, None, None]
    return [key, direct, part, total, budget, total - budget, share(total - budget, budget)]


def _about(sharing: Sharing, common: int) -> list[str]:
    if not sharing.shared:
        return []
    names = ", ".join(sorted(sharing.shared))
    if not common:
        return [f"Nothing was spent by {names}, whose costs are shared."]
    how = {"proportional": "in proportion to own spend", "even": "evenly", "fixed": "by fixed weights"}
    return [f"The costs of {names} are shared {how[sharing.policy]}; the parts add up to them exactly."]
