"""Recommendations in ClickHouse: what their watcher asks, and what their sink lands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import pyarrow as pa

from sinks.clickhouse.clusters import newest_nodes
from sinks.clickhouse.container_days import DAY_COLUMNS, day_of_row
from sinks.clickhouse.tables import Tables
from spendstream import recommendations
from spendstream.allocation import Rate, Rates
from spendstream.config import Secret
from spendstream.events import HOUR_MICROS
from spendstream.money import dollars
from spendstream.queries import whole
from spendstream.recommendations import Recommendation
from spendstream.rightsizing.days import Container, ContainerDay
from spendstream.scheduling import Node

__all__ = ["ClickHouseRecommendationStore", "find", "land_recommendations", "listed"]

_MICROS = pa.timestamp("us", tz="UTC")
_SECONDS = pa.timestamp("s", tz="UTC")
_MONEY = pa.decimal128(38, 12)
_RATES_FROM = 86_400  # seconds before a cluster's newest hour
_PLACES = ", ".join(Container._fields)


class ClickHouseRecommendationStore:
    """Answers the watcher of recommendations from the windows in ClickHouse."""

    def __init__(self, url: Secret) -> None:
        self._tables = Tables(url)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._tables.close()

    async def clusters(self) -> Mapping[str, tuple[int, int]]:
        """Return of each cluster until when usage is known (microseconds), and how many containers it has."""
        rows = await self._tables.rows(
            "SELECT cluster, toUnixTimestamp64Micro(max(last)), "
            "uniq(namespace, workload_kind, workload, container) FROM container_day_state GROUP BY cluster"
        )
        return {cluster: (newest, containers) for cluster, newest, containers in rows}

    async def days(
        self, cluster: str, since: int, slot: int, slots: int
    ) -> Mapping[Container, Sequence[ContainerDay]]:
        """Return the days from `since` (microseconds) on, oldest first, of each container in a slot.

        A workload is in one of `slots` slots, by the hash of its name.
        """
        rows = await self._tables.rows(
            f"SELECT {_PLACES}, {DAY_COLUMNS} FROM container_day_state FINAL "
            "WHERE cluster = {cluster:String} AND window_start >= fromUnixTimestamp({since:Int64}) "
            "AND cityHash64(namespace, workload) % {slots:UInt32} = {slot:UInt32} "
            f"ORDER BY {_PLACES}, window_start "
            "SETTINGS do_not_merge_across_partitions_select_final = 1",
            {"cluster": cluster, "since": since // 10**6, "slot": slot, "slots": slots},
        )
        middle = len(Container._fields)
        found: dict[Container, dict[int, ContainerDay]] = {}
        for row in rows:
            days, day = found.setdefault(Container(*row[:middle]), {}), day_of_row(row[middle:])
            known = days.get(day.start)
            days[day.start] = day if known is None else known.plus(day)
        return {container: list(days.values()) for container, days in found.items()}

    async def rates(self) -> Mapping[str, Rates]:
        """Return what the nodes of each cluster that are priced cost in their newest day, by resource."""
        rows = await self._tables.rows(
            f"""
            SELECT cluster, {whole("sum(s.cpu_cost)", 12)}, {whole("sum(s.cpu_capacity)", 15)},
                   {whole("sum(s.memory_cost)", 12)}, {whole("sum(s.memory_capacity)", 6)}
            FROM allocation_window_state AS s FINAL
            INNER JOIN
            (
                SELECT cluster, max(window_start) AS newest
                FROM allocation_window_state WHERE kind = 'node' GROUP BY cluster
            ) AS n USING (cluster)
            WHERE kind = 'node' AND unpriced = 0 AND window_start > n.newest - {_RATES_FROM}
            GROUP BY cluster
            SETTINGS do_not_merge_across_partitions_select_final = 1
            """
        )
        return {
            cluster: Rates(cpu=_rate(cpu, cores), memory=_rate(memory, amount))
            for cluster, cpu, cores, memory, amount in rows
        }

    async def nodes(self, cluster: str) -> Sequence[Node]:
        """Return the nodes of a cluster as they were last seen, with the pods on them."""
        return (await newest_nodes(self._tables, cluster)).get(cluster, ())

    async def standing(self) -> Sequence[Recommendation]:
        """Return the newest state of each recommendation that was not superseded."""
        rows = await self._tables.rows(
            "SELECT body FROM recommendation_raw FINAL WHERE state != 'superseded' ORDER BY at"
        )
        return [recommendations.decode(body.encode()) for (body,) in rows]


async def land_recommendations(tables: Tables, found: Sequence[tuple[Recommendation, int]]) -> None:
    """Insert states of recommendations, each with when the broker got it (milliseconds)."""
    states = [recommendation for recommendation, _ in found]
    await tables.insert(
        "recommendation_raw",
        pa.table(
            {
                **{
                    name: pa.array([read(state) for state in states], kind)
                    for name, (kind, read) in _COLUMNS.items()
                },
                "arrived_at": pa.array([arrived // 1000 for _, arrived in found], _SECONDS),
            }
        ),
    )


async def listed(tables: Tables, states: Sequence[str]) -> Sequence[Recommendation]:
    """Return the recommendations in one of `states`, those that free most first."""
    rows = await tables.rows(
        "SELECT body FROM recommendation_raw FINAL WHERE state IN {states:Array(String)} "
        "ORDER BY ifNull(freed_per_hour, 0) DESC, cpu_freed DESC, memory_freed DESC, "
        f"{_PLACES}",
        {"states": list(states)},
    )
    return [recommendations.decode(body.encode()) for (body,) in rows]


async def find(tables: Tables, beginning: str) -> Sequence[Recommendation]:
    """Return the recommendations whose id begins so."""
    rows = await tables.rows(
        "SELECT body FROM recommendation_raw FINAL WHERE startsWith(toString(id), {id:String})",
        {"id": beginning.lower()},
    )
    return [recommendations.decode(body.encode()) for (body,) in rows]


def _rate(cost: int, capacity: int) -> Rate | None:
    """Return picodollars over capacity times microseconds as a rate per hour; None without capacity."""
    return Rate(price=cost * HOUR_MICROS, per=capacity) if capacity else None


def _dollars(name: str) -> tuple[pa.DataType, Callable[[Any], Any]]:
    read = attrgetter(name)
    return _MONEY, lambda state: None if read(state) is None else dollars(read(state))


def _followed(name: str, default: int | None) -> Callable[[Any], Any]:
    return lambda state: getattr(state.follow_up, name) if state.follow_up else default


def _saved(state: Recommendation) -> Any:
    saved = state.follow_up.saved_per_hour if state.follow_up else None
    return None if saved is None else dollars(saved)


_Column = tuple[pa.DataType, Callable[[Any], Any]]

_COLUMNS: Mapping[str, _Column] = {
    "id": (pa.binary(16), attrgetter("id.bytes")),
    "at": (_MICROS, attrgetter("at")),
    **{name: (pa.string(), attrgetter(name)) for name in ("state", "team", *Container._fields, "patch")},
    **{
        f"{resource}_{name}": (kind, attrgetter(f"{resource}.{name}"))
        for resource in ("cpu", "memory")
        for name, kind in (
            ("verdict", pa.string()),
            ("reason", pa.string()),
            ("current", pa.uint64()),
            ("target", pa.uint64()),
        )
    },
    **{name: (pa.int64(), attrgetter(name)) for name in ("cpu_freed", "memory_freed")},
    **{name: _dollars(name) for name in ("freed_per_hour", "nodes_per_hour", "idle_per_hour")},
    "nodes": (pa.uint32(), attrgetter("nodes")),
    **{
        name: (pa.float64(), attrgetter(name))
        for name in ("replicas", "days", "breach_rate", "cpu_time_over", "confidence")
    },
    **{name: (pa.list_(pa.string()), attrgetter(name)) for name in ("reasons", "caveats")},
    "applied_at": (_MICROS, _followed("applied_at", None)),
    "followed_days": (pa.uint32(), _followed("days", 0)),
    "breaches": (pa.uint32(), _followed("breaches", 0)),
    "saved_per_hour": (_MONEY, _saved),
    "body": (pa.string(), lambda state: recommendations.encode(state).decode()),
}
