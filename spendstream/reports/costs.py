"""Costs: what was spent by whom on what, with the calls and tokens that it bought."""

from __future__ import annotations

from collections.abc import Sequence

from spendstream.reports.answers import Record, by_columns, notes, titled
from spendstream.reports.span import Span
from spendstream.reports.table import Column, Table, added, share

__all__ = ["table"]


def table(by: Sequence[str], span: Span, answer: Sequence[Record]) -> Table:
    """Return the answer of `questions.spend`; shares are those of all costs in it."""
    columns = [
        *by_columns(by),
        Column(name="cost", kind="money", summed=True),
        Column(name="share", kind="share", title="share of cost"),
        Column(name="list_cost", kind="money", title="at list price", summed=True, detail=True),
        Column(name="events", kind="count", summed=True),
        Column(name="unpriced", kind="count", summed=True, detail=True),
        Column(name="errors", kind="count", summed=True, detail=True),
        Column(name="input_tokens", kind="count", summed=True),
        Column(name="output_tokens", kind="count", summed=True),
    ]
    whole = sum(record["cost"] for record in answer)
    rows = [
        [
            *(record[name] for name in by),
            record["cost"],
            share(record["cost"], whole),
            *(
                record[name]
                for name in ("list_cost", "events", "unpriced", "errors", "input_tokens", "output_tokens")
            ),
        ]
        for record in answer
    ]
    return Table(
        name="costs",
        title=titled("What was spent", by),
        about=str(span),
        columns=columns,
        rows=rows,
        total=added(columns, rows),
        notes=notes(by, sum(record["unpriced"] for record in answer)),
        chart="cost",
    )
