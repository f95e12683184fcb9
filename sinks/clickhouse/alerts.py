"""Alerts and budgets' spend in ClickHouse: what the evaluator asks, and what the alert sinks write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from sinks.clickhouse.tables import Tables
from spendstream import alerts
from spendstream.alerts import Alert
from spendstream.config import Secret
from spendstream.queries import pico
from spendstream.windows import HOUR, MINUTE, Dimensions

__all__ = ["ClickHouseBudgetStore", "land_alerts", "notified", "remember_notification"]

_MICROS = 1_000_000
_TIME = pa.timestamp("us", tz="UTC")


class ClickHouseBudgetStore:
    """Answers a budget evaluator from the windows and the alerts in ClickHouse."""

    def __init__(self, url: Secret) -> None:
        self._tables = Tables(url)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._tables.close()

    async def changed(self, since: int) -> Sequence[Dimensions]:
        """Return the dimensions of all windows that changed at or after `since` (microseconds)."""
        names = ", ".join(Dimensions._fields)
        rows = await self._tables.rows(
            f"SELECT DISTINCT {names} FROM cost_window_state "
            f"WHERE window_seconds = {MINUTE} AND arrived_at >= fromUnixTimestamp({{since:Int64}})",
            {"since": since // _MICROS},
        )
        return [Dimensions(*row) for row in rows]

    async def spend(
        self, scope: Mapping[str, str], hours_from: int, minutes_from: int
    ) -> Sequence[tuple[int, int]]:
        """Return (start, picodollars) by the hour from `hours_from`, by the minute from `minutes_from`."""
        conditions = " ".join(f"AND {name} = {{scope_{name}:String}}" for name in scope)
        rows = await self._tables.rows(
            f"""
            SELECT toUnixTimestamp(window_start) AS start, {pico("sum(cost)")}
            FROM cost_window_state FINAL
            WHERE (window_seconds = {HOUR} AND start >= {{hours:Int64}} AND start < {{minutes:Int64}}
                   OR window_seconds = {MINUTE} AND start >= {{minutes:Int64}}) {conditions}
            GROUP BY start ORDER BY start
            """,
            {
                "hours": hours_from // _MICROS,
                "minutes": minutes_from // _MICROS,
                **{f"scope_{name}": value for name, value in scope.items()},
            },
        )
        return [(start * _MICROS, cost) for start, cost in rows]

    async def alerts(self) -> Sequence[Alert]:
        """Return the newest state of every alert."""
        return [alerts.decode(body.encode()) for (body,) in await self._tables.rows("SELECT body FROM alert")]


async def land_alerts(tables: Tables, states: Sequence[tuple[Alert, int]]) -> None:
    """Insert alert states, each with when the broker got it (milliseconds)."""
    found = [alert for alert, _ in states]
    await tables.insert(
        "alert_raw",
        pa.table(
            {
                "id": pa.array([alert.id.bytes for alert in found], pa.binary(16)),
                "version": pa.array([alert.version for alert in found], pa.uint32()),
                "window_start": pa.array([alert.window for alert in found], _TIME),
                "started_at": pa.array([alert.started_at for alert in found], _TIME),
                "resolved_at": pa.array([alert.resolved_at for alert in found], _TIME),
                "body": [alerts.encode(alert).decode() for alert in found],
                "arrived_at": pa.array(
                    [arrived // 1000 for _, arrived in states], pa.timestamp("s", tz="UTC")
                ),
                **{
                    name: [str(getattr(alert, name)) for alert in found]
                    for name in ("state", "kind", "severity", "rule", "team", "title", "summary")
                },
            }
        ),
    )


async def notified(tables: Tables, alert: Alert, channel: str) -> bool:
    """Tell whether this state of an alert was sent to `channel`."""
    rows = await tables.rows(
        "SELECT count() FROM notification WHERE alert_id = {id:UUID} AND version = {version:UInt32} "
        "AND state = {state:String} AND channel = {channel:String}",
        {"id": str(alert.id), "version": alert.version, "state": alert.state, "channel": channel},
    )
    return bool(rows[0][0])


async def remember_notification(tables: Tables, alert: Alert, channel: str) -> None:
    """Note down that this state of an alert was sent to `channel`."""
    await tables.insert(
        "notification",
        pa.table(
            {
                "alert_id": pa.array([alert.id.bytes], pa.binary(16)),
                "version": pa.array([alert.version], pa.uint32()),
                "state": [str(alert.state)],
                "channel": [channel],
            }
        ),
    )
