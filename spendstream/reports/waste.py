"""Waste: what was paid for calls that were of no use, and for nodes that nobody used."""

from __future__ import annotations

from collections.abc import Sequence

from spendstream.reports.answers import Record, by_columns, titled
from spendstream.reports.span import Span
from spendstream.reports.table import Column, Table, added, share

__all__ = ["table"]


def table(by: Sequence[str], span: Span, answer: Sequence[Record]) -> Table:
    """Return the answer of `questions.waste`: failed calls, interrupted streams, idle nodes."""
    columns = [
        *by_columns(by),
        Column(name="waste", kind="money", summed=True),
        Column(name="share", kind="share", title="of cost"),
        Column(name="failed_calls", kind="count", summed=True, detail=True),
        Column(name="failed_cost", kind="money", summed=True),
        Column(name="interrupted_calls", kind="count", summed=True, detail=True),
        Column(name="interrupted_cost", kind="money", summed=True),
        Column(name="retries", kind="count", summed=True, detail=True),
        Column(name="idle_cost", kind="money", title="idle in clusters", summed=True),
        Column(name="cost", kind="money", title="cost in all", summed=True),
    ]
    figures = [column.name for column in columns[len(by) + 2 :]]
    rows = []
    for record in answer:
        wasted = record["failed_cost"] + record["interrupted_cost"] + record["idle_cost"]
        rows.append(
            [
                *(record[name] for name in by),
                wasted,
                share(wasted, record["cost"]),
                *(record[name] for name in figures),
            ]
        )
    return Table(
        name="waste",
        title=titled("What was paid for nothing", by),
        about=str(span),
        columns=columns,
        rows=rows,
        total=added(columns, rows),
        notes=["Calls are added up one by one; they are kept for raw_retention_days only."],
        chart="waste",
    )
