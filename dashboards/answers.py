"""Asking a panel's question: expanded SQL to ClickHouse, read-only and within limits; rows back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from clickhouse_connect.driver.asyncclient import AsyncClient
from msgspec import Struct

from dashboards.macros import TimeRange, expand, interpolate
from spendstream.adapters.clickhouse import query_errors

__all__ = ["Answer", "Column", "ask", "choices"]

_LIMITS = {
    "readonly": 2,
    "max_execution_time": 20,
    "max_result_rows": 20_000,
    "result_overflow_mode": "throw",
    "max_memory_usage": 2 << 30,
    "date_time_output_format": "iso",
    "output_format_json_quote_64bit_integers": 0,
}
_MOST_CHOICES = 1000
_NUMBERS = ("Int", "UInt", "Float", "Decimal", "Bool")


class Column(Struct, frozen=True, kw_only=True):
    """A column's name, and what is in it; times are in ISO 8601, UTC."""

    name: str
    holds: Literal["time", "number", "text"]


class Answer(Struct, frozen=True, kw_only=True):
    """Rows under columns; a cell that is not known is None."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]


class _Named(Struct):
    name: str
    type: str


class _Reply(Struct):
    meta: list[_Named]
    data: list[list[Any]]


async def ask(client: AsyncClient, sql: str, time: TimeRange, chosen: Mapping[str, Sequence[str]]) -> Answer:
    """Return the answer to SQL with macros; raise QueryError or StoreUnavailable."""
    expanded = expand(interpolate(sql, time, chosen), time)
    with query_errors("question"):
        raw = await client.raw_query(expanded, fmt="JSONCompact", settings=_LIMITS)
    reply = msgspec.json.decode(raw, type=_Reply)
    columns = [Column(name=each.name, holds=_holds(each.type)) for each in reply.meta]
    return Answer(columns=columns, rows=reply.data)


async def choices(client: AsyncClient, sql: str, time: TimeRange) -> Sequence[str]:
    """Return what a variable can be, at most a thousand."""
    answer = await ask(client, f"SELECT * FROM ({sql}) LIMIT {_MOST_CHOICES}", time, {})
    return [str(row[0]) for row in answer.rows]


def _holds(kind: str) -> Literal["time", "number", "text"]:
    inner = kind.removeprefix("LowCardinality(").removeprefix("Nullable(")
    if inner.startswith("Date"):
        return "time"
    return "number" if inner.startswith(_NUMBERS) else "text"
