"""What ClickHouse answers, by name; and the columns and notes that several reports share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from spendstream.reports.dimensions import BUCKETS, in_windows
from spendstream.reports.questions import Question
from spendstream.reports.table import Column

__all__ = ["Record", "by_columns", "named", "notes", "titled"]

Record: TypeAlias = Mapping[str, Any]
"""A row of an answer, by the names that its question gives."""


def named(question: Question, rows: Iterable[Sequence[Any]]) -> Sequence[Record]:
    """Return the rows of an answer by name."""
    return [dict(zip(question.names, row, strict=True)) for row in rows]


def by_columns(by: Sequence[str]) -> list[Column]:
    """Return the columns of dimensions."""
    return [Column(name=name, kind="time" if name in BUCKETS else "text") for name in by]


def titled(what: str, by: Sequence[str]) -> str:
    """Return a title that says by what spend is told apart."""
    *first, last = (name.replace("_", " ") for name in by)
    return f"{what}, by {', '.join(first)} and {last}" if first else f"{what}, by {last}"


def notes(by: Sequence[str], unpriced: int) -> list[str]:
    """Return what has to be known of sums by these dimensions, with so many events unpriced."""
    told = []
    if unpriced:
        told.append(
            f"{unpriced:,} events have no price yet, and their cost is in no sum: see `spendstream reprice`."
        )
    if not in_windows(by):
        told.append("Added up from single events, which are kept for raw_retention_days only.")
    return told
