"""Anomalies: what was unusual, since when, and what it cost more than expected."""

from __future__ import annotations

from collections.abc import Sequence

from spendstream.reports.answers import Record
from spendstream.reports.span import Span
from spendstream.reports.table import Column, Table

__all__ = ["table"]

_COLUMNS = (
    Column(name="started_at", kind="time", title="since"),
    Column(name="ended_at", kind="time", title="until", detail=True),
    Column(name="state", kind="text"),
    Column(name="severity", kind="text"),
    Column(name="org", kind="text", detail=True),
    Column(name="team", kind="text"),
    Column(name="type", kind="text"),
    Column(name="measure", kind="text", title="what"),
    Column(name="impact", kind="money", title="more than expected"),
    Column(name="planned", kind="text", detail=True),
)


def table(span: Span, answer: Sequence[Record]) -> Table:
    """Return the answer of `questions.anomalies`. Impacts of a team and of its organisation overlap."""
    rows = [
        [
            ("yes" if record["planned"] else "") if column.name == "planned" else record[column.name]
            for column in _COLUMNS
        ]
        for record in answer
    ]
    return Table(
        name="anomalies",
        title="What was unusual",
        about=str(span),
        columns=_COLUMNS,
        rows=rows,
        notes=["What is unusual for a team may be so for its organisation too: do not add the impacts up."]
        if rows
        else [],
        empty="Nothing unusual was found in that time.",
    )
