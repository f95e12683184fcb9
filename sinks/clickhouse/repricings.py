"""Repricings on ClickHouse: which events wait for a price, and where those came from that got one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from operator import attrgetter
from typing import Any
from uuid import UUID

from sinks.clickhouse.columns import COLUMN_OF
from sinks.clickhouse.tables import Tables
from spendstream.batches import Batch
from spendstream.events import TokenUsage
from spendstream.queries import pico
from spendstream.windows import DAY, MONEY_MEASURES

__all__ = ["places", "unpriced"]

_CHUNK = 10_000
_DAY = DAY * 1_000_000  # microseconds
_OWNER = ("org", "team", "project", "environment", "provider", "model")  # a call's window
_owner = attrgetter(*_OWNER)
_NAMES = [name for name in TokenUsage.__struct_fields__ if name != "reprices"]


async def places(tables: Tables, repricings: Batch) -> Mapping[int, tuple[str, int]]:
    """Return which source delivered each original at which position, by the position of the repricing.

    Left out is what has no row, or has had a price from the start. Raises StoreUnavailable.
    """
    events = repricings.events
    times = [event.event_time for event in events]
    ids = ",".join([f"'{event.reprices}'" for event in events])
    rows = await tables.rows(
        f"""
        SELECT event_id, toUnixTimestamp64Micro(t.event_time), {", ".join(_OWNER)}, src, src_off
        FROM token_usage_raw AS t FINAL
        WHERE t.event_time BETWEEN fromUnixTimestamp64Micro({min(times)}, 'UTC')
                               AND fromUnixTimestamp64Micro({max(times)}, 'UTC')
          AND event_id IN ({ids}) AND (cost IS NULL OR repriced_by IS NOT NULL)
        SETTINGS do_not_merge_across_partitions_select_final = 1
        """
    )
    stored = {tuple(key): (src, position) for *key, src, position in rows}
    keys = [(event.reprices, event.event_time, *_owner(event)) for event in events]
    return {
        entry.position: stored[key]
        for entry, key in zip(repricings.entries, keys, strict=True)
        if key in stored
    }


async def unpriced(tables: Tables) -> AsyncIterator[Sequence[TokenUsage]]:
    """Yield all stored calls without a cost, in order of time, some thousand at once."""
    days = await tables.rows(
        "SELECT toUnixTimestamp64Micro(toDateTime64(toDate(event_time), 6, 'UTC')) AS day "
        "FROM token_usage WHERE cost IS NULL GROUP BY day ORDER BY day"
    )
    for (day,) in days:
        after = (day, UUID(int=0))
        while events := await _page(tables, after, day + _DAY):
            yield events
            after = (events[-1].event_time, events[-1].id)


async def _page(tables: Tables, after: tuple[int, UUID], before: int) -> Sequence[TokenUsage]:
    time, event_id = after
    rows = await tables.rows(
        f"""
        SELECT {", ".join(map(_column, _NAMES))} FROM token_usage AS t
        WHERE cost IS NULL AND t.event_time < fromUnixTimestamp64Micro({{before:Int64}}, 'UTC')
          AND t.event_time >= fromUnixTimestamp64Micro({{time:Int64}}, 'UTC')
          AND (t.event_time, t.event_id) > (fromUnixTimestamp64Micro({{time:Int64}}, 'UTC'), {{id:UUID}})
        ORDER BY t.event_time, t.event_id LIMIT {_CHUNK}
        """,
        {"time": time, "id": str(event_id), "before": before},
    )
    return [_event(row) for row in rows]


def _column(field: str) -> str:
    if field in MONEY_MEASURES:
        return pico(f"t.{field}")
    if field == "event_time":
        return "toUnixTimestamp64Micro(t.event_time)"
    return f"t.{COLUMN_OF.get(field, field)}"


def _event(row: Sequence[Any]) -> TokenUsage:
    return TokenUsage(**dict(zip(_NAMES, row, strict=True)))
