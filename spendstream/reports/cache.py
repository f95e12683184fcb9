"""Cache: how often an answer was there already, and what that saved."""

from __future__ import annotations

from collections.abc import Sequence

from spendstream.reports.answers import Record, by_columns, notes, titled
from spendstream.reports.span import Span
from spendstream.reports.table import Column, Table, added, share

__all__ = ["table"]


def table(by: Sequence[str], span: Span, answer: Sequence[Record]) -> Table:
    """Return the answer of `questions.spend` as far as it is about calls of models.

    Hits are answers of our own cache. What providers read from theirs is part of the input, and cheaper.
    """
    columns = [
        *by_columns(by),
        Column(name="saved", kind="money", title="saved by cache", summed=True),
        Column(name="calls", kind="count", summed=True),
        Column(name="hits", kind="count", summed=True),
        Column(name="hit_ratio", kind="share", title="hits of calls"),
        Column(name="hit_tokens", kind="count", title="tokens from cache", summed=True, detail=True),
        Column(name="hit_ratio_by_cost", kind="share", title="hits by cost", detail=True),
        Column(
            name="cache_read_tokens",
            kind="count",
            title="read from providers' caches",
            summed=True,
            detail=True,
        ),
        Column(name="cache_read_ratio", kind="share", title="of input", detail=True),
    ]
    rows = [
        [
            *(record[name] for name in by),
            record["avoided_by_cache"],
            record["events"],
            record["cache_hits"],
            share(record["cache_hits"], record["events"]),
            record["cache_hit_tokens"],
            share(record["avoided_by_cache"], record["avoided_by_cache"] + record["cost"]),
            record["cache_read_tokens"],
            share(record["cache_read_tokens"], record["input_tokens"]),
        ]
        for record in answer
    ]
    return Table(
        name="cache",
        title=titled("What the cache answered", by),
        about=str(span),
        columns=columns,
        rows=rows,
        total=added(columns, rows),
        notes=notes(by, sum(record["unpriced"] for record in answer)),
        chart="saved",
    )
