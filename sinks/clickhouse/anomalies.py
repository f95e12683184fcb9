"""Anomalies and their monitors in ClickHouse: what a watcher asks, and what it leaves."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from sinks.clickhouse.tables import Tables
from spendstream.anomalies.anomaly import Anomaly
from spendstream.anomalies.keys import Key
from spendstream.anomalies.telling import Telling
from spendstream.anomalies.watch import Snapshot
from spendstream.config import Secret
from spendstream.money import PICO, dollars
from spendstream.queries import pico
from spendstream.windows import MINUTE, MONEY_MEASURES, Dimensions, Measures

__all__ = ["ClickHouseAnomalyStore"]

_TIME = pa.timestamp("s", tz="UTC")
_MONEY = pa.decimal128(38, 12)
_AT_ONCE = 16  # snapshots in one answer
_IN_DOLLARS = frozenset({"cost_spike", "price_change", "new_model", "new_key", "unpriced_model"})
_SUMS = ", ".join(
    pico(f"sum(w.{name})") if name in MONEY_MEASURES else f"sum(w.{name})" for name in Measures._fields
)


class ClickHouseAnomalyStore:
    """Answers an anomaly watcher from the windows in ClickHouse, and lands what it finds."""

    def __init__(self, url: Secret) -> None:
        self._tables = Tables(url)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._tables.close()

    async def newest_minutes(self, since: int) -> Sequence[int]:
        """Return the newest minute of each source, of the windows that changed at or after `since`."""
        rows = await self._tables.rows(
            "SELECT toUnixTimestamp(max(window_start)) FROM cost_window_state "
            f"WHERE window_seconds = {MINUTE} AND arrived_at >= fromUnixTimestamp({{since:Int64}}) "
            "GROUP BY src",
            {"since": since},
        )
        return [start for (start,) in rows]

    async def windows(self, size: int, start: int, end: int) -> Sequence[tuple[int, Dimensions, Measures]]:
        """Return (start, dimensions, measures) of windows that start from `start` until before `end`."""
        names = ", ".join(Dimensions._fields)
        rows = await self._tables.rows(
            f"""
            SELECT toUnixTimestamp(window_start) AS at, {names}, {_SUMS}
            FROM cost_window_state AS w FINAL
            WHERE window_seconds = {{size:UInt32}}
              AND window_start >= fromUnixTimestamp({{start:Int64}})
              AND window_start < fromUnixTimestamp({{end:Int64}})
            GROUP BY at, {names} ORDER BY at, {names}
            SETTINGS do_not_merge_across_partitions_select_final = 1
            """,
            {"size": size, "start": start, "end": end},
        )
        middle = 1 + len(Dimensions._fields)
        return [(row[0], Dimensions(*row[1:middle]), Measures(*row[middle:])) for row in rows]

    async def snapshots(self, size: int, seen: int) -> AsyncIterator[Snapshot]:
        """Yield the newest snapshot of each key that was not silent at or after `seen`."""
        found = await self._tables.rows(
            "SELECT key FROM anomaly_monitor FINAL "
            "WHERE window_seconds = {size:UInt32} AND seen >= {seen:Int64} ORDER BY key",
            {"size": size, "seen": seen},
        )
        keys = [key for (key,) in found]
        for place in range(0, len(keys), _AT_ONCE):
            rows = await self._tables.rows(
                "SELECT kind, org, team, last, seen, hex(state) FROM anomaly_monitor FINAL "
                "WHERE window_seconds = {size:UInt32} AND key IN {keys:Array(String)} ORDER BY key",
                {"size": size, "keys": keys[place : place + _AT_ONCE]},
            )
            for kind, org, team, last, seen_at, state in rows:
                key = Key(kind, org, team)
                yield Snapshot(key=key, size=size, last=last, seen=seen_at, state=bytes.fromhex(state))

    async def keep(self, snapshots: Sequence[Snapshot]) -> None:
        """Store snapshots."""
        keys = [snapshot.key for snapshot in snapshots]
        await self._tables.insert(
            "anomaly_monitor",
            pa.table(
                {
                    "window_seconds": pa.array([snapshot.size for snapshot in snapshots], pa.uint32()),
                    "key": pa.array([key.text for key in keys], pa.string()),
                    "kind": pa.array([key.kind for key in keys], pa.string()),
                    "org": pa.array([key.org for key in keys], pa.string()),
                    "team": pa.array([key.team for key in keys], pa.string()),
                    "last": pa.array([snapshot.last for snapshot in snapshots], pa.uint64()),
                    "seen": pa.array([snapshot.seen for snapshot in snapshots], pa.uint64()),
                    "state": pa.array([snapshot.state for snapshot in snapshots], pa.binary()),
                }
            ),
        )

    async def newest(self, since: int) -> Sequence[Telling]:
        """Return the newest notice of each anomaly that is not over, or was not before `since`."""
        rows = await self._tables.rows(
            """
            SELECT argMax(body, window_start) FROM anomaly_raw GROUP BY id
            HAVING countIf(state = 'resolved') = 0 OR max(window_start) >= fromUnixTimestamp({since:Int64})
            """,
            {"since": since},
        )
        return [_told(body) for (body,) in rows]

    async def land(self, tellings: Sequence[Telling]) -> None:
        """Store notices; the same one twice is one."""
        await self._tables.insert("anomaly_raw", _table(tellings))


def _table(tellings: Sequence[Telling]) -> pa.Table:
    notices = [telling.notice for telling in tellings]
    keys, found = [notice.key for notice in notices], [notice.anomaly for notice in notices]
    texts = {
        "kind": [key.kind for key in keys],
        "org": [key.org for key in keys],
        "team": [key.team or "" for key in keys],
        "key": [key.text for key in keys],
        "contributors": [_contributors(anomaly) for anomaly in found],
        "drivers": [_drivers(anomaly) for anomaly in found],
        "body": [_body(telling) for telling in tellings],
        **{name: [getattr(anomaly, name) for anomaly in found] for name in _TEXTS},
    }
    impacts = [None if anomaly.impact is None else dollars(anomaly.impact) for anomaly in found]
    return pa.table(
        {
            "id": pa.array([anomaly.id.bytes for anomaly in found], pa.binary(16)),
            "window_start": pa.array([anomaly.window for anomaly in found], _TIME),
            "window_seconds": pa.array([notice.size for notice in notices], pa.uint32()),
            "started_at": pa.array([anomaly.start for anomaly in found], _TIME),
            "ended_at": pa.array([anomaly.end for anomaly in found], _TIME),
            "score": pa.array([anomaly.score for anomaly in found], pa.float64()),
            "second_opinion": pa.array([anomaly.second_opinion for anomaly in found], pa.float64()),
            "impact": pa.array(impacts, _MONEY),
            "planned": pa.array([anomaly.planned for anomaly in found], pa.bool_()),
            "alerted": pa.array([telling.alert is not None for telling in tellings], pa.bool_()),
            **{name: pa.array(column, pa.string()) for name, column in texts.items()},
            **{name: pa.array(_amounts(found, name), pa.float64()) for name in _AMOUNTS},
        }
    )


_TEXTS = ("state", "type", "severity", "measure")
_AMOUNTS = ("value", "expected", "low", "high")


def _amounts(found: Sequence[Anomaly], name: str) -> list[float]:
    """Return what people read: money in dollars, everything else as it is."""
    return [getattr(anomaly, name) / (PICO if _is_money(anomaly) else 1) for anomaly in found]


def _is_money(anomaly: Anomaly) -> bool:
    return anomaly.type in _IN_DOLLARS or anomaly.measure == "cost_per_request"


def _contributors(anomaly: Anomaly) -> str:
    parts = anomaly.contributors
    return _json([
        {
            "dimension": part.dimension,
            "name": part.name,
            "expected": str(dollars(part.expected)),
            "actual": str(dollars(part.actual)),
        }
        for part in parts
    ])  # fmt: skip


def _drivers(anomaly: Anomaly) -> str:
    drivers = msgspec.structs.asdict(anomaly.drivers) if anomaly.drivers else {}
    return _json({name: str(dollars(amount)) for name, amount in drivers.items()})


def _body(telling: Telling) -> str:
    return _json(msgspec.to_builtins(telling))


def _told(body: str) -> Telling:
    return msgspec.convert(json.loads(body), Telling)


def _json(value: Any) -> str:
    """Return JSON with whole numbers of any size, which msgspec's own does not write."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
