"""Savings: what was not spent, and by which cause."""

from __future__ import annotations

from collections.abc import Sequence

from spendstream.reports.answers import Record, by_columns, notes, titled
from spendstream.reports.span import Span
from spendstream.reports.table import Column, Table, added, share

__all__ = ["table"]

_CAUSES = ("cache", "routing", "compression")


def table(by: Sequence[str], span: Span, answer: Sequence[Record]) -> Table:
    """Return the answer of `questions.spend` as what was saved; most first, unless it is by time.

    The share is that of what would have been spent without any of it.
    """
    columns = [
        *by_columns(by),
        Column(name="saved", kind="money", summed=True),
        *(Column(name=f"by_{cause}", kind="money", summed=True) for cause in _CAUSES),
        Column(name="cost", kind="money", title="spent", summed=True),
        Column(name="share", kind="share", title="saved of what it would be"),
    ]
    rows = []
    for record in answer:
        causes = [record[f"avoided_by_{cause}"] for cause in _CAUSES]
        saved = sum(causes)
        rows.append(
            [
                *(record[name] for name in by),
                saved,
                *causes,
                record["cost"],
                share(saved, saved + record["cost"]),
            ]
        )
    if not any(column.kind == "time" for column in columns):
        rows.sort(key=lambda row: -row[len(by)])
    return Table(
        name="savings",
        title=titled("What was saved", by),
        about=str(span),
        columns=columns,
        rows=rows,
        total=added(columns, rows),
        notes=notes(by, sum(record["unpriced"] for record in answer)),
        chart="saved",
    )
