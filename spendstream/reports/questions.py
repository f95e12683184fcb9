"""SQL as values: what reports ask of ClickHouse.

Whole days come from windows of a day, hours and minutes from finer ones. Only what windows do not know, such
as users, is added up from single events, which are kept for a shorter time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from spendstream.queries import pico
from spendstream.reports.dimensions import BUCKETS, column_of, in_windows
from spendstream.reports.span import Span, windows
from spendstream.windows import DAY, MONEY_MEASURES, Measures

__all__ = [
    "KINDS",
    "MEASURES",
    "Question",
    "anomalies",
    "days",
    "spend",
    "unallocated",
    "unpriced",
    "waste",
    "within",
]

MEASURES = Measures._fields
_TABLES = {"tokens": "token_usage", "pods": "pod_usage"}
KINDS = tuple(_TABLES)
"""Kinds of spend: calls of models, and containers."""
_TOKENS = {
    "errors": "e.status >= 400",
    "cache_hits": "e.cache_outcome != 'none'",
    "cache_hit_tokens": "if(e.cache_outcome != 'none', e.input_tokens + e.output_tokens, 0)",
}
_COMMON = {"events": "1", "unpriced": "e.cost IS NULL", "cost": "ifNull(e.cost, 0)"}
_PODS = {"list_cost": "ifNull(e.cost, 0)"}


class Question(Struct, frozen=True, kw_only=True):
    """A query, and the names of what it returns. Money is picodollars, times are microseconds."""

    sql: str
    names: tuple[str, ...]


def spend(by: Sequence[str], span: Span, kinds: Sequence[str] = KINDS) -> Question:
    """Return how to ask for all measures of a span by dimensions; the dearest come first.

    Buckets of time come in order of time instead. `kinds` are the kinds of spend that count.
    """
    source = _windows(by, span, kinds) if in_windows(by) else _events(by, span, kinds)
    named = [f"{_outward(name, f's.{name}')} AS {name}" for name in by]
    summed = [
        f"{pico(f'sum(s.{name})')} AS {name}" if name in MONEY_MEASURES else f"sum(s.{name}) AS {name}"
        for name in MEASURES
    ]
    grouped = f"GROUP BY {', '.join(by)}" if by else "HAVING sum(s.events) > 0"
    buckets = [name for name in by if name in BUCKETS]
    order = ", ".join([*buckets, "cost DESC", *by])
    return Question(
        sql=f"SELECT {', '.join([*named, *summed])} FROM ({source}) AS s {grouped} ORDER BY {order}",
        names=(*by, *MEASURES),
    )


def waste(by: Sequence[str], span: Span) -> Question:
    """Return how to ask for what was paid and of no use, by dimensions.

    Calls come from single events, idle nodes and volumes from the hours of allocation that begin in the span.
    """
    failed, broken = "e.status >= 400", "e.usage_source = 'interrupted' AND e.status < 400"
    calls = {
        "cost": "ifNull(e.cost, 0)",
        "failed_calls": failed,
        "failed_cost": f"if({failed}, ifNull(e.cost, 0), 0)",
        "interrupted_calls": broken,
        "interrupted_cost": f"if({broken}, ifNull(e.cost, 0), 0)",
        "retries": "e.retries",
        "idle_cost": "toDecimal128(0, 12)",
    }
    hours = {name: "toDecimal128(0, 12)" if name.endswith("cost") else "0" for name in calls} | {
        "cost": "e.cost",
        "idle_cost": "if(e.line = 'idle', e.cost, 0)",
    }
    parts = [
        _part(by, "tokens", "e.event_time", calls, f"token_usage AS e WHERE {within(span)}"),
        _part(by, "hours", "e.hour", hours, _hours(span)),
    ]
    named = [f"{_outward(name, f's.{name}')} AS {name}" for name in by]
    summed = [
        f"{pico(f'sum(s.{name})') if name.endswith('cost') else f'sum(s.{name})'} AS {name}" for name in calls
    ]
    grouped = f"GROUP BY {', '.join(by)}" if by else "HAVING count() > 0"
    buckets = [name for name in by if name in BUCKETS]
    order = ", ".join([*buckets, "failed_cost + interrupted_cost + idle_cost DESC", *by])
    return Question(
        sql=f"SELECT {', '.join([*named, *summed])} FROM ({' UNION ALL '.join(parts)}) AS s "
        f"{grouped} ORDER BY {order}",
        names=(*by, *calls),
    )


def _part(by: Sequence[str], kind: str, time: str, figures: Mapping[str, str], source: str) -> str:
    named = [f"{column_of(name, kind, time)} AS {name}" for name in by]
    return (
        f"SELECT {', '.join([*named, *(f'{sql} AS {name}' for name, sql in figures.items())])} FROM {source}"
    )


def unallocated(by: str, span: Span) -> Question:
    """Return how to ask for what clusters pay for beside containers: idle, overcommit and shared lines.

    It comes by line, as `LINES` names them, or by bucket of time where `by` is one; of hours of allocation
    that begin in the span.
    """
    key = _outward(by, column_of(by, "hours", "e.hour")) if by in BUCKETS else "concat('(', e.line, ')')"
    return Question(
        sql=f"SELECT {key} AS {by}, sum(e.unpriced) AS unpriced, {pico('sum(e.cost)')} AS cost "
        f"FROM {_hours(span)} AND e.line != 'workload' GROUP BY {by} ORDER BY {by}",
        names=(by, "unpriced", "cost"),
    )


def anomalies(span: Span) -> Question:
    """Return how to ask for the anomalies that began in a span; the latest first."""
    figures = {
        "started_at": "toInt64(toUnixTimestamp(a.started_at)) * 1000000",
        "ended_at": "toInt64(toUnixTimestamp(a.ended_at)) * 1000000",
        "state": "a.state",
        "severity": "a.severity",
        "org": "a.org",
        "team": "a.team",
        "type": "a.type",
        "measure": "a.measure",
        "impact": pico("ifNull(a.impact, 0)"),
        "planned": "toUInt8(a.planned)",
    }
    start, end = span.start // 1_000_000, span.end // 1_000_000
    return Question(
        sql=f"SELECT {', '.join(f'{sql} AS {name}_' for name, sql in figures.items())} FROM anomaly AS a "
        f"WHERE a.started_at >= toDateTime({start}, 'UTC') AND a.started_at < toDateTime({end}, 'UTC') "
        "ORDER BY started_at_ DESC, impact_ DESC, type_, team_",
        names=tuple(figures),
    )


def unpriced(span: Span) -> Question:
    """Return how to ask how many events of a span have no price."""
    counts = " + ".join(
        f"(SELECT count() FROM {table} AS e WHERE {within(span)} AND e.cost IS NULL)"
        for table in (*_TABLES.values(), "node_usage")
    )
    return Question(sql=f"SELECT {counts}", names=("unpriced",))


def days(span: Span) -> Question:
    """Return how to ask for the days (microseconds UTC) of a span on which anything landed, in order."""
    start, end = span.start // 1_000_000, span.end // 1_000_000
    return Question(
        sql="SELECT DISTINCT toInt64(toUnixTimestamp(toStartOfDay(start))) * 1000000 AS day FROM ("
        f"SELECT window_start AS start FROM cost_window_state WHERE window_seconds = {DAY} "
        "UNION ALL SELECT window_start FROM allocation_window_state) "
        f"WHERE start >= toDateTime({start - start % DAY}, 'UTC') AND start < toDateTime({end}, 'UTC') "
        "ORDER BY day",
        names=("day",),
    )


def within(span: Span) -> str:
    """Return the SQL condition of the events of a span."""
    return (
        f"e.event_time >= fromUnixTimestamp64Micro({span.start}, 'UTC') "
        f"AND e.event_time < fromUnixTimestamp64Micro({span.end}, 'UTC')"
    )


def _hours(span: Span) -> str:
    start, end = span.start // 1_000_000, span.end // 1_000_000
    return f"allocation AS e WHERE toUnixTimestamp(e.hour) >= {start} AND toUnixTimestamp(e.hour) < {end}"


def _windows(by: Sequence[str], span: Span, kinds: Sequence[str]) -> str:
    named = [
        f"{BUCKETS[name].format('w.window_start')} AS {name}" if name in BUCKETS else f"w.{name} AS {name}"
        for name in by
    ]
    columns = [*named, *(f"w.{name} AS {name}" for name in MEASURES)]
    of_kinds = ", ".join(f"'{kind}'" for kind in kinds)
    return (
        f"SELECT {', '.join(columns)} FROM cost_window AS w WHERE {windows(span)} AND w.kind IN ({of_kinds})"
    )


def _events(by: Sequence[str], span: Span, kinds: Sequence[str]) -> str:
    parts = []
    for kind in kinds:
        figures = _COMMON | (_TOKENS if kind == "tokens" else _PODS)
        named = [f"{_of_event(name, kind)} AS {name}" for name in by]
        summed = [f"{figures.get(name, _plain(name, kind))} AS {name}" for name in MEASURES]
        parts.append(f"SELECT {', '.join([*named, *summed])} FROM {_TABLES[kind]} AS e WHERE {within(span)}")
    return " UNION ALL ".join(parts)


def _plain(name: str, kind: str) -> str:
    if kind == "pods":
        return "toDecimal128(0, 12)" if name in MONEY_MEASURES else "0"
    return f"ifNull(e.{name}, 0)"


def _of_event(name: str, kind: str) -> str:
    return column_of(name, kind, "e.event_time")


def _outward(name: str, sql: str) -> str:
    """Return the SQL of a dimension as it leaves ClickHouse: times as microseconds, all else as text."""
    return f"toInt64(toUnixTimestamp({sql})) * 1000000" if name in BUCKETS else f"toString({sql})"
