"""What ClickHouse knows of budgets: spend of their scopes, what changed, how they stand, what was said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sinks.clickhouse.standings import standing_table
from sinks.clickhouse.tables import Tables
from spendstream import alerts
from spendstream.alerts import Alert
from spendstream.budgets import Standing
from spendstream.budgets.known import Changes, Reach, Window
from spendstream.config import Secret
from spendstream.queries import pico
from spendstream.windows import HOUR, MINUTE

__all__ = ["ClickHouseBudgetStore"]

_MICROS = 1_000_000
_SIZES = f"window_seconds IN ({MINUTE}, {HOUR})"


class ClickHouseBudgetStore:
    """Answers about budgets from the windows and the alerts in ClickHouse. Times are microseconds."""

    def __init__(self, url: Secret) -> None:
        self._tables = Tables(url)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._tables.close()

    async def extent(self) -> tuple[Mapping[str, int], int | None]:
        """Return when the newest window of each source arrived, and the start of the first hour with one."""
        rows = await self._tables.rows(
            "SELECT src, toUnixTimestamp(max(arrived_at)), toUnixTimestamp(min(window_start)) "
            f"FROM cost_window_state WHERE window_seconds = {HOUR} GROUP BY src"
        )
        arrived = {source: newest * _MICROS for source, newest, _ in rows}
        return arrived, min((first * _MICROS for _, _, first in rows), default=None)

    async def changed(self, since: Mapping[str, int], otherwise: int, names: Sequence[str]) -> Changes:
        """Return what changed: windows that arrived at or after `since`, by source, or else `otherwise`."""
        columns = "".join(f"{name}, " for name in names)
        rows = await self._tables.rows(
            f"""
            SELECT window_seconds, toUnixTimestamp(window_start), {columns}
                   src, {pico("sum(cost)")}, toUnixTimestamp(max(arrived_at))
            FROM cost_window_state FINAL
            WHERE {_SIZES} AND (window_seconds, window_start) IN (
                SELECT window_seconds, window_start FROM cost_window_state
                WHERE {_SIZES} AND toUnixTimestamp(arrived_at) >= {_lowest(since)})
            GROUP BY window_seconds, window_start, {columns} src
            """,
            {
                "sources": list(since),
                "times": [when // _MICROS for when in since.values()],
                "otherwise": otherwise // _MICROS,
            },
        )
        return _changes(tuple(names), rows)

    async def spend(self, scope: Mapping[str, str], reach: Reach) -> Sequence[tuple[int, int]]:
        """Return (start, picodollars) of a scope, as far back and as finely as `reach` says."""
        conditions, values = _within(scope)
        rows = await self._tables.rows(
            f"""
            SELECT toUnixTimestamp(window_start) AS start, {pico("sum(cost)")}
            FROM cost_window_state FINAL
            WHERE (window_seconds = {HOUR} AND start >= {{hours:Int64}} AND start < {{minutes:Int64}}
                   OR window_seconds = {MINUTE} AND start >= {{minutes:Int64}}) {conditions}
            GROUP BY start ORDER BY start
            """,
            {
                "hours": reach.hours // _MICROS,
                "minutes": reach.minutes // _MICROS,
                **values,
            },
        )
        return [(start * _MICROS, cost) for start, cost in rows]

    async def landed(
        self, source: str, after: int, until: int, names: Sequence[str]
    ) -> Sequence[tuple[tuple[str, ...], int]]:
        """Return the cost of the calls of one event source that ended in (after, until], by `names`."""
        columns = "".join(f"{name}, " for name in names)
        rows = await self._tables.rows(
            f"""
            SELECT {columns} {pico("sum(cost)")} FROM token_usage
            WHERE event_source = {{source:String}} AND cost IS NOT NULL
              AND event_time > fromUnixTimestamp64Micro({{after:Int64}}, 'UTC')
              AND event_time <= fromUnixTimestamp64Micro({{until:Int64}}, 'UTC')
            {_grouped(names)}
            """,
            {"source": source, "after": after, "until": until},
        )
        return [(tuple(values), cost) for *values, cost in rows]

    async def spent(self, since: int, names: Sequence[str]) -> Sequence[tuple[tuple[str, ...], int]]:
        """Return all spend from the minute `since` on, by `names`; in whole hours where there are any."""
        columns = "".join(f"{name}, " for name in names)
        start = since // _MICROS
        whole_hours = -(-start // HOUR) * HOUR
        rows = await self._tables.rows(
            f"""
            SELECT {columns} {pico("sum(cost)")} FROM cost_window_state FINAL
            WHERE window_seconds = {MINUTE} AND toUnixTimestamp(window_start) >= {start}
                  AND toUnixTimestamp(window_start) < {whole_hours}
               OR window_seconds = {HOUR} AND toUnixTimestamp(window_start) >= {whole_hours}
            {_grouped(names)}
            """
        )
        return [(tuple(values), cost) for *values, cost in rows]

    async def spent_between(self, scope: Mapping[str, str], start: int, end: int) -> int:
        """Return the picodollars of a scope from the minute of `start` until just before `end`.

        Whole minutes come from the windows, the rest from the calls; windows know no keys.
        """
        if "key_id" in scope:
            return await self._cost_of_calls(scope, start, end)
        last = end // (MINUTE * _MICROS) * MINUTE
        return await self._cost_of_windows(scope, start // _MICROS // MINUTE * MINUTE, last) + (
            await self._cost_of_calls(scope, max(last * _MICROS, start), end)
        )

    async def _cost_of_windows(self, scope: Mapping[str, str], start: int, end: int) -> int:
        """Return the cost of the windows in [start, end), in seconds of whole minutes."""
        first = min(-(-start // HOUR) * HOUR, end)
        last = max(end // HOUR * HOUR, first)
        conditions, values = _within(scope)
        rows = await self._tables.rows(
            f"""
            SELECT {pico("sum(cost)")} FROM
                (SELECT cost, toUnixTimestamp(window_start) AS start FROM cost_window_state FINAL
                 WHERE (window_seconds = {MINUTE} AND (start >= {start} AND start < {first}
                                                       OR start >= {last} AND start < {end})
                        OR window_seconds = {HOUR} AND start >= {first} AND start < {last}) {conditions})
            """,
            values,
        )
        return int(rows[0][0])

    async def _cost_of_calls(self, scope: Mapping[str, str], start: int, end: int) -> int:
        conditions, values = _within(scope)
        rows = await self._tables.rows(
            f"""
            SELECT {pico("sum(cost)")} FROM token_usage
            WHERE cost IS NOT NULL
              AND event_time >= fromUnixTimestamp64Micro({{start:Int64}}, 'UTC')
              AND event_time < fromUnixTimestamp64Micro({{end:Int64}}, 'UTC') {conditions}
            """,
            {"start": start, "end": end, **values},
        )
        return int(rows[0][0] or 0)

    async def alerts(self) -> Sequence[Alert]:
        """Return the newest state of every alert."""
        return [alerts.decode(body.encode()) for (body,) in await self._tables.rows("SELECT body FROM alert")]

    async def remember(self, standings: Sequence[Standing]) -> None:
        """Keep how budgets stand, at least one; of each five minutes the last look stays."""
        await self._tables.insert("budget_standing_raw", standing_table(standings))


def _within(scope: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    """Return the SQL that a scope adds to a condition, and its values."""
    conditions = " ".join(f"AND {name} = {{scope_{name}:String}}" for name in scope)
    return conditions, {f"scope_{name}": value for name, value in scope.items()}


def _grouped(names: Sequence[str]) -> str:
    """Return the SQL that gives one row for each combination of `names`, and none where there is nothing."""
    return f"GROUP BY {', '.join(names)}" if names else "HAVING count() > 0"


def _lowest(since: Mapping[str, int]) -> str:
    """Return the SQL of the time from which on a source's windows are asked for."""
    if not since:
        return "{otherwise:Int64}"
    return "transform(toString(src), {sources:Array(String)}, {times:Array(Int64)}, {otherwise:Int64})"


def _changes(names: tuple[str, ...], rows: Sequence[Sequence[Any]]) -> Changes:
    arrived: dict[str, int] = {}
    windows = []
    for size, start, *values, source, cost, newest in rows:
        windows.append(Window(size * _MICROS, start * _MICROS, tuple(values), cost))
        arrived[source] = max(newest * _MICROS, arrived.get(source, 0))
    return Changes(names=names, windows=windows, arrived=arrived)
